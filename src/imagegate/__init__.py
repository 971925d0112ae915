"""One OpenAI-compatible endpoint in front of every image model, with a wallet that can be proved."""

from importlib.metadata import version

__version__ = version("imagegate")

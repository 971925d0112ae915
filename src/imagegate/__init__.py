"""One OpenAI-compatible endpoint in front of every image model, with a wallet that can be proved."""


def __getattr__(name: str) -> str:
    """`__version__` is looked up when asked for: reading the package's metadata is slow."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version

    return version("imagegate")

"""OpenAI's Images API: the canonical dialect.

Wire format: https://platform.openai.com/docs/api-reference/images, read 2026-11-21 through the official client
openai 3.54.
"""

from imagegate.dialects.openai.routes import HOT, router

__all__ = ["HOT", "router"]

"""Lunos: images as JSON, spend by app, and what an account may know of itself.

Wire format: https://lunos.tech/docs, the page on image generation, and its client @lunos/client 1.5.0, read 2026-11-21.
The client appends every path to a base URL without `/v1`; it tries four times on every status but 401.
"""

from imagegate.dialects.lunos.routes import router

__all__ = ["router"]

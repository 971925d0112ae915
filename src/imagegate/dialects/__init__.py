"""How callers speak: one file or folder each, independent of each other."""

from fastapi import APIRouter

from imagegate.dialects import openai
from imagegate.web.process import Handler

ROUTERS: tuple[APIRouter, ...] = (openai.router,)
HOT: dict[tuple[str, str], Handler] = {**openai.HOT}

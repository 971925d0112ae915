"""How callers speak: one file or folder each, independent of each other."""

from fastapi import APIRouter

from imagegate.dialects import openai

ROUTERS: tuple[APIRouter, ...] = (openai.router,)

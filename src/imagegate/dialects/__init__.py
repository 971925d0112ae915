"""How callers speak: one file or folder each, independent of each other.

A dialect has a `router`. It may have `HOT`, handlers that are called at once, past FastAPI's routing, and `FACES`,
where its errors do not look like OpenAI's.
"""

from fastapi import APIRouter

from imagegate.dialects import langbase, lumenfall, lunos, luntrex, openai
from imagegate.web.process import Face, Handler

SPOKEN = (openai, langbase, lumenfall, luntrex, lunos)

ROUTERS: tuple[APIRouter, ...] = tuple(dialect.router for dialect in SPOKEN)
HOT: dict[tuple[str, str], Handler] = {key: h for d in SPOKEN for key, h in getattr(d, "HOT", {}).items()}
FACES: tuple[Face, ...] = tuple(face for dialect in SPOKEN for face in getattr(dialect, "FACES", ()))

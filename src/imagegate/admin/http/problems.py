"""Errors of the admin API: problem details (RFC 9457), whoever finds the error."""

from http import HTTPStatus
from typing import Any

from imagegate.errors import ImagegateError
from imagegate.web.process import Face

PREFIX = "/admin/v1"
MEDIA_TYPE = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "param", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Always `about:blank`; `code` tells errors apart."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What, why, and what to do next."},
        "code": {"type": "string"},
        "param": {"type": ["string", "null"], "description": "The parameter at fault."},
        "request_id": {"type": "string"},
    },
}


def problem(error: ImagegateError, request_id: str) -> tuple[int, dict[str, object]]:
    known = {status.value: status.phrase for status in HTTPStatus}
    return error.status, {
        "type": "about:blank",
        "title": known.get(error.status, "Error"),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "param": error.param,
        "request_id": request_id,
    }


FACE = Face(PREFIX, problem, MEDIA_TYPE)

"""Reads a multipart form strictly and as it arrives: each part goes into one buffer of its own, nothing onto disk.

RFC 7578, and what clients make of it: types that parts declare are not looked at, parts come in any order, and an
empty one is as good as none.
"""

import re
from dataclasses import dataclass, field
from io import BytesIO
from time import monotonic

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from imagegate.errors import InvalidRequest, TooLarge, UnsupportedMedia
from imagegate.load import Lease, Load
from imagegate.settings import Settings
from imagegate.web.dependencies import headers_of
from imagegate.web.guards import check_head, length_of, received

MOST_PARTS = 128
MOST_HEADERS = 8
LONGEST_HEADER = 2048
LONGEST_TEXT_BYTES = 512 * 1024
MOST_TEXT_BYTES = 2 * 1024 * 1024
"""Of all text parts together."""

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}(\[\d{0,3}\]){0,2}")
PLAIN = ("", "binary", "8bit", "7bit")


@dataclass(frozen=True, slots=True)
class Upload:
    """One part that holds bytes, not yet looked at. `name`: without an index."""

    name: str
    data: bytes


@dataclass(slots=True)
class Form:
    """fields: text by name. files: in the order they came; a part without content is in neither."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """files: names that parts with bytes may have, and how many of each. file_bytes: of one such part."""

    files: dict[str, int]
    file_bytes: int


def is_form(request: Request) -> bool:
    return headers_of(request).get(b"content-type", b"").lower().lstrip().startswith(b"multipart/form-data")


async def read_form(request: Request, settings: Settings, load: Load, limits: Limits) -> Form:
    """The whole form. Parts named in `limits.files` (`image`, `image[]`, `image[0]` alike) are bytes, others text.

    Raises InvalidRequest (`invalid_multipart`, `duplicate_key`, `invalid_encoding`, `invalid_unicode`,
    `image_too_large`), TooLarge, RequestTimeout, UnsupportedMedia, and Overloaded before a byte of it is read.
    """
    check_head(request, settings.max_upload_bytes)
    async with load.reading(length_of(request) or 0) as lease:
        return await _read_form(request, settings, limits, lease)


async def _read_form(request: Request, settings: Settings, limits: Limits, lease: Lease) -> Form:
    growing = length_of(request) is None
    reading = Reading(limits)
    opening = b"--" + boundary_of(request)
    parser, begun = reading.parser(opening[2:]), b""
    left_bytes, more = settings.max_upload_bytes, True
    until = monotonic() + settings.body_timeout_s
    while more:
        message = await received(request, until - monotonic())
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        left_bytes -= len(piece)
        if growing:
            lease.more(len(piece))
        if left_bytes < 0:
            raise TooLarge(f"The form may have at most {settings.max_upload_bytes} bytes.")
        if len(begun) < len(opening):
            begun = (begun + (piece if begun else piece.lstrip(b"\r\n")))[: len(opening)]
            check_opening(begun, opening)
        try:
            parser.write(piece)
        except FormParserError:
            raise broken("it is damaged") from None
    return reading.end()


def boundary_of(request: Request) -> bytes:
    kind, options = parse_options_header(headers_of(request).get(b"content-type", b""))
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("Send a form, with Content-Type: multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise broken("its Content-Type has no boundary of 1 to 70 characters")
    return boundary


def check_opening(begun: bytes, opening: bytes) -> None:
    """Before its first part nobody sends anything; what the parser makes of it depends on how it was cut on the way.

    begun: the first bytes there are yet, without the line ends before them. Raises InvalidRequest.
    """
    if not opening.startswith(begun):
        raise broken("it does not begin with its boundary")


def broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"The form cannot be read: {why}.", code="invalid_multipart")


class Reading:
    """What of a form has been read so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._form = Form()
        self._parts = 0
        self._text_bytes = 0
        self._ended = False
        self._header: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._buffer = BytesIO()

    def parser(self, boundary: bytes) -> MultipartParser:
        """Raises InvalidRequest."""
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ends,
                    "on_header_begin": self._header_begins,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_end": self._ends,
                },
                max_header_count=MOST_HEADERS,
                max_header_size=LONGEST_HEADER,
            )
        except FormParserError:
            raise broken("its boundary cannot be used") from None

    def end(self) -> Form:
        """Raises InvalidRequest where the form breaks off."""
        if not self._ended:
            raise broken("it breaks off")
        return self._form

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise broken(f"it has more than {MOST_PARTS} parts")
        self._headers, self._buffer = {}, BytesIO()

    def _header_begins(self) -> None:
        self._header = [b"", b""]

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]

    def _headers_end(self) -> None:
        said, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("latin-1")
        if said != b"form-data" or not NAME.fullmatch(name):
            raise broken("a part has no usable name")
        encoding = self._headers.get(b"content-transfer-encoding", b"").decode("latin-1").strip().lower()
        if encoding not in PLAIN:
            raise broken("a part is encoded; send its bytes as they are")
        base = name.partition("[")[0]
        self._name = base if base in self._limits.files else name

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._buffer.write(memoryview(data)[start:end])
        if self._name in self._limits.files:
            if self._buffer.tell() > self._limits.file_bytes:
                text = f"{self._name} is larger than {self._limits.file_bytes // 1024 // 1024} MB."
                raise InvalidRequest(text, code="image_too_large", param=self._name)
            return
        self._text_bytes += end - start
        if self._buffer.tell() > LONGEST_TEXT_BYTES or self._text_bytes > MOST_TEXT_BYTES:
            raise TooLarge(f"A text part may have at most {LONGEST_TEXT_BYTES} bytes.")

    def _part_ends(self) -> None:
        data, self._buffer = self._buffer.getvalue(), BytesIO()
        if not data:
            return
        if self._name not in self._limits.files:
            self._keep_text(data)
            return
        self._form.files.append(Upload(self._name, data))
        most = self._limits.files[self._name]
        if sum(file.name == self._name for file in self._form.files) > most:
            raise broken(f"it has more than {most} parts named {self._name}")

    def _keep_text(self, data: bytes) -> None:
        if self._name in self._form.fields:
            text = f"The form has {self._name} twice."
            raise InvalidRequest(text, code="duplicate_key", param=self._name)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = f"{self._name} is not UTF-8."
            raise InvalidRequest(text, code="invalid_encoding", param=self._name) from None
        if "\0" in text:
            raise InvalidRequest(f"{self._name} holds a NUL.", code="invalid_unicode", param=self._name)
        self._form.fields[self._name] = text

    def _ends(self) -> None:
        self._ended = True

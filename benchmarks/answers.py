"""Finding the end of HTTP/1.1 answers on a kept-alive connection, with as little work as possible."""

import re

LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
MAX_HEAD_BYTES = 64 * 1024


class MalformedAnswer(Exception):
    """The peer does not speak HTTP/1.1 with a content length or chunks."""


class AnswerReader:
    """One answer: `feed` until it says True. `kept` holds the body of errors, and of others with `keep`."""

    def __init__(self, *, keep: bool) -> None:
        self.status = 0
        self.closes = False
        self.body_bytes = 0
        self.kept: list[bytes] | None = [] if keep else None
        self._head: bytes | None = b""
        self._left = 0
        self._chunked = False
        self._last_chunk_seen = False
        self._line = b""

    def feed(self, data: bytes) -> bool:
        """True when the answer is complete. Raises MalformedAnswer."""
        if self._head is not None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > MAX_HEAD_BYTES:
                    raise MalformedAnswer("the head has no end")
                return False
            head, data = self._head[: end + 2], self._head[end + 4 :]
            self._head = None
            self._read_head(head)
        if self._chunked:
            return self._feed_chunks(data)
        self._take(data)
        return self._left == 0

    def _read_head(self, head: bytes) -> None:
        self.status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0
        if self.status != 200 and self.kept is None:
            self.kept = []
        self.closes = CLOSE.search(head) is not None
        self._chunked = CHUNKED.search(head) is not None
        length = LENGTH.search(head)
        if not self.status or not (self._chunked or length):
            raise MalformedAnswer("neither a length nor chunks")
        self._left = int(length[1]) if length and not self._chunked else 0

    def _feed_chunks(self, data: bytes) -> bool:
        data, self._line, position = self._line + data, b"", 0
        while position < len(data):
            if self._left:
                position += self._take(data[position : position + self._left])
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._line = data[position:]
                return False
            line, position = data[position:end], end + 2
            if line and not self._last_chunk_seen:
                self._left = int(line.split(b";")[0], 16)
                self._last_chunk_seen = self._left == 0
            elif not line and self._last_chunk_seen:
                return True
        return False

    def _take(self, data: bytes) -> int:
        self._left -= len(data)
        self.body_bytes += len(data)
        if self._left < 0:
            raise MalformedAnswer("more bytes than were announced")
        if self.kept is not None:
            self.kept.append(data)
        return len(data)

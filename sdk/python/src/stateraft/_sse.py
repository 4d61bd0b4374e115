"""text/event-stream, as the WHATWG's standard parses it.

It differs where a client that resumes has to know more: blocks without data come
out too, if they set an id or a retry, because they move the place to resume
from. A block that the stream's end cuts short never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# An event tells a value, which may have 8 MiB, three times.
MAX_BLOCK_BYTES = 32 << 20

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class Block:
    """What stands between two empty lines."""

    id: bytes = b""  # of the last event, which an earlier block may have set
    event: str = ""
    data: bytes | None = None  # lines joined by \n
    retry: float | None = None  # seconds
    tells: bool = False

    def take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self.data = value if self.data is None else self.data + b"\n" + value
        elif name == b"id" and b"\0" not in value:
            self.id = value
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1000
        else:
            if name == b"event":
                self.event = value.decode(errors="replace")
            return
        self.tells = True


class Decoder:
    def __init__(self) -> None:
        self._block = Block()
        self._size = 0  # of the block so far
        self._rest: list[bytes] = []  # the line that has not ended yet
        self._after_cr = False  # a line feed that comes next belongs to the line before
        self._started = False  # the place where a byte order mark may stand is behind

    def feed(self, chunk: bytes) -> Iterator[Block]:
        """Take a piece of the stream, and yield the blocks that it completes.

        Raises ValueError if a block is longer than MAX_BLOCK_BYTES.
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        for line in self._lines(chunk):
            if line:
                self._block.take(line)
                continue
            if self._block.tells:
                yield self._block
            self._block, self._size = Block(id=self._block.id), 0

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        at = 0
        for end in _LINE_END.finditer(chunk):
            self._keep(chunk[at : end.start()])
            line = b"".join(self._rest)
            self._rest.clear()
            if not self._started:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                self._started = True
            yield line
            at = end.end()
        self._keep(chunk[at:])
        self._after_cr = chunk.endswith(b"\r")

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_BLOCK_BYTES:
            raise ValueError(f"an event is longer than {MAX_BLOCK_BYTES} bytes")
        self._rest.append(piece)

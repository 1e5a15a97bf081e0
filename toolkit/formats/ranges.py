"""A part of a file as a file of its own, for libraries that take one."""

from __future__ import annotations

import io
import shutil
import tempfile
from typing import IO, Any

from toolkit.errors import TruncatedError
from toolkit.formats.file import ReadFile

_COPY_BYTES = 1 << 20


class FileRange(io.RawIOBase):
    """The `size` bytes of `file` at `start`, read at any position.

    Attributes:
        file: The file.
        start: Where the part begins.
        size: How long it is.
    """

    def __init__(self, file: ReadFile, start: int, size: int) -> None:
        self.file = file
        self.start = start
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        """Return whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Return whether it can be read at any position: yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the position on, as far as there are bytes; return how many."""
        view = memoryview(buffer).cast("B")
        count = max(min(len(view), self.size - self._position), 0)
        if count:
            view[:count] = self.file.read(self.start + self._position, count)
            self._position += count
        return count


def unpacked(source: IO[bytes], size: int, what: str) -> FileRange:
    """Return the `size` bytes of `source` as a file without a name, which goes when it is closed.

    Raises:
        TruncatedError: There are fewer.
    """
    with tempfile.NamedTemporaryFile(prefix="ckpt-") as copy:
        shutil.copyfileobj(source, copy, _COPY_BYTES)
        copy.flush()
        found = copy.tell()
        if found != size:
            raise TruncatedError("unpacked size", path=what, expected=size, found=found)
        return FileRange(ReadFile(copy.name), 0, size)

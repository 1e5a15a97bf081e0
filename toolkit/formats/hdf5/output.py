"""A file for HDF5 to write to, which never lets the library meet an error of the system.

The HDF5 library may crash where a disk is full. So it is told that every write succeeds; the first that
did not is kept, and raised where it does no harm.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import h5py

_VERSIONS = ("earliest", "v110")
"""The oldest form that can say it, none that HDF5 1.10 cannot read."""


@contextlib.contextmanager
def create(path: str) -> Iterator[tuple[h5py.File, _Output]]:
    """Open the new file `path` for writing, and give it, and what knows of errors, to the block.

    Raises:
        OSError: The file exists, or the system refused something; also where HDF5 stumbled over that.
    """
    with open(path, "x+b", buffering=0) as raw:
        output = _Output(raw)
        try:
            with h5py.File(output, "w", libver=_VERSIONS, track_order=True) as file:
                yield file, output
        except Exception:
            output.check()
            raise
        output.check()


class _Output(io.RawIOBase):
    """What h5py takes for a file."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise what the system refused, if it has."""
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def readinto(self, buffer: Any) -> int | None:
        return self._raw.readinto(buffer)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self._error is None:
                rest = rest[self._raw.write(rest) or 0 :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

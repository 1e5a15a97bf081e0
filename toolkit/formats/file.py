"""Reading a regular file at given offsets, with every failure a typed error."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from typing import TYPE_CHECKING, Any

from toolkit.errors import ReadError, TruncatedError

if TYPE_CHECKING:
    import numpy as np

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of the last change (ns): what tells one file from another."""


class ReadFile:
    """A regular file, open for reading.

    It refuses what is not one (a FIFO would block, a device has no length). It is closed by `close`,
    or with the last reference.

    Attributes:
        path: As it was given.
        size: Its length in bytes when it was opened.

    Raises:
        ReadError: It is absent, not a regular file, or not readable.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise _refused(path, error) from error
        self._close = weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise _irregular(path)
        self.size = status.st_size

    def close(self) -> None:
        """Close the file; a second time does nothing. Its number may be another file's from then on."""
        self._close()
        self._fd = -1

    def fileno(self) -> int:
        """Return the file descriptor, which stays this object's.

        Raises:
            ReadError: The file was closed.
        """
        if self._fd < 0:
            raise closed(self.path)
        return self._fd

    def identity(self) -> Identity:
        """Return what tells this file from another that may take its name."""
        return identity_of(os.fstat(self.fileno()))

    def read(self, offset: int, size: int) -> bytes:
        """Return the `size` bytes at `offset`.

        Raises:
            TruncatedError: The file ends before them; nothing is allocated then.
            ReadError: The system reports an error.
        """
        self.check_extent(offset, size)
        parts = []
        while size > 0:
            try:
                part = os.pread(self._fd, size, offset)
            except OSError as error:
                raise _refused(self.path, error) from error
            if not part:
                raise self._cut_off(offset)
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, buffer: np.ndarray[Any, Any], offset: int) -> None:
        """Fill `buffer`, a contiguous `uint8` array, from the bytes at `offset`.

        Raises:
            TruncatedError: The file ends before the buffer is full.
            ReadError: The system reports an error.
        """
        view = memoryview(buffer)  # type: ignore[arg-type]
        while view:
            try:
                count = os.preadv(self._fd, [view], offset)
            except OSError as error:
                raise _refused(self.path, error) from error
            if not count:
                raise self._cut_off(offset)
            view = view[count:]
            offset += count

    def check_extent(self, offset: int, size: int) -> None:
        """Raise TruncatedError unless the file has the `size` bytes at `offset`."""
        if offset + size > self.size:
            raise TruncatedError(
                "file too short", path=self.path, expected=f"{offset + size} bytes", found=self.size
            )

    def _cut_off(self, offset: int) -> TruncatedError:
        return TruncatedError(
            "file ends",
            path=self.path,
            offset=offset,
            expected=f"{self.size} bytes",
            found=offset,
            hint="another program shortened it while it was read",
        )


_HINTS: dict[type[Exception], str] = {
    FileNotFoundError: "check the path; a file of the checkpoint may not have been copied",
    PermissionError: "you may not read it: ask its owner, or `chmod +r`",
    ValueError: "a path cannot have a NUL in it",
}


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of the file that `status` describes."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def stat_file(path: str) -> os.stat_result:
    """Return the status of the regular file at `path`, links followed.

    Raises:
        ReadError: There is none.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise _irregular(path)
    return status


def _irregular(path: str) -> ReadError:
    return ReadError(
        f"{path}: not a regular file", path=path, hint="copy what it gives to a file, and name that"
    )


def closed(path: str) -> ReadError:
    """Return the error that says that the file at `path` was closed before it was read."""
    return ReadError(
        f"{path}: was closed", path=path, hint="close the checkpoint when what was made of it is carried out"
    )


def _refused(path: str, error: OSError | ValueError) -> ReadError:
    if isinstance(error, OSError) and error.errno == errno.EBADF:
        return closed(path)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    hint = _HINTS.get(type(error), "check the path, and whether the disk is well")
    return ReadError(f"{path}: {(reason or str(error)).lower()}", path=path, hint=hint)

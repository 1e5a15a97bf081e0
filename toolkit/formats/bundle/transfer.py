"""Bytes of data files on their way to others: linked, or copied within the kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from toolkit.errors import PublishError, ReadError, TruncatedError
from toolkit.formats.file import ReadFile, identity_of, stat_file
from toolkit.places import Extent

_STEP = 64 << 20
"""Bytes copied at a time: often enough to tell how far it is."""
_NO_LINK = {
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK),
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL),
}
"""How systems say that a file cannot be linked here: another file system, none with links, not allowed."""
_NO_KERNEL_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
"""How they say that they do not copy from this file to that one (copy_file_range(2))."""


def link(extent: Extent, path: str, *, required: bool) -> bool:
    """Give the data file of `extent` the further name `path`; return whether that could be.

    Args:
        extent: Any in the data file.
        path: A name that is free.
        required: Raise where a link is not to be had.

    Raises:
        PublishError: It is not, and is required.
        ReadError: The data file is another than when its index was read.
    """
    try:
        os.link(os.path.realpath(extent.path), path)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if required:
            raise PublishError(
                f"{extent.path}: cannot be linked: {(error.strerror or str(error)).lower()}",
                path=extent.path,
                hint="--data auto copies where no link is to be had",
            ) from error
        return False
    if identity_of(stat_file(path)) != extent.identity:
        raise changed(extent.path)
    return True


def copy_file(extent: Extent, path: str, moved: Callable[[int], None]) -> None:
    """Copy the whole data file of `extent` to `path`, which must not exist.

    Raises:
        TruncatedError, ReadError: It is another than when its index was read.
    """
    with open(path, "xb", buffering=0) as file:
        copy_bytes(extent._replace(offset=0), extent.identity[2], file.fileno(), moved)


def copy_bytes(extent: Extent, nbytes: int, fd: int, moved: Callable[[int], None]) -> None:
    """Append the `nbytes` that begin at `extent` to the open file `fd`, within the kernel if it can.

    Raises:
        TruncatedError, ReadError: The file is another than when its index was read, or becomes one.
    """
    file = ReadFile(extent.path)
    try:
        if file.identity() != extent.identity:
            raise changed(extent.path)
        offset, end = extent.offset, extent.offset + nbytes
        in_kernel = hasattr(os, "copy_file_range")
        while offset < end:
            step = min(_STEP, end - offset)
            count = 0
            if in_kernel:
                try:
                    count = os.copy_file_range(file.fileno(), fd, step, offset)
                except OSError as error:
                    if error.errno not in _NO_KERNEL_COPY:
                        raise
                    in_kernel = False
                    continue
                if not count:
                    raise TruncatedError(
                        "file ends", path=extent.path, offset=offset, expected=end, found=offset
                    )
            else:
                part = memoryview(file.read(offset, min(step, 1 << 22)))
                count = len(part)
                while part:
                    part = part[os.write(fd, part) :]
            offset += count
            moved(count)
        if file.identity() != extent.identity:
            raise changed(extent.path)
    finally:
        file.close()


def changed(path: str) -> ReadError:
    """Return the error that says that the file at `path` is not what it was."""
    return ReadError(
        f"{path}: changed while it was read",
        path=path,
        hint="another program writes there: run it again when that is done",
    )

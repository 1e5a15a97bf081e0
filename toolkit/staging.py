"""What is on its way out: a staging directory, held by a lock, and what becomes of one left behind.

    .ckpt-4f0c…/lock        locked (flock) for as long as the writer lives
    .ckpt-4f0c…/new/        files as they are written, under their final names
    .ckpt-4f0c…/commit/     the one file whose appearance makes the result exist: an index
    .ckpt-4f0c…/after/      what accompanies it and replaces a file of the same name
    .ckpt-4f0c…/old/        links to the files that are replaced

Placing is linking, so the staged name remains as a record of how far things are until all is done. By
comparing inodes, whoever comes next completes the work of a killed writer if the commit file was
placed, and undoes it if it was not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat

PARTS = ("new", "commit", "after", "old")
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems say that they have no hard links, or no more of them."""
_NAME = re.compile(r"\.ckpt-[0-9a-f]{16}")
_MAX_ATTEMPTS = 100


class Staging:
    """A staging directory, held by its lock until `remove`, or until nobody refers to it.

    An interrupt may come between any two steps, also before whoever asked for it has it in hand.
    """

    def __init__(self, directory: str) -> None:
        self.path = ""
        self._lock = -1
        try:
            self._make(directory)
        except BaseException:
            self.remove()
            raise

    def _make(self, directory: str) -> None:
        for _ in range(_MAX_ATTEMPTS):
            self.path = os.path.join(directory, f".ckpt-{secrets.token_hex(8)}")
            try:
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                self.path = ""  # another's
                continue
            if self._take_lock():
                for part in PARTS:
                    os.mkdir(os.path.join(self.path, part), 0o700)
                return
        raise OSError(errno.EBUSY, "no staging directory could be kept")

    def _take_lock(self) -> bool:
        """Make and take the lock; return whether the directory is still there, and not swept."""
        path = os.path.join(self.path, "lock")
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return False
        with contextlib.suppress(OSError):  # a file system without locks: nothing is swept there
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if os.path.lexists(path):
            return True
        os.close(self._lock)
        self._lock = -1
        return False

    def remove(self) -> None:
        """Remove the directory and let go of the lock; a second time does nothing."""
        if self.path:
            _remove(self.path)
            self.path = ""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __del__(self) -> None:
        self.remove()


def sweep(directory: str) -> None:
    """Finish what killed writers began in `directory`: complete or undo it, and remove its staging.

    What a living writer has staged is locked, and left alone.
    """
    for entry in sorted(os.listdir(directory or ".")):
        if not _NAME.fullmatch(entry):
            continue
        staging = os.path.join(directory, entry)
        status = os.lstat(staging)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            continue
        try:
            lock = os.open(os.path.join(staging, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            with contextlib.suppress(OSError):  # killed before it had a lock, or after
                os.rmdir(staging)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _recover(staging, directory)
            _remove(staging)
        except OSError:
            pass  # another writer's, alive; or a system that says why when it is written to
        finally:
            os.close(lock)


def _recover(staging: str, directory: str) -> None:
    committed = _names(staging, "commit")
    if any(_is_same(os.path.join(staging, "commit", n), os.path.join(directory, n)) for n in committed):
        complete(staging, directory)
        return
    for name in _names(staging, "new"):
        final = os.path.join(directory, name)
        if _is_same(os.path.join(staging, "new", name), final):
            os.unlink(final)


def complete(staging: str, directory: str) -> None:
    """Do what follows the commit: place what accompanies it, remove what it replaced."""
    for name in _names(staging, "after"):
        replace_by_link(os.path.join(staging, "after", name), os.path.join(directory, name))
    for name in _names(staging, "old"):
        final = os.path.join(directory, name)
        if _is_same(os.path.join(staging, "old", name), final):
            os.unlink(final)


def replace_by_link(staged: str, final: str) -> None:
    """Put `staged` in the place of `final` at once, and keep the staged name where links exist."""
    if _is_same(staged, final):
        return
    turn = os.path.join(os.path.dirname(os.path.dirname(staged)), "turn")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(turn)  # a killed writer's
    try:
        os.link(staged, turn)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        turn = staged
    os.replace(turn, final)


def _remove(staging: str) -> None:
    """Remove a staging directory, so that what a kill leaves of it can be swept again.

    The lock goes last. `new` goes first: without it nothing is undone, whether or not the record of
    the commit is still there.
    """
    for part in PARTS:
        shutil.rmtree(os.path.join(staging, part), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(staging, "lock"))
    shutil.rmtree(staging, ignore_errors=True)


def _names(staging: str, part: str) -> list[str]:
    """Return what a part of a staging directory has; nothing if it is removed already."""
    try:
        return os.listdir(os.path.join(staging, part))
    except FileNotFoundError:
        return []


def _is_same(a: str, b: str) -> bool:
    try:
        return os.path.samestat(os.lstat(a), os.lstat(b))
    except FileNotFoundError:
        return False

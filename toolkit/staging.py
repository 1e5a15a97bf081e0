"""What is on its way out: a staging directory, held by a lock, and what becomes of one left behind.

    .ckpt-4f0c…/lock        locked (flock) for as long as the writer lives
    .ckpt-4f0c…/new/        files as they are written, under their final names
    .ckpt-4f0c…/linked/     links to files of others, under their names in the result
    .ckpt-4f0c…/commit/     the one file whose appearance makes the result exist: an index
    .ckpt-4f0c…/after/      what accompanies it and replaces a file of the same name
    .ckpt-4f0c…/old/        links to the files that are replaced

Placing is linking, so the staged name remains as a record of how far things are until all is done. By
comparing inodes, whoever ends a publication, be it the writer itself after an error or an interrupt or
the next one after a kill, completes it if the commit file was placed, and undoes it if it was not. A link
to another's file is the same inode wherever it is placed: that is undone only as long as no other writer has
committed, and always under the lock of the directory.
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
from collections.abc import Iterator
from typing import NamedTuple

PARTS = ("new", "linked", "commit", "after", "old")
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems say that they have no hard links, or no more of them."""
_NAME = re.compile(r"\.ckpt-[0-9a-f]{16}")
_MAX_ATTEMPTS = 100


Identity = tuple[int, int, int]
"""Device, inode and time of the last change of content (ns): what tells one file from another."""


class Record(NamedTuple):
    """What a publication places and what it replaces, by name.

    Attributes:
        new: Files with new names, placed before the commit.
        linked: Links to files of others, with new names, placed before the commit.
        commit: The one that makes the result exist.
        after: What accompanies it, placed after.
        old: What is removed in the end.
    """

    new: dict[str, Identity]
    linked: dict[str, Identity]
    commit: dict[str, Identity]
    after: dict[str, Identity]
    old: dict[str, Identity]


class Staging:
    """A staging directory, held by its lock until `close`, or until nobody refers to it.

    An interrupt may come between any two steps, also before whoever asked for it has it in hand.

    Attributes:
        path: Of the directory.
        record: What is placed, from when that begins until it is settled.
    """

    def __init__(self, directory: str) -> None:
        self.path = ""
        self.record: Record | None = None
        self._directory = directory
        self._lock = -1
        self._is_complete = False
        try:
            self._make(directory)
        except BaseException:
            self.close()
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

    def settle(self) -> bool:
        """Complete what was begun if the commit file was placed, else undo it; return which.

        Whoever calls it holds the lock of the directory. It may be called again: what is done stays done.

        Raises:
            OSError: The system refuses something; whoever publishes here next tries again.
        """
        if self.record is not None:
            self._is_complete = _settle(self.path, self._directory, self.record)
            self.record = None
        return self._is_complete

    def close(self) -> None:
        """Settle, remove the directory and let go of the lock; a second time does nothing.

        What cannot be settled now is left for whoever publishes here next. An interrupt comes through
        when all is done.
        """
        try:
            self._close()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self.path:
            with contextlib.suppress(OSError):
                if self.record is not None:
                    with locked(self._directory):
                        self.settle()
                _remove(self.path)
            self.path = ""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Hold the lock of `directory`, for as long as files take their names in it."""
    fd = os.open(directory or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def sweep(directory: str, *, is_locked: bool = False) -> None:
    """Finish what killed writers began in `directory`: complete or undo it, and remove its staging.

    What a living writer has staged is locked, and left alone.

    Args:
        directory: Which.
        is_locked: Whether the caller holds its lock.
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
            with contextlib.nullcontext() if is_locked else locked(directory):
                record = Record(*(identities(os.path.join(staging, part)) for part in PARTS))
                _settle(staging, directory, record)
            _remove(staging)
        except OSError:
            pass  # another writer's, alive; or a system that says why when it is written to
        finally:
            os.close(lock)


def abandoned(directory: str) -> list[str]:
    """Return the staging directories that killed writers left in `directory`: those that nobody locks."""
    found = []
    for entry in sorted(os.listdir(directory or ".")):
        path = os.path.join(directory, entry)
        if _NAME.fullmatch(entry) and os.path.isdir(path) and os.lstat(path).st_uid == os.geteuid():
            with contextlib.suppress(OSError):
                lock = os.open(
                    os.path.join(directory, entry, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
                )
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    found.append(path)
                finally:
                    os.close(lock)
    return found


def _settle(staging: str, directory: str, record: Record) -> bool:
    """Complete or undo, as far as it is not done; return which."""
    if not record.commit:
        return False  # nothing was placed
    committed = any(_is(os.path.join(directory, name), known) for name, known in record.commit.items())
    if committed:
        for name in record.after:
            after = os.path.join(staging, "after", name)
            if os.path.lexists(after):  # else it was moved to its place, for want of links
                replace_by_link(after, os.path.join(directory, name))
    doomed = record.old if committed else record.new
    if not committed and not any(_is_anothers(directory, name, record) for name in record.commit):
        doomed = {**doomed, **record.linked}
    for name, known in doomed.items():
        final = os.path.join(directory, name)
        if _is(final, known):
            os.unlink(final)
    return committed


def _is_anothers(directory: str, name: str, record: Record) -> bool:
    """Return whether a commit file of another writer has come to stand under `name`."""
    found = identity(os.path.join(directory, name))
    return found is not None and found not in (record.commit[name], record.old.get(name))


def replace_by_link(staged: str, final: str) -> None:
    """Put `staged` in the place of `final` at once, and keep the staged name where links exist."""
    if identity(staged) == identity(final):
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
    """Remove a staging directory that is settled, so that what a kill leaves of it can be swept again.

    The lock goes last. `new` and `linked` go first: without them nothing is undone, whether or not the
    record of the commit is still there.
    """
    for part in PARTS:
        shutil.rmtree(os.path.join(staging, part), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(staging, "lock"))
    shutil.rmtree(staging, ignore_errors=True)


def identity(path: str) -> Identity | None:
    """Return what tells the file at `path`, links not followed, from another; `None` if there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _is(path: str, known: Identity) -> bool:
    return identity(path) == known


def identities(folder: str) -> dict[str, Identity]:
    """Return the files of a part of a staging directory; none if it is removed already."""
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return {}
    found = ((name, identity(os.path.join(folder, name))) for name in entries)
    return {name: known for name, known in found if known is not None}

"""The one door out: files are written beside their destination and take their names all at once.

A publication stages its files in a directory of its own, where no one else may look (`staging.py`).
`publish` syncs and checks what was written and then places it: first the files that nothing points at
yet, then the commit file, then the rest. A writer that is killed leaves its staging behind; whoever
publishes to the same place next completes or undoes what it began.

An error or an interrupt at any moment ends in the same way: nothing of the new files is there, or all is.
While files take their names their directory is locked, and what was to be replaced must be what it was
when the writing began: of two writers one fails, and nothing is mixed.

Where a file system has no hard links, files are moved instead: as safe for readers, but a *killed*
writer may leave files behind that nothing points at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from toolkit.errors import CheckpointError, PublishError
from toolkit.made_directories import MadeDirectories, existing_directory
from toolkit.staging import (
    NO_LINKS,
    PARTS,
    Identity,
    Record,
    Staging,
    identities,
    identity,
    locked,
    replace_by_link,
    sweep,
)
from toolkit.urls import refuse_url_to_write

_MAX_ATTEMPTS = 5
"""How often the directory is made that other writers make and remove at the same time."""


class Publication:
    """Files on their way to `destination`, the path of the commit file, and beside it.

    Use it as a context manager: write each file to `staged(its name)`, then call `publish`. Left
    without `publish`, or by an exception, everything staged is removed; an `OSError` on the way out
    becomes a `PublishError`.

    Directories above `destination` that do not exist are made, and removed again where nothing comes of it.

    Args:
        destination: Where the commit file will be.
        force: Replace the file there; otherwise it must not exist.
        sync: Make the result survive a power loss. Without it, it survives only the process.

    Raises:
        PublishError: The directory cannot be made or is not writable, or `destination` exists.
    """

    def __init__(self, destination: str, *, force: bool = False, sync: bool = True) -> None:
        self._destination = destination
        self._directory, self._commit_name = os.path.split(destination)
        self._force = force
        self._sync = sync
        self._found: dict[str, Identity | None] = {}
        self._parents = MadeDirectories(self._directory)
        refuse_destination(destination, force=force)
        try:
            with self._refusals():
                self._stage()
        except BaseException:
            self._parents.remove_empty()
            raise

    def _stage(self) -> None:
        """Make the staging directory, and those above it."""
        for attempt in range(_MAX_ATTEMPTS):
            self._parents.make()
            try:
                sweep(self._directory)
                self.replaces([self._destination])
                self._staging = Staging(self._directory)
                return
            except FileNotFoundError:  # another writer removed the directory that it had made
                if attempt == _MAX_ATTEMPTS - 1:
                    raise

    def __enter__(self) -> Publication:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._staging.close()
        finally:
            self._parents.remove_empty()
        if isinstance(error, OSError) and not isinstance(error, CheckpointError):
            raise self._refused(error) from error

    def staged(self, name: str) -> str:
        """Return the path under which to write the file that will be called `name`."""
        return self._part("new", name)

    def replaces(self, paths: Iterable[str]) -> None:
        """Note files that the new ones stand for. They are removed last, if `force` was given.

        `publish` refuses if one of them, or the destination, is another by then.

        Raises:
            PublishError: One is a directory.
        """
        for path in paths:
            if os.path.isdir(path) and not os.path.islink(path):
                raise PublishError(f"{path}: is a directory", path=path, hint="choose another name")
            self._found[path] = identity(path)

    def publish(
        self,
        *,
        check: Callable[[], None] | None = None,
        accompanying: Iterable[str] = (),
        linked: Iterable[str] = (),
    ) -> None:
        """Give the staged files their names; when this returns, the result is complete.

        Args:
            check: Called when all is written and synced; reads the staged files again and raises
                if they are not what they should be.
            accompanying: Names of staged files that may replace one of the same name, which nothing
                points at (a `.meta`). All others but the commit file must have free names.
            linked: Names of staged files that are links to files of others, which stay theirs too.

        Raises:
            PublishError: A name is taken, or the system refuses something. What was there before is
                there still, or where the message says so, the new files are, complete.
        """
        with self._refusals():
            for name in os.listdir(self.staged("")):
                self._fsync(self.staged(name))
            if check is not None:
                check()
            with locked(self._directory):
                self._refuse_changes()
                sweep(self._directory, is_locked=True)  # a link cannot be told from a killed writer's later
                self._sort_out(set(accompanying), linked)
                try:
                    for part in ("new", "linked"):
                        for name in sorted(os.listdir(self._part(part, ""))):
                            self._place(self._part(part, name))
                    self._fsync(self._directory or ".")
                    for directory in self._parents.made:
                        self._fsync(os.path.dirname(directory) or ".")
                    self._commit()
                    self._fsync(self._directory or ".")
                    self._staging.settle()
                    self._fsync(self._directory or ".")
                except OSError as error:
                    if self._staging.settle():
                        raise self._refused(error, f"{self._destination}: written, but") from error
                    raise

    def _refuse_changes(self) -> None:
        """Refuse if another program has changed what is to be replaced."""
        for path, found in self._found.items():
            if identity(path) != found:
                if not self._force:
                    raise exists(path)
                raise PublishError(
                    f"{path}: another program changed it meanwhile; not written",
                    path=path,
                    hint="run it again, when the other is done",
                )

    def _sort_out(self, accompanying: set[str], linked: Iterable[str]) -> None:
        """Move what is staged to where its turn is, link what will be replaced, and record it all."""
        for name in linked:
            os.rename(self.staged(name), self._part("linked", name))
        os.rename(self.staged(self._commit_name), self._part("commit", self._commit_name))
        for name in accompanying if self._force else ():
            os.rename(self.staged(name), self._part("after", name))
        for path in self._found if self._force else ():
            self._link_old(path)
        parts = []
        for part in PARTS:
            self._fsync(self._part(part, ""))
            parts.append(identities(self._part(part, "")))
        self._fsync(self._staging.path)
        removed = {os.path.basename(path): found for path, found in self._found.items() if found}
        old = {name: found for name, found in removed.items() if name not in accompanying}
        self._staging.record = Record(*parts)._replace(old=old)

    def _part(self, part: str, name: str) -> str:
        return os.path.join(self._staging.path, part, name)

    def _link_old(self, path: str) -> None:
        """Link a file that will be replaced to `old`, where there are links."""
        try:
            os.link(path, self._part("old", os.path.basename(path)), follow_symlinks=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise

    def _place(self, staged: str) -> None:
        final = os.path.join(self._directory, os.path.basename(staged))
        try:
            os.link(staged, final)
        except FileExistsError:
            raise exists(final) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            try:  # reserve the name, which of two writers only one can
                os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                raise exists(final) from None
            os.replace(staged, final)

    def _commit(self) -> None:
        staged = self._part("commit", self._commit_name)
        try:
            if self._force:
                replace_by_link(staged, self._destination)
            else:
                os.link(staged, self._destination)
        except FileExistsError:
            raise exists(self._destination) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if not self._force and os.path.lexists(self._destination):
                raise exists(self._destination) from None
            os.replace(staged, self._destination)

    def _fsync(self, path: str) -> None:
        if not self._sync:
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            # some file systems have no fsync of a directory, and say so in this way
            if error.errno != errno.EINVAL or not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn what the system refuses into a `PublishError`."""
        try:
            yield
        except CheckpointError:
            raise
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError, what: str = "") -> PublishError:
        what = what or f"{self._destination}: not written:"
        reason = (error.strerror or str(error)).lower()
        hint = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EDQUOT: "free some space, or write to another disk",
            errno.EFBIG: "free some space, or write to another disk",
            errno.EACCES: f"you may not write to {self._directory or '.'}",
            errno.EROFS: "write to another disk",
        }.get(error.errno or 0, "see to the disk, and run it again")
        return PublishError(f"{what} {reason}", path=self._destination, hint=hint)


def refuse_destination(destination: str, *, force: bool) -> None:
    """Raise if `destination` cannot be written, as far as that can be told beforehand.

    Raises:
        PublishError: It is a URL, a file lies where its directory, or one above, would be; or without `force`
            it exists.
    """
    refuse_url_to_write(destination)
    directory = existing_directory(os.path.dirname(destination))
    if not os.path.isdir(directory):
        raise PublishError(
            f"{destination}: {directory} is not a directory", path=destination, hint="choose another place"
        )
    if not force and os.path.lexists(destination):
        raise exists(destination)


def exists(path: str) -> PublishError:
    """Return the error that says that `path` is taken."""
    return PublishError(f"{path}: exists", path=path, hint="--force replaces it, or choose another name")

"""The one door out: files are written beside their destination and take their names all at once.

A publication stages its files in a directory of its own, where no one else may look (`staging.py`).
`publish` syncs and checks what was written and then places it: first the files that nothing points at
yet, then the commit file, then the rest. A writer that is killed leaves its staging behind; whoever
publishes to the same place next completes or undoes what it began.

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
from toolkit.staging import NO_LINKS, PARTS, Staging, complete, replace_by_link, sweep


class Publication:
    """Files on their way to `destination`, the path of the commit file, and beside it.

    Use it as a context manager: write each file to `staged(its name)`, then call `publish`. Left
    without `publish`, or by an exception, everything staged is removed; an `OSError` on the way out
    becomes a `PublishError`.

    Args:
        destination: Where the commit file will be.
        force: Replace the file there; otherwise it must not exist.
        sync: Make the result survive a power loss. Without it, it survives only the process.

    Raises:
        PublishError: The directory is missing or not writable, or `destination` exists.
    """

    def __init__(self, destination: str, *, force: bool = False, sync: bool = True) -> None:
        self._destination = destination
        self._directory, self._commit_name = os.path.split(destination)
        self._force = force
        self._sync = sync
        self._placed: list[str] = []
        self._unlinked: list[str] = []  # replaced files that could not be linked to `old`
        if not os.path.isdir(self._directory or "."):
            raise PublishError(
                f"{destination}: the directory {self._directory} does not exist",
                path=destination,
                hint=f"mkdir -p {self._directory}",
            )
        if not force and os.path.lexists(destination):
            raise exists(destination)
        with self._refusals():
            sweep(self._directory)
            self._staging = Staging(self._directory)

    def __enter__(self) -> Publication:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._staging.remove()
        if isinstance(error, OSError) and not isinstance(error, CheckpointError):
            raise self._refused(error) from error

    def staged(self, name: str) -> str:
        """Return the path under which to write the file that will be called `name`."""
        return os.path.join(self._staging.path, "new", name)

    def publish(
        self,
        *,
        check: Callable[[], None] | None = None,
        accompanying: Iterable[str] = (),
        replaced: Iterable[str] = (),
    ) -> None:
        """Give the staged files their names; when this returns, the result is complete.

        Args:
            check: Called when all is written and synced; reads the staged files again and raises
                if they are not what they should be.
            accompanying: Names of staged files that may replace one of the same name, which nothing
                points at (a `.meta`). All others but the commit file must have free names.
            replaced: Paths of files that the new ones stand for; removed last. For `force` alone.

        Raises:
            PublishError: A name is taken, or the system refuses something. What was there before is
                there still.
        """
        new = os.path.join(self._staging.path, "new")
        with self._refusals():
            for name in os.listdir(new):
                self._fsync(os.path.join(new, name))
            if check is not None:
                check()
            self._sort_out(set(accompanying), list(replaced))
            try:
                for name in sorted(os.listdir(new)):
                    self._place(os.path.join(new, name))
                self._fsync(self._directory or ".")
                self._commit()
                self._fsync(self._directory or ".")
            except BaseException:
                self._undo()
                raise
            complete(self._staging.path, self._directory)
            for path in self._unlinked:
                os.unlink(path)
            self._fsync(self._directory or ".")

    def _sort_out(self, accompanying: set[str], replaced: list[str]) -> None:
        """Move what is staged to where its turn is, and link what will be replaced."""
        commit = os.path.join(self._staging.path, "commit", self._commit_name)
        os.rename(self.staged(self._commit_name), commit)
        for name in accompanying if self._force else ():
            os.rename(self.staged(name), os.path.join(self._staging.path, "after", name))
        for path in replaced if self._force else ():
            if not self._link_old(path):
                self._unlinked.append(path)
        if self._force and os.path.lexists(self._destination):
            self._link_old(self._destination)
        for part in (*PARTS, ""):
            self._fsync(os.path.join(self._staging.path, part))

    def _link_old(self, path: str) -> bool:
        """Link a file that will be replaced to `old`; return whether links exist here."""
        link = os.path.join(self._staging.path, "old", os.path.basename(path))
        try:
            os.link(path, link, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        return True

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
        self._placed.append(final)

    def _commit(self) -> None:
        staged = os.path.join(self._staging.path, "commit", self._commit_name)
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
        self._placed.append(self._destination)

    def _undo(self) -> None:
        """Take back what was placed; a commit file that was replaced comes back.

        Where it cannot come back, for want of links, the new files stand: they are complete.
        """
        old_commit = os.path.join(self._staging.path, "old", self._commit_name)
        if self._force and self._destination in self._placed and not os.path.lexists(old_commit):
            return
        for path in reversed(self._placed):
            old = os.path.join(self._staging.path, "old", os.path.basename(path))
            with contextlib.suppress(OSError):
                if os.path.lexists(old):
                    os.replace(old, path)
                else:
                    os.unlink(path)

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

    def _refused(self, error: OSError) -> PublishError:
        reason = (error.strerror or str(error)).lower()
        hint = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EDQUOT: "free some space, or write to another disk",
            errno.EACCES: f"you may not write to {self._directory or '.'}",
            errno.EROFS: "write to another disk",
        }.get(error.errno or 0)
        return PublishError(f"{self._destination}: not written: {reason}", path=self._destination, hint=hint)


def exists(path: str) -> PublishError:
    """Return the error that says that `path` is taken."""
    return PublishError(f"{path}: exists", path=path, hint="--force replaces it, or choose another name")

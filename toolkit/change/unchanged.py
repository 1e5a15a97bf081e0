"""Whether the files that a plan was made from are still what they were."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.checkpoint import Checkpoint
from toolkit.errors import MismatchError
from toolkit.formats.file import stat_file
from toolkit.plan import FileState


def states_of(checkpoint: Checkpoint) -> list[FileState]:
    """Return the files of a checkpoint as they are now.

    Raises:
        ReadError: One is gone.
    """
    checkpoint.check_present()  # its message says what belongs together
    return [_state(path) for path in checkpoint.files()]


def refuse_changed(files: Iterable[FileState]) -> None:
    """Raise unless all `files` are as they were.

    Raises:
        MismatchError: One has another size, or was written since.
        ReadError: One is gone.
    """
    for before in files:
        now = _state(before.path)
        if now != before:
            raise MismatchError(
                f"{before.path}: changed since the plan was made",
                name=before.path,
                expected=(before.nbytes, before.mtime_ns),
                found=(now.nbytes, now.mtime_ns),
                hint="make the plan again, and look at it",
            )


def _state(path: str) -> FileState:
    status = stat_file(path)
    return FileState(path, status.st_size, status.st_mtime_ns)

"""What is wrong with the files of a checkpoint's values, as far as their names and lengths tell."""

from __future__ import annotations

import os

from toolkit.checkpoint import Checkpoint
from toolkit.errors import CheckpointError, FormatError, ReadError
from toolkit.roles import OBJECT_GRAPH

_MAX_NAMED = 5


def problem_of(checkpoint: Checkpoint) -> CheckpointError | None:
    """Return the problem of the files of the values: one is missing, or too short; `None` if there is none.

    Raises:
        FormatError: The index points at what there cannot be.
        ReadError: A file is no regular file.
    """
    try:
        checkpoint.check_files()
    except (ReadError, FormatError) as error:
        if checkpoint.missing_files() or error.path in checkpoint.files()[1:]:
            return error
        raise
    return None


def problem_line(checkpoint: Checkpoint, problem: CheckpointError) -> str:
    """Return a problem as the line that stands above a list of names."""
    missing = [os.path.basename(path) for path in checkpoint.missing_files()]
    if not missing:
        return f"values are damaged: {problem.message}"
    more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
    names = ", ".join(missing[:_MAX_NAMED]) + more
    line = f"values are not there: {names} {'is' if len(missing) == 1 else 'are'} missing"
    if not checkpoint.knows_all_names:
        line += "; what only such a file holds is not listed"
    elif OBJECT_GRAPH in checkpoint and not checkpoint.paths():
        line += ", and with it the readable names: these are keys"
    return line

"""The checkpoints of a training, as people ask for them: which there are, which is the latest."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from toolkit.arguments import checked
from toolkit.change.directory import (
    Found,
    best_of,
    checkpoints_of,
    disk_usage,
    found_at,
    latest_in,
    latest_of,
)
from toolkit.errors import CheckpointError, ReadError
from toolkit.formats.refusals import none_in


class Logged(NamedTuple):
    """A checkpoint of a training directory.

    Attributes:
        path: The directory and its name.
        step: Of the training, as its name tells; `None` if it does not.
        time: When it was saved, in seconds since 1970.
        nbytes: The bytes of its files, without those that an earlier one in the list has too (hard links).
        latest: Whether it is the latest that is complete.
        complete: Whether it can be read, as far as the lengths of its files tell.
        best: Whether it has the best metric that a keeper of saves was told.
        metric: That metric, or `None`.
        problem: Why it cannot be read, or `None`.
    """

    path: str
    step: int | None
    time: float
    nbytes: int
    latest: bool
    complete: bool
    best: bool
    metric: float | None
    problem: str | None

    def __repr__(self) -> str:
        step = "no step" if self.step is None else f"step {self.step}"
        what = [step, *(["latest"] if self.latest else []), *(["best"] if self.best else [])]
        return f"<Logged {self.path!r}: {', '.join([*what, *([] if self.complete else ['broken'])])}>"


@checked
def log(directory: str | os.PathLike[str]) -> list[Logged]:
    """Return the checkpoints of a training directory, by their steps, oldest first.

    Raises:
        ReadError: It is no directory, cannot be listed, or has no checkpoint.
        UnsupportedError: It has Orbax's.
    """
    directory = os.fspath(directory)
    found = checkpoints_of(directory)
    if not found:
        raise _none(directory, found)
    newest, best = latest_of(directory, found), best_of(found)
    counted: set[tuple[int, int]] = set()
    return [
        Logged(
            each.path,
            each.step,
            each.time,
            disk_usage(each.files, counted),
            each is newest,
            each.is_complete,
            each.name in best,
            each.metric,
            each.problem,
        )
        for each in found
    ]


@checked
def latest(directory: str | os.PathLike[str], *, note: Callable[[str], None] | None = None) -> Found:
    """Return the latest checkpoint of a training directory that is complete.

    That is the one that the state file names, or one that was saved after the state file was written: its
    writer was killed between the two. Where the one that it names is broken or gone, or there is no state
    file, it is the newest.

    Args:
        directory: Of a training.
        note: Called where it is not the one that the state file names, with why.

    Raises:
        ReadError: There is none, or there are several, and neither a state file nor steps in their names.
        UnsupportedError: There are Orbax's.
    """
    directory = os.fspath(directory)
    found = checkpoints_of(directory)
    newest = latest_in(directory, found)
    if newest is None:
        raise _none(directory, found)
    if newest.note is not None and note is not None:
        note(newest.note)
    for each in found:
        if os.path.normpath(each.path) == newest.path:
            return each
    return found_at(newest.path)


def _none(directory: str, found: list[Found]) -> CheckpointError:
    if not found:
        return none_in(directory)
    if any(each.is_complete for each in found):
        what = "several checkpoints, and neither a state file nor steps tell the latest"
        hint = f"name one: {', '.join(each.name for each in found if each.is_complete)}"
    else:
        what = "no complete checkpoint in this directory"
        hint = "`ckpt log` says what is wrong with those that are there"
    return ReadError(f"{directory}: {what}", path=directory, hint=hint)

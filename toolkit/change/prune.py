"""Old checkpoints of a training, removed by rules."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.arguments import checked
from toolkit.change.directory import (
    Found,
    as_saved,
    best_of,
    checkpoints_of,
    latest_in,
)
from toolkit.change.removal import remove_files
from toolkit.change.retention import Retention
from toolkit.errors import CheckpointError, UsageError
from toolkit.formats.bundle.state import FILE_NAME, State, content_of, read_state, state_files, write_state
from toolkit.formats.records import read_record
from toolkit.formats.saves import target_of, trainings_of
from toolkit.units import size

_DAY = 24 * 60 * 60


@dataclass(frozen=True, repr=False)
class Pruning:
    """What stays of a training directory's checkpoints, and what goes. `apply` does it.

    Attributes:
        directory: Which.
        kept: Those that stay, with why.
        removed: Those that go, oldest first.
        nbytes: What that frees on the disk: what other files share by hard link stays there.
    """

    directory: str
    kept: tuple[tuple[Found, str], ...]
    removed: tuple[Found, ...]
    nbytes: int
    latest: Found | None = None
    """The latest save, where the state file names an earlier one."""

    def __repr__(self) -> str:
        what = f"{len(self.kept)} keep, {len(self.removed)} remove, {size(self.nbytes)}"
        return f"<Pruning of {self.directory!r}: {what}>"

    @checked
    def apply(self, *, sync: bool = True) -> None:
        """Take what goes out of the state file, then remove its files, each index first.

        Raises:
            PublishError: The system refuses something; run it again.
        """
        gone = {os.path.normpath(each.path) for each in self.removed}
        for name in state_files(self.directory):
            before = content_of(os.path.join(self.directory, name))
            state = read_state(self.directory, name)
            if state is None:
                continue
            kept = [path for path in state.all_paths if target_of(self.directory, path) not in gone]
            times = dict(zip(state.all_paths, state.timestamps, strict=False))
            latest = state.latest
            if self.latest is not None and name == FILE_NAME:  # written now, it would seem to be up to date
                latest = self.latest.name
                kept.append(latest)
                times |= {latest: self.latest.time} if times else {}
            if len(kept) < len(state.all_paths) or latest != state.latest:
                timestamps = tuple(times.get(path, 0.0) for path in kept) if times else ()
                state = state._replace(latest=latest, all_paths=tuple(kept), timestamps=timestamps)
                write_state(self.directory, state, name=name, before=before, sync=sync)
        for each in self.removed:
            remove_files(file.path for file in each.files)


@checked
def plan_prune(
    directory: str | os.PathLike[str],
    *,
    keep: int,
    keep_every: int = 0,
    keep_best: int = 0,
    older_than: float = 0,
) -> Pruning:
    """Plan to remove old checkpoints of a training directory. `apply` does it.

    What any rule keeps stays; the latest always does, and what any state file names as the latest. Each
    training in the directory (`a-100`, `b-100`) is looked at by itself. Checkpoints that are broken, or whose
    names tell no step, are left alone, and so are those that a link in what is kept leads to.

    Args:
        directory: Which.
        keep: The newest so many of each training, 1 or more: by their steps, and where a training began
            anew at lower ones, by their times as well.
        keep_every: Also those whose step is a multiple of this.
        keep_best: Also the best so many, by the metrics that a keeper of saves was told.
        older_than: Remove only what was saved more than so many days ago.

    Raises:
        UsageError: A rule makes no sense, or there are no metrics.
        FormatError: The best are to be kept, and a record of metrics is damaged.
        ReadError: It is no directory, or cannot be listed.
    """
    directory = os.fspath(directory)
    Retention(keep, keep_every, keep_best).check()
    if not isinstance(older_than, (int, float)) or not 0 <= older_than < float("inf"):
        raise UsageError(f"older_than: expected 0 days or more, got {older_than!r}")
    found = checkpoints_of(directory)
    for training in trainings_of(directory) if keep_best else ():
        read_record(directory, training)
    if keep_best and all(each.metric is None for each in found):
        raise UsageError(
            f"{directory}: no metrics are known", hint="a keeper of saves notes them; leave --keep-best out"
        )
    latest, best, now = latest_in(directory, found), best_of(found, keep_best), time.time()
    newest = next((each for each in found if latest and os.path.normpath(each.path) == latest.path), None)
    retained = _retained(found, Retention(keep, keep_every))
    named = {target_of(directory, state.latest) for state in _states(directory)}
    kept, removed = [], []
    for each in found:
        why = _left_alone(each)
        if why is None and (each is newest or os.path.normpath(each.path) in named):
            why = "the latest"
        elif why is None and each.name in best:
            why = "one of the best"
        elif why is None and each.name in retained:
            why = _why(each, keep_every)
        elif why is None and now - each.time <= older_than * _DAY:
            why = f"saved within {older_than:g} days"
        if why is None:
            removed.append(each)
        else:
            kept.append((each, why))
    targets = {os.path.realpath(file.path) for each, _ in kept for file in each.files}
    for each in list(removed):
        if not targets.isdisjoint(os.path.realpath(file.path) for file in each.files):
            removed.remove(each)
            kept.append((each, "a link in what is kept leads to it"))
    behind = newest if latest is not None and latest.is_behind else None
    return Pruning(directory, tuple(kept), tuple(removed), _freed(removed), behind)


def _states(directory: str) -> list[State]:
    """Return what the state files of a directory say."""
    found = []
    for name in state_files(directory):
        with contextlib.suppress(CheckpointError):
            state = read_state(directory, name)
            if state is not None:
                found.append(state)
    return found


def _retained(found: Sequence[Found], rules: Retention) -> set[str]:
    """Return the names of those that `rules` keep of each training, by steps and the newest by times."""
    retained: set[str] = set()
    for training in {each.family for each in found}:
        members = [each for each in found if each.family == training and _counts(each)]
        by_time = sorted(members, key=lambda each: (each.time, each.order))
        retained |= rules.kept(as_saved(members)) | Retention(rules.keep).kept(as_saved(by_time))
    return retained


def _left_alone(found: Found) -> str | None:
    """Return why no rule is asked about a checkpoint, or `None`."""
    if found.problem is not None:
        return f"broken: {found.problem}"
    return "its name tells no step" if found.step is None else None


def _why(found: Found, keep_every: int) -> str:
    every = keep_every and found.step is not None and found.step % keep_every == 0
    return f"its step is a multiple of {keep_every}" if every else "one of the newest"


def _counts(found: Found) -> bool:
    return found.is_complete and found.step is not None


def _freed(removed: list[Found]) -> int:
    """Return the bytes of files all of whose names go."""
    names: dict[tuple[int, int], set[str]] = {}
    files = {file.path: file for each in removed for file in each.files}
    for file in files.values():
        names.setdefault(file.inode, set()).add(file.path)
    sizes = {file.inode: file.nbytes for file in files.values() if len(names[file.inode]) >= file.num_names}
    return sum(sizes.values())

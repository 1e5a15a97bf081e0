"""Old checkpoints of a training, removed by rules."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from toolkit.change.directory import Found, best_of, checkpoints_of, latest_of, saved, state_of
from toolkit.change.removal import remove_files
from toolkit.change.retention import Retention
from toolkit.errors import UsageError
from toolkit.formats.bundle.state import write_state

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
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

    def apply(self, *, sync: bool = True) -> None:
        """Take what goes out of the state file, then remove its files, each index first.

        Raises:
            PublishError: The system refuses something; run it again.
        """
        gone = {each.name for each in self.removed}
        state = state_of(self.directory)
        if state is not None and any(os.path.basename(path) in gone for path in state.all_paths):
            times = dict(zip(state.all_paths, state.timestamps, strict=False))
            paths = tuple(path for path in state.all_paths if os.path.basename(path) not in gone)
            timestamps = tuple(times.get(path, 0.0) for path in paths) if times else ()
            write_state(self.directory, state._replace(all_paths=paths, timestamps=timestamps), sync=sync)
        for each in self.removed:
            remove_files(file.path for file in each.files)


def plan_prune(
    directory: str | os.PathLike[str],
    *,
    keep: int,
    keep_every: int = 0,
    keep_best: int = 0,
    older_than: float = 0,
) -> Pruning:
    """Plan to remove old checkpoints of a training directory. `apply` does it.

    What any rule keeps stays; the latest always does. Each training in the directory (`a-100`, `b-100`) is
    looked at by itself. Checkpoints that are broken, or whose names tell no step, are left alone.

    Args:
        directory: Which.
        keep: The newest so many of each training, by their steps: 1 or more.
        keep_every: Also those whose step is a multiple of this.
        keep_best: Also the best so many, by the metrics that a keeper of saves was told.
        older_than: Remove only what was saved more than so many days ago.

    Raises:
        UsageError: A rule makes no sense, or there are no metrics.
        ReadError: It is no directory, or cannot be listed.
    """
    directory = os.fspath(directory)
    Retention(keep, keep_every, keep_best).check()
    if older_than < 0:
        raise UsageError(f"older_than {older_than}: expected 0 days or more")
    found = checkpoints_of(directory)
    if keep_best and all(each.metric is None for each in found):
        raise UsageError(
            f"{directory}: no metrics are known", hint="a keeper of saves notes them; leave --keep-best out"
        )
    newest, best, now = latest_of(directory, found), best_of(found, keep_best), time.time()
    retained: set[str] = set()
    for training in {each.family for each in found}:
        members = [each for each in found if each.family == training and _counts(each)]
        retained |= Retention(keep, keep_every).kept(saved(members))
    kept, removed = [], []
    for each in found:
        if each.problem is not None:
            kept.append((each, f"broken: {each.problem}"))
        elif each.step is None:
            kept.append((each, "its name tells no step"))
        elif each is newest:
            kept.append((each, "the latest"))
        elif each.name in best:
            kept.append((each, "one of the best"))
        elif each.name in retained:
            kept.append((each, "one of the newest" if not keep_every else "newest, or of a step that stays"))
        elif now - each.time <= older_than * _DAY:
            kept.append((each, f"saved within {older_than:g} days"))
        else:
            removed.append(each)
    return Pruning(directory, tuple(kept), tuple(removed), _freed(removed))


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

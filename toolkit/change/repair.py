"""A training directory put right: its state file, and what broken saves left behind."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolkit import staging
from toolkit.change.directory import Found, checkpoints_of, family_of
from toolkit.change.records import WEIGHTS
from toolkit.change.removal import remove_files
from toolkit.errors import CheckpointError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.state import FILE_NAME, State, read_state, write_state

_SETTLED_SECONDS = 60 * 60
"""How long nothing may have touched what a broken save left: a copy under way sets old times of change, but
not that of the inode."""
_TEMPORARY = re.compile(r"(.+?)(\.index|\.meta|\.data-\d+-of-\d+)?\.(tempstate\d+|tmp[0-9a-f]{32})")
"""What TensorFlow writes before it renames it (tensor_bundle.cc, file_io.py)."""
_FOLDER = "_temp"
"""Where it writes the parts of a save in several files (saver.py, functional_saver.py)."""


class Orphan(NamedTuple):
    """What a broken save left.

    Attributes:
        path: A file, or a folder.
        why: How that is known; or, of what stays, why it is not.
    """

    path: str
    why: str


@dataclass(frozen=True)
class Repair:
    """What is to be put right in a training directory. `apply` does it.

    Attributes:
        directory: Which.
        state: What the state file should say; `None` to leave it as it is.
        changes: What that changes, in sentences.
        orphans: What broken saves provably left, which is removed.
        left: What looks like it, and stays.
        broken: Checkpoints that cannot be read, which stay.
    """

    directory: str
    state: State | None
    changes: tuple[str, ...]
    orphans: tuple[Orphan, ...]
    left: tuple[Orphan, ...]
    broken: tuple[Found, ...]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.state is not None or bool(self.orphans)

    def apply(self, *, sync: bool = True) -> None:
        """Write the state file, and remove the orphans.

        Raises:
            PublishError: The system refuses something; run it again.
        """
        staging.sweep(self.directory)
        if self.state is not None:
            write_state(self.directory, self.state, sync=sync)
        for orphan in self.orphans:
            if os.path.isdir(orphan.path) and not os.path.islink(orphan.path):
                shutil.rmtree(orphan.path, ignore_errors=True)
            else:
                remove_files([orphan.path])


def plan_repair(directory: str | os.PathLike[str]) -> Repair:
    """Plan to put a training directory right. `apply` does it.

    The state file comes to name, by relative paths, the checkpoints that it named and that are complete; the
    latest is the one that it named, or if that is not complete, the newest. What a broken save left is
    removed where it is provably that: a later save of the same training is complete, and nothing has touched
    it for an hour; or its writer was this toolkit's, and is dead.

    Raises:
        ReadError: It is no directory, or cannot be listed.
    """
    directory = os.fspath(directory)
    found = checkpoints_of(directory)
    state, changes = _true_state(directory, found)
    orphans = [Orphan(path, "its writer was killed") for path in staging.abandoned(directory)]
    left: list[Orphan] = []
    for path, name, why in _leftovers(directory, found):
        doubt = _doubt(path, name, found)
        (left if doubt else orphans).append(Orphan(path, doubt or why))
    named = {orphan.path for orphan in (*orphans, *left)}
    broken = [f for f in found if not f.is_complete and not named.issuperset(held.path for held in f.files)]
    return Repair(directory, state, tuple(changes), tuple(orphans), tuple(left), tuple(broken))


def _true_state(directory: str, found: Sequence[Found]) -> tuple[State | None, list[str]]:
    """Return what the state file should say, if that is something else, and what changes."""
    complete = {each.name: each for each in found if each.is_complete and not each.name.endswith(WEIGHTS)}
    problem = None
    try:
        state = read_state(directory)
    except CheckpointError as error:
        state, problem = None, f"it was damaged: {error.message}"
    if not complete:
        return None, []
    newest = max(complete.values(), key=lambda each: (each.time, each.step or 0)).name
    if state is None:
        why = problem or "there was none"
        return State(newest, (newest,), (complete[newest].time,)), [
            f"{FILE_NAME}: names {newest}, alone: {why}"
        ]
    changes = []
    times = dict(zip(state.all_paths, state.timestamps, strict=False))
    listed: dict[str, float] = {}
    for path in state.all_paths:
        name = os.path.basename(path)
        elsewhere = os.path.join(directory, path)
        if name in complete:
            listed[name] = times.get(path, 0.0)
            if path != name:
                changes.append(f"{FILE_NAME}: {path} becomes {name}")
        elif os.path.lexists(naming.index_file(elsewhere)) and os.path.dirname(path):
            listed[os.path.relpath(elsewhere, directory)] = times.get(path, 0.0)
        else:
            changes.append(f"{FILE_NAME}: {path} is left out: it is not there, or not complete")
    latest = os.path.basename(state.latest)
    if latest not in complete:
        kept = [name for name in listed if name in complete]
        latest = kept[-1] if kept else newest
        changes.append(f"{FILE_NAME}: the latest is {latest}: {state.latest} is not complete")
    elif state.latest != latest:
        changes.append(f"{FILE_NAME}: the latest is {latest}, by a relative path: it was {state.latest}")
    listed.setdefault(latest, complete[latest].time)
    timestamps = tuple(listed.values()) if state.timestamps else ()
    true = State(latest, tuple(listed), timestamps, state.last_preserved)
    return (None, []) if true == state else (true, changes or [f"{FILE_NAME}: lists its latest, too"])


def _leftovers(directory: str, found: Sequence[Found]) -> Iterator[tuple[str, str, str]]:
    """Yield what a broken save may have left, the checkpoint that it was to be, and how it is known."""
    complete = {each.name: {file.path for file in each.files} for each in found if each.is_complete}
    for entry in sorted(os.listdir(directory)):
        path = os.path.join(directory, entry)
        if (match := _TEMPORARY.fullmatch(entry)) is not None and os.path.isfile(path):
            yield path, match[1], "a temporary file of a save that was broken off"
        elif entry.endswith(_FOLDER) and _is_folder_of_parts(path):
            yield path, entry.removesuffix(_FOLDER), "parts of a save that was broken off"
        elif (parsed := naming.parse_data_file(entry)) is not None and os.path.isfile(path):
            prefix = os.path.join(directory, parsed[0])
            if not os.path.lexists(naming.index_file(prefix)):
                yield path, parsed[0], "data of a save that was broken off: it has no index"
            elif parsed[0] in complete and not _is_used(prefix, parsed[2]):
                yield path, parsed[0], "data of an earlier save of this name: the index has other files"


def _is_used(prefix: str, num_shards: int) -> bool:
    """Return whether the index at `prefix` is of so many data files."""
    checkpoint = BundleCheckpoint(prefix)
    checkpoint.close()
    return checkpoint.num_shards == num_shards


def _is_folder_of_parts(path: str) -> bool:
    if not os.path.isdir(path) or os.path.islink(path):
        return False
    return all(re.match(r"part-", entry) for entry in os.listdir(path))


def _doubt(path: str, name: str, found: Sequence[Found]) -> str | None:
    """Return why it is not sure that a save left this; `None` if it is."""
    inside = [os.path.join(path, entry) for entry in os.listdir(path)] if os.path.isdir(path) else []
    states = [os.lstat(each) for each in [path, *inside]]
    written = max(status.st_mtime for status in states)
    if time.time() - max(max(status.st_mtime, status.st_ctime) for status in states) < _SETTLED_SECONDS:
        return "it was touched within the hour: a save, or a copy, may be under way"
    step = re.fullmatch(r".*-(\d+)", name)
    number = int(step[1]) if step else -1
    family = family_of(name)
    for each in found:
        if not each.is_complete or each.family != family:
            continue
        index = [os.stat(file.path).st_mtime for file in each.files[:1]]
        if index and index[0] > written and (each.name == name or (each.step or 0) > number):
            return None
    if name == FILE_NAME and any(each.is_complete for each in found):
        return None
    return "no later save of this training is complete"

"""A training directory put right: its state file, and what broken saves left behind."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolkit import staging
from toolkit.arguments import checked
from toolkit.change.directory import Found, checkpoints_of, latest_in
from toolkit.change.removal import remove_files
from toolkit.errors import CheckpointError, PublishError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.state import FILE_NAME, State, content_of, looks_damaged, read_state, write_state
from toolkit.formats.records import RECORD, read_record
from toolkit.formats.saves import KERAS, family_of, files_of, target_of, trainings_of

_SETTLED_SECONDS = 60 * 60
"""How long nothing may have touched what a broken save left: a copy under way sets old times of change, but
not that of the inode."""
_TEMPORARY = re.compile(r"(.+?)(\.index|\.meta|\.data-\d+-of-\d+)?\.(tempstate\d+|tmp[0-9a-f]{32})")
"""What TensorFlow writes before it renames it (tensor_bundle.cc, file_io.py)."""
_FOLDER = re.compile(r"(.+)_temp(_[0-9a-f]{32})?")
"""Where it writes the parts of a save in several files (saver.py, functional_saver.py)."""
_PART = re.compile(r"part-\d{5}-of-\d{5}\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")
"""What these are called."""


class Orphan(NamedTuple):
    """What a broken save left.

    Attributes:
        path: A file, or a folder.
        why: How that is known; or, of what stays, why it is not.
    """

    path: str
    why: str


@dataclass(frozen=True, repr=False)
class Repair:
    """What is to be put right in a training directory. `apply` does it.

    Attributes:
        directory: Which.
        state: What the state file should say; `None` to leave it as it is.
        changes: What that changes, in sentences.
        orphans: What broken saves provably left, which is removed.
        left: What looks like it, or is no state file though it bears its name, and stays.
        broken: Checkpoints that cannot be read, which stay.
        before: What the state file held when this was planned.
    """

    directory: str
    state: State | None
    changes: tuple[str, ...]
    orphans: tuple[Orphan, ...]
    left: tuple[Orphan, ...]
    broken: tuple[Found, ...]
    before: bytes

    def __repr__(self) -> str:
        found = (
            ("changed", self.changes),
            ("removed", self.orphans),
            ("left", self.left),
            ("broken", self.broken),
        )
        what = ", ".join(f"{len(each)} {called}" for called, each in found if each) or "all is well"
        return f"<Repair of {self.directory!r}: {what}>"

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.state is not None or bool(self.orphans)

    @checked
    def apply(self, *, sync: bool = True) -> None:
        """Write the state file, and remove the orphans.

        Raises:
            PublishError: The system refuses something; run it again.
        """
        staging.sweep(self.directory)
        if self.state is not None:
            write_state(self.directory, self.state, before=self.before, sync=sync)
        for orphan in self.orphans:
            if not os.path.isdir(orphan.path) or os.path.islink(orphan.path):
                remove_files([orphan.path])
            elif _FOLDER.fullmatch(os.path.basename(orphan.path)):
                remove_files([os.path.join(orphan.path, entry) for entry in os.listdir(orphan.path)])
                _remove_folder(orphan.path)
            else:  # sweeping did not get it
                raise _not_removed(orphan.path, "something in it may not be removed")


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        raise _not_removed(path, (error.strerror or str(error)).lower()) from error


def _not_removed(path: str, why: str) -> PublishError:
    return PublishError(f"{path}: cannot be removed: {why}", path=path, hint="see who may write here")


@checked
def plan_repair(directory: str | os.PathLike[str]) -> Repair:
    """Plan to put a training directory right. `apply` does it.

    The state file comes to name, by relative paths, the checkpoints that it named and that are complete, and
    the latest, as `latest` tells it. What a broken save left is
    removed where it is provably that: a later save of the same training is complete, and nothing has touched
    it for an hour; or its writer was this toolkit's, and is dead.

    Raises:
        ReadError: It is no directory, or cannot be listed.
    """
    directory = os.fspath(directory)
    state_file = os.path.join(directory, FILE_NAME)
    before = content_of(state_file)  # read first: what it names is there by now
    left: list[Orphan] = []
    state, problem = None, "there was none"
    try:
        state = read_state(directory) if os.path.isdir(directory) else None
    except CheckpointError as error:
        problem = f"it was damaged: {error.message}"
        if not looks_damaged(before):
            left.append(Orphan(state_file, "is no state file of TensorFlow"))
    found = checkpoints_of(directory)
    true, changes = (None, []) if left else _true_state(directory, found, state, problem)
    if os.path.lexists(state_file) and not left and latest_in(directory, found) is None:
        is_any = any(each.is_complete for each in found)
        what = "nothing tells the latest" if is_any else "there is no complete checkpoint for it to name"
        left.append(Orphan(state_file, what))
    for training in trainings_of(directory):
        try:
            read_record(directory, training)
        except CheckpointError as error:
            left.append(Orphan(os.path.join(directory, training + RECORD), error.message))
    orphans = [Orphan(path, "its writer was killed") for path in staging.abandoned(directory)]
    for path, name, why in _leftovers(directory, found):
        doubt = _doubt(path, name, found)
        (left if doubt else orphans).append(Orphan(path, doubt or why))
    named = {orphan.path for orphan in (*orphans, *left)}
    broken = [each for each in found if not each.is_complete and not _is_named(each, named)]
    return Repair(directory, true, tuple(changes), tuple(orphans), tuple(left), tuple(broken), before)


def _is_named(found: Found, named: Collection[str]) -> bool:
    """Return whether all of a broken checkpoint but its graph is among what is named already."""
    paths = [file.path for file in found.files if not file.path.endswith(naming.META)]
    return bool(paths) and all(path in named for path in paths)


def _true_state(
    directory: str, found: Sequence[Found], state: State | None, problem: str
) -> tuple[State | None, list[str]]:
    """Return what the state file should say, if that is something else, and what changes."""
    complete = {os.path.normpath(f.path): f for f in found if f.is_complete and not f.path.endswith(KERAS)}
    newest = latest_in(directory, complete.values())
    if newest is None:
        return None, []
    name = os.path.relpath(newest.path, directory)
    time = complete[newest.path].time if newest.path in complete else 0.0
    if state is None:
        return State(name, (name,), (time,)), [f"{FILE_NAME}: names {name}, alone: {problem}"]
    changes = []
    times = dict(zip(state.all_paths, state.timestamps, strict=False))
    listed: dict[str, float] = {}
    for path in state.all_paths:
        new = _relative(directory, path, complete)
        if new is None:
            changes.append(f"{FILE_NAME}: {path} is left out: it is not there, or not complete")
            continue
        listed[new] = times.get(path, 0.0)
        if new != path:
            changes.append(f"{FILE_NAME}: {path} becomes {new}")
    latest = _relative(directory, state.latest, complete)
    if newest.is_behind:
        latest = name
        changes.append(f"{FILE_NAME}: the latest is {latest}: it was saved after {state.latest}")
    elif latest is None:
        latest = name
        changes.append(f"{FILE_NAME}: the latest is {latest}: {state.latest} is not complete")
    elif latest != state.latest:
        changes.append(f"{FILE_NAME}: the latest is {latest}, by a relative path: it was {state.latest}")
    if latest not in listed:
        listed[latest] = time
    timestamps = tuple(listed.values()) if state.timestamps else ()
    true = State(latest, tuple(listed), timestamps, state.last_preserved)
    return (None, []) if true == state else (true, changes or [f"{FILE_NAME}: lists its latest, too"])


def _relative(directory: str, written: str, complete: Collection[str]) -> str | None:
    """Return a path of a state file as a relative one; `None` if it leads to nothing that is complete.

    What lies elsewhere, or may not be read, is taken to be what it was.
    """
    target = target_of(directory, written)
    files = files_of(target)
    is_here = os.path.dirname(target) == os.path.normpath(directory)
    if not files or (is_here and target not in complete and all(os.access(f, os.R_OK) for f in files)):
        return None
    relative = os.path.relpath(target, directory)
    if naming.v1_prefix(written) != written:  # a V1 checkpoint in several files is named by a pattern
        relative = os.path.join(os.path.dirname(relative), os.path.basename(written))
    return relative


def _leftovers(directory: str, found: Sequence[Found]) -> Iterator[tuple[str, str, str]]:
    """Yield what a broken save may have left, the checkpoint that it was to be, and how it is known."""
    complete = {each.name for each in found if each.is_complete}
    for entry in sorted(os.listdir(directory)):
        path = os.path.join(directory, entry)
        if (match := _TEMPORARY.fullmatch(entry)) is not None and os.path.isfile(path):
            yield path, match[1], "a temporary file of a save that was broken off"
        elif (match := _FOLDER.fullmatch(entry)) is not None and _is_folder_of_parts(path):
            yield path, match[1], "parts of a save that was broken off"
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
    entries = list(os.scandir(path))
    return bool(entries) and all(
        _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False) for entry in entries
    )


def _doubt(path: str, name: str, found: Sequence[Found]) -> str | None:
    """Return why it is not sure that a save left this; `None` if it is."""
    inside = [os.path.join(path, entry) for entry in os.listdir(path)] if os.path.isdir(path) else []
    states = [os.lstat(each) for each in [path, *inside]]
    written = max(status.st_mtime for status in states)
    if time.time() - max(max(status.st_mtime, status.st_ctime) for status in states) < _SETTLED_SECONDS:
        return "it was touched within the hour: a save, or a copy, may be under way"
    step = re.fullmatch(r".*-(\d+)(\.ckpt)?", name)
    family = family_of(name)
    for each in found:
        if not each.is_complete or each.family != family:
            continue
        index = [os.stat(file.path).st_mtime for file in each.files[:1]]
        is_later = step is not None and (each.step or 0) > int(step[1])
        if index and index[0] > written and (each.name == name or is_later):
            return None
    if name == FILE_NAME and any(each.is_complete for each in found):
        return None
    return "no later save of this training is complete"

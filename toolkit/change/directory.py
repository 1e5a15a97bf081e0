"""What is in a training directory: its checkpoints, whole or broken, and what broken saves left."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from toolkit.change.records import RECORD, SHARDED_WEIGHTS, WEIGHTS, recorded_metrics
from toolkit.change.removal import files_of
from toolkit.change.retention import Mode, Retention, Saved
from toolkit.errors import CheckpointError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import State, read_state
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import TABLE, identify
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.refusals import refuse_directory
from toolkit.formats.scanning import checkpoints_in

_STEP = re.compile(r"(.*?)-(\d+)(\.ckpt)?")


class Held(NamedTuple):
    """A file as the disk holds it.

    Attributes:
        path: Its path.
        nbytes: Its size.
        inode: Device and inode: of two names of one file the same.
        num_names: How many names it has.
    """

    path: str
    nbytes: int
    inode: tuple[int, int]
    num_names: int


class Found(NamedTuple):
    """A checkpoint in a directory.

    Attributes:
        path: The directory and its name.
        step: Of the training, as its name tells.
        time: When it was saved, in seconds since 1970: as the state file says, else its first file's.
        files: What it consists of.
        problem: Why it cannot be read, or `None`.
        metric: How good the model was, if a keeper of saves was told.
        mode: Whether the best metric is the greatest or the least.
    """

    path: str
    step: int | None
    time: float
    files: tuple[Held, ...]
    problem: str | None
    metric: float | None
    mode: Mode

    @property
    def name(self) -> str:
        """Its name in the directory."""
        return os.path.basename(self.path)

    @property
    def family(self) -> str:
        """What all saves of its training are called before their steps; weights are a family apart."""
        return family_of(self.name)

    @property
    def order(self) -> tuple[int, float]:
        """By its step, then by its time."""
        return (-1 if self.step is None else self.step, self.time)

    @property
    def is_complete(self) -> bool:
        """Whether it can be read, as far as the lengths of its files tell."""
        return self.problem is None


def checkpoints_of(directory: str) -> list[Found]:
    """Return the checkpoints in a directory, by their steps and times, oldest first.

    Data files without an index count as one that is broken.

    Raises:
        ReadError: It is no directory, or cannot be listed.
    """
    refuse_directory(directory)
    entries = sorted(os.listdir(directory))
    data: dict[str, list[str]] = {}
    for entry in entries:
        if naming.parse_data_file(entry):
            path = os.path.join(directory, entry)
            data.setdefault(str(naming.prefix_of(path)), []).append(path)
    there = checkpoints_in(directory, most=None)
    paths = dict.fromkeys([path for path in there if _is_one(path, data)] + list(data))
    times = _times(directory)
    metrics: dict[str, tuple[float, Mode]] = {}
    for training in trainings_of(directory):
        with contextlib.suppress(CheckpointError):  # what needs them reads them again
            metrics |= recorded_metrics(directory, training)
    found = [_found(path, data.get(path, []), times, metrics) for path in paths]
    return sorted(found, key=lambda each: (*each.order, each.path))


def trainings_of(directory: str) -> list[str]:
    """Return the names of the trainings that keepers of saves have records of."""
    return [entry.removesuffix(RECORD) for entry in sorted(os.listdir(directory)) if entry.endswith(RECORD)]


def latest_of(directory: str, found: Iterable[Found]) -> Found | None:
    """Return the latest of these that is complete: the one that the state file names, else the newest.

    The newest is that by time, and of one time by step. Files of weights count where there is nothing else.
    """
    complete = [each for each in found if each.is_complete]
    complete = [e for e in complete if not e.path.endswith((WEIGHTS, SHARDED_WEIGHTS))] or complete
    state = state_of(directory)
    if state is not None:
        target = target_of(directory, state.latest)
        for each in complete:
            if os.path.normpath(each.path) == target:
                return each
    return max(complete, key=lambda each: (each.time, each.order), default=None)


def target_of(directory: str, written: str) -> str:
    """Return the path of the checkpoint that a state file means by `written`: there, else beside it."""
    path = os.path.normpath(os.path.join(directory, naming.v1_prefix(written)))
    if files_of(path):
        return path
    return os.path.normpath(os.path.join(directory, os.path.basename(path)))


def saved(found: Iterable[Found]) -> list[Saved]:
    """Return checkpoints as `Retention` knows them."""
    return [Saved(each.name, each.step or 0, each.time, each.metric) for each in found]


def best_of(found: Iterable[Found], number: int = 1) -> set[str]:
    """Return the names of the best complete checkpoints of each training, so many, by their metrics."""
    trainings: dict[str, list[Found]] = {}
    for each in found:
        if each.is_complete and each.metric is not None:
            trainings.setdefault(each.family, []).append(each)
    best: set[str] = set()
    for members in trainings.values():
        best |= Retention(keep_best=number, mode=members[-1].mode).best(saved(members))
    return best


def state_of(directory: str) -> State | None:
    """Return what the state file of a directory says; `None` if it has none that can be read."""
    try:
        return read_state(directory)
    except CheckpointError:
        return None


def family_of(name: str) -> str:
    """Return what all saves of one training are called before their steps."""
    stem = _stem(name)
    match = _STEP.fullmatch(stem)
    return (match[1] if match else stem) + name[len(stem) :]


def _stem(name: str) -> str:
    """Return the name of a save without the ending of files of weights."""
    return name.removesuffix(WEIGHTS).removesuffix(SHARDED_WEIGHTS)


def disk_usage(files: Iterable[Held], counted: set[tuple[int, int]]) -> int:
    """Return the bytes of files that are not `counted` yet, each inode once, and count them."""
    nbytes = 0
    for file in files:
        if file.inode not in counted:
            counted.add(file.inode)
            nbytes += file.nbytes
    return nbytes


def _is_one(path: str, data: Mapping[str, object]) -> bool:
    """Return whether what can be read at a path is what trainings save: no export, no other index."""
    if path.endswith((WEIGHTS, SHARDED_WEIGHTS)):
        return True
    if path.endswith((".h5", ".hdf5", ".keras", ".safetensors", ".npz", ".json")):
        return False
    index = naming.index_file(path)
    if path in data or not os.path.isfile(index):
        return True
    try:
        return identify(ReadFile(index)) is TABLE
    except ReadError:
        return True


def _found(
    path: str, data: list[str], times: dict[str, float], metrics: dict[str, tuple[float, Mode]]
) -> Found:
    name = os.path.basename(path)
    match = _STEP.fullmatch(_stem(name))
    index, meta = naming.index_file(path), path + naming.META
    if os.path.isfile(index):  # looked up without listing the directory again
        files = [index, *([meta] if os.path.isfile(meta) else []), *data]
    else:
        files = files_of(path)
    problem = None
    try:
        with open_checkpoint(path) as checkpoint:
            if path.endswith(SHARDED_WEIGHTS):
                files = checkpoint.files()
            checkpoint.check_files()
    except CheckpointError as error:
        problem = error.message
    held = []
    time = times.get(name, 0.0)
    for file in files:
        with contextlib.suppress(OSError):
            status = os.stat(file)
            held.append(Held(file, status.st_size, (status.st_dev, status.st_ino), status.st_nlink))
            time = time or status.st_mtime
    metric, mode = metrics.get(name, (None, None))
    step = int(match[2]) if match else None
    return Found(path, step, time, tuple(held), problem, metric, mode or "max")


def _times(directory: str) -> dict[str, float]:
    """Return when checkpoints were saved, by name, as far as the state file says."""
    state = state_of(directory)
    if state is None:
        return {}
    pairs = zip(state.all_paths, state.timestamps, strict=False)
    return {os.path.basename(naming.v1_prefix(path)): time for path, time in pairs if time > 0}

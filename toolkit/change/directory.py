"""What is in a training directory: its checkpoints, whole or broken, and what broken saves left."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from toolkit.change.records import RECORD, WEIGHTS, recorded_metrics
from toolkit.change.removal import files_of
from toolkit.change.retention import Mode, Retention, Saved
from toolkit.errors import CheckpointError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import State, read_state
from toolkit.formats.locating import checkpoints_in
from toolkit.formats.opening import open_checkpoint

_STEP = re.compile(r"(.*?)-(\d+)")


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
        """What all saves of its training are called before their steps."""
        return family_of(self.name)

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
    if not os.path.isdir(directory):
        raise ReadError(
            f"{directory}: not a directory", path=directory, hint="name the directory of a training"
        )
    paths = dict.fromkeys(p for p in checkpoints_in(directory) if p.endswith(WEIGHTS) or not _is_other(p))
    for entry in sorted(os.listdir(directory)):
        if naming.parse_data_file(entry):
            paths.setdefault(os.path.join(directory, str(naming.prefix_of(entry))))
    times = _times(directory)
    records = [entry.removesuffix(RECORD) for entry in os.listdir(directory) if entry.endswith(RECORD)]
    metrics: dict[str, tuple[float, Mode]] = {}
    for training in records:
        with contextlib.suppress(CheckpointError):
            metrics |= recorded_metrics(directory, training)
    found = [_found(path, times, metrics) for path in paths]
    return sorted(found, key=lambda each: (-1 if each.step is None else each.step, each.time, each.path))


def latest_of(directory: str, found: Iterable[Found]) -> Found | None:
    """Return the latest of these that is complete: the one that the state file names, else the newest."""
    complete = [each for each in found if each.is_complete and not each.path.endswith(WEIGHTS)]
    state = state_of(directory)
    if state is not None:
        for each in complete:
            if each.name == os.path.basename(state.latest):
                return each
    return max(complete, key=lambda each: each.time, default=None)


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
    match = _STEP.fullmatch(name.removesuffix(WEIGHTS))
    return match[1] if match else name


def disk_usage(files: Iterable[Held], counted: set[tuple[int, int]]) -> int:
    """Return the bytes of files that are not `counted` yet, each inode once, and count them."""
    nbytes = 0
    for file in files:
        if file.inode not in counted:
            counted.add(file.inode)
            nbytes += file.nbytes
    return nbytes


def _is_other(path: str) -> bool:
    """Return whether a file is of a kind that trainings do not save: data, or an export."""
    return path.endswith((".h5", ".hdf5", ".keras", ".safetensors", ".npz", ".json"))


def _found(path: str, times: dict[str, float], metrics: dict[str, tuple[float, Mode]]) -> Found:
    name = os.path.basename(path)
    match = _STEP.fullmatch(name.removesuffix(WEIGHTS))
    files = files_of(path) or [file for file in naming.v1_files(path) if os.path.exists(file)]
    problem = None
    try:
        with open_checkpoint(path) as checkpoint:
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
    return {os.path.basename(path): time for path, time in pairs if time > 0}

"""What is in a training directory: its checkpoints, whole or broken, and what broken saves left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from toolkit.change.retention import Retention
from toolkit.errors import CheckpointError
from toolkit.formats import saves
from toolkit.formats.bundle import naming
from toolkit.formats.opening import is_complete, open_checkpoint
from toolkit.formats.records import SHARDED_WEIGHTS, Mode, Saved, recorded_metrics
from toolkit.formats.refusals import refuse_directory
from toolkit.formats.saves import Latest, Save, family_of, files_of, is_save, saves_at, trainings_of
from toolkit.formats.scanning import checkpoints_in


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
        time: When it was saved, in seconds since 1970: as a keeper's record or the state file says, else its
            first file's.
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

    def __repr__(self) -> str:
        step = "no step" if self.step is None else f"step {self.step}"
        return f"<Found {self.path!r}: {step}, {'complete' if self.is_complete else 'broken'}>"

    @property
    def name(self) -> str:
        """Its name in the directory."""
        return os.path.basename(self.path)

    @property
    def family(self) -> str:
        """What all saves of its training are called before their steps; Keras's files are a family apart."""
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
    paths = dict.fromkeys([path for path in there if is_save(path, data)] + list(data))
    metrics: dict[str, tuple[float, Mode]] = {}
    for training in trainings_of(directory):
        with contextlib.suppress(CheckpointError):  # what needs them reads them again
            metrics |= recorded_metrics(directory, training)
    known = saves_at(directory, paths)
    found = [_found(path, save, data.get(path, []), metrics) for path, save in zip(paths, known, strict=True)]
    return sorted(found, key=lambda each: (*each.order, each.path))


def latest_in(directory: str, found: Iterable[Found]) -> Latest | None:
    """Return the latest complete checkpoint of `found`, by the rule of `saves`.

    It may be one that the state file names in another directory.
    """
    complete = {os.path.normpath(each.path): each.is_complete for each in found}
    return saves.latest(
        directory, complete, lambda path: complete[path] if path in complete else is_complete(path)
    )


def latest_of(directory: str, found: Iterable[Found]) -> Found | None:
    """Return the one of `found` that `latest_in` tells; `None` if it tells none of these."""
    found = list(found)
    newest = latest_in(directory, found)
    return next((each for each in found if newest and os.path.normpath(each.path) == newest.path), None)


def found_at(path: str) -> Found:
    """Return the checkpoint at `path`, wherever that is."""
    save = saves_at(os.path.dirname(path) or ".", [path])[0]
    data = [file for files in naming.existing_data_files(path).values() for file in files]
    return _found(path, save, data, {})


def as_saved(found: Iterable[Found]) -> list[Saved]:
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
        best |= Retention(keep_best=number, mode=members[-1].mode).best(as_saved(members))
    return best


def disk_usage(files: Iterable[Held], counted: set[tuple[int, int]]) -> int:
    """Return the bytes of files that are not `counted` yet, each inode once, and count them."""
    nbytes = 0
    for file in files:
        if file.inode not in counted:
            counted.add(file.inode)
            nbytes += file.nbytes
    return nbytes


def _found(path: str, save: Save, data: list[str], metrics: dict[str, tuple[float, Mode]]) -> Found:
    name = os.path.basename(path)
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
    for file in files:
        with contextlib.suppress(OSError):
            status = os.stat(file)
            held.append(Held(file, status.st_size, (status.st_dev, status.st_ino), status.st_nlink))
    metric, mode = metrics.get(name, (None, None))
    return Found(path, save.step, save.time, tuple(held), problem, metric, mode or "max")

"""The saves of a training directory, and the one rule that tells which of them is the latest.

Everybody asks here: opening a directory, `log`, `latest`, `repair`, `prune`, the keeper of saves. The rule:

1. The latest is the save that the state file names, as TensorFlow has it.
2. A state file may be behind: its writer was killed after a save and before the state file. It is behind a
   complete save of the same training that no state file lists and that was written after the state file,
   if the keeper's record has it as later, or, without a record, if its step is greater.
3. Where the save that it names is broken or gone, the latest is the newest complete one of the same training,
   one that it lists before others.
4. Without a state file the latest is the newest complete save. Files of Keras count where there are no
   others. A name without a step counts only where it is the only one.

"Newest" goes by the order of the keeper's record, then by the times of the state file, then by when files
were written, and of one time by the step. Only saves that are complete count.

Source: tensorflow/python/training/saver.py, Saver.save (the state file is written after the index);
checkpoint_management.py, latest_checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from toolkit.errors import CheckpointError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME, State, read_state, state_files
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import TABLE, identify
from toolkit.formats.records import RECORD, SHARDED_WEIGHTS, WEIGHTS, read_record

KERAS = (WEIGHTS, SHARDED_WEIGHTS, ".keras")
"""What the names of Keras's files end in, after `NAME-STEP`."""
_OTHER_FORMATS = (".h5", ".hdf5", ".safetensors", ".npz", ".json")
"""What exports end in, which are no saves of a training."""
_STEP = re.compile(r"(.*?)-(\d+)(\.ckpt)?")


class Save(NamedTuple):
    """A save of a training, complete or not.

    Attributes:
        path: The directory and its name, normalized.
        time: When it was saved, in seconds since 1970: by the keeper's record, the state file, or `written`.
        written: When the first of its files was last written; 0 if it has none.
        place: Its place in the record of a keeper, from 0; -1 if no record has it.
    """

    path: str
    time: float
    written: float
    place: int

    @property
    def name(self) -> str:
        """Its name in the directory."""
        return os.path.basename(self.path)

    @property
    def step(self) -> int | None:
        """The step of the training that its name tells."""
        return step_of(self.name)

    @property
    def family(self) -> str:
        """What all saves of its training are called before their steps."""
        return family_of(self.name)

    @property
    def is_keras(self) -> bool:
        """Whether it is a file of Keras's."""
        return self.name.endswith(KERAS)

    @property
    def age(self) -> tuple[float, int, int]:
        """What saves are ordered by, the newest last."""
        return self.time, self.place, -1 if self.step is None else self.step


class Latest(NamedTuple):
    """The latest save of a directory.

    Attributes:
        path: The directory and its name, normalized.
        note: What is amiss, if it is not what the state file names; `None` if it is.
        is_behind: Whether the state file names an earlier save than this.
    """

    path: str
    note: str | None
    is_behind: bool = False


def step_of(name: str) -> int | None:
    """Return the step that the name of a save ends in; `None` if it tells none."""
    match = _STEP.fullmatch(_stem(name))
    return int(match[2]) if match else None


def family_of(name: str) -> str:
    """Return the part of a name that all saves of one training share: without the step."""
    stem = _stem(name)
    match = _STEP.fullmatch(stem)
    return (match[1] if match else stem) + name[len(stem) :]


def _stem(name: str) -> str:
    for suffix in KERAS:
        name = name.removesuffix(suffix)
    return name


def is_save(path: str, with_data: Collection[str] = ()) -> bool:
    """Return whether the checkpoint at a path is what trainings save: no export, no other index.

    Args:
        path: A prefix, or a file.
        with_data: Prefixes that have data files, if that is known.
    """
    if path.endswith(KERAS):
        return True
    if path.endswith(_OTHER_FORMATS):
        return False
    index = naming.index_file(path)
    if path in with_data or not os.path.isfile(index):
        return True
    try:
        return identify(ReadFile(index)) is TABLE
    except ReadError:
        return True


def files_of(prefix: str) -> list[str]:
    """Return the paths of the files of the checkpoint `prefix`, of a bundle the index first.

    A file that is called just `prefix` is one of them only where there is no index: a V1 checkpoint, a file
    of Keras's.
    """
    index, meta = naming.index_file(prefix), prefix + naming.META
    data = [path for paths in naming.existing_data_files(prefix).values() for path in paths]
    first = [index] if os.path.lexists(index) else [*naming.v1_files(prefix), prefix] if not data else []
    return [path for path in [*first, meta] if os.path.isfile(path)] + data


def state_of(directory: str) -> State | None:
    """Return the state file of a directory; `None` if it has none that can be read."""
    try:
        return read_state(directory)
    except CheckpointError:
        return None


def target_of(directory: str, written: str) -> str:
    """Return the path of the save that a state file means by `written`: there, else beside it."""
    path = os.path.normpath(os.path.join(directory, naming.v1_prefix(written)))
    if files_of(path):
        return path
    return os.path.normpath(os.path.join(directory, os.path.basename(path)))


def trainings_of(directory: str) -> list[str]:
    """Return the names of the trainings that keepers of saves have records of."""
    return [entry.removesuffix(RECORD) for entry in sorted(os.listdir(directory)) if entry.endswith(RECORD)]


def saves_at(directory: str, paths: Iterable[str]) -> list[Save]:
    """Return the saves at `paths`, with what the records and the state file of `directory` say of them."""
    times, places = _recorded(directory)
    state = state_of(directory)
    if state is not None:
        for path, time in zip(state.all_paths, state.timestamps, strict=False):
            if time > 0:
                times.setdefault(os.path.basename(naming.v1_prefix(path)), time)
    saves = []
    for path in map(os.path.normpath, paths):
        name, written = os.path.basename(path), _written(path)
        saves.append(Save(path, times.get(name, written), written, places.get(name, -1)))
    return saves


def newest_first(directory: str, paths: Iterable[str]) -> list[Save]:
    """Return the saves at `paths` in the order in which they are the latest: the first is, if complete."""
    return _ranked(directory, saves_at(directory, paths))[0]


def latest(directory: str, paths: Iterable[str], is_complete: Callable[[str], bool]) -> Latest | None:
    """Return the latest save of a directory that is complete.

    Args:
        directory: Of a training.
        paths: Of the saves in it.
        is_complete: Tells of a path whether all of that save can be read. It is asked of as few as can be.

    Returns:
        `None` if none is complete, or if there are several, and neither a state file nor steps.
    """
    saves = saves_at(directory, paths)
    ranked, behind = _ranked(directory, saves)
    found = next((save for save in ranked if is_complete(save.path)), None)
    if found is None:
        return None
    state = state_of(directory)
    if state is None:
        if len(saves) == 1:
            return Latest(found.path, None)
        others = (save.path for save in ranked if save is not found)
        if found.step is None and any(map(is_complete, others)):
            return None
        return Latest(found.path, f"{directory}: no state file; took the newest, {found.path}")
    named = target_of(directory, state.latest)
    file = os.path.join(directory, FILE_NAME)
    if found.path == named:
        literal = os.path.normpath(os.path.join(directory, naming.v1_prefix(state.latest)))
        gone = f"{file}: names {state.latest}, which is gone; took {found.path}"
        return Latest(found.path, None if literal == named else gone)
    if found in behind:
        note = f"{file}: names {state.latest}, but {found.name} is newer and complete; took {found.path}"
        return Latest(found.path, note, is_behind=True)
    what = "is not complete" if files_of(named) else "does not exist"
    return Latest(found.path, f"{file}: names {state.latest}, which {what}; took {found.path}")


def _ranked(directory: str, saves: Sequence[Save]) -> tuple[list[Save], list[Save]]:
    """Return saves, each before those that it is later than, and the ones that the state file is behind."""
    state = state_of(directory)
    ordered = sorted(saves, key=lambda save: save.age, reverse=True)
    if state is None:
        candidates = _candidates(ordered)
        return [*candidates, *(save for save in ordered if save not in candidates)], []
    path = target_of(directory, state.latest)
    named = next((save for save in ordered if save.path == path), None)
    if named is None and files_of(path):  # elsewhere
        named = saves_at(directory, [path])[0]
    family = family_of(os.path.basename(path))
    behind = [] if named is None else _behind(directory, named, ordered)
    rest = [save for save in ordered if save not in behind and save is not named]
    listed = {target_of(directory, each) for each in state.all_paths}
    rest.sort(key=lambda save: (save.is_keras, save.family != family, save.path not in listed))
    return [*behind, *([named] if named is not None else []), *rest], behind


def _candidates(saves: Sequence[Save]) -> list[Save]:
    """Return the saves that may be the latest where no state file tells it."""
    found = [save for save in saves if not save.is_keras] or list(saves)
    return [save for save in found if save.step is not None] or found


def _behind(directory: str, named: Save, ordered: Sequence[Save]) -> list[Save]:
    """Return the saves, newest first, that were made after the state file, naming `named`, was written."""
    written = _mtime(os.path.join(directory, FILE_NAME))
    later = [save for save in ordered if save.family == named.family and _is_later(save, named, written)]
    if not later:
        return []
    listed = set()
    for name in state_files(directory):
        with contextlib.suppress(CheckpointError):
            if (state := read_state(directory, name)) is not None:
                listed |= {target_of(directory, path) for path in (*state.all_paths, state.latest)}
    return [save for save in later if save.path not in listed]


def _is_later(save: Save, named: Save, state_written: float) -> bool:
    """Return whether `save` was made after `named`, and after a state file that was written then."""
    if save.place >= 0 and named.place >= 0:
        return save.place > named.place and save.written >= state_written
    # times that a copy has set tell nothing: a state file is written after what it names
    in_order = named.written <= state_written < save.written
    return in_order and (save.step or 0) > (named.step or 0)


def _recorded(directory: str) -> tuple[dict[str, float], dict[str, int]]:
    """Return the times and the places of saves in the records of keepers, by name."""
    times: dict[str, float] = {}
    places: dict[str, int] = {}
    try:
        trainings = trainings_of(directory)
    except OSError:
        return times, places
    for training in trainings:
        with contextlib.suppress(CheckpointError):  # what needs a record reads it again
            saves, _, saving = read_record(directory, training)
            newest = 0.0
            for place, save in enumerate([*saves, *([] if saving is None else [saving])]):
                newest = max(newest, save.time)  # a clock that was set back changes no order
                places[save.name] = place
                if newest > 0:
                    times[save.name] = newest
    return times, places


def _written(path: str) -> float:
    index = naming.index_file(path)  # looked up without listing the directory
    files = [index] if os.path.isfile(index) else files_of(path)
    return _mtime(files[0]) if files else 0.0


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime_ns / 1e9
    except OSError:
        return 0.0

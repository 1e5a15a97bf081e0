"""Which checkpoints lie in a directory, and in the directories below it."""

from __future__ import annotations

import contextlib
import os

from toolkit.errors import CheckpointError, ReadError
from toolkit.formats import orbax
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME
from toolkit.formats.endings import READ
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import HDF5, MSGPACK, SAFETENSORS, TABLE, WEIGHT_MAP, ZIP, identify
from toolkit.formats.weight_map import index_name, read_weight_map

SINGLE_FILES = (TABLE, HDF5, ZIP, SAFETENSORS, WEIGHT_MAP)
"""What a checkpoint in one file may be, and the index of one in several."""
KERAS_CONFIG = "config.json"
KERAS_WEIGHTS = "model.weights.h5"
_MAX_IDENTIFIED = 200
"""How many files of a directory are looked into, to find a checkpoint among them."""
_MAX_DEPTH = 4
_MAX_DIRECTORIES = 300
"""How many directories are looked into, to find a checkpoint below one."""


def checkpoints_in(directory: str, *, most: int | None = _MAX_IDENTIFIED) -> list[str]:
    """Return the paths of the checkpoints in a directory, each once.

    The files that an index lists are one checkpoint, which is called as the index is.

    Args:
        directory: Which.
        most: How many files that are no bundle's are looked into; `None` for all.

    Raises:
        ReadError: It cannot be listed.
    """
    try:
        entries = sorted(os.listdir(directory))
    except OSError as error:
        raise ReadError(
            f"{directory}: {(error.strerror or str(error)).lower()}",
            path=directory,
            hint="you may not list it: ask its owner",
        ) from error
    found = {name.removesuffix(naming.INDEX): None for name in entries if name.endswith(naming.INDEX)}
    others = [name for name in entries if naming.prefix_of(name) is None and name != FILE_NAME]
    listed: set[str] = set()
    for name in others[:most]:
        path = os.path.join(directory, name)
        if not os.path.isfile(path) or not os.path.getsize(path):
            continue
        if (kind := _kind_of(path)) is not None:
            found[os.path.basename(naming.v1_prefix(path))] = None
        if kind is WEIGHT_MAP:
            with contextlib.suppress(CheckpointError):  # opening it says what is wrong
                listed |= {*read_weight_map(path).names}
    paths = [name for name in found if name not in listed and index_name(name) not in found]
    return [os.path.join(directory, name) for name in paths]


def has_state_file(directory: str) -> bool:
    """Return whether the file `checkpoint` of a directory is there, and may be TensorFlow's state file."""
    path = os.path.join(directory, FILE_NAME)
    return os.path.lexists(path) and not os.path.isdir(path) and (not os.path.isfile(path) or is_state(path))


def is_state(path: str) -> bool:
    """Return whether the file `path` may be a state file: it is nothing else that is known."""
    return identify(ReadFile(path)) not in (*SINGLE_FILES, MSGPACK)


def is_keras_folder(directory: str) -> bool:
    """Return whether Keras saved a model here without zipping it: `config.json` and weights beside it."""
    return all(os.path.isfile(os.path.join(directory, name)) for name in (KERAS_CONFIG, KERAS_WEIGHTS))


def saved_model_prefix(directory: str) -> str:
    """Return the prefix of the checkpoint of a SavedModel."""
    return os.path.join(directory, "variables", "variables")


def checkpoints_below(directory: str) -> list[str]:
    """Return a hint at the checkpoints in the directories below one: the nearest, then the newest.

    A training, a SavedModel, the folder of a Keras model and an Orbax checkpoint are called as their
    directories are. A few levels are looked into, and a few hundred directories.
    """
    found: list[tuple[int, float, str]] = []
    waiting = [(1, path) for path in _folders_in(directory)]
    for number, (depth, path) in enumerate(waiting):
        if number == _MAX_DIRECTORIES:
            break
        here = _named_in(path)
        found += [(depth, -_time_of(each), each) for each in here]
        if not here and depth < _MAX_DEPTH:
            waiting += [(depth + 1, inner) for inner in _folders_in(path)]
    return [path for _, _, path in sorted(found)]


def _named_in(directory: str) -> list[str]:
    """Return a hint at the checkpoints in one directory."""
    with contextlib.suppress(CheckpointError):
        is_saved_model = os.path.lexists(naming.index_file(saved_model_prefix(directory)))
        if is_saved_model or is_keras_folder(directory) or orbax.recognize(directory) is not None:
            return [directory]
        there = checkpoints_in(directory)
        return [directory] if there and has_state_file(directory) else there
    return []


def _time_of(path: str) -> float:
    """Return when a checkpoint was saved, as the file says that it is called by; 0 if there is none."""
    for file in (naming.index_file(path), path):
        with contextlib.suppress(OSError):
            return os.stat(file).st_mtime
    return 0.0


def _folders_in(directory: str) -> list[str]:
    """Return the paths of the folders in a directory, but hidden ones, in the order of their names."""
    with contextlib.suppress(OSError):
        folders = [entry for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        return sorted(entry.path for entry in folders if not entry.name.startswith("."))
    return []


def _kind_of(path: str) -> object:
    """Return the kind of a file that may be a checkpoint; `None` for any other."""
    try:
        kind = identify(ReadFile(path))
    except ReadError:
        return None
    is_one = kind is TABLE or (kind in SINGLE_FILES and path.endswith((*READ, ".json")))
    return kind if is_one else None

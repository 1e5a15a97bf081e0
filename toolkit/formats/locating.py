"""From whatever a person has at hand to the files of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from toolkit.errors import FormatError, ReadError
from toolkit.formats import refusals, saves
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME, read_state
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import (
    HDF5,
    JSON,
    KERAS_FOLDER,
    SAFETENSORS,
    TABLE,
    UNKNOWN,
    WEIGHT_MAP,
    Kind,
    identify,
)
from toolkit.formats.scanning import (
    KERAS_WEIGHTS,
    SINGLE_FILES,
    checkpoints_in,
    has_state_file,
    is_keras_folder,
    is_state,
    saved_model_prefix,
)
from toolkit.formats.weight_map import index_beside

Note = Callable[[str], None]
"""Takes a line that a person should know, though all went well."""


class Found(NamedTuple):
    """Where a checkpoint lies.

    Attributes:
        kind: What its first file is: a `TABLE` ending in `.index` is a V2 bundle, others are V1.
        path: What names it: the prefix, where it has one.
        files: Its files; of a bundle the index alone.
    """

    kind: Kind
    path: str
    files: tuple[str, ...]

    @property
    def is_bundle(self) -> bool:
        """Whether it is a V2 bundle."""
        return self.kind is TABLE and self.files[0] == naming.index_file(self.path)


def locate(path: str, note: Note, is_complete: Callable[[str], bool]) -> Found:
    """Return the checkpoint that `path` leads to, having looked at the beginning of its first file.

    Args:
        path: Whatever a person has at hand.
        note: Called where it is not taken literally.
        is_complete: Tells of the path of a save whether all of it can be read.

    Raises:
        ReadError, FormatError: There is none.
    """
    if os.path.isdir(path) and not os.path.lexists(naming.index_file(path)):
        found = _in_directory(path, note, is_complete)
    elif os.path.basename(path) == FILE_NAME and os.path.isfile(path) and is_state(path):
        found = _in_directory(os.path.dirname(path) or ".", note, is_complete)
    else:
        found = _at(path) or refusals.refuse(path)
    return found


def _at(path: str) -> Found | None:
    """Return the checkpoint that is called `path`, or that the file `path` belongs to."""
    if os.path.lexists(naming.index_file(path)):
        return _bundle(path)
    owner = naming.prefix_of(path)
    if owner is not None and os.path.lexists(naming.index_file(owner)):
        return _bundle(owner)
    if (found := _v1(path)) is not None or (owner is not None and (found := _v1(owner)) is not None):
        return found
    if owner is not None and path.endswith(naming.META) and os.path.isfile(owner):
        return _at(owner)  # the V1 checkpoint in one file that the graph belongs to
    if not os.path.isfile(path) or (owner is not None and not path.endswith(naming.INDEX)):
        return None
    kind = identify(ReadFile(path))
    if kind in (HDF5, SAFETENSORS) and (index := index_beside(path)) is not None:
        return Found(WEIGHT_MAP, index, (index,))
    directory = os.path.dirname(path) or "."
    if kind is JSON and is_keras_folder(directory):
        return _keras_folder(directory)
    return Found(kind, path, (path,)) if kind in SINGLE_FILES else None


def _v1(path: str) -> Found | None:
    """Return the V1 checkpoint in several files that `path` names, or that it is a file of."""
    files = naming.v1_files(path)
    there = [file for file in files if os.path.lexists(file)]
    if not there or (kind := identify(ReadFile(there[0]))) is not TABLE:
        return None
    return Found(kind, naming.v1_prefix(files[0]), tuple(files))


def _bundle(prefix: str) -> Found:
    index = ReadFile(naming.index_file(prefix))
    kind = identify(index)
    if kind not in (TABLE, UNKNOWN):  # an unknown one may be a table that was cut off, and is told so
        raise FormatError(kind.what, path=index.path, hint=kind.hint)
    return Found(TABLE, prefix, (index.path,))


def _keras_folder(directory: str) -> Found:
    return Found(KERAS_FOLDER, directory, (os.path.join(directory, KERAS_WEIGHTS),))


def _in_directory(directory: str, note: Note, is_complete: Callable[[str], bool]) -> Found:
    """Return the latest, or only, checkpoint in a directory."""
    state = read_state(directory) if has_state_file(directory) else None
    variables = saved_model_prefix(directory)
    if state is None and os.path.lexists(naming.index_file(variables)):
        return _bundle(variables)
    if state is None and is_keras_folder(directory):
        return _keras_folder(directory)
    found = checkpoints_in(directory)
    if len(found) == 1 and state is None and (checkpoint := _at(found[0])) is not None:
        return checkpoint
    newest = saves.latest(directory, filter(saves.is_save, found), is_complete)
    if newest is not None and (checkpoint := _at(newest.path)) is not None:
        if newest.note is not None:
            note(newest.note)
        return checkpoint
    if state is not None:
        return _named(directory, state.latest, note)
    if not found:
        raise refusals.none_in(directory)
    raise ReadError(
        f"{directory}: {len(found)} checkpoints and no state file to tell the latest",
        path=directory,
        hint=f"name one: {refusals.listed(found)}",
    )


def _named(directory: str, written: str, note: Note) -> Found:
    """Return the checkpoint that a state file means by `written`, complete or not, or say that it is gone."""
    if (found := _at(os.path.join(directory, written))) is not None:
        return found
    beside = os.path.join(directory, os.path.basename(written))
    state = os.path.join(directory, FILE_NAME)
    if (found := _at(beside)) is not None:
        note(f"{state}: names {written}, which is gone; took {beside}")
        return found
    there = checkpoints_in(directory)
    raise ReadError(
        f"{state}: names {written}, which does not exist",
        path=os.path.join(directory, written),
        hint=f"name one that does: {refusals.listed(there)}"
        if there
        else "there is no checkpoint in this directory",
    )

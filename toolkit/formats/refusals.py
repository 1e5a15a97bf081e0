"""What is said where no checkpoint can be opened: what there is instead, and what to type."""

from __future__ import annotations

import os
from typing import NoReturn

from toolkit import names
from toolkit.errors import FormatError, ReadError, UnsupportedError
from toolkit.formats import orbax
from toolkit.formats.bundle import naming
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import (
    EMPTY,
    JSON,
    LFS_POINTER,
    MSGPACK,
    PICKLE,
    PYTORCH,
    UNKNOWN,
    ZIP,
    identify,
)
from toolkit.formats.scanning import checkpoints_below, checkpoints_in
from toolkit.urls import refuse_url

_MAX_LISTED = 5
_MAX_LOOKED_INTO = 200
"""How many files of a directory without checkpoints are looked into, to say what they are instead."""
_PYTORCH = b"/data.pkl"
"""What the first member of PyTorch's archives is called, in a folder of any name."""
_ZIP_HEAD_BYTES = 256


def refuse(path: str) -> NoReturn:
    """Say what `path` is instead of a checkpoint, or that there is nothing.

    Raises:
        FormatError: It is something else.
        ReadError: It is not there, or its index is not.
    """
    owner = naming.prefix_of(path)
    if owner is not None and not path.endswith(naming.INDEX):
        _without_index(path, owner)
    if os.path.lexists(path):
        kind = identify(ReadFile(path))
        directory = os.path.dirname(path) or "."
        if kind in (MSGPACK, JSON, UNKNOWN, EMPTY) and (foreign := orbax.recognize(directory)) is not None:
            raise of_orbax(directory, foreign)
        raise FormatError(kind.what, path=path, hint=kind.hint)
    if data := naming.existing_data_files(path):
        _without_index(next(iter(data.values()))[0], path)
    if os.path.lexists(path + naming.META):
        _without_index(path + naming.META, path)
    refuse_url(path)
    _absent(path)


def none_in(directory: str) -> ReadError | UnsupportedError:
    """Return the error that says that there is no checkpoint in a directory, and where there are some."""
    if (foreign := orbax.recognize(directory)) is not None:
        return of_orbax(directory, foreign)
    hint = "a checkpoint is a file ending in .index with its data files beside it"
    if os.path.lexists(os.path.join(directory, "saved_model.pb")):
        what = "a SavedModel without variables/variables.index"
        return ReadError(f"{directory}: {what}", path=directory, hint="copy the whole directory")
    if below := checkpoints_below(directory):
        hint = f"there {'is one' if len(below) == 1 else 'are some'} below it: {listed(below)}"
    elif (instead := _instead_in(directory)) is not None:
        hint = instead
    return ReadError(f"{directory}: no checkpoint in this directory", path=directory, hint=hint)


def of_orbax(directory: str, found: orbax.Orbax) -> UnsupportedError:
    """Return the error that says that a directory is one of Orbax's."""
    return UnsupportedError(found.what, path=directory, hint=found.hint)


def refuse_directory(directory: str) -> None:
    """Raise ReadError if there is no directory of this name."""
    if not os.path.isdir(directory):
        refuse_url(directory)
        what = "not a directory" if os.path.lexists(directory) else "no such directory"
        raise ReadError(f"{directory}: {what}", path=directory, hint="name the directory of a training")


def listed(paths: list[str]) -> str:
    """Return the first few of `paths` in a line, and how many more there are."""
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return ", ".join(paths[:_MAX_LISTED]) + more


def _without_index(path: str, prefix: str) -> NoReturn:
    """Say that a data or meta file has no index beside it, or what stands in its place."""
    if not os.path.lexists(path):
        refuse_url(path)
        _absent(path)
    kind = identify(ReadFile(path))
    if kind.word in ("git-lfs", "link-text"):
        raise FormatError(kind.what, path=path, hint=kind.hint)
    index = naming.index_file(prefix)
    if path.endswith(naming.META) and not naming.existing_data_files(prefix):
        raise ReadError(
            f"{path}: a graph without values: {index} is missing",
            path=path,
            hint=f"copy {os.path.basename(index)} and its data files to where the graph is",
        )
    raise ReadError(
        f"{index}: missing, and without it the values cannot be told apart",
        path=prefix,
        hint="copy it to where the data files are: it is the small file ending in .index",
    )


def _absent(path: str) -> NoReturn:
    directory, base = os.path.split(path)
    hint = "no checkpoint lies in that directory"
    if os.path.isdir(directory or "."):
        beside = [os.path.basename(found) for found in checkpoints_in(directory or ".")]
        near = [name for name in beside if name.startswith(base)]
        near = near or sorted(names.nearest(base, [*beside, *_folders_in(directory or ".")])) or beside
        if near:
            hint = f"there is: {listed([os.path.join(directory, name) for name in near])}"
        elif below := checkpoints_below(directory or "."):
            hint = f"checkpoints below that directory: {listed(below)}"
    else:
        hint = f"the directory {directory} does not exist"
    raise ReadError(f"{path}: no such file or checkpoint", path=path, hint=hint)


def _instead_in(directory: str) -> str | None:
    """Return the kind of a file in a directory without checkpoints, and what to do with it."""
    for name in _names_in(directory)[:_MAX_LOOKED_INTO]:
        path = os.path.join(directory, name)
        if not os.path.isfile(path):
            continue
        try:
            file = ReadFile(path)
            kind = identify(file)
        except ReadError:
            continue
        if kind.word == "graph" and name.endswith(naming.META):
            index = name.removesuffix(naming.META) + naming.INDEX
            return f"{name} is a graph without values: copy {index} and its data files here"
        if kind is ZIP and _PYTORCH in file.read(0, min(file.size, _ZIP_HEAD_BYTES)):
            kind = PYTORCH
        if kind in (LFS_POINTER, PICKLE, PYTORCH):
            return f"{name} is {kind.what}: {kind.hint}"
    return None


def _folders_in(directory: str) -> list[str]:
    return [name for name in _names_in(directory) if os.path.isdir(os.path.join(directory, name))]


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []

"""From whatever a person has at hand to the files of a checkpoint, and what is said where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from toolkit import names
from toolkit.errors import FormatError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.state import FILE_NAME, read_state
from toolkit.formats.endings import READ
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import HDF5, SAFETENSORS, SAFETENSORS_INDEX, TABLE, UNKNOWN, ZIP, Kind, identify

Note = Callable[[str], None]
"""Takes a line that a person should know, though all went well."""

_MAX_LISTED = 5
_SINGLE_FILES = (TABLE, HDF5, ZIP, SAFETENSORS, SAFETENSORS_INDEX)
"""What a checkpoint in one file may be."""
_MAX_IDENTIFIED = 200
"""How many files of a directory are looked into, to find a checkpoint among them."""


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


def locate(path: str, note: Note) -> Found:
    """Return the checkpoint that `path` leads to, having looked at the beginning of its first file.

    Raises:
        ReadError, FormatError: There is none.
    """
    if os.path.isdir(path) and not os.path.lexists(naming.index_file(path)):
        found = _in_directory(path, note)
    elif os.path.basename(path) == FILE_NAME and os.path.isfile(path) and _is_state(path):
        found = _in_directory(os.path.dirname(path) or ".", note)
    else:
        found = _at(path) or _refuse(path)
    return found


def _at(path: str) -> Found | None:
    """Return the checkpoint that is called `path`, or that the file `path` belongs to."""
    if os.path.lexists(naming.index_file(path)):
        return _bundle(path)
    owner = naming.prefix_of(path)
    if owner is not None and os.path.lexists(naming.index_file(owner)):
        return _bundle(owner)
    v1 = naming.v1_files(path) or (owner is not None and naming.v1_files(owner)) or ()
    if v1:
        missing = [file for file in v1 if not os.path.lexists(file)]
        if missing:
            raise ReadError(
                f"{missing[0]}: missing, one of the {len(v1)} files of this checkpoint",
                path=missing[0],
                hint="copy it to where the others are, they belong together",
            )
        if (kind := identify(ReadFile(v1[0]))) is TABLE:
            return Found(kind, naming.v1_prefix(v1[0]), tuple(v1))
    if not os.path.isfile(path) or (owner is not None and not path.endswith(naming.INDEX)):
        return None
    kind = identify(ReadFile(path))
    return Found(kind, path, (path,)) if kind in _SINGLE_FILES else None


def _bundle(prefix: str) -> Found:
    index = ReadFile(naming.index_file(prefix))
    kind = identify(index)
    if kind not in (TABLE, UNKNOWN):  # an unknown one may be a table that was cut off, and is told so
        raise FormatError(kind.what, path=index.path, hint=kind.hint)
    return Found(TABLE, prefix, (index.path,))


def _is_state(path: str) -> bool:
    return identify(ReadFile(path)) not in _SINGLE_FILES


def _in_directory(directory: str, note: Note) -> Found:
    """Return the latest, or only, checkpoint in a directory."""
    state = read_state(directory) if _is_state_in(directory) else None
    if state is not None:
        return _latest(directory, state.latest, note)
    variables = os.path.join(directory, "variables", "variables")
    if os.path.lexists(naming.index_file(variables)):
        return _bundle(variables)
    found = checkpoints_in(directory)
    if len(found) == 1 and (checkpoint := _at(found[0])) is not None:
        return checkpoint
    if not found:
        if os.path.lexists(os.path.join(directory, "saved_model.pb")):
            raise ReadError(
                f"{directory}: a SavedModel without variables/variables.index",
                path=directory,
                hint="copy the whole directory",
            )
        raise ReadError(
            f"{directory}: no checkpoint in this directory",
            path=directory,
            hint="a checkpoint is a file ending in .index with its data files beside it",
        )
    raise ReadError(
        f"{directory}: {len(found)} checkpoints and no state file to tell the latest",
        path=directory,
        hint=f"name one: {_listed(found)}",
    )


def _is_state_in(directory: str) -> bool:
    path = os.path.join(directory, FILE_NAME)
    return os.path.lexists(path) and (not os.path.isfile(path) or _is_state(path))


def _latest(directory: str, written: str, note: Note) -> Found:
    """Return the checkpoint that a state file means by `written`, looked for beside it if it is gone."""
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
        hint=f"name one that does: {_listed(there)}" if there else "there is no checkpoint in this directory",
    )


def checkpoints_in(directory: str, *, most: int | None = _MAX_IDENTIFIED) -> list[str]:
    """Return the paths of the checkpoints in a directory, each once.

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
    for name in others[:most]:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.path.getsize(path) and _may_be_one(path):
            found[os.path.basename(naming.v1_prefix(path))] = None
    return [os.path.join(directory, name) for name in found]


def _may_be_one(path: str) -> bool:
    try:
        kind = identify(ReadFile(path))
    except ReadError:
        return False
    return kind is TABLE or (kind in _SINGLE_FILES and path.endswith((*READ, ".json")))


def _refuse(path: str) -> NoReturn:
    """Say what `path` is instead of a checkpoint, or that there is nothing."""
    owner = naming.prefix_of(path)
    if owner is not None and not path.endswith(naming.INDEX):
        _refuse_without_index(path, owner)
    if os.path.lexists(path):
        kind = identify(ReadFile(path))
        raise FormatError(kind.what, path=path, hint=kind.hint)
    if data := naming.existing_data_files(path):
        _refuse_without_index(next(iter(data.values()))[0], path)
    _refuse_absent(path)


def _refuse_without_index(path: str, prefix: str) -> NoReturn:
    """Say that a data or meta file has no index beside it, or what stands in its place."""
    if not os.path.lexists(path):
        _refuse_absent(path)
    kind = identify(ReadFile(path))
    if kind.word in ("git-lfs", "link-text"):
        raise FormatError(kind.what, path=path, hint=kind.hint)
    raise ReadError(
        f"{naming.index_file(prefix)}: missing, and without it the values cannot be told apart",
        path=prefix,
        hint="copy it to where the data files are: it is the small file ending in .index",
    )


def _refuse_absent(path: str) -> NoReturn:
    directory, base = os.path.split(path)
    hint = "no checkpoint lies in that directory"
    if os.path.isdir(directory or "."):
        beside = [os.path.basename(found) for found in checkpoints_in(directory or ".")]
        near = [name for name in beside if name.startswith(base)]
        near = near or sorted(names.nearest(base, [*beside, *_folders_in(directory or ".")])) or beside
        if near:
            hint = f"there is: {_listed([os.path.join(directory, name) for name in near])}"
    else:
        hint = f"the directory {directory} does not exist"
    raise ReadError(f"{path}: no such file or checkpoint", path=path, hint=hint)


def _folders_in(directory: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(directory) if entry.is_dir()]
    except OSError:
        return []


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return ", ".join(paths[:_MAX_LISTED]) + more

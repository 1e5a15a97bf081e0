"""The one door in: whatever a person has at hand becomes a `Checkpoint`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

from toolkit import names
from toolkit.checkpoint import Checkpoint
from toolkit.errors import FormatError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.state import FILE_NAME, read_state
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import TABLE, UNKNOWN, identify

Note = Callable[[str], None]
"""Takes a line that a person should know, though all went well."""

_MAX_LISTED = 5


def open_checkpoint(path: str | os.PathLike[str], *, note: Note | None = None) -> Checkpoint:
    """Open the checkpoint that `path` leads to. No values are read.

    Args:
        path: A prefix (`run/model.ckpt-100`); one of its files (`.index`, `.data-…`, `.meta`); a
            directory with a `checkpoint` state file (its latest one), of a SavedModel, or with one
            checkpoint in it; or the state file itself.
        note: Called where the path was not taken literally: the state file names a checkpoint that
            has moved, say.

    Raises:
        ReadError: There is nothing, or it cannot be read, or data files are missing.
        FormatError: It is not a checkpoint; the message says what it is instead.
    """
    return BundleCheckpoint(find_prefix(os.fspath(path), note or (lambda _: None)))


def as_checkpoint(checkpoint: Checkpoint | str | os.PathLike[str]) -> Checkpoint:
    """Return `checkpoint`, opened if it is a path.

    Raises:
        ReadError, FormatError: As `open_checkpoint`.
    """
    return checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)


def find_prefix(path: str, note: Note) -> str:
    """Return the prefix of the bundle that `path` leads to, having looked at its index's beginning.

    Raises:
        ReadError, FormatError: As `open_checkpoint`.
    """
    if os.path.isdir(path):
        prefix = _in_directory(path, note)
    elif os.path.lexists(naming.index_file(path)):
        prefix = path
    elif (owner := naming.prefix_of(path)) is not None:
        prefix = owner
        if not os.path.lexists(naming.index_file(prefix)):
            _refuse_without_index(path, prefix)
    elif os.path.basename(path) == FILE_NAME and os.path.lexists(path):
        prefix = _in_directory(os.path.dirname(path) or ".", note)
    elif os.path.lexists(path):
        _refuse(path)
    else:
        _refuse_absent(path)
    index = ReadFile(naming.index_file(prefix))
    kind = identify(index)
    if kind not in (TABLE, UNKNOWN):  # an unknown one may be a table that was cut off, and is told so
        raise FormatError(kind.what, path=index.path, hint=kind.hint)
    return prefix


def _in_directory(directory: str, note: Note) -> str:
    """Return the prefix of the latest, or only, checkpoint in a directory."""
    state = read_state(directory)
    if state is not None:
        return _latest(directory, state.latest, note)
    variables = os.path.join(directory, "variables", "variables")
    if os.path.lexists(naming.index_file(variables)):
        return variables
    found = _prefixes_in(directory)
    if len(found) == 1:
        return os.path.join(directory, found[0])
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
        hint=f"name one: {_listed([os.path.join(directory, name) for name in found])}",
    )


def _latest(directory: str, written: str, note: Note) -> str:
    """Return the prefix that a state file means by `written`, looked for beside it if it is gone."""
    prefix = os.path.join(directory, written)
    if os.path.lexists(naming.index_file(prefix)):
        return prefix
    beside = os.path.join(directory, os.path.basename(written))
    if os.path.lexists(naming.index_file(beside)):
        note(f"{os.path.join(directory, FILE_NAME)}: names {written}, which is gone; took {beside}")
        return beside
    found = _prefixes_in(directory)
    raise ReadError(
        f"{os.path.join(directory, FILE_NAME)}: names {written}, which does not exist",
        path=prefix,
        hint=f"name one that does: {_listed([os.path.join(directory, name) for name in found])}"
        if found
        else "there is no checkpoint in this directory",
    )


def _prefixes_in(directory: str) -> list[str]:
    try:
        entries = os.listdir(directory)
    except OSError as error:
        raise ReadError(f"{directory}: {error.strerror}", path=directory) from error
    return sorted(name.removesuffix(naming.INDEX) for name in entries if name.endswith(naming.INDEX))


def _refuse(path: str) -> NoReturn:
    """Say what the file at `path` is instead of a checkpoint."""
    kind = identify(ReadFile(path))
    raise FormatError(kind.what, path=path, hint=kind.hint)


def _refuse_without_index(path: str, prefix: str) -> NoReturn:
    """Say that a data or meta file has no index beside it, or what stands in its place."""
    if os.path.lexists(path):
        kind = identify(ReadFile(path))
        if kind.word in ("git-lfs", "link-text"):
            raise FormatError(kind.what, path=path, hint=kind.hint)
        raise ReadError(
            f"{naming.index_file(prefix)}: missing, and without it the values cannot be told apart",
            path=prefix,
            hint="copy it to where the data files are: it is the small file ending in .index",
        )
    _refuse_absent(path)


def _refuse_absent(path: str) -> NoReturn:
    data = naming.existing_data_files(path)
    if data:
        _refuse_without_index(next(iter(data.values()))[0], path)
    directory, base = os.path.split(path)
    hint = "no checkpoint lies in that directory"
    if os.path.isdir(directory or "."):
        beside = _prefixes_in(directory or ".")
        folders = _folders_in(directory or ".")
        near = [name for name in beside if name.startswith(base)]
        near = near or sorted(names.nearest(base, [*beside, *folders])) or beside
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

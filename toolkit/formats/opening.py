"""The one door in: whatever a person has at hand becomes a `Checkpoint`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toolkit.arguments import checked, path_of
from toolkit.checkpoint import Checkpoint
from toolkit.errors import CheckpointError
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.identify import HDF5, KERAS_FOLDER, SAFETENSORS, WEIGHT_MAP, ZIP
from toolkit.formats.locating import Found, Note, locate
from toolkit.formats.weight_map import kind_of, read_weight_map

if TYPE_CHECKING:
    from toolkit.formats.hdf5.reader import Hdf5Checkpoint


@checked
def open_checkpoint(
    path: str | os.PathLike[str], *, note: Note | None = None, partial: bool = False
) -> Checkpoint:
    """Open the checkpoint that `path` leads to. No values are read. What it is, its content tells.

    Args:
        path: A prefix (`run/model.ckpt-100`); one of its files (`.index`, `.data-…`, `.meta`); a V1
            checkpoint, or one of its files; an HDF5 file, a `.keras` archive, or a folder that was saved
            instead of one; a `.safetensors` file; the index of several `.safetensors` files or of Keras's
            sharded weights (`x.weights.json`), or one of these files; an `.npz` archive; a training directory
            (its latest checkpoint, as `latest` tells it), one of a SavedModel, or one with one checkpoint in
            it; or a state file.
        note: Called where the path was not taken literally: the state file names a checkpoint that
            has moved, or there is a later one than it names.
        partial: Open also what lacks a file without which not all names are known: one of several V1,
            safetensors or HDF5 files. `Checkpoint.missing_files` names it. The names of a V2 checkpoint are
            known without its data files: it is opened in any case, and reading values says what is missing.

    Raises:
        UsageError: `path` is no path.
        ReadError: There is nothing, or it cannot be read, or files are missing.
        FormatError: It is not a checkpoint; the message says what it is instead.
    """
    note = note or (lambda _: None)
    found = locate(path_of(path), note, is_complete)
    if found.is_bundle:
        return BundleCheckpoint(found.path)
    if found.kind in (HDF5, KERAS_FOLDER):
        return _keras(found, note)
    if found.kind is ZIP:
        from toolkit.formats.archives import open_archive

        return open_archive(found.path)
    if found.kind is WEIGHT_MAP:
        return _several(found.path, note, partial=partial)
    if found.kind is SAFETENSORS:
        from toolkit.formats.safetensors import SafetensorsCheckpoint

        return SafetensorsCheckpoint(found.path)
    from toolkit.formats.bundle.v1 import V1Checkpoint

    return V1Checkpoint(found.path, found.files, partial=partial)


def is_complete(path: str) -> bool:
    """Return whether the checkpoint at `path` can be read, as far as the lengths of its files tell."""
    try:
        with open_checkpoint(path) as checkpoint:
            checkpoint.check_files()
    except CheckpointError:
        return False
    return True


def as_checkpoint(checkpoint: Checkpoint | str | os.PathLike[str], *, partial: bool = False) -> Checkpoint:
    """Return `checkpoint`, opened if it is a path.

    Args:
        checkpoint: Open, or its path.
        partial: Take also one that lacks files, of which names alone are wanted.

    Raises:
        UsageError: `checkpoint` is neither.
        ReadError, FormatError: As `open_checkpoint`; or files are missing.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(path_of(checkpoint, "checkpoint"), partial=partial)
    if not partial:
        checkpoint.check_present()
    return checkpoint


def _keras(found: Found, note: Note) -> Checkpoint:
    """Open an HDF5 file, or the folder of a Keras model."""
    from toolkit.formats.hdf5.reader import Hdf5Checkpoint

    if found.kind is KERAS_FOLDER:
        from toolkit.formats.archives import open_keras_folder

        checkpoint = open_keras_folder(found.path)
    else:
        checkpoint = Hdf5Checkpoint(found.path)
        if (index := checkpoint.index_of_shard()) is not None:
            note(f"{found.path}: a part: {index}, which lists the other files, is missing")
    return _noted(checkpoint, note)


def _several(path: str, note: Note, *, partial: bool) -> Checkpoint:
    """Open the files that the index at `path` lists."""
    weight_map = read_weight_map(path)
    if kind_of(weight_map) is SAFETENSORS:
        from toolkit.formats.safetensors import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path, weight_map, partial=partial)
    from toolkit.formats.hdf5.sharded import ShardedCheckpoint

    return _noted(ShardedCheckpoint(weight_map, partial=partial), note)


def _noted(checkpoint: Hdf5Checkpoint, note: Note) -> Checkpoint:
    """Return `checkpoint`, having noted what was left out."""
    if checkpoint.left_out:
        note(
            f"{checkpoint.path}: left out {', '.join(checkpoint.left_out[:5])}: of types that are no tensors"
        )
    return checkpoint

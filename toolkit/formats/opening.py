"""The one door in: whatever a person has at hand becomes a `Checkpoint`."""

from __future__ import annotations

import os

from toolkit.checkpoint import Checkpoint
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.identify import HDF5, SAFETENSORS, SAFETENSORS_INDEX, ZIP
from toolkit.formats.locating import Note, locate


def open_checkpoint(path: str | os.PathLike[str], *, note: Note | None = None) -> Checkpoint:
    """Open the checkpoint that `path` leads to. No values are read. What it is, its content tells.

    Args:
        path: A prefix (`run/model.ckpt-100`); one of its files (`.index`, `.data-…`, `.meta`); a V1
            checkpoint, or one of its files; an HDF5 file or a `.keras` archive; a `.safetensors` file,
            or the index of several; an `.npz` archive; a directory with a `checkpoint` state file (its
            latest one), of a SavedModel, or with one checkpoint in it; or the state file itself.
        note: Called where the path was not taken literally: the state file names a checkpoint that
            has moved, say.

    Raises:
        ReadError: There is nothing, or it cannot be read, or data files are missing.
        FormatError: It is not a checkpoint; the message says what it is instead.
    """
    found = locate(os.fspath(path), note or (lambda _: None))
    if found.is_bundle:
        return BundleCheckpoint(found.path)
    if found.kind is HDF5:
        from toolkit.formats.hdf5.reader import Hdf5Checkpoint

        checkpoint = Hdf5Checkpoint(found.path)
        if checkpoint.left_out and note is not None:
            note(f"{found.path}: left out {', '.join(checkpoint.left_out[:5])}: of types that are no tensors")
        return checkpoint
    if found.kind is ZIP:
        from toolkit.formats.archives import open_archive

        return open_archive(found.path)
    if found.kind in (SAFETENSORS, SAFETENSORS_INDEX):
        from toolkit.formats.safetensors import SafetensorsCheckpoint

        return SafetensorsCheckpoint(found.path)
    from toolkit.formats.bundle.v1 import V1Checkpoint

    return V1Checkpoint(found.path, found.files)


def as_checkpoint(checkpoint: Checkpoint | str | os.PathLike[str]) -> Checkpoint:
    """Return `checkpoint`, opened if it is a path.

    Raises:
        ReadError, FormatError: As `open_checkpoint`.
    """
    return checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)

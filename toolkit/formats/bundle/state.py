"""The state file `checkpoint`: which checkpoint of a directory is the latest. A text protocol buffer.

    model_checkpoint_path: "model.ckpt-200"
    all_model_checkpoint_paths: "model.ckpt-100"
    all_model_checkpoint_paths: "model.ckpt-200"

A relative path is relative to the state file's directory.

Source: tensorflow/python/training/checkpoint_state.proto, checkpoint_management.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from toolkit.errors import FormatError
from toolkit.formats.bundle.schema import message_class
from toolkit.formats.file import ReadFile

FILE_NAME = "checkpoint"
_MAX_BYTES = 16 << 20
"""More than 100,000 paths; a larger file of this name is something else."""


class State(NamedTuple):
    """What a state file says; paths as they are written there."""

    latest: str
    all_paths: tuple[str, ...]


def read_state(directory: str) -> State | None:
    """Return what the state file of `directory` says, or `None` if it has none.

    Raises:
        FormatError: It is not a state file, or names no checkpoint.
        ReadError: It cannot be read.
    """
    path = os.path.join(directory, FILE_NAME)
    if not os.path.lexists(path):
        return None
    from google.protobuf import text_format

    file = ReadFile(path)
    if file.size > _MAX_BYTES:
        raise FormatError(
            "too large for a state file",
            path=path,
            expected=f"at most {_MAX_BYTES} bytes",
            found=file.size,
        )
    try:
        text = file.read(0, file.size).decode("utf-8")
        message = text_format.Parse(text, message_class("CheckpointState")(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            f"not a checkpoint state file: {error}",
            path=path,
            hint="give the prefix of a checkpoint beside it",
        ) from error
    if not message.model_checkpoint_path:
        raise FormatError(
            "the state file names no checkpoint",
            path=path,
            hint="give the prefix of a checkpoint beside it",
        )
    return State(message.model_checkpoint_path, tuple(message.all_model_checkpoint_paths))


def state_text(latest: str, all_paths: Sequence[str], timestamps: Sequence[float]) -> str:
    """Return the text of a state file.

    Args:
        latest: The newest checkpoint's path, relative to the directory of the file.
        all_paths: All that are kept, oldest first.
        timestamps: When each of these was saved, in seconds since 1970.
    """
    from google.protobuf import text_format

    message = message_class("CheckpointState")(
        model_checkpoint_path=latest,
        all_model_checkpoint_paths=all_paths,
        all_model_checkpoint_timestamps=timestamps,
    )
    return str(text_format.MessageToString(message))

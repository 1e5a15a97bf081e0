"""The state file `checkpoint`: which checkpoint of a directory is the latest. A text protocol buffer.

    model_checkpoint_path: "model.ckpt-200"
    all_model_checkpoint_paths: "model.ckpt-100"
    all_model_checkpoint_paths: "model.ckpt-200"

A relative path is relative to the state file's directory.

Source: tensorflow/python/training/checkpoint_state.proto, checkpoint_management.py.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from toolkit.errors import FormatError
from toolkit.formats.bundle.schema import message_class
from toolkit.formats.file import ReadFile
from toolkit.publish import Publication

FILE_NAME = "checkpoint"
_MAX_BYTES = 16 << 20
"""More than 100,000 paths; a larger file of this name is something else."""


class State(NamedTuple):
    """What a state file says; paths as they are written there.

    Attributes:
        latest: The latest checkpoint.
        all_paths: Those that are kept, oldest first; TensorFlow removes some of these as it saves more.
        timestamps: When each of these was saved, in seconds since 1970; `()` if that is not said.
        last_preserved: When one was last kept for ever.
    """

    latest: str
    all_paths: tuple[str, ...]
    timestamps: tuple[float, ...] = ()
    last_preserved: float = 0.0


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
    return State(
        message.model_checkpoint_path,
        tuple(message.all_model_checkpoint_paths),
        tuple(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def write_state(directory: str, state: State, *, sync: bool = True) -> None:
    """Write the state file of `directory`, all at once.

    Raises:
        PublishError: The system refuses something. The old one is there still.
    """
    from google.protobuf import text_format

    message = message_class("CheckpointState")(
        model_checkpoint_path=state.latest,
        all_model_checkpoint_paths=state.all_paths,
        all_model_checkpoint_timestamps=state.timestamps,
        last_preserved_timestamp=state.last_preserved,
    )
    with Publication(os.path.join(directory, FILE_NAME), force=True, sync=sync) as publication:
        with open(publication.staged(FILE_NAME), "x", encoding="utf-8") as file:
            file.write(text_format.MessageToString(message))
        publication.publish()

"""The state file `checkpoint`: which checkpoint of a directory is the latest. A text protocol buffer.

    model_checkpoint_path: "model.ckpt-200"
    all_model_checkpoint_paths: "model.ckpt-100"
    all_model_checkpoint_paths: "model.ckpt-200"

A relative path is relative to the state file's directory.

Source: tensorflow/python/training/checkpoint_state.proto, checkpoint_management.py.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from toolkit.errors import FormatError, PublishError, ReadError
from toolkit.formats.bundle.schema import message_class
from toolkit.formats.file import ReadFile
from toolkit.publish import Publication

FILE_NAME = "checkpoint"
_BEGINNING = b"model_checkpoint_path:"
"""How TensorFlow writes one: its first field first."""
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


def content_of(path: str) -> bytes:
    """Return the beginning of a file, as long as a state file may be; nothing if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""


def read_state(directory: str, name: str = FILE_NAME) -> State | None:
    """Return what the state file `name` of `directory` says, or `None` if it has none.

    Raises:
        FormatError: It is not a state file, or names no checkpoint.
        ReadError: It cannot be read.
    """
    path = os.path.join(directory, name)
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


def state_files(directory: str) -> list[str]:
    """Return the names of the state files in a directory. A Saver may call its own as it likes.

    Raises:
        ReadError: It cannot be listed.
    """
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        raise ReadError(f"{directory}: {(error.strerror or str(error)).lower()}", path=directory) from error
    found = []
    for entry in entries:
        with contextlib.suppress(OSError, ReadError):
            if entry.is_file() and len(_BEGINNING) <= entry.stat().st_size <= _MAX_BYTES:
                file = ReadFile(entry.path)
                if file.read(0, len(_BEGINNING)) == _BEGINNING:
                    found.append(entry.name)
                file.close()
    return found


def looks_damaged(content: bytes) -> bool:
    """Return whether a file that cannot be read as one was a state file: it is empty, or begins like one."""
    return _BEGINNING.startswith(content[: len(_BEGINNING)])


def write_state(
    directory: str, state: State, *, name: str = FILE_NAME, before: bytes | None = None, sync: bool = True
) -> None:
    """Write the state file of `directory`, all at once. Where it is a link, what it leads to is written.

    Args:
        directory: Of the training.
        state: What it is to say.
        name: Of the state file.
        before: What it must hold until then, if that is known.
        sync: Make it survive a power loss.

    Raises:
        PublishError: Another program has changed it, or the system refuses something. It is as it was.
    """
    from google.protobuf import text_format

    message = message_class("CheckpointState")(
        model_checkpoint_path=state.latest,
        all_model_checkpoint_paths=state.all_paths,
        all_model_checkpoint_timestamps=state.timestamps,
        last_preserved_timestamp=state.last_preserved,
    )
    path = os.path.realpath(os.path.join(directory, name))
    with Publication(path, force=True, sync=sync) as publication:
        if before is not None and content_of(path) != before:
            raise PublishError(
                f"{path}: another program changed it meanwhile; not written",
                path=path,
                hint="a training goes on here: run it again",
            )
        with open(publication.staged(os.path.basename(path)), "x", encoding="utf-8") as file:
            file.write(text_format.MessageToString(message))
        publication.publish()

"""What the ending of a file's name says: which format the file is to have.

What is *read* is told by its content. What is *written* is told by the ending of OUT alone, and a prefix of a
TensorFlow checkpoint is what ends in none of these.
"""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from toolkit.errors import UsageError


class Ending(NamedTuple):
    """An ending, and what it says.

    Attributes:
        text: How the name ends, in any case.
        format: The format, as `Checkpoint.format` names it, or a word for one that is not read.
        what: What such a file is, for a person.
        is_exported: Whether `export` writes it.
    """

    text: str
    format: str
    what: str
    is_exported: bool = False


ENDINGS = (
    Ending(".weights.h5", "keras-weights", "Keras 3's weights", is_exported=True),
    Ending(".weights.json", "keras-weights", "an index of Keras 3's weights in several files"),
    Ending(".keras", "keras", "a Keras model"),
    Ending(".h5", "hdf5", "HDF5", is_exported=True),
    Ending(".hdf5", "hdf5", "HDF5", is_exported=True),
    Ending(".safetensors", "safetensors", "safetensors", is_exported=True),
    Ending(".safetensors.index.json", "safetensors", "an index of several safetensors files"),
    Ending(".npz", "npz", "a NumPy archive", is_exported=True),
    Ending(".npy", "other", "a NumPy array"),
    Ending(".pt", "other", "PyTorch's"),
    Ending(".pth", "other", "PyTorch's"),
    Ending(".msgpack", "other", "Flax's"),
    Ending(".onnx", "other", "ONNX"),
    Ending(".tflite", "other", "TensorFlow Lite's"),
    Ending(".pb", "other", "a graph's"),
    Ending(".pkl", "other", "a pickle"),
    Ending(".pickle", "other", "a pickle"),
)
"""Every ending that says a format, longer ones first where two fit."""

_BY_LENGTH = sorted(ENDINGS, key=lambda ending: -len(ending.text))
READ = tuple(ending.text for ending in ENDINGS if ending.format != "other")
"""The endings of files that are read, but TensorFlow's own."""


def ending_of(path: str) -> Ending | None:
    """Return the ending of a path that says a format; `None` for a prefix of a TensorFlow checkpoint."""
    name = os.path.basename(path).lower()
    return next((e for e in _BY_LENGTH if name.endswith(e.text)), None)


def stem_of(path: str) -> str:
    """Return a path without the ending that says its format."""
    ending = ending_of(path)
    return path if ending is None else path[: -len(ending.text)]


def refuse_ending(out: str) -> None:
    """Raise if a TensorFlow checkpoint is to be written to `out`, whose ending says another format.

    Raises:
        UsageError: It does; the hint says how to come by a file of that format.
    """
    ending = ending_of(out)
    if ending is None:
        return
    bare = stem_of(out)
    stem, named, weights, tensors = map(shlex.quote, (bare, out, f"{bare}.weights.h5", f"{bare}.safetensors"))
    steps = f"-o {stem}, then ckpt export {stem} "
    if ending.format == "keras" or (ending.format == "keras-weights" and not ending.is_exported):
        steps += f"{weights} --model MODULE:FUNCTION, which Keras loads into that model"
    elif ending.format == "keras-weights":
        steps += f"{weights} --model MODULE:FUNCTION"
    elif ending.is_exported:
        steps += named
    elif ending.format == "safetensors":
        steps += f"{tensors} --max-shard-size SIZE"
    else:
        steps += f"{tensors}, a format that most programs read"
    raise UsageError(
        f"{out}: ends as {ending.what} does, but what is written here is a TensorFlow checkpoint", hint=steps
    )

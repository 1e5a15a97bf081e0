"""Which weight of a Keras model Keras gives each dataset of a file of weights: it is asked.

The names in such a file come from classes and places, and Keras goes by its own rules, which changed with
its versions. So it loads, into the model, a file of the same structure in which every dataset is filled
with a digit of its number; the weights then tell the numbers.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit.checkpoint import Checkpoint, Variable
from toolkit.formats.hdf5.reader import Hdf5Checkpoint

_BASE = 99
"""Of the numbers. A digit is stored as one more, which all these dtypes have: 0 is what was not loaded."""
_DTYPES = frozenset(
    (
        *("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
)


class Loading(NamedTuple):
    """What Keras does with a file.

    Attributes:
        paths: By the names of the file's variables, the paths of those of the model that get their values.
        refusal: What Keras says instead; `None` if it loads the file.
    """

    paths: dict[str, str]
    refusal: str | None = None


def ask_keras(model: Any, source: Checkpoint) -> Loading:
    """Return which of the model's variables Keras loads each variable of `source` into.

    Args:
        model: A Keras model with weights. It has no useful values afterwards.
        source: A checkpoint; only files of weights that Keras wrote tell anything.
    """
    if not isinstance(source, Hdf5Checkpoint) or source.layout not in ("keras", "keras3"):
        return Loading({})
    variables = [v for v in source.variables().values() if v.dtype.name in _DTYPES and v.num_elements]
    ending = ".weights.h5" if source.layout == "keras3" else ".h5"
    ways: list[dict[str, Any]] = [{"skip_mismatch": True}]
    if source.layout == "keras":
        ways = [{"by_name": True, "skip_mismatch": True}, {}]
    found = Loading({})
    with tempfile.TemporaryDirectory(prefix="ckpt-") as folder:
        files = []
        for power in range(_num_digits(len(variables))):
            files.append(os.path.join(folder, f"{power}{ending}"))
            digits = {v: i // _BASE**power % _BASE + 1 for i, v in enumerate(variables)}
            source.write_skeleton(files[-1], digits)
        for options in ways:
            loaded = _load(model, files, variables, options)
            if len(loaded.paths) > len(found.paths) or not found.paths:
                found = loaded
            if set(loaded.paths.values()) >= {weight.path for weight in model.weights}:
                break
    return found


def _load(model: Any, files: list[str], variables: list[Variable], options: dict[str, Any]) -> Loading:
    """Return which of the model's variables Keras loads each of the file's into, in this way."""
    optimizer = getattr(model, "optimizer", None)
    targets = {id(v): v for v in [*model.variables, *getattr(optimizer, "variables", [])]}
    times = Counter(target.path for target in targets.values())
    numbers: dict[int, int | None] = dict.fromkeys(targets, 0)
    for power, file in enumerate(files):
        for target in targets.values():
            target.assign(tf.zeros(target.shape, target.dtype))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers and shapes that do not fit, which the plan says
            try:
                model.load_weights(file, **options)
            except Exception as error:  # whatever Keras raises is its answer
                return Loading({}, " ".join(str(error).split()))
        for key, target in targets.items():
            digit, number = _digit(target), numbers[key]
            if digit is None or number is None:
                numbers[key] = None
            else:
                numbers[key] = number + (digit - 1) * _BASE**power
    return Loading(
        {
            variables[number].name: targets[key].path
            for key, number in numbers.items()
            if number is not None and times[targets[key].path] == 1
        }
    )


def _digit(target: Any) -> int | None:
    """Return the number that a variable is filled with; `None` if it has none, or several."""
    values = np.asarray(target.numpy())
    if values.dtype.kind in "SOb" or not values.size:
        return None
    values = values.astype(np.float64) if values.dtype.kind != "c" else values.real
    digit = int(values.flat[0])
    return digit if digit and (values == digit).all() else None


def _num_digits(count: int) -> int:
    """Return how many digits the numbers below `count` have."""
    digits = 1
    while _BASE**digits < count:
        digits += 1
    return digits

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
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit.checkpoint import Checkpoint, Variable
from toolkit.formats.hdf5.reader import Hdf5Checkpoint
from toolkit.graph.contradictions import by_layers, without_contradictions
from toolkit.graph.optimizers import kept_by, optimizer_of

_BASE = 99
"""Of the numbers. A digit is stored as one more, which all these dtypes have: 0 is what was not loaded."""
_DTYPES = frozenset(
    (
        *("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
)


Look = Callable[[], Iterable[tuple[str, np.ndarray[Any, Any]]]]
"""Gives the values that a model's variables have now, by name."""


class Loading(NamedTuple):
    """What Keras does with a file.

    Attributes:
        names: By the names of the file's variables, those of the model's that get their values. Weights of
            layers that the model has elsewhere go by their names.
        refusal: What Keras says instead; `None` if it loads the file.
        is_complete: Whether every weight of the model gets a value.
    """

    names: dict[str, str]
    refusal: str | None = None
    is_complete: bool = False


def ask_keras(model: Any, source: Checkpoint, look: Look | None = None) -> Loading:
    """Return which of the model's variables Keras loads each variable of `source` into.

    Args:
        model: A Keras model with weights. It has no useful values afterwards.
        source: A checkpoint; only files of weights that Keras wrote tell anything.
        look: How to see the values of the model, by the names that are wanted; by default by the paths
            of its variables.
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
            loaded = _load(model, files, variables, options, look or (lambda: _by_path(model)))
            if len(loaded.names) > len(found.names) or not found.names:
                found = loaded
            if loaded.is_complete:
                break
    targets = [name for name, _ in (look or (lambda: _by_path(model)))()]
    paths = {variable.name: source.paths().get(variable.name, variable.name) for variable in variables}
    kept = without_contradictions(found.names, paths, targets, _class_names(model))
    if len(kept) == len(found.names):
        return found
    roles = source.roles()  # of slots whose variable is not told, numbers tell nothing now
    kept = {name: new for name, new in kept.items() if roles[name].kind != "slot" or roles[name].of}
    return found._replace(names=by_layers(kept, paths, targets))


def _class_names(model: Any) -> set[str]:
    return {type(layer).__name__ for layer in model._flatten_layers()}


def _load(
    model: Any, files: list[str], variables: list[Variable], options: dict[str, Any], look: Look
) -> Loading:
    """Return which of the model's variables Keras loads each of the file's into, in this way."""
    targets = all_variables(model)
    numbers: dict[str, int] = {}
    for power, file in enumerate(files):
        for target in targets:
            target.assign(tf.zeros(target.shape, target.dtype))
        before = {name for name, values in look() if values.any()}  # what is none of Keras's
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers and shapes that do not fit, which the plan says
            try:
                model.load_weights(file, **options)
            except Exception as error:  # whatever Keras raises is its answer
                return Loading({}, " ".join(str(error).split()))
        digits = {name: _digit(values) for name, values in look() if name not in before}
        for name, digit in digits.items():
            if digit is not None and (power == 0 or name in numbers):
                numbers[name] = numbers.get(name, 0) + (digit - 1) * _BASE**power
            else:
                numbers.pop(name, None)
    is_complete = all(_digit(weight.numpy()) is not None for weight in model.weights)
    return Loading({variables[number].name: name for name, number in numbers.items()}, None, is_complete)


def all_variables(model: Any) -> list[Any]:
    """Return the variables of a model and of its optimizer, each once."""
    return list({id(v): v for v in [*model.variables, *kept_by(optimizer_of(model))]}.values())


def _by_path(model: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the values of a model's variables by their paths, where these are unique."""
    variables = all_variables(model)
    times = Counter(variable.path for variable in variables)
    for variable in variables:
        if times[variable.path] == 1:
            yield variable.path, np.asarray(variable.numpy())


def _digit(values: np.ndarray[Any, Any]) -> int | None:
    """Return the number that a variable is filled with; `None` if it has none, or several."""
    values = np.asarray(values)
    if values.dtype.kind in "SOb" or not values.size:
        return None
    digit = int(values.flat[0].real)
    return digit if digit and (values == np.asarray(digit, values.dtype)).all() else None


def _num_digits(count: int) -> int:
    """Return how many digits the numbers below `count` have."""
    digits = 1
    while _BASE**digits < count:
        digits += 1
    return digits

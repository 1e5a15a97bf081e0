"""A Keras model in a file of weights, as the keeper saves it: with its optimizer, and read back.

Keras writes weights and the optimizer's variables. What it leaves out is added: the states of seed
generators, without which a training with Dropout goes on otherwise, and variables of an optimizer that Keras
does not know of. Keras reads such a file as one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit import checksum
from toolkit.errors import MismatchError
from toolkit.formats.hdf5.added import add_datasets
from toolkit.formats.hdf5.layouts import RANDOM_STATES, UNTRACKED
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.read_back import checksum_of
from toolkit.graph.optimizers import optimizer_of, random_states, untracked
from toolkit.publish import Publication

_OF_OPTIMIZER = "optimizer/vars/"
"""Where Keras writes what the optimizer keeps, in its order (keras/src/saving/saving_lib.py)."""


def save_weights(model: Any, path: str, *, force: bool, sync: bool) -> None:
    """Write a model's weights, its optimizer's state and its random states to the new file `path`.

    Args:
        model: A Keras model.
        path: It ends in `.weights.h5`.
        force: Replace the file there.
        sync: Make it survive a power loss.

    Raises:
        PublishError: The system refuses something.
        MismatchError, FormatError: What was written is not what was meant; it is not there.
    """
    with Publication(path, force=force, sync=sync) as publication:
        staged = publication.staged(os.path.basename(path))
        model.save_weights(staged)
        add_datasets(staged, ((name, variable.numpy()) for name, variable in _added(model)))
        publication.publish(check=lambda: _check(model, staged, path))


def _check(model: Any, staged: str, path: str) -> None:
    """Compare what was written with what the model has.

    Raises:
        MismatchError: It differs.
        FormatError: The file is damaged.
    """
    with open_checkpoint(staged) as written:
        found = {name: checksum_of(variable) for name, variable in written.variables().items()}
    weights = set(found.values())
    for weight in model.weights:  # whose names in the file only Keras knows
        if _checksum(weight) not in weights:
            raise _differs(path, weight)
    for name, variable in _named(model):
        if found.get(name) != _checksum(variable):
            raise _differs(path, variable)


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables whose places in the file are known, beside the weights."""
    optimizer = optimizer_of(model)
    for number, variable in enumerate(optimizer.variables if optimizer is not None else ()):
        yield f"{_OF_OPTIMIZER}{number}", variable
    yield from _added(model)


def _added(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield what Keras leaves out, by its place in the file."""
    optimizer = optimizer_of(model)
    for number, state in enumerate(random_states(model)):
        yield f"{RANDOM_STATES}{number}", state
    for number, variable in enumerate(untracked(optimizer).values() if optimizer is not None else ()):
        yield f"{UNTRACKED}{number}", variable


def _checksum(variable: Any) -> int:
    return checksum.crc32c(np.ascontiguousarray(variable.numpy()).reshape(-1).view(np.uint8))


def _differs(path: str, variable: Any) -> MismatchError:
    return MismatchError(
        f"{path}: {variable.path} was not written as it is",
        name=variable.path,
        expected="its values",
        found="others",
    )

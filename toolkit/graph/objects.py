"""The objects of a user's model, as `tf.train.Checkpoint` keeps them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit.checkpoint import Checkpoint
from toolkit.errors import ModelError
from toolkit.formats.opening import open_checkpoint
from toolkit.graph.keras_loading import Loading, ask_keras
from toolkit.graph.model_function import call
from toolkit.graph.optimizers import as_if_built, optimizer_of
from toolkit.graph.trackables import variables_of


class Template(NamedTuple):
    """What values are to be given to.

    Attributes:
        checkpoint: Has the object graph and the keys that `tf.train.Checkpoint` would write.
        loading: Which of its variables Keras loads each of a file's into.
    """

    checkpoint: Checkpoint
    loading: Loading


@contextlib.contextmanager
def template(spec: str, source: Checkpoint) -> Iterator[Template]:
    """Build what the function `spec` returns, and open the checkpoint that TensorFlow makes of it.

    That is removed afterwards.

    Args:
        spec: `MODULE:FUNCTION` or `FILE.py:FUNCTION`; it returns a Keras model, a `tf.Module` or a
            `tf.train.Checkpoint`.
        source: Where the values will come from.

    Raises:
        UsageError, ModelError: It cannot be found or run, or returns nothing that has variables.
    """
    built = call(spec)
    try:
        checkpoint = built if isinstance(built, tf.train.Checkpoint) else tf.train.Checkpoint(built)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{spec}: returned {type(built).__name__}, which has no variables to keep",
            hint="return a Keras model, a tf.Module or a tf.train.Checkpoint",
        ) from error
    parts = [built] if isinstance(built, tf.keras.Model) else vars(built).values()
    models = [part for part in parts if isinstance(part, tf.keras.Model)]
    if len(models) == 1:
        _build_optimizer(models[0], source)
    with tempfile.TemporaryDirectory(prefix="ckpt-") as folder:
        prefix = checkpoint.write(os.path.join(folder, "objects"))
        with open_checkpoint(prefix) as opened:
            opened.path = spec
            loading = Loading({})
            if len(models) == 1:
                loading = ask_keras(models[0], source, lambda: _by_key(checkpoint))
            yield Template(opened, loading)


def _build_optimizer(model: Any, source: Checkpoint) -> None:
    """Build the optimizer of a compiled model if `source` has the slots that it then keeps.

    The model is made for this alone, so that it may be changed.
    """
    optimizer = optimizer_of(model)
    if optimizer is None or optimizer.built:
        return
    variables = source.variables()
    stored = [
        variables[name].shape
        for name, role in source.roles().items()
        if role.kind in ("slot", "moving_average") and variables[name].shape
    ]
    with as_if_built(model) as copy:
        kept = [tuple(variable.shape) for variable in copy.variables]
    if stored and Counter(stored) == Counter(filter(None, kept)):
        optimizer.build(model.trainable_variables)


def _by_key(root: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the values that the objects have now, by their keys in a checkpoint."""
    for key, variable in variables_of(root).items():
        yield key, np.asarray(variable.numpy())

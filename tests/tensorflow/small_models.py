"""A small Keras model whose layers Keras names, trained for some steps, and all that it keeps, as bits."""

from __future__ import annotations

import numpy as np

from tests.tensorflow import tf

keras = tf.keras
layers = keras.layers
X, Y = np.arange(8, dtype="f").reshape(4, 2) / 8, np.ones((4, 1), "f")


def network(optimizer="adam", units=3):
    """Build a model whose layers Keras names, so that a second one has other names."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(units, "tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def trained(optimizer="adam", steps=3):
    model = network(optimizer)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def bits(variables):
    return [variable.numpy().tobytes() for variable in variables]


def everything(model):
    return bits([*model.variables, *model.optimizer.variables])


def with_optimizer(model):
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer)

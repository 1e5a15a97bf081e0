"""A small convolutional network for five of the ten handwritten digits, and their images."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from toolkit.graph.models import Model, convolutional_network


def digits() -> Model:
    """Build the network: 8x8 images in, five classes out, trained by Adam."""
    return convolutional_network((8, 8, 1), (16, 32), 64, num_classes=5, learning_rate=1e-3)


def images(first: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and labels of the digits from `first` to `first + 4`, to train on and to test.

    Images are `(n, 8, 8, 1)` from 0 to 1, labels from 0 to 4. A quarter is for testing.
    """
    data = load_digits()
    chosen = (data.target >= first) & (data.target < first + 5)
    inputs = (data.images[chosen] / 16)[..., None].astype(np.float32)
    labels = data.target[chosen] - first
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = len(labels) * 3 // 4
    train, test = order[:cut], order[cut:]
    return inputs[train], labels[train], inputs[test], labels[test]


def train(session, model: Model, inputs: np.ndarray, labels: np.ndarray, steps: int, seed: int):
    """Take `steps` steps of 32 images each, and yield after every one."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        batch = rng.choice(len(labels), 32, replace=False)
        feed = {model.inputs: inputs[batch], model.labels: labels[batch], model.training: True}
        session.run(model.train_op, feed)
        yield


def accuracy(session, model: Model, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose class the network tells."""
    outputs = session.run(model.outputs, {model.inputs: inputs})
    return float(np.mean(outputs.argmax(1) == labels))

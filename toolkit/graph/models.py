"""Models as TF1-style graphs: each function builds its variables in the default graph.

Every argument has a default, so that each can be named as a model on the command line:
`toolkit.graph.models:perceptron`. Variables are named by layer: `conv1/kernel`, `head/bias`. The last
layer is always `head`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from toolkit.errors import UsageError

OptimizerName = Literal["sgd", "momentum", "adam"]

_OPTIMIZERS = {
    "sgd": tf.compat.v1.train.GradientDescentOptimizer,
    "momentum": lambda rate: tf.compat.v1.train.MomentumOptimizer(rate, 0.9),
    "adam": tf.compat.v1.train.AdamOptimizer,
}
_NORM_DECAY = 0.9
_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Model:
    """A model's tensors and ops.

    Attributes:
        inputs: Placeholder for a batch of inputs.
        labels: Placeholder for what they should give: numbers, or class numbers.
        training: Whether a run is for training; `False` unless fed.
        outputs: Predicted numbers, or logits `(batch, classes)`.
        loss: Scalar, the mean over the batch.
        train_op: One step of the optimizer, and of the moving average if there is one.
        global_step: Counts the steps.
    """

    inputs: Any
    labels: Any
    training: Any
    outputs: Any
    loss: Any
    train_op: Any
    global_step: Any


def linear_data() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the artificial data of the tutorial on variables: 50 points about a line of slope 2."""
    n = 50
    xx = np.arange(n)
    yy = np.random.RandomState(0).randint(-20, 20, size=(n,)) + 2.0 * xx
    return xx.astype(np.float32), yy.astype(np.float32)


def linear_regression(
    *,
    optimizer: OptimizerName = "sgd",
    learning_rate: float = 1e-4,
    average: float | None = None,
) -> Model:
    """Build `y = head/kernel · x + head/bias` for scalars, with the mean squared error."""
    inputs = tf.compat.v1.placeholder(tf.float32, [None], "inputs")
    labels = tf.compat.v1.placeholder(tf.float32, [None], "labels")
    with tf.compat.v1.variable_scope("head"):
        kernel = tf.compat.v1.get_variable("kernel", [], initializer=_normal(0.1))
        bias = tf.compat.v1.get_variable("bias", [], initializer=_zeros())
    outputs = kernel * inputs + bias
    loss = tf.reduce_mean(tf.square(outputs - labels))
    return _trained(inputs, labels, _training(), outputs, loss, optimizer, learning_rate, average)


def logistic_regression(
    num_features: int = 64,
    num_classes: int = 10,
    *,
    optimizer: OptimizerName = "sgd",
    learning_rate: float = 0.1,
    average: float | None = None,
) -> Model:
    """Build one layer, `head`, from features to logits."""
    return perceptron(
        num_features,
        (),
        num_classes,
        optimizer=optimizer,
        learning_rate=learning_rate,
        average=average,
    )


def perceptron(
    num_features: int = 64,
    hidden: Sequence[int] = (64, 32),
    num_classes: int = 10,
    *,
    optimizer: OptimizerName = "adam",
    learning_rate: float = 1e-3,
    average: float | None = None,
) -> Model:
    """Build a multi-layer perceptron: `dense1`, `dense2` … with rectifiers, then `head`."""
    inputs = tf.compat.v1.placeholder(tf.float32, [None, num_features], "inputs")
    labels = tf.compat.v1.placeholder(tf.int64, [None], "labels")
    layer = inputs
    for i, width in enumerate(hidden, 1):
        layer = tf.nn.relu(_dense(layer, width, f"dense{i}"))
    logits = _dense(layer, num_classes, "head")
    loss = _cross_entropy(labels, logits)
    return _trained(inputs, labels, _training(), logits, loss, optimizer, learning_rate, average)


def convolutional_network(
    image_shape: tuple[int, int, int] = (8, 8, 1),
    filters: Sequence[int] = (16, 32),
    hidden: int = 64,
    num_classes: int = 10,
    *,
    optimizer: OptimizerName = "adam",
    learning_rate: float = 1e-3,
    average: float | None = None,
) -> Model:
    """Build `conv1`, `conv2` … with batch normalization and pooling, then `dense` and `head`.

    Args:
        image_shape: Height, width and channels; each convolution halves height and width.
        filters: Output channels of the convolutions.
        hidden: Units of `dense`.
        num_classes: Logits.
        optimizer: Which of TensorFlow's optimizers trains it.
        learning_rate: Its step.
        average: Decay of a moving average over all trainable variables; none if `None`.
    """
    inputs = tf.compat.v1.placeholder(tf.float32, [None, *image_shape], "inputs")
    labels = tf.compat.v1.placeholder(tf.int64, [None], "labels")
    training = _training()
    layer = inputs
    for i, channels in enumerate(filters, 1):
        layer = _convolution(layer, channels, training, f"conv{i}")
    layer = tf.reshape(layer, [-1, int(np.prod(layer.shape[1:]))])
    layer = tf.nn.relu(_dense(layer, hidden, "dense"))
    logits = _dense(layer, num_classes, "head")
    loss = _cross_entropy(labels, logits)
    return _trained(inputs, labels, training, logits, loss, optimizer, learning_rate, average)


def _normal(stddev: float) -> Any:
    return tf.compat.v1.random_normal_initializer(stddev=stddev)


def _zeros() -> Any:
    return tf.compat.v1.zeros_initializer()


def _ones() -> Any:
    return tf.compat.v1.ones_initializer()


def _training() -> Any:
    return tf.compat.v1.placeholder_with_default(False, [], "training")


def _dense(inputs: Any, width: int, scope: str) -> Any:
    with tf.compat.v1.variable_scope(scope):
        shape = [int(inputs.shape[-1]), width]
        kernel = tf.compat.v1.get_variable(
            "kernel", shape, initializer=tf.compat.v1.glorot_uniform_initializer()
        )
        bias = tf.compat.v1.get_variable("bias", [width], initializer=_zeros())
        return tf.matmul(inputs, kernel) + bias


def _convolution(inputs: Any, channels: int, training: Any, scope: str) -> Any:
    with tf.compat.v1.variable_scope(scope):
        shape = [3, 3, int(inputs.shape[-1]), channels]
        kernel = tf.compat.v1.get_variable(
            "kernel", shape, initializer=tf.compat.v1.glorot_uniform_initializer()
        )
        layer = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
        layer = tf.nn.relu(_batch_norm(layer, training))
        return tf.nn.max_pool2d(layer, 2, 2, "SAME")


def _batch_norm(inputs: Any, training: Any) -> Any:
    """Normalize each channel: by the batch in training, else by the moving mean and variance."""
    with tf.compat.v1.variable_scope("norm"):
        channels = [int(inputs.shape[-1])]
        gamma = tf.compat.v1.get_variable("gamma", channels, initializer=_ones())
        beta = tf.compat.v1.get_variable("beta", channels, initializer=_zeros())
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
        used = []
        for name, now, initializer in (
            ("moving_mean", mean, _zeros()),
            ("moving_variance", variance, _ones()),
        ):
            moving = tf.compat.v1.get_variable(name, channels, initializer=initializer, trainable=False)
            update = moving.assign(moving * _NORM_DECAY + now * (1 - _NORM_DECAY))
            tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.UPDATE_OPS, update)
            used.append(tf.where(training, now, moving))
        return tf.nn.batch_normalization(inputs, *used, beta, gamma, _NORM_EPSILON)


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def _trained(
    inputs: Any,
    labels: Any,
    training: Any,
    outputs: Any,
    loss: Any,
    optimizer: OptimizerName,
    learning_rate: float,
    average: float | None,
) -> Model:
    """Return the model with an optimizer, whose step also updates batch statistics and average."""
    if optimizer not in _OPTIMIZERS:
        raise UsageError(f"optimizer: expected one of {', '.join(_OPTIMIZERS)}, got {optimizer!r}")
    global_step = tf.compat.v1.train.get_or_create_global_step()
    updates = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies(updates):
        step = _OPTIMIZERS[optimizer](learning_rate).minimize(loss, global_step)
    if average is not None:
        with tf.control_dependencies([step]):
            step = tf.train.ExponentialMovingAverage(average).apply(tf.compat.v1.trainable_variables())
    return Model(inputs, labels, training, outputs, loss, step, global_step)

"""The models: their variables' names, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import tf
from toolkit import UsageError
from toolkit.graph import models

v1 = tf.compat.v1


def names():
    return {v.op.name for v in v1.global_variables()}


def test_the_linear_data_is_the_tutorials():
    xx, yy = models.linear_data()
    n = 50
    assert xx.tolist() == list(range(n))
    assert yy.tolist() == (np.random.RandomState(0).randint(-20, 20, size=(n,)) + 2.0 * np.arange(n)).tolist()


def test_linear_regression_finds_the_line(session):
    model = models.linear_regression(learning_rate=3e-4)
    assert names() == {"head/kernel", "head/bias", "global_step"}
    xx, yy = models.linear_data()
    session.run(v1.global_variables_initializer())
    batch = {model.inputs: xx, model.labels: yy}
    for _ in range(300):
        session.run(model.train_op, batch)
    slope = session.run(v1.global_variables()[0])
    assert abs(slope - np.polyfit(xx, yy, 1)[0]) < 0.2
    assert session.run(model.global_step) == 300


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize(
    "build", [models.logistic_regression, models.perceptron, models.convolutional_network]
)
def test_classifiers_learn_to_tell_two_blobs(session, build, optimizer):
    v1.set_random_seed(3)
    model = build(num_classes=2, optimizer=optimizer, learning_rate=0.01)
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    inputs = rng.normal(size=(64, *model.inputs.shape[1:])) + labels.reshape(
        -1, *[1] * (model.inputs.shape.rank - 1)
    )
    batch = {model.inputs: inputs, model.labels: labels, model.training: True}
    session.run(v1.global_variables_initializer())
    before = session.run(model.loss, batch)
    for _ in range(30):
        session.run(model.train_op, batch)
    assert session.run(model.loss, batch) < before * 0.7


def test_names_of_the_convolutional_network(graph):
    models.convolutional_network(filters=(2, 3), hidden=4, optimizer="sgd")
    layers = {
        f"conv{i}/{n}"
        for i in (1, 2)
        for n in ("kernel", *(f"norm/{m}" for m in ("gamma", "beta", "moving_mean", "moving_variance")))
    }
    assert names() == layers | {"dense/kernel", "dense/bias", "head/kernel", "head/bias", "global_step"}


def test_batch_statistics_move_in_training_only(session):
    model = models.convolutional_network(filters=(2,), hidden=3)
    moving = next(v for v in v1.global_variables() if v.op.name == "conv1/norm/moving_mean")
    session.run(v1.global_variables_initializer())
    batch = {model.inputs: np.ones((4, 8, 8, 1)), model.labels: np.zeros(4)}
    session.run(model.outputs, batch)
    assert not session.run(moving).any()
    session.run(model.train_op, {**batch, model.training: True})
    assert session.run(moving).any()


def test_a_moving_average_follows_its_variable(session):
    model = models.logistic_regression(4, 2, average=0.5, learning_rate=1.0)
    session.run(v1.global_variables_initializer())
    by_name = {v.op.name: v for v in v1.global_variables()}
    kernel, average = by_name["head/kernel"], by_name["head/kernel/ExponentialMovingAverage"]
    start = session.run(kernel)
    assert session.run(average).tolist() == start.tolist()
    session.run(model.train_op, {model.inputs: np.eye(4), model.labels: [0, 1, 0, 1]})
    assert np.allclose(session.run(average), (start + session.run(kernel)) / 2)


def test_an_unknown_optimizer_is_refused(graph):
    with pytest.raises(UsageError, match="optimizer: expected one of sgd, momentum, adam, got 'lion'"):
        models.perceptron(optimizer="lion")

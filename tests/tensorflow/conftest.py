"""What the tests over graphs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.tensorflow import tf

v1 = tf.compat.v1


@pytest.fixture
def graph() -> Iterator[tf.Graph]:
    """A new default graph."""
    with tf.Graph().as_default() as new:
        yield new


@pytest.fixture
def session(graph) -> Iterator[v1.Session]:
    """A session over the new default graph."""
    with v1.Session(graph=graph) as new:
        yield new


@pytest.fixture(params=["resource", "reference"])
def use_resource(request) -> bool:
    """Both kinds of variables that TensorFlow's graphs have had."""
    return request.param == "resource"


@pytest.fixture
def variable(graph, use_resource) -> Callable:
    """Make a variable of either kind."""

    def make(name: str, shape=(3,), initializer=None, dtype=tf.float32):
        initializer = v1.random_normal_initializer() if initializer is None else initializer
        return v1.get_variable(name, shape, dtype, initializer, use_resource=use_resource)

    return make


def save(prefix, build: Callable[[], None], seed: int = 0) -> dict[str, np.ndarray]:
    """Build a graph, initialize it, save it with TensorFlow's Saver, and return its values."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(seed)
        build()
        session.run(v1.global_variables_initializer())
        values = {v.op.name: session.run(v) for v in v1.global_variables()}
        v1.train.Saver().save(session, str(prefix), write_state=False, write_meta_graph=False)
    return values


def values_of(session) -> dict[str, np.ndarray]:
    """Return the values of all variables of a session's graph."""
    return {v.op.name: session.run(v) for v in session.graph.get_collection("variables")}

"""NumPy's initial values have the distributions that TensorFlow's initializers have."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import tf
from toolkit import dtypes, initializers
from toolkit.initializers import parse, values

v1 = tf.compat.v1

THEIRS = {
    "zeros": v1.zeros_initializer,
    "ones": v1.ones_initializer,
    "constant:0.1": lambda: v1.constant_initializer(0.1),
    "normal:0.5,0.02": lambda: v1.random_normal_initializer(0.5, 0.02),
    "truncated_normal:0,0.02": lambda: v1.truncated_normal_initializer(0, 0.02),
    "uniform:-0.1,0.3": lambda: v1.random_uniform_initializer(-0.1, 0.3),
    "glorot_uniform": v1.glorot_uniform_initializer,
    "glorot_normal": v1.glorot_normal_initializer,
    "he_uniform": v1.initializers.he_uniform,
    "he_normal": v1.initializers.he_normal,
    "lecun_uniform": v1.initializers.lecun_uniform,
    "lecun_normal": v1.initializers.lecun_normal,
    "orthogonal": v1.orthogonal_initializer,
    "identity": v1.initializers.identity,
}
SHAPES = [(), (4000,), (50, 80), (3, 40, 50), (3, 3, 20, 30), (2, 2, 2, 25, 24)]


def ours(spec, shape):
    return values(parse(spec), shape, dtypes.as_dtype("float32"), seed=1, name="w")


def theirs(spec, shape):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        return session.run(THEIRS[spec]()(shape, tf.float32))


def test_every_initializer_is_compared():
    assert {spec.partition(":")[0] for spec in THEIRS} == set(initializers._DEFINITIONS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", THEIRS)
def test_moments_and_bounds_are_tensorflows(spec, shape):
    needs = initializers._DEFINITIONS[parse(spec).name].num_dimensions
    if needs is not None and len(shape) not in needs:
        return  # TensorFlow has none either
    a, b = ours(spec, shape), theirs(spec, shape)
    assert a.dtype == b.dtype
    assert a.shape == b.shape == shape
    if spec in ("zeros", "ones", "constant:0.1", "identity"):
        assert a.tolist() == b.tolist()
        return
    if not shape:
        return  # one number says nothing of a distribution
    scale = b.std()
    error = 5 / np.sqrt(a.size)  # five standard errors
    assert abs(a.mean() - b.mean()) < error * scale
    assert abs(a.std() / scale - 1) < error
    if not spec.startswith(("normal", "orthogonal")):  # these two have no bounds
        assert abs(np.abs(a - a.mean()).max() / np.abs(b - b.mean()).max() - 1) < 0.1


@pytest.mark.parametrize("spec", ["glorot_uniform", "he_uniform", "lecun_uniform"])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_limits_are_tensorflows(spec, shape):
    limit = np.abs(theirs(spec, shape)).max()
    assert limit * 0.99 < np.abs(ours(spec, shape)).max() < limit * 1.01


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (3, 3, 4, 6)], ids=str)
def test_orthogonal_ones_are_orthogonal_in_the_same_way(shape):
    for matrix in (ours("orthogonal", shape), theirs("orthogonal", shape)):
        flat = matrix.reshape(-1, shape[-1])
        product = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
        assert np.allclose(product, np.eye(len(product)), atol=1e-5)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (3, 3, 16, 32), (2, 3, 4, 5, 6)], ids=str)
def test_fans_are_tensorflows(shape):
    from tensorflow.python.ops.init_ops import _compute_fans

    assert initializers.fans(shape) == _compute_fans(shape)

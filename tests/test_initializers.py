"""Initial values: their form, bounds and reproducibility. TensorFlow's own are compared elsewhere."""

import math

import numpy as np
import pytest

from toolkit import UsageError, dtypes, initializers
from toolkit.initializers import default_spec, fans, parse, values

F32 = dtypes.as_dtype("float32")


def drawn(spec, shape=(200, 300), dtype="float32", seed=1, name="w"):
    return values(parse(spec), shape, dtypes.as_dtype(dtype), seed=seed, name=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glorot", "no such initializer"),
        ("", "no such initializer"),
        ("normal", "expected normal:MEAN,STDDEV"),
        ("normal:1", "expected normal:MEAN,STDDEV"),
        ("normal:a,b", "expected normal:MEAN,STDDEV"),
        ("normal:0,nan", "expected normal:MEAN,STDDEV"),
        ("normal:0,-1", "expected a standard deviation of 0 or more"),
        ("uniform:1,0", "expected LOW to be at most HIGH"),
        ("zeros:1", "expected zeros"),
        ("constant:inf", "expected constant:VALUE"),
        pytest.param(f"constant:{'9' * 400}", "expected constant:VALUE", id="beyond double precision"),
    ],
)
def test_reject_specs(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_a_number_alone_is_told_how_it_is_written():
    with pytest.raises(UsageError) as refused:
        parse("0.5")
    assert refused.value.hint.startswith("the nearest: constant:0.5; one of: zeros, ")
    assert str(parse("constant:0.5")) == "constant:0.5"


@pytest.mark.parametrize("text", ["zeros", "constant:0.1", "normal:0,0.02", "uniform:-0.1,0.1", "he_normal"])
def test_a_spec_is_written_as_it_was_read(text):
    assert str(parse(text)) == text


def test_every_spec_of_the_documentation_is_known():
    text = (
        "zeros, ones, constant:VALUE, normal:MEAN,STDDEV, truncated_normal:MEAN,STDDEV, uniform:LOW,HIGH, "
        "glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal, identity"
    )
    assert initializers.known_specs() == text


def test_values_depend_on_seed_and_name_alone():
    assert np.array_equal(drawn("he_normal"), drawn("he_normal"))
    assert not np.array_equal(drawn("he_normal"), drawn("he_normal", seed=2))
    assert not np.array_equal(drawn("he_normal"), drawn("he_normal", name="v"))


def test_values_of_this_version_stay():
    # PCG64 with SeedSequence([seed, the first 16 bytes of SHA-256 of the name, low byte first])
    found = drawn("normal:0,1", (3,), "float64")
    digest = int.from_bytes(bytes.fromhex("50e721e49c013f00c62cf59f2163542a"), "little")
    sequence = np.random.SeedSequence([1, digest])
    assert found.tolist() == np.random.Generator(np.random.PCG64(sequence)).normal(size=3).tolist()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((3, 5), (3, 5)),
        ((3, 3, 16, 32), (144, 288)),  # 9 positions of 16 inputs, and of 32 outputs
        ((2, 3, 4, 5, 6), (120, 144)),
    ],
)
def test_fans_count_the_receptive_field(shape, expected):
    assert fans(shape) == expected


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        ("uniform:-0.1,0.3", 0.3),
        ("glorot_uniform", math.sqrt(6 / 500)),
        ("he_uniform", math.sqrt(6 / 200)),
        ("lecun_uniform", math.sqrt(3 / 200)),
    ],
)
def test_uniform_values_fill_their_range(spec, limit):
    found = drawn(spec)
    low = -0.1 if spec.startswith("uniform") else -limit
    assert low <= found.min() < low + 0.01 * (limit - low)
    assert limit - 0.01 * (limit - low) < found.max() <= np.float32(limit)


@pytest.mark.parametrize(
    ("spec", "stddev"),
    [
        ("glorot_normal", math.sqrt(2 / 500)),
        ("he_normal", math.sqrt(2 / 200)),
        ("lecun_normal", math.sqrt(1 / 200)),
    ],
)
def test_truncation_is_made_up_for_in_the_variance(spec, stddev):
    found = drawn(spec, dtype="float64")
    assert abs(found.std() / stddev - 1) < 0.02
    assert np.abs(found).max() <= 2 * stddev / 0.87962566103423978


def test_a_truncated_normal_ends_at_two_standard_deviations():
    found = drawn("truncated_normal:1,0.5", dtype="float64")
    assert 0 <= found.min() < 0.05
    assert 1.95 < found.max() <= 2
    assert abs(found.mean() - 1) < 0.01


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (3, 3, 2, 4), (2, 2, 2, 3, 40)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    matrix = drawn("orthogonal", shape, "float64").reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert np.allclose(product, np.eye(min(matrix.shape)), atol=1e-12)


def test_constants():
    assert drawn("ones", (2,), "int32").tolist() == [1, 1]
    assert drawn("constant:2.5", (2,), "bfloat16").astype(float).tolist() == [2.5, 2.5]
    assert drawn("zeros", (2,), "string").tolist() == [b"", b""]
    assert drawn("constant:1", (), "bool")[()] == True  # noqa: E712
    assert drawn("identity", (2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert drawn("ones", (2,), "complex64").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("spec", "shape", "dtype"),
    [
        ("he_normal", (2, 2), "int32"),
        ("normal:0,1", (2, 2), "string"),
        ("ones", (2,), "string"),
        ("zeros", (2,), "variant"),
        ("orthogonal", (3,), "float32"),
        ("identity", (2, 2, 2), "float32"),
        ("constant:0.5", (2,), "int32"),
        ("constant:300", (2,), "uint8"),
        ("constant:-1", (2,), "uint8"),
    ],
)
def test_what_has_no_values_is_refused(spec, shape, dtype):
    with pytest.raises(UsageError, match="w: "):
        drawn(spec, shape, dtype)


def test_values_are_drawn_in_blocks_but_do_not_depend_on_it(monkeypatch):
    whole = drawn("normal:0,1")
    monkeypatch.setattr(initializers, "_BLOCK", 1 << 10)
    assert np.array_equal(drawn("normal:0,1"), whole)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "spec", "why"),
    [
        ("conv1/kernel", (3, 3, 1, 8), "float32", "glorot_uniform", "kernel by name"),
        ("rnn/weights", (4, 4), "float32", "glorot_uniform", "kernel by name"),
        ("W_1", (4, 4), "float32", "glorot_uniform", "kernel by name"),
        ("conv1/bias", (8,), "float32", "zeros", "bias by name"),
        ("norm/beta", (8,), "float32", "zeros", "bias by name"),
        ("norm/moving_mean", (8,), "float32", "zeros", "bias by name"),
        ("norm/gamma", (8,), "float32", "ones", "scale by name"),
        ("norm/moving_variance", (8,), "float32", "ones", "scale by name"),
        ("layer_norm/layer_norm_scale", (8,), "float32", "ones", "scale by name"),
        ("something", (8, 8), "float32", "glorot_uniform", "kernel by shape"),
        ("something", (8,), "float32", "zeros", "vector by shape"),
        ("temperature", (), "float32", "zeros", "scalar"),
        ("ids", (8, 8), "int64", "zeros", "of dtype int64"),
        ("dense/bias/.ATTRIBUTES/VARIABLE_VALUE", (8,), "float32", "zeros", "bias by name"),
    ],
)
def test_defaults_by_role(name, shape, dtype, spec, why):
    assert default_spec(name, shape, dtypes.as_dtype(dtype)) == (parse(spec), why)


def test_strings_have_no_default():
    with pytest.raises(UsageError, match="no default initial value"):
        default_spec("vocabulary", (3,), dtypes.as_dtype("string"))

"""Values in another dtype: kept, rounded, or refused."""

import numpy as np
import pytest

from tests.strategies import BITS
from toolkit import MismatchError, UsageError, casting, dtypes


def cast(values, dtype):
    return casting.cast(np.asarray(values), dtypes.as_dtype(dtype), "w")


def test_floats_are_rounded_to_nearest():
    assert cast([1.0, 2.7182818284590452], "float32").tolist() == [1.0, 2.7182817459106445]
    # 1 + 2**-8 is halfway between two bfloat16s: to even
    assert cast([1 + 2**-8, 1 + 3 * 2**-8], "bfloat16").astype(float).tolist() == [1.0, 1.015625]
    assert cast([1.9, -1.9], "int32").tolist() == [1, -1]


def test_infinities_and_nans_stay_in_floats():
    result = cast([np.inf, -np.inf, np.nan], "bfloat16").astype(float)
    assert result[0] == np.inf
    assert result[1] == -np.inf
    assert np.isnan(result[2])


@pytest.mark.parametrize(
    ("values", "dtype", "count", "first"),
    [
        ([1e39, 1.0], "float32", 1, "1e+39"),
        ([70000.0, -70000.0], "float16", 2, "70000.0"),
        ([300, 1, -1], "uint8", 2, "300"),
        ([np.nan], "int32", 1, "nan"),
        ([3e9], "int32", 1, "3000000000.0"),
        (np.array([2**63], np.uint64), "int64", 1, "9223372036854775808"),
        ([2, 0], "bool", 1, "2"),
        ([9], "int4", 1, "9"),
    ],
)
def test_what_does_not_fit_is_refused_and_counted(values, dtype, count, first):
    with pytest.raises(MismatchError) as refused:
        cast(values, dtype)
    assert refused.value.message == f"w: {count} of {len(values)} values do not fit {dtype}"
    assert refused.value.hint == f"the first is {first}; choose a wider dtype"


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("float32", "float64", "cast from float32, exact"),
        ("bfloat16", "float32", "cast from bfloat16, exact"),
        ("float64", "float32", "cast from float64, rounded to the nearest float32"),
        ("float32", "int32", "cast from float32, fractions dropped"),
        ("int64", "int32", "cast from int64"),
    ],
)
def test_a_plan_says_what_a_cast_does(source, target, text):
    assert casting.describe(dtypes.as_dtype(source), dtypes.as_dtype(target)) == text


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("string", "float32"),
        ("float32", "string"),
        ("complex64", "float32"),
        ("qint8", "int8"),
        ("int8", "resource"),
    ],
)
def test_impossible_casts_are_refused(source, target):
    with pytest.raises(UsageError):
        casting.check("w", dtypes.as_dtype(source), dtypes.as_dtype(target))


NUMBERS = [d for d in dtypes.BY_NAME.values() if d.kind in ("float", "int", "bool", "complex")]


@pytest.mark.parametrize("source", NUMBERS, ids=str)
@pytest.mark.parametrize("target", NUMBERS, ids=str)
def test_every_cast_keeps_or_rounds_every_value_or_refuses_it(source, target):
    """Each of the 256 values of a byte, and the ends of wider types, one by one."""
    if source.kind == "complex" and target.kind != "complex":
        return
    if source.itemsize == 1:
        mask = (1 << BITS.get(source.name, 8)) - 1
        values = (np.arange(256, dtype=np.uint8) & mask).view(source.numpy)
    elif source.kind == "int":
        info = np.iinfo(source.numpy)
        values = np.array([info.min, info.max, info.max - 1, 0, 1, 7, 255], source.numpy)
    else:
        raw = [0, -0.0, 1, 1.5, 6, 7, 8, 300, 464, 465, 7e4, 3e9, 2e19, 1e39, np.inf, -np.inf, np.nan]
        with np.errstate(over="ignore"):
            values = np.array(raw, source.numpy)
    exact = casting.describe(source, target).endswith("exact")
    for i in range(values.size):
        try:
            result = casting.cast(values[i : i + 1], target, "w")
        except MismatchError:
            assert not exact, values[i]
            continue
        assert result.dtype == target.numpy
        before, after = complex(values[i]), complex(result[0])
        if np.isnan(before) or np.isinf(before):
            assert np.isnan(before) == np.isnan(after)
            assert np.isinf(before) == np.isinf(after)
        elif target.kind in ("int", "bool"):
            number = values[i]
            assert int(result[0]) == (int(number) if source.kind == "int" else int(float(number)))
        elif exact:
            assert before == after
        else:
            assert np.isfinite(after)


def test_what_is_called_exact_is():
    def says(source, target):
        return casting.describe(dtypes.as_dtype(source), dtypes.as_dtype(target)).endswith("exact")

    assert says("int32", "float64")
    assert not says("int64", "float64")  # 2**53 + 1
    assert not says("int32", "float32")
    assert says("int8", "bfloat16")
    assert not says("int16", "bfloat16")
    assert says("float8_e5m2", "float16")
    assert not says("float16", "bfloat16")
    assert not says("uint8", "int8")
    assert says("uint8", "int16")
    assert says("float32", "complex64")

"""`--cast`: a dtype alone means the model's weights; a pattern means what it says; dtypes by all their names."""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import names_in, write_bundle
from tests.test_inspect import object_based  # noqa: F401 - a fixture
from toolkit import UsageError, dtypes, edit, open_checkpoint, plan_export
from toolkit.dtypes import as_dtype

FLOATS = {"net/w", "net/w/ExponentialMovingAverage", "scale"}
"""The floating-point weights and averages of `source`."""


@pytest.fixture
def source(tmp_path) -> str:
    content = {
        "net/w": np.ones((2, 3), "f"),
        "net/w/Adam": np.ones((2, 3), "f"),
        "net/w/ExponentialMovingAverage": np.ones((2, 3), "f"),
        "scale": np.ones(4, "f"),
        "vocabulary": np.arange(4),
        "beta1_power": np.float32(0.9),
        "global_step": np.int64(7),
        "label": np.array([b"x"], object),
    }
    return write_bundle(tmp_path / "m", content)


def dtypes_in(path) -> dict[str, str]:
    with open_checkpoint(path) as checkpoint:
        return {name: variable.dtype.name for name, variable in checkpoint.items()}


@pytest.mark.parametrize("dtype", ["bfloat16", "bf16", "BF16"])
def test_a_dtype_alone_casts_weights_and_averages_and_nothing_else(ckpt, source, tmp_path, dtype):
    expected = dtypes_in(source) | dict.fromkeys(FLOATS, "bfloat16")
    ran = ckpt("edit", source, "-o", tmp_path / "out", "--cast", dtype)
    assert ran.code == 0, ran.err
    assert dtypes_in(tmp_path / "out") == expected
    for ending in ("safetensors", "npz", "h5"):
        ran = ckpt("export", source, tmp_path / f"x.{ending}", "--cast", dtype)
        assert ran.code == 0, ran.err
        assert dtypes_in(tmp_path / f"x.{ending}") == expected


def test_the_same_from_python_with_numpys_types(source, tmp_path):
    expected = dtypes_in(source) | dict.fromkeys(FLOATS, "float16")
    for dtype in (np.float16, np.dtype("float16"), "fp16", "half"):
        edit(source).cast(dtype).write(tmp_path / "out", force=True)
        assert dtypes_in(tmp_path / "out") == expected
        plan = plan_export(source, cast=dtype)
        assert {verdict.name for verdict in plan if verdict.action == "cast"} == FLOATS
    plan = plan_export(source, cast={"scale": ml_dtypes.bfloat16, "global_step": np.int32})
    assert (plan["scale"].dtype, plan["global_step"].dtype) == ("bfloat16", "int32")
    assert edit(source).cast("scale", np.float64).plan()["scale"].dtype == "float64"


def test_a_pattern_casts_what_it_says_and_a_later_cast_comes_after(source):
    plan = plan_export(source, cast=["bf16", "net/w/Adam=fp16", "vocabulary=int32", "scale=float64"])
    assert {v.name: v.dtype for v in plan if v.action == "cast"} == {
        "net/w": "bfloat16", "net/w/ExponentialMovingAverage": "bfloat16",
        "net/w/Adam": "float16", "vocabulary": "int32", "scale": "float64",
    }  # fmt: skip
    assert plan_export(source, cast="**/Adam=fp16")["net/w/Adam"].dtype == "float16"


def test_a_name_that_is_also_a_scope_brings_in_only_what_is_of_the_kind(tmp_path):
    prefix = write_bundle(tmp_path / "s", {"a": np.arange(3), "a/b": np.arange(3), "a/c": np.ones(2, "f")})
    plan = plan_export(prefix, cast="a=float64")
    assert {v.name: v.dtype for v in plan} == {"a": "float64", "a/b": "int64", "a/c": "float64"}


@pytest.mark.parametrize("command", ["edit", "export"])
def test_a_pattern_that_finds_counters_alone_is_refused_with_what_casts_weights(ckpt, tmp_path, command):
    """`*` does not cross a `/`: at the root of a TF1 checkpoint there are only the powers of Adam's betas."""
    content = {"net/w": np.ones(2, "f"), "beta1_power": np.float32(0.9), "beta2_power": np.float32(0.9)}
    prefix = write_bundle(tmp_path / "m", content)
    before = names_in(tmp_path)
    ran = ckpt(
        command, prefix, "-o", tmp_path / f"out{'.h5' if command == 'export' else ''}", "--cast", "*=bf16"
    )
    assert ran.code == 2
    assert "*=bfloat16: means no weights, but only counters" in ran.err
    assert "hint: --cast bfloat16 casts all weights" in ran.err
    assert names_in(tmp_path) == before
    with pytest.raises(UsageError, match="means no weights"):
        edit(prefix).cast("*", "bf16")
    assert edit(prefix).cast("beta1_power", "bf16").plan()["beta1_power"].dtype == "bfloat16"  # by its name


def test_whole_numbers_are_cast_by_name_only(source):
    with pytest.raises(UsageError, match="only a floating-point dtype") as refused:
        plan_export(source, cast="int8")
    assert "PATTERN=int8" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="no floating-point weights"):
        edit(source).keep("global_step").cast("bf16")


def test_object_based_checkpoints_are_cast_by_role_too(object_based):  # noqa: F811
    plan = plan_export(object_based, cast="bf16")
    assert {v.path or v.name for v in plan if v.action == "cast"} == {"dense/kernel"}


ALIASES = {
    "float16": ["fp16", "FP16", "half", "f16", "torch.float16", "torch.half", "np.float16", "DT_HALF"],
    "bfloat16": ["bf16", "BF16", "tf.bfloat16", "DT_BFLOAT16"],
    "float32": ["fp32", "float", "f32", "F32"],
    "float64": ["double", "fp64", "f64", "DT_DOUBLE"],
    "float8_e4m3fn": ["f8_e4m3", "F8_E4M3", "fp8_e4m3", "float8_e4m3", "fp8_e4m3fn"],
    "float8_e5m2": ["f8_e5m2", "F8_E5M2", "fp8_e5m2"],
    "int64": ["long", "i64", "I64"],
    "uint8": ["UINT8"],
    "bool": ["bool_", "BOOL"],
    "string": ["str"],
}


@pytest.mark.parametrize(
    ("name", "alias"), [(n, alias) for n, aliases in ALIASES.items() for alias in aliases]
)
def test_dtypes_are_understood_by_what_people_call_them(name, alias):
    assert as_dtype(alias) is dtypes.BY_NAME[name]


@pytest.mark.parametrize(
    "name", [n for n, d in dtypes.BY_NAME.items() if d.kind not in ("quantized", "string", "handle")]
)
def test_numpys_dtypes_and_scalar_types_are_understood(name):
    dtype = dtypes.BY_NAME[name]
    assert as_dtype(dtype) is dtype
    assert as_dtype(dtype.numpy) is dtype
    assert as_dtype(dtype.numpy.type) is dtype
    assert dtype == dtype.numpy
    assert dtype == dtype.numpy.type
    assert dtype != ("float64" if name != "float64" else "float32")
    assert dtype != (np.float64 if name != "float64" else np.float32)


def test_dtypes_of_other_libraries_are_told_by_what_they_are_without_importing_these(monkeypatch):
    """Objects as TensorFlow, JAX and PyTorch have them, whose modules do not exist here."""
    tensorflow = type("DType", (), {"name": "bfloat16", "__module__": "tensorflow.python.framework.dtypes"})
    torch = type("dtype", (), {"__module__": "torch", "__repr__": lambda self: "torch.float16"})
    jax = type("bfloat16", (), {"dtype": np.dtype(ml_dtypes.bfloat16), "__module__": "jax.numpy"})
    before = set(sys.modules)
    assert as_dtype(tensorflow()).name == "bfloat16"
    assert as_dtype(torch()).name == "float16"
    assert as_dtype(jax).name == "bfloat16"
    assert not {"tensorflow", "torch", "jax"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("bfloat", "unknown dtype 'bfloat'", "the nearest: bfloat16"),
        ("flaot16", "unknown dtype 'flaot16'", "the nearest: float16"),
        ("zzz", "unknown dtype 'zzz'", "such as float32"),
        ("i8", "dtype 'i8': may be int8 or int64", "write int8, say"),
        ("f8", "dtype 'f8': may be float64, float8_e4m3fn or float8_e5m2", "write float64, say"),
        (float, "dtype 'float': may be float32 or float64", "write float32, say"),
        (int, "dtype 'int': may be int32 or int64", "write int32, say"),
        (np.dtype("M8[s]"), r"unknown dtype 'datetime64\[s\]'", "such as"),
        (3, "3: not a dtype", "name one"),
        (None, "None: not a dtype", "name one"),
        (np.float32(1), "not a dtype", "name one"),
    ],
)
def test_what_is_no_dtype_or_may_be_two_is_told_with_what_to_write(given, message, hint):
    with pytest.raises(UsageError, match=message) as refused:
        as_dtype(given)
    assert (refused.value.hint or "").startswith(hint)

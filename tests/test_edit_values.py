"""`ckpt edit --set`: values that are typed, in a file, or an array, and what is refused."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.test_edit import CONTENT, read, typed
from toolkit import MismatchError, ReadError, UsageError, VariableNotFoundError, edit


@pytest.fixture
def source(tmp_path) -> str:
    return write_bundle(tmp_path / "m", CONTENT)


@pytest.fixture
def run(ckpt, source, tmp_path):
    """Edit the source by what is typed; return what comes of it."""
    return functools.partial(typed, ckpt, source, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("global_step", "0", np.int64(0)),
        ("global_step", "-9223372036854775808", np.int64(-(2**63))),
        ("net/a/bias", "0.1", np.full(3, 0.1, "f")),
        ("net/a/bias", "[1, 2.5, -3]", np.array([1, 2.5, -3], "f")),
        ("net/b/kernel", "[[1,2,3],[4,5,6],[7,8,9]]", np.arange(1, 10, dtype="f").reshape(3, 3)),
        ("beta1_power", "nan", np.float32("nan")),
        ("flag", "true", np.array([True, True])),
        ("flag", "[false, true]", np.array([False, True])),
    ],
)
def test_a_value_is_set(run, name, value, expected):
    after = run("--set", f"{name}={value}")
    assert (after[name].dtype, after[name].shape) == (expected.dtype, np.shape(expected))
    assert after[name].tobytes() == expected.tobytes()
    assert len(after) == len(CONTENT)


def test_strings_are_set_as_they_are_typed(run):
    assert run("--set", 'label=["p", "q"]')["label"].tolist() == [b"p", b"q"]
    assert run("--set", 'label=["p"]')["label"].tolist() == [b'["p"]'] * 2
    assert run("--set", "label=7")["label"].tolist() == [b"7", b"7"]
    assert run("--set", "label=a=b")["label"].tolist() == [b"a=b", b"a=b"]


def test_a_file_of_values_sets_or_adds(run, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float64))
    after = run("--set", f"net/a/bias={tmp_path}/x.npy", "--set", f"new/one={tmp_path}/x.npy")
    assert (after["net/a/bias"].dtype, after["net/a/bias"].tolist()) == (np.float32, [0, 1, 2])
    assert (after["new/one"].dtype, after["new/one"].tolist()) == (np.float64, [0, 1, 2])
    np.save(tmp_path / "b.npy", np.array([1, 2, 3], ml_dtypes.bfloat16))  # NumPy stores it as raw bytes
    edited = (
        edit(tmp_path / "m")
        .cast("net/a/bias", "bfloat16", clip=True)
        .set("net/a/bias", str(tmp_path / "b.npy"))
    )
    edited.write(tmp_path / "bf")
    assert read(tmp_path / "bf")["net/a/bias"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("net/a/bias", "[1, 2]", MismatchError, r"net/a/bias: shape \(3,\), but the value's is \(2,\)"),
        ("net/a/bias", "[[1], [2, 3]]", UsageError, "net/a/bias: setting an array element|inhomogeneous"),
        ("net/a/bias", "1e400", MismatchError, "1e400 is more than any number"),
        ("net/a/bias", "1e60", MismatchError, "1 of 1 values do not fit float32"),
        ("net/a/bias", "abc", UsageError, "'abc' is not a value"),
        ("net/a/bias", "1j", UsageError, "would lose the imaginary part"),
        ("global_step", "0.5", MismatchError, "int64, but the value has fractions"),
        ("global_step", "9223372036854775808", MismatchError, "do not fit int64"),
        ("net/a/bais", "1", VariableNotFoundError, "net/a/bais"),
        ("x", "no.npy", ReadError, "no.npy: no such file"),
        ("label", np.ones(2), UsageError, "expected strings, got 1.0"),
    ],
)
def test_reject_values(source, name, value, error, message):
    with pytest.raises(error, match=message):
        edit(source).set(name, value)


def test_reject_files_of_values(source, tmp_path):
    for content, message in [
        (b"", "not an array in .npy"),
        (b"\x93NUMPY\x01\x00\x10\x00garbage garbage!", "not an array in .npy"),
    ]:
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            edit(source).set("net/a/bias", str(tmp_path / "x.npy"))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises((UsageError, ReadError)):
        edit(source).set("net/a/bias", str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(UsageError, match="not an array in .npy"):
        edit(source).set("label", str(tmp_path / "x.npy"))


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">c8", ">u2", ">f2"])
def test_arrays_of_the_other_byte_order_are_what_they_say(source, tmp_path, dtype):
    np.save(tmp_path / "x.npy", np.array([1, 2, 3], dtype))
    edit(source).set("new", str(tmp_path / "x.npy")).set("too", np.array([4, 5], dtype)).write(
        tmp_path / "out"
    )
    assert read(tmp_path / "out")["new"].tolist() == [1, 2, 3]
    assert read(tmp_path / "out")["too"].tolist() == [4, 5]

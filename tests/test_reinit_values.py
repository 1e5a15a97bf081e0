"""`ckpt reinit --init`: numbers are exact, within the dtype, and said so that they read back."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import write_bundle
from toolkit import UsageError, dtypes, open_checkpoint, plan_reinit


@pytest.mark.parametrize(
    ("init", "dtype"),
    [
        ("constant:1e39", "float32"),
        ("constant:70000", "float16"),
        ("constant:100", "float4_e2m1fn"),
        ("normal:0,1e39", "float32"),
        ("truncated_normal:1e39,0", "float32"),
        ("uniform:-1e39,0", "float32"),
        ("uniform:-1e308,1e308", "float64"),
        ("constant:1.5", "int32"),
        ("constant:9223372036854775808", "int64"),
        ("constant:-1", "uint8"),
        ("constant:2", "bool"),
    ],
)
def test_numbers_that_a_dtype_cannot_say_are_refused(tmp_path, init, dtype):
    prefix = write_bundle(tmp_path / "m", {"w": np.zeros(3, dtypes.as_dtype(dtype).numpy)})
    with pytest.raises(UsageError, match=f"does not fit dtype {dtype}") as refused:
        plan_reinit(prefix, "w", init=init)
    assert refused.value.hint


@pytest.mark.parametrize("number", [9007199254740993, 9223372036854775807, -9223372036854775808])
def test_whole_numbers_are_exact(tmp_path, number):
    prefix = write_bundle(tmp_path / "m", {"w": np.zeros(3, np.int64)})
    plan = plan_reinit(prefix, "w", init=f"constant:{number}")
    assert plan["w"].initializer == f"constant:{number}"
    plan.write(tmp_path / "out")
    assert open_checkpoint(tmp_path / "out")["w"].read().tolist() == [number] * 3


def test_a_plan_says_numbers_so_that_they_read_back(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.zeros(3, np.float32)})
    for text in ("constant:0.123456789", "constant:16777217", "normal:0,0.02", "constant:1e-30"):
        assert plan_reinit(prefix, "w", init=text)["w"].initializer == text


def test_a_seed_is_named_where_something_is_drawn(trained):
    assert plan_reinit(trained, "head/bias").seed is None
    assert plan_reinit(trained, "head/kernel").seed is not None
    assert plan_reinit(trained, "head/bias", seed=4).seed == 4
    with pytest.raises(UsageError, match="expected a whole number of 0 or more"):
        plan_reinit(trained, "head", seed=-1)

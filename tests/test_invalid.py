"""Damaged and hostile files, each refused with one clear error and a hint, by every way of reading."""

from __future__ import annotations

import json

import pytest

from tests.conftest import VALID
from toolkit import CheckpointError, open_checkpoint

INVALID = VALID.parent / "invalid"
CASES = json.loads((INVALID / "messages.json").read_text("utf-8"))


@pytest.mark.parametrize("read", ["read", "load", "chunks"])
@pytest.mark.parametrize("name", CASES)
def test_is_one_clear_error(name, read):
    folder = INVALID / name
    with (
        pytest.raises(CheckpointError) as refused,
        open_checkpoint(folder / CASES[name]["open"]) as checkpoint,
    ):
        checkpoint.roles()
        for variable in checkpoint.values():
            list(variable.chunks(max_bytes=8)) if read == "chunks" else getattr(variable, read)()
    assert refused.value.message.startswith(f"{folder}/{CASES[name]['message']}")
    assert refused.value.hint


@pytest.mark.parametrize("name", CASES)
def test_is_one_clear_error_of_the_command(ckpt, tmp_path, name):
    ran = ckpt("export", INVALID / name / CASES[name]["open"], tmp_path / "x.npz")
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith(f"ckpt: {INVALID / name}/")
    assert hint.startswith("hint: ")
    assert list(tmp_path.iterdir()) == []


def test_there_is_a_file_for_each_and_a_message_for_each_file():
    assert {path.name for path in INVALID.iterdir()} == {*CASES, "messages.json"}

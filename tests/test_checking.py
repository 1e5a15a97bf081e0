"""Damage in what is shared by hard link: the plan says that it was not read, and `--check` reads it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests.conftest import names_in, write_bundle
from toolkit import ChecksumError, edit, plan_average, plan_merge, plan_reinit
from toolkit.formats.bundle import naming

NOT_READ = "linked, not read (--check compares its checksums)"


def flip(prefix, at=0):
    """Change one bit of a byte of the data of a checkpoint."""
    path = naming.data_file(str(prefix), 0, 1)
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def sound(tmp_path):
    """A checkpoint of 20 variables of 400 bytes."""
    rng = np.random.default_rng(1)
    return write_bundle(
        tmp_path / "m", {f"s/v{i:02d}": rng.standard_normal(100).astype("f") for i in range(20)}
    )


@pytest.fixture
def damaged(sound):
    """That checkpoint with a flipped byte in `s/v05`."""
    flip(sound, 5 * 400 + 17)
    return sound


def commands(prefix):
    return (
        ["edit", prefix, "--drop", "s/v00"],
        ["reinit", prefix, "s/v00", "--seed", 1],
        ["merge", prefix, prefix],
        ["average", prefix, prefix],
    )


@pytest.mark.parametrize("number", range(4))
def test_check_finds_a_flipped_byte_in_what_is_linked(damaged, tmp_path, ckpt, number):
    command = commands(damaged)[number]
    before = names_in(tmp_path)
    ran = ckpt(*command, "-o", tmp_path / "out", "--check")
    assert ran.code == 2
    where = f"{damaged}.data-00000-of-00001: checksum of 's/v05' is wrong at byte 2000"
    assert ran.err.startswith(f"ckpt: {where}: expected 0x")
    assert names_in(tmp_path) == before  # nothing was written
    assert ckpt(*command, "--dry-run", "--check").code == 2


@pytest.mark.parametrize("number", range(4))
def test_without_check_the_plan_says_that_it_was_not_read(damaged, tmp_path, ckpt, number):
    command = commands(damaged)[number]
    assert NOT_READ in ckpt(*command, "--dry-run").out
    ran = ckpt(*command, "-o", tmp_path / "out")
    assert (ran.code, NOT_READ in ran.out) == (0, True)


def test_a_sound_one_is_linked_and_said_to_be_read(sound, tmp_path, ckpt):
    ran = ckpt("edit", sound, "--drop", "s/v00", "-o", tmp_path / "out", "--check", "--json")
    document = json.loads(ran.out)
    assert document["bytes"] == {"linked": 8000, "copied": 0, "written": 0}
    assert document["linked_checked"] is True
    assert os.stat(tmp_path / "out.data-00000-of-00001").st_nlink == 2
    assert document["notes"][0].startswith(
        "1 data file shared by hard link, 7.8 KiB linked, read, checksums equal;"
    )


def test_json_says_whether_what_is_linked_was_read(sound, tmp_path, ckpt):
    def told(*options):
        command = ["edit", sound, "--drop", "s/v00", "--dry-run", "--json"]
        return json.loads(ckpt(*command, *options).out)["linked_checked"]

    assert told() is False
    assert told("--check") is True
    assert told("--data", "copy") is None  # nothing is linked: everything is read
    assert told("--data", "copy", "--check") is None


def test_what_no_variable_uses_is_not_compared(damaged, tmp_path):
    plan = edit(damaged).drop("s/v05").write(tmp_path / "out", check=True)
    assert plan.linked_checked
    assert plan.bytes.linked == 8000


@pytest.mark.parametrize("make", [plan_merge, plan_average])
def test_from_python_damage_is_a_checksum_error(damaged, tmp_path, make):
    before = names_in(tmp_path)
    with pytest.raises(ChecksumError, match="checksum of 's/v05' is wrong"):
        make(damaged, damaged).write(tmp_path / "out", check=True)
    with pytest.raises(ChecksumError):
        plan_reinit(damaged, "s/v00").write(tmp_path / "out", check=True)
    with pytest.raises(ChecksumError):
        edit(damaged).drop("s/v00").write(tmp_path / "out", check=True)
    assert names_in(tmp_path) == before


def test_a_plan_that_is_written_again_says_what_that_time_was_read(sound, tmp_path):
    plan = plan_reinit(sound, "s/v00", seed=1)
    assert plan.linked_checked is False
    plan.write(tmp_path / "one", check=True)
    assert plan.linked_checked is True
    plan.write(tmp_path / "two")
    assert plan.linked_checked is False
    assert NOT_READ in "\n".join(plan.notes)


def test_progress_is_told_what_is_checked(sound, tmp_path):
    plan, told = plan_reinit(sound, "s/v00", seed=1), []
    plan.write(tmp_path / "out", check=True, progress=told.append)
    assert sum(told) == plan.num_bytes + plan.num_checked == 400 + 19 * 400


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_read_for_a_mean_is_always_compared(tmp_path, at, which):
    rng = np.random.default_rng(2)
    made = [
        write_bundle(tmp_path / f"m-{i}", {"w": rng.standard_normal(300_000).astype("f")}) for i in (1, 2)
    ]
    flip(made[which], at)
    with pytest.raises(ChecksumError, match="checksum of 'w' is wrong"):
        plan_average(*made).write(tmp_path / "mean")


def test_what_is_copied_is_always_compared(damaged, tmp_path):
    with pytest.raises(ChecksumError, match="checksum of 's/v05' is wrong"):
        edit(damaged).drop("s/v00").write(tmp_path / "out", data="copy")


def test_partitioned_variables_are_checked_slice_by_slice(tmp_path):
    from tests.conftest import VALID

    for prefix in sorted(path.with_suffix("") for path in VALID.rglob("*.index")):
        edit(prefix).write(tmp_path / f"{prefix.parent.name}-{prefix.name}", data="link", check=True)

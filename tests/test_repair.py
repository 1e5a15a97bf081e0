"""`ckpt repair`: a state file that is true, and nothing left of broken saves that is provably theirs."""

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest

from tests.conftest import contents, names_in
from tests.test_directory import save, training
from toolkit import PublishError, plan_repair
from toolkit.change import repair
from toolkit.formats.bundle.state import State, read_state, write_state


@pytest.fixture
def run(tmp_path):
    """A training's directory."""
    return training(tmp_path)


@pytest.fixture
def settled(monkeypatch):
    """As if nothing had been touched for an hour."""
    monkeypatch.setattr(repair, "_SETTLED_SECONDS", 0)


def test_a_directory_that_is_well_is_left_alone(run, ckpt):
    before = contents(run)
    assert ckpt("repair", run)[:2] == (0, "all is well\n")
    assert contents(run) == before


def test_the_state_file_becomes_relative_and_true(run, ckpt):
    paths = ("/old/place/m-100", "/old/place/m-150", "/old/place/m-300", "/old/place/m-400")
    write_state(str(run), State("/old/place/m-400", paths, (1.0, 1.5, 3.0, 4.0), 0.5))
    os.unlink(run / "m-400.data-00000-of-00001")
    dry = ckpt("repair", run, "--dry-run")
    assert dry.code == 1
    assert "checkpoint: /old/place/m-100 becomes m-100" in dry.out
    assert "checkpoint: /old/place/m-150 is left out: it is not there, or not complete" in dry.out
    assert "checkpoint: the latest is m-300: /old/place/m-400 is not complete" in dry.out
    ran = ckpt("repair", run)
    assert ran.code == 1  # m-400 is broken, and stays
    assert f"broken  {run}/m-400: " in ran.out
    assert read_state(str(run)) == State("m-300", ("m-100", "m-300"), (1.0, 3.0), 0.5)
    assert "m-400.index" in names_in(run)


@pytest.mark.parametrize("text", [None, 'model_checkpoint_path: "m-4', ""])
def test_a_state_file_that_is_missing_or_damaged_is_made(run, text):
    os.unlink(run / "checkpoint")
    if text is not None:
        (run / "checkpoint").write_text(text)
    plan_repair(run).apply()
    assert read_state(str(run)).latest == "m-400"
    assert read_state(str(run)).all_paths == ("m-400",)  # TensorFlow removes what it finds listed


def test_what_broken_saves_left_is_removed(run, ckpt, settled):
    old = time.time() - 20_000
    orphans = [
        "m-50.data-00000-of-00001",  # renamed before its index was written
        "m-350.index.tempstate123", "m-350.data-00000-of-00001.tempstate123",
        "m-400.data-00000-of-00002",  # of an earlier save of that name
        "checkpoint.tmp" + "0123456789abcdef" * 2,
    ]  # fmt: skip
    (run / "m-60_temp").mkdir()
    (run / "m-60_temp/part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    for name in orphans:
        (run / name).write_bytes(b"x")
        os.utime(run / name, (old, old))
    for name in ("m-60_temp/part-00000-of-00001.data-00000-of-00001", "m-60_temp"):
        os.utime(run / name, (old, old))
    kept = {n: v for n, v in contents(run).items() if n not in orphans and not n.startswith("m-60_temp")}
    dry = ckpt("repair", run, "--dry-run", "--json")
    document = json.loads(dry.out)
    assert (dry.code, document["schema"]) == (1, "ckpt/repair/1")
    assert {os.path.basename(each["path"]) for each in document["removed"]} == {*orphans, "m-60_temp"}
    assert set(orphans) < set(names_in(run))
    assert ckpt("repair", run).code == 0
    assert contents(run) == kept


def test_data_and_folders_that_only_look_like_it_are_left(run, settled):
    names = [f"m.data-0000{i}-of-00003" for i in range(3)]
    for folder in ("m-50_temp/part-r-00000", "m-60_temp"):
        (run / folder).mkdir(parents=True)
    names += ["m-50_temp/part-r-00000/x.parquet", "m-60_temp/part-00001.parquet"]
    for name in names:
        (run / name).write_bytes(b"x")
        os.utime(run / name, (1, 1))
    plan_repair(run).apply()
    assert all((run / name).exists() for name in names)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(5000), b'{"a": 1}', b"text"])
def test_a_file_of_that_name_that_is_no_state_file_stays(run, ckpt, content):
    (run / "checkpoint").write_bytes(content)
    ran = ckpt("repair", run)
    assert (ran.code, "is no state file of TensorFlow" in ran.out) == (1, True)
    assert (run / "checkpoint").read_bytes() == content


def test_a_training_that_goes_on_meanwhile_is_not_turned_back(run):
    write_state(str(run), read_state(str(run))._replace(latest="/old/m-400"))
    planned = plan_repair(run)
    save(run, 500)
    write_state(str(run), State("m-500", ("m-400", "m-500")))
    with pytest.raises(PublishError, match="another program changed it"):
        planned.apply()
    assert read_state(str(run)).latest == "m-500"


def test_what_may_be_a_save_under_way_is_left(run, ckpt):
    (run / "m-500.data-00000-of-00001").write_bytes(b"x")
    (run / "m-400.index.tempstate7").write_bytes(b"x")
    os.utime(run / "m-500.data-00000-of-00001", (1, 1))  # as a copy that keeps times does
    before = contents(run)
    ran = ckpt("repair", run)
    assert contents(run) == before
    assert ran.out.count("touched within the hour") == 2


def test_what_no_later_save_stands_for_is_left(run, settled):
    names = ["m-500.data-00000-of-00001", "x-1.data-00000-of-00001", "m-350.index.tempstate7"]
    for name in names[:2]:
        (run / name).write_bytes(b"x")
        os.utime(run / name, (1, 1))
    (run / names[2]).write_bytes(b"x")  # newer than every index
    found = plan_repair(run)
    assert found.orphans == ()
    assert {os.path.basename(each.path) for each in found.left} == set(names)
    assert all(each.why == "no later save of this training is complete" for each in found.left)


def test_only_a_dead_writers_staging_is_removed(run):
    for name in (".ckpt-0123456789abcdef", ".ckpt-fedcba9876543210"):
        (run / name / "new").mkdir(parents=True)
        (run / name / "lock").touch()
    with open(run / ".ckpt-fedcba9876543210/lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = plan_repair(run)
        assert [os.path.basename(each.path) for each in found.orphans] == [".ckpt-0123456789abcdef"]
        found.apply()
        assert names_in(run)[:2] == [".ckpt-fedcba9876543210", "checkpoint"]


def test_nothing_complete_leaves_the_state_file_as_it_is(run, ckpt):
    for name in names_in(run):
        if name.endswith("-of-00001"):
            os.unlink(run / name)
    before = contents(run)
    assert ckpt("repair", run).code == 1
    assert contents(run) == before

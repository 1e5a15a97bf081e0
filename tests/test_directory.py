"""`ckpt log`, `latest`, `prune` and `repair`: what is in a training directory, and what becomes of it."""

from __future__ import annotations

import fcntl
import json
import os
import time

import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import (
    FormatError,
    PublishError,
    ReadError,
    UsageError,
    edit,
    latest,
    log,
    open_checkpoint,
    plan_prune,
    plan_repair,
)
from toolkit.change import repair
from toolkit.formats.bundle.state import State, read_state, write_state


def save(folder, step, *, name="m", age=0, num=5):
    """Write a checkpoint as a training does, `age` seconds ago, without a state file."""
    prefix = write_bundle(
        folder / f"{name}-{step}", {"w": np.full(num, step, "f"), "global_step": np.int64(step)}
    )
    for suffix in (".data-00000-of-00001", ".index"):
        os.utime(prefix + suffix, (time.time() - age,) * 2)
    return prefix


@pytest.fixture
def run(tmp_path):
    """A directory of four checkpoints, 100 seconds apart, and a state file as TensorFlow writes it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for i, step in enumerate((100, 200, 300, 400)):
        save(folder, step, age=10_000 - 100 * i)
    write_state(
        str(folder), State("m-400", tuple(f"m-{s}" for s in (100, 200, 300, 400)), (1.0, 2.0, 3.0, 4.0), 0.5)
    )
    return folder


def steps(found):
    return [each.step for each in found]


class TestLog:
    def test_checkpoints_are_listed_by_their_steps(self, run, ckpt):
        save(run, 1000)
        logged = log(run)
        assert steps(logged) == [100, 200, 300, 400, 1000]
        assert [each.latest for each in logged] == [False, False, False, True, False]
        assert [each.time for each in logged[:4]] == [1, 2, 3, 4]  # as the state file says
        assert all(each.complete and each.nbytes > 100 for each in logged)
        lines = ckpt("log", run).out.splitlines()
        assert lines[0].split() == ["step", "saved", "size", "checkpoint"]
        assert lines[4].endswith("m-400       latest")
        assert lines[-1].startswith("5 checkpoints, ")

    def test_what_is_shared_counts_once(self, run):
        alone = sum(each.nbytes for each in log(run))
        edit(run / "m-400").set("global_step", 500).write(run / "m-500", data="link")
        logged = log(run)
        own = sum(os.path.getsize(run / name) for name in names_in(run) if name.startswith("m-500")) - 28
        assert logged[-1].nbytes == own
        assert sum(each.nbytes for each in logged) == alone + own

    def test_broken_ones_are_named(self, run, ckpt):
        os.unlink(run / "m-300.data-00000-of-00001")
        os.truncate(run / "m-200.data-00000-of-00001", 3)
        os.unlink(run / "m-100.index")
        problems = {each.step: each.problem for each in log(run)}
        assert problems[400] is None
        assert "its data is missing" in problems[300]
        assert "file too short" in problems[200]
        assert "m-100.index: missing" in problems[100]
        assert ckpt("log", run).code == 0
        assert "broken: " in ckpt("log", run).out

    def test_the_best_is_the_one_that_a_keeper_of_saves_was_told(self, run):
        record = {"saves": [{"name": f"m-{s}", "step": s, "time": 0, "metric": m} for s, m in ((100, 0.5), (200, 0.9), (300, 0.7))], "removing": [], "mode": "max"}  # fmt: skip
        (run / "m.keeper.json").write_text(json.dumps(record))
        assert [each.step for each in log(run) if each.best] == [200]
        (run / "m.keeper.json").write_text(json.dumps({**record, "mode": "min"}))
        assert [each.step for each in log(run) if each.best] == [100]
        assert [each.metric for each in log(run)] == [0.5, 0.9, 0.7, None]

    def test_json_and_csv(self, run, ckpt):
        document = json.loads(ckpt("log", run, "--json").out)
        assert document["schema"] == "ckpt/log/1"
        assert {"path", "step", "time", "nbytes", "latest", "complete"} <= document["checkpoints"][0].keys()
        lines = ckpt("log", run, "--csv").out.splitlines()
        assert lines[0] == "path,step,time,nbytes,latest,complete,best,metric,problem"
        assert len(lines) == 5

    def test_other_files_are_not_taken_for_checkpoints(self, run):
        (run / "events.out.tfevents.1").write_bytes(b"x" * 100)
        (run / "data.json").write_text("{}")
        np.savez(run / "data.npz", a=np.zeros(2))
        (run / "folder").mkdir()
        assert steps(log(run)) == [100, 200, 300, 400]

    def test_reject_what_is_no_directory_of_checkpoints(self, run, tmp_path, ckpt):
        with pytest.raises(ReadError, match="no checkpoint in this directory"):
            log(tmp_path)
        with pytest.raises(ReadError, match="not a directory"):
            log(run / "m-100.index")
        assert ckpt("log", tmp_path / "none").code == 2


class TestLatest:
    def test_it_is_the_one_that_the_state_file_names(self, run, ckpt):
        save(run, 1000)
        assert ckpt("latest", run)[:3] == (0, f"{run}/m-400\n", "")
        assert json.loads(ckpt("latest", run, "--json").out)["step"] == 400

    def test_where_that_is_broken_it_is_the_newest(self, run):
        os.unlink(run / "m-400.data-00000-of-00001")
        assert latest(run).step == 300
        os.unlink(run / "checkpoint")
        assert latest(run).step == 300
        (run / "checkpoint").write_text("garbage")
        assert latest(run).step == 300

    def test_there_may_be_none(self, run, ckpt):
        for name in names_in(run):
            if name.endswith("-of-00001"):
                os.unlink(run / name)
        ran = ckpt("latest", run)
        assert (ran.code, ran.out) == (2, "")
        assert "no complete checkpoint in this directory" in ran.err

    def test_of_one_time_the_highest_step_is_the_newest(self, run):
        os.unlink(run / "checkpoint")
        for name in names_in(run):
            os.utime(run / name, (5, 5))
        assert latest(run).step == 400

    def test_a_state_file_may_name_another_directory(self, run):
        (run / "sub").mkdir()
        save(run / "sub", 5)
        write_state(str(run), State("sub/m-5", ("m-100", "sub/m-5"), (1.0, 5.0)))
        before = contents(run)
        assert plan_repair(run).state is None
        assert contents(run) == before


class TestPrune:
    def test_a_training_that_began_anew_keeps_its_newest(self, run):
        for age, step in enumerate((30, 20, 10)):
            save(run, step, age=age)
        os.unlink(run / "checkpoint")
        assert steps(plan_prune(run, keep=2).removed) == [
            10,
            100,
            200,
        ]  # 400 and 300 by step, 30 and 20 by time

    def test_state_files_of_other_names_count(self, run):
        for step in (1, 2, 3):
            save(run, step, name="other")
        write_state(str(run), State("other-2", ("other-1", "other-2")), name="checkpoint_other")
        pruning = plan_prune(run, keep=1)
        assert {each.name: why for each, why in pruning.kept}["other-2"] == "the latest"
        pruning.apply()
        assert read_state(str(run), "checkpoint_other").all_paths == ("other-2",)
        assert read_state(str(run)).all_paths == ("m-400",)

    def test_what_a_link_leads_to_stays(self, run):
        for ending in ("index", "data-00000-of-00001"):
            os.symlink(f"m-200.{ending}", run / f"best-200.{ending}")
        plan_prune(run, keep=1).apply()
        with open_checkpoint(run / "best-200") as checkpoint:
            assert checkpoint["w"].load().tolist() == [200] * 5

    def test_files_of_weights_are_a_training_of_their_own(self, run):
        from toolkit import export

        for step in (200, 300):
            export(run / f"m-{step}", run / f"m-{step}.h5")
            os.rename(run / f"m-{step}.h5", run / f"m-{step}.weights.h5")
        plan_prune(run, keep=1).apply()
        assert {each.path.rpartition("/")[2] for each in log(run)} == {"m-400", "m-300.weights.h5"}

    def test_a_users_file_of_a_prefixs_name_is_not_the_checkpoints(self, run):
        (run / "m-100").write_text("notes")
        plan_prune(run, keep=1).apply()
        assert (run / "m-100").read_text() == "notes"

    def test_a_damaged_record_is_an_error_where_the_best_are_to_be_kept(self, run):
        record = {"saves": [{"name": "m-100", "step": 100, "time": 0, "metric": 0.5}], "removing": []}
        (run / "m.keeper.json").write_text(json.dumps(record))
        (run / "other.keeper.json").write_text("{")
        with pytest.raises(FormatError, match="not the record of a keeper"):
            plan_prune(run, keep=1, keep_best=1)
        assert any("other.keeper.json" in each.path for each in plan_repair(run).left)

    def test_the_newest_stay_and_the_state_file_follows(self, run, ckpt):
        ran = ckpt("prune", run, "--keep", 2)
        assert ran.code == 0
        assert steps(log(run)) == [300, 400]
        assert names_in(run) == ["checkpoint", *(f"m-{s}.{e}" for s in (300, 400) for e in ("data-00000-of-00001", "index"))]  # fmt: skip
        assert read_state(str(run)) == State("m-400", ("m-300", "m-400"), (3.0, 4.0), 0.5)
        assert ran.out.splitlines()[-1].startswith("2 keep, 2 remove; ")

    def test_a_dry_run_removes_nothing(self, run, ckpt):
        before = contents(run)
        ran = ckpt("prune", run, "--keep", 1, "--dry-run")
        assert ran.out.splitlines()[1:4] == [
            line for line in ran.out.splitlines() if line.startswith("remove  m-")
        ]
        assert contents(run) == before

    def test_every_nth_and_the_best_stay(self, run):
        record = {"saves": [{"name": "m-100", "step": 100, "time": 0, "metric": 0.5}], "removing": []}
        (run / "m.keeper.json").write_text(json.dumps(record))
        assert steps(plan_prune(run, keep=1, keep_every=200).removed) == [100, 300]
        assert steps(plan_prune(run, keep=1, keep_best=1).removed) == [200, 300]
        assert steps(plan_prune(run, keep=1, keep_best=1, keep_every=300).removed) == [200]
        with pytest.raises(UsageError, match="no metrics are known"):
            os.unlink(run / "m.keeper.json")
            plan_prune(run, keep=1, keep_best=1)

    def test_only_what_is_old_goes(self, run):
        now = time.time()
        times = tuple(now - days * 86400 for days in (9, 7, 5, 0))
        state = read_state(str(run))
        write_state(str(run), state._replace(timestamps=times))
        assert steps(plan_prune(run, keep=1, older_than=6).removed) == [100, 200]
        assert steps(plan_prune(run, keep=1).removed) == [100, 200, 300]

    def test_the_latest_and_what_is_broken_stay(self, run):
        os.unlink(run / "m-200.data-00000-of-00001")
        write_state(str(run), read_state(str(run))._replace(latest="m-100"))
        pruning = plan_prune(run, keep=1)
        assert steps(pruning.removed) == [300]
        assert {each.step: why.partition(":")[0] for each, why in pruning.kept} == {
            100: "the latest", 200: "broken", 400: "one of the newest",
        }  # fmt: skip

    def test_each_training_is_pruned_by_itself(self, run):
        for step in (1, 2, 3):
            save(run, step, name="other")
        write_bundle(run / "final", {"w": np.zeros(2, "f")})
        plan_prune(run, keep=1).apply()
        assert {each.path.rpartition("/")[2] for each in log(run)} == {"m-400", "other-3", "final"}

    def test_what_others_share_is_not_freed(self, run):
        edit(run / "m-100").set("global_step", 500).write(run / "m-500", data="link")
        shared = os.path.getsize(run / "m-100.data-00000-of-00001")
        whole = sum(os.path.getsize(run / f"m-{s}.{e}") for s in (100, 200, 300) for e in ("index", "data-00000-of-00001"))  # fmt: skip
        pruning = plan_prune(run, keep=1)
        assert steps(pruning.removed) == [100, 200, 300]
        assert pruning.nbytes == whole - shared
        pruning.apply()
        with open_checkpoint(run / "m-500") as checkpoint:
            assert checkpoint["w"].load().tolist() == [100] * 5

    def test_json(self, run, ckpt):
        document = json.loads(ckpt("prune", run, "--keep", 3, "--json", "--dry-run").out)
        assert document["schema"] == "ckpt/prune/1"
        assert [each["step"] for each in document["removed"]] == [100]
        assert document["kept"][-1]["reason"] == "the latest"

    @pytest.mark.parametrize(
        "options",
        [
            {"keep": 0},
            {"keep": 1, "keep_every": -1},
            {"keep": 1, "older_than": -1},
            {"keep": 1, "older_than": float("nan")},
        ],
    )
    def test_reject_rules(self, run, options):
        with pytest.raises(UsageError, match="expected"):
            plan_prune(run, **options)

    def test_keep_must_be_given(self, run, ckpt):
        before = contents(run)
        assert ckpt("prune", run).code == 2
        assert contents(run) == before


class TestRepair:
    @pytest.fixture
    def settled(self, monkeypatch):
        """As if nothing had been touched for an hour."""
        monkeypatch.setattr(repair, "_SETTLED_SECONDS", 0)

    def test_a_directory_that_is_well_is_left_alone(self, run, ckpt):
        before = contents(run)
        assert ckpt("repair", run)[:2] == (0, "all is well\n")
        assert contents(run) == before

    def test_the_state_file_becomes_relative_and_true(self, run, ckpt):
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
    def test_a_state_file_that_is_missing_or_damaged_is_made(self, run, text):
        os.unlink(run / "checkpoint")
        if text is not None:
            (run / "checkpoint").write_text(text)
        plan_repair(run).apply()
        assert read_state(str(run)).latest == "m-400"
        assert read_state(str(run)).all_paths == ("m-400",)  # TensorFlow removes what it finds listed

    def test_what_broken_saves_left_is_removed(self, run, ckpt, settled):
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

    def test_data_and_folders_that_only_look_like_it_are_left(self, run, settled):
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
    def test_a_file_of_that_name_that_is_no_state_file_stays(self, run, ckpt, content):
        (run / "checkpoint").write_bytes(content)
        ran = ckpt("repair", run)
        assert (ran.code, "is no state file of TensorFlow" in ran.out) == (1, True)
        assert (run / "checkpoint").read_bytes() == content

    def test_a_training_that_goes_on_meanwhile_is_not_turned_back(self, run):
        write_state(str(run), read_state(str(run))._replace(latest="/old/m-400"))
        planned = plan_repair(run)
        save(run, 500)
        write_state(str(run), State("m-500", ("m-400", "m-500")))
        with pytest.raises(PublishError, match="another program changed it"):
            planned.apply()
        assert read_state(str(run)).latest == "m-500"

    def test_what_may_be_a_save_under_way_is_left(self, run, ckpt):
        (run / "m-500.data-00000-of-00001").write_bytes(b"x")
        (run / "m-400.index.tempstate7").write_bytes(b"x")
        os.utime(run / "m-500.data-00000-of-00001", (1, 1))  # as a copy that keeps times does
        before = contents(run)
        ran = ckpt("repair", run)
        assert contents(run) == before
        assert ran.out.count("touched within the hour") == 2

    def test_what_no_later_save_stands_for_is_left(self, run, settled):
        names = ["m-500.data-00000-of-00001", "x-1.data-00000-of-00001", "m-350.index.tempstate7"]
        for name in names[:2]:
            (run / name).write_bytes(b"x")
            os.utime(run / name, (1, 1))
        (run / names[2]).write_bytes(b"x")  # newer than every index
        found = plan_repair(run)
        assert found.orphans == ()
        assert {os.path.basename(each.path) for each in found.left} == set(names)
        assert all(each.why == "no later save of this training is complete" for each in found.left)

    def test_only_a_dead_writers_staging_is_removed(self, run):
        for name in (".ckpt-0123456789abcdef", ".ckpt-fedcba9876543210"):
            (run / name / "new").mkdir(parents=True)
            (run / name / "lock").touch()
        with open(run / ".ckpt-fedcba9876543210/lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            found = plan_repair(run)
            assert [os.path.basename(each.path) for each in found.orphans] == [".ckpt-0123456789abcdef"]
            found.apply()
            assert names_in(run)[:2] == [".ckpt-fedcba9876543210", "checkpoint"]

    def test_nothing_complete_leaves_the_state_file_as_it_is(self, run, ckpt):
        for name in names_in(run):
            if name.endswith("-of-00001"):
                os.unlink(run / name)
        before = contents(run)
        assert ckpt("repair", run).code == 1
        assert contents(run) == before

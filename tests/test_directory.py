"""`ckpt log`, `latest`, `prune` and `repair`: what is in a training directory, and what becomes of it."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import (
    FormatError,
    ReadError,
    UsageError,
    edit,
    latest,
    log,
    open_checkpoint,
    plan_prune,
    plan_repair,
)
from toolkit.formats.bundle.state import State, read_state, write_state


def save(folder, step, *, name="m", age=0, num=5):
    """Write a checkpoint as a training does, `age` seconds ago, without a state file."""
    prefix = write_bundle(
        folder / f"{name}-{step}", {"w": np.full(num, step, "f"), "global_step": np.int64(step)}
    )
    for suffix in (".data-00000-of-00001", ".index"):
        os.utime(prefix + suffix, (time.time() - age,) * 2)
    return prefix


def training(tmp_path):
    """A directory of four checkpoints, 100 seconds apart, and a state file as TensorFlow writes it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for i, step in enumerate((100, 200, 300, 400)):
        save(folder, step, age=10_000 - 100 * i)
    write_state(
        str(folder), State("m-400", tuple(f"m-{s}" for s in (100, 200, 300, 400)), (1.0, 2.0, 3.0, 4.0), 0.5)
    )
    return folder


@pytest.fixture
def run(tmp_path):
    """A training's directory."""
    return training(tmp_path)


def steps(found):
    return [each.step for each in found]


class TestLog:
    def test_checkpoints_are_listed_by_their_steps(self, run, ckpt):
        save(run, 1000, age=20_000)
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
        save(run, 1000, age=20_000)
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

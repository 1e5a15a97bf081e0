"""Which save of a training directory is the latest: whoever is asked says the same."""

from __future__ import annotations

import json
import os
import zipfile

import h5py
import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.test_directory import save, training
from toolkit import latest, log, open_checkpoint, plan_average, plan_prune, plan_repair
from toolkit.change.kept import KeptDirectory
from toolkit.change.retention import Retention
from toolkit.formats.bundle.state import State, read_state, write_state


@pytest.fixture
def run(tmp_path):
    """A training's directory: m-100 to m-400, and a state file that names m-400."""
    return training(tmp_path)


def record(run, steps, *, saving=None, name="m"):
    """Write the record of a keeper of saves."""
    saves = [{"name": f"{name}-{step}", "step": step, "time": 0, "metric": None} for step in steps]
    document = {"saves": saves, "removing": [], "mode": "max"}
    if saving is not None:
        document["saving"] = {"name": f"{name}-{saving}", "step": saving, "time": 0, "metric": None}
    (run / f"{name}.keeper.json").write_text(json.dumps(document))


def answers(run, ckpt):
    """Map each command and function to the name of the save that it calls the latest."""
    kept = KeptDirectory(str(run), "m", Retention())
    listed = [os.path.basename(each.path) for each in log(run) if each.latest]
    return {
        "latest": os.path.basename(ckpt("latest", run).out.strip()),
        "open": os.path.basename(open_checkpoint(run).path),
        "log": listed[0] if listed else None,
        "keeper": kept.newest_sound()[0],
    }


def keras_file(path, ending):
    """Return the bytes of a file of Keras's with one layer in it."""
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 3), "f")
    if ending == "keras":
        os.rename(path, f"{path}.h5")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("metadata.json", '{"keras_version": "3.3.3"}')
            archive.write(f"{path}.h5", "model.weights.h5")
        os.unlink(f"{path}.h5")
    content = path.read_bytes()
    path.unlink()
    return content


def all_say(name):
    return dict.fromkeys(("latest", "open", "log", "keeper"), name)


def test_a_keeper_killed_before_its_state_file_leaves_one_latest(run, ckpt):
    record(run, [100, 200, 300, 400], saving=500)
    save(run, 500)
    assert answers(run, ckpt) == all_say("m-500")


def test_a_saver_killed_before_its_state_file_leaves_one_latest(run, ckpt):
    save(run, 500)
    assert answers(run, ckpt) == all_say("m-500")


def test_a_state_file_that_is_behind_is_told_on_stderr(run, ckpt):
    save(run, 500)
    note = f"{run}/checkpoint: names m-400, but m-500 is newer and complete; took {run}/m-500"
    for command in ("latest", "inspect"):
        ran = ckpt(command, run)
        assert (ran.code, ran.err.splitlines()[0]) == (0, note)
    assert ckpt("latest", run, "--quiet").err == ""


def test_a_state_file_that_is_behind_is_mended_by_repair(run, ckpt):
    save(run, 500)
    ran = ckpt("repair", run)
    assert ran.code == 0
    assert "checkpoint: the latest is m-500: it was saved after m-400" in ran.out
    state = read_state(str(run))
    assert (state.latest, state.all_paths[-2:]) == ("m-500", ("m-400", "m-500"))
    assert state.timestamps[:4] == (1, 2, 3, 4)
    assert state.timestamps[4] == pytest.approx(os.stat(run / "m-500.index").st_mtime)
    assert ckpt("latest", run).err == ""
    assert ckpt("repair", run).out == "all is well\n"


def test_pruning_after_a_crash_does_not_make_the_old_latest_true(run, ckpt):
    save(run, 500)
    plan_prune(run, keep=1).apply()
    assert read_state(str(run)).latest == "m-500"
    assert answers(run, ckpt) == all_say("m-500")
    assert [each.step for each in log(run)] == [400, 500]  # what the state file named stays, too


def test_a_save_that_is_not_complete_is_not_the_latest(run, ckpt):
    save(run, 500)
    os.truncate(run / "m-500.data-00000-of-00001", 3)
    assert answers(run, ckpt) == all_say("m-400")
    assert ckpt("latest", run).err == ""


def test_who_turns_the_state_file_back_means_it(run, ckpt):
    record(run, [100, 200, 300, 400])
    write_state(str(run), read_state(str(run))._replace(latest="m-200"))
    assert answers(run, ckpt) == all_say("m-200")
    (run / "checkpoint").write_text('model_checkpoint_path: "m-200"\n')  # by hand, and alone
    assert answers(run, ckpt) == all_say("m-200")
    assert plan_repair(run).state is None or plan_repair(run).state.latest == "m-200"


def test_times_that_a_copy_has_set_tell_nothing(run, ckpt):
    save(run, 500, age=-100)
    for name in os.listdir(run):
        if name != "checkpoint":  # which was copied first
            os.utime(run / name, (os.stat(run / name).st_mtime + 20_000,) * 2)
    assert answers(run, ckpt) == all_say("m-400")


def test_a_save_that_another_state_file_lists_is_that_ones(run, ckpt):
    save(run, 500)
    write_state(str(run), State("m-500", ("m-500",)), name="checkpoint_best")
    assert answers(run, ckpt) == all_say("m-400")


def test_another_training_does_not_put_a_state_file_behind(run):
    save(run, 9000, name="other")
    write_bundle(run / "mean", {"w": np.zeros(2, "f")})
    assert latest(run).name == "m-400"
    assert open_checkpoint(run).path == f"{run}/m-400"


def test_a_training_that_began_anew_goes_by_the_record(run, ckpt):
    record(run, [100, 200, 300, 400], saving=50)
    save(run, 50)
    assert answers(run, ckpt) == all_say("m-50")


def test_a_clock_that_was_set_back_changes_no_order(run, ckpt):
    os.unlink(run / "checkpoint")
    saves = [{"name": f"m-{s}", "step": s, "time": t, "metric": None} for s, t in ((300, 900), (400, 800))]
    (run / "m.keeper.json").write_text(json.dumps({"saves": saves, "removing": [], "mode": "max"}))
    for step in (100, 200, 300, 400):
        os.utime(run / f"m-{step}.index", (500, 500))
    assert answers(run, ckpt) == all_say("m-400")


def test_where_the_named_one_is_broken_all_take_the_same(run, ckpt):
    os.unlink(run / "m-400.data-00000-of-00001")
    assert answers(run, ckpt) == all_say("m-300")
    note = f"{run}/checkpoint: names m-400, which is not complete; took {run}/m-300"
    assert ckpt("latest", run).err == f"{note}\n"
    plan_repair(run).apply()
    assert read_state(str(run)).latest == "m-300"


def test_what_a_state_file_names_elsewhere_is_the_latest(run):
    (run / "sub").mkdir()
    save(run / "sub", 5)
    write_state(str(run), State("sub/m-5", ("m-100", "sub/m-5"), (1.0, 5.0)))
    assert latest(run).path == open_checkpoint(run).path == f"{run}/sub/m-5"
    assert plan_repair(run).state is None


@pytest.mark.parametrize("ending", ["weights.h5", "keras"])
def test_files_of_keras_are_saves_of_a_training(tmp_path, ckpt, ending):
    golden = keras_file(tmp_path / "made", ending)
    for age, step in ((30, 7), (20, 8), (10, 10)):
        (tmp_path / f"m-{step}.{ending}").write_bytes(golden)
        os.utime(tmp_path / f"m-{step}.{ending}", (1000 - age,) * 2)
    newest = f"{tmp_path}/m-10.{ending}"
    assert [(each.step, each.latest) for each in log(tmp_path)] == [(7, False), (8, False), (10, True)]
    assert ckpt("latest", tmp_path).out == f"{newest}\n"
    assert open_checkpoint(tmp_path).path == newest
    assert ckpt("inspect", tmp_path).err == f"{tmp_path}: no state file; took the newest, {newest}\n"
    if ending == "weights.h5":
        assert (
            KeptDirectory(str(tmp_path), "m", Retention()).newest_sound(weights=True)[0] == "m-10.weights.h5"
        )
    (tmp_path / f"m-10.{ending}").write_bytes(golden[:200])  # a save that was broken off
    assert os.path.basename(open_checkpoint(tmp_path).path) == latest(tmp_path).name == f"m-8.{ending}"
    ckpt("prune", tmp_path, "--keep", 1)
    assert sorted(os.listdir(tmp_path)) == [f"m-10.{ending}", f"m-8.{ending}"]


def test_several_checkpoints_without_steps_are_nobodys_latest(tmp_path, ckpt):
    for name in ("small", "large"):
        write_bundle(tmp_path / name, {"w": np.zeros(2, "f")})
    for command in (["latest"], ["inspect"]):
        ran = ckpt(*command, tmp_path)
        assert ran.code == 2
        assert "large" in ran.err
        assert "small" in ran.err
    assert not any(each.latest for each in log(tmp_path))
    with pytest.raises(ValueError, match="nothing tells which checkpoints are of one training"):
        plan_average(tmp_path)

"""`ckpt import`: a checkpoint of any format in TensorFlow's, by names or with the objects of another."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from tests.conftest import VALID, contents, names_in, write_bundle
from tests.test_conversions import assert_same
from tests.test_inspect import object_based  # noqa: F401 - a fixture
from toolkit import PlanError, UsageError, export, import_checkpoint, open_checkpoint, plan_import


@pytest.mark.parametrize("ending", ["h5", "safetensors", "npz"])
@pytest.mark.parametrize("golden", ["perceptron", "dtypes", "strings", "shards"])
def test_what_was_exported_comes_back_byte_for_byte(tmp_path, ending, golden):
    """All but what the order of adding makes different: the writer's order is that of names."""
    export(VALID / golden, tmp_path / f"x.{ending}")
    import_checkpoint(VALID / golden, tmp_path / "direct")
    import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "again")
    with open_checkpoint(VALID / golden) as before, open_checkpoint(tmp_path / "again") as after:
        assert_same(before, after)
    for end in (".index", ".data-00000-of-00001"):
        assert (tmp_path / f"again{end}").read_bytes() == (tmp_path / f"direct{end}").read_bytes()


def test_the_command_writes_and_says(ckpt, tmp_path):
    export(VALID / "perceptron", tmp_path / "x.npz", ["head"])
    before = contents(tmp_path)
    dry = ckpt("import", tmp_path / "x.npz", "--rename", "head=top", "--dry-run")
    assert (dry.code, contents(tmp_path)) == (0, before)
    assert "copy  top/kernel" in dry.out
    ran = ckpt("import", tmp_path / "x.npz", "--rename", "head=top", "-o", tmp_path / "out", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["schema"] == "ckpt/import/1"
    assert document["output"] == str(tmp_path / "out")
    assert document["bytes"] == {"linked": 0, "copied": 32, "written": 0}
    assert set(open_checkpoint(tmp_path / "out")) == {"top/bias", "top/kernel"}


def test_plain_hdf5_is_imported(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/b"] = np.arange(6, dtype="f").reshape(2, 3)
    import_checkpoint(tmp_path / "x.h5", tmp_path / "out")
    assert open_checkpoint(tmp_path / "out")["a/b"].read().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_variable_without_a_name_is_to_be_given_one(ckpt, tmp_path):
    np.savez(tmp_path / "x.npz", **{"": np.ones(2, "f"), "w": np.ones(2, "f")})
    ran = ckpt("import", tmp_path / "x.npz", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "hint: --rename 're:^$=NAME'" in ran.err
    ran = ckpt("import", tmp_path / "x.npz", "-o", tmp_path / "out", "--rename", "re:^$=first")
    assert ran.code == 0
    assert set(open_checkpoint(tmp_path / "out")) == {"first", "w"}


class TestWithObjects:
    def test_values_go_by_readable_names_or_keys(self, tmp_path, object_based):  # noqa: F811
        values = {
            "dense/kernel": np.full((2, 3), 7, "f"),
            "dense/kernel/m": np.full((2, 3), 8, "f"),
            "opt/iter/.ATTRIBUTES/VARIABLE_VALUE": np.array(9),
            "extra": np.zeros(1, "f"),
        }
        np.savez(tmp_path / "x.npz", **values)
        plan = plan_import(tmp_path / "x.npz", object_graph_from=object_based)
        assert plan.ok
        assert plan.unused == ("extra",)
        plan.write(tmp_path / "out")
        with open_checkpoint(tmp_path / "out") as after, open_checkpoint(object_based) as before:
            assert set(after) == set(before)
            assert after["net/w/.ATTRIBUTES/VARIABLE_VALUE"].read().tolist() == [[7] * 3] * 2
            assert after["opt/iter/.ATTRIBUTES/VARIABLE_VALUE"].read() == 9
            assert after.paths() == before.paths()

    def test_what_is_missing_or_differs_is_said_for_all(self, ckpt, tmp_path, object_based):  # noqa: F811
        np.savez(tmp_path / "x.npz", **{"dense/kernels": np.ones((2, 3), "f"), "opt/iter": np.float32(3)})
        before = names_in(tmp_path)
        with pytest.raises(PlanError, match="3 of 4 variables cannot be given a value"):
            import_checkpoint(tmp_path / "x.npz", tmp_path / "out", object_graph_from=object_based)
        ran = ckpt("import", tmp_path / "x.npz", "--object-graph-from", object_based, "-o", tmp_path / "out")
        assert ran.code == 1
        assert "no dense/kernel in what is imported" in ran.out
        assert "--rename dense/kernels=dense/kernel finds it" in ran.out
        assert "float32 in what is imported, int64 in the model" in ran.out
        assert names_in(tmp_path) == before

    def test_a_name_based_checkpoint_has_no_objects(self, tmp_path):
        with pytest.raises(UsageError, match="has no object graph"):
            plan_import(VALID / "perceptron", object_graph_from=VALID / "shards")


def test_options_that_need_each_other(ckpt, tmp_path):
    for words in (
        ["--to-tf2"],
        ["--model", "m.py:f"],
        ["--to-tf2", "--model", "m.py:f", "--object-graph-from", "x"],
    ):
        ran = ckpt("import", VALID / "perceptron", "-o", tmp_path / "out", *words)
        assert ran.code == 2
        assert "hint: " in ran.err


class TestToTf1:
    def test_readable_names_become_names(self, ckpt, tmp_path, object_based):  # noqa: F811
        ran = ckpt("export", object_based, tmp_path / "out", "--to-tf1")
        assert ran.code == 0, ran.err
        with open_checkpoint(tmp_path / "out") as after:
            assert set(after) == {"dense/kernel", "dense/kernel/m", "opt/iter"}
            assert after.roles()["dense/kernel/m"].of == "dense/kernel"
            assert after["opt/iter"].read() == 3

    def test_renames_mean_readable_names_and_slots_follow(self, ckpt, tmp_path, object_based):  # noqa: F811
        ran = ckpt("export", object_based, tmp_path / "out", "--to-tf1", "--rename", "dense=top")
        assert ran.code == 0, ran.err
        assert set(open_checkpoint(tmp_path / "out")) == {"top/kernel", "top/kernel/m", "opt/iter"}

    def test_options_for_other_formats_are_refused(self, ckpt, tmp_path, object_based):  # noqa: F811
        ran = ckpt("export", object_based, tmp_path / "out", "--to-tf1", "--compress", "gzip")
        assert ran.code == 2
        assert "hint: leave --compress" in ran.err


def test_an_existing_output_is_refused_unless_forced(ckpt, tmp_path):
    write_bundle(tmp_path / "out", {"x": np.ones(1)})
    before = contents(tmp_path)
    assert ckpt("import", VALID / "perceptron", "-o", tmp_path / "out").code == 2
    assert contents(tmp_path) == before
    assert ckpt("import", VALID / "perceptron", "-o", tmp_path / "out", "--force").code == 0
    assert len(open_checkpoint(tmp_path / "out")) == 19

"""What an exported file calls its variables, what is not in it, and how the checkpoint comes back."""

# ruff: noqa: F811 - a fixture that is imported

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from tests.conftest import VALID, contents, names_in, write_bundle
from tests.test_conversions import assert_same
from tests.test_inspect import object_based  # noqa: F401 - a fixture
from toolkit import (
    FormatError,
    UsageError,
    export,
    import_checkpoint,
    open_checkpoint,
    plan_average,
    plan_export,
)
from toolkit.formats.bundle.schema import message_class
from toolkit.names import from_path

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
ENDINGS = ("safetensors", "npz", "h5")


def written(path) -> set[str]:
    """The names that other programs find in a file."""
    if str(path).endswith(".npz"):
        with np.load(path) as file:
            return set(file.files) - {"__checkpoint__"}
    if str(path).endswith(".safetensors"):
        size = int.from_bytes(path.read_bytes()[:8], "little")
        return set(json.loads(path.read_bytes()[8 : 8 + size])) - {"__metadata__"}
    found = set()
    with h5py.File(path) as file:
        file.visititems(lambda p, item: (isinstance(item, h5py.Dataset) and found.add(from_path(p))) or None)
    return found


@pytest.mark.parametrize("ending", ENDINGS)
class TestObjectBased:
    def test_variables_go_by_readable_names_and_nothing_else_is_there(
        self,
        ckpt,
        tmp_path,
        object_based,
        ending,
    ):
        out = tmp_path / f"x.{ending}"
        ran = ckpt("export", object_based, out)
        assert ran.code == 0, ran.err
        assert written(out) == {"dense/kernel", "dense/kernel/m", "opt/iter"}
        listed = ckpt("inspect", out).out
        assert "dense/kernel  " in listed
        assert ".ATTRIBUTES" not in listed

    def test_the_file_is_read_as_the_checkpoint_was_and_imported_bit_for_bit(
        self,
        tmp_path,
        object_based,
        ending,
    ):
        export(object_based, tmp_path / f"x.{ending}")
        with open_checkpoint(object_based) as before, open_checkpoint(tmp_path / f"x.{ending}") as after:
            assert_same(before, after)
            assert after.roles() == before.roles()
            assert after.paths() == before.paths()
            assert after.tree_paths() == before.tree_paths()
            assert after["dense/kernel"].read().tobytes() == after["net/w" + VALUE].read().tobytes()
        import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "again")
        import_checkpoint(object_based, tmp_path / "direct")
        for end in (".index", ".data-00000-of-00001"):
            assert (tmp_path / f"again{end}").read_bytes() == (tmp_path / f"direct{end}").read_bytes()

    def test_raw_names_are_keys_and_come_back_too(self, ckpt, tmp_path, object_based, ending):
        out = tmp_path / f"x.{ending}"
        assert ckpt("export", object_based, out, "--raw-names").code == 0
        with open_checkpoint(object_based) as before, open_checkpoint(out) as after:
            assert written(out) == set(before) - {GRAPH}
            assert_same(before, after)
            assert after.paths() == before.paths()

    def test_weights_only_leaves_out_all_else_and_its_import_has_the_objects_of_the_weights(
        self,
        ckpt,
        tmp_path,
        object_based,
        ending,
    ):
        out = tmp_path / f"x.{ending}"
        ran = ckpt("export", object_based, out, "--weights-only")
        assert ran.code == 0, ran.err
        assert written(out) == {"dense/kernel"}
        import_checkpoint(out, tmp_path / "again")
        with open_checkpoint(tmp_path / "again") as after, open_checkpoint(object_based) as before:
            key = "net/w" + VALUE
            assert set(after) == {key, GRAPH}
            assert after.tree_paths() == {key: "net/w"}
            assert after[key].read().tobytes() == before[key].read().tobytes()
        assert written(out) == {"dense/kernel"}

    def test_a_pattern_keeps_the_objects_of_what_it_means(self, tmp_path, object_based, ending):
        export(object_based, tmp_path / f"x.{ending}", "opt/iter")
        with open_checkpoint(tmp_path / f"x.{ending}") as after:
            assert after.tree_paths() == {"opt/iter" + VALUE: "opt/iter"}

    def test_a_rename_leaves_the_objects_out_and_is_what_the_file_says(
        self,
        tmp_path,
        object_based,
        ending,
    ):
        out = tmp_path / f"x.{ending}"
        plan = plan_export(object_based, rename={"dense": "top"})
        assert (plan[GRAPH].action, plan[GRAPH].reason) == ("drop", "its objects have other names")
        plan.export(out)
        with open_checkpoint(out) as after:
            assert written(out) == set(after) == {"top/kernel", "top/kernel/m", "opt/iter"}
            assert after.roles()["top/kernel/m"].of == "top/kernel"

    def test_what_is_exported_is_changed_as_the_checkpoint_itself(self, tmp_path, object_based, ending):
        export(object_based, tmp_path / f"x.{ending}")
        plan_average(tmp_path / f"x.{ending}", object_based, object_based).write(tmp_path / "mean")
        with open_checkpoint(tmp_path / "mean") as after, open_checkpoint(object_based) as before:
            assert after.tree_paths() == before.tree_paths()
        import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "moved", rename={"net": "body"})
        with open_checkpoint(tmp_path / "moved") as after:
            assert after.tree_paths()["body/w" + VALUE] == "body/w"

    def test_an_object_graph_of_a_megabyte_is_kept(self, tmp_path, ending):
        graph = message_class("TrackableObjectGraph")()
        graph.nodes.add()
        for i in range(12_000):
            graph.nodes[0].children.add(node_id=i + 1, local_name=f"a_rather_long_name_of_a_layer_{i}")
            graph.nodes.add()
        graph.nodes[1].attributes.add(name="VARIABLE_VALUE", full_name="w", checkpoint_key="w" + VALUE)
        raw = graph.SerializeToString()
        assert len(raw) > 500_000
        prefix = write_bundle(tmp_path / "m", {"w" + VALUE: np.ones(1), GRAPH: np.array(raw, object)})
        export(prefix, tmp_path / f"x.{ending}")
        assert written(tmp_path / f"x.{ending}") == {"w"}
        with open_checkpoint(tmp_path / f"x.{ending}") as after:
            assert after[GRAPH].load().item() == raw


def test_two_variables_of_one_readable_name_are_both_there(tmp_path):
    """What one variable is called may be another's key: both have keys as names then."""
    graph = message_class("TrackableObjectGraph")()
    root, one, other = (graph.nodes.add() for _ in range(3))
    root.children.add(node_id=1, local_name="a")
    root.children.add(node_id=2, local_name="b")
    one.attributes.add(name="VARIABLE_VALUE", full_name="same", checkpoint_key="a" + VALUE)
    other.attributes.add(name="VARIABLE_VALUE", full_name="same", checkpoint_key="b" + VALUE)
    content = {
        "a" + VALUE: np.ones(1), "b" + VALUE: np.zeros(1), "a": np.full(1, 7.0),
        GRAPH: np.array(graph.SerializeToString(), object),
    }  # fmt: skip
    prefix = write_bundle(tmp_path / "m", content)
    export(prefix, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        assert {n: file[n].tolist() for n in file.files if n != "__checkpoint__"} == {
            "a": [7], "a" + VALUE: [1], "b": [0],
        }  # fmt: skip
    with open_checkpoint(prefix) as before, open_checkpoint(tmp_path / "x.npz") as after:
        assert_same(before, after)


def test_several_safetensors_files_keep_the_objects_once(tmp_path, object_based):
    export(object_based, tmp_path / "x.safetensors", max_shard_size=8)
    shards = sorted(tmp_path.glob("x-*.safetensors"))
    assert len(shards) == 3
    assert sum(b"tf_objects" in shard.read_bytes() for shard in shards) == 1
    with (
        open_checkpoint(object_based) as before,
        open_checkpoint(tmp_path / "x.safetensors.index.json") as after,
    ):
        assert_same(before, after)
        assert after.roles() == before.roles()


@pytest.mark.parametrize("ending", ENDINGS)
def test_name_based_checkpoints_are_exported_as_they_were(tmp_path, ending):
    export(VALID / "perceptron", tmp_path / f"x.{ending}")
    with open_checkpoint(VALID / "perceptron") as before, open_checkpoint(tmp_path / f"x.{ending}") as after:
        assert written(tmp_path / f"x.{ending}") == set(after) == set(before)
        assert after.paths() == {}
        assert after.roles() == before.roles()
    export(VALID / "perceptron", tmp_path / f"w.{ending}", weights_only=True)
    assert written(tmp_path / f"w.{ending}") == {"dense1/kernel", "dense1/bias", "head/kernel", "head/bias"}
    export(VALID / "perceptron", tmp_path / f"p.{ending}", ["head", "**/Adam"], weights_only=True)
    assert written(tmp_path / f"p.{ending}") == {"head/kernel", "head/bias"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_slot_without_its_variable_stays_one(tmp_path, ending):
    export(VALID / "perceptron", tmp_path / f"x.{ending}", ["head/kernel/Adam", "head/bias"])
    with open_checkpoint(tmp_path / f"x.{ending}") as after:
        assert {name: tuple(role) for name, role in after.roles().items()} == {
            "head/kernel/Adam": ("slot", None), "head/bias": ("weight", None),
        }  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_keras_files_go_by_readable_names_and_keep_their_keys_and_roles(tmp_path, ending):
    with h5py.File(tmp_path / "k.weights.h5", "w") as file:
        for place, name in {"layers/dense/vars": "top", "optimizer/vars": "adam"}.items():
            file.create_group(place).attrs["name"] = name
        file["layers/dense/vars/0"] = np.ones((2, 3), "f")
        file["optimizer/vars/0"] = np.int64(7)
        file["optimizer/vars/1"] = np.zeros((2, 3), "f")
    with open_checkpoint(tmp_path / "k.weights.h5") as before:
        roles, called = before.roles(), {key: before.paths().get(key, key) for key in before}
        export(before, tmp_path / f"x.{ending}")
        export(before, tmp_path / f"w.{ending}", weights_only=True)
        assert written(tmp_path / f"x.{ending}") == set(called.values())
        assert written(tmp_path / f"w.{ending}") == {called["layers/dense/vars/0"]}
        with open_checkpoint(tmp_path / f"x.{ending}") as after:
            assert_same(before, after)
            assert after.roles() == roles


def test_the_key_is_in_the_description(tmp_path, object_based):
    export(object_based, tmp_path / "x.safetensors")
    raw = (tmp_path / "x.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["tf_tensors"])["dense/kernel"]["tf_key"] == "net/w" + VALUE
    assert set(json.loads(header["__metadata__"]["tf_objects"])) == {GRAPH}
    export(object_based, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["dense/kernel"].attrs["tf_key"] == "net/w" + VALUE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tf_key", 3),
        ("tf_key", "opt/iter" + VALUE),
        ("tf_role", "slot"),
        ("tf_role", ["king", None]),
        ("tf_role", ["slot", 3]),
        ("tf_objects", "{"),
        ("tf_objects", "[1]"),
        ("tf_objects", '{"a": "?"}'),
        ("tf_objects", json.dumps({GRAPH: ""})),
    ],
)
def test_a_description_that_says_what_cannot_be_is_damage(tmp_path, object_based, field, value):
    export(object_based, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        arrays = dict(file)
    document = json.loads(arrays["__checkpoint__"].tobytes())
    place = document if field == "tf_objects" else document["tensors"]["dense/kernel.npy"]
    place[field] = value
    arrays["__checkpoint__"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(FormatError):
        open_checkpoint(tmp_path / "bad.npz").roles()


@pytest.mark.parametrize("exclude", [GRAPH, "_CHECKPOINTABLE*"])
def test_the_objects_may_be_left_out_by_name(tmp_path, object_based, exclude):
    export(object_based, tmp_path / "x.npz", exclude=exclude)
    with open_checkpoint(tmp_path / "x.npz") as after, open_checkpoint(object_based) as before:
        assert set(after) == set(before) - {GRAPH}
        assert after.tree_paths() == {}
        assert after.paths() == before.paths()
        assert after.roles() == {n: role for n, role in before.roles().items() if n != GRAPH}


def test_weights_alone_may_go_to_a_name_based_checkpoint(ckpt, tmp_path, object_based):
    ran = ckpt("export", object_based, "-o", tmp_path / "x", "--to-tf1", "--weights-only")
    assert ran.code == 0, ran.err
    assert set(open_checkpoint(tmp_path / "x")) == {"dense/kernel"}


def test_raw_names_are_no_names_of_tensorflow_1(ckpt, tmp_path, object_based):
    before = contents(tmp_path)
    for options in (["--to-tf1"], ["--layout", "keras"]):
        ran = ckpt(
            "export",
            object_based,
            tmp_path / ("x.h5" if "keras" in options else "x"),
            "--raw-names",
            *options,
        )
        assert ran.code == 2
        assert "--raw-names: keys are no names" in ran.err
    with pytest.raises(UsageError):
        plan_export(object_based, raw_names=True, to_tf1=True)
    assert contents(tmp_path) == before


class TestOutAndPatterns:
    """`export CKPT OUT [PATTERN]...`, or `export CKPT [PATTERN]... -o OUT`."""

    def test_with_o_all_arguments_are_patterns(self, ckpt, tmp_path):
        ran = ckpt("export", VALID / "perceptron", "head", "dense1/bias", "-o", tmp_path / "new" / "x.npz")
        assert ran.code == 0, ran.err
        assert written(tmp_path / "new" / "x.npz") == {"head/kernel", "head/bias", "dense1/bias"}
        ran = ckpt("export", VALID / "perceptron", tmp_path / "y.npz", "head", "dense1/bias")
        assert ran.code == 0, ran.err
        assert written(tmp_path / "y.npz") == written(tmp_path / "new" / "x.npz")
        ran = ckpt("export", VALID / "perceptron", "-o", tmp_path / "z.npz")
        assert written(tmp_path / "z.npz") >= {"global_step", "head/kernel/Adam"}
        ran = ckpt("export", VALID / "perceptron", "head", "--to-tf1", "-o", tmp_path / "tf1")
        assert set(open_checkpoint(tmp_path / "tf1")) == {"head/kernel", "head/bias"}

    @pytest.mark.parametrize(
        ("arguments", "message", "hint"),
        [
            (["x.npz", "-o", "y.npz"], "two outputs: x.npz and -o y.npz", "give one of them"),
            (["head", "x.h5", "-o", "y.npz"], "two outputs: x.h5 and -o y.npz", "give one of them"),
            (["x.npz", "y.npz"], "two outputs: x.npz and y.npz", "give one of them"),
            (["head", "x.npz"], "head: is not OUT", "-o x.npz"),
            ([], "no OUT", "-o OUT.safetensors"),
            (["head"], "head: cannot tell the format from the name", "end OUT in .h5"),
            (["x.keras"], "a Keras model is not exported", "end OUT in .h5"),
        ],
    )
    def test_no_output_or_two_is_told_with_what_to_type(
        self, ckpt, tmp_path, monkeypatch, arguments, message, hint
    ):
        monkeypatch.chdir(tmp_path)
        ran = ckpt("export", VALID / "perceptron", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert message in ran.err
        assert f"hint: {hint}" in ran.err
        assert names_in(tmp_path) == []

    def test_a_dry_run_needs_no_out_and_makes_no_directory(self, ckpt, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert ckpt("export", VALID / "perceptron", "--dry-run").code == 0
        assert ckpt("export", VALID / "perceptron", "a/b/x.h5", "--dry-run").code == 0
        assert ckpt("export", VALID / "perceptron", "head", "-o", "a/b/x.h5", "--dry-run").code == 0
        assert ckpt("edit", VALID / "perceptron", "--drop", "head", "-o", "a/b/x", "--dry-run").code == 0
        assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("command", "arguments", "out"),
    [
        ("export", [], "x.h5"),
        ("export", [], "x.npz"),
        ("export", ["--max-shard-size", "100"], "x.safetensors"),
        ("export", ["--to-tf1"], "x"),
        ("edit", ["--drop", "head"], "x"),
        ("reinit", ["head"], "x"),
        ("merge", [VALID / "perceptron"], "x"),
        ("average", [VALID / "perceptron"], "x"),
        ("import", [], "x"),
    ],
)
def test_the_directories_above_out_are_made(ckpt, tmp_path, command, arguments, out):
    ran = ckpt(command, VALID / "perceptron", *arguments, "-o", tmp_path / "new" / "deep" / out)
    assert ran.code == 0, ran.err
    assert (tmp_path / "new" / "deep").is_dir()
    index = "x.safetensors.index.json" if out == "x.safetensors" else out
    assert open_checkpoint(tmp_path / "new" / "deep" / index)["dense1/bias"].shape == (3,)


@pytest.mark.parametrize("command", ["edit", "export"])
def test_the_directories_above_out_are_gone_again_if_it_fails(ckpt, tmp_path, command):
    prefix = write_bundle(tmp_path / "m", {"w": np.array([1e39, 1.0])})
    before = names_in(tmp_path)
    out = tmp_path / "new" / "deep" / ("x.h5" if command == "export" else "x")
    assert ckpt(command, prefix, "--cast", "w=float32", "-o", out).code == 2
    assert names_in(tmp_path) == before

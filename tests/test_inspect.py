"""`ckpt inspect`: what is listed, in every form."""

from __future__ import annotations

import csv
import io
import json
import os

import numpy as np
import pytest

from tests.conftest import VALID, write_bundle
from toolkit import inspect, open_checkpoint
from toolkit.formats.bundle.schema import message_class
from toolkit.render.listing import listing
from toolkit.text import shorten
from toolkit.units import count, size


def test_the_listing_of_a_small_network(ckpt, trained):
    ran = ckpt("inspect", trained, "head", "global_step")
    assert ran.code == 0
    assert ran.err == ""
    on_disk = size(sum(os.path.getsize(trained + end) for end in (".index", ".data-00000-of-00001")))
    assert ran.out == (
        f"{trained}: TensorFlow checkpoint (V2), name-based\n"
        "parameters  101 in 5 weights, 404 B\n"
        "dtypes      float32, 1 int64\n"
        "optimizer   Adam; 10 slots, 5 moving averages, 1.2 KiB\n"
        "step        300\n"
        f"files       1 data file and the index, {on_disk} on disk\n"
        "chosen      9 of 23 variables, 25 parameters\n"
        "\n"
        "weights                               dtype    shape   parameters  bytes\n"
        "head/bias                             float32  (5,)             5     20\n"
        "head/kernel                           float32  (4, 5)          20     80\n"
        "\n"
        "slots                                 dtype    shape     elements  bytes\n"
        "head/bias/Adam                        float32  (5,)             5     20\n"
        "head/bias/Adam_1                      float32  (5,)             5     20\n"
        "head/kernel/Adam                      float32  (4, 5)          20     80\n"
        "head/kernel/Adam_1                    float32  (4, 5)          20     80\n"
        "\n"
        "moving averages                       dtype    shape     elements  bytes\n"
        "head/bias/ExponentialMovingAverage    float32  (5,)             5     20\n"
        "head/kernel/ExponentialMovingAverage  float32  (4, 5)          20     80\n"
        "\n"
        "counters                              dtype    shape     elements  bytes\n"
        "global_step                           int64    ()               1      8\n"
        "\n"
        "                 variables  elements  bytes\n"
        "weights                  2        25    100  (100 B)\n"
        "slots                    4        50    200  (200 B)\n"
        "moving averages          2        25    100  (100 B)\n"
        "counters                 1         1      8  (8 B)\n"
        "total                    9       101    408  (408 B)\n"
        "\n"
        "scope          variables  bytes\n"
        "head                   8    400  (400 B)\n"
        "(in no scope)          1      8  (8 B)\n"
    )


def test_bytes_by_scope_at_the_first_depth_that_branches(tmp_path):
    content = {f"model/net/{scope}/w": np.zeros(n, "f") for scope, n in (("a", 1), ("b", 300), ("c", 2))}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        summary = inspect(checkpoint)
        assert list(summary.by_scope.items()) == [
            ("model/net/b", (1, 1200)), ("model/net/c", (1, 8)), ("model/net/a", (1, 4)),
        ]  # fmt: skip
        assert "model/net/b          1  1,200  (1.2 KiB)" in listing(summary)


def test_many_scopes_are_counted(tmp_path):
    content = {f"s{i:02}/w": np.zeros(i + 1, "f") for i in range(20)}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        text = listing(inspect(checkpoint))
    assert text.endswith("and 8 more scopes (--tree shows all)")


def test_sorting(trained):
    with open_checkpoint(trained) as checkpoint:
        by_bytes = [v.nbytes for v in inspect(checkpoint, sort="bytes").variables]
        assert by_bytes == sorted(by_bytes, reverse=True)
        by_order = [v.offset for v in inspect(checkpoint, sort="order").variables]
        assert by_order == sorted(by_order)
        assert by_order != [v.offset for v in inspect(checkpoint).variables]


def test_long_tells_where_bytes_lie_and_whose_a_slot_is(ckpt, trained):
    out = ckpt("inspect", trained, "head/bias/Adam", "--long").out
    with open_checkpoint(trained) as checkpoint:
        variable = checkpoint["head/bias/Adam"]
    row = next(line for line in out.splitlines() if line.startswith("head/bias/Adam"))
    assert row.split()[-4:] == ["0", str(variable.offset), f"{variable.crc32c:08x}", "head/bias"]


def test_json_has_the_keys_of_the_contract(ckpt, trained):
    document = json.loads(ckpt("inspect", trained, "head/bias", "--json").out)
    assert list(document) == ["schema", "format", "path", "metadata", "variables", "totals"]
    assert document["schema"] == "ckpt/inspect/1"
    assert document["format"] == "tensorflow-v2"
    assert document["path"] == trained
    assert document["totals"] == {"num_variables": 4, "num_parameters": 5, "nbytes": 80}
    with open_checkpoint(trained) as checkpoint:
        variable = checkpoint["head/bias/Adam"]
    assert document["variables"][1] == {
        "name": "head/bias/Adam", "dtype": "float32", "shape": [5], "nbytes": 20, "num_elements": 5,
        "role": "slot", "of": "head/bias", "shard": 0, "offset": variable.offset, "crc32c": variable.crc32c,
    }  # fmt: skip
    assert "of" not in document["variables"][0]


def test_json_of_names_that_are_not_utf8_can_be_parsed(ckpt, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w\udcff": np.zeros(1, "f"), "é": np.zeros(1, "f")})
    out = ckpt("inspect", prefix, "--json").out
    assert out.isascii()
    assert [v["name"] for v in json.loads(out)["variables"]] == ["w\udcff", "é"]


def test_csv_is_a_table_without_formulae(ckpt, tmp_path):
    prefix = write_bundle(
        tmp_path / "m", {"=1+1": np.zeros((2, 3), "f"), "a,\"b\"": np.zeros((), "f"), "-x\n": np.zeros(1, "i8")}
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(ckpt("inspect", prefix, "--csv").out)))
    assert [row["name"] for row in rows] == ["'-x\\n", "'=1+1", 'a,"b"']
    assert [row["shape"] for row in rows] == ["1", "2x3", ""]
    assert rows[1] | {"crc32c": ""} == {
        "name": "'=1+1", "dtype": "float32", "shape": "2x3", "nbytes": "24", "num_elements": "6",
        "role": "weight", "of": "", "shard": "0", "offset": "0", "crc32c": "",
    }  # fmt: skip


def test_tree(ckpt, trained):
    assert ckpt("inspect", trained, "head", "conv1", "-x", "**/A*", "-x", "**/E*", "--tree").out == (
        f"{trained}: 4 variables, 65 elements, 260 B\n"
        "├─ conv1/  2 variables, 40 elements, 160 B\n"
        "│  ├─ bias  float32 (4,)  16 B\n"
        "│  └─ kernel  float32 (3, 3, 1, 4)  144 B\n"
        "└─ head/  2 variables, 25 elements, 100 B\n"
        "   ├─ bias  float32 (5,)  20 B\n"
        "   └─ kernel  float32 (4, 5)  80 B\n"
    )


def test_tree_to_a_depth(ckpt, trained):
    out = ckpt("inspect", trained, "--tree", "--depth", 1).out.splitlines()
    assert "├─ conv1/  8 variables, 160 elements, 640 B" in out
    assert not any("kernel" in line for line in out)
    assert len(ckpt("inspect", trained, "--tree", "--depth", 0).out.splitlines()) == 1


def test_a_tree_of_any_depth_needs_no_recursion(ckpt, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"/".join(["a"] * 3000): np.zeros(1, "f")})
    ran = ckpt("inspect", prefix, "--tree")
    lines = ran.out.splitlines()
    assert len(lines) == 102  # deeper ones are counted: a tree grows with the square
    assert lines[-1] == "deeper than 100 levels is counted"


def test_names_are_shortened_to_the_terminal_unless_told_not_to(ckpt, tmp_path, monkeypatch):
    name = "scope/" * 30 + "kernel"
    prefix = write_bundle(tmp_path / "m", {name: np.zeros(1, "f")})
    monkeypatch.setattr("toolkit.cli.output.terminal_width", lambda: 80)
    rows = ckpt("inspect", prefix).out.splitlines()[1:]
    assert max(map(len, rows)) <= 80
    assert any("…" in row and "scope/kernel" in row for row in rows)
    assert name in ckpt("inspect", prefix, "--no-truncate").out


def test_names_cannot_act_on_the_terminal(ckpt, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a\x1b[2J\u202e[red]": np.zeros(1, "f")})
    for option in ([], ["--tree"], ["--csv"], ["--long"]):
        assert "a\\x1b[2J\\u202e[red]" in ckpt("inspect", prefix, *option).out


def test_patterns_from_a_file_and_from_stdin(ckpt, trained, tmp_path, monkeypatch):
    (tmp_path / "patterns").write_text("head/bias\n\nconv1/bias\n")
    expected = ckpt("inspect", trained, "head/bias", "conv1/bias").out
    assert ckpt("inspect", trained, "--select-from", tmp_path / "patterns").out == expected
    monkeypatch.setattr("sys.stdin", io.StringIO("conv1/bias\n"))
    assert ckpt("inspect", trained, "head/bias", "--select-from", "-").out == expected
    assert ckpt("inspect", trained, "--select-from", tmp_path / "none").code == 2


def test_a_note_is_on_stderr_and_quiet_silences_it(ckpt, tmp_path):
    write_bundle(tmp_path / "m", {"w": np.zeros(1, "f")})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/gone/m"\n')
    assert "names /gone/m, which is gone" in ckpt("inspect", tmp_path).err
    assert ckpt("inspect", tmp_path, "-q").err == ""


def test_an_empty_checkpoint_is_listed(ckpt, tmp_path):
    ran = ckpt("inspect", write_bundle(tmp_path / "m", {}))
    assert ran.code == 0
    assert "total          0" in ran.out


@pytest.mark.parametrize("options", [[], ["--long"], ["--tree"], ["--json"], ["--csv"], ["--sort", "bytes"]])
@pytest.mark.parametrize("golden", ["dtypes", "strings", "shards/model", "perceptron"])
def test_every_golden_checkpoint_is_listed_in_every_form(ckpt, golden, options):
    ran = ckpt("inspect", VALID / golden, *options)
    assert (ran.code, ran.err) == (0, "")


def test_numbers_for_people():
    assert [size(n) for n in (0, 1023, 1024, 1536, 5 << 30, 3 << 50)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB", "3072.0 TiB",
    ]  # fmt: skip
    assert count(1, "scope") == "1 scope"
    assert count(20_000, "variable") == "20,000 variables"
    assert shorten(["abcdefghij"], 7) == ["ab…ghij"]
    assert shorten(["short"], 7) == ["short"]


def test_names_are_shortened_so_that_they_can_be_told_apart():
    names = [f"transformer/body/layer_{i}/attention/kernel" for i in range(3)]
    assert shorten(names, 24) == [f"…ayer_{i}/attention/kernel" for i in range(3)]
    names = [f"{side}coder/body/layer/attention/kernel" for side in ("en", "de")]
    assert shorten(names, 20) == ["encoder…ntion/kernel", "decoder…ntion/kernel"]


OBJECT_GRAPH_KEYS = {
    "net/w/.ATTRIBUTES/VARIABLE_VALUE": ("dense/kernel", np.ones((2, 3), "f")),
    "net/w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE": ("dense/kernel/m", np.zeros((2, 3), "f")),
    "opt/iter/.ATTRIBUTES/VARIABLE_VALUE": ("opt/iter", np.array(3)),
}


@pytest.fixture
def object_based(tmp_path):
    """A checkpoint of a network `net` with a variable, and an optimizer that keeps a slot of it."""
    graph = message_class("TrackableObjectGraph")()
    root, net, opt, *values = [graph.nodes.add() for _ in range(6)]
    root.children.add(node_id=1, local_name="net")
    root.children.add(node_id=2, local_name="opt")
    net.children.add(node_id=3, local_name="w")
    net.children.add(node_id=1, local_name="itself")
    opt.children.add(node_id=5, local_name="iter")
    opt.slot_variables.add(original_variable_node_id=3, slot_name="m", slot_variable_node_id=4)
    content = {}
    for node, (key, (full_name, value)) in zip(values, OBJECT_GRAPH_KEYS.items(), strict=True):
        node.attributes.add(name="VARIABLE_VALUE", full_name=full_name, checkpoint_key=key)
        content[key] = value
    content["_CHECKPOINTABLE_OBJECT_GRAPH"] = np.array(graph.SerializeToString(), object)
    return write_bundle(tmp_path / "m", content)


def test_an_object_based_checkpoint_shows_readable_names(ckpt, object_based):
    out = ckpt("inspect", object_based).out
    assert "\ndense/kernel    " in out
    assert "\ndense/kernel/m  " in out
    assert ".ATTRIBUTES" not in out
    long = ckpt("inspect", object_based, "-l").out
    assert "net/w/.ATTRIBUTES/VARIABLE_VALUE" in long
    document = json.loads(ckpt("inspect", object_based, "--json").out)
    by_name = {variable["name"]: variable for variable in document["variables"]}
    slot = by_name["net/w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"]
    assert (slot["path"], slot["role"]) == ("dense/kernel/m", "slot")
    assert slot["of"] == "net/w/.ATTRIBUTES/VARIABLE_VALUE"
    assert by_name["_CHECKPOINTABLE_OBJECT_GRAPH"]["role"] == "metadata"
    assert "path" not in by_name["_CHECKPOINTABLE_OBJECT_GRAPH"]


@pytest.mark.parametrize("pattern", ["dense", "dense/kernel", "net", "**/kernel", "re:^dense/kernel$"])
def test_patterns_mean_both_names(ckpt, object_based, pattern):
    document = json.loads(ckpt("inspect", object_based, pattern, "--json").out)
    assert {v["path"] for v in document["variables"]} == {"dense/kernel", "dense/kernel/m"}


@pytest.mark.parametrize("node", [-1, 6, 2**31 - 1])
def test_an_object_graph_with_bad_numbers_is_one_clear_error(ckpt, tmp_path, node):
    graph = message_class("TrackableObjectGraph")()
    graph.nodes.add().children.add(node_id=node, local_name="x")
    prefix = write_bundle(
        tmp_path / "m", {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(graph.SerializeToString(), object)}
    )
    ran = ckpt("inspect", prefix)
    assert ran.code == 2
    assert "object graph: node 0: refers to a node that does not exist" in ran.err


def test_an_object_graph_of_a_long_chain_needs_no_recursion(tmp_path):
    graph = message_class("TrackableObjectGraph")()
    for i in range(50_000):
        graph.nodes.add().children.add(node_id=i + 1, local_name="x")
    graph.nodes.add().attributes.add(name="VARIABLE_VALUE", checkpoint_key="k")
    prefix = write_bundle(
        tmp_path / "m",
        {"k": np.ones(1, "f"), "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(graph.SerializeToString(), object)},
    )
    with open_checkpoint(prefix) as checkpoint:
        assert checkpoint.paths()["k"].count("/") == 49_999


def test_a_partitioned_variable_has_its_slices_in_json(ckpt, tmp_path):
    from tests.test_slices import GRID, sliced

    document = json.loads(ckpt("inspect", sliced(tmp_path / "m", GRID), "--json").out)
    (variable,) = document["variables"]
    assert (variable["shard"], variable["offset"], variable["crc32c"]) == (None, None, None)
    assert [(s["start"], s["shape"]) for s in variable["slices"]][:2] == [([0, 0], [3, 1]), ([0, 1], [3, 1])]
    assert "4 slices" in ckpt("inspect", tmp_path / "m", "-l").out


def test_the_tree_of_an_object_based_checkpoint_has_readable_names(ckpt, object_based):
    lines = ckpt("inspect", object_based, "--tree").out.splitlines()[1:]
    assert [line.partition("─ ")[2].split("  ")[0] for line in lines] == [
        "_CHECKPOINTABLE_OBJECT_GRAPH", "dense/", "kernel", "m", "opt/", "iter",
    ]  # fmt: skip

"""What `ckpt inspect` looks like on terminals of every width: no line wraps, no two rows look the same."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import VALID, write_bundle
from toolkit import inspect, open_checkpoint, plan_export
from toolkit.metadata import Metadata, Optimizer
from toolkit.names import natural_key
from toolkit.render.listing import listing
from toolkit.render.top import top
from toolkit.render.tree import tree
from toolkit.text import columns, shorten

REAL = Path(__file__).parents[2] / "shared" / "real"
WIDTHS = (60, 80, 120, 200)
GOLDEN = (
    "big_endian",
    "dtypes",
    "objects",
    "partitioned",
    "perceptron",
    "shards",
    "strings",
    "v1/model.ckpt",
)
REAL_ONES = (
    "t2t-transformer", "tf1-mnist-snappy", "tf2-object-two-shards", "tf2-savedmodel", "tf2-savedmodel-bool-snappy",
    "tf2-lookup-table", "v1-magenta", "v1-half-plus-two", "keras2-weights", "keras2-model-float64",
    "keras3-archive", "old-strings",
)  # fmt: skip


def columns_by_unicode(text):
    """Return the columns that a terminal gives `text` (Unicode Standard Annex #11)."""
    marks = ("Mn", "Me", "Cf")
    wide = [
        2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
        if unicodedata.category(c) not in marks
    ]
    return sum(wide)  # fmt: skip


def rows_of(text):
    """Return the rows of a listing that are variables': those under a heading, up to an empty line."""
    rows, inside = [], False
    for line in text.splitlines():
        if not line:
            inside = False
        elif inside and not line.startswith("    "):
            rows.append(line)
        elif line.split()[1:2] == ["dtype"] or line.split()[1:3] == ["averages", "dtype"]:
            inside = True
    return rows


def places_of(text):
    """Return the names on the way to each line of a tree."""
    places, way = [], []
    for line in text.splitlines():
        lead, branch, rest = line.partition("─ ")
        if branch:
            level = len(lead) // 3
            way = [*way[:level], rest.partition("  ")[0]]
            places.append(tuple(way))
    return places


def check(checkpoint):
    """Check every form at every width, of an open checkpoint."""
    summary = inspect(checkpoint)
    assert len(set(rows_of(listing(summary)))) == len(summary.variables)
    for width in WIDTHS:
        shown = {
            "listing": listing(summary, width=width),
            "long": listing(summary, width=width, long=True),
            "tree": tree(summary, width=width),
            "summary": "\n".join(top(summary, width=width)),
        }
        for form, text in shown.items():
            widest = max(text.splitlines(), key=columns_by_unicode)
            assert columns_by_unicode(widest) <= width, (form, width, widest)
        for form in ("listing", "long"):
            rows = rows_of(shown[form])
            assert len(rows) == len(summary.variables), (form, width)
            assert len(set(rows)) == len(rows), (form, width)
        places = places_of(shown["tree"])
        assert len(set(places)) == len(places), width


@pytest.mark.parametrize("golden", GOLDEN)
def test_no_line_of_a_golden_checkpoint_wraps_and_no_two_rows_look_the_same(golden):
    with open_checkpoint(VALID / golden) as checkpoint:
        check(checkpoint)


@pytest.mark.parametrize("ending", [".h5", ".safetensors", ".npz"])
@pytest.mark.parametrize("golden", ["objects", "perceptron"])
def test_nor_of_what_is_exported_of_it(golden, ending, tmp_path):
    out = tmp_path / f"x{ending}"
    with open_checkpoint(VALID / golden) as checkpoint:
        plan_export(checkpoint).export(out)
    with open_checkpoint(out) as exported:
        check(exported)


@pytest.mark.parametrize("name", REAL_ONES)
def test_nor_of_checkpoints_that_other_programs_wrote(name):
    if not (REAL / name).exists():
        pytest.skip("the real checkpoints are not here")
    path = next((p for p in (REAL / name).iterdir() if p.suffix in (".h5", ".keras")), REAL / name)
    with open_checkpoint(path) as checkpoint:
        check(checkpoint)


def keras_file(path):
    """Write weights as Keras 2 did, of layers with long names, and an optimizer's of two of them."""
    with h5py.File(path, "w") as file:
        layers = {f"block_{block}_separable_convolution_with_a_long_name_{layer}": ["kernel", "bias"]
                  for block in range(12) for layer in ("depthwise", "pointwise")}  # fmt: skip
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{weight}:0".encode() for weight in weights]
            for weight in weights:
                group.create_dataset(f"{layer}/{weight}:0", data=np.zeros((3, 3, 8, 16), "f"))
    return path


def test_nor_of_a_keras_file_of_layers_with_long_names(tmp_path):
    with open_checkpoint(keras_file(tmp_path / "m.h5")) as checkpoint:
        check(checkpoint)


def test_nor_of_a_file_of_keras_3(tmp_path):
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        for number in range(12):
            layer = f"layers/functional/layers/separable_convolution_{number}/cell"
            held = file.create_group(f"{layer}/vars")
            held.attrs["name"] = f"a_layer_with_a_name_that_its_author_chose_{number}"
            for weight in range(2):
                held.create_dataset(str(weight), data=np.zeros((3, 3, 8, 16), "f"))
        for number in range(50):
            shape = () if number < 2 else (3, 3, 8, 16)
            file.create_dataset(f"optimizer/vars/{number}", data=np.zeros(shape, "f"))
    with open_checkpoint(path) as checkpoint:
        check(checkpoint)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["層/" * n + "核" for n in range(1, 40)], id="letters that take two columns"),
        pytest.param([f"{'a' * 100}{i}{'b' * 100}" for i in range(50)], id="a number amid long words"),
        pytest.param([f"{'s/' * 90}{i}" for i in range(20)], id="deeper than a screen is wide"),
        pytest.param([f"{x}/{'same/' * 30}w" for x in ("encoder", "decoder")], id="other at the beginning"),
        pytest.param([f"{'x' * i}" for i in range(1, 300, 7)], id="one letter, more and more often"),
        pytest.param(["…", "…/…", "a…b", "a…" + "c" * 90, "a" + "d" * 90 + "b"], id="ellipses of their own"),
        pytest.param(["\x1b[2J" * 30 + str(i) for i in range(3)], id="what is escaped"),
        pytest.param(["e\u0301" * 90 + str(i) for i in range(3)], id="marks that take no column"),
        pytest.param(
            ["w", "w/Adam", "w/Adam_1", "w/Adam/Adam", "w/x/y"], id="variables called as scopes are"
        ),
    ],
)
def test_nor_of_names_that_are_hard_to_show(names, tmp_path):
    content = {name: np.zeros((2, 3), "f") for name in names}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        check(checkpoint)


def test_nor_of_numbers_and_shapes_that_are_long(tmp_path):
    content = {f"scope/variable_{i}": np.zeros((1,) * 60 + (i, 0, 2**31), "f") for i in range(1, 4)}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        check(checkpoint)


def test_nor_below_a_path_that_is_long(tmp_path):
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    folder.mkdir(parents=True)
    with open_checkpoint(write_bundle(folder / "m", {"w": np.zeros(1, "f")})) as checkpoint:
        check(checkpoint)


# ---------------------------------------------------------------------------------------------- what it is


def told(checkpoint, **metadata):
    """Return `checkpoint`, which says this of itself."""

    class Told(type(checkpoint)):
        metadata = property(lambda self: Metadata(**told))

    told = metadata
    checkpoint.__class__ = Told
    return checkpoint


@pytest.fixture
def keras(tmp_path):
    path = keras_file(tmp_path / "m.h5")
    with open_checkpoint(path) as checkpoint:
        yield told(
            checkpoint,
            producer="Keras 3.3.3",
            saved_at="2024-05-01@12:00:00",
            model_class="Functional",
            model_name="model_1",
            optimizers=(Optimizer("Adam", 0.001, None, 1200, {"beta_1": 0.9}),),
        )


def test_the_first_lines_say_what_it_is(keras):
    lines = top(inspect(keras))
    assert lines[0].endswith("m.h5: Keras 3.3.3 model (HDF5), saved 2024-05-01, Functional `model_1`")
    assert lines[1] == f"parameters  {3 * 3 * 8 * 16 * 48:,} in 48 weights, 216.0 KiB"
    assert lines[2:4] == ["dtypes      float32", "optimizer   Adam, learning rate 0.001, step 1,200"]
    assert lines[4].startswith("files       1 file, ")
    assert len(lines) == 5


def test_a_schedule_is_named_in_place_of_a_rate_and_a_wrapped_optimizer_below_its_wrapper(trained):
    with open_checkpoint(trained) as checkpoint:
        optimizers = (Optimizer("LossScaleOptimizer"), Optimizer("AdamW", schedule="CosineDecay", step=7))
        lines = top(inspect(told(checkpoint, optimizers=optimizers)))
    assert "optimizer   LossScaleOptimizer; 10 slots, 5 moving averages, 1.2 KiB" in lines
    assert "            AdamW, learning rate by CosineDecay, step 7" in lines


def test_json_has_what_the_file_says_of_itself(keras):
    from toolkit.render.documents import inspection

    assert inspection(inspect(keras))["metadata"] == {
        "producer": "Keras 3.3.3", "saved_at": "2024-05-01@12:00:00", "model_class": "Functional",
        "model_name": "model_1", "step": None, "optimizers": [
            {"class_name": "Adam", "learning_rate": 0.001, "schedule": None, "step": 1200,
             "settings": {"beta_1": 0.9}}
        ], "attributes": {},
    }  # fmt: skip


def test_what_a_file_says_cannot_act_on_the_terminal_nor_fill_it(trained):
    attributes = {f"key{i}": "\x1b[2J" + "long " * 100 for i in range(30)}
    with open_checkpoint(trained) as checkpoint:
        lines = top(inspect(told(checkpoint, model_name="\x1b[31m", attributes=attributes)), width=80)
    assert "\x1b" not in "\n".join(lines)
    assert max(map(columns, lines)) <= 80
    assert len(lines) < 40
    assert lines[-1].strip() == "and 22 more texts (--json has them)"


def test_what_is_trained_is_told_apart(trained):
    with open_checkpoint(trained) as checkpoint:
        checkpoint.trained = lambda: frozenset({"head/kernel", "head/bias", "head/bias/Adam"})
        assert "parameters  101 in 5 weights, 404 B, 25 trainable" in top(inspect(checkpoint))
        checkpoint.trained = lambda: frozenset(checkpoint)
        assert "parameters  101 in 5 weights, 404 B, all trainable" in top(inspect(checkpoint))


def test_the_top_of_an_object_based_checkpoint_tells_its_kind(ckpt):
    lines = ckpt("inspect", VALID / "objects", "--summary").out.splitlines()
    assert lines[0] == f"{VALID}/objects/model: TensorFlow checkpoint (V2), object-based"
    assert lines[1] == "parameters  17 in 4 weights, 68 B, all trainable"


def test_a_savedmodel_is_called_one(ckpt, tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"")
    prefix = write_bundle(tmp_path / "variables" / "variables", {"w": np.zeros(1, "f")})
    assert ckpt("inspect", tmp_path, "--summary").out.splitlines()[0] == f"{prefix}: SavedModel"


def test_summary_is_the_top_alone(ckpt, trained):
    whole, alone = ckpt("inspect", trained), ckpt("inspect", trained, "--summary")
    assert whole.out.startswith(alone.out + "\n")
    assert "head/kernel" not in alone.out
    document = json.loads(ckpt("inspect", trained, "--summary", "--json").out)
    assert list(document) == ["schema", "format", "path", "metadata", "totals"]
    for option in ("--tree", "--csv", "-l"):
        assert ckpt("inspect", trained, "--summary", option).code == 2


@pytest.mark.parametrize("name", ["global_step", "model/global_step", "step/.ATTRIBUTES/VARIABLE_VALUE"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_the_step_is_read_from_its_counter(ckpt, tmp_path, name, dtype):
    prefix = write_bundle(tmp_path / "m", {name: np.array(99, dtype), "w": np.zeros(2, "f")})
    assert "\nstep        99\n" in ckpt("inspect", prefix).out
    assert json.loads(ckpt("inspect", prefix, "--json").out)["metadata"]["step"] == 99


def test_a_step_that_is_damaged_is_not_shown(ckpt, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"global_step": np.array(99), "w": np.zeros(2, "f")})
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(b"\xff" + data.read_bytes()[1:])
    ran = ckpt("inspect", prefix)
    assert ran.code == 0
    assert "\nstep  " not in ran.out


def test_the_step_of_other_formats_is_read_too(ckpt, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"global_step": np.array(99), "w": np.zeros(2, "f")})
    for ending in (".h5", ".npz", ".safetensors"):
        plan_export(prefix).export(tmp_path / f"x{ending}")
        assert "\nstep        99\n" in ckpt("inspect", tmp_path / f"x{ending}", "--summary").out


def test_dtypes_are_counted_but_for_the_one_that_most_are_of(ckpt, tmp_path):
    mixed = {f"w{i}": np.zeros(8, "f") for i in range(3)} | {"step": np.array(1), "h": np.zeros(2, "f2")}
    prefix = write_bundle(tmp_path / "m", mixed)
    assert "\ndtypes      float32, 1 int64, 1 float16\n" in ckpt("inspect", prefix).out
    prefix = write_bundle(
        tmp_path / "n", {"a": np.zeros(8, "f8"), "b": np.zeros(1, "f"), "c": np.zeros(1, "f")}
    )
    assert "\ndtypes      1 float64, 2 float32\n" in ckpt("inspect", prefix).out


def test_what_is_worth_knowing_comes_last_with_what_to_type(ckpt, tmp_path):
    content = {"w": np.zeros(64, "f"), "w/Adam": np.zeros(64, "f"), "w/Adam_1": np.zeros(64, "f")}
    prefix = write_bundle(tmp_path / "m", content)
    lines = ckpt("inspect", prefix).out.splitlines()
    assert lines[-2:] == [
        "", f"slots are 67% of the bytes: ckpt edit {prefix} -o OUT --strip-optimizer leaves them out",
    ]  # fmt: skip
    with open(f"{prefix}.data-00000-of-00001", "ab") as file:
        file.write(bytes(256))
    assert ckpt("inspect", prefix).out.splitlines()[-1] == (
        f"256 B of the data files are used by no variable: ckpt edit {prefix} -o OUT --data copy leaves them out"
    )
    assert "leaves them out" not in ckpt("inspect", prefix, "w/Adam").out
    assert ckpt("edit", prefix, "-o", tmp_path / "x", "--strip-optimizer", "--data", "copy").code == 0
    assert "leaves them out" not in ckpt("inspect", tmp_path / "x").out  # what was said is true


def test_metrics_count_as_no_parameters(trained):
    from toolkit.roles import Role

    with open_checkpoint(trained) as checkpoint:
        roles = {**checkpoint.roles(), "head/bias": Role("metric")}
        checkpoint.roles = lambda: roles
        summary = inspect(checkpoint)
    assert (summary.num_parameters, summary.about.num_parameters) == (96, 96)
    assert "metrics                   " in listing(summary)


def test_role_shows_only_what_has_it(ckpt, trained):
    slots = json.loads(ckpt("inspect", trained, "--role", "slot", "--json").out)["variables"]
    assert {v["role"] for v in slots} == {"slot"}
    assert len(slots) == 10
    assert [v["name"] for v in json.loads(
        ckpt("inspect", trained, "head", "--role", "moving_average", "--json").out)["variables"]
    ] == ["head/bias/ExponentialMovingAverage", "head/kernel/ExponentialMovingAverage"]  # fmt: skip
    assert "chosen      0 of 23 variables" in ckpt("inspect", trained, "--role", "metric").out
    with (
        open_checkpoint(trained) as checkpoint,
        pytest.raises(ValueError, match="role: expected one of weight"),
    ):
        inspect(checkpoint, role="wieght")


# ------------------------------------------------------------------------------------------- names and order


def test_a_long_common_scope_is_said_once(tmp_path):
    scope = "a_model_with_a_long_name/with_a_layer_of_a_long_name/"
    content = {f"{scope}{part}/kernel": np.zeros((3, 3), "f") for part in ("query", "key", "value")}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        lines = listing(inspect(checkpoint), width=60).splitlines()
    assert f"…/ is {scope}"[:60] in lines
    assert [row.split()[0] for row in rows_of("\n".join(lines))] == [
        "…/key/kernel",
        "…/query/kernel",
        "…/value/kernel",
    ]


def test_names_are_in_natural_order_in_listing_tree_and_scopes(tmp_path):
    numbers = ["", "_1", "_2", "_9", "_10", "_11", "_100"]
    content = {f"conv2d{number}/kernel": np.zeros(2, "f") for number in numbers}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        summary = inspect(checkpoint)
        rows = [row.split()[0] for row in rows_of(listing(summary))]
        assert rows == [f"conv2d{number}/kernel" for number in numbers]
        assert [way[0] for way in places_of(tree(summary)) if len(way) == 1] == [
            f"conv2d{n}/" for n in numbers
        ]
        assert list(summary.by_scope) == [f"conv2d{number}" for number in numbers]  # of the same bytes
        assert [v.name for v in summary.variables] == sorted(content)  # scripts get the order of the index


def test_natural_order_of_hard_names():
    ordered = [
        "1",
        "9",
        "10",
        "a",
        "a/b",
        "a/b/c",
        "a_1",
        "a_1/b",
        "v2",
        "v10",
        "v" + "9" * 9000,
        "x01",
        "x2",
    ]
    assert sorted(set(ordered), key=natural_key) == ordered


def test_every_variable_counts_in_one_scope(tmp_path):
    content = {
        "net/a": np.zeros(1, "f"), "net/a/Adam": np.zeros(1, "f"), "net/a/b": np.zeros(2, "f"),
        "net/c/w": np.zeros(4, "f"), "training/net/c/w/Adam": np.zeros(4, "f"),
        "training/beta1_power": np.array(0.9, "f"), "global_step": np.array(1),
    }  # fmt: skip
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        summary = inspect(checkpoint)
        assert summary.by_scope == {"net/c": (2, 32), "net/a": (3, 16), "": (1, 8), "training": (1, 4)}
        assert sum(nbytes for _, nbytes in summary.by_scope.values()) == summary.totals.nbytes


def test_a_tree_counts_slots_with_their_layer_and_a_variable_called_as_its_scope_once(tmp_path):
    content = {
        "net/a": np.zeros(1, "f"), "net/a/Adam": np.zeros(1, "f"), "net/a/b": np.zeros(2, "f"),
        "training/net/a/Adam_1": np.zeros(1, "f"),
    }  # fmt: skip
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        assert tree(inspect(checkpoint)).splitlines()[1:] == [
            "└─ net/  4 variables, 5 elements, 20 B",
            "   └─ a  float32 (1,)  4 B + 3 variables, 16 B",
            "      ├─ Adam  float32 (1,)  4 B",
            "      ├─ b  float32 (2,)  8 B",
            "      └─ training/net/a/Adam_1  float32 (1,)  4 B",
        ]


def test_a_tree_that_is_deeper_than_the_screen_says_that_it_counts(tmp_path):
    content = {f"{'s/' * 30}{i}": np.zeros(1, "f") for i in range(3)}
    with open_checkpoint(write_bundle(tmp_path / "m", content)) as checkpoint:
        summary = inspect(checkpoint)
        assert tree(summary, width=60).endswith("deeper than 8 levels is counted (--no-truncate shows it)")
        assert "counted" not in tree(summary)
        assert "counted" not in tree(summary, width=60, depth=2)


def test_shortened_names_keep_what_tells_them_apart():
    names = [
        f"transformer/body/{side}/layer_{i}/{block}/multihead_attention/{part}/kernel"
        for side in ("encoder", "decoder") for i in range(12)
        for block in ("self_attention", "encdec_attention") for part in ("q", "k", "v", "output_transform")
    ]  # fmt: skip
    for width in (24, 32, 40, 60):
        shown = shorten(names, width)
        assert len(set(shown)) == len(names)
        assert max(map(len, shown)) <= width
    assert shorten(names, 40)[0] == "…encoder/layer_0/sel…_attention/q/kernel"

"""What was converted restores in TensorFlow: TF1 to TF2, TF2 to TF1, and through every other format."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import reference, tf
from toolkit import UsageError, dtypes, export, import_checkpoint, open_checkpoint
from toolkit.change.export import plan_export

v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own

MODEL = """
import tensorflow as tf

class Net(tf.Module):
    def __init__(self):
        with tf.name_scope("net"):
            self.w = tf.Variable(tf.zeros([2, 3]), name="w")
            self.b = tf.Variable(tf.zeros([3]), name="b")

def module():
    return Net()

def keras():
    return tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="dense")], name="net")

def checkpoint():
    return tf.train.Checkpoint(net=Net())

def nothing():
    return 3
"""


@pytest.fixture
def model_file(tmp_path):
    (tmp_path / "models_to_convert.py").write_text(MODEL)
    return tmp_path / "models_to_convert.py"


def save_tf1(prefix, names) -> dict[str, np.ndarray]:
    """Save variables of these names and shapes as TensorFlow 1 does, and return their values."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype("f") for name, shape in names.items()}
    with v1.Graph().as_default(), v1.Session() as session:
        for name, value in values.items():
            v1.get_variable(name, initializer=value)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(prefix))
    return values


@pytest.mark.parametrize("ending", ["h5", "safetensors", "npz"])
def test_through_every_format_tensorflow_restores_the_same_bits(tmp_path, ending):
    rng = np.random.default_rng(1)
    content = {}
    for dtype in reference.savable(tmp_path):
        raw = rng.integers(0, 256, 12 * dtype.itemsize, np.uint8)
        if dtype.itemsize == 1:
            raw &= 1
        content[f"{dtype}/values"] = (dtype, raw.view(dtype.numpy).reshape(3, 4))
    reference.save(tmp_path / "m", content)
    export(tmp_path / "m", tmp_path / f"x.{ending}")
    import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "again")
    read = reference.restore(tmp_path / "again", content)
    for name, (_, values) in content.items():
        assert reference.same_bits(read[name], values), name


class TestToTf2:
    def test_a_module_restores_a_tf1_checkpoint(self, ckpt, tmp_path, model_file):
        values = save_tf1(tmp_path / "old", {"net/w": (2, 3), "net/b": (3,)})
        ran = ckpt(
            "import", tmp_path / "old", "--to-tf2", "--model", f"{model_file}:module", "-o", tmp_path / "new"
        )
        assert ran.code == 0, ran.err
        namespace: dict = {}
        exec(compile(MODEL, "models", "exec"), namespace)
        module = namespace["module"]()
        tf.train.Checkpoint(module).read(str(tmp_path / "new")).assert_consumed()
        assert module.w.numpy().tobytes() == values["net/w"].tobytes()
        assert module.b.numpy().tobytes() == values["net/b"].tobytes()

    def test_a_keras_model_restores_one_with_renames(self, ckpt, tmp_path, model_file):
        values = save_tf1(tmp_path / "old", {"fc/weights": (2, 3), "fc/biases": (3,)})
        ran = ckpt(
            "import", tmp_path / "old", "--to-tf2", "--model", f"{model_file}:keras", "-o", tmp_path / "new",
            "--rename", "fc/weights=net/dense/kernel", "--rename", "fc/biases=net/dense/bias",
        )  # fmt: skip
        assert ran.code == 0, ran.err + ran.out
        model = tf.keras.Sequential(
            [tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="dense")], name="net"
        )
        tf.train.Checkpoint(model).read(str(tmp_path / "new")).assert_consumed()
        assert model.layers[0].kernel.numpy().tobytes() == values["fc/weights"].tobytes()
        assert model.layers[0].bias.numpy().tobytes() == values["fc/biases"].tobytes()

    def test_what_does_not_fit_is_said(self, ckpt, tmp_path, model_file):
        save_tf1(tmp_path / "old", {"net/w": (2, 3)})
        ran = ckpt("import", tmp_path / "old", "--to-tf2", "--model", f"{model_file}:checkpoint", "--dry-run")
        assert ran.code == 1
        assert "no net/b in what is imported" in ran.out
        ran = ckpt("import", tmp_path / "old", "--to-tf2", "--model", f"{model_file}:nothing", "--dry-run")
        assert ran.code == 2
        assert "returned int, which has no variables to keep" in ran.err


class TestToTf1:
    def test_a_saver_restores_a_keras_models_checkpoint(self, tmp_path):
        model = tf.keras.Sequential(
            [tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="dense")], name="net1"
        )
        path = tf.train.Checkpoint(model).write(str(tmp_path / "new"))
        kernel, bias = (weight.numpy() for weight in model.weights)
        plan_export(path, to_tf1=True).write(tmp_path / "old")
        with v1.Graph().as_default(), v1.Session() as session:
            w = v1.get_variable("net1/dense/kernel", [2, 3])
            b = v1.get_variable("net1/dense/bias", [3])
            v1.train.Saver().restore(session, str(tmp_path / "old"))
            assert session.run(w).tobytes() == kernel.tobytes()
            assert session.run(b).tobytes() == bias.tobytes()

    def test_slots_come_along(self, tmp_path):
        """Of tf.compat.v1's Adam in an object-based checkpoint: the names are TensorFlow 1's."""
        with v1.Graph().as_default(), v1.Session() as session:
            w = v1.get_variable("net/w", [2, 3], use_resource=True)
            optimizer = v1.train.AdamOptimizer(0.1)
            train = optimizer.minimize(tf.reduce_sum(w * w), var_list=[w])
            session.run(v1.global_variables_initializer())
            session.run(train)
            checkpoint = v1.train.Checkpoint(w=w, optimizer=optimizer)
            path = checkpoint.save(str(tmp_path / "new"), session=session)
            expected = dict(
                zip(("net/w", "net/w/Adam", "net/w/Adam_1"),
                    session.run([w, optimizer.get_slot(w, "m"), optimizer.get_slot(w, "v")]), strict=True)
            )  # fmt: skip
        plan_export(path, to_tf1=True).write(tmp_path / "old")
        with open_checkpoint(tmp_path / "old") as after:
            for name, values in expected.items():
                assert after[name].read().tobytes() == values.tobytes()
            assert after.roles()["net/w/Adam_1"].of == "net/w"


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_keras_files_become_checkpoints_that_the_model_restores(tmp_path, ending):
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="dense")], name="net2")
    path = str(tmp_path / f"m{ending}")
    if ending == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    other = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="dense")], name="net2")
    objects = tf.train.Checkpoint(other).write(str(tmp_path / "objects"))
    rename = (
        {}
        if ending == ".h5"
        else {"layers/dense/vars/0": "net2/dense/kernel", "layers/dense/vars/1": "net2/dense/bias"}
    )
    import_checkpoint(path, tmp_path / "out", rename=rename, object_graph_from=objects)
    tf.train.Checkpoint(other).read(str(tmp_path / "out")).assert_consumed()
    assert other.layers[0].kernel.numpy().tobytes() == model.layers[0].kernel.numpy().tobytes()


KERAS_MODEL = """
import tensorflow as tf

def network():
    layers = tf.keras.layers
    return tf.keras.Sequential([
        tf.keras.Input((6, 6, 1)),
        layers.SeparableConv2D(3, 3, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.Reshape((16, 3)),
        layers.GRU(4, name="gru"),
        layers.Dense(2, name="head"),
    ], name="net3")
"""


@pytest.fixture
def trained(tmp_path):
    """A model with random weights, batch statistics among them, and its checkpoint."""
    (tmp_path / "keras_network.py").write_text(KERAS_MODEL)
    namespace: dict = {}
    exec(compile(KERAS_MODEL, "network", "exec"), namespace)
    model = namespace["network"]()
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
    return model, namespace["network"], path


INPUTS = np.random.default_rng(4).normal(size=(5, 6, 6, 1)).astype("f")


def test_keras_loads_the_legacy_layout_by_name_and_predicts_the_same(ckpt, tmp_path, trained):
    model, build, path = trained
    ran = ckpt("export", path, tmp_path / "x.h5", "--layout", "keras")
    assert ran.code == 0, ran.err
    other = build()
    assert not np.allclose(other.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0))
    other.load_weights(str(tmp_path / "x.h5"), by_name=True)
    assert other.predict(INPUTS, verbose=0).tobytes() == model.predict(INPUTS, verbose=0).tobytes()
    with open_checkpoint(tmp_path / "x.h5") as after:
        assert after.describe() == "Keras weights (HDF5)"
        assert set(after) == {weight.path for weight in model.weights}


def test_keras_loads_its_own_layout_and_predicts_the_same(ckpt, tmp_path, trained):
    model, build, path = trained
    spec = f"{tmp_path}/keras_network.py:network"
    out = tmp_path / "x.weights.h5"
    ran = ckpt("export", path, out, "--layout", "keras3", "--model", spec)
    assert ran.code == 0, ran.err
    other = build()
    other.load_weights(str(out))
    assert other.predict(INPUTS, verbose=0).tobytes() == model.predict(INPUTS, verbose=0).tobytes()
    ran = ckpt(
        "export",
        path,
        tmp_path / "y.weights.h5",
        "--layout",
        "keras3",
        "--model",
        spec,
        "--rename",
        "net3/head=top",
    )
    assert ran.code == 1
    assert "net3/head/kernel: not in the checkpoint" in ran.err
    assert not (tmp_path / "y.weights.h5").exists()
    ran = ckpt("export", path, tmp_path / "y.weights.h5")
    assert ran.code == 2
    assert "hint: ckpt export CKPT OUT.weights.h5 --layout keras3 --model" in ran.err


@pytest.mark.parametrize("limit", [40, 100, 1000])
def test_tensorflow_restores_what_is_spread_over_data_files(tmp_path, limit):
    rng = np.random.default_rng(5)
    shapes = {"a": (3,), "big": (7, 5), "c": (2, 2), "cube": (3, 4, 5), "scalar": (), "z": (9,)}
    content = {name: (tf.float32, rng.normal(size=shape).astype("f")) for name, shape in shapes.items()}
    content = {name: (dtypes.BY_NAME["float32"], values) for name, (_, values) in content.items()}
    reference.save(tmp_path / "m", content)
    for force in (False, True):
        import_checkpoint(tmp_path / "m", tmp_path / "out", max_shard_size=limit, force=force)
        read = reference.restore(tmp_path / "out", content)
        for name, (_, values) in content.items():
            assert reference.same_bits(read[name], values)
        files = list(tmp_path.glob("out.data-*"))
        assert max(path.stat().st_size for path in files) <= limit
        with open_checkpoint(tmp_path / "out") as checkpoint:
            assert bool(checkpoint["big"].slices) == (limit < 140)
    with v1.Graph().as_default(), v1.Session() as session:
        variables = {name: v1.get_variable(name, shape) for name, shape in shapes.items()}
        v1.train.Saver(variables).restore(session, str(tmp_path / "out"))
        for name, variable in variables.items():
            assert session.run(variable).tobytes() == content[name][1].tobytes()


def built(*layers):
    """Return a model of these layers with other random weights at each call."""
    model = tf.keras.Sequential([tf.keras.Input((5, 3)), *layers], name="net4")
    rng = np.random.default_rng(len(layers))
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return model


def test_the_directions_of_a_bidirectional_layer_are_not_exchanged(tmp_path):
    layers = tf.keras.layers
    model = built(layers.Bidirectional(layers.LSTM(2), name="both"))
    export(tf.train.Checkpoint(model).write(str(tmp_path / "m")), tmp_path / "x.h5", layout="keras")
    other = tf.keras.Sequential([tf.keras.Input((5, 3)), layers.Bidirectional(layers.LSTM(2), name="both")])
    other.load_weights(str(tmp_path / "x.h5"), by_name=True)
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()


def test_layers_in_a_layer_whose_order_is_not_told_are_refused(tmp_path):
    names = ("net/inner/zz/kernel", "net/inner/aa/kernel", "net/head/kernel")
    np.savez(tmp_path / "x.npz", **{name: np.ones((2, 2)) for name in names})
    with pytest.raises(UsageError, match="layer 'inner': has several layers in it") as refused:
        export(tmp_path / "x.npz", tmp_path / "x.h5", layout="keras")
    assert "--model MODULE:FUNCTION" in refused.value.hint


def test_two_weights_of_one_path_are_refused(ckpt, tmp_path):
    (tmp_path / "twice.py").write_text(
        "import tensorflow as tf\n"
        "def part():\n"
        "    return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(4, name='d')], name='net')\n"
        "def network():\n"
        "    inputs = tf.keras.Input((4,))\n"
        "    a, b = part(), part()\n"
        "    a.name, b.name = 'first', 'second'\n"
        "    return tf.keras.Model(inputs, b(a(inputs)))\n"
    )
    np.savez(tmp_path / "x.npz", **{"net/d/kernel": np.ones((4, 4), "f"), "net/d/bias": np.ones(4, "f")})
    ran = ckpt(
        "export", tmp_path / "x.npz", tmp_path / "x.weights.h5", "--model", f"{tmp_path}/twice.py:network"
    )
    assert ran.code == 2
    assert "is the path of two weights" in ran.err


def test_bfloat16_weights_of_keras_3_are_read(tmp_path):
    layers = [tf.keras.Input((4,)), tf.keras.layers.Dense(2, dtype="bfloat16", name="d")]
    model = tf.keras.Sequential(layers)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    with open_checkpoint(tmp_path / "m.weights.h5") as checkpoint:
        assert checkpoint["layers/dense/vars/0"].dtype == "bfloat16"
        assert checkpoint["layers/dense/vars/0"].read().tobytes() == model.weights[0].numpy().tobytes()


@pytest.mark.parametrize("scaled", [False, True])
def test_slots_and_averages_of_keras_3_are_told(tmp_path, scaled):
    optimizer = tf.keras.optimizers.SGD(momentum=0.9, use_ema=True)
    if scaled:
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    model = built(tf.keras.layers.Dense(2, name="d"))
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 5, 3)), np.ones((4, 5, 2)), verbose=0)
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(tmp_path / "m"))
    with open_checkpoint(path) as checkpoint:
        paths = checkpoint.paths()
        found = {
            (paths[key].rpartition("_")[2], role.kind)
            for key, role in checkpoint.roles().items()
            if role.of is not None and paths[role.of] == "net4/d/kernel"
        }
    assert found == {("momentum", "slot"), ("average", "moving_average")}


def test_slots_of_a_keras_3_file_follow_their_layer(ckpt, tmp_path):
    model = built(tf.keras.layers.Dense(2, name="d"))
    model.compile("adam", "mse")
    model.fit(np.ones((4, 5, 3)), np.ones((4, 5, 2)), verbose=0)
    model.save(tmp_path / "m.keras")
    ran = ckpt("reinit", tmp_path / "m.keras", "d", "-o", tmp_path / "out")
    assert ran.code == 0
    after = open_checkpoint(tmp_path / "out")
    slots = [name for name, role in after.roles().items() if role.kind == "slot"]
    assert len(slots) == 4
    assert not any(after[name].read().any() for name in slots)
    assert after[f"{model.optimizer.name}/iteration"].read() == 1


class TestExportedAndBack:
    """An export for other programs, and the import of it, which TensorFlow restores as it was saved."""

    @pytest.fixture(scope="class")
    def trained(self, tmp_path_factory):
        model, path = build(), tmp_path_factory.mktemp("trained") / "m"
        model.fit(np.ones((8, 3)), np.ones((8, 2)), epochs=2, verbose=0)
        saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(path))
        return saved, model

    @pytest.mark.parametrize("options", [{}, {"raw_names": True}], ids=["readable", "raw"])
    @pytest.mark.parametrize("ending", ["safetensors", "npz", "h5"])
    def test_tensorflow_restores_the_import_of_an_export_bit_for_bit(
        self, tmp_path, trained, ending, options
    ):
        path, model = trained
        export(path, tmp_path / f"x.{ending}", **options)
        import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "back")
        other = build()
        other.optimizer.build(other.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
        checkpoint.restore(str(tmp_path / "back")).assert_consumed()
        for before, after in zip(model.weights, other.weights, strict=True):
            assert before.numpy().tobytes() == after.numpy().tobytes()
        for before, after in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
            assert before.numpy().tobytes() == after.numpy().tobytes()
        reader, again = tf.train.load_checkpoint(path), tf.train.load_checkpoint(str(tmp_path / "back"))
        assert reader.get_variable_to_dtype_map() == again.get_variable_to_dtype_map()
        for name in reader.get_variable_to_shape_map():
            ours, theirs = np.asarray(again.get_tensor(name)), np.asarray(reader.get_tensor(name))
            assert (
                ours.tolist() == theirs.tolist()
                if ours.dtype == object
                else ours.tobytes() == theirs.tobytes()
            )

    @pytest.mark.parametrize("ending", ["safetensors", "npz"])
    def test_weights_alone_are_what_a_loader_of_another_framework_wants(self, tmp_path, trained, ending):
        path, model = trained
        export(path, tmp_path / f"x.{ending}", weights_only=True)
        if ending == "npz":
            with np.load(tmp_path / "x.npz") as file:
                found = {name: file[name] for name in file.files if name != "__checkpoint__"}
        else:
            found = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "x.safetensors")
        assert {name: value.tobytes() for name, value in found.items()} == {
            weight.path: weight.numpy().tobytes() for weight in model.weights
        }
        import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "back")
        other = build()
        status = tf.train.Checkpoint(model=other).restore(str(tmp_path / "back"))
        status.assert_nontrivial_match().expect_partial()
        for before, after in zip(model.weights, other.weights, strict=True):
            assert before.numpy().tobytes() == after.numpy().tobytes()

    def test_after_to_tf1_only_the_models_weights_are_weights(self, tmp_path, trained):
        path, model = trained
        plan_export(path, to_tf1=True).write(tmp_path / "tf1")
        with open_checkpoint(tmp_path / "tf1") as checkpoint:
            roles = checkpoint.roles()
        assert {name for name, role in roles.items() if role.kind == "weight"} == {
            w.path for w in model.weights
        }
        slots = {v.path for v in model.optimizer.variables if len(v.shape)}
        assert {name for name, role in roles.items() if role.kind == "slot"} == slots
        assert all(role.of for role in roles.values() if role.kind == "slot")


def build():
    """Return a small Keras model with a normalization, compiled; the same names each time."""
    tf.keras.backend.clear_session()
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [tf.keras.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)], name="net"
    )
    model.compile(tf.keras.optimizers.RMSprop(momentum=0.9, centered=True), "mse", metrics=["mae"])
    return model

"""Files of weights and checkpoints of Keras models that are not simple: as Keras itself takes them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from toolkit import export, open_checkpoint, plan_export

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")

MODELS = """
import numpy as np
import tensorflow as tf

layers = tf.keras.layers

def nested():
    inputs = tf.keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    x = layers.SpectralNormalization(layers.Dense(3, name="inner"), name="spectral")(x)
    block = [layers.Dense(4, name="z"), layers.BatchNormalization(name="norm"), layers.Dense(4, name="a")]
    x = tf.keras.Sequential(block, name="block")(x)
    x = layers.Bidirectional(layers.GRU(4, name="gru"), name="both")(x)
    counted = layers.Normalization(name="counted")
    counted.adapt(np.ones((3, 8)))
    return tf.keras.Model(inputs, layers.Dropout(0.5)(counted(x)), name="net")

class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.z, self.a = layers.Dense(3, name="z"), layers.Dense(3, name="a")
        self.block = tf.keras.Sequential([layers.Dense(3, name="y"), layers.Dense(3, name="b")], name="block")

    def call(self, x):
        return self.block(self.a(self.z(x)))

def subclassed():
    model = Subclassed()
    model(np.zeros((1, 5, 8), "f"))
    return model

def compiled():
    model = nested()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model

def not_built():
    model = nested()
    model.compile("adam", "mse")
    return model

def frozen():
    norms = [layers.BatchNormalization(name="n1"), layers.BatchNormalization(name="n2")]
    base = tf.keras.Sequential([tf.keras.Input((5, 8)), *norms], name="base")
    base.trainable = False
    return tf.keras.Sequential([tf.keras.Input((5, 8)), base, layers.Dense(2, name="top")], name="net")

class Scaled(layers.Layer):
    def build(self, shape):
        self.ema = self.add_weight(name="ema", shape=(8,), trainable=False)
        self.scale = self.add_weight(name="scale", shape=(8,))

    def call(self, x):
        return x * self.scale + self.ema

def custom():
    return tf.keras.Sequential([tf.keras.Input((5, 8)), Scaled(name="scaled")], name="net")

def other_names():
    return tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3, name="p"), layers.Dense(3, name="q")])

def fewer():
    return tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3, name="p")])
"""
NAMESPACE: dict = {}
exec(compile(MODELS, "models", "exec"), NAMESPACE)
INPUTS = np.random.default_rng(4).normal(size=(2, 5, 8)).astype("f")


def built(name):
    """Return the model as it is built in a new process: its parts get the same names."""
    tf.keras.backend.clear_session()
    return NAMESPACE[name]()


def predicted(model):
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Normalization):
            layer.finalize_state()  # what it computes of its weights, which loading them does not
    return model.predict(INPUTS, verbose=0).tobytes()


def filled(model):
    """Return the model with a value of its own in every variable."""
    rng = np.random.default_rng(5)
    for variable in [*model.weights, *(model.optimizer.variables if model.compiled else [])]:
        variable.assign(rng.uniform(1, 9, variable.shape))
    return model


def bits(variables):
    return [variable.numpy().tobytes() for variable in variables]


@pytest.fixture
def model_file(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    return f"{tmp_path}/models.py"


@pytest.mark.parametrize("by_name", [True, False])
def test_layers_of_layers_are_loaded_in_the_order_of_the_objects(tmp_path, by_name):
    model = filled(built("compiled"))
    path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
    export(path, tmp_path / "x.h5", layout="keras")
    other = built("compiled")
    other.load_weights(str(tmp_path / "x.h5"), by_name=by_name)
    assert bits(other.weights) == bits(model.weights)
    assert predicted(other) == predicted(model)


@pytest.mark.parametrize("build", ["nested", "subclassed", "frozen", "custom"])
def test_what_the_checkpoint_does_not_tell_keras_is_asked(ckpt, tmp_path, model_file, build):
    """Each of these was written in a wrong order before, and loaded without an error."""
    model = filled(built(build))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    ran = ckpt("export", path, tmp_path / "x.h5", "--layout", "keras")
    assert ran.code == 2
    assert "is not told" in ran.err
    assert "hint: ask Keras: --model MODULE:FUNCTION" in ran.err
    spec = f"{model_file}:{build}"
    ran = ckpt("export", path, tmp_path / "x.h5", "--layout", "keras", "--model", spec)
    assert ran.code == 0, ran.err
    for options in ({}, {"by_name": True}):
        other = built(build)
        other.load_weights(str(tmp_path / "x.h5"), **options)
        assert bits(other.weights) == bits(model.weights)


def test_frozen_layers_are_known_by_the_optimizer(tmp_path):
    model = built("frozen")
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    filled(model)
    path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
    export(path, tmp_path / "x.h5", layout="keras")
    other = built("frozen")
    other.load_weights(str(tmp_path / "x.h5"), by_name=True)
    assert bits(other.weights) == bits(model.weights)


def test_layers_have_their_names_whatever_scopes_their_weights_have(tmp_path):
    def build():
        tf.keras.backend.clear_session()
        base = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(4)], name="base")
        return tf.keras.Sequential([tf.keras.Input((4,)), base, tf.keras.layers.Dense(4, name="top")])

    model = filled(build())
    assert {weight.path.split("/")[0] for weight in model.weights} == {"base", model.name}
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    export(path, tmp_path / "x.h5", layout="keras")
    other = build()
    other.load_weights(str(tmp_path / "x.h5"), by_name=True)
    assert bits(other.weights) == bits(model.weights)


def test_the_state_of_an_optimizer_that_is_not_the_checkpoints_is_left_out(ckpt, tmp_path, model_file):
    path = tf.train.Checkpoint(filled(built("nested"))).write(str(tmp_path / "m"))
    tf.keras.backend.clear_session()
    ran = ckpt("export", path, tmp_path / "x.weights.h5", "--model", f"{model_file}:compiled")
    assert ran.code == 0, ran.err
    with open_checkpoint(tmp_path / "x.weights.h5") as written:
        assert not [name for name in written if name.startswith("optimizer")]


class TestListsOfLayers:
    """Keras does not keep plain lists with a model: their weights are in its optimizer alone."""

    @pytest.fixture
    def path(self, tmp_path):
        class Stack(tf.keras.Model):
            def __init__(self):
                super().__init__(name="net")
                self.stack = [tf.keras.layers.Dense(4) for _ in range(3)]
                self.head = tf.keras.layers.Dense(2)

            def call(self, x):
                for layer in self.stack:
                    x = layer(x)
                return self.head(x)

        model = Stack()
        model(np.ones((1, 4), "f"))
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return tf.train.Checkpoint(filled(model)).write(str(tmp_path / "m"))

    def test_their_weights_are_weights(self, path):
        with open_checkpoint(path) as checkpoint:
            roles = checkpoint.roles()
            assert sum(role.kind == "weight" for role in roles.values()) == 8
            assert all(role.of for role in roles.values() if role.kind == "slot")

    def test_they_are_not_left_out_in_silence(self, ckpt, path, tmp_path):
        ran = ckpt("export", path, tmp_path / "x.h5", "--layout", "keras")
        assert ran.code == 2
        assert "is not told" in ran.err


ONE_LAYER = {
    "wrapped": lambda layers: layers.TimeDistributed(layers.Dense(2, name="d"), name="each"),
    "block": lambda layers: tf.keras.Sequential(
        [layers.Dense(2, name="d"), layers.Dense(2, name="c")], name="block"
    ),
    "attention": lambda layers: layers.MultiHeadAttention(2, 4, name="attention"),
    "dense": lambda layers: layers.Dense(2, name="d"),
}


@pytest.mark.parametrize("kind", ONE_LAYER)
@pytest.mark.parametrize("functional", [True, False])
def test_the_scope_of_a_model_is_told_from_that_of_its_only_layer(tmp_path, kind, functional):
    def build():
        tf.keras.backend.clear_session()
        layer = ONE_LAYER[kind](tf.keras.layers)
        inputs = tf.keras.Input((5, 8))
        if functional or kind == "attention":
            arguments = [inputs, inputs] if kind == "attention" else [inputs]
            return tf.keras.Model(inputs, layer(*arguments), name="net")
        return tf.keras.Sequential([inputs, layer], name="net")

    model = filled(build())
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    export(path, tmp_path / "x.h5", layout="keras")
    other = build()
    other.load_weights(str(tmp_path / "x.h5"), by_name=True)
    assert bits(other.weights) == bits(model.weights)


def test_attention_is_loaded_in_its_order_by_names_alone(tmp_path):
    layer = tf.keras.layers.MultiHeadAttention(2, 4, name="attention")
    inputs = tf.keras.Input((5, 8))
    model = filled(tf.keras.Model(inputs, layer(inputs, inputs)))
    np.savez(tmp_path / "x.npz", **{weight.path: weight.numpy() for weight in model.weights})
    export(tmp_path / "x.npz", tmp_path / "x.h5", layout="keras")
    before = bits(model.weights)
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))
    model.load_weights(str(tmp_path / "x.h5"), by_name=True)
    assert bits(model.weights) == before


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_a_keras_file_finds_its_model_without_renames(ckpt, tmp_path, model_file, ending):
    model = filled(built("compiled"))
    path = str(tmp_path / f"m{ending}")
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    tf.keras.backend.clear_session()
    ran = ckpt("import", path, "--to-tf2", "--model", f"{model_file}:compiled", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    other = built("compiled")
    tf.train.Checkpoint(other).read(str(tmp_path / "out")).assert_consumed()
    assert bits(other.weights) == bits(model.weights)
    assert bits(other.optimizer.variables) == bits(model.optimizer.variables)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_an_optimizer_that_is_not_built_gets_its_slots_along_with_its_steps(
    ckpt, tmp_path, model_file, ending
):
    model = filled(built("compiled"))
    (model.save if ending == ".keras" else model.save_weights)(str(tmp_path / f"m{ending}"))
    tf.keras.backend.clear_session()
    out = str(tmp_path / "out")
    ran = ckpt("import", tmp_path / f"m{ending}", "--to-tf2", "--model", f"{model_file}:not_built", "-o", out)
    assert ran.code == 0, ran.err
    other = built("compiled")
    tf.train.Checkpoint(other).read(out).assert_consumed()
    assert bits(other.weights) == bits(model.weights)
    assert bits(other.optimizer.variables) == bits(model.optimizer.variables)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_a_keras_file_finds_a_model_of_other_names_as_load_weights_does(ckpt, tmp_path, model_file, ending):
    layers = [tf.keras.layers.Dense(3, name="dense"), tf.keras.layers.Dense(3, name="dense_1")]
    model = filled(tf.keras.Sequential([tf.keras.Input((4,)), *layers], name="net"))
    path = str(tmp_path / f"m{ending}")
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    ran = ckpt("import", path, "--to-tf2", "--model", f"{model_file}:other_names", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "as Keras loads the file" in ran.out
    other = built("other_names")
    tf.train.Checkpoint(other).read(str(tmp_path / "out")).assert_consumed()
    assert bits(other.weights) == bits(model.weights)


def test_what_keras_refuses_is_said_beside_what_is_missing(ckpt, tmp_path, model_file):
    model = tf.keras.Sequential([tf.keras.Input((4,)), *(tf.keras.layers.Dense(3) for _ in range(2))])
    model.save(tmp_path / "m.h5")
    ran = ckpt("import", tmp_path / "m.h5", "--to-tf2", "--model", f"{model_file}:fewer", "--dry-run")
    assert ran.code == 1
    assert "Keras does not load" in ran.err
    assert "Layer count mismatch" in ran.err
    assert "/p/kernel in what is imported" in ran.out


def test_more_weights_than_a_digit_tells_find_their_places(ckpt, tmp_path):
    source = (
        "import tensorflow as tf\n"
        "def deep():\n"
        "    dense = [tf.keras.layers.Dense(2) for _ in range(60)]\n"
        "    return tf.keras.Sequential([tf.keras.Input((2,)), *dense])\n"
    )
    (tmp_path / "deep.py").write_text(source)
    namespace: dict = {}
    exec(compile(source, "deep", "exec"), namespace)
    model = filled(namespace["deep"]())
    assert len(model.weights) == 120
    model.save_weights(str(tmp_path / "m.weights.h5"))
    ran = ckpt(
        "import", tmp_path / "m.weights.h5", "--to-tf2", "--model", f"{tmp_path}/deep.py:deep",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    other = namespace["deep"]()
    tf.train.Checkpoint(other).read(str(tmp_path / "out")).assert_consumed()
    assert bits(other.weights) == bits(model.weights)


class TestTwoModelsOfOneName:
    @pytest.fixture
    def path(self, tmp_path):
        parts = {}
        for part in ("generator", "discriminator"):
            model = tf.keras.Sequential(
                [tf.keras.Input((4,)), tf.keras.layers.Dense(4, name="d")], name="net"
            )
            optimizer = tf.keras.optimizers.Adam()
            optimizer.build(model.trainable_variables)
            parts |= {part: model, f"{part}_optimizer": optimizer}
        return tf.train.Checkpoint(**parts).write(str(tmp_path / "m"))

    def test_slots_have_their_owners(self, path):
        with open_checkpoint(path) as checkpoint:
            owners = {key: role.of for key, role in checkpoint.roles().items() if role.kind == "slot"}
            assert len(owners) == 8
            for key, owner in owners.items():
                assert owner.split("/")[0] == key.split("/")[0].removesuffix("_optimizer") or (
                    owner.split("/")[0] == key.split("/")[0]
                )

    def test_a_name_that_is_not_unique_is_not_taken(self, path):
        plan = plan_export(path, to_tf1=True)
        reasons = {verdict.reason for verdict in plan.verdicts if verdict.name.startswith("generator/")}
        assert reasons == {"by its place among the objects: its name is not unique"}

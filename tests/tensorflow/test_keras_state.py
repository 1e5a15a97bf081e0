"""Whose the state of Keras's optimizers is: compared with what Keras itself keeps for which variable.

Every weight of a model is filled with a number of its own, and every variable of its optimizer with that of the
weight that Keras keeps it for. What the toolkit says of the saved file must have that number too.
"""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers
from keras import optimizers as kept

import toolkit

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)  # Keras's own

OPTIMIZERS = {
    "SGD": kept.SGD,
    "SGD with momentum": lambda: kept.SGD(momentum=0.9, nesterov=True),
    "Adam": kept.Adam,
    "Adam with averages": lambda: kept.Adam(amsgrad=True, use_ema=True),
    "Adam with gathered gradients": lambda: kept.Adam(gradient_accumulation_steps=2, use_ema=True),
    "Adam with a schedule": lambda: kept.Adam(kept.schedules.CosineDecay(0.1, 100)),
    "AdamW": kept.AdamW,
    "Adamax": kept.Adamax,
    "Nadam": kept.Nadam,
    "Lamb": kept.Lamb,
    "Lion": kept.Lion,
    "Adagrad": lambda: kept.Adagrad(name="mine"),
    "Adadelta": kept.Adadelta,
    "Ftrl": kept.Ftrl,
    "RMSprop": kept.RMSprop,
    "RMSprop with both": lambda: kept.RMSprop(momentum=0.9, centered=True, use_ema=True),
    "Adafactor": kept.Adafactor,
    "Muon": kept.Muon,
    "Muon with averages": lambda: kept.Muon(use_ema=True, exclude_layers=["head"]),
    "ScheduleFreeAdamW": kept.ScheduleFreeAdamW,
    "LossScaleOptimizer": lambda: kept.LossScaleOptimizer(kept.RMSprop(use_ema=True)),
    "MultiOptimizer": lambda: kept.MultiOptimizer(
        kept.OptimizerMap(kept.SGD(momentum=0.9), {".*hidden.*": kept.Adam(), ".*head.*": kept.Adagrad()})
    ),
}


def test_every_optimizer_of_keras_is_tried():
    names = {name for name in dir(kept) if isinstance(getattr(kept, name), type) and name[0].isupper()}
    tried = " ".join(OPTIMIZERS)
    assert not [name for name in names - {"Optimizer", "OptimizerMap"} if name not in tried]


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(4, use_bias=False, name="middle"),
            layers.Dense(4, name="other"),
            layers.Dense(2, name="head"),
        ],
        name="net",
    )


def frozen():
    model = sequential()
    model.get_layer("hidden").trainable = False
    model.get_layer("norm").trainable = False
    return model


def functional():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 8, name="hidden")(inputs)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(x)
    x = layers.TimeDistributed(layers.Dense(8), name="each")(x)
    x = layers.RNN([layers.LSTMCell(8), layers.GRUCell(8)], name="stacked")(
        layers.LayerNormalization(name="norm")(x)
    )
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="net")


def nested():
    inputs, inner = keras.Input((6,)), keras.Input((4,))
    first = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="d"), layers.BatchNormalization()], name="first"
    )
    deep = keras.Sequential([layers.Dense(4, name="d")], name="deep")
    hidden = keras.Sequential([layers.Dense(4, name="d"), deep], name="hidden")
    tail = keras.Model(inner, layers.Dense(4, name="t")(inner), name="tail")
    return keras.Model(inputs, layers.Dense(2, name="head")(tail(hidden(first(inputs)))), name="net")


def nested_frozen():
    model = nested()
    model.get_layer("first").trainable = False
    return model


class Block(layers.Layer):
    """Its parts are not in the order of their names."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.z = layers.Dense(units, name="z")
        self.norm = layers.LayerNormalization()
        self.a = layers.Dense(units + 1)
        self.statistics = layers.BatchNormalization()

    def call(self, x, training=None):
        return self.statistics(self.a(self.norm(self.z(x))), training=training)


class Counted(layers.Layer):
    def build(self, shape):
        self.times = self.add_weight(
            shape=(), dtype="int32", trainable=False, initializer="zeros", name="times"
        )
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.shift = self.add_weight(shape=(shape[-1],), trainable=False, name="shift")

    def call(self, x):
        return x * self.scale + self.shift


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="net")
        self.z = layers.Dense(5, name="z")
        self.block = Block(3, name="hidden")
        self.parts = [
            layers.Dense(7),
            layers.LayerNormalization(),
            layers.Dense(8),
            layers.BatchNormalization(),
        ]
        self.head = layers.Dense(2, name="head")

    def call(self, x, training=None):
        x = self.block(self.z(x), training=training)
        for part in self.parts:
            x = part(x)
        return self.head(x)


def subclassed_frozen():
    model = Subclassed()
    model.block.trainable = False
    model.parts[2].trainable = False
    return model


def with_own_layers():
    stack = [layers.Dense(4, name="hidden"), Counted(), Block(4), Block(6), layers.Dense(2, name="head")]
    stack[2].z.trainable = False
    return keras.Sequential([keras.Input((6,)), *stack], name="net")


class Alike(keras.Model):
    """The file does not tell in which order the first three were given."""

    def __init__(self):
        super().__init__(name="net")
        self.z, self.a, self.m = (layers.Dense(6) for _ in range(3))
        self.head = layers.Dense(2, name="head")

    def call(self, x):
        return self.head(self.m(self.a(self.z(x))))


MODELS = {
    model.__name__: model
    for model in (
        *(sequential, frozen, functional, nested, nested_frozen),
        *(Subclassed, subclassed_frozen, with_own_layers, Alike),
    )
}
OWN = ("Subclassed", "subclassed_frozen", "with_own_layers")
"""Of which the file does not tell what all variables are called."""


def owners(optimizer):
    """Return, by the identity of an optimizer's variable, the path of the weight that it is kept for, and how."""
    inner = (
        [optimizer.inner_optimizer]
        if hasattr(optimizer, "inner_optimizer")
        else getattr(optimizer, "optimizers", [])
    )
    if inner:
        return {key: owner for each in inner for key, owner in owners(each).items()}
    trained = optimizer._trainable_variables
    found = {}
    for attribute, listed in vars(optimizer).items():
        if (
            isinstance(listed, list)
            and len(listed) == len(trained)
            and "variables" not in attribute.removesuffix("_moving_average")
        ):
            found |= {
                id(slot): (weight.path, attribute)
                for slot, weight in zip(listed, trained, strict=True)
                if slot is not None
            }
    averages = getattr(optimizer, "_model_variables_moving_average", [])
    found |= {id(slot): (weight.path, "average") for slot, weight in zip(averages, trained, strict=False)}
    return found


def filled(model, optimizer):
    """Fill a model and an optimizer with numbers; return those of its trained weights, and of the averages."""
    if not model.built:
        model(np.zeros((2, 6)))
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    numbers = {weight.path: number for number, weight in enumerate(model.weights, 1)}
    for weight in model.weights:
        weight.assign(np.full(weight.shape, numbers[weight.path]))
    owned = owners(optimizer)
    averages = set()
    for variable in optimizer.variables:
        path, how = owned.get(id(variable), (None, ""))
        variable.assign(np.full(variable.shape, numbers.get(path, 0)))
        averages |= {numbers[path]} if how == "average" else set()
    return {numbers[weight.path] for weight in model.trainable_weights}, averages


def compare(path, trained):
    """Compare a saved file with the numbers in it; return how many owners are told, and how many are not."""
    with toolkit.open_checkpoint(path) as checkpoint:
        value = {name: float(np.asarray(v.read(), np.float32).flat[0]) for name, v in checkpoint.items()}
        roles, found = checkpoint.roles(), Counter()
        for name in checkpoint.kept_by_optimizers():
            role = roles[name]
            if value[name] == 0:  # a number of the optimizer's own
                assert role.kind == "counter", (name, role)
            elif role.of is None:
                found["open"] += 1
            else:
                assert value[role.of] == value[name], (name, role)
                found["told"] += 1
        told = checkpoint.trained()
        if told is not None:
            assert {value[name] for name in told} == trained
    return found


@pytest.mark.parametrize("kind", MODELS)
def test_every_slot_is_that_of_the_variable_that_keras_keeps_it_for(tmp_path, kind):
    keras.backend.clear_session()
    model = MODELS[kind]()
    for name, make in OPTIMIZERS.items():
        trained, _ = filled(model, make())
        model.save(tmp_path / "m.keras")
        model.save_weights(tmp_path / "m.weights.h5")
        archive, weights = compare(tmp_path / "m.keras", trained), compare(tmp_path / "m.weights.h5", trained)
        if kind == "Alike" or (name == "MultiOptimizer" and kind in OWN):
            continue  # which the file leaves open
        assert not archive["open"], name
        assert archive["told"] or name == "SGD", name
        # without a configuration nothing tells which patterns choose
        assert not weights["open"] or name in ("Muon", "MultiOptimizer"), name


@pytest.mark.parametrize("kind", ["nested_frozen", "subclassed_frozen"])
def test_a_whole_models_h5_names_them(tmp_path, kind):
    keras.backend.clear_session()
    model = MODELS[kind]()
    for name, make in OPTIMIZERS.items():
        if name == "Adafactor":
            continue  # whose state Keras cannot save so
        trained, _ = filled(model, make())
        model.save(tmp_path / "m.h5")
        assert not compare(tmp_path / "m.h5", trained)["open"], name


def test_averages_are_told_from_slots(tmp_path):
    model = sequential()
    trained, averages = filled(model, kept.Adam(use_ema=True))
    model.save(tmp_path / "m.keras")
    with toolkit.open_checkpoint(tmp_path / "m.keras") as checkpoint:
        kinds = Counter(role.kind for role in checkpoint.roles().values())
    assert kinds["moving_average"] == len(averages) == len(trained)


def test_names_are_those_of_the_model(tmp_path):
    for kind in ("sequential", "functional", "nested"):
        keras.backend.clear_session()
        model = MODELS[kind]()
        model.save(tmp_path / "m.keras")
        with toolkit.open_checkpoint(tmp_path / "m.keras") as checkpoint:
            shown = set(checkpoint.paths().values())
        # the name of a model is left out; one made outside has its layers' names without it
        expected = {weight.path.removeprefix("net/") for weight in model.weights}
        assert {name.removeprefix("tail/") for name in shown} == expected


def test_what_reinit_made_of_a_trained_model_keras_loads_again(ckpt, tmp_path):
    """The state that Keras restores has zeros for the head alone."""
    model = sequential()
    model.compile(kept.Adam(0.1), "mse")
    model.fit(np.random.default_rng(1).normal(size=(8, 6)), np.ones((8, 2)), verbose=0)
    model.save(tmp_path / "m.keras")
    assert ckpt("reinit", tmp_path / "m.keras", "head", "-o", tmp_path / "out").code == 0
    after = toolkit.open_checkpoint(tmp_path / "out")
    names = toolkit.open_checkpoint(tmp_path / "m.keras").paths()
    state = [variable.numpy() for variable in model.optimizer.variables]
    for number, (before, variable) in enumerate(zip(state, model.optimizer.variables, strict=True)):
        value = after[names[f"optimizer/vars/{number}"]].read()
        expected = np.zeros_like(before) if "net_head" in variable.path else before
        assert np.array_equal(value, expected), variable.path


def test_an_archive_that_lost_its_optimizer_is_told_all_the_same(tmp_path):
    """Keras 3.15.1 leaves the optimizer out of the second file's configuration."""
    model = sequential()
    trained, _ = filled(model, kept.Nadam())
    model.save(tmp_path / "m.h5")
    model.save(tmp_path / "m.keras")
    assert compare(tmp_path / "m.keras", trained)["open"] == 0
    with toolkit.open_checkpoint(tmp_path / "m.keras") as checkpoint:
        assert checkpoint.metadata.optimizers[0].class_name == "Nadam"


def test_object_based_checkpoints_say_which_optimizer_and_how_far(tmp_path):
    import tensorflow as tf

    model = sequential()
    model.compile(kept.RMSprop(0.25), "mse")
    model.fit(np.zeros((4, 6)), np.zeros((4, 2)), epochs=3, verbose=0)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "m"))
    (told,) = toolkit.open_checkpoint(tmp_path / "m").metadata.optimizers
    assert (told.class_name, told.learning_rate, told.step) == ("RMSprop", 0.25, 3)


def test_metrics_of_an_object_graph_are_no_weights(ckpt, tmp_path):
    import tensorflow as tf

    class Mean(tf.Module):
        def __init__(self):
            super().__init__()
            self.total, self.count = tf.Variable(1.0), tf.Variable(2.0)

    saved_model = tf.Module()
    saved_model.keras_api = tf.Module()  # as SavedModels of Keras 2 have them
    saved_model.keras_api.metrics = [Mean()]
    saved_model.mean, saved_model.w = Mean(), tf.Variable([1.0])
    tf.train.Checkpoint(saved_model).write(str(tmp_path / "m"))
    roles = toolkit.open_checkpoint(tmp_path / "m").roles()
    kinds = Counter(role.kind for role in roles.values())
    assert (kinds["metric"], kinds["weight"]) == (4, 1)
    assert ckpt("edit", tmp_path / "m", "--strip-optimizer", "-o", tmp_path / "out").code == 0
    assert not [
        name for name in toolkit.open_checkpoint(tmp_path / "out") if "total" in name or "count/" in name
    ]

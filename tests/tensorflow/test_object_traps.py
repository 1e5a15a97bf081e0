"""Traps of objects and optimizers, as `docs/traps.md` lists them: what Keras and TensorFlow do, and what happens here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tensorflow import tf
from tests.tensorflow.random_models import OPTIMIZERS, Layer, Optimizer, Spec, build, keras, state, train
from toolkit import CheckpointKeeper, PlanError, open_checkpoint, plan_restore

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
layers = keras.layers
X = np.arange(8, dtype="f").reshape(4, 2) / 8
SMALL = Spec(1, "functional", None, (3,), (Layer("dense", None, 3),), Layer("dense", None, 2), OPTIMIZERS[2])


def bits(variables):
    return [variable.numpy().tobytes() for variable in variables]


def test_trap_25_an_optimizer_that_is_not_built_gets_its_state(tmp_path):
    model = build(SMALL)
    train(model, SMALL, range(2))
    path = CheckpointKeeper(tmp_path).save(model, 2)
    other = build(SMALL)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        other.load_weights(path)
    assert other.optimizer.iterations.numpy() == 0
    plan_restore(path, other).apply(verify=True)
    assert state(other) == state(model)


def test_trap_26_a_second_build_in_one_process_is_the_same_objects(tmp_path):
    model, other = build(SMALL), build(SMALL)
    assert not {w.path for w in model.weights} & {w.path for w in other.weights}
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    plan_restore(path, tf.train.Checkpoint(model=other)).apply(verify=True)
    assert bits(other.weights) == bits(model.weights)


class Traced(keras.Model):
    """Has no `build` of its own: Keras builds it by tracing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(2)

    def call(self, x):
        return self.second(self.first(x))


def test_trap_27_a_model_that_tensorflow_would_break_is_to_be_built_first(tmp_path):
    model = Traced()
    model(X)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    broken = Traced()
    tf.train.Checkpoint(model=broken).read(path).expect_partial()
    broken(X)
    assert len(broken.weights) == 5  # of which one stands twice, and none is restored
    assert bits(broken.weights[1:]) != bits(model.weights)
    other = Traced()
    plan = plan_restore(path, tf.train.Checkpoint(model=other))
    with pytest.raises(PlanError, match="by tracing it, where TensorFlow cannot restore") as raised:
        plan.apply()
    assert raised.value.hint == "build the model first: call it once"
    other(X)
    plan_restore(path, tf.train.Checkpoint(model=other)).apply()
    assert bits(other.weights) == bits(model.weights)


def test_trap_28_optimizers_that_do_not_go_on_when_they_are_restored_late(tmp_path):
    def root(model):
        return tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    spec = replace(SMALL, optimizer=Optimizer("ScheduleFreeAdamW"))
    model, theirs, ours = build(spec), build(spec), build(spec)
    train(model, spec, range(3))
    path = root(model).write(str(tmp_path / "m"))
    root(theirs).read(path).expect_partial()
    theirs.optimizer.build(theirs.trainable_variables)
    momentums = bits(theirs.optimizer._momentums)
    assert momentums != bits(model.optimizer._momentums)
    assert momentums == bits(theirs.trainable_variables)  # which they start with
    with pytest.raises(PlanError, match="ScheduleFreeAdamW .* overwrites it when it is built") as raised:
        plan_restore(path, root(ours)).apply()
    assert raised.value.hint.startswith("build the optimizer first: ")
    ours.optimizer.build(ours.trainable_variables)
    plan_restore(path, root(ours)).apply(verify=True)
    assert state(ours) == state(model)

    spec = replace(SMALL, optimizer=Optimizer("SGD", has_loss_scale=True))
    model, late, built = build(spec), build(spec), build(spec)
    train(model, spec, range(4))
    path = root(model).write(str(tmp_path / "s"))
    for other in (late, built):
        plan = plan_restore(path, root(other))
        assert plan.notes[-1].startswith("a LossScaleOptimizer scales the first loss by its initial scale")
        plan.apply()
    built.optimizer.build(built.trainable_variables)
    for each in (model, late, built):
        train(each, spec, [4])
    assert state(built) == state(model) != state(late)


def test_trap_29_what_keras_does_not_save_the_keeper_does(tmp_path):
    """If Keras mends that, this fails, and `untracked` finds nothing any more."""
    spec = replace(SMALL, optimizer=Optimizer("Nadam", has_loss_scale=True))
    model = build(spec)
    train(model, spec, range(3))
    inner = model.optimizer.inner_optimizer
    product = inner._u_product.numpy()
    assert product != 1
    assert not any(v is inner._u_product for v in model.optimizer.variables)
    path = CheckpointKeeper(tmp_path).save(model, 3)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint["optimizer/untracked/vars/0"].read() == product
        roles = checkpoint.roles()
        assert roles["optimizer/untracked/vars/0"].kind == "counter"
    other = build(spec)
    CheckpointKeeper(tmp_path).restore(other)
    assert other.optimizer.inner_optimizer._u_product.numpy() == product
    model.save_weights(tmp_path / "x.weights.h5")
    plan = plan_restore(tmp_path / "x.weights.h5", build(spec))
    assert any("which Keras does not save within LossScaleOptimizer" in note for note in plan.notes)


def test_trap_30_a_layer_that_is_frozen_by_now_changes_no_others(tmp_path):
    def root(model):
        return tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    spec = Spec(
        1, "functional", None, (3,), (Layer("dense", None, 3), Layer("dense", None, 3)),
        Layer("dense", None, 3), Optimizer("RMSprop", {"momentum": 0.9, "centered": True}),
    )  # fmt: skip
    frozen = replace(spec, parts=(replace(spec.parts[0], trainable=False), spec.parts[1]))
    model = build(spec)
    train(model, spec, range(3))
    path = root(model).write(str(tmp_path / "m"))
    theirs = build(frozen)
    theirs.optimizer.build(theirs.trainable_variables)
    root(theirs).read(path).expect_partial()
    assert bits(theirs.weights) != bits(model.weights)  # the second layer has the values of the first
    kept = [
        name
        for name in ("_velocities", "_momentums", "_average_gradients")
        if hasattr(theirs.optimizer, name)
    ]
    assert len(kept) == 3
    for wrap, is_built in ((root, True), (lambda each: each, True), (lambda each: each, False)):
        ours = build(frozen)
        if is_built:
            ours.optimizer.build(ours.trainable_variables)
        plan_restore(path, wrap(ours)).apply(verify=True)
        assert bits(ours.weights) == bits(model.weights)
        for name in kept:
            assert bits(getattr(ours.optimizer, name)) == bits(getattr(model.optimizer, name)[2:])
    with pytest.raises(PlanError, match="trained other variables than its model does now") as raised:
        plan_restore(path, root(build(frozen))).apply()
    assert raised.value.hint == "build the optimizer first: optimizer.build(model.trainable_variables)"


def test_trap_32_an_optimizer_with_averages_takes_no_momentum_for_one(tmp_path):
    def trained(settings, steps):
        model = keras.Sequential([keras.Input((2,)), *(layers.Dense(2, use_bias=False) for _ in "ab")])
        model.compile(keras.optimizers.Adam(0.1, **settings), "mse", run_eagerly=True)
        for _ in range(steps):
            model.train_on_batch(X, X)
        model.optimizer.build(model.trainable_variables)
        return model, tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    model, saved = trained({}, 2)
    path = saved.write(str(tmp_path / "m"))
    theirs, root = trained({"use_ema": True}, 0)
    root.read(path).expect_partial()
    momentum = bits(model.optimizer._momentums)[0]
    assert bits(theirs.optimizer._model_variables_moving_average)[0] == momentum
    ours, root = trained({"use_ema": True}, 0)
    assert {v.name.rpartition("_")[2] for v in plan_restore(path, root).problems} == {"average"}
    plan_restore(path, root, on_missing="init").apply()
    assert bits(ours.optimizer._momentums) == bits(model.optimizer._momentums)
    assert bits(ours.optimizer._model_variables_moving_average) == bits(model.weights)


def test_trap_33_a_layer_that_is_added_moves_no_weights(tmp_path):
    def network(*names):
        return keras.Sequential([keras.Input((2,)), *(layers.Dense(2, name=name) for name in names)])

    model, theirs, ours = network("a", "b"), network("a", "x", "b"), network("a", "x", "b")
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    tf.train.Checkpoint(model=theirs).read(path).expect_partial()
    assert bits(theirs.get_layer("x").weights) == bits(model.get_layer("b").weights)
    fresh = bits(ours.get_layer("x").weights)
    plan_restore(path, tf.train.Checkpoint(model=ours), on_missing="init").apply()
    assert bits(ours.get_layer("b").weights) == bits(model.get_layer("b").weights)
    assert bits(ours.get_layer("x").weights) == fresh

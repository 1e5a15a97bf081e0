"""What an optimizer with other settings takes of a checkpoint, where Keras numbers slots.

All weights have one shape: the numbers of one optimizer's slots fit those of another, and only names tell.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import tf
from toolkit import PlanError, plan_restore

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
keras = tf.keras
X, Y = np.linspace(0, 1, 16, dtype="f").reshape(4, 4), np.ones((4, 4), "f")
OTHER = "keeps other variables"


def adam(**settings):
    return keras.optimizers.Adam(settings.pop("learning_rate", 0.1), **settings)


def decaying():
    return adam(learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))


def network(optimizer):
    layers = [keras.layers.Dense(4, use_bias=False, name=name) for name in "abc"]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def trained(optimizer):
    model = network(optimizer)
    for _ in range(2):
        model.train_on_batch(X, Y)
    return model


def kept(model) -> dict[str, bytes]:
    """What the optimizer keeps, by what Keras calls it without the names of optimizer and model."""
    model_name = f"{model.name}_"
    return {
        v.path.rpartition("/")[2].removeprefix(model_name): v.numpy().tobytes()
        for v in model.optimizer.variables
    }


def roots(model):
    yield model
    model.optimizer.build(model.trainable_variables)
    yield tf.train.Checkpoint(model=model, optimizer=model.optimizer)


def saved(model, folder) -> str:
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(folder / "m"))


@pytest.mark.parametrize(
    ("before", "now"),
    [(lambda: adam(use_ema=True), adam), (adam, decaying), (lambda: adam(amsgrad=True), adam)],
    ids=["without averages", "with a schedule", "without the greatest"],
)
def test_slots_stay_with_their_variables_when_settings_are_dropped(tmp_path, before, now):
    model = trained(before())
    path = saved(model, tmp_path)
    for root in roots(other := network(now())):
        plan = plan_restore(path, root)
        plan.apply()
        assert kept(other).items() <= kept(model).items()


@pytest.mark.parametrize(
    ("before", "now", "absent"),
    [
        (adam, lambda: adam(use_ema=True), {f"{layer}_kernel_average" for layer in "abc"}),
        (decaying, adam, {"learning_rate"}),
        (lambda: keras.optimizers.SGD(0.1, 0.9), adam, {f"{layer}_kernel_velocity" for layer in "abc"}),
        (
            lambda: keras.optimizers.Adagrad(0.1),
            keras.optimizers.RMSprop,
            {f"{layer}_kernel_velocity" for layer in "abc"},
        ),
    ],
    ids=["with averages", "without a schedule", "of another class", "of another class that keeps as many"],
)
def test_what_the_other_optimizer_did_not_keep_is_a_problem(tmp_path, before, now, absent):
    model = trained(before())
    path = saved(model, tmp_path)
    for root in roots(other := network(now())):
        plan = plan_restore(path, root)
        named = f"{other.name}_"
        assert {v.name.rpartition("/")[2].removeprefix(named) for v in plan.problems} == absent
        assert any(OTHER in note for note in plan.notes)
        plan_restore(path, root, on_missing="init").apply()
        theirs = {name: value for name, value in kept(other).items() if name not in absent}
        assert theirs.items() <= kept(model).items()


def test_averages_that_were_not_kept_start_as_the_weights(tmp_path):
    path = saved(model := trained(adam()), tmp_path)
    other = network(adam(use_ema=True))
    plan_restore(path, other, on_missing="init").apply()
    for layer in "abc":
        weight = model.get_layer(layer).kernel.numpy().tobytes()
        assert kept(other)[f"{layer}_kernel_average"] == weight


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (lambda: adam(use_ema=True), adam),
        (adam, lambda: adam(use_ema=True)),
        (adam, decaying),
        (lambda: keras.optimizers.Adagrad(0.1), keras.optimizers.RMSprop),
        (adam, keras.optimizers.Lion),
    ],
)
def test_what_tensorflow_would_give_to_other_slots_is_not_left_to_it(tmp_path, before, now):
    path = saved(trained(before()), tmp_path)
    other = network(now())
    root = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
    plan = plan_restore(path, root)
    with pytest.raises(PlanError):
        plan.apply()
    assert {v.action for v in plan.problems} == {"defer"}
    assert all("kept other slots" in v.problem and "optimizer.build" in v.hint for v in plan.problems)


@pytest.mark.parametrize("optimizer", [adam, decaying, keras.optimizers.Muon, keras.optimizers.Adafactor])
def test_an_optimizer_of_the_same_settings_is_left_to_tensorflow_without_a_word(tmp_path, optimizer):
    path = saved(model := trained(optimizer()), tmp_path)
    other = network(optimizer())
    plan = plan_restore(path, tf.train.Checkpoint(model=other, optimizer=other.optimizer))
    assert plan.ok
    assert not any(OTHER in note for note in plan.notes)
    plan.apply()
    other.optimizer.build(other.trainable_variables)
    assert kept(other) == kept(model)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("before", "now", "absent"),
    [
        (lambda: adam(use_ema=True), lambda: adam(amsgrad=True), "velocity_hat"),
        (lambda: keras.optimizers.Adagrad(0.1), keras.optimizers.RMSprop, "velocity"),
        (lambda: keras.optimizers.Adamax(0.1), adam, "velocity"),
    ],
    ids=["of other settings", "of another class", "of another class with one slot in common"],
)
def test_a_keras_file_of_another_optimizer_with_as_many_variables_is_a_problem(
    tmp_path, ending, before, now, absent
):
    model = trained(before())
    model.save(path := tmp_path / f"m{ending}")
    plan = plan_restore(path, other := network(now()))
    assert {v.name.rpartition("_kernel_")[2] for v in plan.problems} == {absent}
    assert len(plan.problems) == 3
    plan_restore(path, other, on_missing="init").apply()
    theirs = {name: value for name, value in kept(other).items() if not name.endswith(absent)}
    assert theirs.items() <= kept(model).items()

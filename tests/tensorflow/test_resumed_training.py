"""A training that the keeper saved, and that another process goes on with, comes to the same bits."""

from __future__ import annotations

import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest

from tests.tensorflow import tf
from tests.tensorflow.random_models import (
    OPTIMIZERS,
    Block,
    Layer,
    Optimizer,
    Spec,
    build,
    keras,
    random_spec,
    seeds,
    state,
    train,
)
from toolkit import CheckpointKeeper, MismatchError, PlanError, plan_restore

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")

SMALL = Spec(
    1, "functional", "net", (3,),
    (
        Layer("dense", "a", 3),
        Layer("batch_norm", "norm"),
        Block("block", (Layer("dense", "b", 2), Layer("dense", "frozen", 2, trainable=False))),
    ),
    Layer("dense", "head", 2), OPTIMIZERS[2],
)  # fmt: skip
DROPOUT = replace(SMALL, parts=(*SMALL.parts, Layer("dropout", "drop")))


def resumed(spec, folder, *, is_built=False, has_old_names=False):
    """Train a model, save it, restore another, train both on; return that, the other, and what was restored."""
    if has_old_names:
        keras.backend.clear_session()
    model = build(spec)
    train(model, spec, range(3))
    CheckpointKeeper(folder, sync=False).save(model, 3)
    saved = state(model)
    if has_old_names:
        keras.backend.clear_session()
    other = build(spec)
    if is_built:
        train(other, spec, [9])
    restored = CheckpointKeeper(folder, sync=False).restore(other)
    assert state(other) == saved
    for each in (model, other):
        train(each, spec, range(3, 5))
    return model, other, restored


def test_random_models_train_on_to_the_same_bits(tmp_path):
    """`RANDOM_SEEDS=1000` tries more of them."""
    for seed in seeds(24):
        spec = random_spec(seed, has_names=seed % 3 > 0)
        folder = tmp_path / str(seed)
        model, other, _ = resumed(spec, folder, is_built=seed % 2 > 0, has_old_names=seed % 8 == 0)
        assert state(other) == state(model), seed


def test_random_models_with_their_optimizers_in_a_checkpoint_are_restored_as_by_tensorflow(tmp_path):
    """And they train on to the same bits, unless the plan says that they cannot."""

    def root(model):
        return tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    for seed in seeds(12):
        spec = random_spec(seed, has_names=seed % 3 > 0)
        model, ours, theirs = build(spec), build(spec), build(spec)
        train(model, spec, range(2))
        keeper = CheckpointKeeper(tmp_path / str(seed), sync=False)
        path = keeper.save(root(model), 2)
        if spec.optimizer.kind == "ScheduleFreeAdamW" or seed % 4 == 0:
            for each in (ours, theirs):
                train(each, spec, [9])
        restored = keeper.restore(root(ours))
        root(theirs).read(path).expect_partial()
        for each in (model, ours, theirs):
            train(each, spec, range(2, 4))
        notes = restored.plan.notes
        if any("of which TensorFlow does not know" in note for note in notes):
            continue
        assert without_random_states(ours) == without_random_states(theirs), seed
        if not any("scales the first loss" in note for note in notes):
            assert without_random_states(ours) == without_random_states(model), seed


def test_what_tensorflow_does_not_keep_of_an_optimizer_is_said(tmp_path):
    for optimizer, is_lost in (
        (Optimizer("MultiOptimizer"), True),
        (Optimizer("Nadam", has_loss_scale=True), False),
        (Optimizer("Adafactor"), False),
    ):
        spec = replace(SMALL, optimizer=optimizer)
        model, other = build(spec), build(spec)
        for each in (model, other):
            train(each, spec, range(2))
        path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "m"))
        plan = plan_restore(path, tf.train.Checkpoint(model=other, optimizer=other.optimizer))
        assert any("of which TensorFlow does not know" in note for note in plan.notes) == is_lost
        plan.apply()
        assert (state(other) == state(model)) == (not is_lost)
        if not is_lost:
            alone = build(spec)
            plan_restore(path, alone).apply(verify=True)
            assert state(alone) == state(model)


def without_random_states(model):
    """Return the bits of a model, but those of seed generators: a GRU has one that nothing uses."""
    variables = [v for v in model.variables if not v.path.endswith("seed_generator_state")]
    return [variable.numpy().tobytes() for variable in (*variables, *model.optimizer.variables)]


@pytest.mark.parametrize("number", range(len(OPTIMIZERS)), ids=lambda n: f"{OPTIMIZERS[n].kind}-{n}")
def test_every_optimizer_goes_on_built_or_not(tmp_path, number):
    optimizer = everything = OPTIMIZERS[number]
    if optimizer.kind != "MultiOptimizer":  # which takes none of these
        options = {**optimizer.options, "use_ema": True, "gradient_accumulation_steps": 2}
        everything = replace(optimizer, options=options, has_schedule=True, has_loss_scale=True)
    for is_built, each in ((number % 2 > 0, optimizer), (number % 2 == 0, everything)):
        spec = replace(SMALL, optimizer=each)
        model, other, restored = resumed(spec, tmp_path / str(is_built), is_built=is_built)
        assert state(other) == state(model)
        assert {verdict.action for verdict in restored.plan} == {"restore"}
        assert restored.plan.unused == ()


def test_a_plan_says_that_it_builds_the_optimizer_and_that_happens_when_it_is_carried_out(tmp_path):
    model = build(SMALL)
    train(model, SMALL, range(2))
    path = CheckpointKeeper(tmp_path).save(model, 2)
    other = build(SMALL)
    mine = other.optimizer
    plan = plan_restore(path, other)
    assert (other.optimizer, mine.built, len(mine.variables)) == (mine, False, 2)
    assert plan.notes == ("Adam is built when the plan is carried out, as when it first trains",)
    assert len(plan) == len(state(model))
    plan.apply(verify=True)
    assert (mine.built, state(other)) == (True, state(model))


def test_what_is_chosen_leaves_the_optimizer_unbuilt(tmp_path):
    model = build(SMALL)
    train(model, SMALL, range(2))
    path = CheckpointKeeper(tmp_path).save(model, 2)
    other = build(SMALL)
    optimizer = other.optimizer.name
    plan_restore(path, other, exclude=[f"{optimizer}/**"]).apply()
    assert not other.optimizer.built
    assert [w.numpy().tobytes() for w in other.weights] == [w.numpy().tobytes() for w in model.weights]


class TestCompiledOtherwise:
    def saved(self, spec, folder, steps=2):
        model = build(spec)
        train(model, spec, range(steps))
        return CheckpointKeeper(folder).save(model, steps)

    @pytest.mark.parametrize("is_built", [False, True])
    @pytest.mark.parametrize(
        ("before", "now"),
        [("Adam", "SGD"), ("SGD", "Adam"), ("Adam", "Lion")],
    )
    def test_is_refused_with_what_to_type(self, tmp_path, before, now, is_built):
        self.saved(replace(SMALL, optimizer=Optimizer(before)), tmp_path)
        spec = replace(SMALL, optimizer=Optimizer(now))
        other = build(spec)
        if is_built:
            train(other, spec, [0])
        old = state(other)
        with pytest.raises(
            PlanError, match=r"of an optimizer in the checkpoint, \d+ in the model's"
        ) as raised:
            CheckpointKeeper(tmp_path).restore(other)
        assert state(other) == old
        name = other.optimizer.name
        hint = f"compile the model as it was when it was saved; exclude=['{name}/**'] leaves its optimizer as it is"
        assert raised.value.hint == hint
        restored = CheckpointKeeper(tmp_path).restore(other, exclude=[f"{name}/**"])
        assert "restore" in {verdict.action for verdict in restored.plan}

    def test_not_at_all_gets_the_weights_and_a_note(self, tmp_path):
        path = self.saved(SMALL, tmp_path)
        other = build(replace(SMALL, optimizer=None))
        restored = CheckpointKeeper(tmp_path).restore(other)
        assert restored.plan.notes == (
            "the model is not compiled: what the checkpoint's optimizer keeps is not taken",
        )
        assert len(restored.plan) == len(other.weights)
        assert plan_restore(path, other).ok

    def test_when_it_was_saved_not_at_all_leaves_the_optimizer_as_it_is(self, tmp_path):
        CheckpointKeeper(tmp_path).save(build(replace(SMALL, optimizer=None)), 1)
        other = build(SMALL)
        train(other, SMALL, range(2))
        old = [v.numpy().tobytes() for v in other.optimizer.variables]
        restored = CheckpointKeeper(tmp_path).restore(other)
        (note,) = restored.plan.notes
        assert note == "the checkpoint has no state of an optimizer that is the model's: Adam stays as it is"
        assert [v.numpy().tobytes() for v in other.optimizer.variables] == old

    def test_but_not_trained_yet_starts_from_the_same_bits(self, tmp_path):
        """Of an optimizer that is not built, steps and rate are saved, and nothing else."""
        for spec in (SMALL, replace(SMALL, optimizer=Optimizer("Adam", has_loss_scale=True))):
            folder = tmp_path / str(spec.optimizer.has_loss_scale)
            model = build(spec)
            CheckpointKeeper(folder).save(model, 0)
            other = build(spec)
            restored = CheckpointKeeper(folder).restore(other)
            assert not other.optimizer.built
            assert len(restored.plan) == len(other.weights) + len(other.optimizer.variables)
            for each in (model, other):
                train(each, spec, range(2))
            assert state(other) == state(model)


class TestRandomNumbers:
    def test_of_dropout_go_on(self, tmp_path):
        for number, spec in enumerate((DROPOUT, replace(DROPOUT, kind="subclassed"))):
            model, other, restored = resumed(spec, tmp_path / str(number))
            assert state(other) == state(model)
            assert not any("does not continue" in note for note in restored.plan.notes)

    def test_that_no_checkpoint_has_are_named(self, tmp_path):
        model = build(DROPOUT)
        train(model, DROPOUT, range(2))
        model.save_weights(tmp_path / "x.weights.h5")  # Keras's own file
        path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "m"))
        for source, wrap in (
            (tmp_path / "x.weights.h5", lambda each: each),
            (path, lambda each: each),
            (path, lambda each: tf.train.Checkpoint(model=each, optimizer=each.optimizer)),
        ):
            plan = plan_restore(source, wrap(build(DROPOUT)))
            assert plan.ok
            assert any("does not continue: the random numbers of a seed gen" in note for note in plan.notes)


class TestKerasItself:
    def test_reads_the_keepers_files(self, tmp_path):
        spec = replace(DROPOUT, optimizer=Optimizer("Nadam", has_loss_scale=True))
        model = build(spec)
        train(model, spec, range(2))
        path = CheckpointKeeper(tmp_path).save(model, 2)
        other = build(spec)
        other.optimizer.build(other.trainable_variables)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            other.load_weights(path)
        assert [w.numpy().tobytes() for w in other.weights] == [w.numpy().tobytes() for w in model.weights]
        assert [v.numpy().tobytes() for v in other.optimizer.variables] == [
            v.numpy().tobytes() for v in model.optimizer.variables
        ]

    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    def test_whole_models_have_the_optimizers_state_too(self, tmp_path, ending):
        spec = replace(SMALL, parts=(Layer("dense", "a", 3), Layer("batch_norm", "norm")))
        model = build(spec)
        train(model, spec, range(2))
        path = str(tmp_path / f"whole{ending}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that `.h5` is old
            model.save(path)
        for other in (build(spec), build(spec)):
            plan_restore(path, other).apply(verify=True)
            assert state(other) == state(model)
            train(other, spec, [7])


def test_layers_in_lists_are_restored_with_their_slots(tmp_path):
    """Keras keeps layers in lists; TensorFlow does not."""

    class Listed(keras.Model):
        def __init__(self):
            super().__init__(name="listed")
            self.all = [keras.layers.Dense(3, name="same"), [keras.layers.Dense(2, name="same")]]

        def call(self, x):
            return self.all[1][0](self.all[0](x))

    def make():
        model = Listed()
        model(np.ones((1, 3), "f"))
        model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=True)
        return model

    spec = replace(SMALL, head=replace(SMALL.head, size=2))
    model = make()
    train(model, spec, range(3))
    CheckpointKeeper(tmp_path).save(model, 3)
    other = make()
    CheckpointKeeper(tmp_path).restore(other)
    assert state(other) == state(model)
    for each in (model, other):
        train(each, spec, range(3, 5))
    assert state(other) == state(model)


def test_a_save_that_lost_a_slot_on_the_way_is_not_published(tmp_path, monkeypatch):
    model = build(SMALL)
    train(model, SMALL, range(2))
    write = model.save_weights

    def lossy(path):
        write(path)
        with h5py.File(path, "r+") as file:
            file["optimizer/vars/2"][...] = 0

    monkeypatch.setattr(model, "save_weights", lossy)
    with pytest.raises(MismatchError, match="momentum was not written as it is"):
        CheckpointKeeper(tmp_path).save(model, 2)
    assert not list(tmp_path.glob("*.h5"))


def test_a_model_that_trains_other_variables_by_now_is_refused(tmp_path):
    model = build(SMALL)
    train(model, SMALL, range(2))
    path = CheckpointKeeper(tmp_path).save(model, 2)
    other = build(SMALL)
    plan = plan_restore(path, other)
    other.layers[1].trainable = False
    with pytest.raises(MismatchError, match="trains other variables than when the plan was made"):
        plan.apply()


def test_an_optimizer_that_cannot_be_copied_is_to_be_built_first(tmp_path):
    class Own(keras.optimizers.SGD):
        def __init__(self, scale):
            super().__init__(0.1, momentum=0.9)
            self.scale = scale

    def make():
        model = build(replace(SMALL, optimizer=None))
        model.compile(Own(2), "mse", run_eagerly=True)
        return model

    model = make()
    train(model, SMALL, range(2))
    path = CheckpointKeeper(tmp_path).save(model, 2)
    other = make()
    with pytest.raises(Exception, match="is not built, and cannot be copied") as raised:
        plan_restore(path, other)
    assert raised.value.hint == "build it first: model.optimizer.build(model.trainable_variables)"
    other.optimizer.build(other.trainable_variables)
    plan_restore(path, other).apply(verify=True)
    assert state(other) == state(model)


def test_weights_in_several_files_have_the_optimizers_state_too(tmp_path):
    model = build(SMALL)
    train(model, SMALL, range(2))
    path = tmp_path / "x.weights.json"
    model.save_weights(path, max_shard_size=4e-7)  # of gigabytes
    assert len(list(tmp_path.glob("*.weights.h5"))) > 1
    other = build(SMALL)
    plan_restore(path, other).apply(verify=True)
    assert state(other) == state(model)

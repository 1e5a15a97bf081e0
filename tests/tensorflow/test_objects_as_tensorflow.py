"""Objects are matched as TensorFlow matches them: what `tf.train.Checkpoint.read` restores, a plan restores."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from tests.tensorflow import tf
from tests.tensorflow.random_models import seeds
from tests.tensorflow.random_objects import build, changed, random_tree
from tests.tensorflow.small_models import (
    X,
    Y,
    bits,
    everything,
    keras,
    layers,
    network,
    trained,
    with_optimizer,
)
from toolkit import (
    ModelError,
    Plan,
    bind,
    open_checkpoint,
    plan_restore,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")


def test_random_objects_get_what_tensorflow_gives_them(tmp_path):
    deferred_in = 0
    for seed in seeds(80):
        draw = random.Random(seed)
        tree = random_tree(draw)
        path = build(tree, itertools.count(1000)).root.write(str(tmp_path / str(seed)))
        other = changed(draw, tree)
        theirs, ours = build(other, itertools.count(1)), build(other, itertools.count(1))
        try:
            theirs.root.read(path).expect_partial()
        except (ValueError, tf.errors.OpError):  # of shapes that differ, of a table for a variable
            continue
        try:
            plan = plan_restore(path, ours.root, on_missing="init")
        except ModelError as error:
            assert "has no variables" in str(error)
            assert ours.values() == theirs.values()
            continue
        plan.apply(verify=True)
        assert ours.values() == theirs.values(), seed
        deferred_in += any(verdict.action == "defer" for verdict in plan)
        try:
            theirs.make_late()
        except ValueError as refusal:
            with pytest.raises(ValueError, match="shape"):
                ours.make_late()
            assert "shape" in str(refusal)
            continue
        ours.make_late()
        assert ours.values() == theirs.values(), seed
    assert deferred_in > 10  # the random objects are not too tame


class TestASecondBuild:
    """The same code, run again in one process, gives other names: `sequential_1/dense_2/kernel`."""

    @pytest.fixture
    def saved(self, tmp_path):
        model = trained()
        return model, with_optimizer(model).write(str(tmp_path / "m"))

    def test_is_restored_with_what_its_optimizer_will_ask_for(self, saved):
        model, path = saved
        other = network()
        assert not {w.path for w in other.weights} & {w.path for w in model.weights}
        plan = plan_restore(path, with_optimizer(other))
        assert plan.summary() == "6 restore, 8 defer"
        plan.apply(verify=True)
        assert other.optimizer.iterations.numpy() == 3
        other.optimizer.build(other.trainable_variables)
        assert everything(other) == everything(model)

    def test_says_what_is_restored_later_and_by_whom(self, saved):
        _, path = saved
        other = network()
        plan = plan_restore(path, with_optimizer(other))
        later = [verdict for verdict in plan if verdict.action == "defer"]
        assert [verdict.shape for verdict in later] == [v.shape for v in saved[0].optimizer.variables[2:]]
        assert {verdict.reason for verdict in later} == {f"when Adam {other.optimizer.name} makes it"}
        assert [each["action"] for each in plan.to_dict()["plan"]].count("defer") == 8
        assert str(plan).count("\ndefer ") == 8

    def test_trains_on_as_one_that_tensorflow_restored(self, saved):
        model, path = saved
        ours, theirs = network(), network()
        plan_restore(path, with_optimizer(ours)).apply()
        with_optimizer(theirs).read(path).expect_partial()
        for each in (model, ours, theirs):
            for _ in range(3):
                each.train_on_batch(X, Y)
        assert everything(ours) == everything(theirs) == everything(model)

    def test_of_the_model_alone_is_restored_from_its_place_in_the_checkpoint(self, saved):
        model, path = saved
        other = network()
        plan = plan_restore(path, other)
        assert len(plan) == 14
        assert {verdict.action for verdict in plan} == {"restore"}
        assert plan.notes == ("Adam is built when the plan is carried out, as when it first trains",)
        assert not other.optimizer.built  # a plan changes nothing
        plan.apply(verify=True)
        assert everything(other) == everything(model)

    def test_is_bound_to_a_plan_that_was_written_down(self, saved):
        model, path = saved
        for wrap in (with_optimizer, lambda other: other):
            text = plan_restore(path, wrap(other := network())).to_json()
            assert Plan.from_json(text).to_json() == text
            bind(Plan.from_json(text), wrap(other)).apply(verify=True)
            if not other.optimizer.built:
                other.optimizer.build(other.trainable_variables)
            assert everything(other) == everything(model)


class TestPlacesAndNames:
    def build(self, names, units):
        keras.backend.clear_session()
        parts = [layers.Dense(n, name=name) for name, n in zip(names, units, strict=True)]
        return keras.Sequential([keras.Input((3,)), *parts], name="net")

    def test_places_decide_as_in_tensorflow_and_the_plan_says_where_names_differ(self, tmp_path):
        model = self.build("ab", [3, 3])
        path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
        ours, theirs = self.build("ba", [3, 3]), self.build("ba", [3, 3])
        plan = plan_restore(path, ours)
        plan.apply()
        tf.train.Checkpoint(theirs).read(path).expect_partial()
        assert bits(ours.weights) == bits(theirs.weights) == bits(model.weights)
        (note,) = plan.notes
        assert note.startswith("matched by their places among the objects, as TensorFlow does")
        assert note.endswith(
            "other variables of their names: net/b/kernel, net/b/bias, net/a/kernel and 1 more"
        )

    def test_names_decide_where_tensorflow_refuses(self, tmp_path):
        """A layer was put before the others, so that no place tells anything."""
        model = self.build("ab", [4, 2])
        path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
        other = self.build("sab", [3, 4, 2])
        with pytest.raises(ValueError, match="shape"):
            tf.train.Checkpoint(self.build("sab", [3, 4, 2])).read(path)
        plan = plan_restore(path, other, on_missing="init")
        assert plan.summary() == "2 keep, 4 restore"
        plan.apply()
        assert bits(other.weights[2:]) == bits(model.weights)

    def test_a_rename_goes_before_both(self, tmp_path):
        model = self.build("ab", [3, 3])
        path = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
        other = self.build("xy", [3, 3])
        plan_restore(path, other, rename={"net/a": "net/y", "net/b": "net/x"}).apply()
        assert bits(other.weights) == bits(model.weights[2:] + model.weights[:2])

    def test_of_two_places_none_is_guessed(self, tmp_path):
        def module(value):
            made = tf.Module()
            made.w = tf.Variable([value], name="w")
            return made

        path = tf.train.Checkpoint(a=module(1.0), b=module(2.0)).write(str(tmp_path / "m"))
        assert not plan_restore(path, module(0.0)).ok


def test_attributes_that_keras_2_wrote_are_restored_where_objects_have_them(tmp_path):
    """`iter`, `decay` and the like: an optimizer of Keras 3 has none of them, other objects may."""

    def objects(value):
        optimizer = tf.train.Checkpoint(
            iter=tf.Variable(int(value)), decay=tf.Variable(value), learning_rate=tf.Variable(value)
        )
        model = tf.Module()
        model.w = tf.Variable([value, value])
        return tf.train.Checkpoint(model=model, optimizer=optimizer)

    path = objects(5.0).write(str(tmp_path / "m"))
    ours = objects(0.0)
    plan_restore(path, ours).apply(verify=True)
    assert [v.numpy().max() for v in (ours.model.w, ours.optimizer.iter, ours.optimizer.decay)] == [5, 5, 5]
    model = tf.Module()
    model.w = tf.Variable([0.0, 0.0])
    optimizer = keras.optimizers.Adam()
    ours, theirs = (tf.train.Checkpoint(model=model, optimizer=optimizer) for _ in range(2))
    plan = plan_restore(path, ours, on_missing="init")
    plan.apply()
    assert model.w.numpy().tolist() == [5, 5]
    mine = bits(optimizer.variables)
    theirs.read(path).expect_partial()
    assert bits(optimizer.variables) == mine


REAL = Path(__file__).parents[3] / "shared/real"


@pytest.mark.skipif(not REAL.exists(), reason="the collection of others' checkpoints is not here")
@pytest.mark.parametrize(
    "prefix",
    ["tf2-object-two-shards/ckpt", "tf2-savedmodel/variables/variables"],
    ids=["keras2", "savedmodel"],
)
def test_objects_like_those_of_others_get_what_tensorflow_gives_them(prefix):
    """Objects with the edges that the file has, among them Keras 2's `iter`, `decay` and LossScaleOptimizer."""
    path = str(REAL / prefix)
    with open_checkpoint(path) as checkpoint:
        graph, variables = checkpoint.object_graph(), checkpoint.variables()

    def mirrored():
        made = [_like(node, variables) for node in graph.nodes]
        for node, found in zip(graph.nodes, made, strict=True):
            for child in node.children if isinstance(found, tf.Module) else ():
                found._track_trackable(made[child.node_id], child.local_name, overwrite=True)
        return made

    ours, theirs = mirrored(), mirrored()
    tf.train.Checkpoint(theirs[0]).read(path).expect_partial()
    plan_restore(path, ours[0]).apply(verify=True)
    restored = [v.numpy().tobytes() for v in theirs if isinstance(v, tf.Variable)]
    assert any(any(value) for value in restored)
    assert [v.numpy().tobytes() for v in ours if isinstance(v, tf.Variable)] == restored


def _like(node, variables):
    key = next((value.checkpoint_key for value in node.attributes if value.name == "VARIABLE_VALUE"), None)
    if key not in variables or variables[key].dtype.kind == "string":
        return tf.Module()
    return tf.Variable(np.zeros(variables[key].shape, variables[key].dtype.numpy))

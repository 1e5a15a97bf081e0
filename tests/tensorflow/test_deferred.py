"""What is not made yet is restored when it is made, and what only TensorFlow can restore is left to it."""

from __future__ import annotations

import pytest

from tests.tensorflow import tf
from tests.tensorflow.small_models import (
    X,
    bits,
    keras,
    layers,
    network,
    trained,
    with_optimizer,
)
from toolkit import CheckpointKeeper, ChecksumError, ModelError, PlanError, open_checkpoint, plan_restore
from toolkit.graph import deferred

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")


class TestWhatIsLeftToLater:
    """Respects what the plan does otherwise."""

    @pytest.fixture
    def saved(self, tmp_path):
        model = trained()
        return model, with_optimizer(model).write(str(tmp_path / "m"))

    def test_slots_of_what_starts_afresh_start_afresh(self, saved):
        model, path = saved
        other = network()
        head = other.layers[-1].kernel
        plan = plan_restore(path, with_optimizer(other), reinit=[head.path], seed=1)
        plan.apply()
        fresh = head.numpy().tobytes()
        other.optimizer.build(other.trainable_variables)
        assert head.numpy().tobytes() == fresh != model.layers[-1].kernel.numpy().tobytes()
        for mine, theirs in zip(other.optimizer.variables, model.optimizer.variables, strict=True):
            if head.path.replace("/", "_") in mine.path:
                assert not mine.numpy().any()
            else:
                assert mine.numpy().tobytes() == theirs.numpy().tobytes()
        kept = [verdict for verdict in plan if verdict.action == "keep"]
        assert len(kept) == 2
        assert all("which starts afresh; has the value that it is made with" in v.reason for v in kept)

    def test_the_keeper_does_the_same(self, tmp_path):
        model, other = trained(), network()
        keeper = CheckpointKeeper(tmp_path)
        keeper.save(with_optimizer(model), 3)
        before = bits(other.weights)
        keeper.restore(with_optimizer(other), patterns=["**/*iteration"])
        other.optimizer.build(other.trainable_variables)
        assert bits(other.weights) == before
        assert other.optimizer.iterations.numpy() == 3
        assert not any(v.numpy().any() for v in other.optimizer.variables[2:])

    def test_what_a_larger_layer_cannot_take_is_a_problem_with_what_to_do(self, saved):
        _, path = saved
        other = network(units=5)
        plan = plan_restore(path, with_optimizer(other), on_shape="overlap")
        problems = [verdict for verdict in plan if verdict.problem]
        assert len(problems) == 6
        assert problems[0].problem.endswith("by overlap, which what is not made yet cannot follow")
        assert problems[0].hint.startswith("build the optimizer first: optimizer.build(")
        other.optimizer.build(other.trainable_variables)
        plan_restore(path, with_optimizer(other), on_shape="overlap").apply()

    def test_what_is_trained_meanwhile_is_not_overwritten(self, saved):
        """The optimizer lists the weights that it trains, and would have them restored again."""
        _, path = saved
        other = network()
        plan_restore(path, with_optimizer(other)).apply()
        for weight in other.weights:
            weight.assign(weight + 1)
        changed_to = bits(other.weights)
        other.optimizer.build(other.trainable_variables)
        assert bits(other.weights) == changed_to


class Explicit(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(2)

    def call(self, x):
        return self.second(self.first(x))

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 3))
        self.built = True


def unbuilt():
    return keras.Sequential([layers.Dense(3), layers.Dense(2)])


class TestLaterThings:
    @pytest.mark.parametrize(
        ("make", "wrap"),
        [
            (Explicit, lambda each: each),
            (Explicit, lambda each: tf.train.Checkpoint(model=each)),
            (unbuilt, lambda each: tf.train.Checkpoint(model=each)),
        ],
        ids=["model", "part", "sequential"],
    )
    def test_layers_that_are_not_built_yet(self, tmp_path, make, wrap):
        model = make()
        model(X)
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
        other = make()
        plan = plan_restore(path, wrap(other))
        assert plan.summary() == "4 defer"
        plan.apply()
        other(X)
        assert bits(other.weights) == bits(model.weights)

    def test_a_model_of_which_nothing_is_there_is_to_be_built_first(self, tmp_path):
        """It could stand anywhere in the checkpoint."""
        model = unbuilt()
        model(X)
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
        with pytest.raises(ModelError, match="has no variables"):
            plan_restore(path, unbuilt())

    def test_a_module_that_makes_its_variables_when_it_is_called(self, tmp_path):
        class Lazy(tf.Module):
            def __call__(self, x):
                if not hasattr(self, "w"):
                    self.w = tf.Variable(tf.zeros([x.shape[-1]]), name="w")
                return x * self.w

        lazy = Lazy()
        lazy(X)
        lazy.w.assign([5.0, 6.0])
        path = tf.train.Checkpoint(lazy=lazy, step=tf.Variable(7)).write(str(tmp_path / "m"))
        other = Lazy()
        root = tf.train.Checkpoint(lazy=other, step=tf.Variable(0))
        plan = plan_restore(path, root)
        assert plan["w"].action == "defer"
        plan.apply()
        other(X)
        assert other.w.numpy().tolist() == [5, 6]
        assert root.step.numpy() == 7

    def test_slots_of_an_optimizer_of_tensorflow_1(self, tmp_path):
        def build():
            module = tf.Module()
            module.w = tf.Variable([1.0, 2.0], name="w")
            optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
            return tf.train.Checkpoint(module=module, optimizer=optimizer)

        def step(root):
            root.optimizer.minimize(lambda: tf.reduce_sum(root.module.w**2))

        root, ours, theirs = build(), build(), build()
        step(root)
        path = root.write(str(tmp_path / "m"))
        plan = plan_restore(path, ours)
        assert [v.action for v in plan] == ["restore", "defer", "defer", "defer", "defer"]
        plan.apply()
        theirs.read(path).expect_partial()
        for each in (root, ours, theirs):
            step(each)
        assert root.module.w.numpy().tobytes() == ours.module.w.numpy().tobytes()
        assert ours.module.w.numpy().tobytes() == theirs.module.w.numpy().tobytes()
        built = plan_restore(path, ours)  # now that they are there, they are variables like any
        assert [v.action for v in built] == ["restore"] * 5
        built.apply(verify=True)

    def test_tables_and_iterators_go_on(self, tmp_path):
        def build():
            table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
            return tf.train.Checkpoint(
                table=table, data=iter(tf.data.Dataset.range(9)), step=tf.Variable(0, name="step")
            )

        root = build()
        root.table.insert(["a"], [5])
        next(root.data), next(root.data)
        path = root.write(str(tmp_path / "m"))
        other = build()
        plan = plan_restore(path, other)
        assert {verdict.name for verdict in plan} == {
            "step", "table/table-keys", "table/table-values", "data/ITERATOR_STATE",
        }  # fmt: skip
        plan.apply(verify=True)
        assert other.table.lookup(tf.constant(["a"])).numpy() == 5
        assert next(other.data).numpy() == 2
        kept = build()
        plan_restore(path, kept, exclude=["table/**"]).apply()
        assert kept.table.lookup(tf.constant(["a"])).numpy() == -1
        assert next(kept.data).numpy() == 2
        with pytest.raises(PlanError, match="TensorFlow alone can fill it"):
            plan_restore(path, build(), reinit=["data/**"]).apply()

    def test_the_counter_of_saves_goes_on(self, tmp_path):
        def build():
            return tf.train.Checkpoint(w=tf.Variable([1.0], name="w"))

        root = build()
        root.save(str(tmp_path / "m"))
        path = root.save(str(tmp_path / "m"))
        other = build()
        plan_restore(path, other).apply()
        assert other.save(str(tmp_path / "n")).endswith("n-3")


def test_the_private_names_of_tensorflow_exist():
    assert callable(deferred.tf_checkpoint._CheckpointRestoreCoordinator)
    assert callable(deferred.tf_restore.CheckpointPosition)
    assert callable(deferred.tf_checkpoint.graph_view_lib.ObjectGraphView)
    assert callable(deferred.tf_checkpoint.trackable_object_graph_pb2.TrackableObjectGraph)
    assert issubclass(tf.__internal__.tracking.TrackableDataStructure, object)
    assert tf.__internal__.tracking.saveable_objects_from_trackable(tf.Module()) == {}


def test_a_checkpoint_that_is_damaged_is_said_to_be_by_its_file(tmp_path):
    model = trained()
    path = with_optimizer(model).write(str(tmp_path / "m"))
    with open_checkpoint(path) as checkpoint:
        slot = next(v for n, v in checkpoint.variables().items() if n.startswith("optimizer/_variables/2/"))
        _, offset, _ = slot.place
    data = tmp_path / "m.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[offset] ^= 1
    data.write_bytes(content)
    other = network()
    with pytest.raises(ChecksumError):
        plan_restore(path, with_optimizer(other)).apply()

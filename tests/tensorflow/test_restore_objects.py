"""Plans over what lives: Keras models, `tf.Module`, `tf.train.Checkpoint`."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.conftest import save
from toolkit import (
    MismatchError,
    ModelError,
    Plan,
    PlanError,
    UsageError,
    VariableNotFoundError,
    bind,
    open_checkpoint,
    plan_export,
    plan_restore,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
v1 = tf.compat.v1
layers = tf.keras.layers


def network(name="net", hidden=3, units=2):
    tf.keras.backend.clear_session()
    return tf.keras.Sequential(
        [tf.keras.Input((4,)), layers.Dense(hidden, name="dense"), layers.Dense(units, name="head")],
        name=name,
    )


def trained(model, steps=2):
    model.compile(tf.keras.optimizers.Adam(0.1), "mse")
    x = np.random.default_rng(1).normal(size=(8, 4)).astype("f")
    model.fit(x, np.ones((8, model.output_shape[-1])), epochs=steps, verbose=0, shuffle=False)
    return model


def bits(variables):
    return [variable.numpy().tobytes() for variable in variables]


class Module(tf.Module):
    def __init__(self, value=0.0):
        self.w = tf.Variable(tf.fill([2, 3], value), name="w")
        self.inner = tf.Module()
        self.inner.b = tf.Variable([value], name="b")


class TestKeras:
    @pytest.fixture
    def saved(self, tmp_path):
        model = trained(network())
        return model, tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "m"))

    def test_a_model_is_restored_by_the_paths_of_its_weights(self, saved):
        model, path = saved
        other = network()
        plan = plan_restore(path, other)
        assert [verdict.name for verdict in plan.verdicts] == [weight.path for weight in other.weights]
        plan.apply(verify=True)
        assert bits(other.weights) == bits(model.weights)

    def test_from_a_tf1_checkpoint(self, tmp_path):
        values = save(tmp_path / "old", lambda: [
            v1.get_variable("fc/weights", [4, 3]), v1.get_variable("fc/biases", [3]),
            v1.get_variable("logits/weights", [3, 2]), v1.get_variable("logits/biases", [2]),
        ])  # fmt: skip
        model = network()
        rename = ["fc=net/dense", "logits=net/head", r"re:/weights$=/kernel", r"re:/biases$=/bias"]
        plan_restore(tmp_path / "old", model, rename=rename).apply(verify=True)
        assert bits(model.weights) == [value.tobytes() for value in values.values()]

    @pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
    def test_from_keras_own_files(self, saved, tmp_path, ending):
        model, _ = saved
        path = str(tmp_path / f"k{ending}")
        (model.save_weights if ending == ".weights.h5" else model.save)(path)
        other = network("other")
        before = bits(other.weights)
        plan = plan_restore(path, other)
        assert bits(other.weights) == before  # a plan changes nothing
        plan.apply(verify=True)
        assert bits(other.weights) == bits(model.weights)

    def test_a_new_head_keeps_what_it_was_built_with(self, saved):
        model, path = saved
        other = network(units=5)
        head = bits(other.layers[-1].weights)
        plan = plan_restore(path, other, on_shape="init")
        assert (plan["net/head/kernel"].action, plan["net/dense/kernel"].action) == ("keep", "restore")
        assert plan["net/head/kernel"].reason.endswith("keeps the value that it was built with")
        plan.apply()
        assert bits(other.layers[-1].weights) == head
        assert bits(other.layers[0].weights) == bits(model.layers[0].weights)

    def test_overlap_keeps_the_rest(self, saved):
        model, path = saved
        other = network(units=5)
        before = other.layers[-1].kernel.numpy()
        plan_restore(path, other, on_shape="overlap").apply()
        after = other.layers[-1].kernel.numpy()
        assert after[:, :2].tobytes() == model.layers[-1].kernel.numpy().tobytes()
        assert after[:, 2:].tobytes() == before[:, 2:].tobytes()

    def test_reinit_draws_anew_by_role_with_the_optimizers_state(self, saved):
        model, path = saved
        target = trained(network())
        root = tf.train.Checkpoint(model=target, optimizer=target.optimizer)
        plan = plan_restore(path, root, reinit=["net/head"], seed=3)
        assert plan.seed == 3
        assert plan["net/head/kernel"].initializer == "glorot_uniform"
        plan.apply(verify=True)
        kernel = target.layers[-1].kernel.numpy()
        limit = (6 / (3 + 2)) ** 0.5  # glorot_uniform's, of 3 inputs and 2 outputs
        assert 0 < np.abs(kernel).max() <= limit
        assert kernel.tobytes() != model.layers[-1].kernel.numpy().tobytes()
        for mine, theirs in zip(target.optimizer.variables, model.optimizer.variables, strict=True):
            if "head" in mine.path:
                assert not mine.numpy().any()
            else:
                assert mine.numpy().tobytes() == theirs.numpy().tobytes()
        plan_restore(path, root, reinit=["net/head"], seed=3).apply()
        assert target.layers[-1].kernel.numpy().tobytes() == kernel.tobytes()

    def test_training_goes_on_to_the_same_bits(self, saved, tmp_path):
        model, path = saved
        other = trained(network(), steps=1)
        plan_restore(path, tf.train.Checkpoint(model=other, optimizer=other.optimizer)).apply(verify=True)
        x = np.random.default_rng(2).normal(size=(8, 4)).astype("f")
        for each in (model, other):
            each.fit(x, np.ones((8, 2)), epochs=3, verbose=0, shuffle=False)
        assert bits(other.weights) == bits(model.weights)
        assert bits(other.optimizer.variables) == bits(model.optimizer.variables)

    def test_what_is_missing_is_said_with_what_to_type(self, tmp_path):
        model = network()
        path = str(tmp_path / "x.npz")
        np.savez(path, **{weight.path: weight.numpy() for weight in model.weights})
        plan = plan_restore(path, network("student"))
        assert not plan.ok
        assert plan["student/dense/kernel"].hint.startswith("--rename net=student finds it")
        with pytest.raises(PlanError):
            plan.apply()
        plan_restore(path, network("student"), rename={"net": "student"}).apply(verify=True)

    def test_a_model_of_another_name_is_the_same_objects(self, saved):
        model, path = saved
        other = network("student")
        plan_restore(path, other).apply(verify=True)
        assert bits(other.weights) == bits(model.weights)

    def test_a_model_that_is_not_built_is_refused(self, saved):
        with pytest.raises(ModelError, match="has no variables"):
            plan_restore(saved[1], tf.keras.Sequential([layers.Dense(2)]))

    def test_layers_that_tensorflow_does_not_keep_are_restored_too(self, tmp_path):
        class Stack(tf.keras.Model):
            def __init__(self):
                super().__init__(name="stack")
                self.all = [layers.Dense(4, name="a"), layers.Dense(4, name="b")]

            def call(self, x):
                return self.all[1](self.all[0](x))

        model = Stack()
        model(np.ones((1, 4), "f"))
        np.savez(
            tmp_path / "x.npz", **{weight.path: np.full(weight.shape, 3, "f") for weight in model.weights}
        )
        plan_restore(tmp_path / "x.npz", model).apply(verify=True)
        assert {float(weight.numpy().flat[0]) for weight in model.weights} == {3.0}


class TestNothingElseChanges:
    def everything(self, model):
        return bits([*model.variables, *model.optimizer.variables])

    @pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
    def test_by_planning_from_keras_own_files(self, tmp_path, ending):
        model = trained(network())
        path = str(tmp_path / f"k{ending}")
        (model.save_weights if ending == ".weights.h5" else model.save)(path)
        target = trained(network(), steps=3)
        before = self.everything(target)
        plan_restore(path, target)
        with pytest.raises(VariableNotFoundError):
            plan_restore(path, target, ["nothing"])
        assert self.everything(target) == before

    def test_of_what_is_not_selected_averages_too(self, tmp_path):
        def build(steps):
            model = network()
            model.compile(tf.keras.optimizers.Adam(0.1, use_ema=True), "mse")
            model.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=steps, verbose=0)
            return model, tf.train.Checkpoint(model=model, optimizer=model.optimizer)

        path = build(1)[1].write(str(tmp_path / "m"))
        model, root = build(3)
        of_head = [v for v in model.optimizer.variables if "head" in v.path] + model.layers[-1].weights
        before = bits(of_head)
        plan = plan_restore(path, root, exclude=["net/head"])
        assert plan.notes == ()  # the slots that nothing takes are those of what was left out
        plan.apply()
        assert bits(of_head) == before


def test_reinit_lets_slots_start_as_their_weights_where_the_optimizer_does(tmp_path):
    """ScheduleFreeAdamW's momentum is where the weight is going: it starts where the weight starts."""

    def build():
        model = network()
        model.compile(tf.keras.optimizers.ScheduleFreeAdamW(0.1), "mse", run_eagerly=True)
        return model

    model = build()
    for _ in range(3):
        model.train_on_batch(np.ones((8, 4)), np.ones((8, 2)))
    path = str(tmp_path / "m.weights.h5")
    model.save_weights(path)
    for wrap in (lambda each: each, lambda each: tf.train.Checkpoint(model=each, optimizer=each.optimizer)):
        source = path
        if wrap(model) is not model:
            source = wrap(model).write(str(tmp_path / "m"))
        other = build()
        other.optimizer.build(other.trainable_variables)
        plan_restore(source, wrap(other), reinit=["net/head"], seed=1).apply()
        for weight, slot in zip(other.trainable_variables, other.optimizer._momentums, strict=True):
            if "head" in weight.path:
                assert slot.numpy().tobytes() == weight.numpy().tobytes()
            else:
                assert slot.numpy().tobytes() != weight.numpy().tobytes()


@pytest.mark.parametrize("optimizer", ["Adagrad", "Ftrl", "Adam", "RMSprop"])
def test_reinit_gives_slots_what_a_new_optimizer_has(tmp_path, optimizer):
    def build():
        model = network()
        model.compile(getattr(tf.keras.optimizers, optimizer)(0.1), "mse")
        model.optimizer.build(model.trainable_variables)
        return model, tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    model, root = build()
    fresh = {v.path: v.numpy().tobytes() for v in model.optimizer.variables if "head" in v.path}
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
    path = root.write(str(tmp_path / "m"))
    plan_restore(path, root, reinit=["net/head"], seed=1).apply()
    assert {v.path: v.numpy().tobytes() for v in model.optimizer.variables if "head" in v.path} == fresh


def test_a_subclassed_model_takes_what_was_saved_as_a_part(tmp_path):
    class Sub(tf.keras.Model):
        def __init__(self):
            super().__init__(name="sub")
            self.first, self.second = layers.Dense(3, name="fc"), layers.Dense(3, name="fc2")

        def call(self, x):
            return self.second(self.first(x))

    def build():
        model = Sub()
        model(np.ones((1, 3), "f"))
        return model

    model = build()
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "m"))
    other = build()
    plan_restore(path, other).apply(verify=True)
    assert bits(other.weights) == bits(model.weights)


def test_copies_in_a_circle_are_a_problem_of_the_plan(tmp_path):
    path = tf.train.Checkpoint(Module(5.0)).write(str(tmp_path / "m"))
    module = Module()
    module.c, module.d = tf.Variable([1.0], name="c"), tf.Variable([1.0], name="d")
    plan = plan_restore(path, module, copy={"d": "b", "b": "c", "c": "b"})
    assert plan["b"].problem == "copies go in a circle: b -> c -> b"
    assert not plan.ok
    assert [verdict.name for verdict in plan] == [verdict.name for verdict in plan.verdicts]


class TestModules:
    def test_of_the_same_objects_by_their_keys(self, tmp_path):
        path = tf.train.Checkpoint(Module(5.0)).write(str(tmp_path / "m"))
        module = Module()
        plan_restore(path, module).apply(verify=True)
        assert module.w.numpy().tolist() == [[5] * 3] * 2
        assert module.inner.b.numpy().tolist() == [5]

    def test_a_part_of_a_checkpoint_is_found_by_a_rename(self, tmp_path):
        path = tf.train.Checkpoint(net=Module(5.0), other=Module(6.0)).write(str(tmp_path / "m"))
        module = Module()
        plan_restore(path, module, rename={"net/w": "w", "net/inner/b": "b"}).apply()
        assert module.w.numpy().tolist() == [[5] * 3] * 2

    def test_casts_and_copies(self, tmp_path):
        write_bundle(tmp_path / "m", {"w": np.ones((2, 3)), "b": np.array([2.0], "f")})
        module = Module()
        module.c = tf.Variable([0.0], name="c")
        plan_restore(tmp_path / "m", module, cast=True, copy={"c": "b"}).apply(verify=True)
        assert module.w.numpy().tolist() == [[1] * 3] * 2
        assert module.c.numpy().tolist() == [2]

    def test_initial_values_are_past(self, tmp_path):
        write_bundle(tmp_path / "m", {"w": np.ones((2, 3), "f"), "b": np.ones(1, "f")})
        with pytest.raises(UsageError, match="have had their initial values"):
            plan_restore(tmp_path / "m", Module(), copy={"b": "b"}, copy_value="initial")

    def test_a_changed_file_is_refused(self, tmp_path):
        prefix = write_bundle(tmp_path / "m", {"w": np.ones((2, 3), "f"), "b": np.ones(1, "f")})
        plan = plan_restore(prefix, Module())
        os.utime(prefix + ".index", ns=(0, 0))
        with pytest.raises(MismatchError, match="changed since the plan was made"):
            plan.apply()

    def test_lists_and_dicts_have_tensorflows_keys(self, tmp_path):
        def build(value):
            return tf.train.Checkpoint(
                module=Module(value), parts=[tf.Variable(value), {"a/b.c": tf.Variable(value)}]
            )

        path = build(4.0).write(str(tmp_path / "m"))
        root = build(0.0)
        plan_restore(path, root).apply(verify=True)
        assert root.parts[1]["a/b.c"].numpy() == 4
        with open_checkpoint(path) as checkpoint:
            assert len(plan_restore(path, root)) == len(checkpoint) - 1  # but the graph

    def test_back_to_a_graph(self, tmp_path):
        path = tf.train.Checkpoint(network()).write(str(tmp_path / "m"))
        plan_export(path, to_tf1=True).write(tmp_path / "old")
        with tf.Graph().as_default(), v1.Session() as session:
            kernel = v1.get_variable("net/dense/kernel", [4, 3])
            plan_restore(path).apply(session)
            values = session.run(kernel)
        with open_checkpoint(tmp_path / "old") as checkpoint:
            assert values.tobytes() == checkpoint["net/dense/kernel"].read().tobytes()


def test_a_plan_over_what_lives_is_written_down_and_bound_again(tmp_path):
    path = tf.train.Checkpoint(Module(5.0)).write(str(tmp_path / "m"))
    text = plan_restore(path, Module(), reinit=["b"], seed=3).to_json()
    module = Module(1.0)
    bind(Plan.from_json(text), module).apply(verify=True)
    assert module.w.numpy().tolist() == [[5] * 3] * 2
    assert module.inner.b.numpy().tolist() == [0]


def test_eager_variables_alone_are_refused_with_what_to_give(tmp_path):
    write_bundle(tmp_path / "m", {"w": np.ones(2, "f")})
    for target in ([tf.Variable([1.0, 2.0], name="w")], 3):
        with pytest.raises(ModelError, match="neither a graph nor variables of one"):
            plan_restore(tmp_path / "m", target)


def test_a_graph_has_its_own_seed(graph, tmp_path):
    write_bundle(tmp_path / "m", {"w": np.ones(2, "f")})
    v1.get_variable("w", [2])
    with pytest.raises(UsageError, match="seed: a graph has its own"):
        plan_restore(tmp_path / "m", seed=3)

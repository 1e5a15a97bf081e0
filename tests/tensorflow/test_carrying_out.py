"""Plans that are written down, checked against their files, proved, and carried out by training loops."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from toolkit import (
    MismatchError,
    Plan,
    RestoreHook,
    UsageError,
    bind,
    open_checkpoint,
    plan_export,
    plan_restore,
)
from toolkit.graph import plan as graph_plan
from toolkit.graph.models import perceptron

v1 = tf.compat.v1


def network():
    perceptron(4, (3,), 2, average=0.9)


@pytest.fixture
def prefix(tmp_path):
    save(tmp_path / "m", network, seed=5)
    return str(tmp_path / "m")


def touched(prefix):
    path = prefix + ".index"
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    return path


class TestWritten:
    def test_a_plan_comes_back_from_json(self, prefix, graph):
        network()
        plan = plan_restore(prefix, reinit=["head"])
        again = Plan.from_json(plan.to_json())
        assert again.verdicts == plan.verdicts
        assert (again.unused, again.origin, again.files, again.ok) == (
            plan.unused, plan.origin, plan.files, plan.ok,
        )  # fmt: skip
        assert str(again) == str(plan)
        assert {state.path for state in again.files} == {f"{prefix}.index", f"{prefix}.data-00000-of-00001"}

    def test_the_commands_documents_are_plans(self, prefix, ckpt, tmp_path):
        ran = ckpt("export", prefix, tmp_path / "x.npz", "--dry-run", "--json")
        assert len(Plan.from_json(ran.out)) == len(open_checkpoint(prefix))

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"plan": [{}]}', '{"plan": [{"name": "a"}]}', '{"plan": 3}']
    )
    def test_what_is_no_plan_is_said(self, text):
        with pytest.raises(UsageError, match="not a"):
            Plan.from_json(text)

    def test_it_is_bound_to_a_model_and_carried_out(self, prefix, tmp_path):
        with tf.Graph().as_default():
            network()
            text = plan_restore(prefix, reinit=["head"]).to_json()
        with tf.Graph().as_default(), v1.Session() as session:
            network()
            bound = bind(Plan.from_json(text))
            bound.apply(session, verify=True)
            values = values_of(session)
        with open_checkpoint(prefix) as checkpoint:
            assert values["dense1/kernel"].tobytes() == checkpoint["dense1/kernel"].read().tobytes()
            assert values["head/kernel"].tobytes() != checkpoint["head/kernel"].read().tobytes()

    def test_copies_from_one_draw_stay_so(self, tmp_path):
        write_bundle(tmp_path / "m", {"a": np.ones(3, "f")})

        def build():
            for name in "abc":
                v1.get_variable(name, [3], initializer=v1.random_normal_initializer())

        with tf.Graph().as_default():
            build()
            plan = plan_restore(tmp_path / "m", copy={"c": "b"}, copy_value="initial", on_missing="init")
            text = plan.to_json()
        with tf.Graph().as_default(), v1.Session() as session:
            build()
            bind(Plan.from_json(text)).apply(session)
            values = values_of(session)
        assert values["b"].tobytes() == values["c"].tobytes()

    def test_it_is_not_bound_to_another_model(self, prefix, graph):
        network()
        plan = Plan.from_json(plan_restore(prefix).to_json())
        with tf.Graph().as_default():
            perceptron(4, (5,), 2, average=0.9)
            with pytest.raises(
                MismatchError, match=r"dense1/kernel: float32 \(4, 3\) in the plan, float32 \(4, 5\)"
            ):
                bind(plan)
        v1.get_variable("more", [1])
        with pytest.raises(MismatchError, match="more: missing in the plan"):
            bind(plan)

    @pytest.mark.parametrize(
        "change",
        [
            {"source": "nowhere"},
            {"action": "copy", "source": "nothing"},
            {"action": "copy", "source": None},
            {"action": "mean"},
            {"source": 5},
            {"action": "initialize", "initializer": "magic"},
        ],
    )
    def test_a_plan_that_was_changed_by_hand_is_checked(self, prefix, graph, change):
        network()
        document = json.loads(plan_restore(prefix).to_json())
        document["plan"][0].update(change)
        with pytest.raises(UsageError):
            bind(Plan.from_json(json.dumps(document)))


class TestFiles:
    def test_that_changed_since_the_plan_are_refused(self, prefix, session):
        network()
        plan = plan_restore(prefix)
        path = touched(prefix)
        with pytest.raises(MismatchError, match=f"{path}: changed since the plan was made"):
            plan.apply(session)
        with pytest.raises(MismatchError, match="changed since"):
            bind(Plan.from_json(plan.to_json()))

    def test_nor_is_an_export_written_of_them(self, prefix, tmp_path):
        plan = plan_export(prefix)
        touched(prefix)
        with pytest.raises(MismatchError, match="changed since"):
            plan.export(tmp_path / "x.npz")
        with pytest.raises(MismatchError, match="changed since"):
            plan.write(tmp_path / "x")
        assert not [name for name in os.listdir(tmp_path) if name.startswith("x")]


class TestVerify:
    def test_all_dtypes_pass(self, tmp_path, session):
        values = {
            "f": np.array([1.0, np.nan, -0.0], "f"), "s": np.array([b"a", b"", b"bc"], object),
            "i": np.array(7), "b": np.array([True, False]), "c": np.ones(2, "c8"),
        }  # fmt: skip
        write_bundle(tmp_path / "m", values)
        for name, value in values.items():
            dtype = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            initial = tf.zeros(value.shape, dtype) if dtype != tf.string else tf.fill(value.shape, "")
            v1.get_variable(name, initializer=initial)
        plan_restore(tmp_path / "m").apply(session, verify=True)

    def test_another_value_than_the_checkpoints_is_found(self, prefix, session, monkeypatch):
        network()
        plan = plan_restore(prefix)
        bias = next(v for v in v1.global_variables() if v.op.name == "dense1/bias")
        write = bias.assign(bias + 1)
        real = graph_plan.read

        def meanwhile(session, variable):
            session.run(write)
            return real(session, variable)

        monkeypatch.setattr(graph_plan, "read", meanwhile)
        with pytest.raises(MismatchError, match="dense1/bias: has other values than dense1/bias"):
            plan.apply(session, verify=True)


class TestTraining:
    def test_a_scaffold_restores_by_plan(self, prefix):
        with tf.Graph().as_default():
            network()
            plan = plan_restore(prefix, reinit=["head"])
            scaffold = v1.train.Scaffold(init_op=tf.no_op(), init_fn=plan.init_fn)
            with v1.train.MonitoredTrainingSession(scaffold=scaffold) as session:
                kernel = next(v for v in v1.global_variables() if v.op.name == "dense1/kernel")
                value = session.run(kernel)
        with open_checkpoint(prefix) as checkpoint:
            assert value.tobytes() == checkpoint["dense1/kernel"].read().tobytes()

    def test_a_hook_restores_at_the_beginning_of_a_training_alone(self, prefix, tmp_path):
        def begin():
            with tf.Graph().as_default():
                network()
                step = v1.train.get_global_step()
                kernel = next(v for v in v1.global_variables() if v.op.name == "dense1/kernel")
                train = [v1.assign(kernel, tf.zeros_like(kernel)), v1.assign_add(step, 1)]
                hook = RestoreHook(plan_restore(prefix, reinit=["global_step"]), verify=True)
                with v1.train.MonitoredTrainingSession(
                    checkpoint_dir=str(tmp_path / "run"), hooks=[hook], save_checkpoint_steps=1
                ) as session:
                    before = session.run(kernel)
                    session.run(train)
            return before

        with open_checkpoint(prefix) as checkpoint:
            assert begin().tobytes() == checkpoint["dense1/kernel"].read().tobytes()
        assert not begin().any()  # recovered from the training's own checkpoint

    @pytest.mark.parametrize("saves", [False, True])
    def test_a_hook_restores_again_when_the_session_is_lost(self, prefix, tmp_path, saves):
        class Lost(v1.train.SessionRunHook):
            is_lost = False

            def after_run(self, context, values):
                if not self.is_lost:
                    self.is_lost = True
                    raise tf.errors.AbortedError(None, None, "preempted")

        with tf.Graph().as_default():
            network()
            kernel = next(v for v in v1.global_variables() if v.op.name == "dense1/kernel")
            hooks = [RestoreHook(plan_restore(prefix, reinit=["global_step"])), Lost()]
            directory = str(tmp_path / "run") if saves else None
            with v1.train.MonitoredTrainingSession(checkpoint_dir=directory, hooks=hooks) as session:
                value = session.run(kernel)
        with open_checkpoint(prefix) as checkpoint:
            assert value.tobytes() == checkpoint["dense1/kernel"].read().tobytes()

    def test_nothing_is_added_to_a_prepared_graph(self, prefix, graph):
        network()
        plan = plan_restore(prefix)
        plan.prepare()
        graph.finalize()
        with v1.Session() as session:
            plan.apply(session, verify=True)


class TestGoingOn:
    """A training that was stopped, saved and restored by plan, beside one that was not."""

    DATA = np.random.default_rng(0).normal(size=(20, 8, 4)).astype("f")
    LABELS = np.random.default_rng(1).integers(0, 2, (20, 8))

    def train(self, session, model, steps):
        for step in steps:
            session.run(model.train_op, {model.inputs: self.DATA[step], model.labels: self.LABELS[step]})

    @pytest.mark.parametrize("optimizer", ["adam", "momentum"])
    def test_gives_the_same_bits(self, tmp_path, optimizer):
        def build():
            v1.set_random_seed(1)
            return perceptron(4, (3,), 2, optimizer=optimizer, average=0.9)

        with tf.Graph().as_default(), v1.Session() as session:
            model = build()
            session.run(v1.global_variables_initializer())
            self.train(session, model, range(10))
            v1.train.Saver().save(session, str(tmp_path / "m"), write_state=False)
            self.train(session, model, range(10, 20))
            never_stopped = values_of(session)
            outputs = session.run(model.outputs, {model.inputs: self.DATA[0]})
        with tf.Graph().as_default(), v1.Session() as session:
            model = build()
            plan = plan_restore(tmp_path / "m")
            assert plan.notes == ()
            plan.apply(session, verify=True)
            assert session.run(model.global_step) == 10
            self.train(session, model, range(10, 20))
            values = values_of(session)
            assert values.keys() == never_stopped.keys()
            assert all(values[name].tobytes() == never_stopped[name].tobytes() for name in values)
            assert session.run(model.outputs, {model.inputs: self.DATA[0]}).tobytes() == outputs.tobytes()

    def test_of_random_ops_the_plan_says_what_does_not(self, tmp_path, graph):
        save(tmp_path / "m", lambda: v1.get_variable("w", [4, 3], initializer=v1.random_normal_initializer()))
        w = v1.get_variable("w", [4, 3], initializer=v1.random_normal_initializer())
        assert plan_restore(tmp_path / "m").notes == ()  # what an initial value is drawn with does not count
        v1.nn.dropout(tf.ones([2, 4]) @ w, rate=0.5, name="dropout")
        v1.data.make_one_shot_iterator(tf.data.Dataset.range(3)).get_next()
        plan = plan_restore(tmp_path / "m")
        assert plan.notes[0].startswith("does not continue: the random numbers of dropout/random_uniform/")
        assert "OneShotIterator" in plan.notes[1]
        assert plan.notes[0] in str(plan)
        assert json.loads(plan.to_json())["notes"] == list(plan.notes)

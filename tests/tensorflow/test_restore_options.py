"""What is restored in place of what: averages, other partitionings, copies, other names."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from toolkit import MismatchError, UsageError, VariableNotFoundError, list_variables, plan_restore
from toolkit.graph.models import perceptron

v1 = tf.compat.v1


class TestMovingAverages:
    @pytest.fixture
    def stored(self, tmp_path):
        values = {
            "net/w": np.array([1.0, 2.0], "f"),
            "net/w/ExponentialMovingAverage": np.array([5.0, 6.0], "f"),
            "net/norm/moving_mean": np.array([3.0, 3.0], "f"),
            "global_step": np.array(7),
        }
        return write_bundle(tmp_path / "m", values), values

    @pytest.fixture
    def model(self, graph):
        v1.get_variable("net/w", [2])
        v1.get_variable("net/norm/moving_mean", [2], trainable=False)
        v1.train.create_global_step()

    @pytest.mark.parametrize("ema", ["ignore", "prefer", "require"])
    def test_stand_in_for_the_variables(self, stored, model, session, ema):
        prefix, values = stored
        plan = plan_restore(prefix, ema=ema)
        plan.apply(session)
        found = values_of(session)
        expected = values["net/w" if ema == "ignore" else "net/w/ExponentialMovingAverage"]
        assert found["net/w"].tolist() == expected.tolist()
        assert found["net/norm/moving_mean"].tolist() == [3, 3]
        assert found["global_step"] == 7
        if ema != "ignore":
            assert plan["net/w"].source.endswith("::net/w/ExponentialMovingAverage")
            assert "it has no moving average" in plan["net/norm/moving_mean"].reason
            assert plan.unused == ("net/w",)

    def test_that_are_missing_are_an_error_if_required(self, stored, model):
        prefix, _ = stored
        v1.get_variable("net/b", [2])
        write_bundle(prefix + "2", {"net/w": np.ones(2, "f"), "net/norm/moving_mean": np.ones(2, "f"),
                                    "net/b": np.ones(2, "f"), "global_step": np.array(1)})  # fmt: skip
        plan = plan_restore(prefix + "2", ema="require")
        assert {verdict.name for verdict in plan.problems} == {"net/w", "net/b"}
        assert plan["net/b"].problem == "no moving average of net/b in the checkpoint"
        assert plan_restore(prefix + "2", ema="prefer").ok

    def test_follow_a_rename(self, stored, graph, session):
        prefix, _ = stored
        w = v1.get_variable("student/w", [2])
        plan_restore(prefix, [w], rename={"net": "student"}, ema="require").apply(session)
        assert session.run(w).tolist() == [5, 6]

    def test_of_an_unknown_kind_are_refused(self, stored, model):
        with pytest.raises(UsageError, match="ema: expected one of ignore, prefer, require, got 'yes'"):
            plan_restore(stored[0], ema="yes")


class TestPartitions:
    VALUES = np.arange(20, dtype="f").reshape(5, 4)

    def build(self, parts, axis=0, use_resource=True):
        partitioner = v1.fixed_size_partitioner(parts, axis) if parts > 1 else None
        with v1.variable_scope("net", partitioner=partitioner, use_resource=use_resource):
            return v1.get_variable("w", [5, 4], initializer=v1.random_normal_initializer())

    @pytest.fixture(params=[(1, 0), (2, 0), (3, 1)])
    def stored(self, request, tmp_path):
        """A checkpoint of the Saver, in so many parts."""
        parts, axis = request.param
        with tf.Graph().as_default(), v1.Session() as session:
            variable = self.build(parts, axis)
            whole = variable.as_tensor() if parts > 1 else variable
            session.run(v1.global_variables_initializer())
            values = session.run(whole)
            v1.train.Saver().save(session, str(tmp_path / "m"), write_state=False, write_meta_graph=False)
        return str(tmp_path / "m"), values, parts

    @pytest.mark.parametrize("into", [(1, 0), (4, 0), (2, 1)])
    @pytest.mark.parametrize("finalized", [False, True])
    def test_of_any_kind_are_restored_into_any(self, stored, graph, session, into, finalized, use_resource):
        prefix, values, _ = stored
        variable = self.build(*into, use_resource)
        whole = variable.as_tensor() if into[0] > 1 else variable
        if finalized:
            graph.finalize()
        plan = plan_restore(prefix)
        assert [verdict.name for verdict in plan.verdicts] == ["net/w"]
        plan.apply(session)
        assert session.run(whole).tobytes() == values.tobytes()

    def test_that_differ_are_said_and_can_be_refused(self, stored, graph):
        prefix, _, parts = stored
        self.build(4)
        plan = plan_restore(prefix)
        assert plan["net/w"].reason.endswith(f"{f'{parts} parts' if parts > 1 else 'whole'} in the checkpoint, "
                                             "4 parts in the model")  # fmt: skip
        refused = plan_restore(prefix, partition=False)
        assert not refused.ok
        assert refused["net/w"].hint == "partition=True restores it"

    def test_are_cast_and_cut_like_any_other(self, tmp_path, session):
        prefix = write_bundle(tmp_path / "m", {"net/w": np.ones((5, 2))})
        variable = self.build(2)
        plan_restore(prefix, cast=True, on_shape="overlap").apply(session)
        values = session.run(variable.as_tensor())
        assert (values[:, :2] == 1).all()
        assert (values[:, 2:] != 1).all()


class TestCopies:
    @pytest.fixture
    def stored(self, tmp_path):
        return save(
            tmp_path / "m", lambda: v1.get_variable("a", [3], initializer=v1.random_normal_initializer())
        )

    def build(self, *names):
        return [v1.get_variable(n, [3], initializer=v1.random_normal_initializer()) for n in names]

    def test_take_the_restored_value(self, stored, tmp_path, session):
        self.build("a", "b")
        plan = plan_restore(tmp_path / "m", copy={"b": "a"})
        assert plan["b"].reason == "starts as the current value of a"
        plan.apply(session)
        assert values_of(session)["b"].tobytes() == stored["a"].tobytes()

    def test_take_the_initial_value_from_one_draw(self, stored, tmp_path, session):
        self.build("a", "b", "c")
        plan_restore(tmp_path / "m", copy={"c": "b"}, copy_value="initial", on_missing="init").apply(session)
        values = values_of(session)
        assert values["c"].tobytes() == values["b"].tobytes() != values["a"].tobytes()

    def test_of_an_initial_value_that_is_never_drawn_are_refused(self, stored, tmp_path, graph):
        self.build("a", "b")
        plan = plan_restore(tmp_path / "m", copy={"b": "a"}, copy_value="initial")
        assert plan["b"].problem == "a gets no initial value, of which this could be a copy"

    def test_must_fit(self, stored, tmp_path, graph):
        self.build("a")
        v1.get_variable("b", [4])
        with pytest.raises(MismatchError, match=r"b: float32 \(4,\) cannot start as a copy of a"):
            plan_restore(tmp_path / "m", copy={"b": "a"})
        with pytest.raises(VariableNotFoundError, match="x"):
            plan_restore(tmp_path / "m", copy={"x": "a"})


class TestOtherNames:
    @pytest.fixture
    def stored(self, tmp_path):
        return save(tmp_path / "m", lambda: perceptron(4, (3,), 2), seed=3)

    def test_a_function_renames(self, stored, tmp_path, session):
        with v1.variable_scope("student"):
            perceptron(4, (3,), 2)
        plan = plan_restore(
            tmp_path / "m",
            rename=lambda name: name if name.startswith(("global", "beta")) else f"student/{name}",
            on_missing="init",
        )
        plan.apply(session)
        values = values_of(session)
        for name in ("dense1/kernel", "head/bias"):
            assert values[f"student/{name}"].tobytes() == stored[name].tobytes()

    def test_a_function_must_give_names(self, stored, tmp_path, graph):
        perceptron(4, (3,), 2)
        with pytest.raises(UsageError, match="expected a name for .*, got None"):
            plan_restore(tmp_path / "m", rename=lambda name: None)

    def test_a_new_outer_scope_is_proposed_in_a_form_that_works(self, stored, tmp_path, session):
        for name, values in stored.items():
            if not name.endswith(("Adam", "Adam_1")):
                v1.get_variable(f"outer/{name}", values.shape, tf.as_dtype(values.dtype))
        plan = plan_restore(tmp_path / "m")
        hints = {verdict.hint for verdict in plan.problems}
        assert hints == {r"--rename 're:^(.*)$=outer/\1' finds it, --on-missing init starts it afresh"}
        plan_restore(tmp_path / "m", rename=[r"re:^(.*)$=outer/\1"]).apply(session)
        assert values_of(session)["outer/head/kernel"].tobytes() == stored["head/kernel"].tobytes()

    def test_what_init_would_lose_is_said(self, stored, tmp_path, graph):
        with v1.variable_scope("outer"):
            v1.get_variable("head/kernel", stored["head/kernel"].shape)
            v1.get_variable("head/bias", stored["head/bias"].shape)
        plan = plan_restore(tmp_path / "m", on_missing="init")
        assert plan.ok
        assert plan["outer/head/bias"].hint == "--rename head=outer/head finds it"
        assert "rename='head=outer/head' finds it" in str(plan)

    def test_object_based_checkpoints_go_by_full_names(self, tmp_path, session):
        module = tf.Module()
        with tf.Graph().as_default(), v1.Session() as other:
            module.w = v1.get_variable(
                "net/w", [2], initializer=v1.random_normal_initializer(), use_resource=True
            )
            other.run(module.w.initializer)
            values = other.run(module.w)
            path = v1.train.Checkpoint(module=module).save(str(tmp_path / "m"), session=other)
        v1.get_variable("net/w", [2])
        plan = plan_restore(path)
        assert plan["net/w"].source == f"{path}::module/w/.ATTRIBUTES/VARIABLE_VALUE"
        plan.apply(session)
        assert values_of(session)["net/w"].tobytes() == values.tobytes()


def test_local_variables_are_initialized_and_said(tmp_path, session):
    save(tmp_path / "m", lambda: v1.get_variable("w", [2]))
    v1.get_variable("w", [2])
    v1.get_local_variable("seen", [], initializer=v1.zeros_initializer())
    plan = plan_restore(tmp_path / "m")
    assert (plan["seen"].action, plan["seen"].reason) == ("initialize", "local: no checkpoint has it")
    plan.apply(session)
    assert all(variable.initialized for variable in list_variables(session=session))

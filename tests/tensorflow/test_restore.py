"""Plans over graphs: every variable is restored or initialized, for a reason, and never both."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from toolkit import (
    ChecksumError,
    MismatchError,
    ModelError,
    PlanError,
    UsageError,
    VariableNotFoundError,
    open_checkpoint,
    plan_restore,
)
from toolkit.graph.models import convolutional_network, perceptron

v1 = tf.compat.v1


def network():
    perceptron(4, (3,), 2, average=0.9)


@pytest.fixture
def checkpoint(tmp_path):
    save(tmp_path / "model", network, seed=5)
    with open_checkpoint(tmp_path / "model") as opened:
        yield opened


def read(checkpoint) -> dict[str, np.ndarray]:
    return {name: variable.read() for name, variable in checkpoint.items()}


def test_a_whole_model_is_restored_bit_for_bit(session, checkpoint):
    network()
    plan = plan_restore(checkpoint)
    assert plan.ok
    assert {verdict.action for verdict in plan.verdicts} == {"restore"}
    assert plan.unused == ()
    plan.apply(session)
    stored = read(checkpoint)
    for name, value in values_of(session).items():
        assert value.tobytes() == stored[name].tobytes()


def test_the_plan_says_from_where(checkpoint, graph):
    network()
    plan = plan_restore(checkpoint)
    assert plan["head/kernel"].source == f"{checkpoint.path}::head/kernel"
    assert plan["head/kernel"].reason == "same name"
    assert plan["global_step"].reason == (
        "same name; the count of steps goes on (--reinit global_step resets it)"
    )
    assert json.loads(plan.to_json())["ok"] is True


def test_reinit_brings_slots_and_averages_along(session, checkpoint):
    network()
    v1.set_random_seed(99)
    plan = plan_restore(checkpoint, reinit=["head"])
    fresh = {v.name for v in plan.verdicts if v.action != "restore"}
    assert fresh == {
        f"head/{name}{suffix}"
        for name in ("kernel", "bias")
        for suffix in ("", "/Adam", "/Adam_1", "/ExponentialMovingAverage")
    }
    assert plan["head/kernel"].reason == "to be reinitialized"
    assert plan["head/kernel/Adam"].reason == "slot of head/kernel, which starts afresh"
    average = plan["head/kernel/ExponentialMovingAverage"]
    assert (average.action, average.source) == ("copy", "head/kernel")
    assert average.reason == "moving average of head/kernel, which starts afresh; starts as its value"
    assert set(plan.unused) == fresh
    plan.apply(session)
    values, stored = values_of(session), read(checkpoint)
    assert {n for n in values if values[n].tobytes() != stored[n].tobytes()} <= fresh
    assert not np.array_equal(values["head/kernel"], stored["head/kernel"])
    assert values["head/kernel/ExponentialMovingAverage"].tolist() == values["head/kernel"].tolist()
    assert not values["head/kernel/Adam"].any()


def test_patterns_restore_a_part_and_initialize_the_rest(session, checkpoint):
    network()
    plan = plan_restore(checkpoint, patterns=["dense1"])
    assert {v.name for v in plan.verdicts if v.action == "restore"} == {
        n for n in checkpoint if n.startswith("dense1/")
    }
    assert plan["head/kernel"].reason == "not selected"
    assert plan["global_step"].action == "initialize"
    plan.apply(session)
    assert values_of(session)["dense1/kernel"].tobytes() == checkpoint["dense1/kernel"].read().tobytes()


def test_exclude(checkpoint, graph):
    network()
    plan = plan_restore(checkpoint, exclude=["dense1"])
    assert plan["dense1/kernel"].action == plan["dense1/kernel/Adam"].action == "initialize"
    assert plan["head/kernel"].action == "restore"


def test_scopes_and_their_slots_are_renamed(session, tmp_path):
    def build(scope):
        with v1.variable_scope(scope):
            w = v1.get_variable("w", [3])
        with v1.variable_scope("training"):
            v1.train.MomentumOptimizer(0.1, 0.9).minimize(tf.reduce_sum(w * w))

    stored = save(tmp_path / "model", lambda: build("net"))
    build("backbone/net")
    with open_checkpoint(tmp_path / "model") as checkpoint:
        assert not plan_restore(checkpoint).ok
        for rename in ({"net": "backbone/net"}, ["net=backbone/net"], [r"re:^net/(.*)=backbone/net/\1"]):
            plan = plan_restore(checkpoint, rename=rename)
            assert plan.ok, str(plan)
        slot = "training/backbone/net/w/Momentum"
        assert plan[slot].reason == "renamed from training/net/w/Momentum"
        plan.apply(session)
    assert values_of(session)[slot].tolist() == stored["training/net/w/Momentum"].tolist()


def test_what_is_missing_is_said_all_at_once_with_what_to_type(checkpoint, graph):
    perceptron(4, (3, 3), 2)
    plan = plan_restore(checkpoint)
    assert not plan.ok
    assert {v.name for v in plan.problems} == {
        "dense2/kernel", "dense2/kernel/Adam", "dense2/kernel/Adam_1",
        "dense2/bias", "dense2/bias/Adam", "dense2/bias/Adam_1",
    }  # fmt: skip
    assert plan["dense2/bias"].problem == "not in the checkpoint"
    assert plan["dense2/bias"].hint == "the nearest name is dense1/bias, --on-missing init starts it afresh"
    assert (
        plan["dense2/bias/Adam"].problem == "not in the checkpoint (its variable dense2/bias is missing, too)"
    )
    with pytest.raises(PlanError) as error:
        plan.check()
    assert error.value.message.startswith("6 of 21 variables cannot be given a value: dense2/kernel: not in")
    assert len(error.value.verdicts) == 6


def test_a_name_that_fits_is_proposed_as_a_rename(tmp_path, graph):
    prefix = write_bundle(
        tmp_path / "m", {"layer/weights": np.ones((2, 3), "f"), "layer/weight_decay": np.ones(1, "f")}
    )
    v1.get_variable("layer/weight", [2, 3])
    with open_checkpoint(prefix) as checkpoint:
        plan = plan_restore(checkpoint)
        hint = plan["layer/weight"].hint
        assert hint == "--rename layer/weights=layer/weight finds it, --on-missing init starts it afresh"
        assert plan_restore(checkpoint, rename=[hint.split()[1]]).ok
        assert "rename='layer/weights=layer/weight'" in str(plan)


def test_a_plan_that_is_not_ok_changes_nothing(session, checkpoint):
    perceptron(4, (3, 3), 2)
    with pytest.raises(PlanError):
        plan_restore(checkpoint).apply(session)
    assert all(not v.initialized for v in __import__("toolkit").list_variables(session=session))


def test_on_missing_init(session, checkpoint):
    perceptron(4, (3, 3), 2, average=0.9)
    plan = plan_restore(checkpoint, on_missing="init")
    assert plan.ok
    assert plan["dense2/kernel"].action == "initialize"
    assert plan["dense2/kernel"].reason == "not in the checkpoint"
    assert plan["dense2/kernel/Adam"].reason == "slot of dense2/kernel, which starts afresh"
    plan.apply(session)
    values = values_of(session)
    assert values["dense2/kernel/ExponentialMovingAverage"].tolist() == values["dense2/kernel"].tolist()


def test_missing_averages_start_as_their_restored_variable(session, tmp_path):
    stored = save(tmp_path / "model", lambda: perceptron(4, (3,), 2))
    network()
    with open_checkpoint(tmp_path / "model") as checkpoint:
        plan = plan_restore(checkpoint, on_missing="init")
        assert plan["head/kernel/ExponentialMovingAverage"].action == "copy"
        plan.apply(session)
    values = values_of(session)
    assert values["head/kernel/ExponentialMovingAverage"].tolist() == stored["head/kernel"].tolist()


class TestShapes:
    @pytest.fixture
    def grown(self, checkpoint, graph):
        perceptron(4, (3,), 5)  # the head has five classes, the checkpoint's two
        return checkpoint

    def test_are_compared(self, grown):
        plan = plan_restore(grown)
        assert plan["head/kernel"].problem == "shape (3, 2) in the checkpoint, (3, 5) in the model"
        assert plan["head/kernel"].hint == (
            "--on-shape init starts it afresh, --on-shape overlap copies the common part"
        )
        assert {v.name.split("/")[0] for v in plan.problems} == {"head"}

    def test_init_starts_afresh_with_the_slots(self, grown, session):
        plan = plan_restore(grown, on_shape="init")
        assert plan["head/kernel"].action == "initialize"
        assert plan["head/kernel"].reason == "shape (3, 2) in the checkpoint, (3, 5) in the model"
        assert plan["head/kernel/Adam"].reason == "slot of head/kernel, which starts afresh"
        plan.apply(session)

    def test_overlap_copies_the_common_part(self, grown, session):
        plan = plan_restore(grown, on_shape="overlap")
        assert plan["head/kernel"].action == plan["head/kernel/Adam"].action == "overlap"
        assert plan["head/kernel"].reason.endswith("(3, 2) copied, the rest fresh")
        plan.apply(session)
        value = values_of(session)["head/kernel"]
        assert value[:, :2].tolist() == grown["head/kernel"].read().tolist()
        assert np.count_nonzero(value[:, 2:]) == 9

    def test_overlap_needs_the_same_number_of_dimensions(self, tmp_path, graph):
        prefix = write_bundle(tmp_path / "m", {"w": np.ones(6, "f")})
        v1.get_variable("w", [2, 3])
        with open_checkpoint(prefix) as checkpoint:
            plan = plan_restore(checkpoint, on_shape="overlap")
        assert plan["w"].problem == "shape (6,) in the checkpoint, (2, 3) in the model"
        assert plan["w"].hint == "--on-shape init starts it afresh"

    def test_a_transposed_one_is_named_as_such(self, tmp_path, graph):
        prefix = write_bundle(tmp_path / "m", {"w": np.ones((3, 2), "f")})
        v1.get_variable("w", [2, 3])
        with open_checkpoint(prefix) as checkpoint:
            assert plan_restore(checkpoint)["w"].problem.endswith("(2, 3) in the model (transposed)")

    def test_an_open_shape_takes_what_there_is(self, tmp_path, session):
        prefix = write_bundle(tmp_path / "m", {"w": np.arange(6, dtype="f").reshape(3, 2)})
        initial = v1.placeholder_with_default(np.zeros((1, 1), "f"), [None, None])
        w = v1.Variable(initial, validate_shape=False, name="w", use_resource=True)
        with open_checkpoint(prefix) as checkpoint:
            plan_restore(checkpoint).apply(session)
        assert session.run(w).shape == (3, 2)


class TestDtypes:
    @pytest.fixture
    def double(self, tmp_path, graph):
        prefix = write_bundle(tmp_path / "m", {"w": np.array([1.5, 0.1]), "n": np.array(7, "i8")})
        v1.get_variable("w", [2])
        v1.get_variable("n", [], tf.int32)
        with open_checkpoint(prefix) as checkpoint:
            yield checkpoint

    def test_are_compared(self, double):
        plan = plan_restore(double)
        assert plan["w"].problem == "float64 in the checkpoint, float32 in the model"
        assert plan["w"].hint == "--cast converts it"

    def test_cast_converts_and_says_so(self, double, session):
        plan = plan_restore(double, cast=True)
        assert plan["w"].action == "cast"
        assert plan["w"].reason == "same name; cast from float64, rounded to the nearest float32"
        plan.apply(session)
        assert values_of(session)["w"].tolist() == [1.5, np.float32(0.1)]
        assert values_of(session)["n"] == 7

    def test_what_does_not_fit_is_an_error(self, tmp_path, session):
        prefix = write_bundle(tmp_path / "m", {"w": np.array([1e300])})
        v1.get_variable("w", [1])
        with open_checkpoint(prefix) as checkpoint:
            plan = plan_restore(checkpoint, cast=True)
            with pytest.raises(MismatchError, match="w: 1 of 1 values do not fit float32"):
                plan.apply(session)

    def test_overlap_and_cast_together(self, tmp_path, session):
        prefix = write_bundle(tmp_path / "m", {"w": np.array([1.5, 2.5])})
        w = v1.get_variable("w", [3], initializer=v1.zeros_initializer())
        with open_checkpoint(prefix) as checkpoint:
            plan_restore(checkpoint, cast=True, on_shape="overlap").apply(session)
        assert session.run(w).tolist() == [1.5, 2.5, 0]

    def test_strings_are_not_cast(self, tmp_path, graph):
        prefix = write_bundle(tmp_path / "m", {"w": np.array([b"1"], object)})
        v1.get_variable("w", [1])
        with open_checkpoint(prefix) as checkpoint:
            assert plan_restore(checkpoint, cast=True)["w"].problem == "w: string cannot be cast to float32"


def test_initializers_see_restored_values(session, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.array([5.0], "f")})
    a = v1.get_variable("a", [1])
    b = v1.get_variable("b", initializer=lambda: a.read_value() + 1)
    with open_checkpoint(prefix) as checkpoint:
        plan = plan_restore(checkpoint, on_missing="init")
        assert plan["b"].reason == "not in the checkpoint; computed from a"
        plan.apply(session)
    assert session.run(b).tolist() == [6]


def test_a_restored_variable_is_never_initialized(session, checkpoint):
    network()
    run = session.run
    initializers = {v.initializer.name: v.op.name for v in v1.global_variables()}
    ran = []

    def watched(fetches, feed_dict=None, *arguments):
        ran.extend(initializers.get(getattr(f, "name", "")) for f in tf.nest.flatten(fetches))
        return run(fetches, feed_dict, *arguments)

    session.run = watched
    plan = plan_restore(checkpoint, reinit=["head"])
    plan.apply(session)
    restored = {v.name for v in plan.verdicts if v.action == "restore"}
    assert not restored & set(ran)
    assert {v.name for v in plan.verdicts} - restored == set(ran) - {None}


def test_a_finalized_graph_is_restored_without_new_ops(session, checkpoint):
    network()
    session.graph.finalize()
    plan_restore(checkpoint).apply(session)
    stored = read(checkpoint)
    assert all(value.tobytes() == stored[name].tobytes() for name, value in values_of(session).items())


def test_a_prefix_with_glob_characters_is_restored(session, tmp_path):
    save(tmp_path / "plain", network)
    for path in tmp_path.glob("plain*"):
        path.rename(tmp_path / path.name.replace("plain", "we[i]rd*"))
    network()
    with open_checkpoint(tmp_path / "we[i]rd*") as checkpoint:
        plan_restore(checkpoint).apply(session)
        assert values_of(session)["head/kernel"].tolist() == checkpoint["head/kernel"].read().tolist()


def test_damage_is_named_by_variable_and_place(session, checkpoint):
    offset = checkpoint["head/kernel"].offset
    path = Path(checkpoint.path + ".data-00000-of-00001")
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a disk's damage leaves no time
    network()
    with pytest.raises(ChecksumError, match="checksum of 'head/kernel' is wrong"):
        plan_restore(checkpoint).apply(session)


def test_a_part_of_the_variables_can_be_the_target(session, checkpoint):
    network()
    kernel = next(v for v in v1.global_variables() if v.op.name == "head/kernel")
    plan = plan_restore(checkpoint, [kernel])
    assert [v.name for v in plan.verdicts] == ["head/kernel"]
    plan.apply(session)
    assert len(plan.unused) == len(checkpoint) - 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patterns": ["nope"]}, VariableNotFoundError, "the model: no variable matches 'nope'"),
        ({"reinit": ["haed"]}, VariableNotFoundError, "the model: no variable matches 'haed'"),
        ({"rename": {"nope": "x"}}, VariableNotFoundError, "no variable matches 'nope'"),
        ({"rename": ["nope"]}, UsageError, "not a rename"),
        ({"on_missing": "skip"}, UsageError, "on_missing: expected one of error, init, got 'skip'"),
        ({"on_shape": "pad"}, UsageError, "on_shape: expected one of error, init, overlap, got 'pad'"),
    ],
)
def test_reject_options(checkpoint, graph, options, error, message):
    network()
    with pytest.raises(error, match=message):
        plan_restore(checkpoint, **options)


def test_a_graph_without_variables_is_refused(checkpoint, graph):
    with pytest.raises(ModelError, match="the graph has no variables"):
        plan_restore(checkpoint)


def test_batch_statistics_are_restored(session, tmp_path):
    stored = save(tmp_path / "m", lambda: convolutional_network(filters=(2,), hidden=3))
    convolutional_network(filters=(2,), hidden=3)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan = plan_restore(checkpoint)
        assert plan["conv1/norm/moving_variance"].action == "restore"
        plan.apply(session)
    assert values_of(session)["conv1/norm/moving_mean"].tolist() == stored["conv1/norm/moving_mean"].tolist()

"""What users of variables, initializers and the Saver hit, each by its name.

Each test shows first what TensorFlow does (where that is not just an absence), then what is done here.
The numbers are those of `docs/traps.md`.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from toolkit import (
    CheckpointKeeper,
    ModelError,
    PlanError,
    initialize,
    open_checkpoint,
    plan_reinit,
    plan_restore,
)
from toolkit.formats.bundle.naming import data_file
from toolkit.graph.models import convolutional_network, perceptron
from toolkit.graph.variables import by_name, uninitialized
from toolkit.selection import select

v1 = tf.compat.v1


def test_trap_1_initialized_value_means_one_thing(session):
    w = v1.get_variable("w", [3], initializer=v1.random_normal_initializer(), use_resource=True)
    with pytest.raises(NotImplementedError):
        w.initialized_value()
    initial = v1.get_variable("initial", [3], use_resource=True)
    current = v1.get_variable("current", [3], use_resource=True)
    initialize(session, copies={initial: w}, copy_value="initial")
    session.run(w.assign([1.0, 2.0, 3.0]))
    initialize(session, copies={current: w}, copy_value="current")
    values = values_of(session)
    assert values["current"].tolist() == [1, 2, 3] != values["initial"].tolist()
    with pytest.raises(ModelError, match="initialized already"):
        initialize(session, copies={initial: w}, copy_value="initial")


def test_trap_2_dependent_initializers_run_in_order(session):
    # a long chain: in one run of all initializers, its order would be left to chance
    last = v1.get_variable("v0", [2], initializer=v1.ones_initializer(), use_resource=True)
    for i in range(1, 30):
        last = v1.get_variable(
            f"v{i}", initializer=lambda last=last: last.read_value() + 1, use_resource=True
        )
    with pytest.raises(tf.errors.FailedPreconditionError):
        session.run(v1.global_variables_initializer())
    initialize(session)
    assert session.run(last).tolist() == [30, 30]


def test_trap_3_finding_the_uninitialized_adds_nothing(session):
    v = v1.get_variable("v", [2], use_resource=True)
    before = len(session.graph.get_operations())
    session.run(v1.report_uninitialized_variables())
    after = len(session.graph.get_operations())
    assert after > before
    assert uninitialized(session, by_name([v])) == ["v"]
    assert len(session.graph.get_operations()) == after


def test_trap_4_restored_values_are_not_wiped(session, tmp_path):
    stored = save(tmp_path / "m", lambda: perceptron(4, (3,), 2), seed=1)
    perceptron(4, (3,), 2)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan_restore(checkpoint, reinit=["head"]).apply(session)
    values = values_of(session)
    assert values["dense1/kernel"].tolist() == stored["dense1/kernel"].tolist()
    assert uninitialized(session, by_name(v1.global_variables())) == []
    session.run(v1.global_variables_initializer())  # what people do, and lose it all
    assert values_of(session)["dense1/kernel"].tolist() != stored["dense1/kernel"].tolist()


def test_trap_5_local_variables_and_tables_are_initialized_too(session):
    v1.get_variable("w", [2])
    seen = v1.get_local_variable("seen", [], initializer=v1.ones_initializer())
    keys = v1.constant(["a", "b"])
    table = v1.lookup.StaticHashTable(v1.lookup.KeyValueTensorInitializer(keys, v1.constant([3.0, 4.0])), 0.0)
    looked_up = table.lookup(v1.constant("b"))
    session.run(v1.global_variables_initializer())
    for value in (seen, looked_up):
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run(value)
    initialize(session)
    assert session.run([seen, looked_up]) == [1, 4]


def test_trap_6_values_do_not_become_constants_of_the_graph(session, tmp_path):
    size = 1 << 21
    write_bundle(tmp_path / "m", {"w": np.ones(size, "f8"), "v": np.ones(size // 2, "f")})
    w = v1.get_variable("w", [size], initializer=v1.zeros_initializer(), use_resource=True)
    v1.get_variable("v", [size], initializer=v1.zeros_initializer(), use_resource=True)
    plan_restore(tmp_path / "m", cast=True, on_shape="overlap").apply(session)
    assert session.graph.as_graph_def().ByteSize() < 100_000
    assert session.run(w)[0] == 1
    v1.assign(w, np.ones(size, "f"))  # what people write
    assert session.graph.as_graph_def().ByteSize() > 4 * size


def test_trap_7_all_missing_names_are_said_at_once(session, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"layer1/weights": np.ones(2, "f")})
    for name in ("layer1/weight", "layer2/weight", "layer3/weight"):
        v1.get_variable(name, [2])
    with pytest.raises(tf.errors.NotFoundError) as first:
        v1.train.Saver().restore(session, prefix)
    assert sum(f"layer{i}/weight" in first.value.message.partition("[[")[0] for i in (1, 2, 3)) == 1
    with open_checkpoint(prefix) as checkpoint, pytest.raises(PlanError) as error:
        plan_restore(checkpoint).check()
    assert [verdict.name for verdict in error.value.verdicts] == [
        "layer1/weight",
        "layer2/weight",
        "layer3/weight",
    ]
    assert error.value.hint.startswith("--rename layer1/weights=layer1/weight")


def test_trap_8_a_transposed_kernel_is_not_loaded_silently(session, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"kernel": np.arange(6, dtype="f").reshape(3, 2)})
    kernel = v1.get_variable("kernel", [2, 3], use_resource=True)
    v1.train.Saver(reshape=True).restore(session, prefix)
    assert session.run(kernel).tolist() == [[0, 1, 2], [3, 4, 5]]  # silently wrong
    with open_checkpoint(prefix) as checkpoint:
        assert plan_restore(checkpoint)["kernel"].problem.endswith("(transposed)")


def test_trap_9_dtypes_are_cast_when_asked(session, tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.array([1.5])})
    w = v1.get_variable("w", [1], use_resource=True)
    with pytest.raises(tf.errors.InvalidArgumentError):
        v1.train.Saver().restore(session, prefix)
    with open_checkpoint(prefix) as checkpoint:
        assert not plan_restore(checkpoint).ok
        plan_restore(checkpoint, cast=True).apply(session)
    assert session.run(w).tolist() == [1.5]


def test_trap_10_half_a_model_does_not_load_silently(graph, tmp_path):
    save(tmp_path / "m", lambda: perceptron(4, (3,), 2))
    perceptron(4, (3,), 2, optimizer="sgd")
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan = plan_restore(checkpoint)
        taken = {verdict.source.partition("::")[2] for verdict in plan.verdicts}
        assert set(plan.unused) == set(checkpoint) - taken
        assert "head/kernel/Adam" in plan.unused
        assert "10 unused in the checkpoint" in str(plan)


def test_trap_11_a_second_build_in_one_graph_is_recognised(session, tmp_path):
    stored = save(tmp_path / "m", lambda: perceptron(4, (3,), 2, optimizer="sgd"))
    for scope in ("dense1", "dense1_1"):
        with v1.variable_scope(scope):
            v1.get_variable("kernel", [4, 3], use_resource=True)
            v1.get_variable("bias", [3], use_resource=True)
    second = [v for v in v1.global_variables() if v.op.name.startswith("dense1_1/")]
    with pytest.raises(tf.errors.NotFoundError):
        v1.train.Saver(second).restore(session, str(tmp_path / "m"))
    plan = plan_restore(tmp_path / "m", second)
    assert "the model was built a second time in one graph" in plan["dense1_1/kernel"].hint
    assert "--rename dense1=dense1_1 finds it" in plan["dense1_1/kernel"].hint
    plan_restore(tmp_path / "m", second, rename=["dense1=dense1_1"]).apply(session)
    assert session.run(second[0]).tobytes() == stored["dense1/kernel"].tobytes()


def test_trap_12_a_plan_covers_slots_and_batch_statistics(session, tmp_path):
    stored = save(tmp_path / "m", lambda: convolutional_network(filters=(2,), hidden=3))
    convolutional_network(filters=(2,), hidden=3)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan_restore(checkpoint).apply(session)
    values = values_of(session)
    for name in ("conv1/norm/moving_variance", "conv1/kernel/Adam_1", "beta2_power"):
        assert values[name].tobytes() == stored[name].tobytes()


def test_trap_13_conv1_is_not_conv10(graph):
    from toolkit.roles import Role

    roles = {name: Role("weight") for name in ("conv1/w", "conv10/w")}
    assert select(roles, ["conv1"], where="here") == ["conv1/w"]
    v1.get_variable("conv1/w", [1])
    v1.get_variable("conv10/w", [1])
    taken = tf.compat.v1.get_collection(v1.GraphKeys.GLOBAL_VARIABLES, scope="conv1")
    assert len(taken) == 2  # what a prefix takes


def test_trap_14_a_partitioned_variable_goes_into_another_partitioning(session, tmp_path):
    def build(parts):
        with v1.variable_scope("net", partitioner=v1.fixed_size_partitioner(parts), use_resource=True):
            return v1.get_variable("w", [6, 2], initializer=v1.random_normal_initializer())

    save(tmp_path / "m", lambda: build(3))
    whole = build(2).as_tensor()
    with open_checkpoint(tmp_path / "m") as checkpoint:
        assert list(checkpoint) == ["net/w"]  # not net/w/part_0
        expected = checkpoint["net/w"].read()
        plan = plan_restore(checkpoint)
        assert plan["net/w"].reason == "same name; 3 parts in the checkpoint, 2 parts in the model"
        plan.apply(session)
    assert session.run(whole).tobytes() == expected.tobytes()


def test_trap_15_moving_averages_stand_in_for_their_variables(session, tmp_path):
    stored = save(tmp_path / "m", lambda: perceptron(4, (3,), 2, average=0.9, optimizer="sgd"))
    perceptron(4, (3,), 2, optimizer="sgd")
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan_restore(checkpoint, ema="require").apply(session)
        average = stored["dense1/kernel/ExponentialMovingAverage"]
        assert values_of(session)["dense1/kernel"].tobytes() == average.tobytes()
    save(tmp_path / "without", lambda: perceptron(4, (3,), 2, optimizer="sgd"))
    assert plan_restore(tmp_path / "without", ema="prefer").ok
    missing = plan_restore(tmp_path / "without", ema="require")["dense1/kernel"]
    assert missing.problem == "no moving average of dense1/kernel in the checkpoint"
    assert missing.hint == "--ema prefer takes the variable itself where there is none"


def test_trap_16_global_step_is_named_in_the_plan(session, tmp_path):
    save(tmp_path / "m", lambda: perceptron(4, (3,), 2))
    perceptron(4, (3,), 2)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        assert "the count of steps goes on" in plan_restore(checkpoint)["global_step"].reason
        plan = plan_restore(checkpoint, reinit=["global_step"])
        assert plan["global_step"].action == "initialize"


def test_trap_17_slots_and_averages_are_reset_with_their_variable(tmp_path, graph):
    save(tmp_path / "m", lambda: perceptron(4, (3,), 2, average=0.9))
    perceptron(4, (3,), 2, average=0.9)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        for plan in (plan_restore(checkpoint, reinit=["head"]), plan_reinit(checkpoint, ["head"])):
            fresh = {verdict.name for verdict in plan.verdicts if verdict.action in ("initialize", "copy")}
            assert fresh == {name for name in checkpoint if name.startswith("head/")}


def test_trap_18_objects_go_into_graphs_and_back_by_full_names(tmp_path):
    with tf.Graph().as_default(), v1.Session() as first:
        module = tf.Module()
        module.any = v1.get_variable("net/w", [2], initializer=v1.ones_initializer(), use_resource=True)
        initialize(first)
        path = v1.train.Checkpoint(module=module).save(str(tmp_path / "m"), session=first)
    with tf.Graph().as_default(), v1.Session() as second:
        w = v1.get_variable("net/w", [2], use_resource=True)
        by_key = tf.raw_ops.RestoreV2(
            prefix=path, tensor_names=["net/w"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        with pytest.raises(tf.errors.NotFoundError):
            second.run(by_key)
        plan_restore(path).apply(second)
        assert second.run(w).tolist() == [1, 1]
        v1.train.Saver().save(second, str(tmp_path / "back"), write_state=False)
    alive = tf.Module()
    alive.any = tf.Variable([0.0, 0.0], name="net/w")
    plan_restore(tmp_path / "back", alive).apply()
    assert alive.any.numpy().tolist() == [1, 1]


def test_trap_19_any_file_of_a_checkpoint_names_it(session, tmp_path):
    save(tmp_path / "m", lambda: perceptron(4, (3,), 2))
    perceptron(4, (3,), 2)
    with pytest.raises((tf.errors.OpError, ValueError)):
        v1.train.Saver().restore(session, data_file(str(tmp_path / "m"), 0, 1))
    for given in (".index", ".data-00000-of-00001", ""):
        with open_checkpoint(f"{tmp_path}/m{given}") as checkpoint:
            assert plan_restore(checkpoint).ok


def test_trap_20_a_directory_that_was_moved_still_has_a_latest(session, tmp_path):
    v1.get_variable("w", [2])
    initialize(session)
    old, new = tmp_path / "old", tmp_path / "new"
    saver = v1.train.Saver()
    saver.save(session, f"{old}/m", global_step=7)
    old.rename(new)
    assert tf.train.latest_checkpoint(str(new)) is None  # and nobody says why
    notes: list[str] = []
    with open_checkpoint(new, note=notes.append) as checkpoint:
        assert checkpoint.path == f"{new}/m-7"
    assert notes
    CheckpointKeeper(new).save(session, 8)
    new.rename(old)
    assert tf.train.latest_checkpoint(str(old)) == f"{old}/model.ckpt-8"


def test_trap_21_retention_outlives_a_restart(session, tmp_path):
    v1.get_variable("w", [2])
    initialize(session)
    for step in range(1, 7):
        v1.train.Saver(max_to_keep=2).save(session, f"{tmp_path}/saver/m", global_step=step)  # a new process
        CheckpointKeeper(tmp_path / "keeper", keep=2, keep_best=1).save(session, step, metric=-step)
    assert len(list((tmp_path / "saver").glob("*.index"))) == 6
    assert {path.name for path in (tmp_path / "keeper").glob("*.index")} == {
        "model.ckpt-1.index", "model.ckpt-5.index", "model.ckpt-6.index",
    }  # fmt: skip


def test_trap_22_an_old_index_is_never_paired_with_new_data(tmp_path):
    save(tmp_path / "m", lambda: perceptron(4, (3,), 2), seed=1)
    old = open_checkpoint(tmp_path / "m")
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan_reinit(checkpoint, ["**"], seed=1).write(tmp_path / "other")
    with open_checkpoint(tmp_path / "other") as other:
        plan_reinit(other, ["head"], seed=2).write(tmp_path / "m", force=True)
    with pytest.raises(Exception, match="no such file|changed after"):
        old["head/kernel"].read(verify=False)


def test_trap_23_a_full_disk_leaves_the_old_checkpoint_whole(session, tmp_path, monkeypatch):
    import errno
    import os

    import toolkit
    from tests.conftest import contents

    perceptron(4, (3,), 2)
    initialize(session)
    toolkit.save(session, tmp_path / "m")
    before = contents(tmp_path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(toolkit.PublishError, match="no space left on device"):
        toolkit.save(session, tmp_path / "m", force=True)
    assert contents(tmp_path) == before


def test_trap_24_a_rename_for_all_names_takes_the_counters_along(tmp_path):
    shapes = {f"dense{i}/{leaf}": shape for i in range(3) for leaf, shape in (("w", (4, 4)), ("b", (4,)))}
    values = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    path = write_bundle(tmp_path / "m", {**values, "global_step": np.int64(7)})
    with tf.Graph().as_default() as graph:
        v1.train.get_or_create_global_step()
        for name, shape in shapes.items():
            v1.get_variable(f"net/{name}", shape)
    everything = plan_restore(path, graph, rename=r"re:^(.*)$=net/\1", on_missing="init")
    assert everything["global_step"].action == "initialize"
    proposed = plan_restore(path, graph).advice.renames
    helped = plan_restore(path, graph, rename=proposed)
    assert helped.ok
    assert {verdict.action for verdict in helped} == {"restore"}


def test_trap_31_a_save_that_the_state_file_lacks_is_found(session, tmp_path):
    from toolkit import latest, plan_repair

    w = v1.get_variable("w", [2])
    initialize(session)
    saver = v1.train.Saver({"w": w})
    saver.save(session, f"{tmp_path}/m", global_step=230)
    saver.save(session, f"{tmp_path}/m", global_step=240, write_state=False)  # as if it was killed then
    assert tf.train.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/m-230"
    assert latest(tmp_path).step == 240
    assert open_checkpoint(tmp_path).path == f"{tmp_path}/m-240"
    plan_repair(tmp_path).apply()
    assert tf.train.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/m-240"

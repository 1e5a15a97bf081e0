"""Every result of every change restores in TensorFlow, and what is not in the plan is equal bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import VALID
from tests.tensorflow import tf
from tests.tensorflow.conftest import save
from toolkit import edit, export, open_checkpoint, plan_average, plan_merge, plan_reinit
from toolkit.formats.read_back import checksum_of
from toolkit.graph.models import perceptron

v1 = tf.compat.v1


def network():
    v1.train.get_or_create_global_step()
    perceptron(4, (3,), 2, average=0.9)


@pytest.fixture
def trained(tmp_path) -> tuple[str, dict[str, np.ndarray]]:
    return str(tmp_path / "m"), save(tmp_path / "m", network)


def restored(prefix) -> dict[str, np.ndarray]:
    """Restore a checkpoint with TensorFlow's Saver into a graph of the variables that TensorFlow says it has."""
    reader = tf.train.load_checkpoint(str(prefix))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {}
        for number, (name, shape) in enumerate(shapes.items()):
            empty = (
                np.full(shape, b"", object) if dtypes[name] == tf.string else v1.zeros(shape, dtypes[name])
            )
            resource = dtypes[name] != tf.string
            variables[name] = v1.Variable(empty, name=f"v{number}", use_resource=resource)
        v1.train.Saver(variables).restore(session, str(prefix))
        return session.run(variables)


def check(prefix, expected: dict[str, np.ndarray]) -> None:
    """Compare what the Saver restores with what is expected, and each value with its checksum."""
    found = restored(prefix)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, np.shape(value)), name
        assert found[name].tobytes() == np.asarray(value).tobytes(), name
    with open_checkpoint(prefix) as checkpoint:
        for variable in checkpoint.values():
            assert checksum_of(variable) == (variable.crc32c or checksum_of(variable))


@pytest.mark.parametrize("mode", ["auto", "link", "copy"])
def test_edits_restore_with_the_saver(trained, tmp_path, mode):
    prefix, values = trained
    edited = (
        edit(prefix)
        .rename("dense1", "encoder")
        .drop("**/ExponentialMovingAverage")
        .copy("head2", "head")
        .set("global_step", 0)
        .cast("encoder/bias", "float64")
    )
    edited.write(tmp_path / "out", data=mode)
    expected = {
        name.replace("dense1/", "encoder/"): value
        for name, value in values.items()
        if not name.endswith("/ExponentialMovingAverage")
    }
    expected |= {"head2/kernel": values["head/kernel"], "head2/bias": values["head/bias"]}
    expected["global_step"] = np.int64(0)
    expected["encoder/bias"] = expected["encoder/bias"].astype(np.float64)
    check(tmp_path / "out", expected)
    edit(tmp_path / "out").strip_optimizer().write(tmp_path / "stripped", data=mode)
    kept = {n: v for n, v in expected.items() if "Adam" not in n and "_power" not in n}
    check(tmp_path / "stripped", kept)


def test_an_edited_checkpoint_is_edited_again_and_restores(trained, tmp_path):
    source, expected = trained[0], dict(trained[1])
    for turn in range(10):
        edit(source).reinit("head/bias", f"constant:{turn}", keep_slots=True).write(
            tmp_path / f"t{turn}", data="link"
        )
        source = str(tmp_path / f"t{turn}")
    expected["head/bias"] = np.full_like(expected["head/bias"], 9)
    check(source, expected)


@pytest.mark.parametrize("mode", ["auto", "link", "copy"])
@pytest.mark.parametrize("name", ["partitioned", "shards", "big_endian", "v1", "strings"])
def test_whatever_its_source_an_edit_restores(tmp_path, name, mode):
    with open_checkpoint(VALID / name) as checkpoint:
        values = {n: v.load() for n, v in checkpoint.items()}
    first = min(values)
    edit(VALID / name).rename(first, "renamed/it").write(tmp_path / "out", data=mode)
    found = restored(tmp_path / "out")
    expected = {("renamed/it" if n == first else n): v for n, v in values.items()}
    assert {n: np.asarray(v).tolist() for n, v in found.items()} == {
        n: v.tolist() for n, v in expected.items()
    }


def test_a_partitioned_variable_that_was_renamed_restores_in_parts(tmp_path):
    def partitioned(scope):
        with v1.variable_scope(scope, partitioner=v1.fixed_size_partitioner(3)):
            v1.get_variable("w", [7, 2], initializer=v1.random_normal_initializer())

    save(tmp_path / "m", lambda: partitioned("a"))
    edit(tmp_path / "m").rename("a", "b").write(tmp_path / "out")
    with open_checkpoint(tmp_path / "m") as checkpoint:
        whole = checkpoint["a/w"].load()
    with tf.Graph().as_default(), v1.Session() as session:
        partitioned("b")
        v1.train.Saver().restore(session, str(tmp_path / "out"))
        parts = [session.run(v) for v in v1.global_variables()]
    assert len(parts) == 3
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_merged_checkpoints_restore(trained, tmp_path):
    prefix, values = trained
    edit(prefix).keep("head").rename("head", "tail").write(tmp_path / "tail")
    plan_merge(prefix, tmp_path / "tail").write(tmp_path / "out")
    check(
        tmp_path / "out",
        values | {n.replace("head", "tail"): values[n] for n in ("head/kernel", "head/bias")},
    )


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_averages_restore_and_are_numpys_mean(tmp_path, weights):
    parts = [save(tmp_path / f"m{seed}", network, seed) for seed in range(3)]
    plan_average(*(tmp_path / f"m{seed}" for seed in range(3)), weights=weights).write(tmp_path / "out")
    found = restored(tmp_path / "out")
    for name, value in found.items():
        stack = np.stack([part[name] for part in parts])
        if value.dtype != np.float32:
            assert value.tolist() == parts[-1][name].tolist()
            continue
        mean = np.average(stack.astype(np.float64), axis=0, weights=weights)
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, mean, rtol=6e-8, atol=0)  # half a unit in the last place


def test_reinitialized_restores_from_a_file_of_another_format(trained, tmp_path):
    prefix, values = trained
    export(prefix, tmp_path / "x.h5")
    plan = plan_reinit(tmp_path / "x.h5", "head", seed=1)
    plan.write(tmp_path / "out")
    chosen = {verdict.name for verdict in plan if verdict.action != "keep"}
    found = restored(tmp_path / "out")
    assert found.keys() == values.keys()
    for name, value in values.items():
        if name not in chosen:
            assert found[name].tobytes() == value.tobytes()


def test_variants_are_moved_as_they_are(tmp_path):
    """A tf.data iterator's state and the like: bytes that TensorFlow alone can read."""
    with tf.Graph().as_default(), v1.Session() as session:
        handle = tf.raw_ops.TensorListFromTensor(
            tensor=tf.constant([[1.0, 2.0], [3.0, 4.0]]), element_shape=tf.constant([2], tf.int32)
        )
        save_op = tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "m"), tensor_names=["list", "w"], shape_and_slices=["", ""],
            tensors=[handle, tf.ones([3])],
        )  # fmt: skip
        session.run(save_op)
    for mode in ("auto", "copy"):
        edit(tmp_path / "m").rename("list", "l").set("w", 2).write(tmp_path / mode, data=mode)
        with tf.Graph().as_default(), v1.Session() as session:
            read = tf.raw_ops.RestoreV2(
                prefix=str(tmp_path / mode), tensor_names=["l"], shape_and_slices=[""], dtypes=[tf.variant]
            )[0]
            stacked = tf.raw_ops.TensorListStack(
                input_handle=read, element_shape=tf.constant([2], tf.int32), element_dtype=tf.float32
            )
            assert session.run(stacked).tolist() == [[1, 2], [3, 4]]

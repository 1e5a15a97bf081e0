"""Training directories as TensorFlow makes them: what is found there, and what TensorFlow finds afterwards."""

from __future__ import annotations

import os

import pytest

from tests.tensorflow import tf
from toolkit import edit, latest, log, plan_prune, plan_repair

v1 = tf.compat.v1


def train(folder, *, steps=(100, 200, 300), **options) -> v1.train.Saver:
    """Save some steps with TensorFlow's Saver."""
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", [5], initializer=v1.ones_initializer())
        saver = v1.train.Saver({"w": w}, **options)
        session.run(w.initializer)
        for step in steps:
            saver.save(session, str(folder / "model.ckpt"), global_step=step)
    return saver


KINDS = {
    "plain": {},
    "sharded": {"sharded": True},
    "v1": {"write_version": v1.train.SaverDef.V1},
    "v1 sharded": {"write_version": v1.train.SaverDef.V1, "sharded": True},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_saver_writes_is_listed_pruned_and_left_well(tmp_path, kind):
    train(tmp_path, **KINDS[kind])
    latest_before = tf.train.latest_checkpoint(str(tmp_path))
    logged = log(tmp_path)
    assert [each.step for each in logged] == [100, 200, 300]
    assert [each.latest for each in logged] == [False, False, True]
    found = sum(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path) if name != "checkpoint")
    assert sum(each.nbytes for each in logged) == found
    repair = plan_repair(tmp_path)
    repair.apply()
    assert tf.train.latest_checkpoint(str(tmp_path)) == latest_before
    pruning = plan_prune(tmp_path, keep=1)
    pruning.apply()
    left = sum(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path) if name != "checkpoint")
    assert pruning.nbytes == found - left > 0
    assert [each.step for each in log(tmp_path)] == [300]
    assert tf.train.latest_checkpoint(str(tmp_path)) == latest_before
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert list(state.all_model_checkpoint_paths) == [latest_before]


def test_a_moved_directory_is_found_by_tensorflow_after_it_is_repaired(tmp_path):
    (tmp_path / "a").mkdir()
    train(tmp_path / "a")
    paths = [f"{tmp_path}/a/model.ckpt-{step}" for step in (100, 200, 300)]
    lines = [f'model_checkpoint_path: "{paths[-1]}"', *(f'all_model_checkpoint_paths: "{p}"' for p in paths)]
    (tmp_path / "a/checkpoint").write_text(
        "\n".join(lines)
    )  # as a Saver does that was given an absolute path
    os.rename(tmp_path / "a", tmp_path / "b")
    assert tf.train.latest_checkpoint(str(tmp_path / "b")) is None
    assert latest(tmp_path / "b").step == 300
    plan_repair(tmp_path / "b").apply()
    assert tf.train.latest_checkpoint(str(tmp_path / "b")) == str(tmp_path / "b/model.ckpt-300")
    assert len(tf.train.get_checkpoint_state(str(tmp_path / "b")).all_model_checkpoint_paths) == 3


def test_a_manager_goes_on_after_its_directory_was_pruned_and_repaired(tmp_path):
    step = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(step=step)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=4)
    for number in range(6):
        step.assign(number)
        manager.save(checkpoint_number=number)
    edit(tmp_path / "ckpt-5").write(tmp_path / "copy-1")
    plan_prune(tmp_path, keep=2).apply()
    plan_repair(tmp_path).apply()
    again = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=4)
    assert [os.path.basename(path) for path in again.checkpoints] == ["ckpt-4", "ckpt-5"]
    step.assign(0)
    checkpoint.restore(again.latest_checkpoint)
    assert step.numpy() == 5
    again.save(checkpoint_number=6)
    assert latest(tmp_path).step == 6

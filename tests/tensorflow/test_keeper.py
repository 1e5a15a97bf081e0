"""Saves that can be relied on: what is kept, what is left after an end at any moment, what is restored."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import contents, names_in
from tests.tensorflow import tf
from toolkit import CheckpointKeeper, FormatError, PlanError, PublishError, UsageError, open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
v1 = tf.compat.v1


@pytest.fixture
def model(session):
    """A variable whose value is set to the step, in a session."""
    variable = v1.get_variable("w", [4], initializer=v1.zeros_initializer(), use_resource=True)
    given = v1.placeholder(tf.float32)
    assign = variable.assign(given * tf.ones([4]))

    def set_to(value):
        session.run(assign, {given: value})

    set_to(0)
    return variable, set_to


def steps(directory):
    return sorted(
        int(name.split("-")[1].split(".")[0]) for name in names_in(directory) if name.endswith(".index")
    )


def test_what_is_kept_is_remembered_over_restarts(session, model, tmp_path):
    _, set_to = model
    for step, metric in zip(range(1, 9), [0.1, 0.9, 0.2, 0.3, 0.8, 0.1, 0.2, 0.3], strict=True):
        keeper = CheckpointKeeper(tmp_path, keep=2, keep_every=4, keep_best=2)  # a new process each time
        set_to(step)
        assert keeper.save(session, step, metric=metric) == f"{tmp_path}/model.ckpt-{step}"
    assert steps(tmp_path) == [2, 4, 5, 7, 8]
    assert [save.step for save in keeper.saves] == [2, 4, 5, 7, 8]
    assert keeper.best == f"{tmp_path}/model.ckpt-2"
    assert tf.train.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/model.ckpt-8"
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert [os.path.basename(path) for path in state.all_model_checkpoint_paths] == [
        f"model.ckpt-{step}" for step in (2, 4, 5, 7, 8)
    ]
    assert "/" not in (tmp_path / "checkpoint").read_text()  # paths are relative
    assert {name for name in names_in(tmp_path) if not name.startswith("model.ckpt-")} == {
        "checkpoint", "model.ckpt.keeper.json",
    }  # fmt: skip


def test_the_newest_is_restored(session, model, tmp_path):
    variable, set_to = model
    keeper = CheckpointKeeper(tmp_path)
    assert keeper.restore(session) is None
    for step in (1, 2):
        set_to(step)
        keeper.save(session, step)
    set_to(9)
    restored = CheckpointKeeper(tmp_path).restore(session)
    assert (restored.path, restored.step, restored.skipped) == (f"{tmp_path}/model.ckpt-2", 2, ())
    assert restored.plan["w"].action == "restore"
    assert session.run(variable).tolist() == [2] * 4


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "index"])
def test_broken_ones_are_skipped_and_named(session, model, tmp_path, damage):
    variable, set_to = model
    keeper = CheckpointKeeper(tmp_path)
    for step in (1, 2, 3):
        set_to(step)
        keeper.save(session, step)
    data = tmp_path / "model.ckpt-3.data-00000-of-00001"
    if damage == "flip":
        data.write_bytes(b"\1" + data.read_bytes()[1:])
    elif damage == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif damage == "remove":
        data.unlink()
    else:
        (tmp_path / "model.ckpt-3.index").write_bytes(b"")
    restored = keeper.restore(session)
    assert restored.step == 2
    assert "model.ckpt-3" in restored.skipped[0].message
    assert session.run(variable).tolist() == [2] * 4


def test_if_all_are_broken_that_is_an_error(session, model, tmp_path):
    keeper = CheckpointKeeper(tmp_path)
    keeper.save(session, 1)
    (tmp_path / "model.ckpt-1.index").write_bytes(b"")
    with pytest.raises(FormatError, match="every save is broken; the newest"):
        keeper.restore(session)


def test_a_save_that_does_not_fit_the_model_is_not_skipped(session, model, tmp_path):
    keeper = CheckpointKeeper(tmp_path)
    keeper.save(session, 1)
    with tf.Graph().as_default(), v1.Session() as other:
        v1.get_variable("other", [2])
        with pytest.raises(PlanError):
            keeper.restore(other)


def test_the_same_step_is_replaced(session, model, tmp_path):
    variable, set_to = model
    keeper = CheckpointKeeper(tmp_path)
    for value in (1, 2):
        set_to(value)
        keeper.save(session, 7)
    assert steps(tmp_path) == [7]
    keeper.restore(session)
    assert session.run(variable).tolist() == [2] * 4


def test_what_others_saved_stays(session, model, tmp_path):
    v1.train.Saver().save(session, str(tmp_path / "other"), global_step=5, write_meta_graph=False)
    before = contents(tmp_path)
    keeper = CheckpointKeeper(tmp_path, keep=1)
    for step in (1, 2, 3):
        keeper.save(session, step)
    for name, content in before.items():
        if name != "checkpoint":
            assert (tmp_path / name).read_bytes() == content
    paths = tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths
    assert [os.path.basename(path) for path in paths] == ["other-5", "model.ckpt-3"]


def test_a_step_that_another_program_saved_is_not_replaced(session, model, tmp_path):
    v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=5, write_meta_graph=False)
    before = contents(tmp_path)
    with pytest.raises(PublishError, match="exists, and is none of this keeper's"):
        CheckpointKeeper(tmp_path).save(session, 5)
    assert contents(tmp_path) == before


def test_without_room_nothing_is_begun(session, model, tmp_path, monkeypatch):
    keeper = CheckpointKeeper(tmp_path)
    keeper.save(session, 1)
    before = contents(tmp_path)
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real[:4], 1, *real[5:])))
    with pytest.raises(PublishError, match="needs 1048592 bytes, and .* are free"):
        keeper.save(session, 2)
    assert contents(tmp_path) == before


def test_a_disk_that_fills_up_meanwhile_leaves_the_earlier_save_whole(session, tmp_path):
    """The limit of a file's size stands for the disk's end."""
    variable = v1.get_variable("big", [1 << 20], initializer=v1.ones_initializer(), use_resource=True)
    session.run(variable.initializer)
    keeper = CheckpointKeeper(tmp_path)
    keeper.save(session, 1)
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(PublishError, match="model.ckpt-2"):
            keeper.save(session, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert contents(tmp_path) == before
    assert keeper.restore(session).step == 1


class TestObjects:
    def build(self, value):
        return tf.train.Checkpoint(w=tf.Variable([value] * 3), step=tf.Variable(int(value)))

    def test_a_tf_train_checkpoint_is_saved_and_restored(self, tmp_path):
        keeper = CheckpointKeeper(tmp_path, keep=2)
        for step in (1, 2, 3):
            keeper.save(self.build(float(step)), step)
        assert steps(tmp_path) == [2, 3]
        root = self.build(0.0)
        assert keeper.restore(root).step == 3
        assert root.w.numpy().tolist() == [3] * 3
        again = self.build(0.0)
        again.read(f"{tmp_path}/model.ckpt-3").assert_consumed()
        assert again.w.numpy().tolist() == [3] * 3

    def test_what_the_options_leave_out_is_not_restored_after_all(self, tmp_path):
        keeper = CheckpointKeeper(tmp_path)
        keeper.save(self.build(3.0), 3)
        root = self.build(1.0)
        assert keeper.restore(root, exclude=["w"]).plan["w"].action == "keep"
        assert root.w.numpy().tolist() == [1] * 3
        assert root.step.numpy() == 3

    def test_weights_of_a_keras_model_are_saved_and_restored(self, tmp_path):
        def build():
            return tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(3, name="d")], name="net")

        model = build()
        keeper = CheckpointKeeper(tmp_path, keep=2, name="net")
        for step in (1, 2, 3):
            for weight in model.weights:
                weight.assign(np.random.default_rng(step).normal(size=weight.shape))
            path = keeper.save(model, step)
        assert names_in(tmp_path) == ["net-2.weights.h5", "net-3.weights.h5", "net.keeper.json"]
        other = build()
        assert keeper.restore(other).path == path
        assert [w.numpy().tobytes() for w in other.weights] == [w.numpy().tobytes() for w in model.weights]
        Path(path).write_bytes(b"")
        restored = keeper.restore(other)
        assert (restored.step, len(restored.skipped)) == (2, 1)


def test_in_a_monitored_session(tmp_path):
    with tf.Graph().as_default() as graph:
        step = v1.train.create_global_step()
        train = v1.assign_add(step, 1)
        keeper = CheckpointKeeper(tmp_path)
        keeper.prepare(graph)
        with v1.train.MonitoredTrainingSession() as session:
            session.run(train)
            keeper.save(session, session.run(step))
    with open_checkpoint(tmp_path / "model.ckpt-1") as checkpoint:
        assert checkpoint["global_step"].read() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "keep: expected a whole number of 1 or more, got 0"),
        ({"name": "a/b"}, "expected one without a directory"),
        ({"mode": "best"}, "mode: expected one of max, min, got 'best'"),
    ],
)
def test_reject_options(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        CheckpointKeeper(tmp_path, **options)


def test_no_directory_is_made_that_is_called_as_a_url_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PublishError, match="gs://b/run: a URL: expected a path: only local files are written"
    ):
        CheckpointKeeper("gs://b/run")
    assert names_in(tmp_path) == []


def test_reject_targets_and_records(tmp_path, session, model):
    keeper = CheckpointKeeper(tmp_path)
    with pytest.raises(UsageError, match="int: expected a session, a tf.train.Checkpoint or a Keras model"):
        keeper.save(3, 1)
    with pytest.raises(UsageError, match="step -1: expected a whole number"):
        keeper.save(session, -1)
    for text in (
        "{",
        '{"saves": [], "removing": ["../x"]}',
        '{"saves": [{"name": "other-1", "step": 1, "time": 0}]}',
    ):
        (tmp_path / "model.ckpt.keeper.json").write_text(text)
        with pytest.raises(FormatError, match="not the record of a keeper"):
            CheckpointKeeper(tmp_path)


class TestDirectories:
    """What people do to a directory, and what happens to its saves."""

    @pytest.fixture
    def root(self):
        return tf.train.Checkpoint(v=tf.Variable([1.0, 2.0]))

    @pytest.mark.parametrize("step", [3.0, np.float32(3), np.int64(3), tf.constant(3)])
    def test_any_whole_number_is_a_step(self, root, tmp_path, step):
        assert CheckpointKeeper(tmp_path).save(root, step) == f"{tmp_path}/model.ckpt-3"
        assert CheckpointKeeper(tmp_path).restore(root).step == 3

    def test_what_is_no_step_or_metric_is_refused_before_anything_is_written(self, root, tmp_path):
        keeper = CheckpointKeeper(tmp_path)
        for options in (
            {"step": 1.5},
            {"step": "1"},
            {"step": 1, "metric": "good"},
            {"step": 1, "metric": [1, 2]},
        ):
            with pytest.raises(UsageError):
                keeper.save(root, **options)
        assert names_in(tmp_path) == []

    def test_two_keepers_of_other_names_share_a_directory(self, root, tmp_path):
        for step in (1, 2, 3):
            for name in "ab":
                CheckpointKeeper(tmp_path, name=name, keep=2).save(root, step)
        for name in "ab":
            assert [save.step for save in CheckpointKeeper(tmp_path, name=name).saves] == [2, 3]
        paths = tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths
        assert [os.path.basename(path) for path in paths] == ["a-2", "a-3", "b-2", "b-3"]

    def test_a_first_save_whose_process_was_killed_is_known(self, root, tmp_path, monkeypatch):
        keeper = CheckpointKeeper(tmp_path)
        monkeypatch.setattr(keeper._kept, "add", lambda save: None)  # the process ends before this
        keeper.save(root, 0)
        again = CheckpointKeeper(tmp_path)
        assert [save.step for save in again.saves] == [0]
        again.save(root, 0)

    def test_the_order_is_that_of_saving_whatever_the_clock_says(self, root, tmp_path, monkeypatch):
        keeper = CheckpointKeeper(tmp_path)
        keeper.save(root, 1)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        keeper.save(root, 2)
        assert keeper.restore(root).step == 2
        assert [save.step for save in CheckpointKeeper(tmp_path).saves] == [1, 2]

    def test_saves_that_were_removed_by_hand_count_no_more(self, root, tmp_path):
        keeper = CheckpointKeeper(tmp_path, keep=2)
        for step in (1, 2, 3):
            keeper.save(root, step)
        for path in tmp_path.glob("model.ckpt-3.*"):
            path.unlink()
        CheckpointKeeper(tmp_path, keep=2).save(root, 4)
        assert steps(tmp_path) == [2, 4]
        for path in tmp_path.glob("model.ckpt-*"):
            path.unlink()
        assert CheckpointKeeper(tmp_path).restore(root) is None

    def test_tables_and_optimizers_that_are_not_built_are_restored_too(self, tmp_path):
        def table():
            return tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)

        def model():
            tf.keras.backend.clear_session()
            return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)], name="net")

        first, filled = model(), table()
        filled.insert(["a"], [5])
        first.compile("adam", "mse")
        first.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
        keeper = CheckpointKeeper(tmp_path)
        keeper.save(tf.train.Checkpoint(model=first, optimizer=first.optimizer, table=filled), 1)
        second, empty, optimizer = model(), table(), tf.keras.optimizers.Adam()
        restored = keeper.restore(tf.train.Checkpoint(model=second, optimizer=optimizer, table=empty))
        assert {v.action for v in restored.plan} == {"restore", "defer"}
        assert empty.lookup(tf.constant(["a"])).numpy().tolist() == [5]
        optimizer.build(second.trainable_variables)
        assert [v.numpy().tobytes() for v in optimizer.variables] == [
            v.numpy().tobytes() for v in first.optimizer.variables
        ]


class TestKilled:
    """A process is killed at one system call of a save after another."""

    def test_the_last_acknowledged_save_is_restored(self, tmp_path):
        script = Path(__file__).with_name("killed_keeper.py")
        done = subprocess.run(
            [sys.executable, script, tmp_path], check=False, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        outcomes = json.loads(done.stdout)
        assert {outcome["call"] for outcome in outcomes} == {
            "link",
            "unlink",
            "fsync",
            "replace",
            "rename",
            "mkdir",
        }
        assert sum(outcome["killed"] for outcome in outcomes) > 20
        for outcome in outcomes:
            step = outcome["restored"]
            assert step == 4 or (outcome["killed"] and step == 3), outcome
            assert outcome["value"] == step, outcome
            assert outcome["skipped"] == 0, outcome
            # latest, log, opening the directory, and TensorFlow once it is repaired
            assert outcome["told"] == [step] * 4, outcome
            # whoever saves next cleans up
            assert outcome["indexes"] == [f"model.ckpt-{step}.index", "model.ckpt-5.index"], outcome
            assert outcome["others"] == ["checkpoint", "model.ckpt.keeper.json"], outcome

"""What is written here restores in TensorFlow; what TensorFlow writes goes out by the one door."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import toolkit
from tests.conftest import contents, names_in
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from toolkit import (
    MismatchError,
    ModelError,
    PublishError,
    UsageError,
    open_checkpoint,
    plan_reinit,
    plan_restore,
)
from toolkit.graph.models import perceptron

v1 = tf.compat.v1
ROOT = Path(__file__).parents[2]


def network():
    perceptron(4, (3,), 2, average=0.9)


def test_a_reinitialized_checkpoint_restores_with_the_saver(session, tmp_path):
    before = save(tmp_path / "m", network)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        plan = plan_reinit(checkpoint, ["head"], seed=4)
        plan.write(tmp_path / "out")
    network()
    v1.train.Saver().restore(session, str(tmp_path / "out"))
    after = values_of(session)
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    chosen = {verdict.name for verdict in plan.verdicts if verdict.action != "keep"}
    assert len(chosen) == 8
    for name, value in after.items():
        assert reader.get_tensor(name).tobytes() == value.tobytes()
        if name not in chosen:
            assert value.tobytes() == before[name].tobytes()
    assert after["head/kernel"].tolist() != before["head/kernel"].tolist()
    assert sorted(reader.get_variable_to_shape_map()) == sorted(after)


def test_a_session_is_saved_with_its_graph(session, tmp_path):
    network()
    toolkit.initialize(session)
    toolkit.save(session, tmp_path / "out")
    assert names_in(tmp_path) == ["out.data-00000-of-00001", "out.index", "out.meta"]
    values = values_of(session)
    with tf.Graph().as_default(), v1.Session() as other:
        v1.train.import_meta_graph(str(tmp_path / "out.meta")).restore(other, str(tmp_path / "out"))
        assert {n: v.tolist() for n, v in values_of(other).items()} == {
            n: v.tolist() for n, v in values.items()
        }


def test_replacing_gives_files_of_other_names_that_restore(session, tmp_path):
    network()
    toolkit.initialize(session)
    toolkit.save(session, tmp_path / "out")
    with pytest.raises(PublishError, match="exists"):
        toolkit.save(session, tmp_path / "out")
    toolkit.initialize(session)
    toolkit.save(session, tmp_path / "out", force=True, sync=False)
    assert names_in(tmp_path) == [
        "out.data-00000-of-00002", "out.data-00001-of-00002", "out.index", "out.meta",
    ]  # fmt: skip
    values = values_of(session)
    v1.train.Saver().restore(session, str(tmp_path / "out"))
    assert values_of(session)["head/kernel"].tolist() == values["head/kernel"].tolist()


def test_a_variable_without_a_value_is_an_error_and_nothing_appears(session, tmp_path):
    network()
    with pytest.raises(ModelError, match="a variable has no value"):
        toolkit.save(session, tmp_path / "out")
    assert names_in(tmp_path) == []


def test_a_value_that_changed_on_the_way_is_not_published(session, tmp_path):
    network()
    toolkit.initialize(session)
    with pytest.raises(MismatchError, match="head/bias was not written as it is"):
        toolkit.save(session, tmp_path / "out", checksums={"head/bias": 12345})
    assert names_in(tmp_path) == []


def test_directories_that_are_missing_are_made_and_gone_again_if_it_fails(session, tmp_path):
    network()
    toolkit.initialize(session)
    with pytest.raises(MismatchError):
        toolkit.save(session, tmp_path / "new" / "er" / "out", checksums={"head/bias": 12345})
    assert names_in(tmp_path) == []
    toolkit.save(session, tmp_path / "new" / "er" / "out")
    assert names_in(tmp_path / "new" / "er") == ["out.data-00000-of-00001", "out.index", "out.meta"]


@pytest.mark.parametrize("out", ["out.h5", "out.keras", "out.safetensors"])
def test_a_prefix_that_ends_as_another_format_is_refused(session, tmp_path, out):
    network()
    toolkit.initialize(session)
    with pytest.raises(UsageError, match="what is written here is a TensorFlow checkpoint"):
        toolkit.save(session, tmp_path / out)
    assert names_in(tmp_path) == []


def test_all_kinds_of_values_are_saved_and_checked(session, tmp_path):
    v1.get_variable("words", initializer=np.array(["a", "bc"]))
    v1.get_variable("flag", initializer=True)
    v1.get_variable("half", initializer=np.array([1.5], "f2"))
    toolkit.initialize(session)
    toolkit.save(session, tmp_path / "out")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint["words"].read().tolist() == [b"a", b"bc"]
        assert checkpoint["flag"].read()[()]
        assert checkpoint["half"].dtype.name == "float16"


def test_the_state_file_is_not_touched(session, tmp_path):
    (tmp_path / "checkpoint").write_text("mine")
    network()
    toolkit.initialize(session)
    toolkit.save(session, tmp_path / "out")
    assert contents(tmp_path)["checkpoint"] == b"mine"


def test_saving_and_restoring_again_adds_nothing_to_the_graph(tmp_path):
    with v1.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", initializer=[1.0, 2.0])
        session.run(v1.global_variables_initializer())
        assert toolkit.save(session, tmp_path / "m0") == str(tmp_path / "m0")
        plan_restore(tmp_path / "m0").apply(session)
        before = len(graph.get_operations())
        for i in range(3):
            toolkit.save(session, tmp_path / f"m{i + 1}")
            plan_restore(tmp_path / "m0").apply(session)
        assert len(graph.get_operations()) == before
        graph.finalize()
        toolkit.save(session, tmp_path / "after")
    assert open_checkpoint(tmp_path / "after")["w"].read().tolist() == [1.0, 2.0]


def test_a_finalized_graph_that_was_never_saved_is_refused(tmp_path):
    with v1.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", initializer=[1.0, 2.0])
        session.run(v1.global_variables_initializer())
        graph.finalize()
        with pytest.raises(ModelError, match="the graph is finalized") as refused:
            toolkit.save(session, tmp_path / "m")
    assert refused.value.hint == "before it is: CheckpointKeeper.prepare(graph), plan.prepare(), or save once"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_under_the_saver_is_said(tmp_path):
    """The limit on a file's size is met in TensorFlow's own writing, not in ours."""
    script = f"""
import resource, signal, tests.tensorflow
import tensorflow.compat.v1 as v1
from toolkit import PublishError, save
with v1.Graph().as_default(), v1.Session() as session:
    v1.get_variable("w", initializer=v1.zeros([1 << 16]))
    session.run(v1.global_variables_initializer())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
    try:
        save(session, {str(tmp_path / "m")!r})
    except PublishError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    message, hint = done.stdout.splitlines()
    assert message == f"{tmp_path}/m.index: not written: file too large"
    assert hint == "hint: free some space, or write to another disk"
    assert list(tmp_path.iterdir()) == []

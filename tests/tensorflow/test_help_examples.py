"""The examples of each `--help` that need TensorFlow work as they are."""

from __future__ import annotations

import shlex

import pytest

from tests.example_files import all_examples, make_files, needs_tensorflow
from tests.tensorflow import tf


def test_every_example_that_needs_tensorflow_works_as_it_is(ckpt, tmp_path, monkeypatch):
    make_files(tmp_path)
    (tmp_path / "model.h5").unlink()
    monkeypatch.chdir(tmp_path)
    tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4, name="dense")]).save("model.h5")
    lines = [line for command, line in all_examples() if needs_tensorflow(command, line)]
    assert len(lines) >= 6
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "ckpt"
        ran = ckpt(*words)
        assert ran.code == 0, (line, ran.out, ran.err)


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own

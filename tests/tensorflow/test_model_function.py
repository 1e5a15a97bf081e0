"""A model function runs as it would in a program of its own, and whatever it does, the command goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import names_in
from toolkit import ModelError, open_checkpoint
from toolkit.graph.model_function import build

ROOT = Path(__file__).parents[2]
HEADER = "from __future__ import annotations\nimport os, sys\nimport tensorflow.compat.v1 as tf\n"
VARIABLE = "tf.get_variable('w', [2])"


def model(folder: Path, body: str, *, top: str = "") -> str:
    """Write a file with a model function of this body, and return how it is named."""
    (folder / "model.py").write_text(HEADER + top + f"\ndef network():\n    {body}\n")
    return f"{folder}/model.py:network"


@pytest.mark.parametrize(
    ("body", "top", "message"),
    [
        ("sys.exit(0)", "", "raised SystemExit: 0"),
        (VARIABLE, "sys.exit('bye')", "raised SystemExit: bye"),
        (f"{VARIABLE}; tf.get_default_graph().finalize()", "", "finalized its graph"),
        (f"{VARIABLE}; tf.add_to_collection('variables', 3)", "", "among the graph's variables, but none"),
        (
            "raise Bad()",
            "class Bad(Exception):\n    def __str__(self):\n        raise TypeError\n",
            "raised Bad",
        ),
    ],
)
def test_what_a_model_function_must_not_do_is_one_clear_error(ckpt, tmp_path, body, top, message):
    ran = ckpt("init", "--model", model(tmp_path, body, top=top), "-o", tmp_path / "out")
    assert ran.code == 2
    error, hint = ran.err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")
    assert names_in(tmp_path) in (["model.py"], ["__pycache__", "model.py"])


def test_a_file_may_have_dataclasses(tmp_path):
    top = "from dataclasses import dataclass\n@dataclass\nclass Size:\n    n: int = 2\n"
    graph = build(model(tmp_path, "tf.get_variable('w', [Size().n])", top=top))
    assert [op.name for op in graph.get_operations() if op.type == "VarHandleOp"] == ["w"]


def test_a_neighbour_may_be_imported_when_the_function_runs(tmp_path):
    (tmp_path / "neighbour_of_the_model.py").write_text("width = 3\n")
    build(model(tmp_path, "import neighbour_of_the_model as n; tf.get_variable('w', [n.width])"))
    assert str(tmp_path) not in sys.path


def test_a_function_that_changes_the_directory_does_not_move_the_output(ckpt, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    spec = model(tmp_path, f"os.chdir('elsewhere'); {VARIABLE}")
    assert ckpt("init", "--model", spec, "-o", "out").code == 0
    assert os.getcwd() == str(tmp_path)
    assert list(open_checkpoint(tmp_path / "out")) == ["w"]


def test_what_a_model_function_prints_by_any_way_stays_out_of_the_document(tmp_path):
    body = f"print('a'); os.write(1, b'b\\n'); os.system('echo c'); {VARIABLE}"
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", "init", "--model", model(tmp_path, body), "--dry-run", "--json"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert json.loads(done.stdout)["ok"]


def test_a_model_for_a_device_that_is_not_here_runs_where_it_can(ckpt, tmp_path):
    spec = model(tmp_path, f"with tf.device('/gpu:0'): {VARIABLE}")
    assert ckpt("init", "--model", spec, "-o", tmp_path / "out").code == 0


def test_an_initializer_that_fails_is_said_in_a_line(ckpt, tmp_path):
    body = "tf.get_variable('w', initializer=tf.placeholder(tf.float32, [2]) * 2.0)"
    ran = ckpt("init", "--model", model(tmp_path, body), "-o", tmp_path / "out")
    assert ran.code == 2
    error, hint = ran.err.splitlines()
    assert "an initializer failed: You must feed a value for placeholder tensor" in error
    assert len(error) < 250
    assert hint.startswith("hint: it must run by itself")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        build(f"{tmp_path}/absent.py:network")

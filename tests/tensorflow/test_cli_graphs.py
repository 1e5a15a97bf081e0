"""`ckpt init` and `ckpt restore`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import contents, names_in
from tests.tensorflow import tf
from tests.tensorflow.conftest import save, values_of
from tests.tensorflow.model_functions import small
from toolkit import Plan, open_checkpoint

v1 = tf.compat.v1
HERE = "tests.tensorflow.model_functions"


@pytest.fixture
def prefix(tmp_path):
    (tmp_path / "run").mkdir()
    save(tmp_path / "run" / "model", small, seed=1)
    return tmp_path / "run" / "model"


def test_init_saves_what_the_initializers_give(ckpt, tmp_path, session):
    ran = ckpt("init", "--model", f"{HERE}:small", "-o", tmp_path / "out", "--seed", 3)
    assert ran.code == 0
    assert ran.out.splitlines()[0].startswith("initialize  dense1/kernel")
    assert ran.out.splitlines()[-1] == "19 initialize; seed 3"
    assert ran.err == f"building\nwrote {tmp_path}/out\n"
    assert names_in(tmp_path) == ["out.data-00000-of-00001", "out.index", "out.meta"]
    small()
    v1.train.Saver().restore(session, str(tmp_path / "out"))
    values = values_of(session)
    assert values["head/kernel"].any()
    assert not values["head/bias"].any()


def test_init_orders_by_dependency(ckpt, tmp_path):
    assert ckpt("init", "--model", f"{HERE}:dependent", "-o", tmp_path / "out").code == 0
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert np.allclose(checkpoint["a/second"].read(), checkpoint["z/first"].read() + 1)


def test_init_with_the_same_seed_gives_the_same_values(ckpt, tmp_path):
    documents = []
    for name in "abc":
        seed = ["--seed", documents[0]["seed"]] if name == "c" else []
        ran = ckpt("init", "--model", f"{HERE}:small", "-o", tmp_path / name, "--json", *seed)
        documents.append(json.loads(ran.out))
    assert documents[0]["schema"] == "ckpt/init/1"
    assert documents[0]["output"] == str(tmp_path / "a")
    assert {v["action"] for v in documents[0]["plan"]} == {"initialize"}
    data = [Path(f"{tmp_path / name}.data-00000-of-00001").read_bytes() for name in "abc"]
    assert data[0] == data[2] != data[1]


def test_restore_by_plan(ckpt, tmp_path, prefix, session):
    ran = ckpt(
        "restore", prefix, "--model", f"{HERE}:small", "-o", tmp_path / "out", "--reinit", "head", "--seed", 2
    )
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "11 restore, 6 initialize, 2 copy; seed 2"
    assert ran.err == f"building\nwrote {tmp_path}/out\n"
    small()
    v1.train.Saver().restore(session, str(tmp_path / "out"))
    with open_checkpoint(prefix) as checkpoint:
        after = values_of(session)
        changed = {name for name in after if after[name].tobytes() != checkpoint[name].read().tobytes()}
    # biases and slots were zeros before
    assert changed == {"head/kernel", "head/kernel/ExponentialMovingAverage"}


def test_restore_prints_the_plan_and_writes_nothing_in_a_dry_run(ckpt, tmp_path, prefix):
    before = contents(tmp_path)
    ran = ckpt("restore", prefix, "--model", f"{HERE}:small", "--reinit", "head", "--dry-run")
    assert ran.code == 0
    assert ran.err.splitlines()[-1] == "dry run: nothing was written"
    assert "restore     dense1/kernel" in ran.out
    assert "slot of head/kernel, which starts afresh" in ran.out
    assert contents(tmp_path) == before


def test_json_of_restore_has_the_keys_of_the_contract(ckpt, tmp_path, prefix):
    ran = ckpt("restore", prefix, "dense1", "--model", f"{HERE}:small", "-o", tmp_path / "out", "--json")
    document = json.loads(ran.out)
    assert document["schema"] == "ckpt/restore/1"
    assert document["ok"] is True
    assert document["output"] == str(tmp_path / "out")
    assert "head/kernel" in document["unused"]
    verdict = next(v for v in document["plan"] if v["name"] == "dense1/kernel")
    assert verdict == {
        "name": "dense1/kernel", "action": "restore", "source": f"{prefix}::dense1/kernel",
        "reason": "same name", "dtype": "float32", "shape": [4, 3],
    }  # fmt: skip


def test_a_plan_that_fails_is_exit_1_with_the_plan_on_stdout(ckpt, tmp_path, prefix):
    before = contents(tmp_path)
    for options in ([], ["--json"], ["--dry-run"]):
        ran = ckpt("restore", prefix, "--model", f"{HERE}:larger_head", "-o", tmp_path / "out", *options)
        assert ran.code == 1
        assert "shape (3, 2) in the checkpoint, (3, 5) in the model" in ran.out
        lines = ran.err.splitlines()
        assert lines[-3] == "nothing was written"
        assert lines[-2].startswith("ckpt: 8 of 19 variables cannot be given a value: head/kernel: shape")
        assert (
            lines[-1] == "hint: --on-shape init starts it afresh, --on-shape overlap copies the common part"
        )
        assert contents(tmp_path) == before


def test_init_starts_copies_from_one_draw(ckpt, tmp_path):
    ran = ckpt(
        "init", "--model", f"{HERE}:small", "-o", tmp_path / "out", "--copy", "head/kernel/Adam=head/kernel"
    )
    assert ran.code == 0, ran.err
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint["head/kernel"].read().any()
        assert checkpoint["head/kernel/Adam"].read().tobytes() == checkpoint["head/kernel"].read().tobytes()


def test_averages_copies_and_verification(ckpt, tmp_path, prefix):
    model = f"{HERE}:small"
    ran = ckpt(
        "restore", prefix, "--model", model, "-o", tmp_path / "out", "--ema", "require", "--verify",
        "--copy", "head/kernel/Adam=head/kernel",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    with open_checkpoint(prefix) as before, open_checkpoint(tmp_path / "out") as after:
        average = before["head/kernel/ExponentialMovingAverage"].read().tobytes()
        assert after["head/kernel"].read().tobytes() == average
        assert after["head/kernel/Adam"].read().tobytes() == average
    ran = ckpt("restore", prefix, "--model", model, "--dry-run", "--copy", "head/kernel")
    assert ran.code == 2
    assert "hint: write NEW=OLD" in ran.err


def test_a_whole_plan_is_in_the_json_and_can_be_read_again(ckpt, prefix):
    ran = ckpt("restore", prefix, "--model", f"{HERE}:small", "--dry-run", "--json")
    plan = Plan.from_json(ran.out)
    assert plan.origin == str(prefix)
    assert len(plan.files) == 2
    assert plan["head/kernel"].action == "restore"


@pytest.mark.parametrize("choice", ["init", "overlap"])
def test_on_shape(ckpt, tmp_path, prefix, choice):
    ran = ckpt(
        "restore", prefix, "--model", f"{HERE}:larger_head", "-o", tmp_path / "out", "--on-shape", choice
    )
    assert ran.code == 0, ran.err
    with open_checkpoint(tmp_path / "out") as out, open_checkpoint(prefix) as checkpoint:
        same = out["head/kernel"].read()[:, :2].tolist() == checkpoint["head/kernel"].read().tolist()
    assert same == (choice == "overlap")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_source_cannot_be_the_output(ckpt, tmp_path, prefix, force):
    before = contents(tmp_path)
    ran = ckpt("restore", prefix, "--model", f"{HERE}:small", "-o", prefix, *force)
    assert ran.code == 2
    assert "is the checkpoint that is read, which is never changed" in ran.err
    assert contents(tmp_path) == before


def test_an_existing_output_is_refused_unless_forced(ckpt, tmp_path, prefix):
    arguments = ("init", "--model", f"{HERE}:small", "-o", tmp_path / "out")
    assert ckpt(*arguments).code == 0
    before = contents(tmp_path)
    ran = ckpt(*arguments)
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == [
        f"ckpt: {tmp_path}/out.index: exists", "hint: --force replaces it, or choose another name",
    ]  # fmt: skip
    assert contents(tmp_path) == before
    assert ckpt(*arguments, "--force").code == 0
    assert len(names_in(tmp_path)) == 5


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ("nothing", "not a model function", "write MODULE:FUNCTION or FILE.py:FUNCTION"),
        ("no.such.module:f", "no.such.module: no such module", "run from its folder"),
        ("nofile.py:f", "nofile.py: no such file", None),
        (f"{HERE}:smal", "has no function smal", "its functions: `small`"),
        (f"{HERE}:not_a_function", "not a function but int", None),
        (f"{HERE}:raises", "raised RuntimeError: no data today", "--debug shows the traceback"),
        (f"{HERE}:nothing", "built no variables in the default graph", "create them with"),
        (f"{HERE}:takes_arguments", "cannot be called without arguments: missing a required argument", "name a function of yours"),
    ],
)  # fmt: skip
def test_a_model_function_that_cannot_be_used_is_one_clear_error(
    ckpt, tmp_path, prefix, model, message, hint
):
    before = contents(tmp_path)
    for command in (["init"], ["restore", prefix]):
        ran = ckpt(*command, "--model", model, "-o", tmp_path / "out")
        assert ran.code == 2
        assert ran.out == ""
        assert message in ran.err
        assert hint is None or f"hint: {hint}" in ran.err
        assert "Traceback" not in ran.err
        assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found\n", "raised ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1/0\n", "raised ZeroDivisionError: division by zero"),
        ("def f(:\n", "raised SyntaxError"),
    ],
)
def test_a_file_that_fails_on_import_is_named(ckpt, tmp_path, text, message):
    (tmp_path / "model.py").write_text(text)
    ran = ckpt("init", "--model", f"{tmp_path}/model.py:f", "-o", tmp_path / "out")
    assert ran.code == 2
    assert f"ckpt: {tmp_path}/model.py: {message}" in ran.err


def test_a_file_can_import_its_neighbours(ckpt, tmp_path):
    (tmp_path / "neighbour_of_model.py").write_text("WIDTH = 3\n")
    (tmp_path / "model.py").write_text(
        "import tensorflow as tf\nfrom neighbour_of_model import WIDTH\n"
        "def build():\n    tf.compat.v1.get_variable('w', [WIDTH])\n"
    )
    assert ckpt("init", "--model", f"{tmp_path}/model.py:build", "-o", tmp_path / "out").code == 0
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint["w"].shape == (3,)


def test_a_keras_model_built_in_the_default_graph_is_a_model(ckpt, tmp_path):
    assert ckpt("init", "--model", f"{HERE}:keras", "-o", tmp_path / "out").code == 0
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert {v.shape for v in checkpoint.values()} == {(2, 1), (1,)}


def test_tensorflow_is_quiet_as_a_program(tmp_path):
    """One whole process, as a person runs it."""
    (tmp_path / "model.py").write_text(
        "import sys\nimport tensorflow as tf\n"
        "def build():\n    print('to stdout')\n    print('to stderr', file=sys.stderr)\n"
        "    tf.compat.v1.get_variable('w', [2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", "init", "--model", f"{tmp_path}/model.py:build", "-o", f"{tmp_path}/out", "--json"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == "ckpt/init/1"
    assert done.stderr == f"to stdout\nto stderr\nwrote {tmp_path}/out\n"

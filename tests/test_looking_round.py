"""What people do in a Python session before they call anything: help, TAB, star imports, reprs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

import toolkit
from tests.conftest import write_bundle
from tests.test_public_names import EVERY_NAME, HAS_TENSORFLOW

HEAVY = ("tensorflow", "numpy", "h5py", "google.protobuf", "ml_dtypes")


def run(code, *, without_tensorflow=False):
    """Run `code` in a new process, and return what it prints."""
    hidden = "import sys; sys.modules['tensorflow'] = None\n" if without_tensorflow else ""
    done = subprocess.run([sys.executable, "-c", hidden + code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOOKS = {
    "dir": "print(*dir(toolkit))",
    "star import": "from toolkit import *; print(plan_restore, CheckpointKeeper)",
    "members": "import inspect; print(*(name for name, _ in inspect.getmembers(toolkit)))",
    "help": "import pydoc; print(pydoc.plain(pydoc.render_doc(toolkit)))",
    "help of a function": "import pydoc; print(pydoc.plain(pydoc.render_doc(toolkit.plan_restore)))",
    "help of a class": "import pydoc; print(pydoc.plain(pydoc.render_doc(toolkit.CheckpointKeeper)))",
    "TAB": "import rlcompleter; print(*rlcompleter.Completer({'toolkit': toolkit}).attr_matches('toolkit.'))",
    "signatures": "import inspect; print(*(inspect.signature(getattr(toolkit, n)) for n in ('bind', 'plan_merge')))",
}


@pytest.mark.parametrize("without_tensorflow", [True, False])
def test_looking_at_the_toolkit_loads_nothing(without_tensorflow):
    for what, code in LOOKS.items():
        loaded = f"\nimport sys; print('LOADED', *(m for m in {HEAVY} if sys.modules.get(m)))"
        shown, _, found = run(
            f"import toolkit\n{code}{loaded}", without_tensorflow=without_tensorflow
        ).rpartition("LOADED")
        assert found.strip() == "", what
        assert "plan_restore" in shown or what in ("help of a class", "signatures"), what


def test_help_has_signatures_and_documentation_of_what_is_not_loaded():
    shown = run("import toolkit\n" + LOOKS["help"])
    assert "plan_restore(checkpoint: Checkpoint | str | os.PathLike[str], target: Any = None" in shown
    assert "Plan which variables of a model are restored from `checkpoint`" in shown
    assert "CheckpointKeeper(directory: str | os.PathLike[str], *, name: str = 'model.ckpt'" in shown
    assert "Restore the newest save that is sound into `target`" in shown


def test_what_needs_tensorflow_says_so_where_there_is_none():
    code = """
import toolkit
for name in ("bind", "plan_restore", "initialize", "plan_initialize", "save", "RestoreHook", "CheckpointKeeper"):
    try:
        getattr(toolkit, name)("x")
    except toolkit.UsageError as error:
        print(f"{name}|{error}")
try:
    toolkit.list_variables()
except toolkit.CheckpointError as error:
    print(f"list_variables|{error}")
try:
    class Mine(toolkit.CheckpointKeeper):
        pass
except toolkit.CheckpointError as error:
    print(f"class|{error}")
print(isinstance(3, toolkit.CheckpointKeeper), issubclass(int, toolkit.RestoreHook))
"""
    said = run(code, without_tensorflow=True).splitlines()
    assert said.count("hint: install it beside the toolkit: pip install tensorflow") == 9
    assert "plan_restore|toolkit.plan_restore needs TensorFlow, which is not installed" in said
    assert said[-1] == "False False"


def test_the_command_line_has_the_same_hint():
    code = """
import sys
from toolkit.cli.app import main
sys.argv = ["ckpt", "init", "--model", "x:y", "--dry-run"]
sys.stderr = sys.stdout
try:
    main()
except SystemExit as end:
    print(end.code)
"""
    said = run(code, without_tensorflow=True).splitlines()
    assert said == [
        "ckpt: this command needs TensorFlow, which is not installed",
        "hint: install it beside the toolkit: pip install tensorflow",
        "2",
    ]


def test_stand_ins_are_what_they_stand_for(trained):
    edited = toolkit.edit(trained)
    assert isinstance(edited, toolkit.Edit)
    assert issubclass(type(edited), toolkit.Edit)
    assert not isinstance(trained, toolkit.Edit)

    class Mine(toolkit.Edit):
        """A class of a user's."""

    assert issubclass(Mine, toolkit.Edit)
    assert Mine.drop is toolkit.change.edit.Edit.drop
    assert len(toolkit.Edit.drop(edited, "head").plan()) == len(edited.plan())
    with pytest.raises(AttributeError):
        _ = toolkit.Edit.no_such


def test_every_stand_in_has_the_signature_of_what_it_stands_for():
    import importlib

    for name, home in toolkit._HOMES.items():
        if home in toolkit._LIGHT or (home.startswith("toolkit.graph") and not HAS_TENSORFLOW):
            continue
        real, stand_in = getattr(importlib.import_module(home), name), getattr(toolkit, name)
        assert inspect.getdoc(stand_in) == inspect.getdoc(real), name
        if inspect.isfunction(real):
            expected, found = inspect.signature(real), inspect.signature(stand_in)
            assert list(found.parameters) == list(expected.parameters), name


def test_list_variables_of_a_path_is_what_an_index_has(trained):
    found = toolkit.list_variables(trained)
    assert found == sorted(found)
    assert ("conv1/kernel", [3, 3, 1, 4]) in found
    assert ("global_step", []) in found
    with toolkit.open_checkpoint(trained) as checkpoint:
        assert toolkit.list_variables(checkpoint) == found
    loads = run(
        f"import toolkit, sys; toolkit.list_variables({trained!r}); print('tensorflow' in sys.modules)"
    )
    assert loads == "False\n"


@pytest.fixture
def large(tmp_path):
    """A training directory whose one checkpoint has 3,000 variables."""
    (tmp_path / "run").mkdir()
    return write_bundle(tmp_path / "run" / "m-7", {f"layer{i}/kernel": np.zeros(2, "f") for i in range(3000)})


def test_every_repr_is_a_line_that_says_what_it_is(large):
    folder = large.rpartition("/")[0]
    checkpoint = toolkit.open_checkpoint(large)
    plan = toolkit.plan_reinit(checkpoint, "**", seed=1)
    objects = {
        f"<BundleCheckpoint {large!r}>": checkpoint,
        "Variable('layer0/kernel', float32, (2,))": checkpoint["layer0/kernel"],
        "<FilePlan: 3000 initialize; seed 1>": plan,
        f"<Edit of {large!r}: 3,000 variables>": toolkit.edit(checkpoint),
        f"<Summary of {large!r}: 3,000 variables, 23.4 KiB>": toolkit.inspect(checkpoint),
        f"<Found {large!r}: step 7, complete>": toolkit.latest(folder),
        f"<Logged {large!r}: step 7, latest>": toolkit.log(folder)[0],
        f"<Pruning of {folder!r}: 1 keep, 0 remove, 0 B>": toolkit.plan_prune(folder, keep=1),
        f"<Repair of {folder!r}: 1 changed>": toolkit.plan_repair(folder),
        "DType('float32')": checkpoint["layer0/kernel"].dtype,
        "Role(kind='weight', of=None)": checkpoint["layer0/kernel"].role,
    }
    for expected, found in objects.items():
        assert repr(found) == expected
    verdict = plan["layer0/kernel"]
    assert repr(verdict).startswith("<Verdict: initialize layer0/kernel: chosen")
    assert "\n" not in repr(verdict)
    with pytest.raises(toolkit.PlanError) as refused:
        toolkit.Plan([toolkit.Verdict(f"v{i}", "restore", None, "", "float32", (), problem="gone") for i in range(3000)]).check()  # fmt: skip
    assert len(repr(refused.value)) < 300


class TestRole:
    def test_a_variable_knows_what_it_is_for(self, trained):
        checkpoint = toolkit.open_checkpoint(trained)
        assert checkpoint["head/kernel"].role == toolkit.Role("weight")
        assert checkpoint["head/kernel/Adam"].role == toolkit.Role("slot", "head/kernel")
        assert checkpoint["head/bias/ExponentialMovingAverage"].role.kind == "moving_average"
        assert checkpoint.get("global_step").role.kind == "counter"

    def test_it_is_that_of_the_checkpoint_in_every_format(self, trained, tmp_path):
        from tests.conftest import VALID

        paths = [*(p.with_suffix("") for p in VALID.rglob("*.index"))]
        for ending in ("h5", "npz", "safetensors"):
            toolkit.export(trained, tmp_path / f"x.{ending}")
            paths.append(tmp_path / f"x.{ending}")
        for path in paths:
            expected = toolkit.open_checkpoint(path).roles()
            for way in (
                toolkit.open_checkpoint(path).variables(),
                dict(toolkit.open_checkpoint(path).items()),
                {name: toolkit.open_checkpoint(path)[name] for name in list(expected)[:5]},
            ):
                assert {n: v.role for n, v in way.items()} == {n: expected[n] for n in way}, path

    def test_roles_are_told_once(self, trained, monkeypatch):
        checkpoint = toolkit.open_checkpoint(trained)
        calls = []
        real = type(checkpoint).roles
        monkeypatch.setattr(type(checkpoint), "roles", lambda self: calls.append(1) or real(self))
        assert len({variable.role for variable in checkpoint.values()}) > 3
        assert len(calls) == 1

    def test_one_that_stands_alone_goes_by_its_own_name(self, trained):
        made = toolkit.edit(trained).set("global_step", 3).plan().results
        assert made["global_step"].role.kind == "counter"
        renamed = toolkit.open_checkpoint(trained)["head/kernel/Adam"].renamed("other")
        assert renamed.role == toolkit.Role("weight")


def test_public_names_are_the_same_wherever_they_are_asked_for():
    for name in EVERY_NAME:
        assert getattr(toolkit, name) is getattr(toolkit, name)

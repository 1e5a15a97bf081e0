"""`toolkit` has the public names, all of them, and nothing loads before it is asked for."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import toolkit
from toolkit import errors

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None

EVERY_NAME = {
    "Checkpoint", "CheckpointError", "CheckpointKeeper", "ChecksumError", "Exported", "FormatError", "GraphVariable",
    "MismatchError", "ModelError", "Plan", "PlanError", "PublishError", "ReadError", "RestoreHook", "Restored",
    "About", "Advice", "Edit", "Found", "Logged", "Metadata", "Optimizer", "Pruning", "Repair", "Role", "Summary",
    "TruncatedError", "UnsupportedError", "UsageError", "Variable", "VariableNotFoundError", "Verdict",
    "__version__", "bind", "edit", "export", "latest", "log", "import_checkpoint", "initialize", "inspect", "list_variables",
    "open_checkpoint", "plan_average", "plan_export", "plan_import", "plan_initialize", "plan_merge", "plan_prune",
    "plan_reinit", "plan_repair", "plan_restore", "save",
}  # fmt: skip


def test_all_is_exactly_the_public_surface():
    assert set(toolkit.__all__) == EVERY_NAME
    assert set(dir(toolkit)) == EVERY_NAME


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(toolkit.__file__).read_text("utf-8"))
    seen = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == toolkit._HOMES


@pytest.mark.parametrize("name", sorted(EVERY_NAME - {"__version__"}))
def test_every_name_is_there_and_documented(name):
    found = getattr(toolkit, name)
    assert inspect.getdoc(found)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = toolkit.nope


def test_every_error_is_a_checkpoint_error_and_drawn():
    drawing = errors.__doc__
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, BaseException):
            assert issubclass(found, errors.CheckpointError)
            assert name in toolkit.__all__
            for base in found.__bases__:
                assert f"{name}({base.__name__})" in drawing or f"─ {name}" in drawing


def test_errors_are_the_builtins_they_resemble():
    assert issubclass(errors.FormatError, ValueError)
    assert issubclass(errors.ReadError, OSError)
    assert issubclass(errors.PublishError, OSError)
    assert issubclass(errors.VariableNotFoundError, KeyError)


def loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded after `code` has run in a new process."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


HEAVY = {"tensorflow", "h5py", "numpy", "ml_dtypes", "rich", "google.protobuf", "cramjam", "typer"}


def test_import_toolkit_loads_nothing_heavy():
    assert loaded_by("import toolkit; dir(toolkit)") & HEAVY == set()


def test_inspect_loads_neither_tensorflow_nor_h5py_nor_numpy(trained):
    command = "import sys; from toolkit.cli.app import main; sys.argv = ['ckpt', 'inspect', {!r}, *{!r}]\ntry: main()\nexcept SystemExit: pass"
    for options in (
        [],
        ["--long"],
        ["--summary"],
        ["--role", "slot"],
        ["--json"],
        ["--csv"],
        ["--tree"],
        ["head"],
        ["**/Adam*"],
    ):
        loaded = loaded_by(command.format(trained, options))
        assert loaded & HEAVY == {"typer"}, options


def test_reinit_and_export_do_not_load_tensorflow(trained, tmp_path):
    for command in (
        ["reinit", trained, "head", "-o", f"{tmp_path}/out"],
        ["export", trained, f"{tmp_path}/x.h5"],
    ):
        code = f"import sys; from toolkit.cli.app import main; sys.argv = ['ckpt', *{command!r}]\ntry: main()\nexcept SystemExit: pass"
        loaded = loaded_by(code)
        assert "tensorflow" not in loaded
        assert ("h5py" in loaded) == (command[0] == "export")

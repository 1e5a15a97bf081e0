"""The documentation says what the programs do: every option, and output that is real."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None


def test_every_command_and_option_is_documented():
    """`docs/cli.md` has what `--help` prints, of every command."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_readme_and_has_its_schema_documented():
    for command in (registered.callback.__name__.rstrip("_") for registered in app.registered_commands):
        assert f"ckpt {command}" in README
        assert f"| `{command}` |" in (ROOT / "docs/cli.md").read_text("utf-8")


def commands():
    for block in CONSOLE:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield pytest.param(command, output, id=command[:40])


@pytest.mark.parametrize(("command", "output"), list(commands()))
def test_output_in_the_readme_is_real(tmp_path, command, output):
    """A line `…` stands for any number of lines."""
    words = shlex.split(command)
    if words[0] != "ckpt":
        return
    if words[1] in ("init", "restore") and not HAS_TENSORFLOW:
        pytest.skip("this command needs TensorFlow")
    words = [word.replace("build/", f"{tmp_path}/") for word in words[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *words], check=False, capture_output=True, text=True, cwd=ROOT
    )
    cannot_be_done = "\nnothing was written\n" in output
    assert done.returncode == cannot_be_done, done.stderr
    found = (done.stdout + done.stderr).replace(f"{tmp_path}/", "build/")
    pattern = r"[^\0]*?".join(re.escape(part) for part in re.split(r"^…\n", output, flags=re.MULTILINE))
    assert re.fullmatch(pattern, found), found


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_of_the_documentation_runs(tmp_path, monkeypatch, page):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    text = (ROOT / page).read_text("utf-8").partition("<!--")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        if "tensorflow" in block and not HAS_TENSORFLOW:
            continue
        exec(compile(block.replace("build/", f"{tmp_path}/"), page, "exec"), {})


def test_links_within_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_traps_with_a_test_are_documented():
    folder = ROOT / "tests/tensorflow"
    tests = "".join(
        (folder / f"{name}.py").read_text("utf-8") for name in ("test_traps", "test_object_traps")
    )
    numbers = sorted(re.findall(r"def test_trap_(\d+)_", tests), key=int)
    page = (ROOT / "docs/traps.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == numbers

"""Every `--help` ends with examples, and every example works as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example_files import all_examples, examples, make_files, needs_tensorflow
from toolkit.cli.app import app
from toolkit.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
COMMANDS = [registered.callback.__name__.rstrip("_") for registered in app.registered_commands]


def test_every_command_has_examples():
    assert set(EXAMPLES) == {"", *COMMANDS}


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("command", EXAMPLES)
def test_help_ends_with_two_to_four_examples_on_lines_of_their_own(ckpt, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", columns)
    ran = ckpt(*([command] if command else []), "--help")
    shown = ran.out.partition("\n  Examples:\n")[2].rstrip()
    lines = [line.strip() for line in shown.replace("\\\n", " ").splitlines()]
    assert [" ".join(line.split()) for line in lines] == [" ".join(e.split()) for e in examples(command)]
    assert 2 <= len(lines) <= 4
    assert all(line.startswith("ckpt ") for line in lines)
    assert max(map(len, shown.splitlines())) <= 80
    if command:
        assert any(line.startswith(f"ckpt {command} ") for line in lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files, and a `ckpt` that is this one."""
    folder = tmp_path_factory.mktemp("examples")
    make_files(folder)
    (folder / "bin").mkdir()
    program = folder / "bin" / "ckpt"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m toolkit "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("command", "line"), [each for each in all_examples() if not needs_tensorflow(*each)]
)
def test_every_example_works_as_it_is(tmp_path, files, command, line):
    folder = tmp_path / "here"
    shutil.copytree(files, folder)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", line], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr

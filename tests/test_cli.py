"""What holds for every command: exit codes, where output goes, the form of an error."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import VALID, names_in, write_bundle
from toolkit import __version__, open_checkpoint

COMMANDS = ("inspect", "init", "restore", "reinit", "export")
CKPT = [sys.executable, "-m", "toolkit"]


def run(*arguments, **keywords):
    return subprocess.run(
        [*CKPT, *map(str, arguments)], check=False, capture_output=True, text=True, **keywords
    )


def test_version(ckpt):
    assert ckpt("--version") == (0, f"ckpt {__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(ckpt, option):
    ran = ckpt(option)
    assert ran.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_common_options(ckpt, command):
    ran = ckpt(command, "-h")
    assert ran.code == 0
    for option in ("--json", "--quiet", "--debug", "--no-truncate"):
        assert option in ran.out
    if command != "inspect":
        for option in ("--dry-run", "--force", "--no-sync"):
            assert option in ran.out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("inspct x", "no command 'inspct'", "did you mean `ckpt inspect`? `ckpt -h` lists all commands"),
        ("frobnicate", "no command 'frobnicate'", "`ckpt -h` lists all commands"),
        ("inspect", "inspect: no CKPT", "write ckpt inspect CKPT [PATTERN]...; `ckpt inspect -h` explains it"),
        ("inspect --tre x", "inspect: no option --tre", "did you mean --tree? `ckpt inspect -h` lists all options"),
        ("inspect x -lz", "inspect: no option -z", "`ckpt inspect -h` lists all options"),
        ("inspect x --keep y", "inspect: no option --keep",
         "edit, prune have --keep; `ckpt inspect -h` lists all options"),
        ("--versio", "no option --versio", "did you mean --version? `ckpt -h` lists all options"),
        ("inspect x --sort sizes", "inspect: --sort: expected name, bytes or order, got 'sizes'", "write --sort name"),
        ("inspect x --sort byte", "inspect: --sort: expected name, bytes or order, got 'byte'", "write --sort bytes"),
        ("inspect x --sort", "inspect: --sort: expected a value", "write --sort name"),
        ("inspect x --tree=5", "inspect: --tree takes no value", "write --tree alone"),
        ("inspect x --depth a", "inspect: --depth: expected a whole number of 0 or more, got 'a'", "write --depth N"),
        ("reinit x y --seed -1", "reinit: --seed: expected a whole number of 0 or more, got '-1'", "write --seed N"),
        ("prune x --keep a", "prune: --keep: expected a whole number, got 'a'", "write --keep N"),
        ("restore x -o y", "restore: no --model", "add --model MODULE:FUNCTION"),
        ("latest x y", "latest: one argument too many: y", "write ckpt latest DIR; `ckpt latest -h` explains it"),
    ],
)  # fmt: skip
def test_wrong_usage_looks_as_every_error_and_says_what_to_type(ckpt, arguments, message, hint):
    assert ckpt(*arguments.split()) == (2, "", f"ckpt: {message}\nhint: {hint}\n")


def test_a_checkpoint_in_place_of_a_command_is_to_be_inspected(ckpt, trained):
    assert ckpt(trained).err.splitlines()[1] == f"hint: `ckpt inspect {trained}` shows what is in it"


def test_wrong_usage_cannot_act_on_the_terminal(ckpt):
    for arguments in (
        ["\x1b[31m"],
        ["inspect", "--\x1b[31m"],
        ["inspect", "x", "--sort", "\x1b[31m\nhint: rm"],
    ):
        ran = ckpt(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "\x1b" not in ran.err
        assert len(ran.err.splitlines()) == 2


def test_nothing_to_do_shows_the_help(ckpt):
    ran = ckpt()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: ckpt [OPTIONS] COMMAND [ARGS]...")


FAKE_TENSORFLOW = """
import logging, os, time
os.write(2, b"noise of the native log")
def get_logger():
    return logging.getLogger("fake")
"""


def on_a_terminal(arguments, **environment):
    """Run a command whose stderr is a terminal; return what that shows."""
    main, child = pty.openpty()
    with subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=child, env={**os.environ, "TERM": "xterm", **environment}
    ):
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):
            while part := os.read(main, 1 << 16):
                text += part
    os.close(main)
    return text.decode()


def test_a_terminal_says_that_tensorflow_is_loading_for_as_long_as_it_does(tmp_path):
    (tmp_path / "tensorflow.py").write_text(FAKE_TENSORFLOW)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from toolkit.cli import graphs, output\n"
        "output.Settings.quiet = 'quiet' in sys.argv\n"
        "with graphs.tensorflow(): print('loaded', file=sys.stderr)"
    )
    program = [sys.executable, "-c", code]
    shown = on_a_terminal(program)
    assert shown == "loading TensorFlow…\r\x1b[2Kloaded\r\n"
    assert on_a_terminal([*program, "quiet"]) == "loaded\r\n"
    piped = subprocess.run(program, check=True, capture_output=True, text=True)
    assert piped.stderr == "loaded\n"


def test_what_was_loading_is_erased_before_an_error(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('tensorflow')")
    program = [sys.executable, "-m", "toolkit", "init", "--model", "x.py:f", "-o", str(tmp_path / "out")]
    shown = on_a_terminal(program, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert shown.startswith("loading TensorFlow…\r\x1b[2Kckpt: this command needs TensorFlow")


def test_an_error_is_one_line_and_a_hint_on_stderr(ckpt, tmp_path):
    ran = ckpt("inspect", tmp_path / "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"ckpt: {tmp_path}/nowhere: no such file or checkpoint\nhint: no checkpoint lies in that directory\n"
    )
    write_bundle(tmp_path / "m", {"w": np.ones(1)})
    ran = ckpt("inspect", tmp_path / "nowhere")
    assert ran.err.splitlines()[1] == f"hint: there is: {tmp_path}/m"


def test_debug_shows_the_traceback_too(ckpt, tmp_path):
    ran = ckpt("inspect", tmp_path / "nowhere", "--debug")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-2] == f"ckpt: {tmp_path}/nowhere: no such file or checkpoint"
    assert "Traceback" not in ckpt("inspect", tmp_path / "nowhere").err


def test_an_error_with_json_is_still_on_stderr(ckpt, tmp_path):
    ran = ckpt("inspect", tmp_path / "nowhere", "--json")
    assert (ran.code, ran.out) == (2, "")


def test_a_path_cannot_act_on_the_terminal(ckpt):
    assert "\x1b" not in ckpt("inspect", "no\x1b[31mwhere\nhint: run rm").err


@pytest.mark.parametrize("command", ["inspect", "reinit", "export"])  # the others: tests/tensorflow
def test_json_is_one_document_with_its_schema(ckpt, tmp_path, command):
    arguments = {"inspect": [], "reinit": ["head", "-o", tmp_path / "a"], "export": [tmp_path / "x.h5"]}
    document = json.loads(ckpt(command, VALID / "perceptron", *arguments[command], "--json").out)
    assert document["schema"] == f"ckpt/{command}/1"


def test_a_closed_pipe_ends_quietly(tmp_path):
    prefix = write_bundle(tmp_path / "m", {f"v{i}": np.zeros(1, "f") for i in range(20_000)})
    reader, writer = os.pipe()
    with subprocess.Popen([*CKPT, "inspect", prefix], stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        os.read(reader, 100)
        os.close(reader)
        assert process.stderr.read() == b""
        assert process.wait() == 141  # as a shell reports SIGPIPE


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*CKPT, "inspect", VALID / "perceptron"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "ckpt: the output cannot be written: no space left on device\n"


def test_an_output_that_has_no_such_letters_gets_escapes(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"é漢": np.zeros(1, "f")})
    done = run("inspect", prefix, "--tree", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\xe9\\u6f22" in done.stdout


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_colour_unless_it_does_not_want_it(environment):
    main, child = pty.openpty()
    with subprocess.Popen(
        [*CKPT, "reinit", VALID / "perceptron", "head", "--dry-run"],
        stdout=child, stderr=child, env={**os.environ, "COLUMNS": "90", "TERM": "xterm", **environment},
    ) as process:  # fmt: skip
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):  # how a terminal ends whose other side is closed
            while part := os.read(main, 1 << 16):
                text += part
        assert process.wait() == 0
    os.close(main)
    assert (b"\x1b[" in text) == (not environment)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()
    assert any(line.startswith("initialize") for line in lines)
    assert max(map(len, lines)) <= 90


def test_progress_is_shown_on_a_terminal_only(tmp_path):
    prefix = write_bundle(tmp_path / "m", {f"v{i}": np.zeros(1 << 20, "f") for i in range(10)})
    main, child = pty.openpty()
    with subprocess.Popen(
        [*CKPT, "reinit", prefix, "**", "-o", tmp_path / "out"], stdout=subprocess.PIPE, stderr=child,
        env={**os.environ, "COLUMNS": "90", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):
            while part := os.read(main, 1 << 16):
                text += part
        assert b"\x1b" not in process.stdout.read()
        assert process.wait() == 0
    os.close(main)
    assert b"/40.0 MiB" in text
    assert b"MiB" not in run("reinit", prefix, "v7", "-o", tmp_path / "again").stderr.encode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_leaves_nothing_behind(tmp_path, number, code):
    heeded = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # jobs in the background inherit "ignore"
    prefix = write_bundle(tmp_path / "m", {f"v{i}": np.zeros(1 << 20, "f") for i in range(50)})
    before = names_in(tmp_path)
    with subprocess.Popen(
        [*CKPT, "reinit", prefix, "v7", "-o", tmp_path / "out"], stderr=subprocess.PIPE
    ) as process:
        signal.signal(signal.SIGINT, heeded)
        while not any(name.startswith(".ckpt-") for name in names_in(tmp_path)):
            assert process.poll() is None  # it has begun to write before it ends
            time.sleep(0.001)
        process.send_signal(number)
        assert process.wait() == code
        assert b"Traceback" not in process.stderr.read()
    assert names_in(tmp_path) == before


def test_shell_completion_completes_commands_options_and_variables(trained):
    def complete(*words: str) -> list[str]:
        env = {
            **os.environ, "_CKPT_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["ckpt", *words]),
            "COMP_CWORD": str(len(words)),
        }  # fmt: skip
        code = "import sys; sys.argv = ['ckpt']; from toolkit.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=env
        )
        return done.stdout.split()

    assert complete("re") == ["restore", "reinit", "repair"]
    assert "--no-truncate" in complete("inspect", "--no")
    assert complete("inspect", trained, "co") == ["conv1/", "conv10/"]
    assert complete("inspect", trained, "conv1/b") == ["conv1/bias", "conv1/bias/"]
    assert complete("reinit", trained, "head/") == ["head/bias", "head/bias/", "head/kernel", "head/kernel/"]
    assert complete("inspect", "nowhere", "co") == []


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_harm_nothing(trained, tmp_path, closed):
    command = f"{shlex.join(map(str, [*CKPT, 'reinit', trained, 'head', '-o', tmp_path / 'out', '--json']))}"
    done = subprocess.run(["sh", "-c", f"{command} {closed}"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if closed != "1>&-":
        assert json.loads(done.stdout)["output"] == str(tmp_path / "out")
    assert open_checkpoint(tmp_path / "out")
    done = subprocess.run(["sh", "-c", f"{shlex.join(CKPT)} inspect nowhere {closed}"], check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_plan_loses_no_reason_however_narrow_the_terminal(trained, width):
    main, child = pty.openpty()
    with subprocess.Popen(
        [*CKPT, "reinit", trained, "head", "--dry-run", "--seed", "1"], stdout=child, stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"},
    ) as process:  # fmt: skip
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):
            while part := os.read(main, 1 << 16):
                text += part
        assert process.wait() == 0
    os.close(main)
    lines = text.decode().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(text.decode().split())
    for reason in ("chosen; bias by name", "slot of head/kernel", "moving average of head/kernel"):
        assert reason in words

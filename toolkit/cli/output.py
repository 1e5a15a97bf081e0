"""What the commands say, and where: data on stdout, the rest on stderr, errors in one form."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from toolkit.errors import CheckpointError, PlanError
from toolkit.names import printable

if TYPE_CHECKING:
    from toolkit.plan import Plan

EXIT_DIFFERENT = 1
"""Differences, problems found, or a plan that does not fulfil what was asked."""
EXIT_ERROR = 2
"""Wrong usage, or an error."""
_EXIT_CLOSED_PIPE = 128 + 13
"""What a shell reports for a program that SIGPIPE ended, which Python's is not."""
_ERASE_LINE = "\r\x1b[2K"
"""The cursor to the beginning of its line, and the line erased (ECMA-48, EL)."""
_WORTH_A_BAR = 32 << 20
"""Bytes that take long enough for a person to wonder."""


class WriteError(CheckpointError):
    """What was asked for cannot be printed."""


class Settings:
    """What the options that every command has say of its output."""

    quiet = False
    debug = False


def reset() -> None:
    """Begin a command: nothing quiet, streams that are open, and output that no character can break."""
    Settings.quiet = Settings.debug = False
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else "backslashreplace")


def data(text: str) -> None:
    """Print `text`, what was asked for, on stdout. Ends the program if nobody reads it any more."""
    try:
        _write_all(text + "\n")
    except BrokenPipeError:
        _leave_output()
        raise SystemExit(_EXIT_CLOSED_PIPE) from None
    except OSError as problem:
        _leave_output()
        raise WriteError(f"the output cannot be written: {(problem.strerror or '').lower()}") from problem


def message(text: str) -> None:
    """Print a line that is good to know on stderr, unless --quiet."""
    if not Settings.quiet:
        _say(printable(text))


def help_on_stderr(text: str) -> None:
    """Print the help on stderr: of a program that was given nothing to do."""
    _say(text)


def error(problem: CheckpointError) -> int:
    """Print an error on stderr, and its hint; return the exit status."""
    _say(f"ckpt: {_lines(problem.message)}")
    if problem.hint:
        _say(f"hint: {_lines(problem.hint)}")
    return EXIT_DIFFERENT if isinstance(problem, PlanError) else EXIT_ERROR


def plan(
    command: str,
    plan: Plan,
    destination: str | None,
    *,
    json: bool,
    every_row: bool,
) -> None:
    """Print a plan on stdout, and on stderr what became of it.

    Args:
        command: The command's name.
        plan: What was, or would be, done.
        destination: What was written; `None` in a dry run.
        json: Print a document, with `output`, instead of a table.
        every_row: Leave no row of the table out.
    """
    if json:
        from toolkit.render import documents

        data(documents.dump(command, {**plan.to_dict(), "output": destination}))
    elif not Settings.quiet or destination is None:
        from toolkit.render.plan import table

        width = None if every_row else terminal_width()
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        data(table(plan, width=width, color=color, every_row=every_row))
    if destination is None:
        message("dry run: nothing was written" if plan.ok else "nothing was written")
    else:
        message(f"wrote {destination}")


@contextlib.contextmanager
def progress(num_bytes: int) -> Iterator[Callable[[int], None] | None]:
    """Show on stderr, if it is a terminal, how much of `num_bytes` is done; give what is to be told."""
    if Settings.quiet or num_bytes < _WORTH_A_BAR or not sys.stderr.isatty():
        yield None
        return
    from toolkit.render.progress import bar

    with bar(sys.stderr, num_bytes) as advance:
        yield advance


@contextlib.contextmanager
def passing(text: str) -> Iterator[Callable[[], None]]:
    """Show on stderr, if it is a terminal, what takes a while; it goes at the end, or when it is told to.

    Args:
        text: What to show. Nothing is shown with --quiet, or with --debug, which shows more.
    """
    is_shown = not (Settings.quiet or Settings.debug) and sys.stderr.isatty()

    def gone() -> None:
        nonlocal is_shown
        if is_shown:
            is_shown = False
            _show(_ERASE_LINE)

    if is_shown:
        _show(text)
    try:
        yield gone
    finally:
        gone()


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is, or `None` if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _say(text: str) -> None:
    """Print a line on stderr. Where nobody can be told, the exit status alone says it."""
    _show(text + "\n")


def _show(text: str) -> None:
    """Print on stderr, and let the cursor stand behind it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end="", file=sys.stderr, flush=True)


def _lines(text: str) -> str:
    return " ".join(printable(line) for line in text.splitlines())


def _write_all(text: str) -> None:
    """Write `text` to stdout. An unbuffered stream (`python -u`) may take less than it is given."""
    sys.stdout.flush()
    rest = memoryview(text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def _leave_output() -> None:
    """Let what is still to be written go nowhere, so that nothing complains at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())

"""The program `ckpt`: its commands, and what becomes of an error."""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from toolkit.cli import output
from toolkit.cli.combine import average, merge
from toolkit.cli.directory import latest, log, prune, repair
from toolkit.cli.edit import InOrder, edit
from toolkit.cli.examples import epilog
from toolkit.cli.export import export
from toolkit.cli.import_ import import_
from toolkit.cli.init import init
from toolkit.cli.inspect import inspect
from toolkit.cli.reinit import reinit
from toolkit.cli.restore import restore
from toolkit.errors import CheckpointError, UsageError
from toolkit.version import __version__

app = typer.Typer(
    name="ckpt",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    suggest_commands=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Inspect, restore, change, export and import TensorFlow checkpoints.",
    epilog=epilog(""),
)


def _print_version(value: bool) -> None:
    if value:
        output.data(f"ckpt {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


_COMMANDS: dict[str, Callable[..., None]] = {
    "inspect": inspect,
    "log": log,
    "latest": latest,
    "init": init,
    "restore": restore,
    "reinit": reinit,
    "edit": edit,
    "merge": merge,
    "average": average,
    "export": export,
    "import": import_,
    "prune": prune,
    "repair": repair,
}
for name, command in _COMMANDS.items():
    app.command(name, cls=InOrder if command is edit else None, epilog=epilog(name))(command)


def main() -> NoReturn:
    """Run the program. Exits with 0, 1 or 2 as `docs/cli.md` says."""
    output.reset()
    gc.set_threshold(100_000, 50, 50)  # a command makes many objects, and hardly a cycle among them
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(app(prog_name="ckpt", standalone_mode=False) or 0)
    except TyperException as error:
        sys.exit(_wrong_usage(error))
    except MemoryError:
        sys.exit(output.error(UsageError("not enough memory", hint="choose fewer variables at a time")))
    except CheckpointError as error:
        if output.Settings.debug:
            import traceback

            traceback.print_exc()
        sys.exit(output.error(error))


def _wrong_usage(error: TyperException) -> int:
    """Print what is wrong with the command line, in the form of all errors; return the exit status."""
    from toolkit.cli import usage

    if usage.is_help(error):
        output.help_on_stderr(error.message)
        return output.EXIT_ERROR
    group = typer.main.get_command(app)
    return output.error(usage.usage_error(error, getattr(group, "commands", {}), sys.argv[1:]))


def program() -> NoReturn:
    """Run the program as a process of its own, which ends at once.

    To take apart what a large listing, or TensorFlow, has built takes time, and is for nothing.
    """
    try:
        main()
    except SystemExit as end:
        status = end.code
    if not isinstance(status, int):
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)

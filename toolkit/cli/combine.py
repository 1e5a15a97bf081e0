"""`ckpt merge` and `ckpt average`: one checkpoint of several."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.change.plan import FilePlan

_Several = Annotated[
    list[str], typer.Argument(metavar="CKPT...", help="Checkpoints, oldest first.", show_default=False)
]


def merge(
    ckpt: _Several,
    out: options.Out = None,
    on_conflict: Annotated[
        Literal["error", "first", "last"],
        typer.Option(help="What becomes of a variable that differs: an error, or which one's is taken."),
    ] = "error",
    data: options.Data = "auto",
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Put the variables of several checkpoints into one.

    What is equal is no conflict. Data files are shared by hard link. TensorFlow is not loaded.
    """
    from toolkit.change.merge import plan_merge
    from toolkit.formats.opening import open_checkpoint

    opened = [open_checkpoint(path, note=output.message) for path in ckpt]
    plan = plan_merge(*opened, on_conflict=on_conflict, data=data)
    _carry_out("merge", plan, out, force, no_sync, dry_run, json, no_truncate)


def average(
    ckpt: Annotated[
        list[str],
        typer.Argument(
            metavar="CKPT...", help="Checkpoints, oldest first, or one directory.", show_default=False
        ),
    ],
    out: options.Out = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W…", help="What each counts; by default all the same.", show_default=False),
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="Make an exponential moving average: each further one counts 1 - D.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of a directory, the newest N.", show_default=False),
    ] = None,
    data: options.Data = "auto",
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Average checkpoints.

    Floats are added up in double precision and rounded once; whole numbers and strings are the newest's.
    No more than a chunk of each checkpoint is in memory. TensorFlow is not loaded.
    """
    from toolkit.change.average import plan_average

    plan = plan_average(*ckpt, weights=_numbers(weights), decay=decay, last=last, data=data)
    _carry_out("average", plan, out, force, no_sync, dry_run, json, no_truncate)


def _numbers(text: str | None) -> list[float] | None:
    """Return the numbers of `1,2,0.5`."""
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights {text}: expected numbers", hint="write --weights 1,2") from None


def _carry_out(
    command: str,
    plan: "FilePlan",
    out: str | None,
    force: bool,
    no_sync: bool,
    dry_run: bool,
    json: bool,
    no_truncate: bool,
) -> None:
    """Write what a plan makes, unless it cannot be done or is only to be seen, and print it."""
    destination = options.destination(out, dry_run=dry_run, force=force, sources=plan.sources)
    if out:
        plan.aim(out)
    if destination and plan.ok:
        with output.progress(plan.num_bytes) as progress:
            plan.write(destination, force=force, sync=not no_sync, progress=progress)
    output.plan(command, plan, destination if plan.ok else None, json=json, every_row=no_truncate)
    plan.check()

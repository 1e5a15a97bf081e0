"""`ckpt merge` and `ckpt average`: one checkpoint of several."""

from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.carrying import carry_out
from toolkit.errors import UsageError

_Several = Annotated[
    list[str], typer.Argument(metavar="CKPT...", help="Checkpoints, oldest first.", show_default=False)
]


def merge(
    ckpt: _Several,
    out: options.Out = None,
    on_conflict: Annotated[
        Literal["error", "first", "last"],
        typer.Option(
            help="If a variable differs: stop with an error, or take the first's or the last's value."
        ),
    ] = "error",
    data: options.Data = "auto",
    check: options.Check = False,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Put the variables of several checkpoints into one.

    Variables that are equal are no conflict. Data files are shared by hard link. TensorFlow is not loaded.
    """
    from toolkit.change.merge import plan_merge
    from toolkit.formats.opening import open_checkpoint

    opened = [open_checkpoint(path, note=output.message) for path in ckpt]
    plan = plan_merge(*opened, on_conflict=on_conflict, data=data)
    carry_out(
        "merge",
        plan,
        out,
        force=force,
        no_sync=no_sync,
        dry_run=dry_run,
        json=json,
        every_row=no_truncate,
        check=check,
    )


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
        typer.Option(
            metavar="W,W…",
            help="One weight a checkpoint, divided by their sum; by "
            "default all are equal. 1,1,-1 makes A + B - C.",
            show_default=False,
        ),
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="Make an exponential moving average: each further checkpoint counts 1 - D.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Average only the newest N checkpoints of a directory.", show_default=False
        ),
    ] = None,
    data: options.Data = "auto",
    check: options.Check = False,
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
    carry_out(
        "average",
        plan,
        out,
        force=force,
        no_sync=no_sync,
        dry_run=dry_run,
        json=json,
        every_row=no_truncate,
        check=check,
    )


def _numbers(text: str | None) -> list[float] | None:
    """Return the numbers of `1,2,0.5`."""
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights {text}: expected numbers", hint="write --weights 1,2") from None

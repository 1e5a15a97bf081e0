"""`ckpt reinit`: fresh values for chosen variables, in the file alone."""

from typing import Annotated

import typer

from toolkit.cli import options, output
from toolkit.cli.carrying import carry_out
from toolkit.cli.patterns import gather
from toolkit.errors import UsageError


def reinit(
    ckpt: options.Ckpt,
    pattern: options.Patterns = None,
    out: options.Out = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="zeros, he_normal, normal:0,0.02, from:VARIABLE, checkpoint:PATH[::NAME] …; "
            "by default by role: kernels glorot_uniform, biases zeros.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = None,
    keep_slots: Annotated[
        bool, typer.Option("--keep-slots", help="Leave slots and moving averages as they are.")
    ] = False,
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
    """Give chosen variables fresh values.

    Optimizer slots start anew with their variables, moving averages become their copies, and everything
    else stays bit for bit. TensorFlow is not loaded.
    """
    from toolkit.change.reinit import plan_reinit
    from toolkit.formats.opening import open_checkpoint

    patterns = gather(pattern, select_from)
    if not patterns:
        raise UsageError("no PATTERN: which variables?", hint="name them; '**' means all")
    with open_checkpoint(ckpt, note=output.message) as checkpoint:
        plan = plan_reinit(
            checkpoint,
            patterns,
            init=init,
            seed=seed,
            exclude=exclude or (),
            keep_slots=keep_slots,
            data=data,
        )
        carry_out(
            "reinit",
            plan,
            out,
            force=force,
            no_sync=no_sync,
            dry_run=dry_run,
            json=json,
            every_row=no_truncate,
            check=check,
        )

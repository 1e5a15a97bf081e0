"""`ckpt restore`: a model's variables from a checkpoint by plan, the rest initialized."""

import contextlib
from typing import Annotated, Literal

import typer

from toolkit.cli import graphs, options, output
from toolkit.cli.patterns import gather


def restore(
    ckpt: options.Ckpt,
    model: options.Model,
    pattern: options.ModelPatterns = None,
    out: options.Out = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    rename: options.Rename = None,
    reinit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Initialize these, and their slots with them. May be repeated.",
            show_default=False,
        ),
    ] = None,
    on_missing: Annotated[
        Literal["init", "error"],
        typer.Option(help="What to do about a variable that CKPT lacks."),
    ] = "error",
    on_shape: Annotated[
        Literal["error", "init", "overlap"],
        typer.Option(help="What to do where shapes differ; overlap copies the common part."),
    ] = "error",
    cast: Annotated[bool, typer.Option("--cast", help="Convert where dtypes differ.")] = False,
    ema: Annotated[
        Literal["prefer", "require", "ignore"],
        typer.Option(
            help="Restore moving averages instead of variables. prefer: where "
            "there are any; require: always; ignore: never."
        ),
    ] = "ignore",
    copy: options.Copy = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every restored variable back and compare its checksum.")
    ] = False,
    seed: options.Seed = None,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Restore a model's variables by plan, and save it.

    Builds the model in a new graph and decides for every variable whether it is restored from CKPT or
    initialized, and why. Then does so, and saves all variables through TensorFlow's Saver.
    """
    from toolkit.formats.opening import open_checkpoint

    patterns = gather(pattern, select_from)
    drawn = graphs.seed_or_drawn(seed)
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(open_checkpoint(ckpt, note=output.message))
        destination = options.destination(out, dry_run=dry_run, force=force, sources=[checkpoint])
        stack.enter_context(graphs.tensorflow())
        from toolkit.graph.model_function import build
        from toolkit.graph.plan import GraphPlan
        from toolkit.graph.restore import plan_restore
        from toolkit.graph.saving import save

        graph = build(model, seed=drawn)
        plan = plan_restore(
            checkpoint,
            graph,
            patterns,
            exclude=exclude or (),
            rename=rename or (),
            reinit=reinit or (),
            on_missing=on_missing,
            on_shape=on_shape,
            cast=cast,
            ema=ema,
            copy=options.copies(copy),
        )
        assert isinstance(plan, GraphPlan)
        if seed is not None or any(v.action in ("initialize", "overlap") for v in plan.verdicts):
            plan.seed = drawn
        if destination and plan.ok:
            with graphs.session(graph) as session:
                plan.apply(session, verify=verify)
                checksums = plan.restored_checksums()
                save(session, destination, checksums=checksums, force=force, sync=not no_sync)
    done = destination if plan.ok else None
    output.plan("restore", plan, done, json=json, every_row=no_truncate)
    plan.check()

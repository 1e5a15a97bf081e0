"""`ckpt import`: a checkpoint of any format in TensorFlow's."""

import contextlib
from typing import Annotated

import typer

from toolkit.cli import graphs, options, output
from toolkit.errors import UsageError


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A checkpoint of any format: HDF5, Keras, safetensors, .npz, V1, V2.",
            show_default=False,
        ),
    ],
    out: options.Out = None,
    rename: options.Rename = None,
    object_graph_from: Annotated[
        str | None,
        typer.Option(
            metavar="CKPT",
            help="Write an object-based checkpoint (TF2), with the objects and keys of this one.",
            show_default=False,
        ),
    ] = None,
    to_tf2: Annotated[
        bool,
        typer.Option("--to-tf2", help="Write an object-based checkpoint, with the objects of --model."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="The function that returns the Keras model, tf.Module or tf.train.Checkpoint.",
            show_default=False,
        ),
    ] = None,
    max_shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Spread the values over data files of at most SIZE (500MB).",
            show_default=False,
        ),
    ] = None,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Convert a checkpoint of any format to TensorFlow's.

    The result is name-based; or object-based, as tf.train.Checkpoint restores it. TensorFlow is loaded only
    for --to-tf2.
    """
    from toolkit.change.importing import plan_import
    from toolkit.formats.opening import open_checkpoint

    if to_tf2 != (model is not None):
        raise UsageError("--to-tf2 and --model need each other", hint="--to-tf2 --model MODULE:FUNCTION")
    if to_tf2 and object_graph_from is not None:
        raise UsageError("--object-graph-from and --to-tf2 exclude each other", hint="give one of them")
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(open_checkpoint(source, note=output.message))
        destination = options.destination(out, dry_run=dry_run, force=force, sources=[checkpoint])
        objects = called = None
        if object_graph_from is not None:
            objects = stack.enter_context(open_checkpoint(object_graph_from, note=output.message))
        elif model is not None:
            with graphs.tensorflow():
                from toolkit.graph.objects import template

                objects, loading = stack.enter_context(template(model, checkpoint))
            called = loading.names
            if loading.refusal:
                output.message(f"note: Keras does not load {source} into the model: {loading.refusal}")
        plan = plan_import(checkpoint, rename=rename or (), object_graph_from=objects, called=called)
        if destination and plan.ok:
            with output.progress(plan.num_bytes) as progress:
                plan.write(
                    destination,
                    max_shard_size=max_shard_size,
                    force=force,
                    sync=not no_sync,
                    progress=progress,
                )
        done = destination if plan.ok else None
        output.plan("import", plan, done, json=json, every_row=no_truncate)
        plan.check()

"""`ckpt export`: a checkpoint's variables in another format."""

from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.keras_weights import export_weights
from toolkit.cli.patterns import gather
from toolkit.errors import UsageError


def export(
    ckpt: options.Ckpt,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="The file to write: OUT.h5, OUT.safetensors, OUT.npz; with --to-tf1, a prefix.",
            show_default=False,
        ),
    ],
    pattern: options.Patterns = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    rename: options.Rename = None,
    cast: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PATTERN=]DTYPE",
            help="Cast these to DTYPE (bfloat16, fp16); DTYPE alone: all floating-point weights and moving "
            "averages, no slots, counters or metrics. May be repeated.",
            show_default=False,
        ),
    ] = None,
    compress: Annotated[
        Literal["gzip"] | None,
        typer.Option(help="Compress the values.", show_default=False),
    ] = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Let HDF5 keep a checksum of each chunk, too.")
    ] = False,
    max_shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Spread safetensors over files of at most SIZE (500MB), with an index.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Literal["tf", "keras", "keras3"] | None,
        typer.Option(
            help="Of HDF5: tf; keras, for load_weights(by_name=True); keras3: OUT.weights.h5, with --model.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="For keras3, and for keras if CKPT tells too little: the function that returns the model.",
            show_default=False,
        ),
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Add a histogram of each variable to HDF5, for h5web.")
    ] = False,
    to_tf1: Annotated[
        bool,
        typer.Option("--to-tf1", help="Write a name-based checkpoint of an object-based one (TF2)."),
    ] = False,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export variables to HDF5, safetensors or .npz.

    The file is read back and every value compared before it appears. TensorFlow is not loaded.
    """
    if layout == "keras3" or model is not None or out.endswith(".weights.h5"):
        if (
            pattern
            or exclude
            or select_from
            or cast
            or compress
            or checksum
            or max_shard_size
            or to_tf1
            or stats
        ):
            raise UsageError(
                "--model: all weights of the model are written as they are", hint="give --rename alone"
            )
        export_weights(ckpt, out, layout, model, rename or (), force, no_sync, dry_run, json, no_truncate)
        return
    from toolkit.change.export import check_destination, plan_export
    from toolkit.formats.opening import open_checkpoint
    from toolkit.units import count, size

    chosen = layout or "tf"
    if to_tf1:
        _refuse_for_prefix(compress, checksum or stats, max_shard_size, layout)
    else:
        check_destination(
            out,
            compress=compress,
            checksum=checksum,
            max_shard_size=max_shard_size,
            layout=chosen,
            stats=stats,
        )
    patterns = gather(pattern, select_from)
    with open_checkpoint(ckpt, note=output.message) as checkpoint:
        if to_tf1:
            options.destination(out, dry_run=dry_run, force=force, sources=[checkpoint])
        plan = plan_export(
            checkpoint,
            patterns,
            exclude=exclude or (),
            rename=rename or (),
            cast=cast or (),
            to_tf1=to_tf1,
            weights_only=chosen == "keras",
        )
        done = None
        if not dry_run:
            with output.progress(plan.num_bytes) as progress:
                if to_tf1:
                    plan.write(out, force=force, sync=not no_sync, progress=progress)
                else:
                    done = plan.export(
                        out,
                        compress=compress,
                        checksum=checksum,
                        max_shard_size=max_shard_size,
                        layout=chosen,
                        stats=stats,
                        force=force,
                        sync=not no_sync,
                        progress=progress,
                    )
        written = None if dry_run else done.path if done else out
        output.plan("export", plan, written, json=json, every_row=no_truncate)
        if done:
            output.message(
                f"{count(done.num_variables, 'variable')}, {size(done.nbytes)}; "
                "read back: every value is equal"
            )


def _refuse_for_prefix(
    compress: str | None, checksum: bool, max_shard_size: str | None, layout: str | None
) -> None:
    """Refuse options that a checkpoint of TensorFlow's own has no use for."""
    if compress or checksum or max_shard_size or layout:
        raise UsageError(
            "--to-tf1 writes TensorFlow's own format, which has checksums, no compression, and one layout",
            hint="leave --compress, --checksum, --stats, --max-shard-size and --layout out",
        )

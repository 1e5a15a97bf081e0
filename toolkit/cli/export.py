"""`ckpt export`: a checkpoint's variables in another format."""

from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.patterns import gather


def export(
    ckpt: options.Ckpt,
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file to write: OUT.h5.", show_default=False)],
    pattern: options.Patterns = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    rename: options.Rename = None,
    cast: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=DTYPE",
            help="Convert these to DTYPE. May be repeated.",
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
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export variables to HDF5.

    The file is read back and every value compared before it appears. TensorFlow is not loaded.
    """
    from toolkit.change.export import check_destination, plan_export
    from toolkit.formats.opening import open_checkpoint
    from toolkit.render.units import count, size

    check_destination(out)
    patterns = gather(pattern, select_from)
    with open_checkpoint(ckpt, note=output.message) as checkpoint:
        plan = plan_export(checkpoint, patterns, exclude=exclude or (), rename=rename or (), cast=cast or ())
        done = None
        if not dry_run:
            sync = not no_sync
            with output.progress(plan.num_bytes) as progress:
                done = plan.export(
                    out, compress=compress, checksum=checksum, force=force, sync=sync, progress=progress
                )
        output.plan("export", plan, done and out, json=json, every_row=no_truncate)
        if done:
            output.message(
                f"{count(done.num_variables, 'variable')}, {size(done.nbytes)}; "
                "read back: every value is equal"
            )

"""`ckpt export`: a checkpoint's variables in another format."""

import re
import shlex
from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.keras_weights import export_weights, is_of_keras3
from toolkit.cli.patterns import gather
from toolkit.errors import UsageError


def export(
    ckpt: options.Ckpt,
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="[OUT]",
            help="The file to write: OUT.h5, OUT.safetensors, OUT.npz; with --to-tf1, a prefix. Or give it "
            "with -o.",
            show_default=False,
        ),
    ] = None,
    pattern: options.Patterns = None,
    output_: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="The file to write; all arguments after CKPT are patterns then.",
            show_default=False,
        ),
    ] = None,
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
        bool, typer.Option("--checksum", help="Store an HDF5 checksum with each chunk.")
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
            help="Layout of HDF5. tf: the toolkit's; keras: for "
            "load_weights(by_name=True); keras3: OUT.weights.h5, needs --model.",
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
    raw_names: Annotated[
        bool,
        typer.Option("--raw-names", help="Call variables by their keys, not by their readable names."),
    ] = False,
    weights_only: Annotated[
        bool,
        typer.Option("--weights-only", help="Leave out slots, moving averages, counters and metrics."),
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

    Variables go by the names that inspect shows. The file is read back and every value compared before it
    appears; ckpt import makes a checkpoint of it again, with its keys and objects. TensorFlow is not loaded.
    """
    out, named = _sorted_out(first, pattern, output_, dry_run=dry_run, is_prefix=to_tf1)
    if layout == "keras3" or model is not None or is_of_keras3(out):
        if (
            named
            or exclude
            or select_from
            or cast
            or compress
            or checksum
            or max_shard_size
            or to_tf1
            or stats
            or raw_names
            or weights_only
        ):
            raise UsageError(
                "--model: all weights of the model are written as they are", hint="give --rename alone"
            )
        export_weights(ckpt, out, layout, model, rename or (), force, no_sync, dry_run, json, no_truncate)
        return
    from toolkit.change.destinations import check_destination
    from toolkit.change.export import plan_export
    from toolkit.formats.opening import open_checkpoint
    from toolkit.publish import refuse_destination
    from toolkit.units import count, size

    chosen = layout or "tf"
    if to_tf1:
        _refuse_for_prefix(compress, checksum or stats, max_shard_size, layout)
    elif out:
        refuse_destination(out, force=force)
        check_destination(
            out,
            compress=compress,
            checksum=checksum,
            max_shard_size=max_shard_size,
            layout=chosen,
            stats=stats,
        )
    patterns = gather(named, select_from)
    with open_checkpoint(ckpt, note=output.message) as checkpoint:
        if to_tf1:
            options.destination(out or None, dry_run=dry_run, force=force, sources=[checkpoint])
        plan = plan_export(
            checkpoint,
            patterns,
            exclude=exclude or (),
            rename=rename or (),
            cast=cast or (),
            to_tf1=to_tf1,
            weights_only=weights_only,
            raw_names=raw_names,
            layout=chosen,
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


def _sorted_out(
    first: str | None, pattern: list[str] | None, output_: str | None, *, dry_run: bool, is_prefix: bool
) -> tuple[str, list[str]]:
    """Return OUT and the patterns; a dry run may have no OUT, and then it is empty.

    Raises:
        UsageError: There is no OUT, or two.
    """
    from toolkit.formats.endings import ending_of

    given = [*([first] if first is not None else []), *(pattern or ())]
    files = [each for each in given if ending_of(each) and not re.search(r"[*?\[]|^re:", each)]
    both = [*files, *([f"-o {output_}"] if output_ is not None else [])]
    if len(both) > 1:
        raise UsageError(
            f"two outputs: {both[0]} and {both[1]}",
            hint="give one of them; with -o all arguments after CKPT are patterns",
        )
    if output_ is not None:
        return output_, given
    if first is None:
        if dry_run:
            return "", given
        raise UsageError("no OUT: where to write?", hint="-o OUT.safetensors, or --dry-run")
    if files[:1] != [first] and files and not is_prefix:
        raise UsageError(
            f"{first}: is not OUT, which comes before the patterns", hint=f"-o {shlex.quote(files[0])}"
        )
    return first, given[1:]


def _refuse_for_prefix(
    compress: str | None, checksum: bool, max_shard_size: str | None, layout: str | None
) -> None:
    """Refuse options that a checkpoint of TensorFlow's own has no use for."""
    if compress or checksum or max_shard_size or layout:
        raise UsageError(
            "--to-tf1 writes TensorFlow's own format, which has checksums, no compression, and one layout",
            hint="leave --compress, --checksum, --stats, --max-shard-size and --layout out",
        )

"""`ckpt inspect`: what is in a checkpoint."""

from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.patterns import gather
from toolkit.errors import UsageError


def inspect(
    ckpt: options.Ckpt,
    pattern: options.Patterns = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show the tree of scopes.")] = False,
    depth: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Levels of --tree to show.", show_default=False),
    ] = None,
    sort: Annotated[
        Literal["name", "bytes", "order"],
        typer.Option(help="Sort by name, by bytes, or in the order in the data files."),
    ] = "name",
    long: Annotated[bool, typer.Option("--long", "-l", help="Also data file, offset and checksum.")] = False,
    json: options.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table of values.")] = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what is in a checkpoint.

    Names, dtypes, shapes and sizes; slots apart from weights; totals, and bytes by scope. Reads the
    index alone: data files may be missing. Exits with 1 if one is too short.
    """
    if sum([json, csv, tree]) > 1:
        raise UsageError("--json, --csv and --tree exclude each other", hint="give one of them")
    if depth is not None and not tree:
        raise UsageError("--depth is for --tree", hint="--tree --depth N")
    from toolkit.formats.opening import open_checkpoint
    from toolkit.look.inspect import inspect as look

    with open_checkpoint(ckpt, note=output.message, partial=True) as checkpoint:
        patterns = gather(pattern, select_from)
        summary = look(checkpoint, patterns, exclude=exclude or (), sort=sort)
        if json:
            from toolkit.render import documents

            output.data(documents.dump("inspect", documents.inspection(summary)))
        elif tree:
            from toolkit.render.tree import tree as render_tree

            output.data(render_tree(summary, depth=depth))
        else:
            from toolkit.render import listing

            width = None if no_truncate else output.terminal_width()
            output.data(listing.to_csv(summary) if csv else listing.listing(summary, width=width, long=long))
        if json or csv or tree:
            for line in summary.notes:
                output.message(line)
        if summary.is_damaged:
            raise typer.Exit(output.EXIT_DIFFERENT)

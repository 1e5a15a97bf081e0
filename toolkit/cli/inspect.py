"""`ckpt inspect`: what is in a checkpoint."""

from typing import Annotated, Literal

import typer

from toolkit.cli import options, output
from toolkit.cli.patterns import gather
from toolkit.errors import UsageError

Role = Literal["weight", "slot", "moving_average", "counter", "metric", "metadata"]


def inspect(
    ckpt: options.Ckpt,
    pattern: options.Patterns = None,
    exclude: options.Exclude = None,
    select_from: options.SelectFrom = None,
    role: Annotated[
        Role | None, typer.Option(help="Show only the variables of this role.", show_default=False)
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Show only what it is, without the table.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show the tree of scopes.")] = False,
    depth: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Show only N levels of the tree.", show_default=False),
    ] = None,
    sort: Annotated[
        Literal["name", "bytes", "order"],
        typer.Option(help="Sort by name, by bytes, or in the order in the data files."),
    ] = "name",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Also show data file, offset, checksum, key.")
    ] = False,
    json: options.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what is in a checkpoint.

    First what it is: who wrote it, its parameters, dtypes, optimizer, step, files. Then names, dtypes,
    shapes and sizes, slots apart from weights; totals, and bytes by scope. Reads only the index and the
    number of steps, so data files may be missing. Exits with 1 if one is too short.
    """
    if sum([json, csv, tree]) > 1:
        raise UsageError("--json, --csv and --tree exclude each other", hint="give one of them")
    if summary and (csv or tree or long):
        raise UsageError("--summary shows no variables", hint="leave --csv, --tree or --long out")
    if depth is not None and not tree:
        raise UsageError("--depth is for --tree", hint="--tree --depth N")
    from toolkit.formats.opening import open_checkpoint
    from toolkit.look.inspect import inspect as look

    with open_checkpoint(ckpt, note=output.message, partial=True) as checkpoint:
        patterns = gather(pattern, select_from)
        found = look(checkpoint, patterns, exclude=exclude or (), role=role or (), sort=sort)
        width = None if no_truncate else output.terminal_width()
        if json:
            from toolkit.render import documents

            output.data(documents.dump("inspect", documents.inspection(found, variables=not summary)))
        elif tree:
            from toolkit.render.tree import tree as render_tree

            output.data(render_tree(found, depth=depth, width=width))
        elif summary:
            from toolkit.render.top import top

            output.data("\n".join(top(found, width=width)))
        else:
            from toolkit.render import listing

            output.data(listing.to_csv(found) if csv else listing.listing(found, width=width, long=long))
        if json or csv:
            for line in found.notes:
                output.message(line)
        if found.is_damaged:
            raise typer.Exit(output.EXIT_DIFFERENT)

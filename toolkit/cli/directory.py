"""`ckpt log`, `latest`, `prune` and `repair`: a training directory."""

from typing import Annotated

import typer

from toolkit.cli import options, output
from toolkit.cli.output import EXIT_DIFFERENT

_Directory = Annotated[
    str, typer.Argument(metavar="DIR", help="The directory of a training.", show_default=False)
]


def log(
    directory: _Directory,
    json: options.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the checkpoints of a training directory.

    Steps, times, sizes on the disk (what several share by hard link is counted once, with the first), which
    is the latest and the best, and which are broken.
    """
    from toolkit.change.log import Logged
    from toolkit.change.log import log as read_log
    from toolkit.render import directory as render
    from toolkit.render import documents
    from toolkit.render.csv_text import csv_text

    logged = read_log(directory)
    if json:
        output.data(documents.dump("log", {"checkpoints": render.log_rows(logged)}))
    elif csv:
        output.data(csv_text(Logged._fields, logged))
    else:
        output.data(render.log_table(logged))


def latest(
    directory: _Directory,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Print the path of the latest checkpoint that is complete.

    The latest is the one that the state file names, or a later save that was written after the state file.
    If that checkpoint is broken or gone, or there is no state file, it is the newest complete one.
    """
    from toolkit.change.log import latest as find_latest
    from toolkit.render import documents

    found = find_latest(directory, note=output.message)
    if json:
        output.data(documents.dump("latest", {"path": found.path, "step": found.step, "time": found.time}))
    else:
        output.data(found.path)


def prune(
    directory: _Directory,
    keep: Annotated[
        int, typer.Option(metavar="N", help="Keep the newest N of each training.", show_default=False)
    ],
    keep_every: Annotated[
        int, typer.Option(metavar="STEPS", help="Also keep those whose step is a multiple of STEPS.")
    ] = 0,
    keep_best: Annotated[
        int,
        typer.Option(
            metavar="N", help="Also keep the best N, by the metrics that CheckpointKeeper recorded."
        ),
    ] = 0,
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", help="Remove only what was saved more than DAYS ago.")
    ] = 0,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Remove old checkpoints of a training directory.

    What any rule keeps stays, and the latest always does. The state file is changed along.
    """
    from toolkit.change.prune import plan_prune
    from toolkit.render import directory as render
    from toolkit.render import documents

    pruning = plan_prune(
        directory, keep=keep, keep_every=keep_every, keep_best=keep_best, older_than=older_than
    )
    if not dry_run:
        pruning.apply(sync=not no_sync)
    if json:
        output.data(documents.dump("prune", render.pruning_document(pruning)))
    elif dry_run or not quiet:
        output.data(render.pruning_table(pruning))
    if dry_run:
        output.message("dry run: nothing was removed")


def repair(
    directory: _Directory,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Put a training directory right.

    Makes the state file name complete checkpoints, the latest among them, by relative paths, and removes
    what broken saves left, where that is certain. Exits with 1 if a problem remains; in a dry run, if there
    is one.
    """
    from toolkit.change.repair import plan_repair
    from toolkit.render import directory as render
    from toolkit.render import documents

    repair = plan_repair(directory)
    if not dry_run:
        repair.apply(sync=not no_sync)
    if json:
        output.data(documents.dump("repair", render.repair_document(repair)))
    elif dry_run or not quiet:
        output.data(render.repair_table(repair))
    if dry_run:
        output.message("dry run: nothing was changed")
    if repair.broken or repair.left or (dry_run and repair.is_needed):
        raise typer.Exit(EXIT_DIFFERENT)

"""What becomes of a plan over files on the command line: it is carried out, or only shown."""

from typing import TYPE_CHECKING

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.change.plan import FilePlan


def carry_out(
    command: str,
    plan: "FilePlan",
    out: str | None,
    *,
    force: bool,
    no_sync: bool,
    dry_run: bool,
    json: bool,
    every_row: bool,
    check: bool,
    keep_meta: bool = False,
) -> None:
    """Write what a plan makes to `out`, unless it cannot be done or is only to be seen, and print it.

    Raises:
        PlanError: It cannot be done; it is printed.
        CheckpointError: As `FilePlan.write`.
    """
    destination = options.destination(out, dry_run=dry_run, force=force, sources=plan.sources)
    if out:
        plan.aim(out)
    num_bytes = plan.num_bytes * bool(destination) + (plan.num_checked if check else 0)
    if plan.ok and (destination or dry_run):
        with output.progress(num_bytes) as progress:
            if destination:
                plan.write(
                    destination,
                    keep_meta=keep_meta,
                    check=check,
                    force=force,
                    sync=not no_sync,
                    progress=progress,
                )
            else:
                plan.rehearse(check=check, progress=progress)
    output.plan(command, plan, destination if plan.ok else None, json=json, every_row=every_row)
    plan.check()

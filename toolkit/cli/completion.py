"""Completion of variable names in the shell."""

from __future__ import annotations

import typer

from toolkit.errors import CheckpointError


def complete_checkpoint_variable(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names and scopes of the checkpoint on the command line that go on as typed.

    As a shell does with folders: one level at a time, a scope ending in `/`.
    """
    from toolkit.formats.opening import open_checkpoint

    path = ctx.params.get("ckpt")
    if not path:
        return []
    try:
        names = list(open_checkpoint(path, partial=True))
    except CheckpointError:
        return []
    found: dict[str, None] = {}
    for name in names:
        if name.startswith(incomplete):
            end = name.find("/", len(incomplete))
            found[name if end < 0 else name[: end + 1]] = None
    return [name for name in found if name.isprintable()]

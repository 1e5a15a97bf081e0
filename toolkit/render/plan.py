"""A plan for a person: fitted to the terminal and coloured, or plain text where there is none."""

from __future__ import annotations

import io
from collections import Counter

from toolkit.names import printable
from toolkit.plan import Plan, aligned
from toolkit.render.units import count

_STYLES = {
    "cannot": "bold red",
    "initialize": "yellow",
    "restore": "green",
    "copy": "cyan",
    "overlap": "magenta",
    "cast": "magenta",
    "drop": "red",
}
_TOO_MANY_FOR_RICH = 2000
"""Rich takes half a millisecond a row."""
_MAX_UNUSED = 10


def table(plan: Plan, *, width: int | None = None, color: bool = False, every_row: bool = False) -> str:
    """Return the plan as a table: action, variable, dtype and shape, source, reason.

    Args:
        plan: What to show.
        width: Columns of the terminal, to which cells are shortened; `None` shows them whole.
        color: Whether to use the terminal's colours.
        every_row: List each variable that is kept, which are counted otherwise, and each unused name.
    """
    rows = plan.rows()
    counted = []
    if not every_row:
        kept = Counter(row[-1] for row in rows if row[0] == "keep")
        rows = [row for row in rows if row[0] != "keep"]
        counted = [f"keep  {count(n, 'variable')}, {why}" for why, n in kept.items()]
    if width is None or len(rows) > _TOO_MANY_FOR_RICH:
        lines = aligned(rows)
    else:
        lines = [_fitted(rows, width, color)] if rows else []
    unused = [f"unused in the checkpoint: {printable(name)}" for name in plan.unused]
    if len(unused) > _MAX_UNUSED and not every_row:
        more = len(unused) - _MAX_UNUSED
        unused = [*unused[:_MAX_UNUSED], f"and {more} more unused (--no-truncate shows all)"]
    seed = "" if plan.seed is None else f"; seed {plan.seed}"
    return "\n".join([*lines, *counted, *unused, plan.summary() + seed])


def _fitted(rows: list[tuple[str, ...]], width: int, color: bool) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for i in range(len(rows[0]) if rows else 0):
        grid.add_column(no_wrap=i != 4, overflow="fold" if i == 4 else "ellipsis")
    for row in rows:
        style = _STYLES.get(row[0], "")
        grid.add_row(Text(row[0], style), *(Text(cell) for cell in row[1:]))
    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False
    )
    console.print(grid)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())

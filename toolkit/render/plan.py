"""A plan for a person: fitted to the terminal and coloured, or plain text where there is none."""

from __future__ import annotations

import io
from collections import Counter

from toolkit.plan import Plan, aligned
from toolkit.render.units import count, shorten

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
    unused = plan.unused_rows()
    if len(unused) > _MAX_UNUSED and not every_row:
        more = len(unused) - _MAX_UNUSED
        unused = [*unused[:_MAX_UNUSED], f"and {more} more unused (--no-truncate shows all)"]
    seed = "" if plan.seed is None else f"; seed {plan.seed}"
    return "\n".join([*lines, *counted, *unused, plan.summary() + seed])


def _fitted(rows: list[tuple[str, ...]], width: int, color: bool) -> str:
    """Return rows in `width` columns: names shortened in their middle, reasons broken into lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    room = (width, max(width * 2 // 5, 16), width, max(width // 5, 12))
    cells = [(*map(shorten, row, room), row[-1]) for row in rows]
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for _ in room:
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold", min_width=20)
    for row in cells:
        grid.add_row(Text(row[0], _STYLES.get(row[0], "")), *map(Text, row[1:]))
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False)
    console.print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

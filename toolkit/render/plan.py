"""A plan for a person: fitted to the terminal and coloured, or plain text where there is none."""

from __future__ import annotations

import io
import textwrap
from collections import Counter

from toolkit.names import printable
from toolkit.plan import Plan
from toolkit.text import aligned, shorten
from toolkit.units import count

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
_LEAST_ROOM = 24
"""Columns for a name, or for a line of a reason, however narrow the terminal."""


def table(plan: Plan, *, width: int | None = None, color: bool = False, every_row: bool = False) -> str:
    """Return the plan as a table: action, variable, dtype and shape, source, reason.

    Args:
        plan: What to show.
        width: Columns of the terminal, to which names are shortened; `None` shows them whole, and every
            unused name.
        color: Whether to use the terminal's colours.
        every_row: List each variable that is kept, too, which are counted otherwise.
    """
    rows = plan.rows()
    counted = []
    if not every_row:
        kept = Counter(row[-1] for row in rows if _is_kept(row))
        rows = [row for row in rows if not _is_kept(row)]
        counted = [f"keep  {count(n, 'variable')}, {why}" for why, n in kept.items()]
    if width is None or len(rows) > _TOO_MANY_FOR_RICH:
        lines = aligned(rows) if rows else []
    else:
        lines = [_fitted(rows, width, color)] if rows else []
    unused = plan.unused_rows()
    if len(unused) > _MAX_UNUSED and width is not None:
        more = len(unused) - _MAX_UNUSED
        unused = [*unused[:_MAX_UNUSED], f"and {more} more unused (--no-truncate shows all)"]
    return "\n".join([*lines, *counted, *unused, *map(printable, plan.notes), plan.summary()])


def _is_kept(row: tuple[str, ...]) -> bool:
    """Return whether a row is of what is kept, and under its own name."""
    return row[0] == "keep" and not row[3]


def _fitted(rows: list[tuple[str, ...]], width: int, color: bool) -> str:
    """Return rows in `width` columns: one line each if all fit, else each reason on lines of its own."""
    from rich.console import Console
    from rich.text import Text

    lines = aligned(rows)
    if max(map(len, lines)) > width:
        lines = _stacked(rows, width)
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, no_color=not color, highlight=False)
    for line in lines:
        text = Text(line)
        action = line.partition(" ")[0]
        if style := _STYLES.get(action):
            text.stylize(style, 0, len(action))
        console.print(text, soft_wrap=True)
    return out.getvalue().rstrip("\n")


def _stacked(rows: list[tuple[str, ...]], width: int) -> list[str]:
    """Return rows with the reason below what it is for: nothing of it is left out."""
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lead = " " * (widths[0] + 2)
    room = max(width - len(lead), _LEAST_ROOM)
    widths[1] = min(widths[1], max(room - widths[2] - 2, _LEAST_ROOM))
    lines = []
    names = shorten([row[1] for row in rows], widths[1])
    for (action, _, what, source, reason), name in zip(rows, names, strict=True):
        cells = (action, name, what)
        lines.append("  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip())
        text = f"{source}: {reason}" if source else reason
        lines += textwrap.wrap(text, room, initial_indent=lead, subsequent_indent=lead)
    return lines

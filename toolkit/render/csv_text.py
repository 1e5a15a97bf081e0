"""Comma-separated values, in which no cell is run by a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from toolkit.names import printable


def csv_text(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return rows under a heading. Text that a spreadsheet would run gets a `'` before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([_inert(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue().rstrip("\n")


def _inert(text: str) -> str:
    """Return `text` printable and, for a spreadsheet, no formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

"""Columns of a table that fit the terminal: numbers flush right, and what fits least left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from toolkit.text import columns, padded

Cells = tuple[str, ...]


class Layout:
    """Columns as wide as their widest cell, two spaces apart.

    Attributes:
        width: Columns of the terminal that a row takes.

    Args:
        rows: All rows, of as many cells each.
        left: The numbers of the columns of text; those of numbers are flush right.
        drop: The numbers of the columns that are left out.
    """

    def __init__(self, rows: Iterable[Cells], left: set[int], drop: Iterable[int] = ()) -> None:
        self._left = left
        self._widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
        self._shown = [i for i in range(len(self._widths)) if i not in set(drop)]
        self.width = self._width()

    def drop(self, column: int) -> None:
        """Leave a column out."""
        self._shown.remove(column)
        self.width = self._width()

    def line(self, cells: Cells) -> str:
        """Return one row."""
        widths, left = self._widths, self._left
        return "  ".join(
            [padded(cells[i], widths[i]) if i in left else cells[i].rjust(widths[i]) for i in self._shown]
        ).rstrip()

    def _width(self) -> int:
        return sum(self._widths[i] for i in self._shown) + 2 * (len(self._shown) - 1)


def fitted(rows: Sequence[Cells], left: set[int], width: int | None, order: Sequence[int]) -> list[str]:
    """Return rows as lines, with columns left out in this `order` as long as they are wider than `width`."""
    layout = Layout(rows, left)
    for column in order:
        if width is None or layout.width <= width:
            break
        layout.drop(column)
    return [layout.line(row) for row in rows]

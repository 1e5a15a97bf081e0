"""A checkpoint's variables as text for a person, or as CSV.

Formatted by hand: a general table of 20,000 rows takes seconds. Most variables have the dtype, shape
and size of another, so what stands beside a name is formatted once for each that is different.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from toolkit.checkpoint import NOWHERE, Variable
from toolkit.look.inspect import KINDS, Summary, totals_of
from toolkit.names import printable, shorten
from toolkit.render.csv_text import csv_text
from toolkit.roles import Kind
from toolkit.units import count, size

_TITLES = {
    "weight": "weights",
    "slot": "slots",
    "moving_average": "moving averages",
    "counter": "counters",
    "metric": "metrics",
    "metadata": "metadata",
}
_MAX_SCOPES = 12
_MIN_NAME_WIDTH = 16

Cells = tuple[str, ...]


def listing(summary: Summary, *, width: int | None = None, long: bool = False) -> str:
    """Return the listing of `ckpt inspect`: variables by role, then totals, then bytes by scope.

    Args:
        summary: What to list.
        width: Columns of the terminal, to which names are shortened; `None` shows all of them.
        long: Also where the bytes lie, their checksum, and whose slot it is.
    """
    heading: Cells = ("dtype", "shape", "parameters", "bytes")
    if long:
        heading += ("shard", "offset", "crc32c", "of")
        if summary.paths:
            heading += ("key",)
    variables = summary.variables
    keys: list[Hashable] = [v.name for v in variables] if long else [v.spec for v in variables]
    examples = dict(zip(keys, variables, strict=True))
    details = {key: _cells(v, summary, long) for key, v in examples.items()}
    layout = _Layout([heading, *details.values()], left={0, 1, 7, 8})
    suffixes = {key: "  " + layout.line(cells) for key, cells in details.items()}

    names = [name if name.isprintable() else printable(name) for name in summary.names_of(variables)]
    titles = [_TITLES[kind] for kind in KINDS if summary.by_kind[kind]]
    name_width = max(map(len, titles + names), default=0)
    if width is not None and name_width + 2 + layout.width > width:
        name_width = max(width - 2 - layout.width, _MIN_NAME_WIDTH)
        names = shorten(names, name_width)
    sections: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    for v, name, key in zip(variables, names, keys, strict=True):
        sections[summary.roles[v.name].kind].append(name.ljust(name_width) + suffixes[key])
    checkpoint = summary.checkpoint
    lines = [f"{printable(checkpoint.path)}: {checkpoint.describe()}", *map(printable, summary.notes)]
    for kind, rows in sections.items():
        if rows:
            lines += ["", f"{_TITLES[kind]:<{name_width}}  {layout.line(heading)}", *rows]
    return "\n".join([*lines, "", *_totals(summary), *_scopes(summary)])


def to_csv(summary: Summary) -> str:
    """Return one line a variable, with a heading."""
    heading = ["name", "dtype", "shape", "nbytes", "num_elements", "role", "of", "shard", "offset", "crc32c"]
    rows: list[list[object]] = []
    for v in summary.variables:
        role = summary.roles[v.name]
        place = ("", "", "") if v.place == NOWHERE else v.place
        path = [summary.paths.get(v.name, "")] if summary.paths else []
        shape = "x".join(map(str, v.shape))
        rows.append(
            [v.name, v.dtype, shape, v.nbytes, v.num_elements, role.kind, role.of or "", *place, *path]
        )
    return csv_text([*heading, *(["path"] if summary.paths else [])], rows)


class _Layout:
    """Columns as wide as their widest cell, two spaces apart; numbers flush right."""

    def __init__(self, rows: Iterable[Cells], left: set[int]) -> None:
        columns = list(zip(*rows, strict=True))
        self._widths = [max(map(len, column)) for column in columns]
        self._left = left
        self.width = sum(self._widths) + 2 * (len(self._widths) - 1)

    def line(self, cells: Cells) -> str:
        """Return one row."""
        return "  ".join(
            cell.ljust(width) if i in self._left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ).rstrip()


def _cells(v: Variable, summary: Summary, long: bool) -> Cells:
    cells: Cells = (v.dtype.name, str(v.shape), f"{v.num_elements:,}", f"{v.nbytes:,}")
    if long:
        shard, offset, crc = v.place
        nowhere = v.place == NOWHERE
        of = summary.roles[v.name].of or ""
        cells += (
            f"{len(v.slices)} slices" if nowhere and v.slices else "-" if nowhere else str(shard),
            "-" if nowhere else str(offset),
            "-" if crc is None else f"{crc:08x}",
            printable(summary.paths.get(of, of)),
        )
        if summary.paths:
            cells += (printable(v.name),)
    return cells


def _totals(summary: Summary) -> list[str]:
    totals = [
        (_TITLES[kind], totals_of(variables)) for kind, variables in summary.by_kind.items() if variables
    ]
    if len(totals) != 1:
        totals.append(("total", summary.totals))
    rows = [
        (
            title,
            f"{t.num_variables:,}",
            f"{t.num_elements:,}",
            f"{t.nbytes:,}",
            f"({size(t.nbytes)})",
        )
        for title, t in totals
    ]
    return _table([("", "variables", "parameters", "bytes", ""), *rows])


def _scopes(summary: Summary) -> list[str]:
    scopes = list(summary.by_scope.items())
    if len(scopes) < 2:
        return []
    rows = [
        (printable(scope), f"{num_variables:,}", f"{nbytes:,}", f"({size(nbytes)})")
        for scope, (num_variables, nbytes) in scopes[:_MAX_SCOPES]
    ]
    lines = ["", *_table([("scope", "variables", "bytes", ""), *rows])]
    if len(scopes) > _MAX_SCOPES:
        lines.append(f"and {count(len(scopes) - _MAX_SCOPES, 'more scope')} (--tree shows all)")
    return lines


def _table(rows: list[Cells]) -> list[str]:
    last = len(rows[0]) - 1
    layout = _Layout(rows, left={0, last})
    return [layout.line(row) for row in rows]

"""A checkpoint's variables as text for a person, or as CSV.

Formatted by hand: a general table of 20,000 rows takes seconds. Most variables have the dtype, shape
and size of another, so what stands beside a name is formatted once for each that is different.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from toolkit.checkpoint import Variable
from toolkit.look.inspect import KINDS, Summary, totals_of
from toolkit.names import printable
from toolkit.places import NOWHERE
from toolkit.render.columns import Cells, Layout, fitted
from toolkit.render.csv_text import csv_text
from toolkit.render.top import advice, top
from toolkit.roles import Kind
from toolkit.text import ELLIPSIS, columns, common_scope, padded, shorten, shortened
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
_MIN_NAME_WIDTH = 24
"""Columns for names, for which other columns are left out: of elements and bytes, which a shape tells."""
_MAX_SHAPE_WIDTH = 24
"""Columns for a shape on a terminal: one may have 254 dimensions."""
_LEAD = "    "
"""Before what stands below a variable."""
_ABOVE = f"{ELLIPSIS}/"
"""In place of the scope that all names of a section lie in, where they would not fit with it."""


def listing(summary: Summary, *, width: int | None = None, long: bool = False) -> str:
    """Return the listing of `ckpt inspect`: what it is, variables by role, totals, bytes by scope.

    Args:
        summary: What to list.
        width: Columns of the terminal, to which names are shortened; `None` shows all of them.
        long: Also where the bytes lie, their checksum, and whose slot it is.
    """
    lines = top(summary, width=width)
    sections = _sections(summary)
    if sections:
        variables = [v for section in sections for v in section.variables]
        beside = _Beside(summary, variables, width, long=long)
        widest = max(columns(name) for section in sections for name in [section.title, *section.names])
        name_width = beside.fit(widest)
        taken: set[str] = set()
        for section in sections:
            lines += ["", *_rows(section, name_width, beside, taken)]
    lines += ["", *_totals(summary, width), *_scopes(summary, width), *advice(summary, width)]
    return "\n".join(lines)


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


class _Section(NamedTuple):
    """The variables of one role, and what they are called."""

    kind: Kind
    variables: list[Variable]
    names: list[str]

    @property
    def title(self) -> str:
        """The title of the section."""
        return _TITLES[self.kind]


def _sections(summary: Summary) -> list[_Section]:
    found = []
    for kind in KINDS:
        if variables := summary.by_kind[kind]:
            names = [n if n.isprintable() else printable(n) for n in summary.names_of(variables)]
            found.append(_Section(kind, variables, names))
    return found


def _rows(section: _Section, width: int, beside: _Beside, taken: set[str]) -> Iterator[str]:
    """Yield a section's heading and rows, each name in `width` columns."""
    names = section.names
    if len(names) > 1 and max(map(columns, names)) > width and (scope := common_scope(names)):
        yield shortened(f"{_ABOVE} is {scope}", beside.width or 0)
        names = [_ABOVE + name[len(scope) :] for name in names]
    yield padded(section.title, width) + beside.heading(section.kind)
    for v, name in zip(section.variables, shorten(names, width, taken=taken), strict=True):
        yield padded(name, width) + beside.row(v)
        yield from beside.below(v)


class _Beside:
    """What stands beside the names of variables, and in a long listing that does not fit, below them.

    Attributes:
        width: Columns of the terminal; `None` where there is none.
    """

    def __init__(self, summary: Summary, variables: list[Variable], width: int | None, *, long: bool) -> None:
        self.width = width
        self._summary = summary
        self._is_long = long
        self._heading: Cells = ("dtype", "shape", "parameters", "bytes")
        if long:
            self._heading += ("shard", "offset", "crc32c", "of", *(["key"] if summary.paths else []))
        keys: list[Hashable] = [v.name for v in variables] if long else [v.spec for v in variables]
        self._cells = {key: self._cells_of(v) for key, v in dict(zip(keys, variables, strict=True)).items()}
        self._lay_out()
        self._keys: dict[str, str] = {}
        if long and width is not None and summary.paths:
            names = [v.name for v in variables if v.name in summary.paths]
            room = width - len(f"{_LEAD}key ")
            self._keys = dict(zip(names, shorten(list(map(printable, names)), room), strict=True))

    def fit(self, names: int) -> int:
        """Choose what is shown so that it fits beside names of so many columns; return those they get."""
        if self.width is None:
            return names
        wanted = min(names, _MIN_NAME_WIDTH)
        for num_beside in (7, 4) if self._is_long else ():
            if names + 2 + self._layout.width <= self.width:
                break
            self._heading = self._heading[:num_beside]
            self._lay_out()
        for column in (2, 3, 1, 0):
            if wanted + 2 + self._layout.width <= self.width:
                break
            self._layout.drop(column)
        return max(min(names, self.width - 2 - self._layout.width), 1)

    def heading(self, kind: Kind) -> str:
        """Return the columns beside the title of a section."""
        elements = "parameters" if kind == "weight" else "elements"
        return self._beside((*self._heading[:2], elements, *self._heading[3:]))

    def row(self, v: Variable) -> str:
        """Return the columns beside the name of a variable."""
        if self._is_long:
            return self._beside(self._cells[v.name])
        suffix = self._suffixes.get(v.spec)
        if suffix is None:
            suffix = self._suffixes[v.spec] = self._beside(self._cells[v.spec])
        return suffix

    def below(self, v: Variable) -> Iterator[str]:
        """Yield what stands below a variable in a long listing that does not fit."""
        if not self._is_long or self.width is None or len(self._heading) > 7:
            return
        shard, offset, crc, of, *_ = self._cells[v.name][4:]
        key = self._keys.get(v.name)
        parts = [f"shard {shard}" if shard.isdecimal() else shard, f"offset {offset}", f"crc32c {crc}"]
        parts = [part for part in parts if not part.endswith("-") and len(self._heading) < 7]
        if of and columns(_LEAD + "  ".join([*parts, f"of {of}"])) <= self.width:
            parts.append(f"of {of}")
            of = ""
        texts = ["  ".join(parts), f"of {of}" if of else "", f"key {key}" if key else ""]
        for text in filter(None, texts):
            yield shortened(_LEAD + text, self.width)

    def _beside(self, cells: Cells) -> str:
        line = self._layout.line(cells[: len(self._heading)])
        return f"  {line}" if line else ""

    def _lay_out(self) -> None:
        shown = [cells[: len(self._heading)] for cells in self._cells.values()]
        self._layout = Layout([self._heading, *shown], left={0, 1, 7, 8})
        self._suffixes: dict[Hashable, str] = {}

    def _cells_of(self, v: Variable) -> Cells:
        shape = str(v.shape)
        if self.width is not None:
            shape = shortened(shape, _MAX_SHAPE_WIDTH)
        cells: Cells = (v.dtype.name, shape, f"{v.num_elements:,}", f"{v.nbytes:,}")
        if self._is_long:
            shard, offset, crc = v.place
            nowhere = v.place == NOWHERE
            of = self._summary.roles[v.name].of or ""
            cells += (
                f"{len(v.slices)} slices" if nowhere and v.slices else "-" if nowhere else str(shard),
                "-" if nowhere else str(offset),
                "-" if crc is None else f"{crc:08x}",
                printable(self._summary.paths.get(of, of)),
            )
            if self._summary.paths:
                cells += (printable(v.name),)
        return cells


def _totals(summary: Summary, width: int | None) -> list[str]:
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
    return fitted([("", "variables", "elements", "bytes", ""), *rows], {0, 4}, width, (3, 2, 1, 4))


def _scopes(summary: Summary, width: int | None) -> list[str]:
    scopes = list(summary.by_scope.items())
    if len(scopes) < 2:
        return []
    shown = scopes[:_MAX_SCOPES]
    names = [printable(scope) or "(in no scope)" for scope, _ in shown]
    if width is not None:
        rest = [f"  variables  {nbytes:,}  ({size(nbytes)})" for _, (_, nbytes) in shown]
        names = shorten(names, max(width - max(map(len, rest)), 1))
    rows = [
        (name, f"{num_variables:,}", f"{nbytes:,}", f"({size(nbytes)})")
        for name, (_, (num_variables, nbytes)) in zip(names, shown, strict=True)
    ]
    lines = ["", *fitted([("scope", "variables", "bytes", ""), *rows], {0, 3}, width, (2, 1, 3))]
    if len(scopes) > _MAX_SCOPES:
        more = f"and {count(len(scopes) - _MAX_SCOPES, 'more scope')} (--tree shows all)"
        lines.append(more if width is None else shortened(more, width))
    return lines

"""A plan for a person: fitted to the terminal and coloured, or plain text where there is none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from toolkit.dtypes import DType, as_dtype
from toolkit.names import printable
from toolkit.plan import Plan, Verdict
from toolkit.roles import Kind, Role, assign
from toolkit.text import ELLIPSIS, aligned, columns, padded, shorten, wrapped
from toolkit.units import count

_CODES = {
    "cannot": "1;31",
    "initialize": "33",
    "restore": "32",
    "copy": "36",
    "overlap": "35",
    "cast": "35",
    "drop": "31",
    "defer": "36",
}
"""Of the terminal's own colours, which suit its background (ECMA-48, SGR)."""
_DONE = {
    "restore": "restored",
    "initialize": "initialized",
    "copy": "copied",
    "overlap": "restored in part",
    "keep": "kept",
    "constant": "set",
    "mean": "averaged",
    "drop": "dropped",
    "defer": "deferred",
}
"""What has become of variables, where that is not what the action is called."""
_NOUNS: dict[Kind | None, str] = {
    "weight": "weight",
    "slot": "slot",
    "moving_average": "moving average",
    "counter": "counter",
    "metric": "metric",
    "metadata": "object graph",
    None: "variable",
}
_TOGETHER = {
    f"slot of {ELLIPSIS}, which starts afresh": "their variables start afresh",
    f"moving average of {ELLIPSIS}, which starts afresh": "their variables start afresh",
    f"slot of {ELLIPSIS}": "along with their variables",
    f"moving average of {ELLIPSIS}": "along with their variables",
}
"""The reasons for what an optimizer keeps, of one variable and of many."""
_FEW = 4
"""Rows of one reason that are listed one by one."""
_MAX_UNUSED = 10
_MAX_RENAMES = 3
_OF_ONE_SOURCE = ("restore", "keep", "cast", "overlap")
"""What takes the value of the checkpoint's variable, under the same name or another."""
_LEAST_ROOM = 24
"""Columns for a name, or for a line of a reason, however narrow the terminal."""

Row = tuple[str, ...]


def table(plan: Plan, *, width: int | None = None, color: bool = False, every_row: bool = False) -> str:
    """Return the plan as a table: action, variable, dtype and shape, source, reason.

    What is kept under its own name is counted, and on a terminal, what more than a few rows say with the same
    reason. What cannot be done comes last, and whole.

    Args:
        plan: What to show.
        width: Columns of the terminal, to which names are shortened; `None` shows them whole, and every
            unused name.
        color: Whether to use the terminal's colours.
        every_row: Leave no row out.
    """
    kinds = _kinds(plan)
    few = _FEW if width is not None else len(plan)
    are_more = False
    listed, counted, failing = [], [], []
    for reason, verdicts in _by_reason(plan).items():
        if verdicts[0].problem is not None:
            failing += verdicts
        elif every_row or (len(verdicts) <= few and not _is_kept(plan, verdicts[0])):
            listed += verdicts
        else:
            renames = _renames(plan, verdicts)
            line = _counted(reason, verdicts, kinds)
            if renames and line.endswith(" kept: renamed"):
                line = f"{line.removesuffix(' kept: renamed')} renamed: {renames}"
            elif renames:
                line += f" ({renames})"
            counted.append(line)
            are_more = are_more or not _is_kept(plan, verdicts[0])
    if are_more:
        counted[-1] += " (--no-truncate lists all)"
    order = {verdict.name: number for number, verdict in enumerate(plan.verdicts)}
    listed.sort(key=lambda verdict: order[verdict.name])
    rows = [plan.row(verdict) for verdict in listed]
    whole = [plan.row(verdict) for verdict in failing]
    if width is None:
        lines = aligned([*rows, *whole]) if rows or whole else []
        lines, last = lines[: len(rows)], lines[len(rows) :]
    else:
        lines, last = _fitted(rows, width), _fitted(whole, width, is_whole=True)
        counted = _wrapped(counted, width)
    below = [*_unused(plan, width), *_wrapped(plan.notes, width)]
    shown = [*lines, *counted, *below, *last, *_wrapped([plan.summary()], width)]
    return "\n".join(map(_colored, shown) if color else shown)


def _kinds(plan: Plan) -> dict[str, Kind | None]:
    """Map each variable of a plan to its role; `None` where nothing tells it."""
    named: Mapping[str, Role] = {}
    if plan.is_named_by_role:
        named = assign({v.name: _Named(as_dtype(v.dtype), v.shape or ()) for v in plan if not v.path})
    found: dict[str, Kind | None] = {}
    for verdict in plan:
        source = (verdict.source or "").removeprefix(f"{plan.origin}::")
        role = plan.roles.get(verdict.name) or plan.roles.get(source) or named.get(verdict.name)
        found[verdict.name] = None if role is None else role.kind
    return found


class _Named(NamedTuple):
    """A variable, as far as its role is told by its name."""

    dtype: DType
    shape: tuple[int, ...]


def _by_reason(plan: Plan) -> dict[tuple[str, ...], list[Verdict]]:
    """Return the verdicts by action, initializer and reason, names in it set aside."""
    names = {name for v in plan.verdicts for name in (v.name, *plan.called(v)) if name}
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    generic: dict[str, str] = {}
    for verdict in plan.verdicts:
        reason = generic.get(verdict.reason)
        if reason is None:
            reason = generic[verdict.reason] = _without_names(verdict.reason, names)
        told = "" if verdict.hint is None else _without_names(verdict.hint, names)
        is_kept = "kept" if _is_kept(plan, verdict) else ""
        key = ("cannot",) if verdict.problem is not None else (verdict.action, is_kept, reason, told)
        groups.setdefault((*key, verdict.initializer or ""), []).append(verdict)
    return groups


def _without_names(reason: str, names: set[str]) -> str:
    """Return a reason with `…` for each name in it: of a path, or after a word that a name follows."""

    def generic(match: re.Match[str]) -> str:
        is_meant = match[2] in names and ("/" in match[2] or match[1])
        return f"{match[1] or ''}{ELLIPSIS}" if is_meant else match[0]

    return re.sub(r"(\b(?:of|from|was|takes|as|finds) )?([^\s;,:()]+)", generic, reason)


def _counted(reason: tuple[str, ...], verdicts: Sequence[Verdict], kinds: Mapping[str, Kind | None]) -> str:
    """Return a line for several variables of one reason: `68 slots dropped: kept by an optimizer`."""
    action, _, generic, hint, initializer = reason
    if len({verdict.reason for verdict in verdicts}) == 1:
        generic = verdicts[0].reason
    done = _DONE.get(action, action) + (f" with {initializer}" if initializer else "")
    first, end, rest = generic.partition(";")
    why = "; ".join(filter(None, [_TOGETHER.get(first, first) + end + rest, hint]))
    return f"{_numbers(kinds[verdict.name] for verdict in verdicts)} {done}: {why}"


def _renames(plan: Plan, verdicts: Iterable[Verdict]) -> str:
    """Return the renames of a plan: `net to body, enc/ added`."""
    pairs: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts:
        old, new = plan.called(verdict)
        if verdict.action in _OF_ONE_SOURCE and old and old != new:
            pairs[_difference(old.split("/"), new.split("/"))] += 1
    shown = [
        f"{old} to {new}" if old and new else f"{new}/ added" if new else f"{old}/ taken off"
        for (old, new), _ in pairs.most_common(_MAX_RENAMES)
    ]
    more = len(pairs) - len(shown)
    return ", ".join([*shown, *([f"{more} other ways"] if more else [])])


def _difference(old: list[str], new: list[str]) -> tuple[str, str]:
    """Return two names without the segments that they begin and end with alike."""
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    return "/".join(old), "/".join(new)


def _numbers(kinds: Iterable[Kind | None]) -> str:
    """Return how many variables there are of each role: `2 weights, 4 slots`."""
    numbers = Counter(kind if kind in _NOUNS else None for kind in kinds)
    return ", ".join(count(numbers[kind], noun) for kind, noun in _NOUNS.items() if numbers[kind])


def _is_kept(plan: Plan, verdict: Verdict) -> bool:
    """Return whether a variable is kept, and under its own name."""
    return verdict.action == "keep" and verdict.problem is None and not plan.row(verdict)[3]


def _unused(plan: Plan, width: int | None) -> list[str]:
    """Return lines for what nothing takes: counts by role, and the names of weights if they are few."""
    left_over = plan.left_over()
    if not left_over:
        return []
    if width is None:
        return [f"unused in the checkpoint: {printable(name)}" for name, _ in left_over]
    names = [printable(name) for name, kind in left_over if kind in ("weight", None)]
    numbers = _numbers(kind for _, kind in left_over) + (":" if names else "")
    lines = wrapped(f"unused in the checkpoint: {numbers}", width, lead="  ", first="")
    lines += [f"  {name}" for name in shorten(names[:_MAX_UNUSED], width - 2)]
    if (more := len(names) - _MAX_UNUSED) > 0:
        lines += wrapped(f"and {more:,} more (--no-truncate shows all)", width, lead="  ")
    return lines


def _wrapped(texts: Iterable[str], width: int | None) -> list[str]:
    return [line for text in texts for line in wrapped(printable(text), width, lead="  ", first="")]


def _fitted(rows: list[Row], width: int, *, is_whole: bool = False) -> list[str]:
    """Return rows in `width` columns: one line each if all fit, else each reason on lines of its own.

    Args:
        rows: Action, name, what it is, source and reason of each.
        width: Columns.
        is_whole: Whether no name is shortened.
    """
    lines = aligned(rows) if rows else []
    is_fitting = max(map(columns, lines), default=0) <= width
    return lines if is_fitting else _stacked(rows, width, is_whole=is_whole)


def _stacked(rows: list[Row], width: int, *, is_whole: bool) -> list[str]:
    """Return rows with the reason below what it is for: nothing of it is left out."""
    widths = [max(columns(row[i]) for row in rows) for i in range(3)]
    lead = " " * (widths[0] + 2)
    room = max(width - len(lead), _LEAST_ROOM)
    names = [row[1] for row in rows]
    if not is_whole:
        widths[1] = min(widths[1], max(room - widths[2] - 2, _LEAST_ROOM))
        names = shorten(names, widths[1])
    lines = []
    for (action, _, what, source, reason), name in zip(rows, names, strict=True):
        first = padded(action, widths[0]) + "  "
        line = f"{first}{padded(name, widths[1])}  {what}"
        if columns(line) > width:
            lines += wrapped(f"{name} {what}", width, lead=lead, first=first)
        else:
            lines.append(line)
        text = f"{source}: {reason}" if source else reason
        lines += wrapped(text, len(lead) + room, lead=lead)
    return lines


def _colored(line: str) -> str:
    action = line.partition(" ")[0]
    code = _CODES.get(action)
    return line if code is None else f"\x1b[{code}m{action}\x1b[0m{line[len(action) :]}"

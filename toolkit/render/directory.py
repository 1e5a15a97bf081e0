"""A training directory for a person, and for programs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from toolkit.change.directory import Found
from toolkit.change.log import Logged
from toolkit.change.prune import Pruning
from toolkit.change.repair import Repair
from toolkit.formats.bundle import naming
from toolkit.names import printable
from toolkit.plan import aligned
from toolkit.units import count, size


def log_table(logged: Sequence[Logged]) -> str:
    """Return checkpoints as a table: step, time, size, name, and what is to say of each."""
    rows = [("step", "saved", "size", "checkpoint", "")]
    for each in logged:
        marks = ["latest"] if each.latest else []
        if each.metric is not None:
            marks.append(f"{'best, ' if each.best else ''}metric {each.metric:.6g}")
        if each.problem is not None:
            marks.append(f"broken: {each.problem}")
        step = "" if each.step is None else str(each.step)
        name = naming.shown(each.path)
        row = (step, _when(each.time), size(each.nbytes), printable(name), printable("; ".join(marks)))
        rows.append(row)
    total = size(sum(each.nbytes for each in logged))
    return "\n".join([*aligned(rows), f"{count(len(logged), 'checkpoint')}, {total} on the disk"])


def log_rows(logged: Sequence[Logged]) -> list[dict[str, Any]]:
    """Return checkpoints as JSON has them."""
    rows = [each._asdict() for each in logged]
    for row in rows:  # JSON has no word for NaN or infinity
        if row["metric"] is not None and not math.isfinite(row["metric"]):
            row["metric"] = None
    return rows


def pruning_table(pruning: Pruning) -> str:
    """Return what stays and what goes, and why."""
    kept = [("keep", each, why) for each, why in pruning.kept]
    removed = [("remove", each, "") for each in pruning.removed]
    rows = [
        (action, printable(naming.shown(each.path)), _when(each.time), printable(why))
        for action, each, why in kept + removed
    ]
    end = f"{len(pruning.kept)} keep, {len(pruning.removed)} remove; {size(pruning.nbytes)} freed"
    return "\n".join([*aligned(rows), end] if rows else [end])


def pruning_document(pruning: Pruning) -> dict[str, Any]:
    """Return it as JSON has it."""
    return {
        "kept": [{**_named(each), "reason": why} for each, why in pruning.kept],
        "removed": [_named(each) for each in pruning.removed],
        "nbytes": pruning.nbytes,
    }


def repair_table(repair: Repair) -> str:
    """Return what is wrong in a directory, and what becomes of it."""
    lines = [printable(change) for change in repair.changes]
    lines += [f"remove  {printable(orphan.path)}: {printable(orphan.why)}" for orphan in repair.orphans]
    lines += [f"leave  {printable(orphan.path)}: {printable(orphan.why)}" for orphan in repair.left]
    lines += [f"broken  {printable(each.path)}: {printable(each.problem or '')}" for each in repair.broken]
    return "\n".join(lines or ["all is well"])


def repair_document(repair: Repair) -> dict[str, Any]:
    """Return it as JSON has it."""
    return {
        "latest": None if repair.state is None else repair.state.latest,
        "changes": repair.changes,
        "removed": [orphan._asdict() for orphan in repair.orphans],
        "left": [orphan._asdict() for orphan in repair.left],
        "broken": [{"path": each.path, "problem": each.problem} for each in repair.broken],
    }


def _named(found: Found) -> dict[str, Any]:
    return {"path": found.path, "step": found.step, "time": found.time}


def _when(seconds: float) -> str:
    """Return a time as people write it, in their own time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""

"""The mean of several checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.arguments import checked, choose, whole_number
from toolkit.change import results
from toolkit.change.directory import checkpoints_of, latest_of
from toolkit.change.plan import FilePlan
from toolkit.change.readable_names import with_readable_names
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import UsageError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.sharing import DATA_MODES, DataMode
from toolkit.formats.opening import as_checkpoint
from toolkit.plan import Verdict
from toolkit.units import count

_MAX_NAMED = 6
"""How many checkpoints a plan names."""
_AVERAGED = ("float", "complex")
_HINT = "`ckpt edit` can drop, rename or cast what differs"
_LEAST_SUM = 1e-9
"""Of weights, relative to the greatest of them: less is what rounding leaves of 0 (0.1 + 0.2 - 0.3)."""


@checked
def plan_average(
    *checkpoints: Checkpoint | str | os.PathLike[str] | Sequence[Checkpoint | str | os.PathLike[str]],
    weights: Iterable[float] | None = None,
    decay: float | None = None,
    last: int | None = None,
    data: DataMode = "auto",
) -> FilePlan:
    """Plan the mean of several checkpoints, oldest first. `plan.write(prefix)` makes it.

    Floating-point and complex values are added up in double precision and rounded once, a chunk of each
    checkpoint at a time. Others (whole numbers, strings) are the newest's, and so is what is equal in all.

    Args:
        *checkpoints: Open, or their paths; or a list of them. The last is the newest. One directory means
            the complete checkpoints of a training in it, by their steps: of the latest's, if there are
            several.
        weights: One for each, which may be negative: 1, 1, -1 makes A + B - C. They are divided by their
            sum, which the plan says.
        decay: Make an exponential moving average: beginning with the oldest, each further one counts
            1 - `decay`.
        last: Of a directory, only so many of the newest.
        data: Which data files are shared with the newest by hard link, as in `plan_reinit`.

    Returns:
        The plan. It is not `ok` where they differ in names, dtypes or shapes.

    Raises:
        UsageError: The arguments do not go together, or a directory has no complete checkpoint.
        FormatError, ReadError: One cannot be read.
    """
    choose("data", data, DATA_MODES)
    paths: Sequence[Any] = checkpoints
    first = checkpoints[0] if len(checkpoints) == 1 else None
    if isinstance(first, (list, tuple)):
        paths, first = first, first[0] if len(first) == 1 else None
    if isinstance(first, (str, os.PathLike)) and os.path.isdir(first):
        paths = _in_directory(os.fspath(first), last)
    elif last is not None:
        raise UsageError("--last is for a directory", hint="name one directory, or leave it out")
    if not paths:
        raise UsageError("nothing to average", hint="name checkpoints, or a directory of them")
    weights = None if weights is None else _numbers(weights)
    factors = _factors(len(paths), weights, decay)
    opened = [as_checkpoint(path) for path in paths]
    newest = opened[-1]
    called = newest.paths()
    everything = [checkpoint.variables() for checkpoint in opened]
    verdicts, made = [], {}
    for name in dict.fromkeys(name for variables in reversed(everything) for name in variables):
        found = [variables.get(name) for variables in everything]
        verdict, made[name] = _averaged(name, found, opened, factors, called.get(name))
        verdicts.append(verdict)
    shown = [naming.shown(checkpoint.path) for checkpoint in opened]
    note = f"of {count(len(opened), 'checkpoint')}: {', '.join(shown[:_MAX_NAMED])}"
    more = len(shown) - _MAX_NAMED
    notes = [note + (f" and {more} more, the newest {shown[-1]}" if more > 0 else "")]
    if weights is not None:
        notes += _notes_on(weights, any(role.kind == "slot" for role in newest.roles().values()))
    named = with_readable_names(newest, verdicts, made)
    return FilePlan(*named, [newest, *opened[:-1]], data=data, notes=notes)


def _averaged(
    name: str,
    found: Sequence[Variable | None],
    opened: Sequence[Checkpoint],
    factors: Sequence[float],
    path: str | None,
) -> tuple[Verdict, Variable]:
    """Return what becomes of one variable, given as each checkpoint has it."""
    parts = [variable for variable in found if variable is not None]
    newest = parts[-1]
    problem = None
    for variable, checkpoint in zip(found, opened, strict=True):
        if variable is None:
            problem = f"not in {checkpoint.path}"
        elif variable.dtype is not newest.dtype:
            problem = f"dtype {variable.dtype} in {checkpoint.path}"
        elif variable.shape != newest.shape:
            problem = f"shape {variable.shape} in {checkpoint.path}"
        if problem:
            break
    what = newest.dtype.name, newest.shape
    if problem:
        verdict = Verdict(name, "mean", None, "", *what, problem=problem, hint=_HINT, path=path)
        return verdict, newest
    checksums = {variable.crc32c for variable in parts}
    if newest.dtype.kind not in _AVERAGED:
        return Verdict(name, "keep", name, f"{newest.dtype}: the newest's", *what, path=path), newest
    if len(checksums) == 1 and None not in checksums:
        return Verdict(name, "keep", name, "equal in all", *what, path=path), newest
    counted = [(part, factor) for part, factor in zip(parts, factors, strict=True) if factor]  # 0 NaN is NaN
    reason = f"mean of {len(counted)}"
    mean = results.mean(name, *zip(*counted, strict=True))
    return Verdict(name, "mean", None, reason, *what, path=path), mean


def _in_directory(directory: str, last: int | None) -> list[str]:
    """Return the paths of the complete checkpoints of the latest's training, oldest first.

    Those whose names tell no step count only if none does: a mean that was written here is no further part.
    """
    if last is not None:
        whole_number("last", last, least=1)
    there = checkpoints_of(directory)
    complete = [each for each in there if each.is_complete]
    stepped = [each for each in complete if each.step is not None] or complete
    newest = latest_of(directory, stepped)
    if newest is None and complete:
        raise UsageError(
            f"{directory}: nothing tells which checkpoints are of one training",
            hint="name the checkpoints to average",
        )
    found = [each.path for each in stepped if newest is not None and each.family == newest.family]
    if last is not None and len(found) < last:
        raise UsageError(
            f"{directory}: expected {last} complete checkpoints, found {len(found)}",
            hint="`ckpt log` lists them",
        )
    return found[-last:] if last is not None else found


def _numbers(weights: Iterable[float]) -> list[float]:
    try:
        return [float(weight) for weight in weights]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"weights: {error}", hint="give a number for each checkpoint") from error


def _factors(number: int, weights: Sequence[float] | None, decay: float | None) -> list[float]:
    """Return what each checkpoint counts, oldest first; they add up to 1."""
    if weights is not None and decay is not None:
        raise UsageError("weights and decay: expected one of them", hint="leave one out")
    if decay is not None:
        if not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise UsageError(f"decay {decay}: expected 0 or more, and below 1", hint="such as 0.9")
        return [decay ** (number - 1)] + [(1 - decay) * decay ** (number - 1 - i) for i in range(1, number)]
    given = [1.0] * number if weights is None else weights
    if len(given) != number:
        raise UsageError(
            f"weights: expected {number}, one for each checkpoint, got {len(given)}",
            hint=f"--weights {','.join(['1'] * number)}",
        )
    greatest = max(map(abs, given))
    if not math.isfinite(greatest) or any(map(math.isnan, given)):
        raise UsageError("weights: expected finite numbers", hint="such as 1,1,-1")
    if not greatest:
        raise UsageError("weights: expected one that is not 0", hint="such as 1,1,-1")
    shares = [weight / greatest for weight in given]
    total = math.fsum(shares)
    if abs(total) <= _LEAST_SUM:
        raise UsageError(
            f"weights {_listed(given)}: add up to 0, by which they cannot be divided",
            hint="let them add up to 1: of A, B and C, 1,1,-1 makes A + B - C",
        )
    return [share / total for share in shares]


def _notes_on(weights: Sequence[float], has_slots: bool) -> list[str]:
    """Return the note of a plan whose weights were given."""
    greatest = max(map(abs, weights))
    total = math.fsum(weight / greatest for weight in weights) * greatest
    text = f"weights {_listed(weights)}, which add up to {total:.6g}"
    notes = [text if math.isclose(total, 1) else f"{text} and are divided by that"]
    if has_slots and min(weights) < 0:
        notes.append(
            "what an optimizer keeps may come out below 0 where it must not, as second moments must not: "
            "`ckpt edit --strip-optimizer` leaves it out"
        )
    return notes


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)

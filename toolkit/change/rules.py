"""What is asked of a plan over a model, what is known of its variables, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from toolkit import renaming
from toolkit.arguments import check_flag, choose
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType
from toolkit.plan import Action, Verdict
from toolkit.roles import Role

OnMissing = Literal["error", "init"]
OnShape = Literal["error", "init", "overlap"]
Ema = Literal["ignore", "prefer", "require"]
CopyValue = Literal["initial", "current"]

CHOICES: dict[str, tuple[str, ...]] = {
    "on_missing": ("error", "init"),
    "on_shape": ("error", "init", "overlap"),
    "ema": ("ignore", "prefer", "require"),
    "copy_value": ("initial", "current"),
}


class Target(NamedTuple):
    """A variable of a model, as far as matching goes.

    Attributes:
        dtype: TensorFlow's dtype.
        shape: Sizes of the dimensions; an open one is taken as a scalar's.
        is_open: Whether the model leaves the shape open; it is not compared then.
        trainable: Whether an optimizer changes it.
        aliases: Other names that it goes by in checkpoints: the key of an object.
        parts: The shapes of the parts of a partitioned variable, in order; `()` for any other.
        role: What it is for, where that is known; by default its name tells.
        is_local: Whether it belongs to a process, and no checkpoint has it.
        key: Its key in the checkpoint, if TensorFlow alone can restore it.
        awaited_by: Which object will make it; empty if it exists.
        obstacle: Why it cannot be restored when it is made; empty if it can.
        remedy: What to do about that.
    """

    dtype: DType
    shape: tuple[int, ...]
    is_open: bool = False
    trainable: bool = True
    aliases: tuple[str, ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    role: Role | None = None
    is_local: bool = False
    key: str | None = None
    awaited_by: str = ""
    obstacle: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Fate:
    """What will become of a variable: a verdict in the making."""

    action: Action
    reason: str
    stored: Variable | None = None
    source: str | None = None
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Rules:
    """What was asked for, as `plan_restore` says."""

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rename: renaming.Renames = ()
    reinit: tuple[str, ...] = ()
    on_missing: OnMissing = "error"
    on_shape: OnShape = "error"
    cast: bool = False
    ema: Ema = "ignore"
    partition: bool = True
    copy: Mapping[str, str] = field(default_factory=dict)
    copy_value: CopyValue = "current"
    offers: bool = True
    """Whether hints may name the options of `ckpt restore`."""

    def __post_init__(self) -> None:
        check_flag("cast", self.cast)
        for option, choices in CHOICES.items():
            choose(option, getattr(self, option), choices)


def verdicts_of(
    fates: Mapping[str, Fate], targets: Mapping[str, Target], notes: Mapping[str, Iterable[str]]
) -> list[Verdict]:
    """Return the verdict on each variable.

    Args:
        fates: What becomes of each.
        targets: The variables.
        notes: For some, what an initial value is computed from.
    """
    verdicts = []
    for name, fate in fates.items():
        target = targets[name]
        shape: tuple[int, ...] | None = target.shape
        if target.is_open:
            shape = None if fate.stored is None else fate.stored.shape
        reason = fate.reason
        if needed := list(notes.get(name, ())):
            reason += f"; computed from {', '.join(needed)}"
        verdicts.append(
            Verdict(
                name,
                fate.action,
                fate.source,
                reason,
                target.dtype.name,
                shape,
                problem=fate.problem,
                hint=fate.hint,
            )
        )
    return verdicts


class Copied(NamedTuple):
    """What a plan comes to that copies values from file to file.

    Attributes:
        verdicts: On each variable of the target, by name.
        results: The variables that are made, by name.
        unused: The names of what is left over.
    """

    verdicts: dict[str, Verdict]
    results: dict[str, Variable]
    unused: list[str]


def copied(
    fates: Mapping[str, Fate], targets: Mapping[str, Target], variables: Mapping[str, Variable]
) -> Copied:
    """Return what a plan comes to that copies `variables` to files as the fates say."""
    verdicts, results, taken = {}, {}, set()
    for name, fate in fates.items():
        target, source = targets[name], None if fate.stored is None else fate.stored.name
        verdicts[name] = Verdict(
            name,
            "copy",
            source,
            fate.reason,
            target.dtype.name,
            target.shape,
            problem=fate.problem,
            hint=fate.hint,
        )
        if fate.stored is not None and fate.problem is None:
            results[name] = fate.stored.renamed(name)
            taken.add(source)
    return Copied(verdicts, results, [name for name in variables if name not in taken])

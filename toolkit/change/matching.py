"""What becomes of each variable of a model: decided by names, dtypes, shapes and roles alone.

Nothing here knows TensorFlow, so that graphs, objects and Keras models are matched by one rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from toolkit import casting, names, renaming
from toolkit.change.proposals import Proposal, propose
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import DType
from toolkit.errors import MismatchError, UsageError, VariableNotFoundError
from toolkit.plan import Action, Verdict
from toolkit.roles import ATTRIBUTE, Role, assign, owners_first
from toolkit.selection import matching, select

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
_MAX_SUGGESTED = 20
"""For how many missing variables near names are looked for, which is slow over many."""


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
    """

    dtype: DType
    shape: tuple[int, ...]
    is_open: bool = False
    trainable: bool = True
    aliases: tuple[str, ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    role: Role | None = None
    is_local: bool = False


class Found(NamedTuple):
    """A variable of a checkpoint, and why it goes by a name."""

    variable: Variable
    reason: str


def by_new_names(
    checkpoint: Checkpoint, renamed: Mapping[str, str], called: Mapping[str, str] | None = None
) -> dict[str, Found]:
    """Return the variables of a checkpoint by all names that they go by.

    Args:
        checkpoint: Whose they are.
        renamed: The new name of each. One that gets no other keeps all that it had, too.
        called: The names that some are meant for. They come before what the checkpoint calls them.
    """
    variables, paths = checkpoint.variables(), checkpoint.paths()
    kept = [name for name, new in renamed.items() if new == name]
    found = {
        new: Found(variables[old], f"renamed from {paths.get(old, old)}")
        for old, new in renamed.items()
        if new != old
    }
    for name in kept:
        if called and name in called:
            found.setdefault(called[name], Found(variables[name], "as Keras loads the file"))
    for name in kept:
        found.setdefault(name, Found(variables[name], "same name"))
    for name in kept:
        if name in paths:
            found.setdefault(paths[name], Found(variables[name], "same name"))
    return found


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
        for option, choices in CHOICES.items():
            if getattr(self, option) not in choices:
                expected = ", ".join(choices)
                raise UsageError(f"{option}: expected one of {expected}, got {getattr(self, option)!r}")


class Matching:
    """What becomes of each variable of a model; that of a slot depends on that of its variable.

    Args:
        checkpoint: Where values come from.
        targets: The model's variables, by name.
        rules: What was asked for.
        called: For some of the checkpoint's variables, the model's names that they are meant for.
        fresh: What it is called when a variable is not restored: `initialize`, or `keep` where it has
            its initial value already.
        where: What the checkpoint is called in messages, and the model is `the model`.

    Raises:
        VariableNotFoundError: A pattern, an OLD, or a variable to copy matches nothing.
        UsageError: A pattern or rename cannot be read.
        MismatchError: A copy differs from its original in dtype or shape.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        targets: Mapping[str, Target],
        rules: Rules,
        *,
        called: Mapping[str, str] | None = None,
        fresh: Literal["initialize", "keep"] = "initialize",
        where: str = "the checkpoint",
    ) -> None:
        self._path = checkpoint.path
        self._targets = targets
        self._rules = rules
        self._fresh_action: Action = fresh
        self._where = where
        told = assign(targets)
        self._roles = {name: target.role or told[name] for name, target in targets.items()}
        selected = select(self._roles, rules.patterns, rules.exclude, where="the model", follow=True)
        self._selected = set(selected)
        self._renewed = matching(self._roles, rules.reinit, where="the model")
        self._stored_roles = dict(checkpoint.roles())
        renames = renaming.read_rules(rules.rename)
        renamed = renaming.rename_by_either(
            self._stored_roles, checkpoint.paths(), renames, where=checkpoint.path
        )
        self._found = by_new_names(checkpoint, renamed, called)
        self._averages = {
            role.of: name for name, role in self._stored_roles.items() if role.kind == "moving_average"
        }
        self._variables = checkpoint.variables()
        self._fates: dict[str, Fate] = {}
        self._num_suggested = 0
        self._free_ones: dict[str, Found] | None = None
        self._check_copies()
        self._proposed = self._proposals()

    def fates(self) -> dict[str, Fate]:
        """Return what becomes of each variable, in the order of the model."""
        for name in owners_first(self._roles):
            self.fate(name)
        return {name: self._fates[name] for name in self._targets}

    def fate(self, name: str) -> Fate:
        """Return what becomes of the variable `name`."""
        if name not in self._fates:
            self._fates[name] = self._decide(name)
        return self._fates[name]

    def _decide(self, name: str) -> Fate:
        role = self._roles[name]
        if name in self._rules.copy:
            return self._copied(name)
        if name in self._renewed:
            return (
                Fate("initialize", "to be reinitialized")
                if role.of is None
                else self._fresh(name, "to be reinitialized", again=True)
            )
        if name not in self._selected:
            return self._fresh(name, "not selected")
        if role.of is not None and role.of in self._targets:
            owner = self.fate(role.of)
            if owner.action in ("initialize", "copy", "keep"):
                again = owner.action != "keep"
                return self._fresh(name, f"{_noun(role)} of {role.of}, which starts afresh", again=again)
        found = self._lookup(name)
        if found is None and self._targets[name].is_local:
            return self._fresh(name, "local: no checkpoint has it")
        if found is None:
            return self._missing(name)
        return self._restored(name, *found)

    def _lookup(self, name: str) -> tuple[Variable, str] | None:
        """Return the checkpoint's variable for the model's `name`, and why that one; `None` without one."""
        for each in (name, *self._targets[name].aliases):
            if found := self._found.get(each):
                is_alias = each != name and found.reason == "same name"
                return found.variable, f"called {each}" if is_alias else found.reason
        return None

    def _fresh(self, name: str, reason: str, *, again: bool = False) -> Fate:
        """Return the fate of what is not restored: a moving average becomes a copy of its variable.

        Args:
            name: The variable.
            reason: Why it is not restored.
            again: Whether its value, if it has one, will not do.
        """
        role = self._roles[name]
        if role.kind == "moving_average" and role.of in self._targets:
            return Fate("copy", f"{reason}; starts as its value", source=role.of)
        if again or self._fresh_action == "initialize":
            return Fate("initialize", reason)
        return Fate("keep", f"{reason}; keeps the value that it was built with")

    def _copied(self, name: str) -> Fate:
        original = self._rules.copy[name]
        which = self._rules.copy_value
        if which == "initial" and original not in self._rules.copy:
            owner = self.fate(original)
            if owner.action != "initialize":
                problem = f"{original} gets no initial value, of which this could be a copy"
                return Fate(
                    "copy",
                    problem,
                    source=original,
                    problem=problem,
                    hint="copy_value='current' takes its value",
                )
        return Fate("copy", f"starts as the {which} value of {original}", source=original)

    def _missing(self, name: str) -> Fate:
        asked = self._asked(name)
        problem = f"not in {self._where}" if asked == name else f"no {asked} in {self._where}"
        proposal = self._proposed.get(name)
        if self._rules.on_missing == "init":
            fate = self._fresh(name, problem)
            taken = f" takes {proposal.found[self._asked(name)]}" if proposal else ""
            return fate if not proposal else _with_hint(fate, proposal.hint + taken)
        owner = self._roles[name].of
        if owner is not None and owner in self._targets and self.fate(owner).problem is not None:
            # a rename of the variable brings its slots along
            return Fate("restore", problem, problem=f"{problem}, as {owner}")
        hints = []
        if proposal:
            hints = [f"{proposal.hint} finds it"]
        elif self._num_suggested < _MAX_SUGGESTED:
            self._num_suggested += 1
            if near := self._near(name):
                hints = [f"--rename {near}={self._asked(name)} takes that"]
            elif close := names.nearest(self._asked(name), self._alike(self._found, name), count=1):
                hints = [f"the nearest name is {close[0]}"]
        if self._rules.offers:
            hints.append("--on-missing init starts it afresh")
        return Fate("restore", problem, problem=problem, hint=", ".join(hints) or None)

    def _asked(self, name: str) -> str:
        """Return what a rename calls the variable `name`: if that is the key of an object, its other name."""
        return next(iter(self._targets[name].aliases), name) if name.endswith(ATTRIBUTE) else name

    def _proposals(self) -> dict[str, Proposal]:
        """Return the renames that would find what is missing, by the missing names."""
        wanted = self._selected - self._renewed - self._rules.copy.keys()
        missing = {
            name: self._targets[name]
            for name in self._targets
            if name in wanted
            and self._roles[name].of is None
            and not self._targets[name].is_local
            and self._lookup(name) is None
        }
        if not missing:
            return {}
        free = {
            name: found.variable
            for name, found in self._free().items()
            if self._stored_roles[found.variable.name].of is None
        }
        called = {self._asked(name): name for name in missing}
        found: dict[str, Proposal] = {}
        for proposal in propose({new: missing[name] for new, name in called.items()}, free):
            if len(proposal.found) > 1 or proposal.reason:
                found.update({called[new]: proposal for new in proposal.found})
        return found

    def _near(self, name: str) -> str | None:
        """Return the nearest name in the checkpoint of what is free and fits; `None` if there is none."""
        target = self._targets[name]
        fitting = [
            new
            for new, variable in self._alike(self._free(), name).items()
            if (variable.dtype, variable.shape) == (target.dtype, target.shape)
        ]
        near = names.nearest(self._asked(name), fitting, count=1)
        return near[0] if near else None

    def _alike(self, found: Mapping[str, Found], name: str) -> dict[str, Variable]:
        """Return those of `found` that are for the same as the model's variable `name`."""
        kind = self._roles[name].kind
        return {n: f.variable for n, f in found.items() if self._stored_roles[f.variable.name].kind == kind}

    def _free(self) -> dict[str, Found]:
        """Return what the checkpoint has and no variable of the model takes, by all names."""
        if self._free_ones is None:
            found = (self._lookup(name) for name in self._targets)
            taken = {each[0].name for each in found if each is not None}
            self._free_ones = {n: f for n, f in self._found.items() if f.variable.name not in taken}
        return self._free_ones

    def _restored(self, name: str, stored: Variable, reason: str) -> Fate:
        target = self._targets[name]
        if self._rules.ema != "ignore" and self._roles[name].of is None:
            average = self._averages.get(stored.name)
            if average is not None:
                stored, reason = self._variables[average], f"its moving average: {average}"
            elif self._rules.ema == "require" and target.trainable and self._roles[name].kind == "weight":
                problem = f"no moving average of {stored.name} in the checkpoint"
                return Fate(
                    "restore",
                    problem,
                    problem=problem,
                    hint="--ema prefer takes the variable itself where there is none",
                )
            else:
                reason += "; it has no moving average"
        source = f"{self._path}::{stored.name}"
        action: Action = "restore"
        if stored.dtype is not target.dtype:
            if not self._rules.cast:
                problem = f"{stored.dtype} in {self._where}, {target.dtype} in the model"
                hint = "--cast converts it" if self._rules.offers else None
                return Fate("restore", problem, stored, source, problem, hint)
            try:
                casting.check(name, stored.dtype, target.dtype)
            except UsageError as error:
                return Fate("cast", error.message, stored, source, error.message)
            action = "cast"
            reason = f"{reason}; {casting.describe(stored.dtype, target.dtype)}"
        if stored.shape != target.shape and not target.is_open:
            return self._other_shape(name, stored, source, reason)
        parts = tuple(part.variable.shape for part in stored.slices)
        if parts != target.parts and (parts or target.parts):
            difference = f"{_pieces(parts)} in the checkpoint, {_pieces(target.parts)} in the model"
            if not self._rules.partition:
                return Fate("restore", difference, stored, source, difference, "partition=True restores it")
            reason += f"; {difference}"
        if name.rpartition("/")[2] == "global_step":
            reason += "; the count of steps goes on (--reinit global_step resets it)"
        return Fate(action, reason, stored, source)

    def _other_shape(self, name: str, stored: Variable, source: str, reason: str) -> Fate:
        shape = self._targets[name].shape
        difference = f"shape {stored.shape} in {self._where}, {shape} in the model"
        if len(shape) > 1 and stored.shape == shape[::-1]:
            difference += " (transposed)"
        if self._rules.on_shape == "init":
            return self._fresh(name, difference)
        if self._rules.on_shape == "overlap" and len(stored.shape) == len(shape):
            common = tuple(map(min, stored.shape, shape))
            return Fate(
                "overlap",
                f"{reason}; {difference}: {common} copied{'' if common == shape else ', the rest fresh'}",
                stored,
                source,
            )
        hint = None
        if self._rules.offers:
            hint = "--on-shape init starts it afresh"
            if len(stored.shape) == len(shape):
                hint += ", --on-shape overlap copies the common part"
        return Fate("restore", difference, stored, source, difference, hint)

    def _check_copies(self) -> None:
        """Raise unless what is to be copied exists, and fits."""
        for new, old in self._rules.copy.items():
            for name in (new, old):
                if name not in self._targets:
                    raise VariableNotFoundError(
                        name, where="the model", suggestions=names.nearest(name, self._targets)
                    )
            ours, theirs = self._targets[new][:2], self._targets[old][:2]
            if ours != theirs:
                raise MismatchError(
                    f"{new}: {ours[0]} {ours[1]} cannot start as a copy of {old}, {theirs[0]} {theirs[1]}",
                    name=new,
                    expected=ours,
                    found=theirs,
                    hint="a copy has the dtype and the shape of its original",
                )


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


def _with_hint(fate: Fate, hint: str) -> Fate:
    return Fate(fate.action, fate.reason, fate.stored, fate.source, fate.problem, hint)


def _pieces(parts: tuple[tuple[int, ...], ...]) -> str:
    return f"{len(parts)} parts" if parts else "whole"


def _noun(role: Role) -> str:
    return "moving average" if role.kind == "moving_average" else role.kind

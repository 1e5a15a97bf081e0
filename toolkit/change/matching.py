"""What becomes of each variable of a model: decided by names, dtypes, shapes and roles alone.

Nothing here knows TensorFlow, so that graphs, objects and Keras models are matched by one rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

from toolkit import casting, names
from toolkit.change import advice
from toolkit.change.offered import Offered
from toolkit.change.rules import Fate, Rules, Target
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, UsageError, VariableNotFoundError
from toolkit.plan import Action, Advice
from toolkit.roles import Role, assign, owners_first
from toolkit.selection import matching, select


class Matching:
    """What becomes of each variable of a model; that of a slot depends on that of its variable.

    Args:
        checkpoint: Where values come from.
        targets: The model's variables, by name.
        rules: What was asked for.
        called: For some of the checkpoint's variables, the model's names that they are meant for.
        placed: The same, for those that stand where the model's stand among the objects.
        fresh: What it is called when a variable is not restored: `initialize`, or `keep` where it has
            its initial value already.
        where: What the checkpoint is called in messages, and the model is `the model`.
        misfits: The model's variables that no rename is to find: those of an optimizer of another kind.

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
        placed: Mapping[str, str] | None = None,
        fresh: Literal["initialize", "keep"] = "initialize",
        where: str = "the checkpoint",
        misfits: Collection[str] = (),
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
        self._offered = Offered(
            checkpoint,
            targets,
            self._roles,
            rename=rules.rename,
            called=called,
            placed=placed,
            any_dtype=rules.cast,
        )
        self._fates: dict[str, Fate] = {}
        self._check_copies()
        wanted = self._selected - self._renewed - rules.copy.keys() - set(misfits)
        missing = [
            n for n in targets if n in wanted and not targets[n].is_local and not self._offered.for_target(n)
        ]
        self._num_missing = sum(self._roles[name].of is None for name in missing)
        self._proposals = self._offered.proposals(missing)
        self._proposed = {name: p for p in self._proposals for name in (*p.found, *p.unlike)}

    def fates(self) -> dict[str, Fate]:
        """Return what becomes of each variable, in the order of the model."""
        for name in owners_first(self._roles):
            self.fate(name)
        return {name: self._fates[name] for name in self._targets}

    def advice(self) -> Advice:
        """Return the renames that find what is missing, and what the last line of the plan says besides."""
        return advice.advice(self._proposals, self._num_missing, self.fates(), self._weights())

    def notes(self) -> list[str]:
        """Return, in sentences, what else is good to know of the plan."""
        return advice.notes(self.advice(), self.fates(), self._roles)

    def _weights(self) -> list[str]:
        """Return the weights among the model's variables."""
        return [n for n, r in self._roles.items() if r.kind == "weight" and not self._targets[n].is_local]

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
            return self._fresh(name, "to be reinitialized", again=True)
        if name not in self._selected:
            if self._fresh_action == "keep":
                return Fate("keep", "not selected")
            return self._fresh(name, "not selected")
        if role.of is not None and role.of in self._targets:
            owner = self.fate(role.of)
            if owner.action in ("initialize", "copy", "keep"):
                again = owner.action != "keep"
                return self._fresh(name, f"{_noun(role)} of {role.of}, which starts afresh", again=again)
        found = self._offered.for_target(name)
        if found is None and role.of is not None and role.of in self._targets:
            owner = self.fate(role.of)
            found = None if owner.stored is None else self._offered.slot_for(name, owner.stored)
        if found is not None and self._targets[name].key is not None:
            return self._left_to_tensorflow(name, *found)
        if found is None and self._targets[name].is_local:
            return self._fresh(name, "local: no checkpoint has it")
        if found is None:
            return self._missing(name)
        return self._restored(name, *found)

    def _fresh(self, name: str, reason: str, *, again: bool = False) -> Fate:
        """Return the fate of what is not restored: a moving average becomes a copy of its variable.

        Args:
            name: The variable.
            reason: Why it is not restored.
            again: Whether its value, if it has one, will not do.
        """
        role = self._roles[name]
        if self._targets[name].key is not None:
            if self._targets[name].awaited_by or not again:
                return Fate("keep", f"{reason}; has the value that it is made with")
            problem = "TensorFlow alone can fill it"
            return Fate("initialize", problem, problem=problem, hint="make a new one, and exclude it")
        if role.kind == "moving_average" and role.of in self._targets:
            return Fate("copy", f"{reason}; starts as its value", source=role.of)
        if again or self._fresh_action == "initialize":
            return Fate("initialize", reason)
        return Fate("keep", f"{reason}; keeps the value that it was built with")

    def _copied(self, name: str) -> Fate:
        original = self._rules.copy[name]
        which = self._rules.copy_value
        chain = [name]
        while chain[-1] in self._rules.copy and chain[-1] not in chain[:-1]:
            chain.append(self._rules.copy[chain[-1]])
        if chain[-1] in chain[:-1]:
            problem = f"copies go in a circle: {' -> '.join(chain)}"
            hint = "let one of them start from something else"
            return Fate("copy", problem, source=original, problem=problem, hint=hint)
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
        asked = self._offered.asked(name)
        problem = f"not in {self._where}" if asked == name else f"no {asked} in {self._where}"
        proposal = self._proposed.get(name)
        proposed = None
        if proposal is not None:
            other = "" if name in proposal.found else ", with another dtype or shape"
            proposed = f"{proposal.hint} finds it{other}"
        if self._rules.on_missing == "init":
            return replace(self._fresh(name, problem), hint=proposed)
        owner = self._roles[name].of
        if owner is not None and owner in self._targets and self.fate(owner).problem is not None:
            # a rename of the variable brings its slots along
            return Fate("restore", problem, problem=f"{problem} (its variable {owner} is missing, too)")
        hints = [proposed or self._offered.near(name)]
        if self._rules.offers:
            hints.append("--on-missing init starts it afresh")
        return Fate("restore", problem, problem=problem, hint=", ".join(filter(None, hints)) or None)

    def _left_to_tensorflow(self, name: str, stored: Variable, reason: str) -> Fate:
        """Return the fate of what no value can be given to from here: it is not made yet, or a table."""
        source = f"{self._path}::{stored.name}"
        target = self._targets[name]
        if not target.awaited_by:
            return Fate("restore", reason, stored, source)
        role, problem, hint = self._roles[name], target.obstacle, target.remedy
        action = None if role.of is None or role.of not in self._targets else self.fate(role.of).action
        if action in ("cast", "overlap"):
            problem = f"{role.of} is restored by {action}, which what is not made yet cannot follow"
            hint = "build the optimizer first: optimizer.build(model.trainable_variables)"
        if not problem:
            return Fate("defer", f"when {target.awaited_by} makes it", stored, source)
        if self._rules.on_missing == "init":
            return self._fresh(name, problem)
        return Fate("defer", problem, stored, source, problem, hint)

    def _restored(self, name: str, stored: Variable, reason: str) -> Fate:
        target = self._targets[name]
        if self._rules.ema != "ignore" and self._roles[name].of is None:
            average = self._offered.averages.get(stored.name)
            if average is not None:
                stored, reason = average, f"its moving average: {average.name}"
            elif self._rules.ema == "require" and target.trainable and self._roles[name].kind == "weight":
                problem = f"no moving average of {stored.name} in the checkpoint"
                return Fate(
                    "restore",
                    problem,
                    problem=problem,
                    hint="--ema prefer takes the variable itself where there is none",
                )
            elif self._roles[name].kind == "weight":
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
            reset = " (--reinit global_step resets it)" if self._rules.offers else ""
            reason += f"; the count of steps goes on{reset}"
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


def _pieces(parts: tuple[tuple[int, ...], ...]) -> str:
    return f"{len(parts)} parts" if parts else "whole"


def _noun(role: Role) -> str:
    return "moving average" if role.kind == "moving_average" else role.kind

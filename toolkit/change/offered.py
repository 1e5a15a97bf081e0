"""What a checkpoint offers to a model: its variables by all their names, and what is near a missing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from toolkit import names, renaming
from toolkit.change.proposals import Proposal, propose
from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.renaming import Renames
from toolkit.roles import ATTRIBUTE, Role

_MAX_SUGGESTED = 20
"""For how many missing variables near names are looked for, which is slow over many."""
_SAME = "same name"


class Found(NamedTuple):
    """A variable of a checkpoint, and why it goes by a name."""

    variable: Variable
    reason: str


class Offered:
    """The variables of a checkpoint for those of a model.

    Attributes:
        roles: What each of the checkpoint's variables is for.
        averages: The moving average of each that has one, by the checkpoint's names.

    Args:
        checkpoint: Whose they are.
        targets: The model's variables.
        target_roles: What each of these is for.
        rename: The checkpoint's names in the model's words.
        called: For some of the checkpoint's variables, the model's names that they are meant for. They
            come before what the checkpoint calls them.

    Raises:
        VariableNotFoundError: An OLD matches nothing.
        UsageError: A rename cannot be read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        targets: Mapping[str, Target],
        target_roles: Mapping[str, Role],
        *,
        rename: Renames = (),
        called: Mapping[str, str] | None = None,
    ) -> None:
        self.roles = dict(checkpoint.roles())
        variables = checkpoint.variables()
        self.averages = {
            role.of: variables[name] for name, role in self.roles.items() if role.kind == "moving_average"
        }
        self._targets = targets
        self._target_roles = target_roles
        rules = renaming.read_rules(rename)
        renamed = renaming.rename_by_either(self.roles, checkpoint.paths(), rules, where=checkpoint.path)
        self._found = _by_all_names(checkpoint, renamed, called or {})
        taken = {found.variable.name for found in map(self.for_target, targets) if found is not None}
        self._free = {n: f.variable for n, f in self._found.items() if f.variable.name not in taken}
        self._num_suggested = 0

    def for_target(self, name: str) -> Found | None:
        """Return what the checkpoint has for the model's variable `name`, and why that."""
        for each in (name, *self._targets[name].aliases):
            if found := self._found.get(each):
                is_alias = each != name and found.reason == _SAME
                return Found(found.variable, f"called {each}") if is_alias else found
        return None

    def proposals(self, missing: Iterable[str]) -> dict[str, Proposal]:
        """Return the renames that find several of the model's `missing` variables, by these.

        Slots follow their variables, and need none.
        """
        called = {self.asked(name): name for name in missing if self._target_roles[name].of is None}
        if not called:
            return {}
        free = {name: v for name, v in self._free.items() if self.roles[v.name].of is None}
        found: dict[str, Proposal] = {}
        for proposal in propose({new: self._targets[name] for new, name in called.items()}, free):
            if len(proposal.found) > 1 or proposal.reason:
                found.update({called[new]: proposal for new in proposal.found})
        return found

    def near(self, name: str) -> str | None:
        """Return what to type, or to look at, for the model's missing variable `name`; `None` without one.

        A rename is of what nothing else takes, for the same purpose, and of the same dtype and shape.
        """
        if self._num_suggested == _MAX_SUGGESTED:
            return None
        self._num_suggested += 1
        target, asked, kind = self._targets[name], self.asked(name), self._target_roles[name].kind
        fitting = [
            new
            for new, variable in self._free.items()
            if (variable.dtype, variable.shape) == (target.dtype, target.shape)
            and self.roles[variable.name].kind == kind
        ]
        if near := names.nearest(asked, fitting, count=1):
            return f"--rename {near[0]}={asked} takes that"
        alike = [new for new, f in self._found.items() if self.roles[f.variable.name].kind == kind]
        close = names.nearest(asked, alike, count=1)
        return f"the nearest name is {close[0]}" if close else None

    def asked(self, name: str) -> str:
        """Return what a rename calls the model's variable `name`: of the key of an object the other name."""
        return next(iter(self._targets[name].aliases), name) if name.endswith(ATTRIBUTE) else name


def _by_all_names(
    checkpoint: Checkpoint, renamed: Mapping[str, str], called: Mapping[str, str]
) -> dict[str, Found]:
    """Return the variables of a checkpoint by all names; one that gets another keeps none."""
    variables, paths = checkpoint.variables(), checkpoint.paths()
    kept = [name for name, new in renamed.items() if new == name]
    found = {
        new: Found(variables[old], f"renamed from {paths.get(old, old)}")
        for old, new in renamed.items()
        if new != old
    }
    for name in kept:
        if name in called:
            found.setdefault(called[name], Found(variables[name], "as Keras loads the file"))
    for name in kept:
        found.setdefault(name, Found(variables[name], _SAME))
    for name in kept:
        if name in paths:
            found.setdefault(paths[name], Found(variables[name], _SAME))
    return found

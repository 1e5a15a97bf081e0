"""What a checkpoint offers to a model: its variables by all their names, and what finds a missing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from toolkit import names, renaming
from toolkit.change.proposals import Proposal, Trial, Wanted, propose
from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import CheckpointError
from toolkit.renaming import Renames, Rule
from toolkit.roles import ATTRIBUTE, Role, followers, owners_first, slot_name

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
        placed: The same, for those that stand where the model's stand among the objects. They go by no
            other name, unless they are renamed.
        any_dtype: Whether a variable of another dtype will do.

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
        placed: Mapping[str, str] | None = None,
        any_dtype: bool = False,
    ) -> None:
        self.roles = dict(checkpoint.roles())
        self._path = checkpoint.path
        self._is_of_keras = checkpoint.keys_are_places
        self._variables = checkpoint.variables()
        self._paths = checkpoint.paths()
        self.averages = {
            role.of: self._variables[name]
            for name, role in self.roles.items()
            if role.kind == "moving_average"
        }
        self._slots = followers(self.roles)
        self._targets = targets
        self._target_roles = target_roles
        self._called = called or {}
        self._placed = placed or {}
        self._any_dtype = any_dtype
        self._rules = renaming.read_rules(rename)
        self._found = self._by_all_names(self._renamed())
        self._num_suggested = 0

    def for_target(self, name: str) -> Found | None:
        """Return what the checkpoint has for the model's variable `name`, and why that."""
        return self._for_target(name, self._found)

    def slot_for(self, name: str, owner: Variable) -> Found | None:
        """Return the checkpoint's slot of `owner` for the model's slot `name`; `None` if none is its like.

        An optimizer may have been made in another scope: `training/w/Adam` is what the model calls `w/Adam`.
        """
        role, slots = self._target_roles[name], self._slots.get(owner.name, ())
        called = self._paths.get(owner.name, owner.name)
        found = [slot for slot in slots if name in (self._placed.get(slot), self._called.get(slot))]
        wanted = None if role.of is None else slot_name(name, role.of)
        if not found and wanted is not None:
            for slot in slots:
                ways = [(slot, owner.name), (self._paths.get(slot, slot), called)]
                if wanted in {slot_name(*way) for way in ways}:
                    found.append(slot)
        if len(found) != 1 or self.roles[found[0]].kind != role.kind:
            return None
        what = "moving average" if role.kind == "moving_average" else f"slot {wanted}" if wanted else "slot"
        return Found(self._variables[found[0]], f"{what} of {called}")

    def proposals(self, missing: Iterable[str]) -> list[Proposal]:
        """Return the renames that find the model's `missing` variables, in the order to be typed.

        Slots follow their variables, and need none.
        """
        called = {self.asked(name): name for name in missing if self._target_roles[name].of is None}
        wanted = {
            asked: self._wanted(self._targets[name], self._target_roles[name])
            for asked, name in called.items()
        }
        if not wanted:
            return []
        proposals = propose(wanted, self._try)
        return [
            proposal._replace(
                found={called[asked]: key for asked, key in proposal.found.items()},
                unlike={called[asked]: key for asked, key in proposal.unlike.items()},
            )
            for proposal in proposals
        ]

    def near(self, name: str) -> str | None:
        """Return the name that is nearest to the model's missing variable `name`, for a person."""
        if self._num_suggested == _MAX_SUGGESTED:
            return None
        self._num_suggested += 1
        kind = self._target_roles[name].kind
        alike = [new for new, f in self._found.items() if self.roles[f.variable.name].kind == kind]
        close = names.nearest(self.asked(name), alike, count=1)
        return f"the nearest name is {close[0]}" if close else None

    def asked(self, name: str) -> str:
        """Return what a rename calls the model's variable `name`: of the key of an object the other name."""
        return next(iter(self._targets[name].aliases), name) if name.endswith(ATTRIBUTE) else name

    def _for_target(self, name: str, found_by_name: Mapping[str, Found]) -> Found | None:
        if (key := self._targets[name].key) is not None:
            return Found(self._variables[key], "by TensorFlow itself")
        for each in (name, *self._targets[name].aliases):
            if found := found_by_name.get(each):
                is_alias = each != name and found.reason == _SAME
                return Found(found.variable, f"called {each}") if is_alias else found
        return None

    def _wanted(self, described: Target | Variable, role: Role) -> Wanted:
        return Wanted(None if self._any_dtype else described.dtype, described.shape, role.kind)

    def _try(self, more: Sequence[Rule]) -> Trial | None:
        """Return the result of further renames; `None` if they cannot be applied."""
        try:
            renamed = self._renamed(more)
        except CheckpointError:
            return None
        found = self._by_all_names(renamed)
        met: dict[str, Found] = {}
        for name in owners_first(self._target_roles):
            hit, owner = self._for_target(name, found), self._target_roles[name].of
            if hit is None and owner in met:
                hit = self.slot_for(name, met[owner].variable)
            if hit is not None:
                met[name] = hit
        fitting = frozenset(
            self.asked(name)
            for name, hit in met.items()
            if (self._any_dtype or hit.variable.dtype is self._targets[name].dtype)
            and (self._targets[name].is_open or hit.variable.shape == self._targets[name].shape)
        )
        taken = {self.asked(name): hit.variable.name for name, hit in met.items()}
        used = set(taken.values())
        free = {
            new: self._wanted(hit.variable, role)
            for new, hit in found.items()
            if hit.variable.name not in used
            and (role := self.roles[hit.variable.name]).of is None
            and role.kind != "metadata"
        }
        current = {key: self._paths.get(key, key) if new == key else new for key, new in renamed.items()}
        return Trial(taken, fitting, free, current)

    def _renamed(self, more: Sequence[Rule] = ()) -> dict[str, str]:
        """Map each key to its name after the renames; a variable without a rename has its key."""
        rules = [*self._rules, *more]
        return renaming.rename_by_either(self.roles, self._paths, rules, where=self._path)

    def _by_all_names(self, renamed: Mapping[str, str]) -> dict[str, Found]:
        """Return the variables by all names; one that gets another keeps none.

        A slot follows its variable, but where it stands among objects or in Keras's file does not change.
        """
        variables, paths, called = self._variables, self._paths, self._called
        kept = [name for name, new in renamed.items() if new == name]
        standing = [name for name, new in renamed.items() if new == name or self.roles[name].of is not None]
        found = {
            new: Found(variables[old], f"renamed from {paths.get(old, old)}")
            for old, new in renamed.items()
            if new != old
        }
        for name in standing:
            if name in called:
                reason = "as Keras loads the file" if self._is_of_keras else f"called {paths.get(name, name)}"
                found.setdefault(called[name], Found(variables[name], reason))
            if name in self._placed:
                new = self._placed[name]
                reason = _SAME if new in (name, paths.get(name)) else "same object"
                found.setdefault(new, Found(variables[name], reason))
        kept = [name for name in kept if name not in self._placed]
        for name in kept:
            found.setdefault(name, Found(variables[name], _SAME))
        for name in kept:
            if name in paths:
                found.setdefault(paths[name], Found(variables[name], _SAME))
        return found

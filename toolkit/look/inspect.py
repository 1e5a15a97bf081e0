"""What is in a checkpoint: its variables by role, with totals, and bytes by scope."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from toolkit.arguments import checked, choose
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import CheckpointError
from toolkit.formats.opening import as_checkpoint
from toolkit.look.about import About, about
from toolkit.look.files import problem_line, problem_of
from toolkit.names import natural_key
from toolkit.roles import Kind, Role
from toolkit.selection import listed, select
from toolkit.text import common_scope
from toolkit.units import count, size

Sort = Literal["name", "bytes", "order"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Totals(NamedTuple):
    """How many variables, how many elements they have together, and bytes."""

    num_variables: int
    num_elements: int
    nbytes: int


@dataclass(frozen=True, repr=False)
class Summary:
    """The variables of a checkpoint that were asked for, and what they come to.

    Attributes:
        checkpoint: Where they are.
        variables: In the order that was asked for.
        roles: The role of each variable of the checkpoint, by name.
        paths: Readable names, by those names that are not: of an object-based checkpoint, or Keras's.
        sort: The order: `name` is that of the keys; a person gets readable names in natural order.
        about: What the checkpoint is as a whole.
        problem: What is wrong with the files of the values: one is missing, or too short; `None` if nothing.
    """

    checkpoint: Checkpoint
    variables: list[Variable]
    roles: dict[str, Role]
    paths: dict[str, str]
    sort: Sort
    about: About
    problem: CheckpointError | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether a file of values is there, but is too short, or is something else."""
        return self.problem is not None and not self.checkpoint.missing_files()

    @property
    def notes(self) -> list[str]:
        """What a person should know before the list, a line each."""
        return [] if self.problem is None else [problem_line(self.checkpoint, self.problem)]

    def __repr__(self) -> str:
        totals = self.totals
        what = f"{count(totals.num_variables, 'variable')}, {size(totals.nbytes)}"
        return f"<Summary of {self.checkpoint.path!r}: {what}>"

    @cached_property
    def by_kind(self) -> dict[Kind, list[Variable]]:
        """The variables of each role; every role has a list.

        Sorted by name, they are in natural order of their readable names: `conv2d_2` before `conv2d_10`.
        """
        kinds: dict[Kind, list[Variable]] = {kind: [] for kind in KINDS}
        for variable in self.variables:
            kinds[self.roles[variable.name].kind].append(variable)
        if self.sort == "name":
            for variables in kinds.values():
                variables.sort(key=lambda v: natural_key(self._called.get(v.name, v.name)))
        return kinds

    def names_of(self, variables: Iterable[Variable]) -> list[str]:
        """Return what a person calls each of `variables`: its readable name, if it has one."""
        called = self._called
        return [called.get(v.name, v.name) for v in variables] if called else [v.name for v in variables]

    def owner_of(self, variable: Variable) -> str:
        """Return the name of the variable that a slot or average is kept for; of any other its own."""
        return _owner(variable.name, self.roles)

    @cached_property
    def _called(self) -> Mapping[str, str]:
        """Readable names, without those that are another variable's name."""
        return {name: path for name, path in self.paths.items() if path not in self.roles or path == name}

    @property
    def totals(self) -> Totals:
        """Of all variables. Their elements are not all parameters: `num_parameters` tells those."""
        return totals_of(self.variables)

    @property
    def num_parameters(self) -> int:
        """The elements of all weights."""
        return totals_of(self.by_kind["weight"]).num_elements

    @property
    def by_scope(self) -> dict[str, tuple[int, int]]:
        """Variables and bytes in each scope, the largest first; under `""` of what lies in none.

        Scopes are told apart at the first depth where the weights are in more than one. Every variable counts
        once, but for metadata: one that is called as its scope is counts there, and slots and averages
        count where the variable is that they are kept for.
        """
        called, roles = self._called, self.roles
        variables = [v for v in self.variables if roles[v.name].kind != "metadata"]
        names = [v.name if roles[v.name].of is None else _owner(v.name, roles) for v in variables]
        weights = [name for name in names if roles[name].kind == "weight"]
        if called:
            names = [called.get(name, name) for name in names]
            weights = [called.get(name, name) for name in weights]
        common = common_scope([name for name in weights or names if "/" in name])
        scopes: dict[str, list[int]] = {}
        outside: list[tuple[str, int]] = []
        scope: str | tuple[()] = ()  # of the variable before, most often also of this one; none yet
        totals = [0, 0]
        for variable, name in zip(variables, names, strict=True):
            if not name.startswith(scope):
                end = name.find("/", len(common) if name.startswith(common) else 0)
                if end <= 0:
                    outside.append((name, variable.spec.nbytes))
                    continue
                scope = name[: end + 1]
                totals = scopes.setdefault(name[:end], [0, 0])
            totals[0] += 1
            totals[1] += variable.spec.nbytes
        for name, nbytes in outside:
            totals = scopes.get(name) or scopes.setdefault(
                common[:-1] if name.startswith(common) else "", [0, 0]
            )
            totals[0] += 1
            totals[1] += nbytes
        ordered = sorted(scopes.items(), key=lambda item: (-item[1][1], natural_key(item[0])))
        return {scope: (count, nbytes) for scope, (count, nbytes) in ordered}


@checked
def inspect(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    role: Kind | Iterable[Kind] = (),
    sort: Sort = "name",
) -> Summary:
    """Return the contents of `checkpoint`. Only its index is read, and the value that counts the steps.

    Args:
        checkpoint: Open, or its path.
        patterns: Which variables; slots come along with theirs. Without any, all.
        exclude: Which to leave out.
        role: Of those, only what has this role, or one of these. Without any, all.
        sort: By `name`; by `bytes`, the largest first; or in the `order` of their bytes in the files.

    Raises:
        VariableNotFoundError: A pattern matches nothing.
        UsageError: A pattern cannot be read, or `role` is none.
        FormatError: The index breaks a rule.
    """
    choose("sort", sort, get_args(Sort))
    checkpoint = as_checkpoint(checkpoint, partial=True)
    everything = checkpoint.variables()
    problem = problem_of(checkpoint)
    roles = dict(checkpoint.roles())
    paths = checkpoint.paths()
    patterns, exclude, kinds = listed(patterns), listed(exclude), listed(role)
    for kind in kinds:
        choose("role", kind, KINDS)
    if patterns or exclude:
        chosen = select(
            roles,
            patterns,
            exclude,
            where=checkpoint.path,
            follow=True,
            paths=paths,
            ways=checkpoint.tree_paths(),
        )
        variables = [everything[name] for name in chosen]
    else:
        variables = list(everything.values())
    if kinds:
        variables = [v for v in variables if roles[v.name].kind in kinds]
    if sort == "bytes":
        variables.sort(key=lambda v: -v.nbytes)
    elif sort == "order":
        variables.sort(key=lambda v: v.place[:2])
    return Summary(checkpoint, variables, roles, dict(paths), sort, about(checkpoint, roles), problem)


def totals_of(variables: Sequence[Variable]) -> Totals:
    """Return what `variables` come to."""
    specs = Counter([v.spec for v in variables])
    num_elements = sum(math.prod(spec.shape) * count for spec, count in specs.items())
    nbytes = sum(spec.nbytes * count for spec, count in specs.items())
    return Totals(len(variables), num_elements, nbytes)


def _owner(name: str, roles: Mapping[str, Role]) -> str:
    """Return the variable that the slot `name`, or slot of a slot, belongs to."""
    seen = {name}
    while (role := roles.get(name)) is not None and role.of is not None and role.of not in seen:
        name = role.of
        seen.add(name)
    return name

"""What is in a checkpoint: its variables by role, with totals, and bytes by scope."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import CheckpointError
from toolkit.formats.opening import as_checkpoint
from toolkit.look.files import problem_line, problem_of
from toolkit.roles import Kind, Role
from toolkit.selection import listed, select

Sort = Literal["name", "bytes", "order"]
KINDS: tuple[Kind, ...] = ("weight", "slot", "moving_average", "counter", "metric", "metadata")


class Totals(NamedTuple):
    """How many variables, how many elements they have together, and bytes."""

    num_variables: int
    num_elements: int
    nbytes: int


@dataclass(frozen=True)
class Summary:
    """The variables of a checkpoint that were asked for, and what they come to.

    Attributes:
        checkpoint: Where they are.
        variables: In the order that was asked for.
        roles: The role of each, by name.
        paths: Readable names, by those names that are not: of an object-based checkpoint, or Keras's.
        problem: What is wrong with the files of the values: one is missing, or too short; `None` if nothing.
    """

    checkpoint: Checkpoint
    variables: list[Variable]
    roles: dict[str, Role]
    paths: dict[str, str]
    problem: CheckpointError | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether a file of values is there, but is too short, or is something else."""
        return self.problem is not None and not self.checkpoint.missing_files()

    @property
    def notes(self) -> list[str]:
        """What a person should know before the list, a line each."""
        return [] if self.problem is None else [problem_line(self.checkpoint, self.problem)]

    @cached_property
    def by_kind(self) -> dict[Kind, list[Variable]]:
        """The variables of each role, in their order; every role has a list."""
        kinds: dict[Kind, list[Variable]] = {kind: [] for kind in KINDS}
        for variable in self.variables:
            kinds[self.roles[variable.name].kind].append(variable)
        return kinds

    def names_of(self, variables: Iterable[Variable]) -> list[str]:
        """Return what a person calls each of `variables`: its readable name, if it has one."""
        if not self.paths:
            return [v.name for v in variables]
        return [self.paths.get(v.name, v.name) for v in variables]

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
        """Variables and bytes in each scope, the largest first.

        Scopes are told apart at the first depth where there is more than one.
        """
        metadata = {variable.name for variable in self.by_kind["metadata"]}
        variables = [v for v in self.variables if v.name not in metadata]
        names = self.names_of(variables)
        start = len(_common_scope(names))
        scopes: dict[str, list[int]] = {}
        scope: str | tuple[()] = ()  # of the variable before, most often also of this one; none yet
        totals = [0, 0]
        for variable, name in zip(variables, names, strict=True):
            if not name.startswith(scope):
                end = name.find("/", start)
                if end <= 0:
                    continue
                scope = name[: end + 1]
                totals = scopes.setdefault(name[:end], [0, 0])
            totals[0] += 1
            totals[1] += variable.spec.nbytes
        ordered = sorted(scopes.items(), key=lambda item: -item[1][1])
        return {scope: (count, nbytes) for scope, (count, nbytes) in ordered}


def inspect(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    sort: Sort = "name",
) -> Summary:
    """Return what is in `checkpoint`. Nothing but its index is read.

    Args:
        checkpoint: Open, or its path.
        patterns: Which variables; slots come along with theirs. Without any, all.
        exclude: Which to leave out.
        sort: By `name`; by `bytes`, the largest first; or in the `order` of their bytes in the files.

    Raises:
        VariableNotFoundError: A pattern matches nothing.
        UsageError: A pattern cannot be read.
        FormatError: The index breaks a rule.
    """
    checkpoint = as_checkpoint(checkpoint, partial=True)
    everything = checkpoint.variables()
    problem = problem_of(checkpoint)
    roles = dict(checkpoint.roles())
    paths = checkpoint.paths()
    patterns, exclude = listed(patterns), listed(exclude)
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
    if sort == "bytes":
        variables.sort(key=lambda v: -v.nbytes)
    elif sort == "order":
        variables.sort(key=lambda v: v.place[:2])
    return Summary(checkpoint, variables, roles, dict(paths), problem)


def totals_of(variables: Sequence[Variable]) -> Totals:
    """Return what `variables` come to."""
    specs = Counter([v.spec for v in variables])
    num_elements = sum(math.prod(spec.shape) * count for spec, count in specs.items())
    nbytes = sum(spec.nbytes * count for spec, count in specs.items())
    return Totals(len(variables), num_elements, nbytes)


def _common_scope(names: list[str]) -> str:
    """Return the scope, with its `/`, that all names share as far down as it does not branch."""
    if not names:
        return ""
    low, high = min(names), max(names)
    common = ""
    for a, b in zip(low.split("/")[:-1], high.split("/")[:-1], strict=False):
        if a != b:
            break
        common += a + "/"
    return common

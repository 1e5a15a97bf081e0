"""Planning what each variable of a graph gets from a checkpoint, before anything is read from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from toolkit import casting, names, renaming
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import DType
from toolkit.errors import ModelError, UsageError
from toolkit.formats.opening import as_checkpoint
from toolkit.graph.plan import GraphPlan
from toolkit.graph.variables import by_name, dependencies_of, dtype_of, shape_of
from toolkit.plan import Action, Verdict
from toolkit.renaming import Renames, read_rules
from toolkit.roles import Role, assign, owners_first
from toolkit.selection import matching, select

OnMissing = Literal["error", "init"]
OnShape = Literal["error", "init", "overlap"]

_MAX_SUGGESTED = 20
"""For how many missing variables near names are looked for, which is slow over many."""


class _Target(NamedTuple):
    """What is known of a graph's variable. An open shape is taken as a scalar's, and not compared."""

    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Fate:
    """What will become of a variable: a verdict in the making."""

    action: Action
    reason: str
    stored: Variable | None = None
    source: str | None = None
    problem: str | None = None
    hint: str | None = None


def plan_restore(
    checkpoint: Checkpoint | str | os.PathLike[str],
    target: tf.Graph | Iterable[Any] | None = None,
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    reinit: str | Iterable[str] = (),
    on_missing: OnMissing = "error",
    on_shape: OnShape = "error",
    cast: bool = False,
) -> GraphPlan:
    """Plan which variables of a graph are restored from `checkpoint`, and what becomes of the others.

    Args:
        checkpoint: Where values come from: open, or its path.
        target: The variables, or the graph whose global variables are meant; by default the default
            graph's.
        patterns: Which variables of the target to restore; by default all. The others are
            initialized.
        exclude: Which of them not to restore.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings: OLD is the checkpoint's name, scope or `re:…`,
            NEW the target's.
        reinit: Which variables to initialize though the checkpoint has them. Their slots and moving
            averages start anew with them.
        on_missing: What to do about a variable that the checkpoint lacks: `error` or `init`.
        on_shape: What to do where shapes differ: `error`, `init`, or `overlap`, which copies what the
            two have in common over fresh values.
        cast: Convert where dtypes differ; otherwise that is an error.

    Returns:
        The plan. `plan.ok` says whether it can be carried out, `plan.apply(session)` does it.

    Raises:
        VariableNotFoundError: A pattern or OLD matches nothing.
        UsageError: A pattern, rename or choice cannot be read.
        ModelError: The target has no variables, or two of one name.
        FormatError: The checkpoint's index breaks a rule.
    """
    for option, value, choices in (
        ("on_missing", on_missing, ("error", "init")),
        ("on_shape", on_shape, ("error", "init", "overlap")),
    ):
        if value not in choices:
            raise UsageError(f"{option}: expected one of {', '.join(choices)}, got {value!r}")
    checkpoint = as_checkpoint(checkpoint)
    variables = _variables_of(target)
    targets = {n: _Target(dtype_of(v), shape_of(v) or ()) for n, v in variables.items()}
    open_shapes = {name for name, variable in variables.items() if shape_of(variable) is None}
    roles = assign(targets)
    maker = _Maker(
        checkpoint,
        targets,
        roles,
        read_rules(rename),
        selected=set(select(roles, patterns, exclude, where="the model", follow=True)),
        renewed=matching(roles, reinit, where="the model"),
        open_shapes=open_shapes,
        on_missing=on_missing,
        on_shape=on_shape,
        cast=cast,
    )
    for name in owners_first(roles):
        maker.fate(name)
    fates = {name: maker.fate(name) for name in targets}
    dependencies = dependencies_of(
        {name: variables[name] for name, fate in fates.items() if fate.action == "initialize"}
    )
    verdicts = []
    for name, fate in fates.items():
        reason = fate.reason
        if dependencies.get(name):
            reason += f"; computed from {', '.join(dependencies[name])}"
        verdicts.append(
            Verdict(
                name,
                fate.action,
                fate.source,
                reason,
                targets[name].dtype.name,
                _shape(name, fate, targets, open_shapes),
                problem=fate.problem,
                hint=fate.hint,
            )
        )
    stored = {name: fate.stored for name, fate in fates.items() if fate.stored is not None}
    taken = {variable.name for variable in stored.values()}
    unused = [name for name in checkpoint.variables() if name not in taken]
    return GraphPlan(verdicts, variables, checkpoint=checkpoint, stored=stored, unused=unused)


def _shape(
    name: str, fate: _Fate, targets: Mapping[str, _Target], open_shapes: set[str]
) -> tuple[int, ...] | None:
    """Return the shape that a variable will have, if it is known before it has a value."""
    if name not in open_shapes:
        return targets[name].shape
    return None if fate.stored is None else fate.stored.shape


def _variables_of(target: tf.Graph | Iterable[Any] | None) -> dict[str, Any]:
    if target is None:
        target = tf.compat.v1.get_default_graph()
    if isinstance(target, tf.Graph):
        target = target.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
    variables = by_name(target)
    if not variables:
        raise ModelError("the graph has no variables", hint="build the model in the default graph")
    return variables


class _Maker:
    """Decides the fate of each variable; that of a slot depends on that of its variable."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        targets: Mapping[str, _Target],
        roles: Mapping[str, Role],
        rules: Iterable[tuple[str, str]],
        *,
        selected: set[str],
        renewed: set[str],
        open_shapes: set[str],
        on_missing: OnMissing,
        on_shape: OnShape,
        cast: bool,
    ) -> None:
        self._path = checkpoint.path
        self._targets = targets
        self._roles = roles
        self._selected = selected
        self._renewed = renewed
        self._open_shapes = open_shapes
        self._on_missing = on_missing
        self._on_shape = on_shape
        self._cast = cast
        self._fates: dict[str, _Fate] = {}
        self._num_suggested = 0
        variables = checkpoint.variables()
        self._stored_roles = dict(checkpoint.roles())
        renamed = renaming.rename(self._stored_roles, rules, where=checkpoint.path)
        self._stored = {new: variables[old] for old, new in renamed.items()}

    def fate(self, name: str) -> _Fate:
        """Return what becomes of the variable `name`."""
        if name not in self._fates:
            self._fates[name] = self._decide(name)
        return self._fates[name]

    def _decide(self, name: str) -> _Fate:
        role = self._roles[name]
        if name in self._renewed:
            return self._fresh(name, "to be reinitialized")
        if name not in self._selected:
            return self._fresh(name, "not selected")
        if role.of is not None and self.fate(role.of).action == "initialize":
            return self._fresh(name, f"{_noun(role)} of {role.of}, which starts afresh")
        stored = self._stored.get(name)
        if stored is None:
            return self._missing(name)
        return self._found(name, stored)

    def _fresh(self, name: str, reason: str) -> _Fate:
        """Return the fate of what is not restored: a moving average becomes a copy of its variable."""
        role = self._roles[name]
        if role.kind == "moving_average":
            return _Fate("copy", f"{reason}; starts as its value", source=role.of)
        return _Fate("initialize", reason)

    def _missing(self, name: str) -> _Fate:
        if self._on_missing == "init":
            return self._fresh(name, "not in the checkpoint")
        problem = "not in the checkpoint"
        owner = self._roles[name].of
        if owner is not None and self.fate(owner).problem is not None:
            # a rename of the variable brings its slots along
            return _Fate("restore", problem, problem=f"{problem}, as {owner}")
        hint = "--on-missing init starts it afresh"
        if self._num_suggested < _MAX_SUGGESTED:
            self._num_suggested += 1
            near, fits = self._near(name)
            if fits:
                hint = f"--rename {near}={name} takes that, {hint}"
            elif near:
                hint = f"the nearest name is {near}; {hint}"
        return _Fate("restore", problem, problem=problem, hint=hint)

    def _near(self, name: str) -> tuple[str | None, bool]:
        """Return the nearest name in the checkpoint, and whether it is free and of the same shape."""
        shape = self._targets[name].shape
        role = self._roles[name].kind
        fitting = [
            stored.name
            for new, stored in self._stored.items()
            if stored.shape == shape
            and new not in self._targets
            and self._stored_roles[stored.name].kind == role
        ]
        if near := names.nearest(name, fitting, count=1):
            return near[0], True
        near = names.nearest(name, self._stored, count=1)
        return (near[0] if near else None), False

    def _found(self, name: str, stored: Variable) -> _Fate:
        target = self._targets[name]
        source = f"{self._path}::{stored.name}"
        reason = "same name" if stored.name == name else f"renamed from {stored.name}"
        action: Action = "restore"
        if stored.dtype is not target.dtype:
            if not self._cast:
                problem = f"{stored.dtype} in the checkpoint, {target.dtype} in the model"
                return _Fate("restore", problem, stored, source, problem, "--cast converts it")
            try:
                casting.check(name, stored.dtype, target.dtype)
            except UsageError as error:
                return _Fate("cast", error.message, stored, source, error.message)
            action = "cast"
            reason = f"{reason}; {casting.describe(stored.dtype, target.dtype)}"
        if stored.shape != target.shape and name not in self._open_shapes:
            return self._other_shape(name, stored, source, reason)
        if name.rpartition("/")[2] == "global_step":
            reason += "; the count of steps goes on (--reinit global_step resets it)"
        return _Fate(action, reason, stored, source)

    def _other_shape(self, name: str, stored: Variable, source: str, reason: str) -> _Fate:
        shape = self._targets[name].shape
        difference = f"shape {stored.shape} in the checkpoint, {shape} in the model"
        if len(shape) > 1 and stored.shape == shape[::-1]:
            difference += " (transposed)"
        if self._on_shape == "init":
            return self._fresh(name, difference)
        if self._on_shape == "overlap" and len(stored.shape) == len(shape):
            common = tuple(map(min, stored.shape, shape))
            return _Fate(
                "overlap",
                f"{reason}; {difference}: {common} copied{'' if common == shape else ', the rest fresh'}",
                stored,
                source,
            )
        hint = "--on-shape init starts it afresh"
        if len(stored.shape) == len(shape):
            hint += ", --on-shape overlap copies the common part"
        return _Fate("restore", difference, stored, source, difference, hint)


def _noun(role: Role) -> str:
    return "moving average" if role.kind == "moving_average" else role.kind

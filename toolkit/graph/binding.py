"""Plans that were written down, on a model again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from toolkit import initializers
from toolkit.change.unchanged import refuse_changed
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, UsageError
from toolkit.formats.opening import open_checkpoint
from toolkit.graph.living import is_alive, living
from toolkit.graph.object_plan import ObjectPlan
from toolkit.graph.plan import GraphPlan
from toolkit.graph.restore import graph_variables
from toolkit.graph.variables import dtype_of, shape_of
from toolkit.plan import Plan, Verdict

_ACTIONS = ("restore", "cast", "overlap", "initialize", "copy", "keep")

_Kind = tuple[str, tuple[int, ...] | None]
"""Dtype and shape; the latter `None` where a graph leaves it open."""


def bind(plan: Plan, target: Any = None) -> GraphPlan | ObjectPlan:
    """Return a plan that was written down, as one that can be carried out on a model.

    Args:
        plan: What `Plan.from_json` gave, from the files as they still are.
        target: As for `plan_restore`: the same model, built again.

    Raises:
        MismatchError: The model has not the plan's variables, or others; or a file has changed since.
        FormatError, ReadError: The checkpoint cannot be read.
        UsageError: The plan is not one over a model, or a source is none of the checkpoint's variables.
        ModelError: The target has no variables, or two of one name.
    """
    refuse_changed(plan.files)
    if is_alive(target):
        return _bind_objects(plan, target)
    variables = graph_variables(target)
    found: dict[str, _Kind] = {name: (dtype_of(v).name, shape_of(v)) for name, v in variables.items()}
    _refuse_other_model({v.name: (v.dtype, v.shape) for v in plan.verdicts}, found)
    _check(plan, found)
    if plan.origin is None:
        return GraphPlan(plan.verdicts, variables, together=plan.together, seed=plan.seed)
    checkpoint = open_checkpoint(plan.origin)
    return GraphPlan(
        plan.verdicts,
        variables,
        checkpoint=checkpoint,
        stored=_stored(plan, checkpoint),
        together=plan.together,
        unused=plan.unused,
        seed=plan.seed,
        notes=plan.notes,
    )


def _bind_objects(plan: Plan, root: Any) -> ObjectPlan:
    """Return a plan that was written down, as one over what lives."""
    if plan.origin is None:
        raise UsageError("the plan is of no checkpoint", hint="give one that plan_restore made")
    checkpoint = open_checkpoint(plan.origin)
    lives = living(root, checkpoint)
    found: dict[str, _Kind] = {name: (each.dtype.name, each.shape) for name, each in lives.targets.items()}
    _refuse_other_model({v.name: (v.dtype, v.shape) for v in plan.verdicts}, found)
    awaited = {name for name, target in lives.targets.items() if target.awaited_by}
    _check(plan, found, awaited)
    return ObjectPlan(
        plan.verdicts,
        root,
        lives,
        checkpoint=checkpoint,
        stored=_stored(plan, checkpoint),
        unused=plan.unused,
        seed=plan.seed,
        notes=plan.notes,
    )


def _stored(plan: Plan, checkpoint: Checkpoint) -> dict[str, Variable]:
    """Return the checkpoint's variables that a plan restores from, by the model's names."""
    stored = {}
    for verdict in plan.verdicts:
        if verdict.action in ("restore", "cast", "overlap", "defer") and verdict.problem is None:
            variable = checkpoint.find(str(verdict.source).removeprefix(f"{plan.origin}::"))
            if variable is None:
                raise _unfit(verdict, f"{verdict.source} is no variable of the checkpoint")
            fits = verdict.shape in (None, variable.shape) or (
                verdict.action == "overlap" and len(verdict.shape or ()) == len(variable.shape)
            )
            if not fits or (verdict.action == "restore" and variable.dtype.name != verdict.dtype):
                raise _unfit(verdict, f"{verdict.source} is {variable.dtype} {variable.shape}")
            stored[verdict.name] = variable
    return stored


def _check(plan: Plan, found: dict[str, _Kind], awaited: Collection[str] = ()) -> None:
    """Refuse a plan over a model that no `plan_restore` made: written by hand, or over files.

    Args:
        plan: The plan.
        found: What the model has.
        awaited: Which of that is not made yet.

    Raises:
        UsageError: It is one.
    """
    for verdict in plan.verdicts:
        known = ("defer", "keep") if verdict.name in awaited else _ACTIONS
        if verdict.action not in known:
            raise _unfit(verdict, f"no model can {verdict.action} it")
        if verdict.action == "copy" and (
            verdict.source not in found or not _agree(found[verdict.name], found[verdict.source])
        ):
            raise _unfit(verdict, f"{verdict.source} is no variable of the model that it can be a copy of")
        if verdict.initializer is not None:
            initializers.parse(verdict.initializer)
    if plan.seed is not None and (type(plan.seed) is not int or plan.seed < 0):
        raise UsageError(f"seed {plan.seed!r}: expected a number of 0 or more", hint="make the plan again")


def _unfit(verdict: Verdict, why: str) -> UsageError:
    return UsageError(f"{verdict.name}: {why}", hint="make the plan again")


def _refuse_other_model(expected: dict[str, _Kind], found: dict[str, _Kind]) -> None:
    """Refuse variables that are not those of the plan."""
    for name in [*expected, *found]:
        ours, theirs = expected.get(name), found.get(name)
        if ours is None or theirs is None or not _agree(ours, theirs):
            raise MismatchError(
                f"{name}: {_described(ours)} in the plan, {_described(theirs)} in the model",
                name=name,
                expected=ours,
                found=theirs,
                hint="make the plan again, for this model",
            )


def _agree(ours: _Kind, theirs: _Kind) -> bool:
    """Return whether two dtypes and shapes are one; an open shape takes any."""
    return ours[0] == theirs[0] and (None in (ours[1], theirs[1]) or ours[1] == theirs[1])


def _described(kind: _Kind | None) -> str:
    return "missing" if kind is None else f"{kind[0]} {'of any shape' if kind[1] is None else kind[1]}"

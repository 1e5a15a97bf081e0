"""Planning what the variables of a Keras model, a `tf.Module` or a `tf.train.Checkpoint` get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from toolkit import initializers
from toolkit.change.matching import Matching
from toolkit.change.rules import Fate, Rules, Target, verdicts_of
from toolkit.checkpoint import Checkpoint
from toolkit.errors import UsageError
from toolkit.graph.living import Living, living
from toolkit.graph.object_plan import ObjectPlan
from toolkit.graph.optimizer_state import OptimizerState
from toolkit.plan import Verdict
from toolkit.roles import initial_slot_value


def plan_objects(checkpoint: Checkpoint, root: Any, rules: Rules, seed: int | None) -> ObjectPlan:
    """Plan what the variables of `root` get from `checkpoint`, as `plan_restore` says.

    Raises:
        ModelError: It has no variables, or it is a part of a graph.
        VariableNotFoundError, UsageError, MismatchError: As `plan_restore`.
    """
    if rules.copy_value == "initial" and rules.copy:
        raise UsageError(
            "copy_value: the variables of this target have had their initial values",
            hint="copy their current ones: copy_value='current'",
        )
    found = living(root, checkpoint)
    targets = found.targets
    matching = Matching(
        checkpoint,
        targets,
        rules,
        called=found.called,
        placed=found.placed,
        fresh="keep",
        misfits=found.optimizer.names if found.optimizer.misfit is not None else (),
    )
    fates = _misfits(matching.fates(), found.optimizer)
    stored = {name: fate.stored for name, fate in fates.items() if fate.stored is not None}
    taken = {variable.name for variable in stored.values()}
    unused = [n for n in checkpoint.variables() if n not in taken and n not in found.optimizer.twice]
    return ObjectPlan(
        [_with_initializer(verdict, targets[verdict.name]) for verdict in verdicts_of(fates, targets, {})],
        root,
        found,
        checkpoint=checkpoint,
        stored=stored,
        unused=unused,
        seed=seed,
        notes=[
            *matching.notes(),
            *found.optimizer.notes,
            *_slots_left(found, fates, checkpoint, unused),
            *_otherwise_by_name(found, fates, checkpoint),
        ],
        advice=matching.advice(),
    )


def _misfits(fates: dict[str, Fate], state: OptimizerState) -> dict[str, Fate]:
    """Return the fates with the reason why an optimizer's variables are missing in the checkpoint."""
    if state.misfit is None:
        return fates
    scopes = list(dict.fromkeys(name.partition("/")[0] for name in state.names))
    excluded = ", ".join(f"'{scope}/**'" for scope in scopes)
    hint = (
        f"compile the model as it was when it was saved; exclude=[{excluded}] leaves its optimizer as it is"
    )
    missing = {n for n in state.names if fates[n].problem is not None and fates[n].stored is None}
    return {
        name: replace(fate, problem=state.misfit, reason=state.misfit, hint=hint) if name in missing else fate
        for name, fate in fates.items()
    }


def _slots_left(
    found: Living, fates: Mapping[str, Fate], checkpoint: Checkpoint, unused: Iterable[str]
) -> list[str]:
    """Return that an optimizer's state is taken, but some slots of the checkpoint are not, if that is so."""
    roles = checkpoint.roles()
    takes = any(fates[name].action in ("restore", "cast") for name in found.optimizer.names)
    left = [n for n in unused if roles[n].kind == "slot"]
    if not takes or not left or not found.placed:
        return []
    return [f"the checkpoint's optimizer keeps {len(left)} slots that the model's does not"]


def _otherwise_by_name(found: Living, fates: Mapping[str, Fate], checkpoint: Checkpoint) -> list[str]:
    """Return that objects and names tell variables differently, if that is so."""
    by_name = {name: key for key, name in checkpoint.paths().items()}
    others = [
        new
        for old, new in found.placed.items()
        if (stored := fates[new].stored) is not None
        and stored.name == old
        and by_name.get(new, old) != old
        and checkpoint[by_name[new]].shape == found.targets[new].shape
    ]
    if not others:
        return []
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    note = "matched by their places among the objects, as TensorFlow does, though the checkpoint has other"
    return [f"{note} variables of their names: {', '.join(others[:3])}{more}"]


def _with_initializer(verdict: Verdict, target: Target) -> Verdict:
    """Return a verdict with what fills the variable, if that is to be initialized."""
    if verdict.action != "initialize" or target.key is not None:
        return verdict
    if target.role is not None and target.role.of is not None:
        value, known = initial_slot_value(verdict.name)
        spec, why = initializers.parse(f"constant:{value}" if value else "zeros"), "" if known else "zeroed"
    else:
        spec, why = initializers.default_spec(verdict.name, target.shape, target.dtype)
    reason = "; ".join(filter(None, [verdict.reason, why]))
    return Verdict(
        verdict.name,
        verdict.action,
        verdict.source,
        reason,
        verdict.dtype,
        verdict.shape,
        initializer=str(spec),
        problem=verdict.problem,
        hint=verdict.hint,
    )

"""Planning what the variables of a Keras model, a `tf.Module` or a `tf.train.Checkpoint` get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from toolkit import dtypes, initializers
from toolkit.change.matching import Matching
from toolkit.change.rules import Rules, Target, verdicts_of
from toolkit.checkpoint import Checkpoint
from toolkit.errors import ModelError, UsageError
from toolkit.formats.bundle import object_roles
from toolkit.graph.keras_loading import all_variables, ask_keras
from toolkit.graph.object_plan import ObjectPlan
from toolkit.graph.trackables import full_name, objects_of, place_of
from toolkit.plan import Verdict
from toolkit.roles import ATTRIBUTE, Role, initial_slot_value


def is_alive(target: Any) -> bool:
    """Return whether `target` is an object with variables that have values, not a graph or variables."""
    return isinstance(target, tf.Module | tf.train.Checkpoint | tf.keras.Model | tf.keras.layers.Layer)


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
    variables, targets = targets_of(root)
    keys = {each for target in targets.values() for each in target.aliases if each.endswith(ATTRIBUTE)}
    if place := place_of(keys, checkpoint):
        for name, target in targets.items():
            moved = tuple(place + key for key in target.aliases if key in keys)
            targets[name] = target._replace(aliases=(*target.aliases, *moved))
    called = {}
    if isinstance(root, tf.keras.Model):
        called = _asked(root, checkpoint)
    matching = Matching(checkpoint, targets, rules, called=called, fresh="keep")
    fates = matching.fates()
    stored = {name: fate.stored for name, fate in fates.items() if fate.stored is not None}
    taken = {variable.name for variable in stored.values()}
    return ObjectPlan(
        [_with_initializer(verdict, targets[verdict.name]) for verdict in verdicts_of(fates, targets, {})],
        variables,
        checkpoint=checkpoint,
        stored=stored,
        unused=(unused := [name for name in checkpoint.variables() if name not in taken]),
        seed=seed,
        notes=[*matching.notes(), *_of_optimizers(root, targets, checkpoint, unused)],
        advice=matching.advice(),
    )


def _of_optimizers(
    root: Any, targets: Mapping[str, Target], checkpoint: Checkpoint, unused: Iterable[str]
) -> list[str]:
    """Return that an optimizer takes nothing because it has no variables yet, if that is so."""
    roles = checkpoint.roles()
    has_slots = any(target.role is not None and target.role.kind == "slot" for target in targets.values())
    leaves_slots = any(roles[name].kind == "slot" for name in unused)
    if isinstance(root, tf.keras.Model) or has_slots or not leaves_slots:
        return []
    note = "slots of the checkpoint are taken by nothing: an optimizer has none before it is built"
    return [f"{note}: optimizer.build(model.trainable_variables)"]


def targets_of(root: Any) -> tuple[dict[str, Any], dict[str, Target]]:
    """Return the variables of an object by their names, and what is known of each.

    Raises:
        ModelError: It has none, or it is a part of a graph.
    """
    objects = objects_of(root)
    by_key = {key: v for key, v in objects.variables.items() if not tf.is_symbolic_tensor(v)}
    if len(by_key) < len(objects.variables):
        raise ModelError("the target is a part of a graph", hint="give the graph, or its variables")
    described = {key: Target(_dtype(v), tuple(v.shape)) for key, v in by_key.items()}
    roles, paths = object_roles.roles(objects.graph, described), objects.graph.paths()
    names = {key: paths.get(key, key.removesuffix(ATTRIBUTE)) for key in by_key}
    variables, targets = {}, {}
    weights = None
    if isinstance(root, tf.keras.Model | tf.keras.layers.Layer):
        weights = {id(weight) for weight in root.weights}
    for key, variable in by_key.items():
        if weights is not None and id(variable) not in weights:
            continue
        name, role = names[key], roles[key]
        place = key.removesuffix(ATTRIBUTE)
        aliases = tuple(dict.fromkeys(each for each in (key, place, full_name(variable)) if each != name))
        variables[name] = variable
        targets[name] = described[key]._replace(
            trainable=bool(variable.trainable),
            aliases=aliases,
            role=Role(role.kind, None if role.of is None else names[role.of]),
        )
    for weight in root.weights if weights is not None else ():  # what Keras keeps, and TensorFlow does not
        if not any(weight is variable for variable in variables.values()):
            variables[weight.path] = weight
            targets[weight.path] = Target(_dtype(weight), tuple(weight.shape), trainable=weight.trainable)
    if not variables:
        raise ModelError(
            f"{type(root).__name__}: has no variables",
            hint="build the model: call it once, or give it inputs",
        )
    return variables, targets


def _dtype(variable: Any) -> dtypes.DType:
    dtype = variable.dtype
    return dtypes.as_dtype(dtype if isinstance(dtype, str) else dtype.name)


def _asked(model: Any, checkpoint: Checkpoint) -> dict[str, str]:
    """Return what Keras makes of a file of weights; the model has its own values again afterwards."""
    kept = [(variable, variable.numpy()) for variable in all_variables(model)]
    try:
        return ask_keras(model, checkpoint).names
    finally:
        for variable, value in kept:
            variable.assign(value)


def _with_initializer(verdict: Verdict, target: Target) -> Verdict:
    """Return a verdict with what fills the variable, if that is to be initialized."""
    if verdict.action != "initialize":
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

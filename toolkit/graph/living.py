"""The variables of a model that lives, and which of a checkpoint's variables each of them is.

Objects are matched by their edges from the root, as TensorFlow matches them; for Keras's files, Keras is
asked. Names come after that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit import dtypes
from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint
from toolkit.errors import ModelError
from toolkit.formats.bundle import object_roles
from toolkit.formats.bundle.object_binding import Binding
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.hdf5.reader import Hdf5Checkpoint
from toolkit.graph.keras_loading import all_variables, ask_keras
from toolkit.graph.optimizer_state import OptimizerState, optimizer_state
from toolkit.graph.optimizers import (
    Unbuilt,
    as_if_built,
    kept_by,
    optimizer_of,
    random_states,
    starting_as_weights,
    untracked,
)
from toolkit.graph.placing import awaited, binding_of, keys_of, made_by_tensorflow, placed, with_named_layers
from toolkit.graph.slot_order import by_objects, without_numbers
from toolkit.graph.trackables import Objects, full_name, objects_of, place_of
from toolkit.roles import ATTRIBUTE, Role

_STATE = "seed_generator_state"
"""What Keras calls the state of a seed generator (keras/src/random/seed_generator.py)."""


def is_alive(target: Any) -> bool:
    """Return whether `target` is an object with variables that have values, not a graph or variables."""
    return isinstance(target, tf.Module | tf.train.Checkpoint | tf.keras.Model | tf.keras.layers.Layer)


class Living(NamedTuple):
    """Variables that live.

    Attributes:
        variables: By name: TensorFlow's, Keras's, and what an optimizer will have when it is built.
        targets: What is known of each; and of what TensorFlow alone can restore, which has no variable.
        placed: By the checkpoint's names, the names of those that stand at the same place among the objects.
        called: By the checkpoint's names, those that Keras gives their values to.
        start: The number of the checkpoint's object that the root is.
        optimizer: The state of a Keras model's optimizer, in the model and in the checkpoint.
    """

    variables: dict[str, Any]
    targets: dict[str, Target]
    placed: dict[str, str]
    called: dict[str, str]
    start: int
    optimizer: OptimizerState


def living(root: Any, checkpoint: Checkpoint) -> Living:
    """Return the variables of `root`, bound to those of `checkpoint`. Nothing changes.

    Args:
        root: What `is_alive`.
        checkpoint: Where values are to come from.

    Raises:
        ModelError: It has no variables, it is a part of a graph, or its optimizer cannot be looked at.
    """
    stored = checkpoint.object_graph() if isinstance(checkpoint, BundleCheckpoint) else None
    is_model = isinstance(root, tf.keras.Model)
    real = optimizer_of(root)
    with as_if_built(root) if is_model else contextlib.nullcontext() as optimizer:
        objects = objects_of(root)
        variables, targets = _own(root, objects, optimizer)
        names = {id(variable): name for name, variable in variables.items()}
        binding, places, ordered = None, dict[str, str](), None
        if stored is not None:
            binding = binding_of(objects, stored, checkpoint.variables(), targets)
            binding, elsewhere = with_named_layers(binding, objects, stored, checkpoint, names, targets)
            places = placed(binding, objects, stored, checkpoint, names, targets)
            ordered = by_objects(places, binding, objects, stored, checkpoint, names, targets)
            places, targets = ordered.places, without_numbers(targets, ordered.renumbered | elsewhere)
        if not places:
            _add_place(objects, targets, checkpoint, by_key=stored is None)
        called, state = dict[str, str](), OptimizerState()
        if is_model:
            called = _asked(root, checkpoint, variables)
            bound = {**places, **called}
            state = optimizer_state(root, real, optimizer, checkpoint, names, bound, targets)
            called = {old: new for old, new in called.items() if new not in state.renumbered}
            called.update(state.called)
            for index, variable in enumerate(kept_by(optimizer)):
                name = names[id(variable)]
                if name in state.existing:
                    variables[name] = state.existing[name]
                elif optimizer is not real:
                    variables[name] = Unbuilt(root, index, variable)
    for name in state.left_out:
        del variables[name], targets[name]
    if binding is not None and stored is not None:
        _add_others(targets, binding, objects, stored, checkpoint, places)
    if not targets:
        raise ModelError(
            f"{type(root).__name__}: has no variables",
            hint="build the model: call it once, or give it inputs",
        )
    return Living(
        variables,
        targets,
        {old: new for old, new in places.items() if new in variables},
        {old: new for old, new in called.items() if new in variables},
        0 if binding is None else binding.start,
        state._replace(
            notes=(
                *state.notes,
                *(() if ordered is None else ordered.notes),
                *_unkept(objects, names, variables, targets),
                *_first_scale(objects, targets),
                *([] if is_model else _not_kept(objects)),
            )
        ),
    )


def _unkept(
    objects: Objects, names: Mapping[int, str], variables: Mapping[str, Any], targets: Mapping[str, Target]
) -> list[str]:
    """Return, in a sentence, that random numbers do not go on where a training stopped, if that is so."""
    models = [each for each in objects.every if isinstance(each, tf.keras.Model)]
    states = {id(state): state for model in models for state in random_states(model)}
    lost = [state for number, state in states.items() if names.get(number) not in variables]
    goes_on = any(target.role is not None and target.role.kind == "slot" for target in targets.values())
    if not lost or not goes_on:
        return []
    whose = f"{len(lost)} seed generators" if len(lost) > 1 else "a seed generator"
    note = (
        f"does not continue: the random numbers of {whose} (of Dropout and the like): the checkpoint has no"
    )
    return [f"{note} state of them, and a training that goes on draws others"]


def _first_scale(objects: Objects, targets: Mapping[str, Target]) -> list[str]:
    """Return, in a sentence, that a loss is scaled otherwise than its gradients are, if that may happen.

    Source: keras/src/optimizers/loss_scale_optimizer.py, scale_loss: by the initial scale until it is built.
    """
    scaling = [each for each in objects.every if isinstance(each, tf.keras.optimizers.LossScaleOptimizer)]
    if all(each.built for each in scaling) or not any(target.awaited_by for target in targets.values()):
        return []
    note = (
        "a LossScaleOptimizer scales the first loss by its initial scale, its gradients by the restored one"
    )
    return [f"{note}: build it before the first step: optimizer.build(model.trainable_variables)"]


def _not_kept(objects: Objects) -> list[str]:
    """Return, in a sentence for each, which optimizers keep what TensorFlow neither saves nor restores.

    It knows nothing of the optimizers in a MultiOptimizer, which Keras keeps in a list.
    """
    known = {id(variable) for variable in objects.variables.values()}
    notes = []
    for each in objects.every:
        if isinstance(each, tf.keras.optimizers.Optimizer):
            count = sum(id(variable) not in known for variable in kept_by(each))
            if count:
                note = f"does not continue: {count} of the variables of {type(each).__name__} {each.name}"
                notes.append(
                    f"{note}, of which TensorFlow does not know: the keeper saves a Keras model with them"
                )
    return notes


def _own(root: Any, objects: Objects, optimizer: Any) -> tuple[dict[str, Any], dict[str, Target]]:
    """Return the variables of an object by their names, and what is known of each."""
    by_key = {key: v for key, v in objects.variables.items() if not tf.is_symbolic_tensor(v)}
    if len(by_key) < len(objects.variables):
        raise ModelError("the target is a part of a graph", hint="give the graph, or its variables")
    described = {key: Target(_dtype(v), tuple(v.shape)) for key, v in by_key.items()}
    roles, paths = object_roles.roles(objects.graph, described), objects.graph.paths()
    names = {key: paths.get(key, key.removesuffix(ATTRIBUTE)) for key in by_key}
    keys = {id(variable): key for key, variable in by_key.items()}
    copies = {id(slot) for each in objects.every for slot in starting_as_weights(each)}
    told = {id(v): name for name, v in ({} if optimizer is None else untracked(optimizer)).items()}
    variables: dict[str, Any] = {}
    targets: dict[str, Target] = {}
    for variable in _ordered(root, by_key.values(), optimizer):
        key = keys.get(id(variable))
        if key is None:  # what Keras keeps, and TensorFlow does not
            name = _free(told.get(id(variable), full_name(variable)), variables)
            role = Role("counter") if id(variable) in told or variable.path.endswith(_STATE) else None
            targets[name] = Target(_dtype(variable), tuple(variable.shape), role=role)
        else:
            name, place, role = names[key], key.removesuffix(ATTRIBUTE), roles[key]
            if "/" not in name and place.startswith("optimizer/"):
                name = place  # Keras numbers it anew each time: Nadam's `variable_1`
            if id(variable) in copies:  # as an average does when its variable starts afresh
                role = role._replace(kind="moving_average")
            others = (key, place, full_name(variable))
            targets[name] = described[key]._replace(
                aliases=tuple(dict.fromkeys(each for each in others if each != name)),
                role=Role(role.kind, None if role.of is None else names[role.of]),
            )
        variables[name] = variable
        targets[name] = targets[name]._replace(trainable=bool(variable.trainable))
    return variables, targets


def _ordered(root: Any, found: Iterable[Any], optimizer: Any) -> Iterable[Any]:
    """Return the variables that a plan is over: of a Keras model in the order in which Keras has them."""
    if not isinstance(root, tf.keras.Model | tf.keras.layers.Layer):
        return found
    weights = {id(weight): weight for weight in root.weights}
    listed = [variable for variable in found if id(variable) in weights]
    listed += [*root.weights, *kept_by(optimizer)]
    listed += random_states(root) if isinstance(root, tf.keras.Model) else ()
    return {id(variable): variable for variable in listed}.values()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name that is not taken yet: two layers in a list may be called the same."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


def _add_place(objects: Objects, targets: dict[str, Target], checkpoint: Checkpoint, *, by_key: bool) -> None:
    """Let variables go by their keys with what these begin with where the root is a part of the checkpoint.

    Args:
        objects: The model's.
        targets: Its variables.
        checkpoint: Where values come from.
        by_key: Whether keys tell anything; otherwise variables go by their names alone.
    """
    keys = set(objects.variables) & {each for target in targets.values() for each in target.aliases}
    place = place_of(keys, checkpoint) if by_key else ""
    for name, target in targets.items():
        moved = tuple(place + key for key in target.aliases if key in keys) if place else ()
        mine = [a for a in target.aliases if by_key or not {a, a + ATTRIBUTE} & keys]
        targets[name] = target._replace(aliases=(*mine, *moved))


def _add_others(
    targets: dict[str, Target],
    binding: Binding,
    objects: Objects,
    stored: ObjectGraph,
    checkpoint: Checkpoint,
    places: Mapping[str, str],
) -> None:
    """Add to the targets what TensorFlow alone can restore: tables and the like, and what is not made yet."""
    roles, paths, variables = checkpoint.roles(), checkpoint.paths(), checkpoint.variables()
    found = {**made_by_tensorflow(binding, objects, stored), **awaited(binding, objects, stored, checkpoint)}
    coming = {
        key: maker
        for value, maker in found.items()
        for key in keys_of(value, variables)
        if roles[key].kind != "metadata"
    }
    names = {key: paths.get(key, _without_marker(key)) for key in coming}
    names = {key: key if name in targets else name for key, name in names.items()}
    known = {**places, **names}
    for key, maker in coming.items():
        role, variable = roles[key], variables[key]
        owner = None if role.of is None else known.get(role.of)
        targets[names[key]] = Target(
            variable.dtype,
            variable.shape,
            trainable=False,
            aliases=(key,) if key != names[key] else (),
            role=Role(role.kind if owner or role.of is None else "counter", owner),
            key=key,
            awaited_by=maker.name,
            obstacle=maker.obstacle,
            remedy=maker.remedy,
        )


def _without_marker(key: str) -> str:
    """Return a key without what marks it as one: of `t/.ATTRIBUTES/table-keys` `t/table-keys`."""
    return key.removesuffix(ATTRIBUTE).replace("/.ATTRIBUTES/", "/")


def _asked(model: Any, checkpoint: Checkpoint, variables: Mapping[str, Any]) -> dict[str, str]:
    """Map variables of a file to those that Keras loads them into; the model keeps its values."""

    def look() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for name, variable in variables.items():
            yield name, np.asarray(variable.numpy())

    if not isinstance(checkpoint, Hdf5Checkpoint):
        return {}
    kept = [(variable, variable.numpy()) for variable in all_variables(model)]
    try:
        return ask_keras(model, checkpoint, look).names
    finally:
        for variable, value in kept:
            variable.assign(value)


def _dtype(variable: Any) -> dtypes.DType:
    dtype = variable.dtype
    return dtypes.as_dtype(dtype if isinstance(dtype, str) else dtype.name)

"""Which values of an object-based checkpoint the objects of a model take, and which come later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.formats.bundle.object_binding import Awaited, Binding, below, follow, starts, trained_nodes
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.graph.contradictions import by_layers, end_of, without_contradictions
from toolkit.graph.optimizers import optimizer_of
from toolkit.graph.slot_order import will_contradict
from toolkit.graph.trackables import Objects, keeps_slots
from toolkit.roles import Role

_BUILD = "build the optimizer first: optimizer.build(model.trainable_variables)"
_saveables = tf.__internal__.tracking.saveable_objects_from_trackable
_VALUE = "VARIABLE_VALUE"
_COUNTER = "save_counter"
"""What `tf.train.Checkpoint` makes when it first saves (tensorflow/python/checkpoint/checkpoint.py)."""


class Maker(NamedTuple):
    """What will make an object that a model does not have yet.

    Attributes:
        name: What a person calls it; empty if the object exists.
        obstacle: Why it cannot be restored when it is made; empty if it can.
        remedy: What to do about that.
    """

    name: str = ""
    obstacle: str = ""
    remedy: str = ""


def binding_of(
    objects: Objects,
    stored: ObjectGraph,
    variables: Mapping[str, Variable],
    targets: Mapping[str, Target],
) -> Binding:
    """Return which of a checkpoint's objects those of a model are.

    The model's root is the checkpoint's. Where weights are missing then, and there is one place in the
    checkpoint from where all are found, it is that one: a model that was saved as a part of something. Or,
    of a model with another head, the one place from where most are found, if that is more than half.

    Args:
        objects: The model's.
        stored: The checkpoint's.
        variables: Its variables, by key.
        targets: The model's.
    """
    weights = {
        alias: target
        for target in targets.values()
        if target.role is not None and target.role.kind == "weight"
        for alias in target.aliases
    }
    wanted = {number: weights[key] for number, key in _keys(objects.graph).items() if key in weights}

    def found(binding: Binding) -> dict[int, str]:
        keys = {number: _key(stored, binding.nodes.get(number)) for number in wanted}
        return {
            number: key
            for number, key in keys.items()
            if key in variables and _fits(variables[key], wanted[number])
        }

    first = follow(objects.graph, stored, attached=objects.attached)
    if not wanted and len(first.met) == 1:
        return _best(objects, stored) or first
    here = len(found(first))
    if here == len(wanted):
        return first
    others: dict[tuple[str, ...], Binding] = {}
    for start in starts(objects.graph, stored):
        binding = follow(objects.graph, stored, start)
        others.setdefault(tuple(sorted(found(binding).values())), binding)
    most = max(map(len, others), default=0)
    best = [binding for keys, binding in others.items() if len(keys) == most]
    return best[0] if len(best) == 1 and most > max(here, len(wanted) // 2) else first


def _best(objects: Objects, stored: ObjectGraph) -> Binding | None:
    """Return how a model without variables is bound from the place with most of its objects, if it is one."""
    bindings = [follow(objects.graph, stored, start) for start in starts(objects.graph, stored)]
    most = max((len(binding.met) for binding in bindings), default=0)
    best = [binding for binding in bindings if len(binding.met) == most]
    return best[0] if len(best) == 1 else None


def placed(
    binding: Binding,
    objects: Objects,
    stored: ObjectGraph,
    checkpoint: Checkpoint,
    names: Mapping[int, str],
    targets: Mapping[str, Target],
) -> dict[str, str]:
    """Return the name of the model's variable that stands where one of the checkpoint's stands, by key.

    There are none where TensorFlow itself would refuse, because shapes or dtypes differ, and the
    checkpoint has what fits by name: layers were added or moved, and places tell nothing.
    """
    variables, places = checkpoint.variables(), dict[str, str]()
    for number, node in binding.nodes.items():
        name = names.get(id(objects.every[number]))
        key = _key(stored, node)
        if name is not None and key in variables:
            places[key] = name
    by_name = {name: key for key, name in checkpoint.paths().items()}
    for key, name in places.items():
        called = by_name.get(name, key)
        if not _fits(variables[key], targets[name]) and _fits(variables[called], targets[name]):
            return {}
    return places


def with_named_layers(
    binding: Binding,
    objects: Objects,
    stored: ObjectGraph,
    checkpoint: Checkpoint,
    names: Mapping[int, str],
    targets: Mapping[str, Target],
) -> tuple[Binding, frozenset[str]]:
    """Return a binding in which the layers of Keras's models that a user named are those of their names.

    Places decide, as in TensorFlow, where the model has the same layers in another order.

    Returns:
        The binding, and the names of the model's variables that places would give the values of others.
    """
    roles, paths = checkpoint.roles(), checkpoint.paths()
    live = {
        names[id(each)]: number
        for number, each in enumerate(objects.every)
        if isinstance(each, tf.keras.Variable) and id(each) in names
    }
    weights = {name: number for name, number in live.items() if _is_weight(targets[name].role)}
    nodes = {value.key: value.node for value in stored.values if value.name == _VALUE}
    theirs = {key: path for key, path in paths.items() if key in nodes and _is_weight(roles.get(key))}
    loaded = {_key(stored, binding.nodes.get(number)): name for name, number in weights.items()}
    loaded = {key: name for key, name in loaded.items() if key in theirs}
    if sorted(map(end_of, weights)) == sorted(map(end_of, theirs.values())):
        return binding, frozenset()
    classes = {type(each).__name__ for each in objects.every if isinstance(each, tf.keras.layers.Layer)}
    kept = without_contradictions(loaded, theirs, weights, classes)
    if len(kept) == len(loaded):
        return binding, frozenset()
    found = by_layers(kept, theirs, weights)
    numbers = {weights[name] for name in loaded.values()}
    bound = {number: node for number, node in binding.nodes.items() if number not in numbers}
    bound.update({weights[name]: nodes[key] for key, name in found.items()})
    return binding._replace(nodes=bound), frozenset(weights.keys() - set(kept.values()))


def _is_weight(role: Role | None) -> bool:
    return role is not None and role.kind == "weight"


def made_by_tensorflow(binding: Binding, objects: Objects, stored: ObjectGraph) -> dict[str, Maker]:
    """Return the values of the model's tables, iterators and the like, which exist: nothing makes them."""
    found = {}
    for number, node in binding.nodes.items():
        alive = objects.every[number]
        values = [value for value in stored.nodes[node].attributes if value.name != _VALUE]
        if values and not isinstance(alive, tf.Variable | tf.keras.Variable) and _saveables(alive):
            found.update({value.checkpoint_key: Maker() for value in values})
    return found


def keys_of(value: str, variables: Iterable[str]) -> list[str]:
    """Return under which keys a value lies: tables and iterators add to the key that the object graph has.

    Source: tensorflow/python/ops/lookup_ops.py (`table` becomes `table-keys`, `table-values`);
    data/ops/iterator_ops.py (`ITERATOR` becomes `ITERATOR_STATE`).
    """
    if value.endswith(_VALUE):
        return [value] if value in variables else []
    return [key for key in variables if key.startswith(value) and "/" not in key[len(value) :]]


def awaited(
    binding: Binding, objects: Objects, stored: ObjectGraph, checkpoint: Checkpoint
) -> dict[str, Maker]:
    """Return the values of what the model does not have yet, each with what will make it.

    An object that is complete will ask for nothing. Nor is anything told of a model of which nothing is there
    yet: it may stand anywhere in the checkpoint.
    """
    if len(binding.met) == 1 and not isinstance(objects.every[0], tf.train.Checkpoint):
        return {}
    makers = {each: _maker(each, objects) for each in binding.awaited}
    problems: dict[int, str] = {}
    for each, maker in makers.items():
        if maker is None:
            continue
        number = _owner(each, objects)
        if number not in problems:
            problems[number] = _not_to_be_followed(number, binding, objects, stored, checkpoint)
        if problems[number]:
            makers[each] = maker._replace(obstacle=f"{maker.name} {problems[number]}", remedy=_BUILD)
    coming = {each: maker for each, maker in makers.items() if maker is not None}
    return {
        value.checkpoint_key: coming[each]
        for node, each in below(stored, coming, binding.met).items()
        for value in stored.nodes[node].attributes
    }


def _maker(each: Awaited, objects: Objects) -> Maker | None:
    """Return the object that will make one that is awaited; `None` if nothing will."""
    number = _owner(each, objects)
    owner = objects.every[number]
    if isinstance(owner, tf.keras.optimizers.Optimizer | tf.keras.layers.Layer):
        makes = not owner.built
    elif isinstance(owner, tf.train.Checkpoint):
        makes = each.name == _COUNTER
    else:
        makes = isinstance(owner, tf.Module) or keeps_slots(owner)
    if not makes:
        return None
    obstacle = _obstacle(objects.every[0])
    while number:
        obstacle = _obstacle(objects.every[number]) or obstacle
        number = objects.owners[number]
    return Maker(_called(owner), *obstacle)


def _owner(each: Awaited, objects: Objects) -> int:
    """Return the number of what has an object that is awaited: no list or dict, but what that is in."""
    number = each.owner
    while number and isinstance(objects.every[number], tf.__internal__.tracking.TrackableDataStructure):
        number = objects.owners[number]
    return number


def _not_to_be_followed(
    number: int, binding: Binding, objects: Objects, stored: ObjectGraph, checkpoint: Checkpoint
) -> str:
    """Return why what an optimizer will make is not what the checkpoint numbers so; empty if it is."""
    if _trains_others(number, binding, objects, stored):
        return "trained other variables than its model does now"
    optimizer, node = objects.every[number], binding.nodes.get(number)
    is_keras = isinstance(optimizer, tf.keras.optimizers.Optimizer)
    if is_keras and node is not None and will_contradict(optimizer, node, stored, checkpoint):
        return "kept other slots than it will now: TensorFlow would give one slot the values of another"
    return ""


def _trains_others(number: int, binding: Binding, objects: Objects, stored: ObjectGraph) -> bool:
    """Return whether an optimizer's model trains other variables than the optimizer in the checkpoint did.

    What it kept for them is numbered by them.
    """
    optimizer = objects.every[number]
    models = (each for each in objects.every if isinstance(each, tf.keras.Model))
    model = next((m for m in models if optimizer in _optimizers(optimizer_of(m))), None)
    if model is None or number not in binding.nodes:
        return False
    trained = trained_nodes(stored, binding.nodes[number])
    numbers = {id(each): number for number, each in enumerate(objects.every)}
    training = [numbers.get(id(variable)) for variable in model.trainable_variables]
    return bool(trained) and trained != [binding.nodes.get(-1 if n is None else n) for n in training]


def _optimizers(optimizer: Any) -> list[Any]:
    """Return an optimizer and the one that is in it and trains the same."""
    return [each for each in (optimizer, getattr(optimizer, "inner_optimizer", None)) if each is not None]


def _obstacle(owner: Any) -> tuple[str, ...]:
    """Return the reason why nothing can be restored while an object is built, and a hint; empty if it can.

    A layer without a `build` of its own Keras builds by calling it in a scope without values. TensorFlow's
    restoring fails there, Keras takes that for its own failure and builds again: with two sets of variables.
    ScheduleFreeAdamW gives its momentum the weights' values after TensorFlow has restored it.

    Source: keras/src/layers/layer.py, _maybe_build; backend/tensorflow/core.py, compute_output_spec;
    optimizers/schedule_free_adamw.py, build.
    """
    is_layer = isinstance(owner, tf.keras.layers.Layer)
    if is_layer and not owner.built and getattr(owner.build, "_is_default", False):
        problem = f"Keras builds {_called(owner)} by tracing it, where TensorFlow cannot restore"
        return problem, "build the model first: call it once"
    if isinstance(owner, tf.keras.optimizers.ScheduleFreeAdamW) and not owner.built:
        problem = f"{_called(owner)} overwrites it when it is built"
        return problem, _BUILD
    return ()


def _called(owner: Any) -> str:
    name = getattr(owner, "name", None)
    kind = type(owner).__name__
    return f"{kind} {name}" if isinstance(name, str) else kind


def _keys(graph: ObjectGraph) -> dict[int, str]:
    """Return the key of each variable, by the number of its object."""
    return {value.node: value.key for value in graph.values if value.name == _VALUE}


def _key(graph: ObjectGraph, node: int | None) -> str:
    """Return the key of a variable's value; empty if the object is none."""
    values = () if node is None else graph.nodes[node].attributes
    return next((value.checkpoint_key for value in values if value.name == _VALUE), "")


def _fits(variable: Variable, target: Target) -> bool:
    return (variable.dtype, variable.shape) == (target.dtype, target.shape)

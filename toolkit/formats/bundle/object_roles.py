"""What the values of an object graph are for: a weight, or something that an optimizer keeps.

Which optimizer a variable belongs to, a key does not tell: Keras 3 keeps a model's own weights under
`optimizer/_trainable_variables` too. It is told by `slot_variables`, by lists, and by full names:

    w/.OPTIMIZER_SLOT/optimizer/m        listed in slot_variables (tf.train, Keras up to 2.10)
    Adam/m/dense/kernel                  a slot of dense/kernel (Keras 2.11 to 2.15)
    optimizer/_momentums/3               a slot of optimizer/_trainable_variables/3 (Keras 3)

Source: tensorflow/core/protobuf/trackable_object_graph.proto; keras/src/optimizers/base_optimizer.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.roles import OBJECT_GRAPH, Described, FlatNames, Role, assign, kept_by_optimizer

_AVERAGE = "average"
"""How the name of a slot that is a moving average ends (tensorflow_addons' and Keras's)."""
_TRAINED, _MADE = "_trainable_variables", "_variables"
"""The lists of a Keras 3 optimizer that are no slots: what it trains, and all that it made."""

_MEAN = {"total", "count"}
_CONFUSION = {"true_positives", "true_negatives", "false_positives", "false_negatives", "total_cm"}
"""What metrics call what they sum up (keras/src/metrics)."""


def roles(graph: ObjectGraph, variables: Mapping[str, Described]) -> dict[str, Role]:
    """Return the role of each of `variables`, in their order.

    Args:
        graph: Of the checkpoint.
        variables: Its variables, by key.
    """
    by_key = {value.key: value for value in graph.values}
    keys = {value.node: value.key for value in graph.values if value.key in variables}
    full_names = {name: key for name, key in graph.full_names().items() if key in variables}
    known = assign({name: variables[key] for name, key in full_names.items()})
    found = {}
    for key, variable in variables.items():
        value = by_key.get(key)
        if key == OBJECT_GRAPH or (value is not None and value.name.endswith("JSON")):
            found[key] = Role("metadata")
        elif value is None:
            found[key] = assign({key: variable})[key]
        else:
            role = known.get(value.full_name) if full_names.get(value.full_name) == key else None
            found[key] = _by_key(role or assign({key: variable})[key], full_names)
    told = {}
    for node, (name, original) in _slots(graph):
        kept, owner = keys.get(node), keys.get(original)
        if kept is not None and owner is not None and kept != owner:
            told[kept] = Role("moving_average" if name.endswith(_AVERAGE) else "slot", owner)
    trained = trained_keys(graph) or frozenset()
    for key in trained & found.keys():
        found[key] = Role("weight")  # also where no way but the optimizer's leads to it
    weights = FlatNames(
        {
            name: variables[key]
            for name, key in full_names.items()
            if found[key].kind == "weight" and not graph.through_optimizer(by_key[key].node)
        }
    )
    for key, variable in variables.items():
        value = by_key.get(key)
        if key in told:
            found[key] = told[key]
        elif value is None or key in trained:
            continue
        elif found[key].kind == "weight" and graph.through_optimizer(value.node):
            weight = weights.owner_of(value.full_name, variable)
            found[key] = kept_by_optimizer(value.full_name, variable, weight and full_names[weight])
    metrics = (_of_metrics(graph) - trained) & found.keys()
    return {key: Role("metric") if key in metrics else role for key, role in found.items()}


def _of_metrics(graph: ObjectGraph) -> set[str]:
    """Return the keys of what metrics sum up.

    They are told by their place, `keras_api/metrics/0/total` (SavedModels of Keras 2), or by what one object
    keeps: `total` and `count`, or numbers of positives and negatives.
    """
    places = {key: f"/{way}" for key, way in graph.object_paths().items()}
    found = {key for key, way in places.items() if "/keras_api/metrics/" in way}
    keys = {value.node: value.key for value in graph.values}
    for node in graph.nodes:
        parts = {child.local_name: keys[child.node_id] for child in node.children if child.node_id in keys}
        if parts.keys() >= _MEAN or (parts and parts.keys() <= _CONFUSION):
            found.update(parts[name] for name in parts.keys() & (_MEAN | _CONFUSION))
    return found


def trained_keys(graph: ObjectGraph) -> frozenset[str] | None:
    """Return the keys of what the optimizers train; `None` if none of them tells."""
    lists = [
        child.node_id
        for number in graph.optimizers
        for child in graph.nodes[number].children
        if child.local_name == _TRAINED
    ]
    nodes = {child.node_id for node in lists for child in graph.nodes[node].children}
    return frozenset(value.key for value in graph.values if value.node in nodes) if nodes else None


def _slots(graph: ObjectGraph) -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield the node of each slot that the graph tells, with the slot's name and its variable's node."""
    for node in graph.nodes:
        for slot in node.slot_variables:
            yield slot.slot_variable_node_id, (slot.slot_name, slot.original_variable_node_id)
    for number in graph.optimizers:
        lists = {child.local_name: child.node_id for child in graph.nodes[number].children}
        if not {_TRAINED, _MADE} <= set(lists):
            continue
        parts = {
            name: {child.local_name: child.node_id for child in graph.nodes[node].children}
            for name, node in lists.items()
        }
        made = set(parts[_MADE].values())
        for name, members in parts.items():
            if name in (_TRAINED, _MADE):
                continue
            for place, node in members.items():
                original = parts[_TRAINED].get(place)
                if node in made and original is not None:
                    yield node, (name, original)


def _by_key(role: Role, full_names: Mapping[str, str]) -> Role:
    """Return a role told by full names, as one told by keys."""
    return role if role.of is None else Role(role.kind, full_names.get(role.of))

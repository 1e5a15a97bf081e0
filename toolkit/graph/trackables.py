"""The variables of TensorFlow's objects, by the keys that `tf.train.Checkpoint` gives them.

A key is the shortest way to a variable through the objects that are kept, in the order in which they were.

Source: tensorflow/python/checkpoint (graph_view.py, trackable_view.py, util.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from toolkit.checkpoint import Checkpoint
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.formats.bundle.schema import message_class
from toolkit.roles import ATTRIBUTE, OBJECT_SLOT

_ROOT = ("_root", "root")
"""What `tf.train.Checkpoint(root)` calls that root (tensorflow/python/checkpoint/checkpoint.py)."""


class Objects(NamedTuple):
    """Objects that live.

    Attributes:
        graph: What a checkpoint would have of them.
        variables: Their variables, by key: TensorFlow's, and Keras's.
        every: All of them, by their numbers in `graph`.
        owners: By these numbers, that of the object which each was found in.
        attached: What `tf.train.Checkpoint(root, name=…)` keeps beside that root.
    """

    graph: ObjectGraph
    variables: dict[str, Any]
    every: list[Any]
    owners: list[int]
    attached: tuple[str, ...]


def variables_of(root: Any) -> dict[str, Any]:
    """Return the variables that are kept with `root`, by key: `objects_of` has more.

    Raises:
        TypeError, ValueError: It keeps none.
    """
    return objects_of(root).variables


def objects_of(root: Any) -> Objects:
    """Return the objects that are kept with `root`.

    Args:
        root: A `tf.Module`, a `tf.train.Checkpoint`, a Keras model: anything that is trackable.

    Raises:
        TypeError, ValueError: It is not.
    """
    view = tf.train.TrackableView(root)
    described = message_class("TrackableObjectGraph")()
    described.nodes.add()
    parents = roots_of(root)
    numbers = {id(parent): 0 for parent in parents}
    ways, found, every, owners = [""], {}, [parents[-1]], [0]
    waiting = [(0, parent) for parent in parents]

    def add(number: int, child: Any, way: str) -> int:
        numbers[id(child)] = len(ways)
        ways.append(way)
        every.append(child)
        owners.append(number)
        node = described.nodes.add()
        if isinstance(child, tf.Variable | tf.keras.Variable):
            found[way + ATTRIBUTE] = child
            node.attributes.add(
                name="VARIABLE_VALUE", full_name=full_name(child), checkpoint_key=way + ATTRIBUTE
            )
        return numbers[id(child)]

    for number, parent in waiting:  # which grows meanwhile
        for name, child in view.children(parent).items():
            if id(child) not in numbers:
                waiting.append((add(number, child, f"{ways[number]}/{_escaped(name)}".lstrip("/")), child))
            if numbers[id(child)]:
                described.nodes[number].children.add(node_id=numbers[id(child)], local_name=name)
    for number, optimizer in enumerate(tuple(every)):
        for original, name, slot in _slots_of(optimizer, every):
            if id(slot) not in numbers:
                way = f"{ways[original]}{OBJECT_SLOT}{ways[number]}/{_escaped(name)}"
                described.nodes[number].slot_variables.add(
                    original_variable_node_id=original,
                    slot_name=name,
                    slot_variable_node_id=add(number, slot, way),
                )
    attached = (
        tuple(n for n in view.children(parents[0]) if n not in ("_root", "root")) if parents[1:] else ()
    )
    attached = tuple(name for name in attached if name not in _ROOT)
    return Objects(ObjectGraph(described.SerializeToString()), found, every, owners, attached)


def keeps_slots(found: Any) -> bool:
    """Return whether an object is an optimizer that keeps slots by name: those of `tf.compat.v1.train`."""
    return "get_slot_names" in dir(found)


def _slots_of(optimizer: Any, every: list[Any]) -> Iterator[tuple[int, str, Any]]:
    """Yield the slots of an optimizer: the number of the variable, the slot's name, and the slot.

    Source: tensorflow/python/checkpoint/util.py, serialize_slot_variables.
    """
    for name in optimizer.get_slot_names() if keeps_slots(optimizer) else ():
        for number, variable in enumerate(every):
            try:
                slot = optimizer.get_slot(variable, name)
            except (AttributeError, KeyError):  # of what is no variable
                continue
            if slot is not None:
                yield number, name, slot


def full_name(variable: Any) -> str:
    """Return the name that a variable had in a graph, or would have: of Keras's, its path."""
    path = getattr(variable, "path", None)
    return path if isinstance(path, str) else str(variable.name).partition(":")[0]


def place_of(keys: Iterable[str], checkpoint: Checkpoint) -> str:
    """Return what the keys of a model begin with in an object-based checkpoint that has it as a part.

    It is empty where they are all there as they are, and where it cannot be told.
    """
    names, keys = checkpoint.variables(), list(keys)
    first = f"/{keys[0]}" if keys else ""
    places = [""] + [name.removesuffix(first[1:]) for name in names if first and name.endswith(first)]
    fitting = [place for place in places if all(place + key in names for key in keys)]
    return fitting[0] if len(fitting) == 1 else ""


def roots_of(root: Any) -> list[Any]:
    """Return what has no name in keys: the root, and of `Checkpoint(root, name=…)` that root."""
    children = tf.train.TrackableView(root).children(root) if isinstance(root, tf.train.Checkpoint) else {}
    if "_root" in children:
        return [root, children["_root"]]
    return [root]


def _escaped(name: str) -> str:
    """Return a name as it stands in keys (trackable_view.py, escape_local_name)."""
    return name.replace(".", "..").replace("/", ".S")

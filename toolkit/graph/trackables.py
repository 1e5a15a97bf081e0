"""The variables of TensorFlow's objects, by the keys that `tf.train.Checkpoint` gives them.

A key is the shortest way to a variable through the objects that are kept, in the order in which they were.

Source: tensorflow/python/checkpoint (graph_view.py, trackable_view.py, util.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from toolkit.checkpoint import Checkpoint
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.formats.bundle.schema import message_class
from toolkit.roles import ATTRIBUTE


class Objects(NamedTuple):
    """Objects that live.

    Attributes:
        graph: What a checkpoint would have of them.
        variables: Their variables, by key: TensorFlow's, and Keras's.
    """

    graph: ObjectGraph
    variables: dict[str, Any]


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
    numbers, ways, found = {id(root): 0}, [""], {}
    waiting = [(0, parent) for parent in _roots(root, view)]
    numbers.update({id(parent): 0 for _, parent in waiting})
    for number, parent in waiting:  # which grows meanwhile
        for name, child in view.children(parent).items():
            if id(child) not in numbers:
                way = f"{ways[number]}/{_escaped(name)}".lstrip("/")
                numbers[id(child)] = len(ways)
                waiting.append((len(ways), child))
                ways.append(way)
                node = described.nodes.add()
                if isinstance(child, tf.Variable | tf.keras.Variable):
                    found[way + ATTRIBUTE] = child
                    node.attributes.add(
                        name="VARIABLE_VALUE", full_name=full_name(child), checkpoint_key=way + ATTRIBUTE
                    )
            if numbers[id(child)]:
                described.nodes[number].children.add(node_id=numbers[id(child)], local_name=name)
    return Objects(ObjectGraph(described.SerializeToString()), found)


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


def _roots(root: Any, view: Any) -> list[Any]:
    """Return what has no name in keys: the root, and of `Checkpoint(root, name=…)` that root."""
    if isinstance(root, tf.train.Checkpoint) and "_root" in (children := view.children(root)):
        return [root, children["_root"]]
    return [root]


def _escaped(name: str) -> str:
    """Return a name as it stands in keys (trackable_view.py, escape_local_name)."""
    return name.replace(".", "..").replace("/", ".S")

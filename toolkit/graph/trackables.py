"""The variables of TensorFlow's objects, by the keys that `tf.train.Checkpoint` gives them.

A key is the shortest way to a variable through the objects that are kept, in the order in which they were.

Source: tensorflow/python/checkpoint (graph_view.py, trackable_view.py, util.py).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import tensorflow as tf

from toolkit.roles import ATTRIBUTE


def variables_of(root: Any) -> dict[str, Any]:
    """Return the variables that are kept with `root`, by key: TensorFlow's, and Keras's.

    Args:
        root: A `tf.Module`, a `tf.train.Checkpoint`, a Keras model: anything that is trackable.

    Raises:
        TypeError, ValueError: It is not.
    """
    view = tf.train.TrackableView(root)
    ways: dict[int, str] = {id(root): ""}
    found: dict[str, Any] = {}
    waiting = deque([root])
    if isinstance(root, tf.train.Checkpoint):  # Checkpoint(root, name=…): its own name for that is in no key
        for name, child in view.children(root).items():
            if name == "_root":
                ways[id(child)] = ""
                waiting.append(child)
    while waiting:
        parent = waiting.popleft()
        for name, child in view.children(parent).items():
            if id(child) in ways:
                continue
            way = f"{ways[id(parent)]}/{_escaped(name)}".lstrip("/")
            ways[id(child)] = way
            waiting.append(child)
            if isinstance(child, tf.Variable | tf.keras.Variable):
                found[way + ATTRIBUTE] = child
    return found


def _escaped(name: str) -> str:
    """Return a name as it stands in keys (trackable_view.py, escape_local_name)."""
    return name.replace(".", "..").replace("/", ".S")

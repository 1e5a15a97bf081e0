"""What only TensorFlow can restore: tables and iterators, and what does not exist yet, when it is made.

TensorFlow gets the checkpoint's object graph with the values that a plan leaves to it, and no others: it can
overwrite nothing that the plan has given a value.

This is the one place that uses private names of TensorFlow's: there is no public way to restore a part.
Source: tensorflow/python/checkpoint (checkpoint.py, TrackableSaver.restore; restore.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint import checkpoint as tf_checkpoint
from tensorflow.python.checkpoint import restore as tf_restore

from toolkit.errors import ModelError
from toolkit.graph.failures import reason
from toolkit.graph.placing import keys_of
from toolkit.graph.trackables import roots_of


def restore_by_tensorflow(root: Any, prefix: str, start: int, keys: Collection[str]) -> None:
    """Let TensorFlow restore some values of a checkpoint: now what exists, and the rest when it is made.

    Args:
        root: A `tf.Module`, a `tf.train.Checkpoint` or a Keras model.
        prefix: Of an object-based checkpoint. What is awaited is read from it later.
        start: The number of the checkpoint's object that `root` is.
        keys: Of the values, as the checkpoint has them.

    Raises:
        ModelError: TensorFlow refuses one.
    """
    reader = tf.train.load_checkpoint(prefix)
    graph = tf_checkpoint.trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    _keep(graph, frozenset(keys))
    above, *inner = roots_of(root)
    view = tf_checkpoint.graph_view_lib.ObjectGraphView(root)
    with tf.device("CPU:0"):
        prefix_tensor = tf.constant(prefix)
    coordinator = tf_checkpoint._CheckpointRestoreCoordinator(
        object_graph_proto=graph,
        save_path=prefix,
        save_path_tensor=prefix_tensor,
        reader=reader,
        restore_op_cache={},
        graph_view=view,
        options=tf.train.CheckpointOptions(),
        saveables_cache=None,
    )
    coordinator.expect_partial = True

    def restore(number: int, found: Any) -> None:
        tf_restore.CheckpointPosition(coordinator, number).restore(found, reader)

    try:
        restore(start, inner[0] if inner else above)
        if inner:
            attached = tf.train.TrackableView(root).children(above)
            for child in graph.nodes[start].children:
                if child.local_name in attached and child.node_id not in coordinator.object_by_proto_id:
                    restore(child.node_id, attached[child.local_name])
    except (tf.errors.OpError, ValueError) as error:
        said = reason(error) if isinstance(error, tf.errors.OpError) else " ".join(str(error).split())
        raise ModelError(f"{prefix}: TensorFlow does not restore it: {said}") from error


def _keep(graph: Any, keys: frozenset[str]) -> None:
    """Take from an object graph all values but those of `keys`."""
    for node in graph.nodes:
        kept = [value for value in node.attributes if keys_of(value.checkpoint_key, keys)]
        if len(kept) < len(node.attributes):
            kept = [type(value).FromString(value.SerializeToString()) for value in kept]
            del node.attributes[:]
            node.attributes.extend(kept)
        if not kept:
            node.ClearField("registered_saver")
    for node in graph.nodes:
        slots = [slot for slot in node.slot_variables if graph.nodes[slot.slot_variable_node_id].attributes]
        if len(slots) < len(node.slot_variables):
            slots = [type(slot).FromString(slot.SerializeToString()) for slot in slots]
            del node.slot_variables[:]
            node.slot_variables.extend(slots)

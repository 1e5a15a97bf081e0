"""Two object graphs in one: objects of the same path become one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

from toolkit.formats.bundle.object_edit import ObjectEditor


class Joined(NamedTuple):
    """Two object graphs in one.

    Attributes:
        serialized: The TrackableObjectGraph.
        keys: The key under which each value of the second is in it, by its key before, where that is another.
    """

    serialized: bytes
    keys: dict[str, str]


def join(first: ObjectEditor, second: ObjectEditor, taken: Collection[str]) -> Joined:
    """Return the objects of both graphs in one.

    A value of both has the key of the first. Of the second, a key that is taken by another object's value
    is followed by a number.

    Args:
        first: Changed.
        second: Not changed.
        taken: The keys that there are, of the first.
    """
    nodes, others = first.message.nodes, second.message.nodes
    meant = {0: 0}
    waiting = deque([0])
    keys: dict[str, str] = {}
    taken = set(taken)
    while waiting:
        number = waiting.popleft()
        other, ours = others[number], nodes[meant[number]]
        if other.HasField("has_checkpoint_values") and other.has_checkpoint_values.value:
            ours.has_checkpoint_values.value = True
        _join_values(ours, other, keys, taken)
        known = {edge.local_name: edge.node_id for edge in ours.children}
        for edge in other.children:
            if edge.node_id not in meant:
                if edge.local_name in known:
                    meant[edge.node_id] = known[edge.local_name]
                else:
                    nodes.add()
                    meant[edge.node_id] = len(nodes) - 1
                waiting.append(edge.node_id)
            if edge.local_name not in known:
                ours = nodes[meant[number]]
                ours.children.add(node_id=meant[edge.node_id], local_name=edge.local_name)
    _join_slots(nodes, others, meant, keys, taken)
    return Joined(first.serialized, {old: new for old, new in keys.items() if old != new})


def _join_values(ours: Any, other: Any, keys: dict[str, str], taken: set[str]) -> None:
    """Give one of our nodes the values of another; a value of both keeps our key."""
    known = {attribute.name: attribute.checkpoint_key for attribute in ours.attributes}
    for attribute in other.attributes:
        key = attribute.checkpoint_key
        if attribute.name in known:
            keys[key] = known[attribute.name]
            continue
        free = key
        number = 1
        while free in taken:
            free, number = f"{key}_{number}", number + 1
        taken.add(free)
        keys[key] = free
        added = ours.attributes.add()
        added.CopyFrom(attribute)
        added.checkpoint_key = free


def _join_slots(
    nodes: Any, others: Any, meant: dict[int, int], keys: dict[str, str], taken: set[str]
) -> None:
    """Add the slots of the second graph's optimizers."""
    for number, mine in list(meant.items()):
        known = {
            (slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
            for slot in nodes[mine].slot_variables
        }
        for slot in others[number].slot_variables:
            original = meant.get(slot.original_variable_node_id)
            if original is None:
                continue
            there = known.get((original, slot.slot_name), meant.get(slot.slot_variable_node_id))
            if there is None:
                nodes.add()
                there = len(nodes) - 1
            meant[slot.slot_variable_node_id] = there
            _join_values(nodes[there], others[slot.slot_variable_node_id], keys, taken)
            if (original, slot.slot_name) not in known:
                nodes[mine].slot_variables.add(
                    original_variable_node_id=original,
                    slot_name=slot.slot_name,
                    slot_variable_node_id=there,
                )

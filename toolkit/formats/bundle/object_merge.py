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


class DifferentObjectsError(ValueError):
    """What is one object in one graph is two in the other. The caller says of which checkpoints."""


def join(first: ObjectEditor, second: ObjectEditor, taken: Collection[str]) -> Joined:
    """Return the objects of both graphs in one: those that ways of the same names lead to are the same.

    Ways that do not pass through an optimizer count before those that do: its lists are by number.

    A value of both has the key of the first. Of the second, a key that is taken by another object's value
    is followed by a number.

    Args:
        first: Changed.
        second: Not changed.
        taken: The keys that there are, of the first.

    Raises:
        DifferentObjectsError: The same ways lead to objects that cannot be the same.
    """
    nodes, others = first.message.nodes, second.message.nodes
    optimizers = second.graph.optimizers
    meant = _same(nodes, others, optimizers)
    keys: dict[str, str] = {}
    taken = set(taken)
    for number, mine in meant.items():
        if others[number].HasField("has_checkpoint_values") and others[number].has_checkpoint_values.value:
            nodes[mine].has_checkpoint_values.value = True
        _join_values(nodes[mine], others[number], keys, taken)
    _join_slots(nodes, others, meant, keys, taken)
    return Joined(first.serialized, {old: new for old, new in keys.items() if old != new})


def _same(nodes: Any, others: Any, optimizers: Collection[int]) -> dict[int, int]:
    """Return which of our nodes each of the others is, adding those that we lack, and edges."""
    meant, claimed = {0: 0}, {0: 0}
    waiting, later = deque([(0, "")]), deque[tuple[int, str]]()
    while waiting or later:
        number, way = (waiting or later).popleft()
        ours = nodes[meant[number]]
        known = {edge.local_name: edge.node_id for edge in ours.children}
        for edge in others[number].children:
            path = f"{way}/{edge.local_name}".lstrip("/")
            there, mine = known.get(edge.local_name), meant.get(edge.node_id)
            if mine is None:
                if there is None:
                    nodes.add()
                    mine = len(nodes) - 1
                else:
                    mine = there
                if claimed.setdefault(mine, edge.node_id) != edge.node_id:
                    raise DifferentObjectsError(path)
                meant[edge.node_id] = mine
                (later if edge.node_id in optimizers else waiting).append((edge.node_id, path))
            elif there is not None and there != mine:
                raise DifferentObjectsError(path)
            if there is None:
                nodes[meant[number]].children.add(node_id=mine, local_name=edge.local_name)
    return meant


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

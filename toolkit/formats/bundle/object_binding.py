"""Map the objects of a model to those of a checkpoint: by edges of the same names, from the root.

TensorFlow restores in this way: breadth first, and the first way to an object counts. An object that the
model does not have yet is awaited by the one that would have it.

Source: tensorflow/python/checkpoint/restore.py (CheckpointPosition._restore_descendants,
_queue_children_for_restoration, _queue_slot_variables); checkpoint.py, TrackableSaver.restore.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from toolkit.formats.bundle.object_graph import ObjectGraph

_MAX_STARTS = 50
"""How many objects of a checkpoint are tried as the model's root."""


class Awaited(NamedTuple):
    """An object of a checkpoint that the model does not have yet.

    Attributes:
        owner: The number of the model's object that would have it.
        name: By what name; of a slot, the slot's.
        node: Its number in the checkpoint.
    """

    owner: int
    name: str
    node: int


class Binding(NamedTuple):
    """What belongs together.

    Attributes:
        start: The checkpoint's object that is the model's root.
        nodes: By numbers of the model's objects, those of the checkpoint's whose values they take.
        met: All of the checkpoint's that are the model's, too.
        awaited: What of the checkpoint the model does not have yet.
    """

    start: int
    nodes: dict[int, int]
    met: frozenset[int]
    awaited: tuple[Awaited, ...]


def follow(
    live: ObjectGraph, stored: ObjectGraph, start: int = 0, *, attached: Collection[str] = ()
) -> Binding:
    """Bind the objects of a model to those of a checkpoint.

    Args:
        live: The model's objects.
        stored: The checkpoint's.
        start: The checkpoint's object that is the model's root.
        attached: Names at the root that are followed after all others, as TensorFlow does with
            `Checkpoint(root, name=…)`.
    """
    children = [{child.local_name: child.node_id for child in node.children} for node in live.nodes]
    later = {name: children[0].pop(name) for name in attached if name in children[0]}
    named = {child.local_name: child.node_id for child in stored.nodes[start].children}
    bound, nodes, awaited = {start: 0}, {0: start}, []
    waiting = deque([(start, 0)])

    def bind(node: int, mine: int) -> None:
        bound[node] = mine
        nodes.setdefault(mine, node)
        waiting.append((node, mine))

    while waiting:
        node, mine = waiting.popleft()
        for child in stored.nodes[node].children:
            if child.node_id in bound:
                continue
            if (found := children[mine].get(child.local_name)) is not None:
                bind(child.node_id, found)
            elif not (mine == 0 and child.local_name in later):
                awaited.append(Awaited(mine, child.local_name, child.node_id))
        while later and not waiting:
            name = next(iter(later))
            found = later.pop(name)
            if (theirs := named.get(name)) is not None and theirs not in bound:
                bind(theirs, found)
    slots = {
        (number, slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
        for number, node in enumerate(live.nodes)
        for slot in node.slot_variables
    }
    for number, mine in list(bound.items()):
        for slot in stored.nodes[number].slot_variables:
            original = bound.get(slot.original_variable_node_id)
            if original is None or slot.slot_variable_node_id in bound:
                continue
            if (found := slots.get((mine, original, slot.slot_name))) is not None:
                bind(slot.slot_variable_node_id, found)
            else:
                awaited.append(Awaited(mine, slot.slot_name, slot.slot_variable_node_id))
    awaited = [each for each in awaited if each.node not in bound]
    return Binding(start, nodes, frozenset(bound), tuple(awaited))


def starts(live: ObjectGraph, stored: ObjectGraph) -> list[int]:
    """Return the objects of a checkpoint that may be the model's root, without the checkpoint's own.

    They have children of the names that the model's root has; those with the most names come first.
    """
    names = {child.local_name for child in live.nodes[0].children}
    shared = {
        number: len(names & {child.local_name for child in node.children})
        for number, node in enumerate(stored.nodes)
        if number
    }
    found = [number for number, count in shared.items() if count]
    return sorted(found, key=lambda number: -shared[number])[:_MAX_STARTS]


def below(stored: ObjectGraph, awaited: Iterable[Awaited], bound: Collection[int]) -> dict[int, Awaited]:
    """Return, by number, all objects that come with those that are awaited, each with the one it comes with.

    Args:
        stored: The checkpoint's objects.
        awaited: What the model does not have yet.
        bound: What it has.
    """
    found: dict[int, Awaited] = {}
    waiting = deque((each, each.node) for each in awaited)
    while waiting:
        each, node = waiting.popleft()
        if node in found or node in bound:
            continue
        found[node] = each
        waiting += [(each, child.node_id) for child in stored.nodes[node].children]
        waiting += [(each, slot.slot_variable_node_id) for slot in stored.nodes[node].slot_variables]
    return found

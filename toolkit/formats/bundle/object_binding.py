"""Map the objects of a model to those of a checkpoint: by edges of the same names, from the root.

TensorFlow restores in this way: breadth first, and the first way to an object counts. An object that the
model does not have yet is awaited by the one that would have it.

Source: tensorflow/python/checkpoint/restore.py (CheckpointPosition._restore_descendants,
_queue_children_for_restoration, _queue_slot_variables); checkpoint.py, TrackableSaver.restore.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from toolkit.formats.bundle.object_graph import ObjectGraph

_TRAINED, _MADE = "_trainable_variables", "_variables"
"""The lists of a Keras 3 optimizer that are no slots: what it trains, and all that it made."""
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

    Optimizers come last. TensorFlow meets the weights first in the list of what an optimizer trains, where
    they have other numbers as soon as a layer is frozen: weights and slots then get the values of others.
    Here the weights are bound already, and tell which slots are whose.

    Args:
        live: The model's objects.
        stored: The checkpoint's.
        start: The checkpoint's object that is the model's root.
        attached: Names at the root that are followed after all others, as TensorFlow does with
            `Checkpoint(root, name=…)`.
    """
    walk = _Walk(live, stored, start)
    walk.go(attached)
    for number, mine in list(walk.bound.items()):
        walk.bind_listed_slots(number, mine)
    awaited = [each for each in walk.awaited if each.node not in walk.bound]
    return Binding(start, walk.nodes, frozenset(walk.bound), tuple(awaited))


class _Walk:
    """A walk through the objects of a model and of a checkpoint at once."""

    def __init__(self, live: ObjectGraph, stored: ObjectGraph, start: int) -> None:
        self._stored = stored
        self._start = start
        self._children = [_by_name(node) for node in live.nodes]
        self._slots = {
            (number, slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
            for number, node in enumerate(live.nodes)
            for slot in node.slot_variables
        }
        self._waiting = deque([(start, 0)])
        self._held: deque[tuple[int, int]] = deque()
        self.bound = {start: 0}
        self.nodes = {0: start}
        self.awaited: list[Awaited] = []

    def go(self, attached: Collection[str]) -> None:
        """Follow all edges: first those of no optimizer."""
        root = self._children[0]
        later = {name: root.pop(name) for name in attached if name in root}
        named = _by_name(self._stored.nodes[self._start])
        while self._waiting or later or self._held:
            if self._waiting:
                node, mine = self._waiting.popleft()
                if node in self._stored.optimizers and node != self._start:
                    self._held.append((node, mine))
                else:
                    self._follow(node, mine, awaiting=set(later) if mine == 0 else ())
            elif later:
                name = next(iter(later))
                self._bind(named.get(name), later.pop(name))
            else:
                self._follow_optimizer(*self._held.popleft())

    def bind_listed_slots(self, number: int, mine: int) -> None:
        """Bind the slots that an optimizer lists: those of `tf.train`, and of Keras up to 2.10."""
        for slot in self._stored.nodes[number].slot_variables:
            original = self.bound.get(slot.original_variable_node_id)
            if original is None or slot.slot_variable_node_id in self.bound:
                continue
            if (found := self._slots.get((mine, original, slot.slot_name))) is not None:
                self._bind(slot.slot_variable_node_id, found)
            else:
                self.awaited.append(Awaited(mine, slot.slot_name, slot.slot_variable_node_id))

    def _follow(
        self, node: int, mine: int, *, but: Collection[str] = (), awaiting: Collection[str] = ()
    ) -> None:
        for child in self._stored.nodes[node].children:
            if child.local_name in but:
                continue
            found = self._children[mine].get(child.local_name)
            if found is not None:
                self._bind(child.node_id, found)
            elif child.local_name not in awaiting and child.node_id not in self.bound:
                self.awaited.append(Awaited(mine, child.local_name, child.node_id))

    def _follow_optimizer(self, node: int, mine: int) -> None:
        """Follow the edges of an optimizer; where it trains others than in the model, slots go by these."""
        theirs, ours = _by_name(self._stored.nodes[node]), self._children[mine]
        trained = self._members(theirs.get(_TRAINED))
        training = {} if _TRAINED not in ours else self._children[ours[_TRAINED]]
        bound = [self.bound.get(each) for each in trained.values()]
        if not training or not trained or bound == list(training.values()):
            self._follow(node, mine)
            return
        lists = {name for name, each in theirs.items() if self._is_of_values(each)}
        places = {number: name for name, number in training.items()}
        for name in lists - {_TRAINED, _MADE}:
            slots = self._children[ours[name]] if name in ours else {}
            for place, slot in self._members(theirs[name]).items():
                owner = places.get(self.bound.get(trained.get(place, -1), -1))
                self._bind(slot, slots.get(owner) if owner is not None else None)
        self._follow(node, mine, but=lists)

    def _bind(self, node: int | None, mine: int | None) -> None:
        if node is not None and mine is not None and node not in self.bound:
            self.bound[node] = mine
            self.nodes.setdefault(mine, node)
            self._waiting.append((node, mine))

    def _members(self, node: int | None) -> dict[str, int]:
        return {} if node is None else _by_name(self._stored.nodes[node])

    def _is_of_values(self, node: int) -> bool:
        """Return whether an object is a list of variables."""
        members = self._members(node)
        return bool(members) and all(
            name.isdecimal() and self._stored.nodes[each].attributes for name, each in members.items()
        )


def _by_name(node: Any) -> dict[str, int]:
    return {child.local_name: child.node_id for child in node.children}


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


def trained_nodes(stored: ObjectGraph, optimizer: int) -> list[int]:
    """Return the numbers of the variables that a Keras 3 optimizer trained, in order, if it tells."""
    return _listed(stored, optimizer, _TRAINED)


def made_nodes(stored: ObjectGraph, optimizer: int) -> list[int]:
    """Return the numbers of all that a Keras 3 optimizer made, in order, if it tells."""
    return _listed(stored, optimizer, _MADE)


def _listed(stored: ObjectGraph, optimizer: int, name: str) -> list[int]:
    members = _by_name(stored.nodes[optimizer]).get(name)
    return [] if members is None else list(_by_name(stored.nodes[members]).values())

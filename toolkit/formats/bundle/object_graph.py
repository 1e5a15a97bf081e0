"""The object graph of a TF2 checkpoint: what its keys are called by people.

Under `_CHECKPOINTABLE_OBJECT_GRAPH` lies, as a string, a TrackableObjectGraph: nodes, each with children by
name, the keys of its values, and the slots that it keeps for variables. A node may be reached in several
ways, and the graph may have circles.

Source: tensorflow/core/protobuf/trackable_object_graph.proto; tensorflow/python/checkpoint.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from toolkit.formats.bundle.schema import MessageError, parse

_STEPS = {"iterations", "_iterations", "iter", "_iter", "step"}
_RATES = {"learning_rate", "_learning_rate", "_variables", "decay"}
"""What an optimizer has among its children: one of each."""

WRAPPED = ("inner_optimizer", "base_optimizer")
"""What an optimizer that scales losses calls the one that it wraps (Keras 3; Keras 2)."""


class Value(NamedTuple):
    """A value of a node: which one, its key, and the name its variable has in a graph."""

    node: int
    name: str
    key: str
    full_name: str


class _Slot(NamedTuple):
    """A slot as a step on the way: its name, and the node of its variable."""

    name: str
    of: int


class ObjectGraph:
    """An object graph.

    Attributes:
        nodes: The TrackableObjectGraph's; all refer to one another by their numbers here.
        values: What they keep.
        optimizers: The numbers of those that are optimizers.

    Args:
        serialized: The TrackableObjectGraph.

    Raises:
        MessageError: It is none, or refers to nodes that do not exist.
    """

    def __init__(self, serialized: bytes) -> None:
        self.nodes = parse("TrackableObjectGraph", serialized).nodes
        if not self.nodes:
            raise MessageError("expected a root, got no nodes")
        for number, node in enumerate(self.nodes):
            named = [child.node_id for child in node.children]
            for slot in node.slot_variables:
                named += [slot.original_variable_node_id, slot.slot_variable_node_id]
            if any(not 0 <= other < len(self.nodes) for other in named):
                raise MessageError(f"node {number}: refers to a node that does not exist")
        self.values = [
            Value(number, value.name, value.checkpoint_key, value.full_name)
            for number, node in enumerate(self.nodes)
            for value in node.attributes
        ]
        self.optimizers = {number for number, node in enumerate(self.nodes) if _is_optimizer(node)}
        self.optimizers |= {
            number
            for number, node in enumerate(self.nodes)
            for child in node.children
            if child.local_name in WRAPPED and child.node_id in self.optimizers
        }
        self._ways = self._shortest_ways()

    def object_paths(self) -> dict[str, str]:
        """Return, by key, the shortest way to each value: the names of the objects on it, with `/`.

        Ways that do not pass through an optimizer come before those that do. The order is that in which
        the objects were given their parts: of a Keras layer's weights, that in which Keras lists them.
        """
        found: dict[str, str] = {}
        met = {node: number for number, node in enumerate(self._depth_first())}
        for value in sorted(self.values, key=lambda value: met[value.node]):
            segments = [*self._way(value.node), *([value.name] if value.name != "VARIABLE_VALUE" else [])]
            found.setdefault(value.key, "/".join(segments) or value.key)
        return found

    def paths(self) -> dict[str, str]:
        """Return, by key, what a person calls each value: its full name if that is unique, else the way."""
        ways = self.object_paths()
        full_names = {key: name for name, key in self.full_names().items()}
        paths = {key: full_names.get(key, way) for key, way in ways.items()}
        again = Counter(paths.values())
        return {key: path for key, path in paths.items() if again[path] == 1}

    def full_names(self) -> dict[str, str]:
        """Return the key of each value, by its full name where that is unique."""
        times = Counter(value.full_name for value in self.values)
        return {v.full_name: v.key for v in self.values if v.full_name and times[v.full_name] == 1}

    def through_optimizer(self, node: int) -> bool:
        """Return whether every way to a node passes through an optimizer."""
        return self._ways[node][2]

    def _depth_first(self) -> Iterable[int]:
        """Return all nodes: each before its parts, and of those the values before the objects."""
        waiting = [*range(len(self.nodes) - 1, 0, -1), *sorted(self.optimizers), 0]
        met: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number in met:
                continue
            met.add(number)
            yield number
            parts = [node for _, node in self._children(number) if node not in self.optimizers]
            waiting += sorted(parts, key=lambda node: not self.nodes[node].attributes)[::-1]

    def _way(self, node: int) -> list[str]:
        """Return the names on the shortest way from the root to a node."""
        names = []
        before, name, _ = self._ways[node]
        while before is not None:
            names.append(name if isinstance(name, str) else self._called(name))
            before, name, _ = self._ways[before]
        return names[::-1]

    def _called(self, slot: _Slot) -> str:
        """Return what a slot is called among those of its optimizer: `m of net.w`."""
        before, name, _ = self._ways[slot.of]
        names = []
        while before is not None and isinstance(name, str):
            names.append(name)
            before, name, _ = self._ways[before]
        return f"{slot.name} of {'.'.join(reversed(names))}"

    def _shortest_ways(self) -> list[tuple[int | None, str | _Slot, bool]]:
        """Return for each node the one before it, its name there, and whether an optimizer is on the way."""
        ways: list[tuple[int | None, str | _Slot, bool]] = [(None, "", True)] * len(self.nodes)
        reached: set[int] = set()
        later: list[tuple[int, int, str | _Slot]] = []
        for through in (False, True):
            waiting: deque[int] = deque()
            if not through and self.nodes:
                ways[0] = (None, "", False)
                reached.add(0)
                waiting.append(0)
            for before, node, name in later if through else []:
                if node not in reached:
                    reached.add(node)
                    ways[node] = (before, name, True)
                    waiting.append(node)
            while waiting:
                before = waiting.popleft()
                for name, node in self._children(before):
                    if node in reached:
                        continue
                    if not through and before in self.optimizers:
                        later.append((before, node, name))
                        continue
                    reached.add(node)
                    ways[node] = (before, name, through)
                    waiting.append(node)
        return ways

    def _children(self, number: int) -> Iterable[tuple[str | _Slot, int]]:
        """Return the children of a node, and the slots that an optimizer keeps."""
        node = self.nodes[number]
        for child in node.children:
            yield child.local_name, child.node_id
        for slot in node.slot_variables:
            yield _Slot(slot.slot_name, slot.original_variable_node_id), slot.slot_variable_node_id


def _is_optimizer(node: Any) -> bool:
    names = {child.local_name for child in node.children}
    return bool(node.slot_variables) or bool(names & _STEPS and names & _RATES)

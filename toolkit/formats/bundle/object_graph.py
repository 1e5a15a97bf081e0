"""The object graph of a TF2 checkpoint: what its keys are called by people, and what they are for.

Under `_CHECKPOINTABLE_OBJECT_GRAPH` lies, as a string, a TrackableObjectGraph: nodes, each with children by
name, the keys of its values, and the slots that it keeps for variables. A node may be reached in several
ways, and the graph may have circles.

Which optimizer a variable belongs to, a key does not tell: Keras 3 keeps a model's own weights under
`optimizer/_trainable_variables` too. It is told by `slot_variables` and by full names:

    w/.OPTIMIZER_SLOT/optimizer/m       listed in slot_variables (tf.train, Keras up to 2.10)
    Adam/m/dense/kernel                 a slot of dense/kernel (Keras 2.11 to 2.15)
    adam/sequential_dense_kernel_m…     a slot of sequential/dense/kernel (Keras 3)

Source: tensorflow/core/protobuf/trackable_object_graph.proto; keras/src/optimizers/base_optimizer.py.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toolkit.formats.bundle.schema import MessageError, parse
from toolkit.roles import OBJECT_GRAPH, Described, Role, assign, kept_by_optimizer, owner_of_flat

_STEPS = {"iterations", "_iterations", "iter", "_iter", "step"}
_RATES = {"learning_rate", "_learning_rate", "_variables", "decay"}
"""What an optimizer has among its children: one of each."""
_AVERAGE = "average"
"""The name of a slot that is a moving average (tensorflow_addons' and Keras's)."""


class _Value(NamedTuple):
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

    Args:
        serialized: The TrackableObjectGraph.

    Raises:
        MessageError: It is none, or refers to nodes that do not exist.
    """

    def __init__(self, serialized: bytes) -> None:
        self._nodes = parse("TrackableObjectGraph", serialized).nodes
        for number, node in enumerate(self._nodes):
            named = [child.node_id for child in node.children]
            for slot in node.slot_variables:
                named += [slot.original_variable_node_id, slot.slot_variable_node_id]
            if any(not 0 <= other < len(self._nodes) for other in named):
                raise MessageError(f"node {number}: refers to a node that does not exist")
        self._values = [
            _Value(number, value.name, value.checkpoint_key, value.full_name)
            for number, node in enumerate(self._nodes)
            for value in node.attributes
        ]
        self._optimizers = {number for number, node in enumerate(self._nodes) if _is_optimizer(node)}
        self._ways = self._shortest_ways()

    def object_paths(self) -> dict[str, str]:
        """Return, by key, the shortest way to each value: the names of the objects on it, with `/`.

        Ways that do not pass through an optimizer come before those that do.
        """
        found: dict[str, str] = {}
        for value in self._values:
            segments = [*self._way(value.node), *([value.name] if value.name != "VARIABLE_VALUE" else [])]
            found.setdefault(value.key, "/".join(segments) or value.key)
        return found

    def paths(self) -> dict[str, str]:
        """Return, by key, what a person calls each value: its full name if that is unique, else the way."""
        ways = self.object_paths()
        full_names = {key: name for name, key in self._full_names().items()}
        paths = {key: full_names.get(key, way) for key, way in ways.items()}
        again = Counter(paths.values())
        return {key: path for key, path in paths.items() if again[path] == 1}

    def roles(self, variables: Mapping[str, Described]) -> dict[str, Role]:
        """Return the role of each of `variables`, in their order."""
        by_key = {value.key: value for value in self._values}
        keys = {value.node: value.key for value in self._values if value.key in variables}
        full_names = {name: key for name, key in self._full_names().items() if key in variables}
        known = assign({name: variables[key] for name, key in full_names.items()})
        roles = {}
        for key, variable in variables.items():
            value = by_key.get(key)
            if key == OBJECT_GRAPH or (value is not None and value.name.endswith("JSON")):
                roles[key] = Role("metadata")
            elif value is None:
                roles[key] = assign({key: variable})[key]
            else:
                role = known.get(value.full_name) if full_names.get(value.full_name) == key else None
                roles[key] = _by_key(role or assign({key: variable})[key], full_names)
        weights = {
            name: variables[key]
            for name, key in full_names.items()
            if roles[key].kind == "weight" and not self._through_optimizer(by_key[key].node)
        }
        for key, variable in variables.items():
            value = by_key.get(key)
            if value is not None and roles[key].kind == "weight" and self._through_optimizer(value.node):
                owner = owner_of_flat(value.full_name, variable, weights)
                roles[key] = kept_by_optimizer(value.full_name, variable, owner and full_names[owner])
        for slot in (slot for node in self._nodes for slot in node.slot_variables):
            kept, original = keys.get(slot.slot_variable_node_id), keys.get(slot.original_variable_node_id)
            if kept is not None and original is not None and kept != original:
                roles[kept] = Role("moving_average" if slot.slot_name == _AVERAGE else "slot", original)
        return roles

    def _full_names(self) -> dict[str, str]:
        """Return the key of each value, by its full name where that is unique."""
        times = Counter(value.full_name for value in self._values)
        return {v.full_name: v.key for v in self._values if v.full_name and times[v.full_name] == 1}

    def _through_optimizer(self, node: int) -> bool:
        """Return whether every way to a node passes through an optimizer."""
        return self._ways[node][2]

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
        ways: list[tuple[int | None, str | _Slot, bool]] = [(None, "", True)] * len(self._nodes)
        reached: set[int] = set()
        later: list[tuple[int, int, str | _Slot]] = []
        for through in (False, True):
            waiting: deque[int] = deque()
            if not through and self._nodes:
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
                    if not through and before in self._optimizers:
                        later.append((before, node, name))
                        continue
                    reached.add(node)
                    ways[node] = (before, name, through)
                    waiting.append(node)
        return ways

    def _children(self, number: int) -> Iterable[tuple[str | _Slot, int]]:
        """Return the children of a node, and the slots that an optimizer keeps."""
        node = self._nodes[number]
        for child in node.children:
            yield child.local_name, child.node_id
        for slot in node.slot_variables:
            yield _Slot(slot.slot_name, slot.original_variable_node_id), slot.slot_variable_node_id


def _is_optimizer(node: Any) -> bool:
    names = {child.local_name for child in node.children}
    return bool(node.slot_variables) or bool(names & _STEPS and names & _RATES)


def _by_key(role: Role, full_names: Mapping[str, str]) -> Role:
    """Return a role told by full names, as one told by keys."""
    return role if role.of is None else Role(role.kind, full_names.get(role.of))

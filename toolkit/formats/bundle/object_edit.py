"""Changing an object graph: objects under other names, values that are dropped or added.

A name in a path is an edge of the graph: to rename an object is to move the edge that leads to it, with
all that it leads to. Keys begin with the path by which TensorFlow first met their object; that part of them
is moved along, though to TensorFlow any key would do.

    root ── net ── dense ── kernel       net=backbone        root ── backbone ── dense ── kernel
     └─ optimizer ─ slot m of kernel                          └─ optimizer ─ slot m of kernel

Source: tensorflow/python/checkpoint (graph_view.py, util.py, restore.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from toolkit.errors import UsageError
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.formats.bundle.schema import parse
from toolkit.names import parents
from toolkit.roles import ATTRIBUTE, OBJECT_SLOT

_ATTRIBUTES = "/.ATTRIBUTES/"
"""What stands between the path of an object and the name of its value (trackable_view.py)."""
_VALUE = "VARIABLE_VALUE"


class ObjectEditor:
    """An object graph that is changed. `serialized` gives what it has become.

    Attributes:
        message: The TrackableObjectGraph.

    Args:
        serialized: The TrackableObjectGraph.
    """

    def __init__(self, serialized: bytes) -> None:
        self.message = parse("TrackableObjectGraph", serialized)
        self._read: ObjectGraph | None = None

    @property
    def serialized(self) -> bytes:
        """The TrackableObjectGraph as it is now."""
        return bytes(self.message.SerializeToString(deterministic=True))

    def copy(self) -> ObjectEditor:
        """Return another that is changed apart from this one."""
        return ObjectEditor(self.serialized)

    @property
    def graph(self) -> ObjectGraph:
        """The graph as it is now, to be looked at."""
        if self._read is None:
            self._read = ObjectGraph(self.serialized)
        return self._read

    def object_paths(self) -> dict[str, str]:
        """Return every path by which a value is known, its key's and the shortest, as keys write them.

        Returns:
            The paths, each with itself.
        """
        found = {path_of(value.key): "" for value in self.graph.values if OBJECT_SLOT not in value.key}
        found |= {way: "" for way in self.graph.object_paths().values() if self._resolve(way) is not None}
        return {path: path for path in found if path}

    def has(self, path: str) -> bool:
        """Return whether an object is found at `path`, names joined by `/`."""
        return self._resolve(path) is not None

    def below(self, path: str) -> set[str]:
        """Return the keys of the values of the object at `path`, and of what belongs to it; none if none is.

        What only an optimizer of it leads to is the optimizer's.
        """
        edge = self._resolve(path)
        optimizers = self.graph.optimizers
        waiting, met, keys = [edge[2]] if edge else [], set[int](), set[str]()
        while waiting:
            number = waiting.pop()
            if number in met or (number in optimizers and met):
                continue
            met.add(number)
            node = self.message.nodes[number]
            keys.update(attribute.checkpoint_key for attribute in node.attributes)
            if number not in optimizers:
                waiting += [edge.node_id for edge in node.children]
        return keys

    def move(self, moves: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Move objects, each with all that belongs to it, from one path to another, all at once.

        Returns:
            The new key of every value whose key began with such a path, by the old one.

        Raises:
            UsageError: There is an object at one of the new paths already that cannot be joined with it.
        """
        self._read = None
        taken = []
        for old, new in moves:
            edge = self._resolve(old)
            if edge is not None:
                taken.append((edge, old, new))
        moved = []
        for (parent, name, node), old, new in taken:
            edges = self.message.nodes[parent].children
            place = next(i for i, e in enumerate(edges) if (e.local_name, e.node_id) == (name, node))
            del edges[place]
            moved.append((node, old, new))
        for node, old, new in moved:
            self._attach(new, node, f"{old}={new}")
        return self._rekey([(old, new) for _, old, new in moved])

    def call(self, full_names: Mapping[str, str]) -> None:
        """Give values, by key, other full names."""
        self._read = None
        for attribute in self._attributes():
            attribute.full_name = full_names.get(attribute.checkpoint_key, attribute.full_name)

    def full_names(self) -> dict[str, str]:
        """Return the name that the variable of each value has in a graph, by key; empty if none is known."""
        return {attribute.checkpoint_key: attribute.full_name for attribute in self._attributes()}

    def drop(self, keys: Iterable[str]) -> bool:
        """Remove values, and with them the objects that have none left.

        Returns:
            Whether an optimizer's list has a gap now: what comes after is found there by its number.
        """
        optimizers = self.graph.optimizers
        self._read = None
        keys = set(keys)
        before = self._with_values()
        for node in self.message.nodes:
            kept = [attribute for attribute in node.attributes if attribute.checkpoint_key not in keys]
            if len(kept) < len(node.attributes):
                _set(node.attributes, kept)
        emptied = before - self._with_values()
        lists = {edge.node_id for number in optimizers for edge in self.message.nodes[number].children}
        has_gap = any(_has_gap(self.message.nodes[number], emptied) for number in lists - emptied)
        for node in self.message.nodes:
            _set(node.children, [edge for edge in node.children if edge.node_id not in emptied])
            slots = [
                slot
                for slot in node.slot_variables
                if emptied.isdisjoint((slot.slot_variable_node_id, slot.original_variable_node_id))
            ]
            _set(node.slot_variables, slots)
        self._remove_unreachable()
        return has_gap

    def add(self, path: str, full_name: str) -> str:
        """Add an object with a value at `path`, and return its key.

        Raises:
            UsageError: There is one.
        """
        self._read = None
        node = self.message.nodes.add()
        key = path + ATTRIBUTE
        node.attributes.add(name=_VALUE, full_name=full_name, checkpoint_key=key)
        self._attach(path, len(self.message.nodes) - 1, path)
        return key

    def _attributes(self) -> Iterator[Any]:
        for node in self.message.nodes:
            yield from node.attributes

    def _resolve(self, path: str) -> tuple[int, str, int] | None:
        """Return the edge that a path ends with: the node it begins at, its name, and where it leads."""
        waiting = [(0, path)]
        met = set()
        while waiting:
            number, rest = waiting.pop()
            if (number, rest) in met:
                continue
            met.add((number, rest))
            for edge in self.message.nodes[number].children:
                for name in {edge.local_name, escape(edge.local_name)}:
                    if rest == name:
                        return number, edge.local_name, edge.node_id
                    if rest.startswith(name + "/"):
                        waiting.append((edge.node_id, rest[len(name) + 1 :]))
        return None

    def _attach(self, path: str, node: int, shown: str) -> None:
        """Let `path` lead to a node; objects on the way that do not exist are made."""
        parent = 0
        *above, last = path.split("/")
        if not last or not all(above):
            raise UsageError(f"{shown}: an object needs a name at every step", hint="write it as a/b/c")
        for segment in above:
            parent = self._child(parent, unescape(segment))
        self._join(parent, unescape(last), node, shown)

    def _child(self, number: int, name: str) -> int:
        """Return the child of this name, which is made if there is none."""
        node = self.message.nodes[number]
        if node.HasField("has_checkpoint_values"):
            node.has_checkpoint_values.value = True  # else TensorFlow would not look below it
        for edge in node.children:
            if edge.local_name == name:
                return int(edge.node_id)
        made = len(self.message.nodes)
        self.message.nodes.add()
        self.message.nodes[number].children.add(node_id=made, local_name=name)
        return made

    def _join(self, parent: int, name: str, node: int, shown: str) -> None:
        """Make `node` the child `name` of `parent`; one of that name takes in its parts."""
        waiting, met = [(parent, name, node)], set()
        while waiting:
            if waiting[-1] not in met:  # objects may contain themselves
                met.add(waiting[-1])
                waiting += self._join_one(*waiting.pop(), shown)
            else:
                waiting.pop()

    def _join_one(self, parent: int, name: str, node: int, shown: str) -> list[tuple[int, str, int]]:
        """Make `node` the child `name` of `parent`; return what is to be joined below one of that name."""
        holder = self.message.nodes[parent]
        if holder.HasField("has_checkpoint_values"):
            holder.has_checkpoint_values.value = True
        there = next((edge.node_id for edge in holder.children if edge.local_name == name), None)
        if there is None:
            holder.children.add(node_id=node, local_name=name)
        elif there != node:
            ours, theirs = self.message.nodes[node], self.message.nodes[there]
            if ours.attributes and theirs.attributes:
                raise UsageError(
                    f"{shown}: there is an object {name} already", hint="rename or drop that one first"
                )
            theirs.attributes.extend(ours.attributes)
            theirs.slot_variables.extend(ours.slot_variables)
            return [(there, edge.local_name, edge.node_id) for edge in ours.children]
        return []

    def _rekey(self, moves: list[tuple[str, str]]) -> dict[str, str]:
        """Give keys that begin with a path that was moved the new one; return old and new."""
        renamed = {}
        for attribute in self._attributes():
            key = attribute.checkpoint_key
            owner, is_slot, slot = key.partition(OBJECT_SLOT)
            for old, new in moves:
                if owner == old or owner.startswith(old + "/"):
                    owner = new + owner[len(old) :]
                    break
            for old, new in moves if is_slot else ():
                if slot.startswith(old + "/"):
                    slot = new + slot[len(old) :]
                    break
            changed = owner + is_slot + slot
            if changed != key:
                renamed[key] = attribute.checkpoint_key = changed
        return renamed

    def _with_values(self) -> set[int]:
        """Return the nodes that have a value, or lead to one."""
        above: dict[int, list[int]] = {}
        for number, node in enumerate(self.message.nodes):
            for other in _leads_to(node):
                above.setdefault(other, []).append(number)
        waiting = [number for number, node in enumerate(self.message.nodes) if node.attributes]
        found: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting += above.get(number, ())
        return found

    def _remove_unreachable(self) -> None:
        """Remove the nodes that no way leads to from the root."""
        waiting, reached = [0], {0}
        while waiting:
            for other in _leads_to(self.message.nodes[waiting.pop()]):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        numbers = {old: new for new, old in enumerate(sorted(reached))}
        _set(self.message.nodes, [self.message.nodes[number] for number in numbers])
        for node in self.message.nodes:
            for edge in node.children:
                edge.node_id = numbers[edge.node_id]
            slots = [s for s in node.slot_variables if s.original_variable_node_id in numbers]
            _set(node.slot_variables, slots)
            for slot in node.slot_variables:
                slot.original_variable_node_id = numbers[slot.original_variable_node_id]
                slot.slot_variable_node_id = numbers[slot.slot_variable_node_id]


def moves_of(renamed: Mapping[str, str], paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return the fewest moves of objects that rename values as `renamed` says, and no others.

    Args:
        renamed: New paths of values, by old ones.
        paths: The paths of all values.
    """
    below: dict[str, list[str]] = {}
    for path in paths:
        segments = path.split("/")
        for end in range(1, len(segments) + 1):
            below.setdefault("/".join(segments[:end]), []).append(path)
    moves: list[tuple[str, str]] = []
    done: set[str] = set()
    for scope, members in sorted(below.items()):  # above comes before below
        if not done.isdisjoint(parents(scope)):
            continue
        news = {_before(renamed.get(path, path), path[len(scope) :]) for path in members}
        if len(news) == 1 and (new := news.pop()):
            done.add(scope)
            if new != scope:
                moves.append((scope, new))
    return moves


def _before(path: str, rest: str) -> str | None:
    """Return what comes in `path` before `rest`, if it ends in that."""
    return path.removesuffix(rest) if path.endswith(rest) else None


def path_of(key: str) -> str:
    """Return the path of the object that a key tells, with names as keys write them."""
    return key.partition(_ATTRIBUTES)[0]


def escape(name: str) -> str:
    """Return a name as keys write it (trackable_utils.py, escape_local_name)."""
    return name.replace(".", "..").replace("/", ".S")


def unescape(segment: str) -> str:
    """Return the name that a key writes as `segment`."""
    return "/".join(part.replace("..", ".") for part in _split(segment))


def _split(segment: str) -> list[str]:
    """Return the parts of a segment between its `.S`, which stand for `/`."""
    parts, position = [""], 0
    while position < len(segment):
        pair = segment[position : position + 2]
        if pair == ".S":
            parts.append("")
            position += 2
        elif pair == "..":
            parts[-1] += pair
            position += 2
        else:
            parts[-1] += segment[position]
            position += 1
    return parts


def _has_gap(node: Any, emptied: Collection[int]) -> bool:
    """Return whether a list, whose children are called by their numbers, loses one before another."""
    if not all(edge.local_name.isdecimal() for edge in node.children):
        return False
    gone = [int(edge.local_name) for edge in node.children if edge.node_id in emptied]
    kept = [int(edge.local_name) for edge in node.children if edge.node_id not in emptied]
    return bool(gone) and bool(kept) and min(gone) < max(kept)


def _leads_to(node: Any) -> Iterator[int]:
    """Yield the nodes that a node's edges lead to, and the slots that it keeps."""
    for edge in node.children:
        yield edge.node_id
    for slot in node.slot_variables:
        yield slot.slot_variable_node_id


def _set(field: Any, values: list[Any]) -> None:
    """Give a repeated field these values, some of which may be its own."""
    if len(values) < len(field):
        kept = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(kept)

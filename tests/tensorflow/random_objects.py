"""Random trees of TensorFlow's objects, described as data: modules, lists, dicts, variables, tables, shared ones.

described = random_tree(draw)              # what a checkpoint is saved from
other = changed(draw, described)           # with parts dropped, renamed and added
built = build(other, values)               # objects, each variable with a value of its own
built.make_late()                          # what a module makes only when it is used
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.tensorflow import tf

_MAX_DEPTH = 3


@dataclass(eq=False)
class Tree:
    """An object.

    Attributes:
        kind: `root`, `module`, `list`, `dict`, `variable` or `table`.
        shape: Of a variable.
        parts: What it has, by name.
        late: The names of what it has only after a while, of a module.
    """

    kind: str
    shape: tuple[int, ...] = ()
    parts: dict[str, Tree] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)


@dataclass
class Built:
    """Objects.

    Attributes:
        root: A `tf.train.Checkpoint`.
        leaves: All variables and tables, also those that are made later, in the order of the tree.
    """

    root: Any
    leaves: list[Any]
    late: list[tuple[Any, str, Any]]

    def make_late(self) -> None:
        """Make what modules have only after a while."""
        for module, name, made in self.late:
            setattr(module, name, made)

    def values(self) -> list[bytes]:
        """Return the bits of all variables and tables."""
        return [
            leaf.numpy().tobytes()
            if isinstance(leaf, tf.Variable)
            else leaf.lookup(tf.constant(["k"])).numpy().tobytes()
            for leaf in self.leaves
        ]


def random_tree(draw: random.Random) -> Tree:
    """Return a tree, in which objects may be reached in several ways."""
    return _random(draw, 0, [])


def changed(draw: random.Random, tree: Tree) -> Tree:
    """Return a tree of which parts were dropped, renamed, added, and put off to later."""
    seen: dict[int, Tree] = {}

    def change(part: Tree) -> Tree:
        if id(part) in seen:
            return seen[id(part)]
        other = seen[id(part)] = Tree(part.kind, part.shape)
        for name, child in part.parts.items():
            luck = draw.random()
            if luck > 0.1:
                other.parts[draw.choice("fgh") if luck < 0.2 else name] = change(child)
        if part.parts and (draw.random() < 0.2 or not other.parts):
            other.parts["new"] = Tree("variable", (2,))
        if part.kind == "module":
            other.late = {name for name in other.parts if draw.random() < 0.2}
        return other

    return change(tree)


def build(tree: Tree, values: Iterator[int]) -> Built:
    """Build a tree; each variable gets the next of `values`, and a name that no other has."""
    made: dict[int, Any] = {}
    built = Built(None, [], [])

    def make(part: Tree) -> Any:
        if id(part) not in made:
            made[id(part)] = _make(part)
        return made[id(part)]

    def _make(part: Tree) -> Any:
        if part.kind == "variable":
            number = next(values)
            leaf = tf.Variable(tf.fill(part.shape, float(number)), name=f"v{number}")
        elif part.kind == "table":
            leaf = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
            leaf.insert(["k"], [next(values)])
        else:
            parts = {name: make(child) for name, child in part.parts.items()}
            if part.kind == "list":
                return list(parts.values())
            if part.kind == "dict":
                return parts
            if part.kind == "root":
                return tf.train.Checkpoint(**parts)
            module = tf.Module()
            for name, child in parts.items():
                if name in part.late:
                    built.late.append((module, name, child))
                else:
                    setattr(module, name, child)
            return module
        built.leaves.append(leaf)
        return leaf

    built.root = make(tree)
    return built


def _random(draw: random.Random, depth: int, shared: list[Tree]) -> Tree:
    kinds = ["module", "list", "dict", "variable", "variable", "table", "shared"]
    kind = "root" if depth == 0 else "variable" if depth > _MAX_DEPTH else draw.choice(kinds)
    if kind == "shared":
        return draw.choice(shared) if shared else Tree("variable", (2,))
    tree = Tree(kind, draw.choice([(), (2,), (3,)]) if kind == "variable" else ())
    if kind not in ("variable", "table"):
        for name in draw.sample("abcde", draw.randint(1, 4)):
            tree.parts[name] = _random(draw, depth + 1, shared)
    if kind in ("variable", "table", "module"):
        shared.append(tree)
    return tree

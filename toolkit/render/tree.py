"""A checkpoint's variables as a tree of scopes, with what each scope comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.checkpoint import Variable
from toolkit.look.inspect import Summary
from toolkit.names import natural_key, printable
from toolkit.render.top import heading, notes
from toolkit.text import ELLIPSIS, columns, shorten, shortened
from toolkit.units import count, size

_MAX_DEPTH = 100
"""A tree takes the square of its depth in characters, and names may have any number of segments."""
_STEP = 3
"""Columns by which a level is indented."""
_LEAST_ROOM = 36
"""Columns for a name and what it is, for which levels that are indented further are only counted."""
_LEAST_NAME = 16
"""Columns for a name, for which what a variable or scope comes to is cut off."""


@dataclass
class _Node:
    """A scope, a variable, or a variable that is called as a scope is.

    Attributes:
        name: What it is called in the scope that it stands in.
        short: A shorter name for a slot: without that of the variable that it stands under.
        nodes: What stands in it.
        variable: The variable that it is, or that is called so.
        num_variables: Of how many variables it consists.
        num_elements: Their elements.
        nbytes: Their bytes.
    """

    name: str = ""
    short: str = ""
    nodes: dict[str, _Node] = field(default_factory=dict)
    variable: Variable | None = None
    num_variables: int = 0
    num_elements: int = 0
    nbytes: int = 0


def tree(summary: Summary, *, depth: int | None = None, width: int | None = None) -> str:
    """Return the tree of `ckpt inspect --tree`: of scopes, by readable names.

    Slots and averages stand under the variable that they are kept for, and count in its scopes.

    Args:
        summary: What to show.
        depth: Levels of scopes to show; what lies deeper is counted. `None` shows all but absurd ones.
        width: Columns of the terminal, to which names are shortened; `None` shows all of them.
    """
    root = _root(summary)
    most = _MAX_DEPTH if width is None else min(_MAX_DEPTH, max((width - _LEAST_ROOM) // _STEP, 1))
    shown = most if depth is None else min(depth, most)
    lines = [*heading(summary.checkpoint.path, _comes_to(root), width), *notes(summary, width)]
    waiting: list[tuple[str, str, _Node, int]] = _below(root, "", 1, shown, width)
    is_cut = False
    while waiting:  # not by recursion: a name may have any number of segments
        lead, name, node, level = waiting.pop()
        lines.append(_line(lead, name, node, width))
        is_cut = is_cut or (level == shown and bool(node.nodes))
        below = lead.replace("├─ ", "│  ").replace("└─ ", "   ")
        waiting += _below(node, below, level + 1, shown, width)
    if is_cut and (depth is None or depth > shown):
        cut = f"deeper than {count(shown, 'level')} is counted"
        cut += " (--no-truncate shows it)" if width is not None and shown < _MAX_DEPTH else ""
        lines.append(cut if width is None else shortened(cut, width))
    return "\n".join(lines)


def _root(summary: Summary) -> _Node:
    """Return the tree of all variables, each counted in the nodes above it."""
    root = _Node()
    variables = summary.variables
    names = dict(zip([v.name for v in variables], summary.names_of(variables), strict=True))
    for variable in variables:
        name = names[variable.name]
        owner = summary.owner_of(variable)
        path = names.get(owner) or summary.paths.get(owner, owner)
        segments = path.split("/")
        short = ""
        if owner != variable.name:
            inside = name.removeprefix(f"{path}/")
            segments += inside.split("/") if inside != name else [name]
            short = name.replace(path, ELLIPSIS) if inside == name else ""
        here = root
        _add(here, variable)
        for segment in segments:
            here = here.nodes.setdefault(segment, _Node(segment))
            _add(here, variable)
        here.variable, here.short = variable, short
    return root


def _add(node: _Node, variable: Variable) -> None:
    node.num_variables += 1
    node.num_elements += variable.num_elements
    node.nbytes += variable.nbytes


def _below(
    node: _Node, lead: str, level: int, depth: int, width: int | None
) -> list[tuple[str, str, _Node, int]]:
    """Return the children of a node, the last first, each with the lines that lead to it."""
    if level > depth:
        return []
    nodes = sorted(node.nodes.values(), key=lambda child: natural_key(child.name))
    names = _names(nodes, width, columns(lead) + _STEP)
    last = len(nodes) - 1
    return [
        (lead + ("└─ " if i == last else "├─ "), name, node, level)
        for i, (name, node) in enumerate(zip(names, nodes, strict=True))
    ][::-1]


def _names(nodes: Sequence[_Node], width: int | None, lead: int) -> list[str]:
    """Return the names of nodes that stand side by side, all different, as wide as there is room."""
    names = [printable(node.name) + ("" if node.variable else "/") for node in nodes]
    if width is None or not nodes:
        return names
    beside = max(columns(_described(node)[-1]) for node in nodes)
    room = max(width - lead - 2 - beside, min(_LEAST_NAME, width - lead), 1)
    if max(map(columns, names)) > room:
        names = [printable(node.short) or name for node, name in zip(nodes, names, strict=True)]
    return shorten(names, room)


def _line(lead: str, name: str, node: _Node, width: int | None) -> str:
    lines = [f"{lead}{name}  {text}" for text in _described(node)]
    if width is None:
        return lines[0]
    return next((line for line in lines if columns(line) <= width), shortened(lines[-1], width, share=1))


def _described(node: _Node) -> list[str]:
    """Return descriptions of a node in several lengths, the longest first."""
    variable = node.variable
    if variable is None:
        whole = _comes_to(node)
        return [whole, whole.partition(",")[0]]
    text = f"{variable.dtype} {variable.shape}"
    texts = [f"{text}  {size(variable.nbytes)}", text]
    if node.nodes:
        below = f"{count(node.num_variables - 1, 'variable')}, {size(node.nbytes - variable.nbytes)}"
        return [f"{texts[0]} + {below}", *texts]
    return texts


def _comes_to(node: _Node) -> str:
    return (
        f"{count(node.num_variables, 'variable')}, {count(node.num_elements, 'element')}, {size(node.nbytes)}"
    )

"""A checkpoint's variables as a tree of scopes, with what each scope comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from toolkit.checkpoint import Variable
from toolkit.look.inspect import Summary
from toolkit.names import printable
from toolkit.units import count, size

_MAX_DEPTH = 100
"""A tree takes the square of its depth in characters, and names may have any number of segments."""


@dataclass
class _Scope:
    scopes: dict[str, _Scope] = field(default_factory=dict)
    variables: list[tuple[str, Variable]] = field(default_factory=list)
    num_variables: int = 0
    num_elements: int = 0
    nbytes: int = 0


def tree(summary: Summary, *, depth: int | None = None) -> str:
    """Return the tree of `ckpt inspect --tree`: of scopes, or of objects where there is an object graph.

    Args:
        summary: What to show.
        depth: Levels of scopes to show; what lies deeper is counted. `None` shows all but absurd ones.
    """
    depth = min(_MAX_DEPTH, _MAX_DEPTH if depth is None else depth)
    paths = summary.checkpoint.tree_paths()
    root = _Scope()
    for variable in summary.variables:
        *scopes, leaf = paths.get(variable.name, variable.name).split("/")
        here = root
        _count(here, variable)
        for scope in scopes:
            here = here.scopes.setdefault(scope, _Scope())
            _count(here, variable)
        here.variables.append((leaf, variable))
    lines = [f"{printable(summary.checkpoint.path)}: {_described(root)}"]
    waiting: list[tuple[str, str, _Scope | Variable, int]] = _children(root, "", 1, depth)
    while waiting:  # not by recursion: a name may have any number of segments
        lead, name, node, level = waiting.pop()
        if isinstance(node, Variable):
            lines.append(f"{lead}{name}  {node.dtype} {node.shape}  {size(node.nbytes)}")
        else:
            lines.append(f"{lead}{name}/  {_described(node)}")
            below = lead.replace("├─ ", "│  ").replace("└─ ", "   ")
            waiting += _children(node, below, level + 1, depth)
    return "\n".join(lines)


def _children(
    scope: _Scope, lead: str, level: int, depth: int | None
) -> list[tuple[str, str, _Scope | Variable, int]]:
    """Return what stands under a scope, the last first, each with the lines that lead to it."""
    if depth is not None and level > depth:
        return []
    nodes: list[tuple[str, _Scope | Variable]] = sorted(
        [*scope.variables, *scope.scopes.items()], key=lambda item: item[0]
    )
    last = len(nodes) - 1
    return [
        (lead + ("└─ " if i == last else "├─ "), printable(name), node, level)
        for i, (name, node) in enumerate(nodes)
    ][::-1]


def _count(scope: _Scope, variable: Variable) -> None:
    scope.num_variables += 1
    scope.num_elements += variable.num_elements
    scope.nbytes += variable.nbytes


def _described(scope: _Scope) -> str:
    return (
        f"{count(scope.num_variables, 'variable')}, "
        f"{count(scope.num_elements, 'element')}, {size(scope.nbytes)}"
    )

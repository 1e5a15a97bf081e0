"""What an object graph says of the optimizers in it: their classes by full names, their steps and rates.

    iter, _iterations               how many steps it has taken
    learning_rate, _learning_rate   its rate; there is none with a schedule
    Adam/m/hidden/kernel            full names of what it keeps begin with its own name, which Keras makes of
    adam/iteration                  its class; any other name tells nothing

Source: keras/src/optimizers (Keras 2.10, 2.15, 3.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toolkit.formats.bundle.object_graph import WRAPPED, ObjectGraph
from toolkit.formats.keras import slots
from toolkit.metadata import Metadata, Optimizer

_STEPS = ("_iterations", "iterations", "iter", "_iter", "step")
_RATES = ("_learning_rate", "learning_rate")


def metadata(graph: ObjectGraph, read: Callable[[str], float | None]) -> Metadata:
    """Return the metadata in the graph.

    Args:
        graph: Of the checkpoint.
        read: Gives the value of a scalar by its key; `None` if it has none that can be read.
    """
    keys = {value.node: value for value in graph.values if value.name == "VARIABLE_VALUE"}
    found = []
    for number in _outer_first(graph):
        children = {child.local_name: child.node_id for child in graph.nodes[number].children}
        wraps = any(children.get(name) in graph.optimizers for name in WRAPPED)
        steps, rates = (
            [read(keys[children[name]].key) for name in names if children.get(name) in keys]
            for names in (_STEPS, _RATES)
        )
        found.append(
            Optimizer(
                class_name="LossScaleOptimizer" if wraps else _class_of(graph, number),
                learning_rate=next((float(rate) for rate in rates if rate is not None and not wraps), None),
                step=next((int(step) for step in steps if step is not None), None),
            )
        )
    return Metadata(optimizers=tuple(found))


def _outer_first(graph: ObjectGraph) -> list[int]:
    """Return the optimizers, each before the one that it wraps."""
    wrapped = {
        child.node_id
        for number in graph.optimizers
        for child in graph.nodes[number].children
        if child.local_name in WRAPPED
    }
    return sorted(graph.optimizers, key=lambda number: (number in wrapped, number))


def _class_of(graph: ObjectGraph, number: int) -> str | None:
    """Return the class of an optimizer as far as full names tell: all that do must agree."""
    found = set()
    for name in _full_names(graph, number):
        scopes = name.split("/")[:-1]
        told = next(filter(None, map(_class_by_name, scopes)), None)
        if told is not None:
            found.add(told)
    return found.pop() if len(found) == 1 else None


def _class_by_name(scope: str) -> str | None:
    stem, _, number = scope.rpartition("_")
    stem = stem if number.isdecimal() else scope
    known = slots.class_of_name(scope)
    return known or (
        slots.canonical(stem) if slots.is_class(slots.canonical(stem)) and stem[:1].isupper() else None
    )


def _full_names(graph: ObjectGraph, number: int) -> Iterator[str]:
    """Yield the full names of what an optimizer keeps of its own."""
    names = {value.node: value.full_name for value in graph.values}
    node = graph.nodes[number]
    kept = [child.node_id for child in node.children]
    for child in node.children:
        if child.local_name == "_variables":
            kept += [inner.node_id for inner in graph.nodes[child.node_id].children]
    for each in kept:
        if names.get(each):
            yield names[each]

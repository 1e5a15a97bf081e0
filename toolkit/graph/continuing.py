"""What of a graph's training no checkpoint has: the states of random ops, and where its input stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from toolkit.graph.variables import parts_of

_KINDS = {
    "random": re.compile(
        r"Random(?!ShuffleQueue|Dataset)|(Parameterized)?TruncatedNormal|Multinomial|.*CandidateSampler"
    ),
    "input": re.compile(
        r"(OneShot|Anonymous)?Iterator(V\d)?$|(FIFO|RandomShuffle|PaddingFIFO|Priority)Queue(V2)?$"
    ),
    "tables": re.compile(r"Mutable(Dense)?HashTable"),
}
"""Types of ops with a state in the process; stateless ones have other names.

Source: tensorflow/core/ops (random_ops.cc, candidate_sampling_ops.cc, dataset_ops.cc, data_flow_ops.cc).
"""


def what_does_not_continue(graph: tf.Graph, variables: Mapping[str, Any]) -> list[str]:
    """Return, in sentences, what will not go on where a training that is restored stopped.

    Args:
        graph: The graph that is trained.
        variables: Its variables: what only their initial values are computed with does not count.
    """
    by_type: dict[str, list[Any]] = {}
    for op in graph.get_operations():
        by_type.setdefault(op.type, []).append(op)
    found = {
        what: [op for kind, ops in by_type.items() if of_type.match(kind) for op in ops]
        for what, of_type in _KINDS.items()
    }
    if found["random"]:
        initializers = [part.initializer for variable in variables.values() for part in parts_of(variable)]
        at_the_beginning = _before(tensor.op for op in initializers for tensor in op.inputs[1:])
        found["random"] = [op for op in found["random"] if op not in at_the_beginning]
    notes = []
    if found["random"]:
        notes.append(
            f"does not continue: the random numbers of {_listed(found['random'])} (dropout and the like): no "
            "checkpoint has their state, and a training that goes on draws others"
        )
    if found["input"]:
        place = _listed(found["input"])
        notes.append(f"does not continue: where {place} stands in the input, unless that is saved")
    if found["tables"]:
        notes.append(
            f"does not continue: what the tables {_listed(found['tables'])} hold: no variables have it"
        )
    return notes


def _before(ops: Iterable[Any]) -> set[Any]:
    """Return some ops and all that they are computed from."""
    seen: set[Any] = set()
    waiting = list(ops)
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting += [tensor.op for tensor in op.inputs]
    return seen


def _listed(ops: list[Any]) -> str:
    more = f" and {len(ops) - 3} more" if len(ops) > 3 else ""
    return ", ".join(op.name for op in ops[:3]) + more

"""What of a graph's training no checkpoint has: the states of random ops, and where its input stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from toolkit.graph.variables import parts_of

_RANDOM = re.compile(r"(Random(?!ShuffleQueue|Dataset)|.*TruncatedNormal|Multinomial|.*CandidateSampler)")
"""Ops whose numbers come from a state in the process (core/ops/random_ops.cc, candidate_sampling_ops.cc)."""
_INPUTS = frozenset(("Iterator", "IteratorV2", "OneShotIterator", "AnonymousIteratorV3", "MakeIterator"))
_QUEUES = frozenset(("FIFOQueueV2", "RandomShuffleQueueV2", "PaddingFIFOQueueV2", "PriorityQueueV2"))


def what_does_not_continue(graph: tf.Graph, variables: Mapping[str, Any]) -> list[str]:
    """Return, in sentences, what will not go on where a training that is restored stopped.

    Args:
        graph: The graph that is trained.
        variables: Its variables: what only their initial values are computed with does not count.
    """
    initializers = [part.initializer for variable in variables.values() for part in parts_of(variable)]
    at_the_beginning = _before(tensor.op for op in initializers for tensor in op.inputs[1:])
    found: dict[str, list[str]] = {"random": [], "input": [], "tables": []}
    for op in graph.get_operations():
        if _is_random(op.type) and op not in at_the_beginning:
            found["random"].append(op.name)
        elif op.type in _INPUTS or op.type in _QUEUES:
            found["input"].append(op.name)
        elif op.type.startswith(("MutableHashTable", "MutableDenseHashTable")):
            found["tables"].append(op.name)
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


def _is_random(kind: str) -> bool:
    return _RANDOM.match(kind) is not None and not kind.startswith("Stateless")


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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

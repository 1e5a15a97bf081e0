"""The variables of a graph, or of a checkpoint: the one is TensorFlow's, the other needs none of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, overload

from toolkit.checkpoint import Checkpoint
from toolkit.deferred import load
from toolkit.errors import UsageError
from toolkit.formats.opening import as_checkpoint

if TYPE_CHECKING:
    import tensorflow as tf

    from toolkit.graph.variables import GraphVariable


@overload
def list_variables(target: Checkpoint | str | os.PathLike[str]) -> list[tuple[str, list[int]]]: ...
@overload
def list_variables(
    target: tf.Graph | None = None, session: tf.compat.v1.Session | None = None
) -> list[GraphVariable]: ...
def list_variables(
    target: Checkpoint | str | os.PathLike[str] | tf.Graph | None = None,
    session: tf.compat.v1.Session | None = None,
) -> list[tuple[str, list[int]]] | list[GraphVariable]:
    """Return the variables of a graph, or the names and shapes of those in a checkpoint.

    Of a checkpoint it is what `tf.train.list_variables` returns, without TensorFlow: `[(name, shape)]`, by
    name, each shape a list; `toolkit.open_checkpoint` tells more. Of a graph it is a `GraphVariable` for
    each, in the order of their creation, then local ones, then tables.

    Args:
        target: A checkpoint, open or its path; or a graph, by default the session's, or the default graph.
        session: Of a graph: where to ask which have a value.

    Raises:
        UsageError: `target` is none of these, or it is a graph and TensorFlow is not installed.
        FormatError, ReadError: The checkpoint cannot be read.
        ModelError: Two variables of a collection of the graph have one name.
    """
    if isinstance(target, (Checkpoint, str, os.PathLike)):
        if session is not None:
            raise UsageError("session: a checkpoint has none", hint="give one of the two")
        variables = as_checkpoint(target).variables()
        return [(name, list(variables[name].shape)) for name in sorted(variables)]
    if target is not None and "tensorflow" not in sys.modules:  # then there can be no graph
        raise UsageError(
            f"expected a checkpoint or a graph, got {target!r}", hint="a checkpoint is open, or its path"
        )
    of_graph: Callable[..., list[GraphVariable]] = load(
        "variables_of_graph", "toolkit.graph.variables", "toolkit.list_variables of a graph"
    )
    return of_graph(target, session)

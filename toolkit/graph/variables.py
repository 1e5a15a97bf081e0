"""The variables of a TF1-style graph: what they are, what they depend on, which have a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from toolkit import dtypes
from toolkit.dtypes import DType
from toolkit.errors import ModelError

_VARIABLE_OPS = frozenset({"VarHandleOp", "VariableV2", "Variable", "TemporaryVariable"})


@dataclass(frozen=True)
class GraphVariable:
    """A variable of a graph.

    Attributes:
        name: As a Saver stores it, without `:0`.
        dtype: TensorFlow's dtype.
        shape: Sizes of the dimensions; `None` where the graph leaves one open.
        trainable: Whether an optimizer changes it.
        initialized: Whether it has a value in the session; `None` where none was asked.
        depends_on: The variables that its initial value is computed from.
        variable: TensorFlow's own object.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...] | None
    trainable: bool
    initialized: bool | None
    depends_on: tuple[str, ...]
    variable: Any


def list_variables(
    graph: tf.Graph | None = None, session: tf.compat.v1.Session | None = None
) -> list[GraphVariable]:
    """Return the variables of a graph in the order of their creation.

    Args:
        graph: By default the session's, or the default graph.
        session: Where to ask which have a value.
    """
    if graph is None:
        graph = tf.compat.v1.get_default_graph() if session is None else session.graph
    variables = by_name(graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
    missing = None if session is None else set(uninitialized(session, variables))
    dependencies = dependencies_of(variables)
    return [
        GraphVariable(
            name,
            dtype_of(variable),
            shape_of(variable),
            bool(variable.trainable),
            None if missing is None else name not in missing,
            tuple(dependencies[name]),
            variable,
        )
        for name, variable in variables.items()
    ]


def by_name(variables: Iterable[Any]) -> dict[str, Any]:
    """Return variables by the name that a Saver stores them under.

    Raises:
        ModelError: Two have one name, or one is partitioned.

    A variable that comes twice is one.
    """
    found: dict[str, Any] = {}
    for variable in variables:
        if not isinstance(variable, tf.Variable):
            raise ModelError(
                f"{variable!r}: among the graph's variables, but none",
                hint="take it out of the collection GLOBAL_VARIABLES",
            )
        name = variable.op.name
        if variable._get_save_slice_info() is not None:
            raise ModelError(
                f"{name}: a part of a partitioned variable",
                hint="build the model without a partitioner",
            )
        if found.setdefault(name, variable) is not variable:
            raise ModelError(
                f"{name}: two variables of the graph have this name",
                hint="give each a scope of its own",
            )
    return found


def dtype_of(variable: Any) -> DType:
    """Return the dtype of a variable of the graph."""
    return dtypes.as_dtype(variable.dtype.base_dtype.name)


def shape_of(variable: Any) -> tuple[int, ...] | None:
    """Return the shape of a variable of the graph; `None` if it is not fully known."""
    return tuple(variable.shape.as_list()) if variable.shape.is_fully_defined() else None


def uninitialized(session: tf.compat.v1.Session, variables: Mapping[str, Any]) -> list[str]:
    """Return which of `variables` have no value in `session`. Adds nothing to a finalized graph.

    Resource variables bring an op of their own that tells; for others one is made, once.
    """
    checks = [_initialized_check(session.graph, variable) for variable in variables.values()]
    known = [check for check in checks if check is not None]
    states = iter(session.run(known)) if known else iter(())
    return [
        name
        for (name, variable), check in zip(variables.items(), checks, strict=True)
        if not (next(states) if check is not None else _can_be_read(session, variable))
    ]


def _initialized_check(graph: tf.Graph, variable: Any) -> Any | None:
    """Return the tensor that tells whether `variable` has a value; `None` if there cannot be one."""
    check = getattr(variable, "_is_initialized_op", None)
    if check is not None:
        return check
    handle = variable.op.outputs[0]
    for consumer in handle.consumers():
        if consumer.type == "IsVariableInitialized":
            return consumer.outputs[0]
    if graph.finalized:
        return None
    with graph.as_default(), tf.control_dependencies(None), tf.name_scope(""):
        return tf.compat.v1.is_variable_initialized(variable)


def _can_be_read(session: tf.compat.v1.Session, variable: Any) -> bool:
    try:
        session.run(variable.value().op)  # the op alone: the value stays where it is
    except tf.errors.FailedPreconditionError:
        return False
    return True


def dependencies_of(variables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each of `variables`, the variables that its initial value is computed from."""
    return {name: _dependencies(variable) for name, variable in variables.items()}


def _dependencies(variable: Any) -> list[str]:
    found: dict[str, None] = {}
    seen = {variable.op}
    waiting = [tensor.op for tensor in variable.initializer.inputs[1:]]
    waiting += variable.initializer.control_inputs
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.type in _VARIABLE_OPS:
            found[op.name] = None
        else:
            waiting += [tensor.op for tensor in op.inputs]
            waiting += op.control_inputs
    return sorted(found)


def initial_value(variable: Any) -> Any:
    """Return the tensor that the initializer of `variable` assigns: it can be fetched, and fed."""
    return variable.initializer.inputs[1]


def load(session: tf.compat.v1.Session, variable: Any, value: Any) -> None:
    """Give `variable` a value by way of its own initializer, so that nothing is added to the graph."""
    session.run(variable.initializer, {initial_value(variable): value})

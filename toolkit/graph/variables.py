"""The variables of a TF1-style graph: what they are, what they depend on, which have a value.

A partitioned variable is one variable here, in parts: `Partitioned` where TensorFlow has several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from toolkit import dtypes
from toolkit.dtypes import DType
from toolkit.errors import ModelError, UsageError

_VARIABLE_OPS = frozenset({"VarHandleOp", "VariableV2", "Variable", "TemporaryVariable"})
_KEYS = tf.compat.v1.GraphKeys


@dataclass(frozen=True, repr=False)
class GraphVariable:
    """A variable of a graph, or a lookup table.

    Attributes:
        name: As a Saver stores it, without `:0`.
        dtype: TensorFlow's dtype; `resource` for a table.
        shape: Sizes of the dimensions; `None` where the graph leaves one open.
        collection: `variables` (those that a Saver saves), `local_variables`, or `table_initializer`.
        trainable: Whether an optimizer changes it.
        initialized: Whether it has a value in the session; `None` where none was asked, and for tables,
            which do not tell.
        depends_on: The variables that its initial value is computed from.
        variable: TensorFlow's own object: of a partitioned variable a `Partitioned`, of a table its
            initializer.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...] | None
    collection: str
    trainable: bool
    initialized: bool | None
    depends_on: tuple[str, ...]
    variable: Any

    def __repr__(self) -> str:
        shape = "of any shape" if self.shape is None else self.shape
        return f"<GraphVariable {self.name!r}: {self.dtype} {shape}, {self.collection}>"


class Partitioned:
    """A partitioned variable: what TensorFlow has as several variables, each with a part of its values.

    Attributes:
        name: What a Saver stores it under.
        parts: TensorFlow's variables, by where they begin in the whole.
        shape: Of the whole.
    """

    def __init__(self, name: str, parts: Iterable[Any]) -> None:
        self.name = name
        self.parts = sorted(parts, key=lambda part: tuple(part._get_save_slice_info().var_offset))
        self.shape = tuple(self.parts[0]._get_save_slice_info().full_shape)

    @property
    def dtype(self) -> Any:
        """TensorFlow's dtype of all parts."""
        return self.parts[0].dtype

    @property
    def trainable(self) -> bool:
        """Whether an optimizer changes it."""
        return bool(self.parts[0].trainable)

    def regions(self) -> list[tuple[slice, ...]]:
        """Return where each part lies in the whole."""
        infos = [part._get_save_slice_info() for part in self.parts]
        return [
            tuple(slice(start, start + size) for start, size in zip(i.var_offset, i.var_shape, strict=True))
            for i in infos
        ]


def variables_of_graph(
    graph: tf.Graph | None = None, session: tf.compat.v1.Session | None = None
) -> list[GraphVariable]:
    """Return the variables of a graph in the order of their creation, then local ones, then tables.

    Args:
        graph: By default the session's, or the default graph.
        session: Where to ask which have a value.

    Raises:
        UsageError: `graph` is none.
        ModelError: Two variables of a collection have one name.
    """
    if graph is None:
        graph = tf.compat.v1.get_default_graph() if session is None else session.graph
    if not isinstance(graph, tf.Graph):
        raise UsageError(
            f"{type(graph).__name__}: expected a graph, or a checkpoint",
            hint="a checkpoint is open, or its path",
        )
    listed = []
    for collection in (_KEYS.GLOBAL_VARIABLES, _KEYS.LOCAL_VARIABLES):
        variables = by_name(graph.get_collection(collection))
        missing = None if session is None else set(uninitialized(session, variables))
        dependencies = dependencies_of(variables)
        listed += [
            GraphVariable(
                name,
                dtype_of(variable),
                shape_of(variable),
                collection,
                bool(variable.trainable),
                None if missing is None else name not in missing,
                tuple(dependencies[name]),
                variable,
            )
            for name, variable in variables.items()
        ]
    resource = dtypes.BY_NAME["resource"]
    for initializer in graph.get_collection(_KEYS.TABLE_INITIALIZERS):
        op = getattr(initializer, "op", initializer)
        table = op.inputs[0].op.name if len(op.inputs) else op.name
        needed = tuple(_variables_before(op.inputs[1:], op.control_inputs))
        listed.append(GraphVariable(table, resource, (), _KEYS.TABLE_INITIALIZERS, False, None, needed, op))
    return listed


def all_variables(graph: tf.Graph) -> list[Any]:
    """Return the variables of a graph, global ones first, then local ones, which no Saver saves."""
    found = graph.get_collection(_KEYS.GLOBAL_VARIABLES) + graph.get_collection(_KEYS.LOCAL_VARIABLES)
    return list(found)


def by_name(variables: Iterable[Any]) -> dict[str, Any]:
    """Return variables by the name that a Saver stores them under; the parts of one as a `Partitioned`.

    A variable that comes twice is one.

    Raises:
        ModelError: Two have one name, or something is no variable.
    """
    found: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for variable in (part for each in variables for part in parts_of(each)):
        if not isinstance(variable, tf.Variable):
            raise ModelError(
                f"{variable!r}: among the graph's variables, but none",
                hint="take it out of the collection GLOBAL_VARIABLES",
            )
        name, sliced = variable.op.name, variable._get_save_slice_info()
        if sliced is not None:
            name = sliced.full_name
            parts.setdefault(name, {})[variable.op.name] = variable
            found.setdefault(name, parts[name])
        if found.setdefault(name, variable) is not (variable if sliced is None else parts[name]):
            raise ModelError(
                f"{name}: two variables of the graph have this name",
                hint="give each a scope of its own",
            )
    return {name: Partitioned(name, v.values()) if isinstance(v, dict) else v for name, v in found.items()}


def parts_of(variable: Any) -> list[Any]:
    """Return TensorFlow's variables that a variable is: itself, or its parts."""
    if isinstance(variable, Partitioned):
        return variable.parts
    parts = getattr(variable, "_get_variable_list", None)  # of what get_variable returns with a partitioner
    return [variable] if parts is None else list(parts())


def name_of(variable: Any) -> str:
    """Return what a Saver stores a variable under."""
    return next(iter(by_name([variable])))


def dtype_of(variable: Any) -> DType:
    """Return the dtype of a variable of the graph."""
    return dtypes.as_dtype(variable.dtype.base_dtype.name)


def shape_of(variable: Any) -> tuple[int, ...] | None:
    """Return the shape of a variable of the graph; `None` if it is not fully known."""
    if isinstance(variable, Partitioned):
        return variable.shape
    return tuple(variable.shape.as_list()) if variable.shape.is_fully_defined() else None


def uninitialized(session: tf.compat.v1.Session, variables: Mapping[str, Any]) -> list[str]:
    """Return which of `variables` have no value in `session`. Adds nothing to a finalized graph.

    Resource variables bring an op of their own that tells; for others one is made, once.
    """
    all_parts = [(name, part) for name, variable in variables.items() for part in parts_of(variable)]
    checks = [_initialized_check(session.graph, part) for _, part in all_parts]
    known = [check for check in checks if check is not None]
    states = iter(session.run(known)) if known else iter(())
    missing = [
        name
        for (name, part), check in zip(all_parts, checks, strict=True)
        if not (next(states) if check is not None else _can_be_read(session, part))
    ]
    return list(dict.fromkeys(missing))


def ensure_initialized_check(variable: Any) -> None:
    """Let the graph have what tells whether a variable has a value."""
    for part in parts_of(variable):
        _initialized_check(part.graph, part)


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
    """Return, for each of `variables`, the variables that its initial value is computed from.

    They are named as by `by_name`: a part of a partitioned one by the whole.
    """
    wholes = {part.op.name: name for name, v in variables.items() for part in parts_of(v)}
    found = {}
    for name, variable in variables.items():
        needed: set[str] = set()
        for part in parts_of(variable):
            tensors, control = part.initializer.inputs[1:], part.initializer.control_inputs
            needed.update(wholes.get(n, n) for n in _variables_before(tensors, control) if n != part.op.name)
        found[name] = sorted(needed - {name} if isinstance(variable, Partitioned) else needed)
    return found


def _variables_before(tensors: Iterable[Any], control: Iterable[Any]) -> list[str]:
    """Return the variables that some tensors and ops are computed from."""
    found: dict[str, None] = {}
    seen = set()
    waiting = [*(tensor.op for tensor in tensors), *control]
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


def initializers(variable: Any) -> list[Any]:
    """Return the ops that initialize a variable."""
    return [part.initializer for part in parts_of(variable)]


def initial_value(variable: Any) -> Any:
    """Return the tensor that the initializer of `variable` assigns; for a partitioned one a list of them.

    What is fetched for it, `whole` makes one array of.
    """
    if isinstance(variable, Partitioned):
        return [part.initializer.inputs[1] for part in variable.parts]
    return variable.initializer.inputs[1]


def whole(variable: Any, fetched: Any) -> Any:
    """Return one array of what was fetched for a variable: for a partitioned one, of its parts."""
    if not isinstance(variable, Partitioned):
        return fetched
    values = np.empty(variable.shape, fetched[0].dtype)
    for region, part in zip(variable.regions(), fetched, strict=True):
        values[region] = part
    return values


def read(session: tf.compat.v1.Session, variable: Any) -> Any:
    """Return the current value of a variable."""
    if isinstance(variable, Partitioned):
        return whole(variable, session.run(variable.parts))
    return session.run(variable)


def load(session: tf.compat.v1.Session, variable: Any, value: Any) -> None:
    """Give `variable` a value by way of its own initializer, so that nothing is added to the graph."""
    if isinstance(variable, Partitioned):
        for part, region in zip(variable.parts, variable.regions(), strict=True):
            load(session, part, value[region])
    else:
        session.run(variable.initializer, {variable.initializer.inputs[1]: value})

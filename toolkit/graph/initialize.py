"""Initializing variables of a graph: all, chosen ones, or one from another's value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from toolkit import names
from toolkit.arguments import choose
from toolkit.change.rules import CopyValue
from toolkit.errors import MismatchError, VariableNotFoundError
from toolkit.graph.plan import GraphPlan
from toolkit.graph.variables import all_variables, by_name, dependencies_of, dtype_of, name_of, shape_of
from toolkit.plan import Verdict


def plan_initialize(
    variables: Iterable[Any] | None = None,
    *,
    copies: Mapping[Any, Any] | None = None,
    copy_value: CopyValue = "initial",
    graph: tf.Graph | None = None,
) -> GraphPlan:
    """Plan to initialize variables, each after those that its initial value is computed from.

    Args:
        variables: Which, themselves or their names; by default all global and local variables of the
            graph, and with `copies` alone only what these need.
        copies: New variable → old one: the new starts as a copy of the old. TensorFlow's variables
            can be keys only while their graph is the default one; names always can.
        copy_value: With `initial`, both are initialized from one draw, and the old must have no value
            yet. With `current`, the copy takes the value that the old has when the plan is carried
            out, or that the plan gives it.
        graph: Where names are looked up; by default the default graph.

    Raises:
        MismatchError: A copy differs from its original in dtype or shape.
        UsageError: `copy_value` is neither.
        VariableNotFoundError: The graph has no variable of a name.
        ModelError: Two variables have one name.
    """
    choose("copy_value", copy_value, ("initial", "current"))
    pairs = [(_resolve(new, graph), _resolve(old, graph)) for new, old in (copies or {}).items()]
    originals = {name_of(new): name_of(old) for new, old in pairs}
    if variables is not None:
        chosen = [_resolve(variable, graph) for variable in variables]
    elif pairs:
        chosen = []
    else:
        graph = graph or tf.compat.v1.get_default_graph()
        chosen = all_variables(graph)
    if copy_value == "initial":
        chosen += [old for _, old in pairs]
    chosen += [new for new, _ in pairs]
    targets = by_name(chosen)
    known = by_name([*chosen, *(old for _, old in pairs)])
    dependencies = dependencies_of(targets)
    verdicts = []
    for name, variable in targets.items():
        dtype, shape = dtype_of(variable).name, shape_of(variable)
        if name in originals:
            original = known[originals[name]]
            found = dtype_of(original).name, shape_of(original)
            if (dtype, shape) != found:
                raise MismatchError(
                    f"{name}: {dtype} {shape} cannot start as a copy of {originals[name]}, "
                    f"{found[0]} {found[1]}",
                    name=name,
                    expected=(dtype, shape),
                    found=found,
                    hint="a copy has the dtype and the shape of its original",
                )
            reason = f"starts as the {copy_value} value of {originals[name]}"
            verdicts.append(Verdict(name, "copy", originals[name], reason, dtype, shape))
        else:
            reason = "its initializer"
            if dependencies[name]:
                reason += f", computed from {', '.join(dependencies[name])}"
            verdicts.append(Verdict(name, "initialize", None, reason, dtype, shape))
    return GraphPlan(verdicts, targets, together=originals if copy_value == "initial" else ())


def _resolve(variable: Any, graph: tf.Graph | None) -> Any:
    """Return a variable that was given as itself or by its name."""
    if not isinstance(variable, str):
        return variable
    graph = graph or tf.compat.v1.get_default_graph()
    known = by_name(graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
    name = variable.removesuffix(":0")
    if name not in known:
        raise VariableNotFoundError(name, where="the graph", suggestions=names.nearest(name, known))
    return known[name]


def initialize(
    session: tf.compat.v1.Session,
    variables: Iterable[Any] | None = None,
    copies: Mapping[Any, Any] | None = None,
    copy_value: CopyValue = "initial",
) -> GraphPlan:
    """Initialize variables in `session` and return the plan that was carried out.

    Args:
        session: Where.
        variables: Which, themselves or their names; by default all of the session's graph.
        copies: New variable → old one, as `plan_initialize` takes them.
        copy_value: `initial` or `current`, as there.

    Raises:
        MismatchError, UsageError, ModelError: As `plan_initialize` and `GraphPlan.apply`.
    """
    plan = plan_initialize(variables, copies=copies, copy_value=copy_value, graph=session.graph)
    plan.apply(session)
    return plan

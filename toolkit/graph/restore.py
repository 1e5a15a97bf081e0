"""Planning what each variable of a model gets from a checkpoint, before anything is read from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from toolkit.arguments import checked
from toolkit.change.matching import Matching
from toolkit.change.rules import CopyValue, Ema, OnMissing, OnShape, Rules, Target, verdicts_of
from toolkit.checkpoint import Checkpoint
from toolkit.errors import ModelError, UsageError
from toolkit.formats.opening import as_checkpoint
from toolkit.graph.continuing import what_does_not_continue
from toolkit.graph.living import is_alive
from toolkit.graph.object_plan import ObjectPlan
from toolkit.graph.plan import GraphPlan
from toolkit.graph.restore_objects import plan_objects
from toolkit.graph.variables import (
    Partitioned,
    all_variables,
    by_name,
    dependencies_of,
    dtype_of,
    parts_of,
    shape_of,
)
from toolkit.renaming import Renames
from toolkit.selection import listed


@checked
def plan_restore(
    checkpoint: Checkpoint | str | os.PathLike[str],
    target: Any = None,
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    reinit: str | Iterable[str] = (),
    on_missing: OnMissing = "error",
    on_shape: OnShape = "error",
    cast: bool = False,
    ema: Ema = "ignore",
    partition: bool = True,
    copy: Mapping[str, str] | None = None,
    copy_value: CopyValue = "current",
    seed: int | None = None,
) -> GraphPlan | ObjectPlan:
    """Plan which variables of a model are restored from `checkpoint`, and what becomes of the others.

    The optimizer that a Keras model is compiled with belongs to it where the checkpoint has the state of one:
    steps, learning rate and slots. It is built when the plan is carried out, if it is not yet, as Keras does
    when it first trains. If the state is another optimizer's, that is a problem of the plan; `exclude` leaves
    the optimizer as it is. Of a model that is not compiled the weights alone are restored, with a note.

    What a `tf.train.Checkpoint` or a `tf.Module` has not made yet, such as the slots of an optimizer that is
    not built, is restored when it is made (`defer`): until then the files must stay where they are.

    Args:
        checkpoint: Where values come from: open, or its path.
        target: A graph, or variables of one; by default the default graph. Or what lives: a Keras model, a
            `tf.Module` or a `tf.train.Checkpoint`, whose variables go by where they stand among the objects,
            as TensorFlow has it, and then by the names that they would have in a graph; those of a Keras
            model by their `path`, and in Keras's own files as Keras loads them.
        patterns: Which variables of the target to restore; by default all. The others are
            initialized; those of what lives keep the values that they have.
        exclude: Which of them not to restore.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings: OLD is the checkpoint's name, scope or `re:…`,
            NEW the target's. Or a function from the checkpoint's names to the target's. Several may be
            mixed in a list and apply in order: `[function, *plan.advice.renames]`.
        reinit: Which variables to initialize though the checkpoint has them. Their slots and moving
            averages start anew with them. Those of a graph have initializers of their own; of what lives,
            they are drawn by role: kernels with glorot_uniform, biases zeros, and so on.
        on_missing: What to do about a variable that the checkpoint lacks: `error` or `init`.
        on_shape: What to do where shapes differ: `error`, `init`, or `overlap`, which copies what the
            two have in common over fresh values.
        cast: Convert where dtypes differ; otherwise that is an error.
        ema: Moving averages in place of the variables that they are of: `ignore`, `prefer`, or
            `require`, which is an error for a weight that is trained and has none.
        partition: Restore a variable that is partitioned otherwise than in the checkpoint, or there alone;
            otherwise that is an error.
        copy: For some variables of the target, which other one of it they start as a copy of.
        copy_value: The `current` value of that one, as the plan leaves it, or its `initial` one, from one
            draw.
        seed: For values that are drawn for what lives. A graph has seeds of its own.

    Returns:
        The plan. `plan.ok` says whether it can be carried out, `plan.apply(session)` does it; of what lives
        `plan.apply()`.

    Raises:
        VariableNotFoundError: A pattern, an OLD, or a variable to copy matches nothing.
        UsageError: A pattern, rename or choice cannot be read.
        MismatchError: A copy differs from its original in dtype or shape.
        ModelError: The target has no variables, or two of one name.
        FormatError: The checkpoint's index breaks a rule.
    """
    if copy is not None and not isinstance(copy, Mapping):
        raise UsageError(f"copy: expected names, got {copy!r}", hint="copy={'new/kernel': 'old/kernel'}")
    if not all(isinstance(name, str) for pair in dict(copy or {}).items() for name in pair):
        raise UsageError("copy: expected names", hint="copy={'new/kernel': 'old/kernel'}")
    rules = Rules(
        tuple(listed(patterns)),
        tuple(listed(exclude)),
        rename,
        tuple(listed(reinit)),
        on_missing,
        on_shape,
        cast,
        ema,
        partition,
        dict(copy or {}),
        copy_value,
    )
    checkpoint = as_checkpoint(checkpoint)
    if is_alive(target):
        return plan_objects(checkpoint, target, rules, seed)
    if seed is not None:
        raise UsageError("seed: a graph has its own", hint="tf.compat.v1.set_random_seed before building it")
    variables = graph_variables(target)
    graph = parts_of(next(iter(variables.values())))[0].graph
    local = by_name(graph.get_collection(tf.compat.v1.GraphKeys.LOCAL_VARIABLES)).keys()
    targets = {name: _target(variable, is_local=name in local) for name, variable in variables.items()}
    matching = Matching(checkpoint, targets, rules)
    fates = matching.fates()
    fresh = {name: variables[name] for name, fate in fates.items() if fate.action == "initialize"}
    stored = {name: fate.stored for name, fate in fates.items() if fate.stored is not None}
    taken = {variable.name for variable in stored.values()}
    return GraphPlan(
        verdicts_of(fates, targets, dependencies_of(fresh)),
        variables,
        checkpoint=checkpoint,
        stored=stored,
        together=rules.copy if copy_value == "initial" else (),
        unused=[name for name in checkpoint.variables() if name not in taken],
        notes=[*matching.notes(), *what_does_not_continue(graph, variables)],
        advice=matching.advice(),
    )


def _target(variable: Any, *, is_local: bool) -> Target:
    shape = shape_of(variable)
    parts: tuple[tuple[int, ...], ...] = ()
    if isinstance(variable, Partitioned):
        parts = tuple(tuple(part.shape.as_list()) for part in variable.parts)
    return Target(
        dtype_of(variable),
        shape or (),
        shape is None,
        bool(variable.trainable),
        parts=parts,
        is_local=is_local,
    )


def graph_variables(target: tf.Graph | Iterable[Any] | None) -> dict[str, Any]:
    """Return the variables of a graph, or those given, by name; by default the default graph's.

    Raises:
        ModelError: There are none, two have one name, or they are in no graph.
    """
    if target is None:
        target = tf.compat.v1.get_default_graph()
    try:
        variables = by_name(all_variables(target) if isinstance(target, tf.Graph) else target)
    except (AttributeError, TypeError) as error:  # of eager variables, which have no op, or of no variables
        raise ModelError(
            f"{type(target).__name__}: neither a graph nor variables of one",
            hint="give the Keras model, the tf.Module, or tf.train.Checkpoint(name=variable, …)",
        ) from error
    if not variables:
        raise ModelError("the graph has no variables", hint="build the model in the default graph")
    return variables

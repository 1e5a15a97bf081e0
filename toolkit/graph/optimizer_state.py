"""The state of a Keras model's optimizer, in a checkpoint and in the model: what of it a plan is over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import as_dtype
from toolkit.formats.hdf5.layouts import RANDOM_STATES, UNTRACKED
from toolkit.formats.hdf5.reader import Hdf5Checkpoint
from toolkit.graph.optimizers import random_states, untracked
from toolkit.graph.slot_order import Ordered, by_variables
from toolkit.roles import is_object_based

_STEPS = "iteration"
"""What Keras 3 calls the number of steps of an optimizer (keras/src/optimizers/base_optimizer.py)."""
_NUMBERED = re.compile(r"_?optimizer/vars/(\d+)")
"""What Keras 3 calls the variables of the outermost optimizer (keras/src/saving/saving_lib.py)."""


class OptimizerState(NamedTuple):
    """What is known of an optimizer's state.

    Attributes:
        called: By the checkpoint's names, the model's names that they are meant for, beside what Keras says.
        left_out: The names of the model's variables that the plan says nothing of.
        existing: By their names, the variables of an optimizer that is not built, and stays so.
        names: What the model's optimizer keeps, by name, as far as the plan is over it.
        twice: The checkpoint's names of what it may have twice, as Keras has what an inner optimizer keeps.
        misfit: Why the checkpoint's state is not that of the model's optimizer; `None` if it is.
        notes: What is good to know, in sentences.
        renumbered: Of `names`, those for which what Keras says is wrong: the file has other slots there.
    """

    called: Mapping[str, str] = {}
    left_out: frozenset[str] = frozenset()
    existing: Mapping[str, Any] = {}
    names: tuple[str, ...] = ()
    twice: frozenset[str] = frozenset()
    misfit: str | None = None
    notes: tuple[str, ...] = ()
    renumbered: frozenset[str] = frozenset()


def optimizer_state(
    model: Any,
    real: Any,
    optimizer: Any,
    checkpoint: Checkpoint,
    names: Mapping[int, str],
    bound: Mapping[str, str],
    targets: Mapping[str, Target],
) -> OptimizerState:
    """Return the state of a Keras model's optimizer, in the model and in the checkpoint.

    The optimizer is a part of the plan if the checkpoint has anything that could be its state. If that was
    saved before the optimizer was built, the model's optimizer stays unbuilt, too.

    Args:
        model: The model.
        real: Its optimizer; `None` if it is not compiled.
        optimizer: That, or a built copy of it.
        checkpoint: Where values are to come from.
        names: The names of the model's variables, by `id`.
        bound: By the checkpoint's names, those of the model that are found by edges, or by Keras.
        targets: What is known of the model's variables.
    """
    seeds, without_state = _added(checkpoint, RANDOM_STATES, [names[id(v)] for v in random_states(model)])
    left_out = frozenset(without_state)
    stored = _stored(checkpoint)
    if optimizer is None:
        has_state = bool(stored) or any(role.kind == "slot" for role in checkpoint.roles().values())
        note = "the model is not compiled: what the checkpoint's optimizer keeps is not taken"
        return OptimizerState(seeds, left_out, notes=(note,) if has_state else ())
    own = {names[id(variable)]: variable for variable in optimizer.variables}
    extra, lost = _added(checkpoint, UNTRACKED, [names[id(v)] for v in untracked(optimizer).values()])
    lost = [name for name in lost if name not in bound.values()]  # TensorFlow may have it
    left_out |= set(lost)
    scoped, num_slots = _by_scope(checkpoint, own)
    called = {**seeds, **extra, **_by_order(checkpoint, stored, own), **scoped}
    ordered = Ordered({})
    if isinstance(checkpoint, Hdf5Checkpoint):
        kept = checkpoint.optimizer_names
        ordered = by_variables({**bound, **called}, real, own, kept, checkpoint, targets)
        if ordered.renumbered:
            bound = {old: new for old, new in bound.items() if new not in ordered.renumbered}
            called = {old: new for old, new in ordered.places.items() if old not in bound}
    by_name = {*checkpoint.variables(), *checkpoint.paths().values(), *bound.values(), *called.values()}
    found = [name for name in own if name in by_name]
    kind = type(real).__name__
    if not found and not stored:
        note = f"the checkpoint has no state of an optimizer that is the model's: {kind} stays as it is"
        return OptimizerState(seeds, left_out | own.keys() | set(extra.values()), notes=(note,))
    existing = _existing(real, optimizer, own)
    if len(existing) < len(own):
        first = dict(zip(stored, existing, strict=True)) if len(stored) == len(existing) else {}
        if not stored and set(found) <= existing.keys():
            first = {old: new for old, new in bound.items() if new in existing}
        if first and _counts_nothing(checkpoint, first):
            rest = left_out | (own.keys() - existing.keys())
            return OptimizerState({**called, **first}, rest | set(extra.values()), existing, tuple(existing))
    misfit = None
    if max(len(found), len(scoped) + num_slots) < len(own):
        count = len(stored) or max(len(found), len(scoped) + num_slots)
        misfit = f"{count} of an optimizer in the checkpoint, {len(own)} in the model's {kind}"
        if count == len(own):
            misfit = f"the checkpoint's optimizer keeps as many variables, but others than the model's {kind}"
    notes = list(ordered.notes)
    if not real.built:
        notes.append(f"{kind} is built when the plan is carried out, as when it first trains")
    if lost:
        notes.append(f"does not continue: {', '.join(lost)}, which Keras does not save within {kind}")
    twice = frozenset(stored) if misfit is None else frozenset[str]()
    return OptimizerState(called, left_out, {}, tuple(own), twice, misfit, tuple(notes), ordered.renumbered)


def _stored(checkpoint: Checkpoint) -> list[str]:
    """Return the names of what an optimizer keeps in a Keras file, in its order."""
    if not isinstance(checkpoint, Hdf5Checkpoint):
        return []
    if checkpoint.layout != "keras3":
        return list(checkpoint.optimizer_names)
    numbered = {name: _NUMBERED.fullmatch(name) for name in checkpoint.optimizer_names}
    return sorted((n for n, found in numbered.items() if found), key=lambda n: int(n.rpartition("/")[2]))


def _by_order(checkpoint: Checkpoint, stored: list[str], own: Mapping[str, Any]) -> dict[str, str]:
    """Map a legacy file's variables of an optimizer to the model's, by their order, as Keras does.

    Source: keras/src/legacy/saving/legacy_h5_format.py, load_model_from_hdf5.
    """
    if not isinstance(checkpoint, Hdf5Checkpoint) or checkpoint.layout != "keras" or len(stored) != len(own):
        return {}
    pairs = dict(zip(stored, own, strict=True))
    return pairs if all(_fits(checkpoint[old], own[new]) for old, new in pairs.items()) else {}


def _by_scope(checkpoint: Checkpoint, own: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """Return an optimizer's numbers in a name-based checkpoint, where Keras numbers the optimizer otherwise.

    `adam/iteration` is what a second model in one process calls `adam_1/iteration`.

    Returns:
        The model's names by the checkpoint's; and how many slots and averages the optimizer has there.
    """
    variables, roles = checkpoint.variables(), checkpoint.roles()
    if isinstance(checkpoint, Hdf5Checkpoint) or is_object_based(variables):
        return {}, 0
    called: dict[str, str] = {}
    num_slots = 0
    for name in own:
        scope, _, leaf = name.rpartition("/")
        if leaf != _STEPS:
            continue
        theirs = [key.rpartition("/")[0] for key in variables if key.endswith(f"/{_STEPS}")]
        alike = [each for each in theirs if _without_number(each) == _without_number(scope)]
        if len(alike) == 1:
            numbers = {
                f"{alike[0]}/{each.rpartition('/')[2]}": each for each in own if each.startswith(f"{scope}/")
            }
            called |= {
                key: each for key, each in numbers.items() if key in variables and roles[key].of is None
            }
            num_slots += sum(
                role.of is not None and key.startswith(f"{alike[0]}/") for key, role in roles.items()
            )
    return called, num_slots


def _without_number(scope: str) -> str:
    return re.sub(r"_\d+\Z", "", scope)


def _existing(real: Any, optimizer: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by name, the variables that an optimizer has without being built: steps and rates."""
    if real is optimizer:
        return dict(own)
    by_path = {variable.path: name for name, variable in own.items()}
    return {by_path[v.path]: v for v in real.variables if v.path in by_path}


def _counts_nothing(checkpoint: Checkpoint, names: Iterable[str]) -> bool:
    """Return whether an optimizer was saved before its first step."""
    steps = [checkpoint[name] for name in names if checkpoint[name].dtype.kind == "int"]
    return not any(step.load().any() for step in steps)


def _added(checkpoint: Checkpoint, place: str, wanted: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return which of the model's variables those are that a keeper of saves added to Keras's at `place`.

    Returns:
        The model's names by the checkpoint's; and the model's that the checkpoint does not have.
    """
    found = (name for name in checkpoint.variables() if name.startswith(place))
    stored = sorted((n for n in found if n[len(place) :].isdecimal()), key=lambda n: int(n[len(place) :]))
    if len(wanted) != len(stored):
        return {}, wanted
    return dict(zip(stored, wanted, strict=True)), []


def _fits(variable: Variable, target: Any) -> bool:
    dtype = as_dtype(target.dtype if isinstance(target.dtype, str) else target.dtype.name)
    return (variable.dtype, variable.shape) == (dtype, tuple(target.shape))

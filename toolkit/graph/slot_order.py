"""Slots of a Keras 3 optimizer that has other settings, or another class, than the one in the checkpoint.

Keras numbers what an optimizer keeps: `optimizer/_variables/2`, `optimizer/vars/2`. With `use_ema`, or a
schedule for the learning rate, the same number is another slot, of another variable. TensorFlow and Keras go
by the numbers: the average of one weight becomes the momentum of another, without a word where the shapes are
equal. What the checkpoint calls its slots tells, and then they go by the variables that they belong to.

Source: keras/src/optimizers/base_optimizer.py, __init__, build and load_own_variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit.change.rules import Target
from toolkit.checkpoint import Checkpoint
from toolkit.formats.bundle.object_binding import Binding, made_nodes, trained_nodes
from toolkit.formats.bundle.object_graph import ObjectGraph
from toolkit.graph.optimizers import kept_by
from toolkit.graph.trackables import Objects
from toolkit.roles import ATTRIBUTE, Role, slot_name

_NUMBER = re.compile(r"_\d+\Z")
_BELONGING = ("slot", "moving_average")
_NOW = {"m": "momentum", "v": "velocity", "vhat": "velocity_hat", "u": "norm"}
"""What Keras 2.11 to 2.15 called the slots of Adam, Nadam, Adamax and SGD, in the words of Keras 3.

Source: keras/optimizers (adam.py, nadam.py, adamax.py, sgd.py) of Keras 2.15; keras/src/optimizers.
"""


class Ordered(NamedTuple):
    """Where slots stand.

    Attributes:
        places: By the checkpoint's keys, the names of the model's variables.
        renumbered: The names of what those optimizers keep whose numbers tell nothing.
        notes: What TensorFlow itself would do, in a sentence for each such optimizer.
    """

    places: dict[str, str]
    renumbered: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def by_objects(
    places: Mapping[str, str],
    binding: Binding,
    objects: Objects,
    stored: ObjectGraph,
    checkpoint: Checkpoint,
    names: Mapping[int, str],
    targets: Mapping[str, Target],
) -> Ordered:
    """Return `places`, with the slots of each optimizer of other settings by the variables they belong to.

    Args:
        places: By the checkpoint's keys, the names of the model's variables at the same places.
        binding: Which of the checkpoint's objects those of the model are.
        objects: The model's.
        stored: The checkpoint's.
        checkpoint: Where values come from.
        names: The names of the model's variables, by `id`.
        targets: What is known of these.
    """
    ordered = Ordered(dict(places))
    for number, optimizer in enumerate(objects.every):
        if not isinstance(optimizer, tf.keras.optimizers.Optimizer) or number not in binding.nodes:
            continue
        own = [names[id(variable)] for variable in kept_by(optimizer) if id(variable) in names]
        if not ordered.renumbered & set(own):
            keys = _keys_below(stored, binding.nodes[number])
            found = by_variables(ordered.places, optimizer, own, keys, checkpoint, targets)
            renumbered = ordered.renumbered | found.renumbered
            ordered = Ordered(found.places, renumbered, (*ordered.notes, *found.notes))
    return ordered


def by_variables(
    places: Mapping[str, str],
    optimizer: Any,
    own: Iterable[str],
    keys: Iterable[str],
    checkpoint: Checkpoint,
    targets: Mapping[str, Target],
) -> Ordered:
    """Return `places`, with the slots of an optimizer by the variables they belong to, if numbers are wrong.

    Args:
        places: By the checkpoint's keys, the names of the model's variables that would get their values.
        optimizer: The model's.
        own: The names of what it keeps.
        keys: What the checkpoint's optimizer keeps; weights among them are left out.
        checkpoint: Where values come from.
        targets: What is known of the model's variables.
    """
    roles, paths = checkpoint.roles(), checkpoint.paths()
    theirs = {key: _stored(key, roles[key], paths, places) for key in keys if roles[key].kind != "weight"}
    ours = {name: _described(name, targets[name].role) for name in own}
    placed = set(places.values())
    numbered = [(theirs[key], ours[name]) for key, name in places.items() if key in theirs and name in ours]
    if not any(_contradict(*pair, placed) for pair in numbered):
        return Ordered(dict(places))
    kept = {key: name for key, name in places.items() if name not in ours and key not in theirs}
    by_meaning: dict[_Meant, list[str]] = {}
    for key, each in theirs.items():
        if each is not None and each.slot:
            by_meaning.setdefault(each, []).append(key)
    for name, meant in ours.items():
        alike = [] if meant is None else by_meaning.get(meant, [])
        if len(alike) == 1:
            kept[alike[0]] = name
    what = f"the checkpoint's optimizer keeps other variables than the model's {type(optimizer).__name__}"
    how = "its slots go by the variables they belong to; TensorFlow and Keras go by numbers"
    return Ordered(kept, frozenset(ours), (f"{what}: {how}",))


class _Meant(NamedTuple):
    """What an optimizer keeps: for which of the model's variables, and what; empty if that is not told."""

    owner: str | None
    slot: str


def _stored(key: str, role: Role, paths: Mapping[str, str], places: Mapping[str, str]) -> _Meant | None:
    """Return what a key is for, in the model's words; `None` where that is not told."""
    if role.of is None:
        return _described(paths.get(key, key), role)
    ways = [_described(paths.get(key, key), Role(role.kind, each)) for each in (paths.get(role.of), role.of)]
    found = next((way for way in ways if way is not None and way.slot), ways[-1])
    return None if found is None else found._replace(owner=places.get(role.of, role.of))


def _described(name: str, role: Role | None) -> _Meant | None:
    """Return what an optimizer keeps under `name`; `None` where that is not told."""
    if role is None or name.endswith(ATTRIBUTE) or name.rpartition("/")[2].isdecimal():
        return None  # a place among objects is no name
    if role.of is None and role.kind in _BELONGING:
        return None
    slot = name.rpartition("/")[2] if role.of is None else slot_name(name, role.of)
    slot = _NUMBER.sub("", slot or "")
    return _Meant(role.of, slot if role.of is None else _NOW.get(slot, slot))


def _contradict(theirs: _Meant | None, ours: _Meant | None, placed: Collection[str]) -> bool:
    """Return whether two that have the same number are told to be different, and one of them is a slot.

    Of which variable a slot is counts if one of the two variables is known in both, in `placed`.
    """
    if theirs is None or ours is None or theirs.owner is ours.owner is None:
        return False
    if theirs.owner != ours.owner and (theirs.owner in placed or ours.owner in placed):
        return True
    return bool(theirs.slot and ours.slot and theirs.slot != ours.slot)


def _keys_below(stored: ObjectGraph, node: int) -> Iterator[str]:
    """Yield the keys of all values that an object of a checkpoint has, in it and in what it has."""
    waiting, met = [node], set[int]()
    while waiting:
        number = waiting.pop()
        if number not in met:
            met.add(number)
            yield from (value.checkpoint_key for value in stored.nodes[number].attributes)
            waiting += [child.node_id for child in stored.nodes[number].children]


def without_numbers(targets: Mapping[str, Target], renumbered: Collection[str]) -> dict[str, Target]:
    """Return targets of which those that are `renumbered` go by no key: numbers are wrong for them."""
    return {
        name: target._replace(aliases=()) if name in renumbered else target
        for name, target in targets.items()
    }


def will_contradict(optimizer: Any, node: int, stored: ObjectGraph, checkpoint: Checkpoint) -> bool:
    """Return whether an optimizer, once it is built, keeps other slots under the numbers of the checkpoint's.

    A copy of it is built for variables of as many dimensions as those that were trained, of one value each.

    Args:
        optimizer: One of Keras 3 that is not built.
        node: The number of what it is in the checkpoint.
        stored: The checkpoint's objects.
        checkpoint: Where values come from.
    """
    keys, variables = {value.node: value.key for value in stored.values}, checkpoint.variables()
    roles, paths = checkpoint.roles(), checkpoint.paths()
    trained = [keys.get(each) for each in trained_nodes(stored, node)]
    if not trained or any(key not in variables for key in trained):
        return False
    names = {str(key): f"trained{index}" for index, key in enumerate(trained)}
    with tf.device("CPU:0"):
        try:
            fakes = [
                tf.keras.Variable(np.zeros((1,) * len(variables[key].shape), np.float32), name=name)
                for key, name in names.items()
            ]
            copy = type(optimizer).from_config(optimizer.get_config())
            copy.build(fakes)
        except Exception:  # whatever an optimizer of a user's own raises: it tells nothing
            return False
    own = set(names.values())
    for number, variable in zip(made_nodes(stored, node), copy.variables, strict=False):
        owner = variable.path.rpartition("/")[2].partition("_")[0]
        mine = _described(variable.path, Role("slot", owner) if owner in own else Role("counter"))
        key = keys.get(number, "")
        if key in variables and _contradict(_stored(key, roles[key], paths, names), mine, own):
            return True
    return False

"""What all variables of a file in Keras 3's layout are: names, roles, what is trained, what slots start with.

Everything is told from plain facts: keys with dtypes and shapes, what groups are called, the order of
writing, and configurations. So it does not matter whether they lie in an archive, a folder, or several files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from toolkit.formats.keras import objects
from toolkit.formats.keras.config import Config
from toolkit.formats.keras.names import Names, unique
from toolkit.formats.keras.objects import METRICS, SEEDS, Object
from toolkit.formats.keras.optimizer import Optimizers, State
from toolkit.roles import Described, Role, assign

_UNTRACKED = "untracked"
"""What an optimizer keeps that Keras does not know of, which the keeper of saves adds below it."""


class Contents(NamedTuple):
    """What the variables of a file are.

    Attributes:
        paths: What people call them, by key: unique names.
        roles: What each is for.
        trained: The keys of what is trained; `None` where that is not told.
        kept: The keys of what optimizers keep.
        starts: What slots start with, by key; `None` if that is the value of their variable.
        optimizers: The optimizers, the outer ones before those in them.
    """

    paths: dict[str, str]
    roles: dict[str, Role]
    trained: frozenset[str] | None
    kept: frozenset[str]
    starts: dict[str, float | None]
    optimizers: list[State]


def read(
    variables: Mapping[str, Described],
    *,
    called: Mapping[str, str],
    written: Mapping[str, int],
    config: Config,
) -> Contents:
    """Return names and roles of the variables of a file in Keras 3's layout.

    Args:
        variables: All of them by key, `layers/dense/vars/0`: dtypes and shapes.
        called: The groups that stand for objects, `layers/dense`, with their attribute `name`; empty where
            they have none.
        written: For each variable a number, smaller for those written before: of HDF5 the address of the
            dataset's header. (Where its values lie does not tell: HDF5 fills gaps.)
        config: What is told beside the weights.
    """
    root, apart = objects.read(variables, called, config.model, written)
    names = Names(root)
    groups = {group: keys for group, keys in apart.items() if _top(group) not in (*METRICS, SEEDS)}
    known = {group: keys for group, keys in groups.items() if not group.endswith(f"/{_UNTRACKED}")}
    optimizers = Optimizers(variables, known, called, written, root, config, names).read()
    shown = dict(names.shown)
    roles = assign(variables)
    starts: dict[str, float | None] = {}
    for state in optimizers:
        for key, kept in state.kept.items():
            roles[key] = kept.role
            if kept.name:
                shown[key] = kept.name
            if kept.role.kind == "slot" and (kept.follows or (kept.start is not None and state.described)):
                starts[key] = kept.start
    for group, keys in apart.items():
        if _top(group) in METRICS:
            roles.update(dict.fromkeys(keys, Role("metric")))
        elif _top(group) == SEEDS:
            roles.update(dict.fromkeys(keys, Role("counter")))
    kept_keys = frozenset(key for keys in groups.values() for key in keys)
    for key in kept_keys:
        if roles[key].kind == "weight":
            roles[key] = Role("slot" if variables[key].shape else "counter")
    for each in root.inside():
        for key in each.own:
            counts = not variables[key].shape and variables[key].dtype.kind == "int"
            roles[key] = Role("counter" if counts else "weight")
    in_order = {key: shown[key] for key in variables if key in shown}
    return Contents(
        unique(in_order, variables.keys()), roles, _trained(root, optimizers), kept_keys, starts, optimizers
    )


def _top(group: str) -> str:
    return group.partition("/")[0]


def _trained(root: Object, optimizers: list[State]) -> frozenset[str] | None:
    """Return the trained variables: those with slots of a whole optimizer, or as the layers say."""
    inner = [state for state in optimizers if not state.is_wrapper]
    owners = {kept.role.of for state in inner for kept in state.kept.values()} - {None}
    if owners and all(state.is_solved for state in inner):
        return frozenset(owner for owner in owners if owner is not None)
    found: set[str] = set()
    for each in root.inside():
        if each.is_frozen:
            continue
        if each.own and (each.is_trained is None or not each.is_told):
            return None
        found.update(
            key for key, is_trained in zip(each.own, each.is_trained or (), strict=True) if is_trained
        )
    return frozenset(found)

"""What the variables of Keras's legacy `.h5` are: there they have names, and lists in order.

A weight is called as in its model, `net/hidden/kernel` of a sequential model `net`; its layer's group is
`hidden`. Slots are called after their variable: `Adam/m/hidden/kernel`, `adam/net_hidden_kernel_momentum`.

Source: keras/src/legacy/saving/legacy_h5_format.py; keras/src/optimizers/base_optimizer.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from toolkit.formats.keras import layers, slots
from toolkit.formats.keras.config import Config, Described, described, layers_of, name_of
from toolkit.formats.keras.names import unique
from toolkit.roles import Described as Stored
from toolkit.roles import FlatNames, Role, assign, kept_by_optimizer

_STEPS = re.compile(r"(^|/)(iterations?|iter)(_\d+)?\Z")
_RATE = re.compile(r"(^|/)learning_rate(_\d+)?\Z")
_SLOT = re.compile(r"(?:^|/|_)(accumulator|momentum)(?:_\d+)?(?:/|\Z)")


class Weight(NamedTuple):
    """A weight: its variable's key, the group of its layer, and its name there."""

    key: str
    layer: str
    name: str


def paths(weights: Iterable[Weight], roles: Mapping[str, Role], model: Described | None) -> dict[str, str]:
    """Map keys to the readable names of variables, where they differ: without the model's name.

    Slots are called after their weights, `adam/head_kernel_momentum`: their names tell whose they are.

    Args:
        weights: The weights of the layers.
        roles: What each variable is for, by key.
        model: The model, as far as it is told.
    """
    prefix, shown = f"{name_of(model)}/", {}
    for weight in weights:
        rest = weight.key.removeprefix(prefix)
        if rest != weight.key and rest.startswith(f"{weight.layer}/"):
            shown[weight.key] = rest
    shown = unique(shown, roles.keys())
    slots = {
        key: _called_after(key, role.of, shown[role.of])
        for key, role in roles.items()
        if role.of is not None and role.of in shown
    }
    return unique({**shown, **{key: name for key, name in slots.items() if name != key}}, roles.keys())


def _called_after(slot: str, owner: str, shown: str) -> str:
    """Return the name of a slot with what its owner is called in place of the owner's key."""
    scope, leaf = slot[: slot.rfind("/") + 1], slot[slot.rfind("/") + 1 :]
    flat = owner.replace("/", "_")
    if leaf.startswith(f"{flat}_"):
        return scope + shown.replace("/", "_") + leaf.removeprefix(flat)
    return f"/{slot}/".replace(f"/{owner}/", f"/{shown}/", 1)[1:-1]


def roles(variables: Mapping[str, Stored], optimizer: Collection[str]) -> dict[str, Role]:
    """Map each variable to its role; the variables that the file lists as an optimizer's are no weights.

    Args:
        variables: All variables by key.
        optimizer: The keys of what optimizers keep.
    """
    found = assign(variables)
    weights = FlatNames({key: v for key, v in variables.items() if key not in optimizer})
    for key in optimizer:
        if found[key].kind == "weight" or found[key].of in optimizer:
            found[key] = kept_by_optimizer(key, variables[key], weights.owner_of(key, variables[key]))
    return found


def starts(told: Mapping[str, Role], optimizers: Sequence[Described]) -> dict[str, float | None]:
    """Map slots to their initial values, where names do not tell; `None` for their variable's value.

    Args:
        told: The role of each variable.
        optimizers: The optimizers that the file tells.
    """
    if len(optimizers) != 1:
        return {}
    found = {}
    for key, role in told.items():
        slot = _SLOT.search(key.rpartition("/")[2] if role.kind == "slot" else "") or _SLOT.search(key)
        if role.kind == "slot" and role.of is not None:
            found[key] = slots.starting_value(optimizers[0], slot[1] if slot else "")
    return found


def trained(weights: Sequence[Weight], model: Described | None) -> frozenset[str] | None:
    """Return the keys of the weights that are trained; `None` where the configuration does not tell."""
    listed = layers_of(model)
    if model is None or listed is None:
        return None
    found = set()
    tops = {name_of(layer): layer for layer in listed}
    for weight in weights:
        layer = tops.get(weight.layer)
        if layer is None:
            return None
        segments = weight.name.split("/")
        while (inner := layers_of(layer)) is not None:
            named = {name_of(each): each for each in inner}
            at = next((n for n, each in enumerate(segments[:-1]) if each in named), None)
            if at is None:
                return None
            layer, segments = named[segments[at]], segments[at + 1 :]
        if not layer.is_keras:
            return None
        if layer.config.get("trainable") is not False and not layers.is_untrained(segments[-1]):
            found.add(weight.key)
    return frozenset(found)


def optimizers(config: Config) -> list[Described]:
    """Return the optimizers that a configuration tells, the outer one before those in it."""
    if config.optimizer is None:
        return []
    found = [config.optimizer]
    inner = described(config.optimizer.config.get("inner_optimizer"))
    map_of = described(config.optimizer.config.get("optimizer_map"))
    if inner is not None:
        found.append(inner)
    if map_of is not None:
        by_pattern = map_of.config.get("optimizer_map")
        each = [
            *(by_pattern.values() if isinstance(by_pattern, dict) else ()),
            map_of.config.get("default_optimizer"),
        ]
        found += filter(None, map(described, each))
    return found


def numbers(optimizer: Collection[str], told: Described, *, alone: bool) -> dict[str, str]:
    """Return the keys of an optimizer's own numbers, by what Keras 3 calls them.

    Args:
        optimizer: The keys of what all optimizers keep.
        told: The optimizer.
        alone: Whether it is the only one.
    """
    mine = [key for key in optimizer if alone or key.split("/")[-2:-1] in ([], [name_of(told)])]
    found: dict[str, str] = {}
    for key in mine:
        for name, pattern in (("iteration", _STEPS), ("learning_rate", _RATE)):
            if pattern.search(key):
                found.setdefault(name, key)
    return found

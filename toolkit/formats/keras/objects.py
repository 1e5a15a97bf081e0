"""The objects of a model as Keras 3 writes them: a group for each, what they are called, what is in them.

    layers/<class>[_n]         of a functional or sequential model: its layers, numbered by class in its order
    <attribute>                of an object: a part of it
    <attribute>/<class>[_n]    a list that it keeps
    …/vars/N                   the variables of its own, by number

An object of which the configuration tells the class has its parts in the order in which Keras lists their
variables. Of any other the parts are written by name: in which order it was given them is not in the file, so
they are several chains, each in order, of which any interleaving may be the true one.

Source: keras/src/saving/saving_lib.py (_save_state, _save_container_state); keras/src/layers/layer.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from toolkit.formats.keras import layers
from toolkit.formats.keras.config import Described, layers_of, name_of
from toolkit.roles import Described as Stored

_LAYERS = "layers"
_LAYERS_BEFORE_2_14 = "_layer_checkpoint_dependencies"
_MAX_DEPTH = 64
"""Objects in one another; Keras itself would not get that far."""
VARIABLES = "vars"
METRICS = ("metrics", "_metrics")
SEEDS = "seed_generators"
"""The states of a model's seed generators, which the keeper of saves adds."""
_NO_PARTS = ("optimizer", "_optimizer", *METRICS, SEEDS)


@dataclass
class Object:
    """An object of a model.

    Attributes:
        group: Its group in the file.
        name: What it is called: `hidden`; empty where that is not told.
        described: Its class and configuration, where they are told.
        own: The keys of its own variables, in order.
        names: What these are called: `kernel`; `None` where that is not told.
        is_trained: For each of them whether it is trained; `None` where it is only known that those that are
            come before those that are not.
        is_told: Whether the configuration tells whether it is trained; `is_frozen` where it says it is not.
        chains: The objects in it, in chains that are each in the order in which it lists them.
    """

    group: str
    name: str = ""
    described: Described | None = None
    own: list[str] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    is_trained: tuple[bool, ...] | None = None
    is_told: bool = False
    is_frozen: bool = False
    chains: list[list[Object]] = field(default_factory=list)

    def inside(self) -> Iterator[Object]:
        """Yield this object and all in it, each before what is in it."""
        waiting = [self]
        while waiting:
            found = waiting.pop()
            yield found
            waiting += [each for chain in reversed(found.chains) for each in reversed(chain)]


@dataclass
class _Group:
    """A group, with those in it by their names."""

    path: str
    own: dict[int, str] = field(default_factory=dict)
    is_object: bool = False
    groups: dict[str, _Group] = field(default_factory=dict)


def read(
    variables: Mapping[str, Stored],
    names: Mapping[str, str],
    model: Described | None,
    written: Mapping[str, int],
) -> tuple[Object, dict[str, list[str]]]:
    """Return the model as objects, and what optimizers and metrics keep, by their groups.

    Args:
        variables: All variables by their keys, `layers/dense/vars/0`.
        names: The groups of objects, with what each is called; empty where the file does not tell.
        model: The model's class and configuration, if they are told.
        written: For each variable a number that tells which was written first. Nothing tells the order of a
            list of objects of several classes but that.
    """
    root = _groups(variables, names)
    apart: dict[str, list[str]] = {}
    _take_apart(root, variables, apart, at_root=True)
    return _Reader(variables, names, written).object(
        root, model, name_of(model) or names.get("", ""), None
    ), apart


def _groups(variables: Iterable[str], names: Iterable[str]) -> _Group:
    root = _Group("")
    for key in variables:
        *path, kind, leaf = key.split("/") if "/" in key else ("", "", key)
        if kind == VARIABLES and leaf.isdecimal() and len(leaf) < 10 and len(path) <= _MAX_DEPTH:
            _at(root, path).own[int(leaf)] = key
    for name in names:
        path = name.split("/") if name else []
        if len(path) <= _MAX_DEPTH:
            _at(root, path).is_object = True
    return root


def _at(root: _Group, path: Iterable[str]) -> _Group:
    found = root
    for name in path:
        below = f"{found.path}/{name}" if found.path else name
        found = found.groups.setdefault(name, _Group(below))
    return found


def _take_apart(
    group: _Group, variables: Mapping[str, Stored], apart: dict[str, list[str]], *, at_root: bool
) -> None:
    """Take optimizers out of a group and those in it, and at the root what else is no part of a model."""
    for name, inner in list(group.groups.items()):
        if (at_root and name in _NO_PARTS) or _keeps_steps(name, inner, variables):
            del group.groups[name]
            for each in _all(inner):
                if each.own:
                    apart[each.path] = [each.own[number] for number in sorted(each.own)]
        else:
            _take_apart(inner, variables, apart, at_root=False)


def _keeps_steps(name: str, group: _Group, variables: Mapping[str, Stored]) -> bool:
    """Return whether a group is an optimizer's: called so, and its first variable counts steps."""
    first = variables.get(group.own.get(0, ""))
    if first is None or not name.endswith("optimizer"):
        return False
    return not first.shape and first.dtype.kind == "int"


def _all(group: _Group) -> Iterator[_Group]:
    yield group
    for inner in group.groups.values():
        yield from _all(inner)


class _Reader:
    """Makes objects of groups."""

    def __init__(
        self, variables: Mapping[str, Stored], names: Mapping[str, str], written: Mapping[str, int]
    ) -> None:
        self._variables = variables
        self._names = names
        self._written = written

    def object(self, group: _Group, described: Described | None, name: str, within: Object | None) -> Object:
        """Return the object that a group stands for, with all in it.

        Args:
            group: The group.
            described: Its class and configuration, if they are told.
            name: What they tell it is called, if the file itself does not.
            within: The object that it is in.
        """
        written = self._names.get(group.path, "")
        if described is not None and written and name_of(described) not in ("", written):
            described = None  # of another object
        if described is None:
            hint = layers.by_snake_name(group.path.rpartition("/")[2]) or layers.by_snake_name(written)
            described = Described(hint, {}, is_whole=False) if hint and group.path else None
        made = Object(group.path, written or name, described)
        made.own = [group.own[number] for number in sorted(group.own)]
        is_whole = sorted(group.own) == list(range(len(group.own)))
        trainable = None if described is None else described.config.get("trainable")
        made.is_told = isinstance(trainable, bool) or bool(
            within is not None and within.is_told and within.described and layers.is_known(within.described)
        )
        made.is_frozen = trainable is False or (trainable is None and within is not None and within.is_frozen)
        if is_whole and made.own and described is not None:
            shapes = [self._variables[key].shape for key in made.own]
            ways = layers.variable_names(described, shapes)
            trained = {tuple(self._is_trained(made.own, names)) for names in ways}
            made.names = ways[0] if len(ways) == 1 else None
            made.is_trained = trained.pop() if len(trained) == 1 else None
        made.chains = self._chains(group, made)
        return made

    def _is_trained(self, keys: list[str], names: tuple[str, ...]) -> Iterator[bool]:
        for key, name in zip(keys, names, strict=True):
            yield self._variables[key].dtype.kind not in ("int", "bool") and not layers.is_untrained(name)

    def _chains(self, group: _Group, made: Object) -> list[list[Object]]:
        """Return the objects in an object."""
        listed = layers_of(made.described)
        holder = group.groups.get(_LAYERS) or group.groups.get(_LAYERS_BEFORE_2_14)
        if listed is not None and holder is not None and not holder.own:
            inside = self._listed(holder, listed, made)
            others = [g for g in group.groups.values() if g is not holder]
            # what a model's own class keeps beside its layers is written apart; its place is not told
            return [chain for chain in [inside, *self._told_by_name(others, made)] if chain]
        if made.described is not None and layers.is_known(made.described):
            return self._in_order(group, made)
        return self._told_by_name(group.groups.values(), made)

    def _listed(self, holder: _Group, listed: list[Described], made: Object) -> list[Object]:
        """Return the layers of a model, of which each is numbered by its class."""
        inside, times = [], dict[str, int]()
        for layer in listed:
            snake = layers.snake_name(layer.class_name)
            number = times.get(snake, -1) + 1
            times[snake] = number
            found = holder.groups.get(f"{snake}_{number}" if number else snake)
            if found is not None:
                inside.append(self.object(found, layer, name_of(layer), made))
        if len(inside) < len([g for g in holder.groups.values() if _has_variables(g)]):
            known = {each.group for each in inside}
            inside += [self.object(g, None, "", made) for g in holder.groups.values() if g.path not in known]
        return inside

    def _in_order(self, group: _Group, made: Object) -> list[list[Object]]:
        """Return the layers in one of Keras's own layers."""
        assert made.described is not None
        chain = []
        stacked = layers.cells(made.described)
        if stacked is not None and "cells" in group.groups:
            known = [cell for cell in stacked if cell is not None]
            return [self._listed(group.groups["cells"], known, made)]
        groups = {name.removeprefix("_"): inner for name, inner in group.groups.items()}
        for child in layers.children(made.described):
            inner = groups.pop(child.attribute, None)
            if inner is not None:
                described = child.layer
                if described is not None and child.attribute in ("forward_layer", "backward_layer"):
                    described = described._replace(config={**described.config, "name": child.name})
                chain.append(self.object(inner, described, child.name, made))
        rest = self._told_by_name(groups.values(), made)
        return [chain, *rest] if chain else rest

    def _told_by_name(self, groups: Iterable[_Group], made: Object) -> list[list[Object]]:
        """Return the objects in groups whose order is not told: lists are chains of their own."""
        chains = []
        for group in groups:
            if not _has_variables(group):
                continue
            if group.is_object or group.own:
                chains.append([self.object(group, None, "", made)])
            else:
                chains += self._members(group, made)
        return chains

    def _members(self, group: _Group, made: Object) -> list[list[Object]]:
        """Return the objects of a list, and of lists in it: one chain if their order is told.

        Of each class they are numbered. How the classes alternate only the order of writing tells, which
        counts if it agrees with the numbers.
        """
        by_class: dict[str, list[tuple[int, _Group]]] = {}
        for name, inner in group.groups.items():
            if _has_variables(inner):
                found = re.fullmatch(r"(.*?)_(\d{1,9})", name, re.DOTALL)
                stem, number = (found[1], int(found[2])) if found else (name, 0)
                by_class.setdefault(stem, []).append((number, inner))
        chains = [[inner for _, inner in sorted(each, key=lambda n: n[0])] for each in by_class.values()]
        firsts = {id(g): self._first(g) for chain in chains for g in chain}
        if all(first is not None for first in firsts.values()):
            as_written = sorted((g for chain in chains for g in chain), key=lambda g: firsts[id(g)] or 0)
            if all([g for g in as_written if g in chain] == chain for chain in chains):
                chains = [as_written]
        return [[self._in_list(inner, made) for inner in chain] for chain in chains]

    def _in_list(self, group: _Group, made: Object) -> Object:
        """Return an object of a list; a list in it as one, with its objects in it."""
        if group.is_object or group.own:
            return self.object(group, None, "", made)
        return Object(group.path, is_frozen=made.is_frozen, chains=self._members(group, made))

    def _first(self, group: _Group) -> int | None:
        """Return when the first variable in a group was written; `None` if that is not told."""
        keys = [key for each in _all(group) for key in each.own.values()]
        return min((self._written[k] for k in keys if k in self._written), default=None)


def _has_variables(group: _Group) -> bool:
    return any(each.own for each in _all(group))

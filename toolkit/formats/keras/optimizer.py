"""What a Keras file's optimizers keep: whose it is, what it is called, and what it starts with.

    optimizer/vars                          what an optimizer keeps, by number
    optimizer/inner_optimizer/vars          what the one in a LossScaleOptimizer keeps, once more
    optimizer/optimizers/<class>[_n]/vars   what those in a MultiOptimizer keep, once more

The outer one lists its own numbers, and then all of those in it in their order.

Source: keras/src/optimizers/loss_scale_optimizer.py, multi_optimizer.py; keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from toolkit.formats.keras import owners, slots
from toolkit.formats.keras.config import Config, Described, described, name_of
from toolkit.formats.keras.layers import snake_name
from toolkit.formats.keras.names import Names
from toolkit.formats.keras.objects import Object
from toolkit.formats.keras.owners import Slot
from toolkit.formats.keras.slots import Layout
from toolkit.roles import Described as Stored
from toolkit.roles import Role

_INNER = "inner_optimizer"
_OWN = ("iteration", "learning_rate", "step_counter", "dynamic_scale")
"""What a wrapper keeps of its own."""
_KERAS_2 = {"momentum": "m", "velocity": "v", "norm": "u", "velocity_hat": "vhat"}
"""What Keras 2 calls slots, but for RMSprop's."""


class Kept(NamedTuple):
    """A variable that an optimizer keeps.

    Attributes:
        role: What it is for.
        name: What Keras calls it: `adam/hidden_kernel_momentum`; empty where that is not told.
        start: What it starts with; `None` where that is its variable's value, or not told.
        follows: Whether it starts as its variable's value.
        number: What the optimizer calls it, if it is a number of its own.
    """

    role: Role
    name: str = ""
    start: float | None = None
    follows: bool = False
    number: str = ""


class State(NamedTuple):
    """An optimizer of a file.

    Attributes:
        keys: Its variables, in its order.
        described: Its class, and its configuration where that is told; `None` if not even the class is.
        name: What it is called.
        kept: What each of its variables is.
        is_solved: Whether the owner of everything is told.
        is_wrapper: Whether it wraps others, which come after it.
    """

    keys: Sequence[str]
    described: Described | None
    name: str
    kept: dict[str, Kept]
    is_solved: bool
    is_wrapper: bool = False

    @property
    def numbers(self) -> dict[str, str]:
        """The keys of the numbers of its own, by what it calls them: `iteration`."""
        found: dict[str, str] = {}
        for key in self.keys:
            kept = self.kept[key]
            if kept.role.kind == "counter" and kept.number:
                found.setdefault(kept.number, key)
        return found


class Optimizers:
    """The optimizers of a file.

    Args:
        variables: All variables by key.
        groups: The keys of what optimizers keep, by their groups.
        called: What the file calls the objects of groups.
        written: For each variable a number, smaller for those written before.
        root: The model.
        config: What the file says.
        names: What the model's variables are called.
    """

    def __init__(
        self,
        variables: Mapping[str, Stored],
        groups: Mapping[str, list[str]],
        called: Mapping[str, str],
        written: Mapping[str, int],
        root: Object,
        config: Config,
        names: Names,
    ) -> None:
        self._variables = variables
        self._groups = groups
        self._called = called
        self._written = written
        self._config = config
        self._names = names
        self._objects = {each.group: each for each in root.inside()}
        self._is_keras_2 = None if config.version is None else config.version.startswith("2.")

    def read(self) -> list[State]:
        """Return all optimizers, the outer ones before those in them."""
        found: list[State] = []
        for group in self._groups:
            if any(group.startswith(f"{other}/") for other in self._groups):
                continue
            holder, _, attribute = group.rpartition("/")
            model = self._objects.get(holder)
            if model is None:
                continue
            is_own = attribute in ("optimizer", "_optimizer")
            told = self._config.optimizer if not holder and is_own else None
            inner = [each for each in self._groups if each.startswith(f"{group}/")]
            inner.sort(key=lambda each: self._written.get(self._groups[each][0], 0))
            if inner:
                found += self._wrapper(group, inner, model, told)
            elif is_own:
                found.append(self._plain(group, [model], told))
            else:  # one of several, which trains some part of the model
                found.append(self._plain(group, [model, *(o for c in model.chains for o in c)], told))
        return found

    def _wrapper(self, group: str, inner: list[str], model: Object, told: Described | None) -> list[State]:
        """Return an optimizer that wraps others, and those."""
        name = self._called.get(group, "") or name_of(told)
        one = [each for each in inner if each == f"{group}/{_INNER}"]
        if one:
            wrapped = described(told.config.get(_INNER)) if told is not None else None
            if wrapped is None and told is not None and told.class_name not in slots.WRAPPERS:
                wrapped, told = told, None  # compile() wrapped it
            told = told or Described("LossScaleOptimizer", {})
            states = [self._plain(each, [model], wrapped) for each in one]
        else:
            told = told or Described("MultiOptimizer", {})
            states = self._several(inner, model, told)
        outer = self._outer(group, states)
        name = name or snake_name(told.class_name)
        kept = {
            key: each._replace(name=f"{name}/{each.name}" if each.name else "") for key, each in outer.items()
        }
        return [State(self._groups[group], told, name, kept, all(s.is_solved for s in states), True), *states]

    def _outer(self, group: str, states: list[State]) -> dict[str, Kept]:
        """Return the slots of an outer optimizer: its own numbers, then those of the inner one."""
        keys = self._groups[group]
        again = [state.kept[key] for state in states for key in state.keys]
        own = len(keys) - len(again)
        shapes = [self._variables[key].shape for key in keys[max(own, 0) :]]
        if own < 0 or shapes != [self._variables[key].shape for state in states for key in state.keys]:
            return {key: self._unknown(key) for key in keys}
        first = [Kept(Role("counter"), name, number=name) for name in _OWN[:own]]
        first += [Kept(Role("counter"))] * (own - len(_OWN))
        return dict(zip(keys, [*first, *again], strict=True))

    def _several(self, inner: list[str], model: Object, told: Described) -> list[State]:
        """Return the optimizers in a MultiOptimizer: each trains what its pattern means."""
        map_of = described(told.config.get("optimizer_map"))
        by_pattern = map_of.config.get("optimizer_map") if map_of is not None else None
        default = described(map_of.config.get("default_optimizer")) if map_of is not None else None
        patterns = {p: described(o) for p, o in by_pattern.items()} if isinstance(by_pattern, dict) else {}
        listed = [*dict.fromkeys(filter(None, map(name_of, patterns.values()))), name_of(default)]
        states = []
        for group in inner:
            name = self._called.get(group, "")
            mine = {p for p, each in patterns.items() if name and name_of(each) == name}
            is_default = bool(name) and name_of(default) == name
            meant = {key: self._trainer(key, patterns) for each in model.inside() for key in each.own}
            if len(set(listed)) < len(listed) or None in meant.values() or not (mine or is_default):
                states.append(self._undecided(group, name))
                continue
            others = {key for key, by in meant.items() if not (by in mine or (by == "" and is_default))}
            config = default if is_default else next(patterns[p] for p in mine)
            states.append(self._plain(group, [model], config, others))
        return states

    def _trainer(self, key: str, patterns: Mapping[str, object]) -> str | None:
        """Return the pattern that means a variable, empty for none; `None` if that is not certain."""
        paths = self._names.paths(key)
        for pattern in patterns:
            if pattern in paths and len(paths) == 1:
                return pattern
        found = {pattern: slots.is_meant([pattern], paths, whole=True) for pattern in patterns}
        means = [pattern for pattern, meant in found.items() if meant]
        if None in found.values() or len(means) > 1:
            return None
        return means[0] if means else ""

    def _undecided(self, group: str, name: str) -> State:
        keys = self._groups[group]
        class_name = slots.class_of_name(name)
        known = Described(class_name, {}) if class_name else None
        return State(keys, known, name, {key: self._unknown(key) for key in keys}, False)

    def _unknown(self, key: str) -> Kept:
        """Return the slot for a variable of an optimizer of which nothing is told: a number, or a slot."""
        return Kept(Role("slot") if self._variables[key].shape else Role("counter"))

    def _plain(
        self, group: str, models: list[Object], told: Described | None, others: Collection[str] = ()
    ) -> State:
        """Return an optimizer that wraps no other."""
        keys = self._groups[group]
        written = self._called.get(group, "")
        hint = slots.class_of_name(written)
        tried = [told] if told else [*([Described(hint, {})] if hint else []), None]
        for known in tried:
            name = written or name_of(told) or (snake_name(known.class_name) if known else "")
            fits = [fit for m in models if (fit := self._fit(keys, m, known, others)) is not None]
            if fits:
                agreed = [_agreed(each) for each in zip(*(fit.slots for fit in fits), strict=True)]
                kept = {
                    key: self._described(slot, known, fits[0].layout, name)
                    for key, slot in zip(keys, agreed, strict=True)
                }
                solved = all(slot.of is not None or slot.is_own for slot in agreed)
                return State(keys, known, name, kept, solved)
        known = told or (Described(hint, {}) if hint else None)
        name = written or name_of(told) or (snake_name(known.class_name) if known else "")
        kept = {key: self._unknown(key) for key in keys}
        if keys[0].endswith("/0"):
            kept[keys[0]] = Kept(Role("counter"), f"{name}/iteration" if name else "", number="iteration")
        return State(keys, known, name, kept, False)

    def _fit(
        self, keys: Sequence[str], model: Object, known: Described | None, others: Collection[str]
    ) -> owners.Fit | None:
        if [int(key.rpartition("/")[2]) for key in keys] != list(range(len(keys))):
            return None  # some are missing, with a file of several
        layouts: list[Layout] = []
        if known is None:
            layouts = list(slots.any_layouts(is_keras_2=self._is_keras_2))
        else:
            for generation in (False, True) if self._is_keras_2 is None else (self._is_keras_2,):
                layouts += slots.layouts(known, is_keras_2=generation)
        return owners.find(keys, model, self._variables, layouts, called=self._names.paths, others=others)

    def _described(self, slot: Slot, known: Described | None, layout: Layout, name: str) -> Kept:
        """Return the description of a variable that turned out to be `slot`."""
        if slot.is_own:
            shown = f"{name}/{slot.name}" if name and slot.name else ""
            return Kept(Role("counter"), shown, number=slot.name)
        role = Role("moving_average" if slot.name == slots.AVERAGE else "slot", slot.of)
        if slot.of is None:
            return Kept(role)
        start = slots.starting_value(known, slot.name) if known is not None else 0.0
        owner = self._names.shown.get(slot.of)
        if not owner or not slot.name or not name:
            return Kept(role, "", start, start is None)
        if len(layout.head) == 1 and self._is_keras_2:
            told = slot.name if layout.class_name == "RMSprop" else _KERAS_2.get(slot.name, slot.name)
            return Kept(role, f"{name}/{told}/{owner}", start, start is None)
        return Kept(role, f"{name}/{owner.replace('/', '_')}_{slot.name}", start, start is None)


def _agreed(found: Sequence[Slot]) -> Slot:
    """Return the result of several searches for a variable, as far as they agree."""
    names, of = {slot.name for slot in found}, {slot.of for slot in found}
    return Slot(
        found[0].name if len(names) == 1 else "",
        found[0].of if len(of) == 1 else None,
        all(slot.is_own for slot in found),
    )

"""Whose each variable of an optimizer is: its list is laid beside the trained variables, by shapes.

Nothing is said that is not certain: where two orders, or two ways in which an optimizer may list what it
keeps, fit all shapes and differ in an owner, that owner is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from toolkit.formats.keras.objects import Object
from toolkit.formats.keras.slots import Layout
from toolkit.formats.keras.training_order import Budget, EndlessError, Place, Search
from toolkit.roles import Described as Stored


class Slot(NamedTuple):
    """What one variable of an optimizer is.

    Attributes:
        name: What the optimizer calls it: `momentum`; empty where that is not told.
        of: The key of the variable that it is kept for; `None` for a number of the optimizer's own, and where
            the file leaves it open.
        is_own: Whether it is such a number.
    """

    name: str
    of: str | None = None
    is_own: bool = False


class Fit(NamedTuple):
    """What the variables of an optimizer are, in their order, and which layout told it (one of several)."""

    slots: list[Slot]
    layout: Layout


def find(
    keys: Sequence[str],
    root: Object,
    variables: Mapping[str, Stored],
    layouts: Iterable[Layout],
    *,
    called: Callable[[str], Collection[str]],
    others: Collection[str] = (),
) -> Fit | None:
    """Return the slot that each variable of an optimizer is; `None` if they do not fit the model.

    Args:
        keys: The optimizer's variables, in its order.
        root: The model that it trains.
        variables: All variables by key.
        layouts: How it may list what it keeps.
        called: Gives what the path of a variable may be; nothing if it is not told.
        others: Variables that another optimizer trains.
    """
    layouts, budget = list(layouts), Budget()
    for trusts_frozen in (True, False):
        fits = []
        for layout in layouts:
            one = _One(keys, root, variables, layout, called, others)
            try:
                found = one.find(budget, trusts_frozen=trusts_frozen) if one.head_fits() else None
            except (EndlessError, RecursionError):
                return None
            if found is not None:
                fits.append((found, layout))
        if fits:
            return _common(keys, fits)
    return None


def _common(keys: Sequence[str], fits: list[tuple[dict[int, set[Slot]], Layout]]) -> Fit:
    """Return the part on which all fits agree."""
    slots = []
    for number in range(len(keys)):
        found = {slot for may_be, _ in fits for slot in may_be.get(number, {Slot("")})}
        names = {slot.name for slot in found}
        owners = {slot.of for slot in found}
        slots.append(
            Slot(
                names.pop() if len(names) == 1 else "",
                owners.pop() if len(owners) == 1 else None,
                all(slot.is_own for slot in found),
            )
        )
    return Fit(slots, fits[0][1])


class _One:
    """One layout laid beside the variables of an optimizer."""

    def __init__(
        self,
        keys: Sequence[str],
        root: Object,
        variables: Mapping[str, Stored],
        layout: Layout,
        called: Callable[[str], Collection[str]],
        others: Collection[str],
    ) -> None:
        self._root = root
        self._variables = variables
        self._layout = layout
        self._called = called
        self._others = others
        self._shapes = [variables[key].shape for key in keys]
        self._kinds = [variables[key].dtype.kind for key in keys]
        self._first = len(layout.head)
        self._last = len(keys) - len(layout.tail)
        self._count: int | None = None

    def head_fits(self) -> bool:
        """Return whether the optimizer begins and ends with numbers, as it should."""
        layout, end = self._layout, len(self._shapes)
        if end < self._first or any(self._shapes[: self._first]) or self._kinds[0] != "int":
            return False
        if len(layout.head) > 1 and self._kinds[1] != "float":
            return False
        if end == self._first:
            return True  # it was never given any variables, and so made no more
        return self._last > self._first and not any(self._shapes[self._last :])

    def find(self, budget: Budget, *, trusts_frozen: bool) -> dict[int, set[Slot]] | None:
        """Map the number of each variable to the slots that it may be; `None` if nothing fits."""
        found: dict[int, set[Slot]] = {}
        own = [*enumerate(self._layout.head), *enumerate(self._layout.tail, self._last)]
        if len(self._shapes) == self._first:
            return {number: {Slot(name, is_own=True)} for number, name in own if number < self._first}
        for count in self._counts():
            self._count = count
            search = Search(
                self._root,
                self._step,
                self._kind,
                budget,
                trusts_frozen=trusts_frozen,
                count=None if self._others else count,
            )
            ends = [(n, self._main_size()) for n in ([count] if count else range(1, self._last + 1))]
            given = search.owners((0, 0), ends)
            for place, variables in (given or {}).items():
                for key, after in variables:
                    for number, slot in self._kept(key, place, after):
                        found.setdefault(number, set()).add(slot)
        if not found:
            return None
        return {**found, **{number: {Slot(name, is_own=True)} for number, name in own}}

    def _counts(self) -> Iterator[int | None]:
        """Yield how many variables may be trained: `None` where it need not be known before."""
        layout, kept = self._layout, self._last - self._first
        blocks = len(layout.before) + len(layout.after)
        if layout.is_one_width:
            each = blocks + layout.width
            if each and kept % each == 0:
                yield kept // each
        elif not blocks:
            yield None
        else:
            most = sum(len(each.own) for each in self._root.inside())
            yield from range(1, min(kept // (blocks + layout.width), most) + 1)

    def _main_start(self) -> int:
        return self._first + len(self._layout.before) * (self._count or 0)

    def _main_size(self) -> int:
        return self._last - len(self._layout.after) * (self._count or 0) - self._main_start()

    def _step(self, key: str, place: Place) -> Iterator[Place]:
        """Yield the places after a variable, if what is kept at a place may be its."""
        if key in self._others:
            yield place
            return
        number, done = place
        shape, count = self._variables[key].shape, self._count
        if count is not None and number >= count:
            return
        if any(self._shapes[at] != shape for at, _ in self._in_blocks(number)):
            return
        start, size = self._main_start(), self._main_size()
        for slots in self._layout.slots_of(shape, self._called(key)):
            end = done + len(slots)
            stored = self._shapes[start + done : start + end]
            if end <= size and all(have == want for have, (_, want) in zip(stored, slots, strict=True)):
                yield number + 1, end

    def _kind(self, key: str) -> Hashable:
        """Return the properties of a variable by which `_step` decides."""
        shape = self._variables[key].shape
        ways = tuple(self._layout.slots_of(shape, self._called(key))) if self._layout.rule == "muon" else ()
        return shape, ways, key in self._others, self._variables[key].dtype.kind

    def _in_blocks(self, number: int) -> Iterator[tuple[int, str]]:
        """Yield what is kept in blocks for the variable of a number: its own number, and its name."""
        count = self._count or 0
        after = self._last - len(self._layout.after) * count
        for block, name in enumerate(self._layout.before):
            yield self._first + block * count + number, name
        for block, name in enumerate(self._layout.after):
            yield after + block * count + number, name

    def _kept(self, key: str, place: Place, after: Place) -> Iterator[tuple[int, Slot]]:
        """Yield the numbers and names of all that is kept for a variable that was given a place."""
        number, done = place
        if key in self._others:
            return
        for at, name in self._in_blocks(number):
            yield at, Slot(name, key)
        for slots in self._layout.slots_of(self._variables[key].shape, self._called(key)):
            if len(slots) == after[1] - done:
                for offset, (name, _) in enumerate(slots):
                    yield self._main_start() + done + offset, Slot(name, key)

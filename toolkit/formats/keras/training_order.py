"""Which variable of a model each variable of an optimizer belongs to, where only their order tells.

An optimizer lists what it keeps by number, for the trained variables in their order. What is not told of that
order (the parts of a user's own classes, what is frozen in them, where a layer's trained variables end) is
searched for: every order that fits all shapes counts, and a variable's owner is told where all of them agree.

The search goes from place to place: a place is how many variables the optimizer has been given, and how far
it is among the slots that it keeps for one variable after another. Of a place only the places matter that a
variable or an object leads to, so that each is found out once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from toolkit.formats.keras.objects import Object

_MAX_STEPS = 300_000
"""Of a search; beyond them the owners count as not told."""

Place = tuple[int, int]
Step = Callable[[str, Place], Iterable[Place]]
"""Gives the places that a variable, by its key, leads to from a place: none if it does not fit there."""
Given = tuple[str, Place]
"""A variable at a place, and the place after it."""
Taken = tuple[tuple[int, ...], ...]
"""How far the chains of an object have been followed, those that are alike together, in no order."""
Item = str | Object


class EndlessError(Exception):
    """A search takes too long: nothing is told."""


class Budget:
    """How much searching is left."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS

    def spend(self) -> None:
        """Count a step.

        Raises:
            EndlessError: None is left.
        """
        self._steps -= 1
        if self._steps < 0:
            raise EndlessError


class Search:
    """All orders of the trained variables of a model that lead from a place to another.

    Args:
        root: The model.
        step: What a variable does.
        kind: Gives what it goes by: variables of one kind do the same.
        budget: How much searching is left.
        trusts_frozen: Whether what the configuration says is frozen is not trained.
        count: How many are trained, if that is known: where it is all that may be, none is left out.
    """

    def __init__(
        self,
        root: Object,
        step: Step,
        kind: Callable[[str], Hashable],
        budget: Budget,
        *,
        trusts_frozen: bool,
        count: int | None,
    ) -> None:
        self._root = root
        self._step = step
        self._kind = kind
        self._spend = budget.spend
        self._trusts_frozen = trusts_frozen
        self._is_all = False
        self._is_all = count == sum(len(max(self._ways(each), key=len)) for each in root.inside())
        self._ends: dict[tuple[int | str, Place], frozenset[Place]] = {}
        self._marked: set[tuple[int | str, Place, Place]] = set()
        self._found: dict[Place, set[Given]] = {}
        self._alike: dict[int, list[list[int]]] = {}
        self._kinds: dict[int, int] = {}
        self._numbers: dict[Hashable, int] = {}

    def owners(self, start: Place, ends: Iterable[Place]) -> dict[Place, set[Given]] | None:
        """Return the variables that may come at each place, over all orders; `None` if there is no order.

        Args:
            start: The place to begin at.
            ends: The places of which one is to be reached.

        Raises:
            EndlessError: It takes too long.
        """
        reached = self._reach(self._root, start)
        wanted = [end for end in ends if end in reached]
        for end in wanted:
            self._mark(self._root, start, end)
        return self._found if wanted else None

    def _reach(self, item: Item, place: Place) -> frozenset[Place]:
        """Return the places that an object, or a variable, may lead to from a place."""
        known = (item if isinstance(item, str) else id(item), place)
        if known not in self._ends:
            self._spend()
            if isinstance(item, str):
                self._ends[known] = frozenset(self._step(item, place))
            else:
                found: set[Place] = set()
                for own in self._ways(item):
                    for middle in self._along(own, {place})[-1]:
                        found |= self._among(item, middle)[-1].get(self._whole(item), set())
                self._ends[known] = frozenset(found | ({place} if self._may_be_frozen(item) else set()))
        return self._ends[known]

    def _mark(self, item: Item, start: Place, end: Place) -> None:
        """Note which variables come where on the ways of an item from a place to another."""
        known = (item if isinstance(item, str) else id(item), start, end)
        if known in self._marked:
            return
        self._marked.add(known)
        self._spend()
        if isinstance(item, str):
            self._found.setdefault(start, set()).add((item, end))
            return
        for own in self._ways(item):
            places = self._along(own, {start})
            middles = {m for m in places[-1] if end in self._among(item, m)[-1].get(self._whole(item), ())}
            self._mark_along(own, places, middles)
            for middle in middles:
                self._mark_among(item, self._among(item, middle), end)

    def _ways(self, item: Object) -> list[list[str]]:
        """Return those of an object's own variables that may be trained."""
        if item.is_frozen and self._trusts_frozen:
            return [[]]
        if item.is_trained is not None:
            return [[key for key, trained in zip(item.own, item.is_trained, strict=True) if trained]]
        return [item.own] if self._is_all else [item.own[:count] for count in range(len(item.own) + 1)]

    def _may_be_frozen(self, item: Object) -> bool:
        return not item.is_told and item is not self._root and not self._is_all

    def _along(self, items: Sequence[Item], places: set[Place]) -> list[set[Place]]:
        """Return the places before each of some items in a row, and after the last."""
        found = [places]
        for item in items:
            found.append({end for place in found[-1] for end in self._reach(item, place)})
        return found

    def _mark_along(self, items: Sequence[Item], places: list[set[Place]], ends: set[Place]) -> None:
        for number in range(len(items) - 1, -1, -1):
            before = set()
            for place in places[number]:
                for end in self._reach(items[number], place) & ends:
                    before.add(place)
                    self._mark(items[number], place, end)
            ends = before

    def _kind_of(self, item: Object) -> int:
        """Return a number that objects share of which any may stand in another's place."""
        if id(item) not in self._kinds:
            chains = [tuple(map(self._kind_of, chain)) for chain in item.chains]
            variables = tuple(map(self._kind, item.own))
            kind = (variables, item.is_trained, item.is_told, item.is_frozen, tuple(sorted(chains)))
            self._kinds[id(item)] = self._numbers.setdefault(kind, len(self._numbers))
        return self._kinds[id(item)]

    def _groups(self, item: Object) -> list[list[int]]:
        """Return the numbers of the chains of an object, those that are alike together."""
        if id(item) not in self._alike:
            found: dict[tuple[int, ...], list[int]] = {}
            for number, chain in enumerate(item.chains):
                found.setdefault(tuple(map(self._kind_of, chain)), []).append(number)
            self._alike[id(item)] = list(found.values())
        return self._alike[id(item)]

    def _whole(self, item: Object) -> Taken:
        return tuple((len(item.chains[group[0]]),) * len(group) for group in self._groups(item))

    def _among(self, item: Object, start: Place) -> list[dict[Taken, set[Place]]]:
        """Return the places that the objects in an object lead to, by how far each chain has been followed.

        They are given by how many objects have been taken.
        """
        first = tuple((0,) * len(group) for group in self._groups(item))
        levels: list[dict[Taken, set[Place]]] = [{first: {start}}]
        for _ in range(sum(map(len, item.chains))):
            level: dict[Taken, set[Place]] = {}
            for taken, places in levels[-1].items():
                for following, alike in self._next(item, taken):
                    self._spend()
                    ends = {end for place in places for end in self._reach(alike[0], place)}
                    if ends:
                        level.setdefault(following, set()).update(ends)
            levels.append(level)
        return levels

    def _mark_among(self, item: Object, levels: list[dict[Taken, set[Place]]], end: Place) -> None:
        wanted: dict[Taken, set[Place]] = {self._whole(item): {end}}
        for level in reversed(levels[:-1]):
            before: dict[Taken, set[Place]] = {}
            for taken, places in level.items():
                for following, alike in self._next(item, taken):
                    for place in places:
                        for reached in self._reach(alike[0], place) & wanted.get(following, set()):
                            before.setdefault(taken, set()).add(place)
                            for each in alike:
                                self._mark(each, place, reached)
            wanted = before

    def _next(self, item: Object, taken: Taken) -> Iterator[tuple[Taken, list[Object]]]:
        """Yield the objects of which one may come next, with how far each chain has then been followed.

        Of chains that are alike it does not matter which has been followed how far.
        """
        for number, group in enumerate(self._groups(item)):
            for done in set(taken[number]):
                if done < len(item.chains[group[0]]):
                    rest = list(taken[number])
                    rest[rest.index(done)] += 1
                    following = (*taken[:number], tuple(sorted(rest)), *taken[number + 1 :])
                    yield following, [item.chains[each][done] for each in group]

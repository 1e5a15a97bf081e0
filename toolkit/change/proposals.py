r"""What to type where many names differ in the same way: renames that make a checkpoint's names a model's.

    net=student                           a scope is called otherwise
    re:^tower/(.*)$=\1                    an outer scope is lost
    re:^(.*)$=tower/\1                    an outer scope is new
    re:^(.*/.*)$=tower/\1                 … and what is in no scope, a counter, stays
    re:^tower/([^/]*)$=\1                 … and what is in a scope stays
    re:^(?!ema/)(.*)$=tower/\1            … and a scope that the model has stays
    re:^(.*)$=\1_1                        the model was built a second time in one graph
    re:^(.*):0$=\1                        names of tensors, not of variables
    re:^(.*)/\.ATTRIBUTES/VARIABLE_VALUE$=\1   keys of objects
    re:^tower/(.*)/weights$=net/\1/kernel   variables of layers are called otherwise
    fc/weights=fc/kernel                  one variable is called otherwise
    re:^a=b(/.*)?$=net\1                  a name that cannot be OLD as it is

Each is tried on the whole checkpoint, after those that were found before it. It is proposed if it finds what
is missing, of the same dtype and shape, and loses nothing that was found. So what is proposed can be typed
whole, in this order, and gives what was promised.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from toolkit import names
from toolkit.dtypes import DType
from toolkit.renaming import OldNew, as_options, parse
from toolkit.roles import ATTRIBUTE, Kind

_SAMPLE = 200
"""Of missing names that rules are derived from: what concerns many shows in few."""
_CANDIDATES = 20
"""Names that one missing name is compared with."""
_MAX_TRIED = 20
"""Rules that are tried on all names: those that the most examples show."""
_MAX_RULES = 8
_MAX_SINGLE = 20
"""Missing names for which a rename of one variable is looked for, which is slow over many."""
_MAX_KEPT = 6
"""Names and scopes that a rule may leave out; one with more says too little."""
_LEAST_SPARING = 3
"""What a rule must find that leaves out names: renames of one variable each say it better."""
_EQUALS = r"\075"
"""A `=` in the NEW of a regular expression, which follows the last `=`: as an octal number."""
_TWICE = "the model was built a second time in one graph: build it in a new tf.Graph, or "


class Wanted(NamedTuple):
    """What a variable must be like to take the place of another. Of dtype `None` any will do."""

    dtype: DType | None
    shape: tuple[int, ...]
    kind: Kind


class Trial(NamedTuple):
    """What comes of renames.

    Attributes:
        taken: By the model's names, the checkpoint's keys of the variables that they get.
        fitting: Those of the model's names of which the variable has the dtype and shape.
        free: What the model does not take, by its name after the renames.
        names: The name of each variable after the renames, by the checkpoint's keys.
    """

    taken: dict[str, str]
    fitting: frozenset[str]
    free: dict[str, Wanted]
    names: dict[str, str]


Try = Callable[[Sequence[OldNew]], Trial | None]
"""Applies renames after those of the user; `None` if they cannot be applied."""


class Proposal(NamedTuple):
    """A rename that finds what is missing.

    Attributes:
        rule: `OLD=NEW`, as `--rename` takes it.
        found: By the missing names that it finds, the checkpoint's keys.
        unlike: Likewise of what it finds with another dtype or shape.
        before: The proposed renames that it needs before it, in order.
        reason: What seems to have happened, where it is worth saying.
    """

    rule: str
    found: dict[str, str]
    unlike: dict[str, str]
    before: tuple[str, ...] = ()
    reason: str = ""

    @property
    def hint(self) -> str:
        """What to type, for a person: it can be pasted."""
        return self.reason + as_options([*self.before, self.rule])


def propose(missing: Mapping[str, Wanted], try_renames: Try) -> list[Proposal]:
    """Return renames that find `missing` variables, in the order in which they are to be typed.

    Args:
        missing: What a model needs and a checkpoint does not have, by name.
        try_renames: Tells what comes of renames.
    """
    now = try_renames(())
    proposals: list[Proposal] = []
    if now is None:
        return proposals
    waiting = dict(missing)
    while waiting and len(proposals) < _MAX_RULES:
        step = _next(waiting, now, proposals, try_renames)
        if step is None:
            break
        waiting, now = _with(step, waiting, proposals)
    for name in list(waiting)[:_MAX_SINGLE]:
        rule = _single(name, waiting, now.free) if name in waiting else None
        step = None if rule is None else _tried(rule, [rule.old], waiting, now, proposals, try_renames)
        if step is not None:
            waiting, now = _with(step, waiting, proposals)
    return proposals


def _with(
    step: tuple[Proposal, Trial], waiting: Mapping[str, Wanted], proposals: list[Proposal]
) -> tuple[dict[str, Wanted], Trial]:
    """Add a proposal; return what is still missing, and what has come of all."""
    proposal, then = step
    proposals.append(proposal)
    met = proposal.found.keys() | proposal.unlike.keys()
    return {name: wanted for name, wanted in waiting.items() if name not in met}, then


def _next(
    waiting: Mapping[str, Wanted], now: Trial, proposals: Sequence[Proposal], try_renames: Try
) -> tuple[Proposal, Trial] | None:
    """Return the best rename for what is still missing, and what comes of it; `None` if there is none."""
    rules = [rule for rule, _ in Counter(_rules(waiting, now.free)).most_common(_MAX_TRIED)]
    applied = [(rule, found) for rule in rules if (found := _apply(rule, waiting, now.free))]
    applied.sort(key=lambda each: (-len(each[1]), each[0].is_general, len(each[0].old)))
    for rule, found in applied:
        least = 2 if rule.is_general and not rule.reason else 1
        if len(found) < least or _is_ambiguous(rule, found, applied):
            continue
        step = _tried(rule, list(found.values()), waiting, now, proposals, try_renames, least)
        if step is not None:
            return step
    return None


def _tried(
    rule: _Rule,
    sources: Sequence[str],
    waiting: Mapping[str, Wanted],
    now: Trial,
    proposals: Sequence[Proposal],
    try_renames: Try,
    least: int = 1,
) -> tuple[Proposal, Trial] | None:
    """Return `rule` as a proposal, and what comes of it, if it loses nothing and finds enough.

    It is tried as it is, and where that loses what was found, leaving that alone.

    Args:
        rule: The rename.
        sources: The names for which it was made.
        waiting: What is missing.
        now: What comes of the renames before it.
        proposals: Those renames.
        try_renames: Tells what comes of renames.
        least: How many it must find.
    """
    before = [parse(proposal.rule) for proposal in proposals]
    tried = [rule]
    for each in tried:  # which grows once
        written = parse(str(each))
        then = try_renames([*before, written])
        if then is None:
            continue
        lost = [key for name, key in now.taken.items() if then.taken.get(name) != key]
        if lost:
            if each is rule:
                tried += _sparing(rule, [now.names[key] for key in lost], sources)
            continue
        met = {name: then.taken[name] for name in waiting if name in then.taken}
        found = {name: key for name, key in met.items() if name in then.fitting}
        if len(found) >= (max(least, _LEAST_SPARING) if each.but else least):
            unlike = {name: key for name, key in met.items() if name not in found}
            alone = try_renames([written]) if before else then
            stands = alone is not None and met.items() <= alone.taken.items()
            needs = () if stands else tuple(proposal.rule for proposal in proposals)
            return Proposal(str(each), found, unlike, needs, rule.reason), then
    return None


class _Rule(NamedTuple):
    """Names that begin with the scope `old` and end with `old_end` get `new` and `new_end` instead.

    What `but` matches after the scope is left alone; `inside` is what else there must be.
    """

    old: str
    new: str
    old_end: str = ""
    new_end: str = ""
    reason: str = ""
    but: str = ""
    inside: str = ".*"

    @property
    def is_general(self) -> bool:
        """Whether it says something of all names, for which one example is too few."""
        return not (self.old and self.new) or bool(self.old_end and self.new_end)

    def apply(self, name: str) -> str | None:
        """Return the new name; `None` if the rule is not for this one."""
        if not name.endswith(self.old_end):
            return None
        name = name[: len(name) - len(self.old_end)] + self.new_end
        if name == self.old:
            return self.new or None
        if not self.old:
            return f"{self.new}/{name}" if self.new else name
        if not name.startswith(f"{self.old}/"):
            return None
        rest = name[len(self.old) + 1 :]
        return f"{self.new}/{rest}" if self.new else rest

    def __str__(self) -> str:
        is_plain = not (self.old_end or self.new_end or self.but) and self.inside == ".*"
        new, new_end = (each.replace("\\", r"\\").replace("=", _EQUALS) for each in (self.new, self.new_end))
        if self.old and self.new and is_plain:
            if "=" not in self.old and not self.old.startswith("re:"):
                return f"{self.old}={self.new}"
            return rf"re:^{re.escape(self.old)}(/.*)?$={new}\1"
        before = f"{re.escape(self.old)}/" if self.old else ""
        after = f"{new}/" if new else ""
        but = f"(?!{self.but})" if self.but else ""
        return rf"re:^{before}{but}({self.inside}){re.escape(self.old_end)}$={after}\1{new_end}"


def _sparing(rule: _Rule, kept: Sequence[str], sources: Sequence[str]) -> list[_Rule]:
    """Return forms of `rule` that rename `sources` and leave the names `kept` alone, the simplest first."""
    lead = f"{rule.old}/" if rule.old else ""
    inside = [name.removeprefix(lead) for name in kept if name.startswith(lead)]
    wanted = [name.removeprefix(lead) for name in sources]
    forms = []
    if not any("/" in name for name in inside) and all("/" in name for name in wanted):
        forms.append(rule._replace(inside=".*/.*"))
    if all("/" in name for name in inside) and not any("/" in name for name in wanted):
        forms.append(rule._replace(inside="[^/]*"))
    alternatives: dict[str, None] = {}
    for name in sorted(inside):
        scope = name.partition("/")[0] + "/"
        if not any(f"{other}/".startswith(scope) for other in wanted):
            whole = re.escape(scope) if "/" in name else f"{re.escape(name)}$"
            alternatives[whole] = None
        else:
            alternatives[f"{re.escape(name)}(?:/|$)"] = None
    if alternatives and len(alternatives) <= _MAX_KEPT:
        forms.append(rule._replace(but="|".join(alternatives)))
    return forms


def _rules(missing: Mapping[str, Wanted], free: Mapping[str, Wanted]) -> Iterator[_Rule]:
    """Yield rules that may explain why names are missing."""
    yield _Rule("", "", old_end=":0")
    yield _Rule("", "", old_end=ATTRIBUTE)
    by_leaf: dict[tuple[str, Wanted], list[str]] = {}
    by_layer: dict[tuple[str, Wanted], list[str]] = {}
    for name, wanted in free.items():
        by_leaf.setdefault((_leaf(name), wanted), []).append(name)
        by_layer.setdefault((_leaf(name.rpartition("/")[0]), wanted), []).append(name)
    step = max(len(missing) // _SAMPLE, 1)
    for name in list(missing)[::step]:
        wanted = missing[name]
        if number := re.search(r"_\d+$", name):
            yield _Rule("", "", new_end=number[0], reason=_TWICE)
        scope, _, leaf = name.rpartition("/")
        alike = by_layer.get((_leaf(scope), wanted), []) if scope else []
        for candidate in _most_alike(scope, alike):
            theirs, _, called = candidate.rpartition("/")
            if called != leaf:
                old, new = _without_common_end(theirs, scope)
                yield _Rule(old, new, old_end=f"/{called}", new_end=f"/{leaf}")
        for end in ("", ":0", ATTRIBUTE):
            candidates = by_leaf.get((_leaf(name + end), wanted), [])
            for candidate in _most_alike(name + end, candidates):
                old, new = _without_common_end(candidate.removesuffix(end), name)
                if old or new:
                    yield _Rule(old, new, old_end=end, reason=_why(old, new))
                if len(candidates) == 1:
                    yield _Rule(candidate.removesuffix(end), name, old_end=end)
                if bool(old) != bool(new):  # it may be the scope within that moves
                    scope, inside, _ = name.removeprefix(f"{new}/").partition("/")
                    if inside:
                        yield _Rule(f"{old}/{scope}".strip("/"), f"{new}/{scope}".strip("/"), old_end=end)


def _apply(rule: _Rule, missing: Mapping[str, Wanted], free: Mapping[str, Wanted]) -> dict[str, str]:
    """Map each missing name that a rule finds to the free name that it renames."""
    found: dict[str, str] = {}
    for name, described in free.items():
        new = rule.apply(name)
        if new is not None and new not in found and missing.get(new) == described:
            found[new] = name
    return found


def _is_ambiguous(
    rule: _Rule, found: Mapping[str, str], applied: Sequence[tuple[_Rule, Mapping[str, str]]]
) -> bool:
    """Return whether another rule finds as much elsewhere, and its names show as much."""
    sources = {source: name for name, source in found.items()}
    for other, others in applied:
        if len(others) < len(found) or other == rule:
            continue
        differ = any(found.get(name, source) != source for name, source in others.items()) or any(
            sources.get(source, name) != name for name, source in others.items()
        )
        if differ and _evidence(other, others) >= _evidence(rule, found):
            return True
    return False


def _evidence(rule: _Rule, found: Mapping[str, str]) -> tuple[int, bool, int]:
    """Return how much the names show that a rule is meant, other than by the number of those that it finds.

    First come the segments at the end that stay as they are; then names that differ in case and punctuation
    alone; then equal numbers in what differs. That names are spelled alike shows nothing: layers of one shape
    would be taken for each other.
    """
    stay = min(
        _num_common(source.removesuffix(rule.old_end).split("/"), name.removesuffix(rule.new_end).split("/"))
        for name, source in found.items()
    )
    plain = [re.sub(r"[\W_]", "", scope).lower() for scope in (rule.old, rule.new)]
    numbers = [re.findall(r"\d+", scope) for scope in (rule.old, rule.new)]
    return stay, plain[0] == plain[1], 0 if not any(numbers) else 1 if numbers[0] == numbers[1] else -1


def _num_common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return in how many segments at the end two names agree."""
    pairs = zip(reversed(ours), reversed(theirs), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))


def _single(name: str, missing: Mapping[str, Wanted], free: Mapping[str, Wanted]) -> _Rule | None:
    """Return the rename of the one free variable that can be `name`, and is spelled like it.

    It is the only one of its dtype and shape, in the checkpoint or in the scope; and so is `name`.
    """
    fitting = [other for other, wanted in free.items() if wanted == missing[name]]
    rivals = [other for other, wanted in missing.items() if wanted == missing[name]]
    if (len(fitting), len(rivals)) != (1, 1):
        scope = name.rpartition("/")[0]
        fitting = [other for other in fitting if other.rpartition("/")[0] == scope]
        rivals = [other for other in rivals if other.rpartition("/")[0] == scope]
    near = names.nearest(name, fitting) if (len(fitting), len(rivals)) == (1, 1) else []
    return _Rule(near[0], name) if near else None


def _most_alike(name: str, candidates: list[str]) -> list[str]:
    """Return those of `candidates` that have the most segments at the end in common with `name`."""
    if len(candidates) > _CANDIDATES:
        segments = name.split("/")
        for depth in range(min(len(segments) - 1, 8), 1, -1):
            end = "/" + "/".join(segments[-depth:])
            if alike := [c for c in candidates if f"/{c}".endswith(end)]:
                return alike[:_CANDIDATES]
    return candidates[:_CANDIDATES]


def _without_common_end(old: str, new: str) -> tuple[str, str]:
    """Return two names without the segments that both end in."""
    ours, theirs = old.split("/"), new.split("/")
    num = _num_common(ours, theirs)
    return "/".join(ours[: len(ours) - num]), "/".join(theirs[: len(theirs) - num])


def _why(old: str, new: str) -> str:
    """Return what seems to have happened where `old` is called `new`, if that is worth saying."""
    return _TWICE if re.sub(r"_\d+$", "", new) == old and new != old else ""


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]

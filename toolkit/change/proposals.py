r"""What to type where many names differ in the same way: renames that make a checkpoint's names a model's.

    net=student                           a scope is called otherwise
    re:^tower/(.*)$=\1                    an outer scope is lost
    re:^(.*)$=tower/\1                    an outer scope is new
    re:^(.*)$=\1_1                        the model was built a second time in one graph
    re:^(.*):0$=\1                        names of tensors, not of variables
    re:^(.*)/\.ATTRIBUTES/VARIABLE_VALUE$=\1   keys of objects

Each is tried on all names, and proposed if it finds what is missing, of the same dtype and shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from toolkit.roles import ATTRIBUTE, Described

_SAMPLE = 200
"""Of missing names that rules are derived from: what concerns many shows in few."""
_CANDIDATES = 20
"""Names that one missing name is compared with."""
_MAX_TRIED = 20
"""Rules that are tried on all names: those that the most examples show."""
_MAX_RULES = 8
_TWICE = "the model was built a second time in one graph: build it in a new tf.Graph, or "


class Proposal(NamedTuple):
    """A rename that finds what is missing.

    Attributes:
        rule: `OLD=NEW`, as `--rename` takes it.
        found: By the missing names that it finds, the checkpoint's.
        reason: What seems to have happened, where it is worth saying.
    """

    rule: str
    found: dict[str, str]
    reason: str = ""

    @property
    def hint(self) -> str:
        """What to type, for a person: it can be pasted."""
        quoted = f"'{self.rule}'" if re.search(r"[^\w=/.,:+-]", self.rule) else self.rule
        return f"{self.reason}--rename {quoted}"


def propose(missing: Mapping[str, Described], free: Mapping[str, Described]) -> list[Proposal]:
    """Return renames of `free` names to `missing` ones, those that find the most first.

    Args:
        missing: What a model needs and a checkpoint has not, by name.
        free: What a checkpoint has and a model does not take.
    """
    waiting, left = dict(missing), dict(free)
    proposals: list[Proposal] = []
    rules = [rule for rule, _ in Counter(_rules(waiting, left)).most_common(_MAX_TRIED)]
    while waiting and rules and len(proposals) < _MAX_RULES:
        tried = [(_apply(rule, waiting, left), rule) for rule in rules]
        found, best = max(tried, key=lambda each: (len(each[0]), not each[1].is_general, -len(each[1].old)))
        if len(found) < (2 if best.is_general else 1):
            break
        proposals.append(Proposal(str(best), found, best.reason))
        for new, old in found.items():
            del waiting[new], left[old]
        rules = [rule for found, rule in tried if found and rule != best]
    return proposals


class _Rule(NamedTuple):
    """Names that begin with the scope `old` and end with `old_end` get `new` and `new_end` instead."""

    old: str
    new: str
    old_end: str = ""
    new_end: str = ""
    reason: str = ""

    @property
    def is_general(self) -> bool:
        """Whether it says something of all names, for which one example is too few."""
        return not (self.old and self.new)

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
        if self.old and self.new and not self.old_end + self.new_end:
            return f"{self.old}={self.new}"
        before = f"{re.escape(self.old)}/" if self.old else ""
        after = f"{self.new}/" if self.new else ""
        return rf"re:^{before}(.*){re.escape(self.old_end)}$={after}\1{self.new_end}"


def _rules(missing: Mapping[str, Described], free: Mapping[str, Described]) -> Iterator[_Rule]:
    """Yield rules that may explain why names are missing."""
    yield _Rule("", "", old_end=":0")
    yield _Rule("", "", old_end=ATTRIBUTE)
    by_leaf: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for name, described in free.items():
        by_leaf.setdefault((_leaf(name), described.dtype.name, described.shape), []).append(name)
    step = max(len(missing) // _SAMPLE, 1)
    for name in list(missing)[::step]:
        described = missing[name]
        if number := re.search(r"_\d+$", name):
            yield _Rule("", "", new_end=number[0], reason=_TWICE)
        for end in ("", ":0", ATTRIBUTE):
            candidates = by_leaf.get((_leaf(name + end), described.dtype.name, described.shape), [])
            for candidate in _most_alike(name + end, candidates):
                old, new = _without_common_end(candidate.removesuffix(end), name)
                if old or new:
                    yield _Rule(old, new, old_end=end, reason=_why(old, new))
                if bool(old) != bool(new):  # it may be the scope within that moves
                    scope, inside, _ = name.removeprefix(f"{new}/").partition("/")
                    if inside:
                        yield _Rule(f"{old}/{scope}".strip("/"), f"{new}/{scope}".strip("/"), old_end=end)


def _apply(rule: _Rule, missing: Mapping[str, Described], free: Mapping[str, Described]) -> dict[str, str]:
    """Return which missing names a rule finds, with the free ones that it makes them of."""
    found: dict[str, str] = {}
    for name, described in free.items():
        new = rule.apply(name)
        wanted = None if new is None else missing.get(new)
        if new is None or wanted is None or new in found:
            continue
        if (wanted.dtype, wanted.shape) == (described.dtype, described.shape):
            found[new] = name
    return found


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
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    return "/".join(ours), "/".join(theirs)


def _why(old: str, new: str) -> str:
    """Return what seems to have happened where `old` is called `new`, if that is worth saying."""
    return _TWICE if re.sub(r"_\d+$", "", new) == old and new != old else ""


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]

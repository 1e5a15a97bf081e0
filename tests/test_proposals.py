"""Renames that are proposed: each is given to `rename`, which must find what is missing."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from toolkit import dtypes, renaming
from toolkit.change.proposals import propose
from toolkit.dtypes import DType
from toolkit.roles import Role


class Described(NamedTuple):
    dtype: DType
    shape: tuple[int, ...]


F32 = dtypes.BY_NAME["float32"]
LAYERS = {"dense1/kernel": (4, 3), "dense1/bias": (3,), "dense2/kernel": (3, 2), "dense2/bias": (2,)}


def described(names: dict[str, tuple[int, ...]]) -> dict[str, Described]:
    return {name: Described(F32, shape) for name, shape in names.items()}


def under(scope: str, end: str = "") -> dict[str, Described]:
    return described({f"{scope}{name}{end}": shape for name, shape in LAYERS.items()})


@pytest.mark.parametrize(
    ("missing", "free", "rule"),
    [
        (under("student/"), under("net/"), "net=student"),
        (under("a/b/net/"), under("c/net/"), "c=a/b"),
        (under(""), under("tower/"), r"re:^tower/(.*)$=\1"),
        (under("tower/"), under(""), r"re:^(.*)$=tower/\1"),
        (under(""), under("", ":0"), r"re:^(.*):0$=\1"),
        (under(""), under("", "/.ATTRIBUTES/VARIABLE_VALUE"), r"re:^(.*)/\.ATTRIBUTES/VARIABLE_VALUE$=\1"),
        (under("net_1/"), under("net/"), "net=net_1"),
        (under("", "_1"), under(""), r"re:^(.*)$=\1_1"),
        (under("net/"), under("m.x/", ":0"), r"re:^m\.x/(.*):0$=net/\1"),
    ],
)
def test_one_rule_finds_all(missing, free, rule):
    (proposal,) = propose(missing, free)
    assert proposal.rule == rule
    assert proposal.found.keys() == missing.keys()
    roles = {name: Role("weight") for name in free}
    renamed = renaming.rename(roles, [renaming.parse(proposal.rule)], where="here")
    assert {new: old for old, new in renamed.items()} == proposal.found


def test_a_rule_for_all_is_quoted_for_the_shell():
    (proposal,) = propose(under(""), under("tower/"))
    assert proposal.hint == r"--rename 're:^tower/(.*)$=\1'"
    (proposal,) = propose(under("student/"), under("net/"))
    assert proposal.hint == "--rename net=student"


def test_a_second_build_is_named_as_such():
    (proposal,) = propose(under("net_1/"), under("net/"))
    assert "built a second time" in proposal.hint


def test_several_rules_are_found_the_one_for_most_first():
    missing = {**under("x/"), **described({"y/head/kernel": (2, 5)})}
    free = {**under("net/"), **described({"z/head/kernel": (2, 5)})}
    assert [proposal.rule for proposal in propose(missing, free)] == ["net=x", "z=y"]


def test_other_shapes_are_not_taken():
    assert propose(described({"a/w": (2,)}), described({"b/w": (3,)})) == []


def test_what_one_name_alone_shows_is_no_rule_for_all():
    assert propose(described({"w": (2,)}), described({"tower/w": (2,)})) == []

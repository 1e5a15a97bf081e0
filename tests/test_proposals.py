"""Renames that are proposed: each is given to `rename`, which must find what is missing."""

from __future__ import annotations

import shlex

import pytest

from toolkit import dtypes, renaming
from toolkit.change.proposals import Proposal, Trial, Wanted, propose
from toolkit.errors import CheckpointError
from toolkit.roles import Role

F32 = dtypes.BY_NAME["float32"]
LAYERS = {"dense1/kernel": (4, 3), "dense1/bias": (3,), "dense2/kernel": (3, 2), "dense2/bias": (2,)}
COUNTERS = {"beta1_power": (), "beta2_power": (), "global_step": ()}

Shapes = dict[str, tuple[int, ...]]


def under(scope: str, end: str = "", layers: Shapes = LAYERS) -> Shapes:
    return {f"{scope}{name}{end}": shape for name, shape in layers.items()}


def wanted(shapes: Shapes) -> dict[str, Wanted]:
    return {name: Wanted(F32, shape, "weight" if shape else "counter") for name, shape in shapes.items()}


def proposals(model: Shapes, stored: Shapes) -> list[Proposal]:
    """What is proposed to a model, matching by name alone; promises are checked by typing all of it."""
    wants, has = wanted(model), wanted(stored)

    def renamed(rules) -> dict[str, str]:
        return renaming.rename({name: Role("weight") for name in has}, rules, where="here")

    def try_renames(rules) -> Trial | None:
        try:
            names = renamed(rules)
        except CheckpointError:
            return None
        taken = {new: old for old, new in names.items() if new in wants}
        fitting = frozenset(new for new, old in taken.items() if wants[new] == has[old])
        return Trial(taken, fitting, {n: has[o] for o, n in names.items() if n not in wants}, names)

    found = propose({name: each for name, each in wants.items() if name not in has}, try_renames)
    typed = {new: old for old, new in renamed([renaming.parse(p.rule) for p in found]).items()}
    for proposal in found:
        alone = renamed(map(renaming.parse, [*proposal.before, proposal.rule]))
        for promised, old in {**proposal.found, **proposal.unlike}.items():
            assert typed[promised] == alone[old] == promised or typed[promised] == old
    for name in wants.keys() & has.keys():
        assert typed[name] == name, "a proposal moves away what was found"
    return found


def rules(model: Shapes, stored: Shapes) -> list[str]:
    return [proposal.rule for proposal in proposals(model, stored)]


@pytest.mark.parametrize(
    ("model", "stored", "rule"),
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
def test_one_rule_finds_all(model, stored, rule):
    (proposal,) = proposals(model, stored)
    assert proposal.rule == rule
    assert proposal.found.keys() == model.keys()
    renamed = renaming.rename(
        {name: Role("weight") for name in stored}, [renaming.parse(proposal.rule)], where="here"
    )
    assert {new: old for old, new in renamed.items()} == proposal.found


def test_a_rule_for_all_is_quoted_for_the_shell():
    (proposal,) = proposals(under(""), under("tower/"))
    assert proposal.hint == r"--rename 're:^tower/(.*)$=\1'"
    (proposal,) = proposals(under("student/"), under("net/"))
    assert proposal.hint == "--rename net=student"


@pytest.mark.parametrize(
    "scope", ["a=b", "=a", "re:net", "re:x=y", "it's", "my net", "a+b(c)", "[a]", "a*", r"a\1", "$HOME", "網"]
)
def test_a_scope_of_odd_characters_is_renamed_added_and_taken_off_at_once(scope):
    for model, stored in (
        ("other/", f"{scope}/"),
        (f"{scope}/", "other/"),
        ("", f"{scope}/"),
        (f"{scope}/", ""),
    ):
        (proposal,) = proposals(under(model), under(stored))
        assert proposal.found.keys() == under(model).keys()
        option, rule = shlex.split(proposal.hint)
        assert (option, rule) == ("--rename", proposal.rule)


@pytest.mark.parametrize("name", ["a=b/weight", "re:net/weight"])
def test_one_variable_of_odd_characters_is_renamed(name):
    (proposal,) = proposals({f"{name}s": (7,)}, {name: (7,)})
    assert proposal.found == {f"{name}s": name}


def called(layers: Shapes, kernel: str, bias: str) -> Shapes:
    return {n.replace("kernel", kernel).replace("bias", bias): shape for n, shape in layers.items()}


class TestVariablesOfLayersAreCalledOtherwise:
    def test_one_rename_for_each(self):
        assert rules(under(""), called(under(""), "weights", "biases")) == [
            r"re:^(.*)/weights$=\1/kernel",
            r"re:^(.*)/biases$=\1/bias",
        ]

    def test_and_their_scope(self):
        assert rules(under("net/"), called(under("tower/"), "w", "b")) == [
            r"re:^tower/(.*)/w$=net/\1/kernel",
            r"re:^tower/(.*)/b$=net/\1/bias",
        ]

    def test_not_where_several_may_be_meant(self):
        parts = ("gamma", "beta")
        model = {f"bn{i}/{part}": (3,) for i in range(3) for part in parts}
        stored = {f"bn{i}/{part}": (3,) for i in range(3) for part in ("scale", "offset")}
        assert rules(model, stored) == []

    def test_with_odd_characters(self):
        (proposal,) = proposals(called(under(""), "k=1", "bias"), called(under(""), "k", "bias"))
        assert proposal.rule == r"re:^(.*)/k$=\1/k\0751"
        assert len(proposal.found) == 2


def test_a_second_build_is_named_as_such():
    (proposal,) = proposals(under("net_1/"), under("net/"))
    assert "built a second time" in proposal.hint


def test_several_rules_are_found_the_one_for_most_first():
    model = {**under("x/"), "y/head/kernel": (2, 5)}
    stored = {**under("net/"), "z/head/kernel": (2, 5)}
    assert rules(model, stored) == ["net=x", "z=y"]


def test_other_shapes_are_not_taken():
    assert rules({"a/w": (2,)}, {"b/w": (3,)}) == []


def test_what_one_name_alone_shows_is_no_rule_for_all():
    (rule,) = rules({"w": (2,)}, {"tower/w": (2,)})
    assert rule == "tower/w=w"  # of this variable, not of all


class TestWhatIsFoundStays:
    def test_counters_in_no_scope_stay_where_a_scope_is_added(self):
        (proposal,) = proposals({**under("backbone/"), **COUNTERS}, {**under(""), **COUNTERS})
        assert proposal.rule == r"re:^(.*/.*)$=backbone/\1"
        assert proposal.found.keys() == under("backbone/").keys()

    def test_counters_that_a_rename_moved_away_are_found_again(self):
        moved = under("backbone/", layers=COUNTERS)
        found = rules({**under("backbone/"), **COUNTERS}, {**under("backbone/"), **moved})
        assert found == [r"re:^backbone/([^/]*)$=\1"]

    def test_a_scope_that_the_model_has_stays(self):
        model = {**under("backbone/"), **under("ema/"), "step": ()}
        stored = {**under(""), **under("ema/"), "step": ()}
        assert rules(model, stored) == [r"re:^(?!ema/|step$)(.*)$=backbone/\1"]

    def test_a_variable_in_no_scope_is_moved_where_its_like_stay(self):
        model = {**under("backbone/"), "backbone/w": (7,), "v": (7,)}
        stored = {**under(""), "w": (7,), "v": (7,)}
        assert rules(model, stored) == [r"re:^(?!v$)(.*)$=backbone/\1"]

    def test_a_part_of_a_scope_stays(self):
        other = {"net/other/w": (9, 9)}
        (rule,) = rules({**under("student/"), **other}, {**under("net/"), **other})
        assert rule == r"re:^net/(?!other/)(.*)$=student/\1"


class TestProposalsWorkTogether:
    def test_a_scope_around_and_a_scope_that_is_called_otherwise(self):
        deep = {"net/conv/kernel": (5, 5)}
        model = {**under("body/"), "body/trunk/conv/kernel": (5, 5)}
        assert rules(model, {**under(""), **deep}) == [r"re:^(.*)$=body/\1", "body/net=body/trunk"]

    def test_a_rule_that_needs_another_says_so(self):
        model = {**under("body/"), "body/trunk/conv/kernel": (5, 5)}
        _, second = proposals(model, {**under(""), "net/conv/kernel": (5, 5)})
        assert second.hint == r"--rename 're:^(.*)$=body/\1' --rename body/net=body/trunk"

    def test_a_rule_that_stands_alone_is_said_alone(self):
        model = {**under("x/"), "y/head/kernel": (2, 5)}
        stored = {**under("net/"), "z/head/kernel": (2, 5)}
        assert [proposal.before for proposal in proposals(model, stored)] == [(), ()]

    def test_a_changed_head_is_found_too_with_its_other_shape(self):
        (proposal,) = proposals({**under("net/"), "net/head/w": (3, 10)}, {**under(""), "head/w": (3, 12)})
        assert proposal.unlike == {"net/head/w": "head/w"}


class TestWhatIsAmbiguous:
    def test_layers_that_are_as_much_alike_are_not_proposed(self):
        model = {"x/kernel": (8, 8), "y/kernel": (8, 8)}
        assert rules(model, {"p/kernel": (8, 8), "q/kernel": (8, 8)}) == []

    def test_layers_of_the_same_numbers_are(self):
        model = {"encoder/dense_1/kernel": (8, 8), "encoder/dense_2/kernel": (8, 8)}
        stored = {"enc/fc1/kernel": (8, 8), "enc/fc2/kernel": (8, 8)}
        assert sorted(rules(model, stored)) == ["enc/fc1=encoder/dense_1", "enc/fc2=encoder/dense_2"]

    def test_a_variable_that_is_near_to_two_is_not(self):
        assert rules({"fc/weighta": (2,), "fc/weightb": (2,)}, {"fc/weights": (2,)}) == []

    def test_a_counter_is_no_weight(self):
        assert rules({"net/scale": ()}, {"scale": (1,)}) == []

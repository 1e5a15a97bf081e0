import pytest

from toolkit import UsageError, VariableNotFoundError
from toolkit.roles import Role
from toolkit.selection import select

ROLES = {
    "conv1/bias": Role("weight"),
    "conv1/kernel": Role("weight"),
    "conv1/kernel/Adam": Role("slot", "conv1/kernel"),
    "conv1/kernel/ExponentialMovingAverage": Role("moving_average", "conv1/kernel"),
    "conv10/kernel": Role("weight"),
    "conv10/kernel/Adam": Role("slot", "conv10/kernel"),
    "deep/a/kernel": Role("weight"),
    "global_step": Role("counter"),
    "kernel": Role("weight"),
    "odd[1]*": Role("weight"),
}
CONV1 = ["conv1/bias", "conv1/kernel"]


def chosen(*patterns, exclude=(), follow=False):
    return select(ROLES, patterns, exclude, where="here", follow=follow)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv1", CONV1),  # never conv10
        ("conv1/", CONV1),
        ("conv1/kernel", ["conv1/kernel"]),
        ("conv1/kernel/Adam", ["conv1/kernel/Adam"]),
        ("kernel", ["kernel"]),
        ("deep", ["deep/a/kernel"]),
        ("deep/a", ["deep/a/kernel"]),
        ("*", ["global_step", "kernel", "odd[1]*"]),
        ("conv*/kernel", ["conv1/kernel", "conv10/kernel"]),
        ("conv?/*", CONV1),
        ("conv[01]/*", CONV1),
        ("conv1[!1]/kernel", ["conv10/kernel"]),
        ("**/kernel", ["conv1/kernel", "conv10/kernel", "deep/a/kernel", "kernel"]),
        ("conv1/**", [*CONV1, "conv1/kernel/Adam", "conv1/kernel/ExponentialMovingAverage"]),
        ("**/Adam*", ["conv1/kernel/Adam", "conv10/kernel/Adam"]),
        ("**", list(ROLES)),
        ("re:^conv1/", [*CONV1, "conv1/kernel/Adam", "conv1/kernel/ExponentialMovingAverage"]),
        ("re:bias", ["conv1/bias"]),
        ("odd[1]*", ["odd[1]*"]),  # a name means itself, whatever it holds
    ],
)
def test_what_a_pattern_means(pattern, names):
    assert chosen(pattern) == names


def test_patterns_add_up_in_the_order_of_the_variables():
    assert chosen("global_step", "conv1") == [*CONV1, "global_step"]
    assert chosen() == list(ROLES)


def test_exclude_takes_away():
    assert chosen("conv1", exclude=["**/bias"]) == ["conv1/kernel"]
    assert chosen(exclude=["re:."]) == []


def test_slots_follow_their_variable():
    with_slots = [*CONV1, "conv1/kernel/Adam", "conv1/kernel/ExponentialMovingAverage"]
    assert chosen("conv1", follow=True) == with_slots
    assert chosen("conv1", exclude=["**/Adam"], follow=True) == [
        *CONV1,
        "conv1/kernel/ExponentialMovingAverage",
    ]
    assert chosen("conv1", exclude=["conv1/kernel"], follow=True) == ["conv1/bias"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("conv2", "the nearest: conv1"),
        ("conv1/kernal", "the nearest: conv1/kernel"),
        ("kernel:0", "the nearest: kernel"),
        ("zzz", "`ckpt inspect` lists a checkpoint's names"),
        ("conv*", "a glob means whole names: 'conv*/**' means what lies under it"),
        ("re:^zzz", "it is searched for in whole names"),
        ("conv10/kernel/Adam/x", "the nearest: conv10/kernel/Adam"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_a_hint(pattern, hint):
    for patterns, exclude in (([pattern], []), ([], [pattern])):
        with pytest.raises(VariableNotFoundError) as missing:
            chosen(*patterns, exclude=exclude)
        assert missing.value.message == f"here: no variable matches {pattern!r}"
        assert missing.value.hint.startswith(hint)


def test_a_scope_of_slots_alone_says_how_to_mean_them():
    roles = {"w": Role("weight"), "training/w/Adam": Role("slot", "w")}
    with pytest.raises(VariableNotFoundError) as missing:
        select(roles, ["training"], where="here")
    assert missing.value.hint == "only slots lie under it, which a scope does not mean: 'training/**' does"


@pytest.mark.parametrize("pattern", ["", "/", "re:(", "re:*"])
def test_reject_patterns(pattern):
    with pytest.raises(UsageError):
        chosen(pattern)


@pytest.mark.parametrize("pattern", ["[z-a]", "re:(", "re:a{99999999999999999999}", "re:" + "(" * 20000])
def test_what_is_no_pattern_is_said(pattern):
    with pytest.raises(UsageError, match="not a (glob|regular expression)") as refused:
        chosen(pattern)
    assert refused.value.hint


def test_all_patterns_that_match_nothing_are_named():
    with pytest.raises(VariableNotFoundError, match="no variable matches 'zzz', 'yyy'"):
        chosen("zzz", "conv1", "yyy")


def test_one_pattern_may_be_a_string():
    assert select(ROLES, "conv1", where="here") == chosen("conv1")


def test_what_is_excluded_takes_its_slots_along_where_they_follow():
    names = select(ROLES, [], ["conv1"], where="here", follow=True)
    assert not [name for name in names if "conv1/" in name]

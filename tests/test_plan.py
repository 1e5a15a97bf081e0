import json

import pytest

from toolkit import Plan, PlanError, VariableNotFoundError, Verdict
from toolkit.render.plan import table

RESTORED = Verdict("net/w", "restore", "run/m::old/w", "renamed from old/w", "float32", (3, 4))
FRESH = Verdict("head/b", "initialize", None, "not selected", "float32", (4,), initializer="zeros")
KEPT = Verdict("step", "keep", "step", "not chosen", "int64", ())
MISSING = Verdict(
    "x\x1b[31m", "restore", None, "not in the checkpoint", "float32", (), problem="not in the checkpoint",
    hint="--on-missing init starts it afresh",
)  # fmt: skip


def plan(*verdicts, **keywords):
    return Plan(verdicts, origin="run/m", **keywords)


def test_a_plan_is_a_table_of_text():
    assert str(plan(RESTORED, FRESH, unused=["junk"])) == (
        "restore     net/w   float32 (3, 4)  old/w  renamed from old/w\n"
        "initialize  head/b  float32 (4,)    zeros  not selected\n"
        "unused in the checkpoint: junk\n"
        "1 restore, 1 initialize, 1 unused in the checkpoint"
    )


def test_names_cannot_act_on_the_terminal():
    for text in (str(plan(MISSING)), table(plan(MISSING)), table(plan(MISSING), width=200, color=True)):
        assert "x\\x1b[31m" in text


def test_a_plan_with_problems_is_not_ok_and_says_which():
    bad = plan(RESTORED, MISSING)
    assert not bad.ok
    assert bad.problems == (MISSING,)
    with pytest.raises(PlanError) as error:
        bad.check()
    assert error.value.verdicts == (MISSING,)
    assert error.value.plan is bad
    assert error.value.message == (
        "1 of 2 variables cannot be given a value: x\x1b[31m: not in the checkpoint"
    )
    assert error.value.hint == "--on-missing init starts it afresh"
    assert "cannot" in str(bad)
    plan(RESTORED).check()


def test_explain_is_a_sentence():
    made = plan(RESTORED, MISSING)
    assert made.explain("net/w") == "net/w: restore from run/m::old/w: renamed from old/w"
    assert made.explain("x\x1b[31m") == (
        "x\x1b[31m: cannot restore: not in the checkpoint (hint: --on-missing init starts it afresh)"
    )
    with pytest.raises(VariableNotFoundError) as missing:
        made.explain("net/v")
    assert missing.value.suggestions == ("net/w",)


def test_a_plan_is_a_collection_of_verdicts():
    made = plan(RESTORED, FRESH)
    assert len(made) == 2
    assert made["head/b"] is FRESH
    assert "net/w" in [verdict.name for verdict in made.verdicts]


def test_json_has_the_keys_of_the_contract():
    document = json.loads(plan(RESTORED, FRESH, MISSING, unused=["junk"], seed=7).to_json())
    assert document == {
        "plan": [
            {"name": "net/w", "action": "restore", "source": "run/m::old/w", "reason": "renamed from old/w",
             "dtype": "float32", "shape": [3, 4]},
            {"name": "head/b", "action": "initialize", "source": None, "reason": "not selected",
             "dtype": "float32", "shape": [4], "initializer": "zeros"},
            {"name": "x\x1b[31m", "action": "restore", "source": None, "reason": "not in the checkpoint",
             "dtype": "float32", "shape": [], "problem": "not in the checkpoint",
             "hint": "--on-missing init starts it afresh"},
        ],
        "unused": ["junk"],
        "ok": False,
        "seed": 7,
        "origin": "run/m",
    }  # fmt: skip


def test_the_table_counts_what_stays_as_it_is():
    made = plan(FRESH, KEPT, Verdict("s2", "keep", "s2", "not chosen", "int64", ()), seed=3)
    assert table(made) == (
        "initialize  head/b  float32 (4,)  zeros  not selected\n"
        "keep  2 variables, not chosen\n"
        "1 initialize, 2 keep; seed 3"
    )
    assert table(made, every_row=True).count("\n") == 3
    assert "keep        step" in table(made, every_row=True)


def test_the_table_fits_the_terminal():
    made = plan(RESTORED, FRESH, MISSING)
    for width in (60, 80, 120):
        assert max(map(len, table(made, width=width).splitlines())) <= width
    assert "\x1b[" in table(made, width=80, color=True)
    assert "\x1b[" not in table(made, width=80)


def test_many_unused_names_are_counted():
    made = plan(RESTORED, unused=[f"u{i}" for i in range(30)])
    assert "and 20 more unused (--no-truncate shows all)" in table(made, width=80)
    assert "u29" in table(made)


def test_an_empty_plan_says_so():
    assert str(plan()) == "no variables"
    assert table(plan(), width=80) == "no variables"

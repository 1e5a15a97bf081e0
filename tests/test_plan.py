import json
from dataclasses import replace

import pytest

from tests.conftest import VALID
from toolkit import Plan, PlanError, VariableNotFoundError, Verdict, open_checkpoint
from toolkit.plan import Advice
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
        "restore     net/w   float32 (3, 4)         renamed from old/w\n"
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


def test_an_error_says_the_names_that_the_table_shows():
    with pytest.raises(PlanError, match=": head/b: not in the checkpoint"):
        plan(replace(MISSING, name="layers/dense/vars/1", path="head/b")).check()


def test_what_many_hints_end_in_is_said_once():
    afresh = "--on-missing init starts it afresh"
    near = replace(MISSING, name="out/w", hint=f"the nearest name is head/w, {afresh}")
    found = replace(MISSING, name="net/w", hint=f"--rename body=net finds it, {afresh}")
    advice = Advice(("body=net",), "1 of 3 missing variables")
    with pytest.raises(PlanError) as error:
        plan(found, near, MISSING, advice=advice).check()
    assert error.value.hint == (
        "--rename body=net finds 1 of 3 missing variables; the nearest name is head/w; "
        "--on-missing init starts what is not found afresh"
    )


def test_explain_is_a_sentence():
    made = plan(RESTORED, MISSING)
    assert made.explain("net/w") == "net/w: restore from run/m::old/w: renamed from old/w"
    assert made.explain("x\x1b[31m") == (
        "x\x1b[31m: cannot restore: not in the checkpoint (hint: on_missing='init' starts it afresh)"
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
        "2 counters kept: not chosen\n"
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
    assert "\nunused in the checkpoint: 30 variables:\n  u0\n" in table(made, width=80)
    assert "\n  and 20 more (--no-truncate shows all)\n" in table(made, width=80)
    assert "u29" in table(made)


def test_an_empty_plan_says_so():
    assert str(plan()) == "no variables"
    assert table(plan(), width=80) == "no variables"


# ------------------------------------------------------------------------------------------- on a terminal


def dropped(number):
    """Verdicts that drop the slots of so many weights, which are kept."""
    weights = [Verdict(f"net/w{i}", "keep", f"net/w{i}", "as it is", "float32", (2,)) for i in range(number)]
    slots = [
        Verdict(f"{v.name}/{slot}", "drop", f"{v.name}/{slot}", "kept by an optimizer", "float32", (2,))
        for v in weights for slot in ("Adam", "Adam_1")
    ]  # fmt: skip
    return [*weights, *slots]


def test_rows_of_one_reason_collapse():
    made = plan(*dropped(34))
    assert table(made, width=80) == (
        "34 weights kept: as it is\n68 slots dropped: kept by an optimizer (--no-truncate lists all)\n34 keep, 68 drop"
    )
    for whole in (table(made), table(made, every_row=True)):  # a pipe, and --no-truncate
        assert sum(line.startswith("drop  net/w") for line in whole.splitlines()) == 68
    assert str(made).count("kept by an optimizer") == 68


def test_a_few_rows_of_one_reason_are_listed():
    assert table(plan(*dropped(2)), width=80).count("kept by an optimizer") == 4


def test_reasons_that_differ_in_names_alone_are_one_reason():
    slots = [
        Verdict(f"net/w{i}/Adam", "initialize", None, f"slot of net/w{i}, which starts afresh", "float32", (2,))
        for i in range(9)
    ]  # fmt: skip
    fresh = [
        Verdict(f"net/w{i}", "initialize", None, "not in the checkpoint", "float32", (2,)) for i in range(9)
    ]
    assert table(plan(*fresh, *slots), width=120).splitlines()[:2] == [
        "9 weights initialized: not in the checkpoint",
        "9 slots initialized: their variables start afresh (--no-truncate lists all)",
    ]


def test_a_word_that_is_the_name_of_a_variable_is_no_name_in_a_reason():
    named = [
        Verdict(name, "initialize", None, "kernel by name", "float32", (2, 2))
        for name in ("kernel", "by", "name")
    ]
    named += [Verdict(f"v{i}", "initialize", None, "kernel by name", "float32", (2, 2)) for i in range(3)]
    assert "6 weights initialized: kernel by name" in table(plan(*named), width=80)


def test_what_is_renamed_says_to_what():
    renamed = [
        Verdict(f"body/w{i}", "restore", f"run/m::net/w{i}", f"renamed from net/w{i}", "float32", (2,))
        for i in range(9)
    ]
    assert table(plan(*renamed), width=80).splitlines() == [
        "9 weights restored: renamed from … (net to body) (--no-truncate lists all)", "9 restore",
    ]  # fmt: skip


def test_what_cannot_be_done_comes_last_and_whole():
    name = "model/" * 30 + "kernel"
    hint = "--rename 're:^(.*)$=net/\\1' finds it, --on-missing init starts it afresh"
    failing = [
        Verdict(f"{name}_{i}", "restore", None, "not in the checkpoint", "float32", (3, 4), None, "not in the checkpoint", hint)
        for i in range(12)
    ]  # fmt: skip
    for width in (60, 80, 120):
        lines = table(plan(*failing, *dropped(9), unused=["junk"]), width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("9 weights kept")
        whole = "".join(line.strip() for line in lines)
        for i in range(12):
            assert f"{name}_{i}" in whole.replace(" ", "")
        assert sum(line.startswith("cannot") for line in lines) == 12
        summary = "9 keep, 18 drop, 12 cannot be done, 1 unused in the checkpoint"
        assert " ".join(" ".join(lines).split()).endswith(summary)
    assert [row.split()[0] for row in table(plan(*failing, FRESH)).splitlines()[:13]] == [
        "initialize",
        *["cannot"] * 12,
    ]


def test_the_source_is_not_said_twice():
    copied = Verdict("head2/w", "copy", "run/m::head/w", "copy of head/w", "float32", (2,))
    assert table(plan(copied), width=80).splitlines()[0] == "copy  head2/w  float32 (2,)  copy of head/w"
    renamed = Verdict("head2/w", "keep", "head/w", "renamed", "float32", (2,))
    assert table(plan(renamed), width=80).splitlines()[0] == "keep  head2/w  float32 (2,)  head/w  renamed"


def test_unused_is_counted_by_role_and_the_weights_are_named(trained):
    with open_checkpoint(trained) as checkpoint:
        lines = table(Plan([FRESH], unused=list(checkpoint), checkpoint=checkpoint), width=80).splitlines()
    assert lines == [
        "initialize  head/b  float32 (4,)  zeros  not selected",
        "unused in the checkpoint: 5 weights, 10 slots, 5 moving averages, 3 counters:",
        "  conv1/bias", "  conv1/kernel", "  conv10/kernel", "  head/bias", "  head/kernel",
        "1 initialize, 23 unused in the checkpoint",
    ]  # fmt: skip


def test_what_is_unused_of_an_object_based_checkpoint_has_readable_names():
    with open_checkpoint(VALID / "objects") as checkpoint:
        made = Plan([FRESH], unused=list(checkpoint), checkpoint=checkpoint)
        text, weights = (
            table(made, width=80),
            [n for n, role in checkpoint.roles().items() if role.kind == "weight"],
        )
        for key in weights:
            assert f"  {checkpoint.paths()[key]}\n" in text
    assert ".ATTRIBUTES" not in text
    assert "OBJECT_GRAPH" not in text  # it is no value of the model


def test_colours_are_the_actions_alone():
    assert table(plan(RESTORED, MISSING), width=200, color=True).splitlines() == [
        "\x1b[32mrestore\x1b[0m  net/w  float32 (3, 4)  renamed from old/w",
        "\x1b[1;31mcannot\x1b[0m  x\\x1b[31m  float32 ()  not in the checkpoint; --on-missing init starts it afresh",
        "1 restore, 1 cannot be done",
    ]


def test_names_of_two_columns_are_aligned():
    wide = Verdict("層/核", "initialize", None, "not selected", "float32", (4,))
    assert table(plan(wide, FRESH), width=80).splitlines()[:2] == [
        "initialize  層/核   float32 (4,)         not selected",
        "initialize  head/b  float32 (4,)  zeros  not selected",
    ]

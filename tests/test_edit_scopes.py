"""`ckpt edit --add-scope` and `--strip-scope`: what people want who type `--rename 're:(.*)=enc/\\1'`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import VALID, write_bundle
from toolkit import UsageError, edit, open_checkpoint
from toolkit.render.plan import table

CONTENT = {
    "dense/kernel": np.arange(6, dtype="f").reshape(2, 3),
    "dense/kernel/Adam": np.ones((2, 3), "f"),
    "training/dense/kernel/Adam_1": np.full((2, 3), 2, "f"),
    "global_step": np.int64(7),
}


@pytest.fixture
def source(tmp_path) -> str:
    return write_bundle(tmp_path / "m", CONTENT)


def names(prefix) -> list[str]:
    with open_checkpoint(prefix) as checkpoint:
        return sorted(checkpoint)


@pytest.mark.parametrize("typed", [["--add-scope", "enc"], ["--rename", r"re:(.*)=enc/\1"]])
def test_a_scope_goes_around_all_variables(ckpt, source, tmp_path, typed):
    ran = ckpt("edit", source, "-o", tmp_path / "out", *typed)
    assert ran.code == 0, ran.err
    assert names(tmp_path / "out") == [
        "enc/dense/kernel",
        "enc/dense/kernel/Adam",
        "enc/global_step",
        "training/enc/dense/kernel/Adam_1",
    ]


def test_a_scope_that_was_added_can_be_taken_off(ckpt, source, tmp_path):
    ran = ckpt("edit", source, "-o", tmp_path / "out", "--add-scope", "a/b", "--strip-scope", "a")
    assert ran.code == 0, ran.err
    assert "b/dense/kernel" in names(tmp_path / "out")
    ran = ckpt("edit", tmp_path / "out", "-o", tmp_path / "back", "--strip-scope", "b/")
    assert ran.code == 0, ran.err
    assert names(tmp_path / "back") == sorted(CONTENT)


def test_scopes_are_added_in_the_order_that_was_typed(ckpt, source, tmp_path):
    ran = ckpt(
        *("edit", source, "-o", tmp_path / "out", "--add-scope", "in", "--rename", "in/global_step=step"),
        *("--add-scope", "out"),
    )
    assert ran.code == 0, ran.err
    assert {"out/in/dense/kernel", "out/step"} <= set(names(tmp_path / "out"))


def test_only_what_lies_under_a_scope_loses_it(source):
    plan = edit(source).strip_scope("dense").plan()
    assert {verdict.name for verdict in plan} == {
        "kernel",
        "kernel/Adam",
        "training/kernel/Adam_1",
        "global_step",
    }


OBJECTS = VALID / "objects"
"""An object-based checkpoint: renames change readable names, and leave the keys as they are."""


def test_renamed_objects_are_shown_with_both_names(ckpt):
    with open_checkpoint(OBJECTS) as checkpoint:
        old = next(iter(name for name, role in checkpoint.roles().items() if role.kind == "weight"))
        old = checkpoint.paths()[old]
    ran = ckpt("edit", OBJECTS, "--rename", f"{old}=new/name", "--dry-run")
    assert ran.code == 0, ran.err
    row = next(line for line in ran.out.splitlines() if "renamed" in line)
    assert "new/name" in row
    assert old in row


def test_what_a_scope_does_is_counted_in_words(tmp_path):
    many = write_bundle(tmp_path / "m", {f"net/{n}/kernel": np.ones((2, 3), "f") for n in range(6)})
    added, taken = edit(many).add_scope("enc"), edit(many).strip_scope("net")
    assert "6 weights renamed: enc/ added" in table(added.plan(), width=80)
    assert "6 weights renamed: net/ taken off" in table(taken.plan(), width=80)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--strip-scope", "dens"], "no variable matches 'dens'\nhint: the nearest: dense"),
        (["--strip-scope", "global_step"], "no variable matches 'global_step'"),
        (["--add-scope", "/"], "add-scope '/': expected a scope\nhint: --add-scope net"),
        (["--rename", "dense/kernel=enc//kernel"], "makes 'enc//kernel' of 'dense/kernel'"),
        (["--rename", "re:^dense/kernel$=enc/"], "which has an empty segment"),
    ],
)
def test_reject_scopes(ckpt, source, tmp_path, typed, message):
    ran = ckpt("edit", source, "-o", tmp_path / "out", *typed)
    assert ran.code == 2
    assert message in ran.err
    assert not list(tmp_path.glob("out*"))


def test_a_name_that_an_edit_before_took_away_is_not_looked_for_in_the_checkpoint(ckpt, source):
    ran = ckpt("edit", source, "--rename", "dense=net", "--drop", "dense", "--dry-run")
    assert f"{source}, as edited so far: no variable matches 'dense'" in ran.err


def test_a_function_makes_no_empty_segment(source):
    with pytest.raises(UsageError, match="which has an empty segment"):
        edit(source).rename(lambda name: name + "/")

"""`ckpt edit`: variables renamed, dropped, kept, cast, set and copied, in the order that was typed."""

from __future__ import annotations

import functools
import json
import os

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import VALID, contents, names_in, write_bundle
from toolkit import (
    MismatchError,
    PublishError,
    UsageError,
    VariableNotFoundError,
    edit,
    export,
    open_checkpoint,
)

CONTENT = {
    "net/a/kernel": np.arange(6, dtype="f").reshape(2, 3),
    "net/a/kernel/Adam": np.ones((2, 3), "f"),
    "net/a/kernel/Adam_1": np.full((2, 3), 2, "f"),
    "net/a/bias": np.array([1.5, -2.5, 70000], "f"),
    "net/b/kernel": np.ones((3, 3), "f"),
    "net10/w": np.zeros(4, "f"),
    "beta1_power": np.float32(0.9),
    "flag": np.array([True, False]),
    "global_step": np.int64(70_000),
    "label": np.array([b"x", b"yy"], object),
}


@pytest.fixture
def source(tmp_path) -> str:
    return write_bundle(tmp_path / "m", CONTENT)


def read(prefix) -> dict[str, np.ndarray]:
    with open_checkpoint(prefix) as checkpoint:
        return {name: variable.load() for name, variable in checkpoint.items()}


def typed(ckpt, source, tmp_path, *arguments) -> dict[str, np.ndarray]:
    """Edit `source` by what is typed; return what comes of it."""
    ran = ckpt("edit", source, "-o", tmp_path / "out", "--force", *arguments)
    assert ran.code == 0, ran.err
    return read(tmp_path / "out")


@pytest.fixture
def run(ckpt, source, tmp_path):
    """Edit the source by what is typed; return what comes of it."""
    return functools.partial(typed, ckpt, source, tmp_path)


def test_renaming_moves_a_scope_with_its_slots(run):
    after = run("--rename", "net=backbone")
    assert set(after) == {n.replace("net/", "backbone/") for n in CONTENT}
    assert after["backbone/a/kernel/Adam_1"].tobytes() == CONTENT["net/a/kernel/Adam_1"].tobytes()


def test_edits_are_done_in_the_order_that_was_typed(run):
    after = run("--rename", "net/a=x", "--drop", "x", "--rename", "net/b=x")
    assert {n for n in after if n.startswith(("x", "net/"))} == {"x/kernel"}
    after = run("--cast", "net/b/kernel=float16", "--copy", "c=net/b/kernel", "--cast", "c=float32")
    assert (after["net/b/kernel"].dtype, after["c"].dtype) == (np.float16, np.float32)
    after = run("--set", "global_step=1", "--copy", "before=global_step", "--set=global_step=2")
    assert (after["before"], after["global_step"]) == (1, 2)
    swapped = run("--rename", "net/a/bias=t", "--rename", "net10/w=net/a/bias", "--rename", "t=net10/w")
    assert swapped["net/a/bias"].shape == (4,)
    assert swapped["net10/w"].shape == (3,)


def test_dropping_a_variable_drops_its_slots(run):
    after = run("--drop", "net/a/kernel")
    assert set(after) == {n for n in CONTENT if not n.startswith("net/a/kernel")}
    assert set(run("--drop", "**/Adam*")) == {n for n in CONTENT if "Adam" not in n}


def test_keeping_drops_the_rest(run):
    assert set(run("--keep", "net")) == {"net/a/kernel", "net/a/bias", "net/b/kernel"}
    assert set(run("--keep", "net/a/bias", "--keep", "flag")) == {"net/a/bias", "flag"}
    assert set(run("--keep", "net/a/**")) == {n for n in CONTENT if n.startswith("net/a/")}
    assert set(run("--keep", "net", "--drop", "net/b", "--keep", "net/a/bias")) == {"net/a/bias"}


def test_stripping_leaves_what_is_no_optimizers(run, ckpt, tmp_path):
    left = {n for n in CONTENT if "Adam" not in n and n != "beta1_power"}
    assert set(run("--strip-optimizer")) == left
    again = ckpt("edit", tmp_path / "out", "-o", tmp_path / "again", "--strip-optimizer")
    assert (again.code, again.out) == (2, "")
    assert "has nothing that an optimizer keeps" in again.err


def test_a_scope_or_glob_is_cast_as_far_as_it_is_of_that_kind(run):
    after = run("--cast", "**=bfloat16")
    floats = {n for n, v in CONTENT.items() if np.asarray(v).dtype == np.float32}
    for name, value in after.items():
        expected = CONTENT[name]
        expected = expected.astype(ml_dtypes.bfloat16) if name in floats else expected
        assert (value.dtype, value.tobytes()) == (
            expected.dtype,
            np.asarray(expected).tobytes(),
        ) or name == "label"
    assert run("--cast", "global_step=float64")["global_step"].tolist() == 70_000.0
    assert run("--cast", "**=int32")["global_step"].dtype == np.int32


def test_what_overflows_is_counted_and_nothing_is_written(ckpt, source, tmp_path):
    before = contents(tmp_path)
    for dry in ([], ["--dry-run"]):
        ran = ckpt("edit", source, "-o", tmp_path / "out", "--cast", "net/**=float16", *dry)
        assert ran.code == 2
        assert ran.err.startswith("ckpt: net/a/bias: 1 of 3 values do not fit float16\n")
        assert "hint: the first is 70000.0; choose a wider dtype, or --clip" in ran.err
        assert contents(tmp_path) == before


def test_lost_values_are_counted_over_all_chunks(tmp_path):
    values = np.zeros(3_000_000, "f")
    values[[5, 1_500_000, 2_999_999]] = 1e30
    prefix = write_bundle(tmp_path / "m", {"w": values})
    with pytest.raises(MismatchError, match="w: 3 of 3000000 values do not fit float16"):
        edit(prefix).cast("w", "float16").write(tmp_path / "out")
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]


def test_clipping_takes_the_nearest(run):
    assert run("--cast", "net/a/bias=float16", "--clip")["net/a/bias"].tolist() == [1.5, -2.5, 65504]
    assert run("--cast", "net/a/bias=int8", "--clip")["net/a/bias"].tolist() == [1, -2, 127]
    assert run("--clip", "--cast", "global_step=int16")["global_step"] == 32767


def test_nan_is_not_clipped_to_a_number(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.array([np.nan, np.inf, -np.inf, 3], "f")})
    after = read(
        edit(prefix).cast("w", "float8_e4m3fn", clip=True).write(tmp_path / "f8") and tmp_path / "f8"
    )
    assert after["w"].astype("f").tolist()[1:] == [448, -448, 3]  # the greatest that float8_e4m3fn has
    assert np.isnan(after["w"].astype("f")[0])
    with pytest.raises(MismatchError, match="w: 1 of 4 values do not fit int8"):
        edit(prefix).cast("w", "int8", clip=True).write(tmp_path / "i8")


def test_copies_are_added_without_their_slots(run):
    after = run("--copy", "head2=net/a")
    assert set(after) - set(CONTENT) == {"head2/kernel", "head2/bias"}
    assert after["head2/kernel"].tobytes() == CONTENT["net/a/kernel"].tobytes()
    after = run("--copy", r"copies/\1=re:^net/(\w)/kernel$")
    assert set(after) - set(CONTENT) == {"copies/a", "copies/b"}


def test_a_copy_to_what_exists_takes_the_value(run, source):
    after = run("--copy", "net/a/kernel/Adam=net/a/kernel")
    assert after["net/a/kernel/Adam"].tobytes() == CONTENT["net/a/kernel"].tobytes()
    with pytest.raises(MismatchError, match=r"net/b/kernel: shape \(3, 3\), but net/a/kernel has \(2, 3\)"):
        edit(source).copy("net/b/kernel", "net/a/kernel")


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (
            [("rename", "net/a/bias", "net10/w")],
            UsageError,
            "net/a/bias and net10/w would both be called net10/w",
        ),
        ([("rename", "re:.*", "x")], UsageError, "would both be called x"),
        ([("rename", "re:^flag$", "")], UsageError, "leaves nothing of the name flag"),
        ([("rename", "flag", "")], UsageError, "leaves nothing of the name flag"),
        ([("rename", "flag", "a\udcff")], UsageError, "not UTF-8"),
        ([("copy", "a\udcff", "flag")], UsageError, "not UTF-8"),
        ([("copy", "", "flag")], UsageError, "a variable needs a name"),
        ([("copy", "x", "re:net/.*")], UsageError, "would both be x"),
        ([("copy", r"\2", "re:(flag)")], UsageError, "invalid group reference"),
        ([("rename", "nte", "x")], VariableNotFoundError, "no variable matches 'nte'"),
        ([("drop", "nte")], VariableNotFoundError, "no variable matches 'nte'"),
        ([("drop", "net"), ("drop", "net")], VariableNotFoundError, "no variable matches 'net'"),
        ([("keep", "nte")], VariableNotFoundError, "no variable matches 'nte'"),
        ([("cast", "net", "float1")], UsageError, "unknown dtype 'float1'"),
        ([("cast", "net", "string")], UsageError, "cannot be cast to string"),
        ([("cast", "net", "int32")], UsageError, "means only variables of float32"),
        ([("drop", "**")], UsageError, "no variables are left"),
    ],
)
def test_reject_edits(source, tmp_path, steps, error, message):
    before = contents(tmp_path)
    with pytest.raises(error, match=message):
        edited = edit(source)
        for step, *arguments in steps:
            edited = getattr(edited, step)(*arguments)
        edited.write(tmp_path / "out")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rename", "net"], "'net': not a rename"),
        (["--cast", "net"], "'net': not a cast"),
        (["--set", "global_step"], "'global_step': not a value"),
        (["--copy", "x"], "'x': not a copy"),
        (["--keep-meta"], "has no .meta file"),
        (["--clip"], "--clip: is for --cast"),
    ],
)
def test_reject_what_is_typed(ckpt, source, tmp_path, arguments, message):
    before = contents(tmp_path)
    ran = ckpt("edit", source, "-o", tmp_path / "out", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert contents(tmp_path) == before


def test_the_output_may_not_be_among_the_sources(ckpt, source, tmp_path):
    other = write_bundle(tmp_path / "other", {"net10/w": np.ones(4, "f")})
    with pytest.raises(PublishError, match="is the checkpoint that is read"):
        edit(source).reinit("net10/w", f"checkpoint:{other}").write(other, force=True)
    assert ckpt("edit", source, "-o", source, "--force").code == 2


def test_a_chain_does_not_change_what_it_came_from(source):
    begun = edit(source)
    renamed = begun.rename("net", "x")
    assert len(renamed.drop("x").plan().results) < len(renamed.plan().results)
    assert set(begun.plan().results) == set(CONTENT)


def test_the_plan_tells_what_happens_to_each(ckpt, source):
    ran = ckpt(
        "edit", source, "--dry-run", "--rename", "net/a=x", "--drop", "net10", "--set", "global_step=0",
        "--cast", "net/b/kernel=float16", "--copy", "y=x/bias", "--data", "copy",
    )  # fmt: skip
    assert ran.out.splitlines() == [
        "constant  global_step      int64 ()                             set to 0",
        "keep      x/bias           float32 (3,)    net/a/bias           renamed",
        "keep      x/kernel         float32 (2, 3)  net/a/kernel         renamed",
        "keep      x/kernel/Adam    float32 (2, 3)  net/a/kernel/Adam    renamed",
        "keep      x/kernel/Adam_1  float32 (2, 3)  net/a/kernel/Adam_1  renamed",
        "cast      net/b/kernel     float16 (3, 3)                       cast from float32, rounded to the nearest float16",
        "copy      y                float32 (3,)                         copy of x/bias",
        "drop      net10/w          float32 (4,)                         dropped",
        "2 weights, 1 counter kept: as it is",
        "7 keep, 1 constant, 1 cast, 1 copy, 1 drop",
    ]  # fmt: skip
    assert ran.err == "dry run: nothing was written\n"


def test_json_has_the_keys_of_the_contract(ckpt, source, tmp_path):
    ran = ckpt("edit", source, "-o", tmp_path / "out", "--rename", "net=x", "--json")
    document = json.loads(ran.out)
    assert document["schema"] == "ckpt/edit/1"
    assert document["output"] == str(tmp_path / "out")
    assert document["bytes"] == {
        "linked": os.path.getsize(f"{source}.data-00000-of-00001"),
        "copied": 0,
        "written": 0,
    }
    verdict = next(v for v in document["plan"] if v["name"] == "x/a/bias")
    assert verdict == {
        "name": "x/a/bias", "action": "keep", "source": "net/a/bias", "reason": "renamed",
        "dtype": "float32", "shape": [3],
    }  # fmt: skip


def test_the_meta_file_is_left_out_and_said_or_kept_as_it_is(ckpt, source, tmp_path):
    (tmp_path / "m.meta").write_bytes(b"the graph")
    ran = ckpt("edit", source, "-o", tmp_path / "out", "--rename", "net=x")
    assert (
        f"{source}.meta is left out: its graph has the names as they were (--keep-meta copies it)" in ran.out
    )
    assert "out.meta" not in names_in(tmp_path)
    assert ckpt("edit", source, "-o", tmp_path / "kept", "--rename", "net=x", "--keep-meta").code == 0
    assert (tmp_path / "kept.meta").read_bytes() == b"the graph"
    assert "left out" not in ckpt("edit", source, "--dry-run", "--set", "global_step=0").out


@pytest.mark.parametrize("ending", ["h5", "npz", "safetensors"])
def test_a_file_of_another_format_becomes_a_checkpoint(tmp_path, source, ending):
    export(source, tmp_path / f"x.{ending}")
    plan = edit(tmp_path / f"x.{ending}").rename("net/a", "y").write(tmp_path / "out")
    assert plan.bytes.linked == 0
    after = read(tmp_path / "out")
    assert after["y/kernel/Adam"].tolist() == CONTENT["net/a/kernel/Adam"].tolist()
    assert len(after) == len(CONTENT)


def test_a_chain_of_several_seeds_tells_each(source, tmp_path):
    first = edit(source).reinit("net/b/kernel", "normal:0,1").reinit("net10/w", "normal:0,1", seed=6).plan()
    again = edit(source).reinit("net/b/kernel", "normal:0,1", seed=first.seed).plan()
    assert first["net10/w"].reason.endswith("; seed 6")
    values = [plan.results["net/b/kernel"].load().tobytes() for plan in (first, again)]
    assert values[0] == values[1]
    alone = edit(source).reinit("net10/w", "normal:0,1", seed=6).plan()
    assert alone.results["net10/w"].load().tobytes() == first.results["net10/w"].load().tobytes()


@pytest.mark.parametrize(
    "step",
    [
        lambda e: e.set(5, 1), lambda e: e.drop(5), lambda e: e.rename(5), lambda e: e.rename({"a": 5}),
        lambda e: e.reinit("net", seed="a"), lambda e: e.rename("net", ""), lambda e: e.rename("net", "/"),
        lambda e: e.set("net/a/bias", np.ma.masked_array([1.0, 2, 3], [0, 1, 0])),
        lambda e: e.set("flag", {"a": 1}),
    ],
)  # fmt: skip
def test_reject_what_is_no_argument(source, step):
    with pytest.raises(UsageError):
        step(edit(source))


def test_names_that_are_not_utf_8_stay_as_they_are(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a\udcff": np.ones(2, "f"), "b": np.zeros(2, "f")})
    edit(prefix).rename("b", "c").write(tmp_path / "out")
    assert set(read(tmp_path / "out")) == {"a\udcff", "c"}


def test_nothing_to_do_is_a_copy(run):
    after = run()
    assert {n: v.tobytes() for n, v in after.items() if n != "label"} == {
        n: np.asarray(v).tobytes() for n, v in CONTENT.items() if n != "label"
    }


def test_the_original_of_a_golden_checkpoint_is_not_touched(tmp_path):
    before = contents(VALID / "perceptron")
    edit(VALID / "perceptron").rename("dense1", "x").strip_optimizer().write(tmp_path / "out")
    assert contents(VALID / "perceptron") == before

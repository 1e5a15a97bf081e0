"""`ckpt merge` and `ckpt average`: one checkpoint of several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import (
    MismatchError,
    PlanError,
    PublishError,
    UsageError,
    export,
    open_checkpoint,
    plan_average,
    plan_merge,
)
from toolkit.formats.bundle.writer import BundleWriter

ROOT = Path(__file__).parents[1]


def bundle_files(name: str) -> list[str]:
    return [f"{name}.data-00000-of-00001", f"{name}.index"]


def read(prefix) -> dict[str, np.ndarray]:
    with open_checkpoint(prefix) as checkpoint:
        return {name: variable.load() for name, variable in checkpoint.items()}


@pytest.fixture
def two(tmp_path) -> tuple[str, str]:
    """Two checkpoints that share `same`, differ in `w` and have one of their own each."""
    same = {"same": np.arange(5.0)}
    a = write_bundle(tmp_path / "a", {**same, "w": np.ones(3, "f"), "only/a": np.zeros(2, "f")})
    b = write_bundle(tmp_path / "b", {**same, "w": np.full(3, 2, "f"), "only/b": np.ones(2, "f")})
    return a, b


class TestMerge:
    def test_conflicts_are_named_and_nothing_is_written(self, ckpt, two, tmp_path):
        before = contents(tmp_path)
        ran = ckpt("merge", *two, "-o", tmp_path / "out")
        assert ran.code == 1
        assert " ".join(ran.out.splitlines()[-2].split()) == (
            f"cannot w float32 (3,) {two[1]} has other values; "
            "--on-conflict first takes the one, --on-conflict last the other; `ckpt edit` renames or drops it"
        )
        assert "hint: --on-conflict first takes the one, --on-conflict last the other" in ran.err
        assert contents(tmp_path) == before
        with pytest.raises(PlanError) as refused:
            plan_merge(*two).write(tmp_path / "out")
        assert [verdict.name for verdict in refused.value.verdicts] == ["w"]

    @pytest.mark.parametrize(("which", "value"), [("first", 1), ("last", 2)])
    def test_one_of_them_is_taken(self, ckpt, two, tmp_path, which, value):
        ran = ckpt("merge", *two, "-o", tmp_path / "out", "--on-conflict", which)
        assert ran.code == 0
        merged = read(tmp_path / "out")
        assert set(merged) == {"same", "w", "only/a", "only/b"}
        assert merged["w"].tolist() == [value] * 3
        assert merged["only/b"].tolist() == [1, 1]

    @pytest.mark.parametrize(
        ("other", "what"),
        [
            (np.ones(4, "f"), "shape (4,)"),
            (np.ones(3), "dtype float64"),
            (np.ones((3, 1), "f"), "shape (3, 1)"),
        ],
    )
    def test_another_shape_or_dtype_is_a_conflict(self, two, tmp_path, other, what):
        c = write_bundle(tmp_path / "c", {"w": other})
        plan = plan_merge(two[0], c)
        assert plan["w"].problem == f"{c} has {what}"
        plan_merge(two[0], c, on_conflict="last").write(tmp_path / "out")
        assert read(tmp_path / "out")["w"].tobytes() == other.tobytes()

    def test_equal_values_are_none_whatever_the_format(self, two, tmp_path):
        export(two[0], tmp_path / "a.h5")
        plan = plan_merge(two[0], tmp_path / "a.h5", two[0])
        assert plan.ok
        assert [verdict.action for verdict in plan] == ["keep"] * 3

    def test_reject_usage(self, ckpt, two, tmp_path):
        with pytest.raises(UsageError, match="two checkpoints or more"):
            plan_merge(two[0])
        with pytest.raises(UsageError, match="expected one of error, first, last"):
            plan_merge(*two, on_conflict="none")
        graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"\n\0", object)}
        with pytest.raises(UsageError, match=r"object-based \(TF2\)"):
            plan_merge(two[0], write_bundle(tmp_path / "o", graph))
        for source in two:
            ran = ckpt("merge", *two, "-o", source, "--force", "--on-conflict", "last")
            assert (ran.code, ran.out) == (2, "")
            assert "is the checkpoint that is read" in ran.err


class TestAverage:
    def test_floats_are_averaged_and_others_are_the_newests(self, ckpt, tmp_path):
        for i in (1, 2, 6):
            write_bundle(
                tmp_path / f"m-{i}",
                {"w": np.full(3, i, "f"), "step": np.int64(i), "s": np.array([b"%d" % i], object)},
            )
        ran = ckpt("average", *(tmp_path / f"m-{i}" for i in (1, 2, 6)), "-o", tmp_path / "out")
        assert ran.code == 0
        mean = read(tmp_path / "out")
        assert mean["w"].tolist() == [3, 3, 3]
        assert (mean["step"], mean["s"].tolist()) == (6, [b"6"])
        assert "1 counter kept: int64: the newest's" in ran.out
        assert "1 weight kept: string: the newest's" in ran.out

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.complex64])
    def test_the_mean_is_rounded_once_from_double_precision(self, tmp_path, dtype):
        rng = np.random.default_rng(4)
        parts = [rng.standard_normal(200_000).astype(dtype) for _ in range(5)]
        if dtype == np.complex64:
            parts = [(part + 1j * rng.standard_normal(200_000)).astype(dtype) for part in parts]
        paths = [write_bundle(tmp_path / f"m{i}", {"w": part}) for i, part in enumerate(parts)]
        plan_average(*paths).write(tmp_path / "out")
        wide = np.complex128 if dtype == np.complex64 else np.float64
        weighted = np.zeros(200_000, wide)
        for part in parts:
            weighted += part.astype(wide) * 0.2
        found = read(tmp_path / "out")["w"]
        assert found.dtype == dtype
        assert found.tobytes() == weighted.astype(dtype).tobytes()

    def test_a_sum_that_the_dtype_could_not_hold_is_averaged(self, tmp_path):
        paths = [
            write_bundle(tmp_path / f"m{i}", {"w": np.full(2, 60_000 + i, np.float16)}) for i in range(3)
        ]
        plan_average(*paths).write(tmp_path / "out")
        assert read(tmp_path / "out")["w"].tolist() == [60_000, 60_000]

    def test_weights_and_decay(self, ckpt, tmp_path):
        paths = [
            write_bundle(tmp_path / f"m{i}", {"w": np.full(2, v, np.float64)})
            for i, v in enumerate([0, 1, 5])
        ]
        plan_average(*paths, weights=[1, 1, 2]).write(tmp_path / "weighted")
        assert read(tmp_path / "weighted")["w"].tolist() == [11 / 4] * 2
        assert ckpt("average", *paths, "-o", tmp_path / "w", "--weights", "1,1,2").code == 0
        assert read(tmp_path / "w")["w"].tolist() == [11 / 4] * 2
        ema = 0.0
        for value in (1, 5):
            ema = 0.75 * ema + 0.25 * value
        assert ckpt("average", *paths, "-o", tmp_path / "d", "--decay", "0.75").code == 0
        assert read(tmp_path / "d")["w"].tolist() == pytest.approx([ema] * 2, rel=1e-15)

    def test_what_counts_nothing_does_not_spoil_the_mean(self, tmp_path):
        a = write_bundle(tmp_path / "a", {"w": np.full(2, np.nan, "f")})
        b = write_bundle(tmp_path / "b", {"w": np.full(2, 3, "f")})
        plan_average(a, b, weights=[0, 1]).write(tmp_path / "out")
        assert read(tmp_path / "out")["w"].tolist() == [3, 3]
        plan_average(b, b, a, weights=[1e308, 1e308, 0]).write(tmp_path / "large")
        assert read(tmp_path / "large")["w"].tolist() == [3, 3]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16, np.complex64])
    def test_a_negative_weight_takes_one_away_from_the_others(self, ckpt, tmp_path, dtype):
        """A + B - C in double precision, rounded once: with integers it is exact."""
        rng = np.random.default_rng(6)
        a, b, c = (rng.integers(-9, 9, 50).astype(dtype) for _ in range(3))
        paths = [
            write_bundle(tmp_path / name, {"w": v, "step": np.int64(i)})
            for i, (name, v) in enumerate([("a", a), ("b", b), ("c", c)])
        ]
        ran = ckpt("average", *paths, "--weights", "1,1,-1", "-o", tmp_path / "out")
        assert ran.code == 0, ran.err
        assert read(tmp_path / "out")["w"].tolist() == (a + b - c).tolist()
        assert read(tmp_path / "out")["step"] == 2
        assert "weights 1, 1, -1, which add up to 1\n" in ran.out
        ran = ckpt("average", *reversed(paths), "--weights", "-2,3,4", "-o", tmp_path / "back")
        assert ran.code == 0, ran.err
        assert "weights -2, 3, 4, which add up to 5 and are divided by that" in ran.out
        wide = [v.astype(complex if dtype == np.complex64 else float) for v in (a, b, c)]
        expected = wide[0] * 0.8 + wide[1] * 0.6 - wide[2] * 0.4
        found = read(tmp_path / "back")["w"].astype(expected.dtype)
        error = np.abs(found - expected).max()
        assert error <= (2**-6 if dtype == ml_dtypes.bfloat16 else 2**-19) * 8

    def test_what_grows_beyond_the_dtype_is_refused_and_counted(self, tmp_path):
        """2 * 60000 - 0 is no float16; the mean of values that fit always is."""
        a = write_bundle(tmp_path / "a", {"w": np.array([60_000, 1, -60_000], np.float16)})
        b = write_bundle(tmp_path / "b", {"w": np.array([0, 1, np.inf], np.float16)})
        plan = plan_average(a, b, weights=[2, -1])
        with pytest.raises(MismatchError, match="w: 1 of 3 values do not fit float16"):
            plan.write(tmp_path / "out")
        assert names_in(tmp_path) == sorted([*bundle_files("a"), *bundle_files("b")])

    def test_optimizer_state_that_a_negative_weight_may_spoil_is_said(self, tmp_path):
        for name in ("a", "b"):
            write_bundle(tmp_path / name, {"w": np.ones(2, "f"), "w/Adam_1": np.ones(2, "f")})
        notes = plan_average(tmp_path / "a", tmp_path / "b", weights=[2, -1]).notes
        assert any("--strip-optimizer" in note for note in notes)
        notes = plan_average(tmp_path / "a", tmp_path / "b", weights=[2, 1]).notes
        assert not any("--strip-optimizer" in note for note in notes)

    def test_a_directory_is_averaged_by_its_steps(self, ckpt, tmp_path):
        for step in (9, 100, 20):
            write_bundle(tmp_path / f"m-{step}", {"w": np.full(2, step, "f"), "step": np.int64(step)})
        write_bundle(tmp_path / "m-300", {"w": np.zeros(2, "f"), "step": np.int64(300)})
        os.unlink(tmp_path / "m-300.data-00000-of-00001")
        (tmp_path / "out").mkdir()
        assert ckpt("average", tmp_path, "-o", tmp_path / "out/mean").code == 0
        assert read(tmp_path / "out/mean")["w"].tolist() == [43, 43]
        write_bundle(
            tmp_path / "mean", {"w": np.full(2, 1e9, "f"), "step": np.int64(100)}
        )  # is no part of itself
        write_bundle(tmp_path / "other-1", {"x": np.zeros(2, "f")})
        os.utime(tmp_path / "other-1.index", (1, 1))
        ran = ckpt("average", tmp_path, "-o", tmp_path / "out/again")
        assert "of 3 checkpoints: m-9, m-20, m-100" in ran.out
        assert read(tmp_path / "out/again")["w"].tolist() == [43, 43]
        assert ckpt("average", tmp_path, "-o", tmp_path / "out/last", "--last", 2).code == 0
        assert (read(tmp_path / "out/last")["w"][0], read(tmp_path / "out/last")["step"]) == (60, 100)
        ran = ckpt("average", tmp_path, "--dry-run", "--last", 4)
        assert (ran.code, "expected 4 complete checkpoints, found 3" in ran.err) == (2, True)

    @pytest.mark.parametrize(
        ("other", "problem"),
        [
            ({"w": np.ones(3, "f")}, "not in {}"),
            ({"w": np.ones(3, "f"), "v": np.ones(2, "f"), "x": np.ones(1, "f")}, "not in {}"),
            ({"w": np.ones(4, "f"), "v": np.ones(2, "f")}, "shape (3,) in {}"),
            ({"w": np.ones(3), "v": np.ones(2, "f")}, "dtype float32 in {}"),
        ],
    )
    def test_those_that_differ_are_refused(self, ckpt, tmp_path, other, problem):
        a = write_bundle(tmp_path / "a", {"w": np.ones(3, "f"), "v": np.ones(2, "f")})
        b = write_bundle(tmp_path / "b", other)
        before = contents(tmp_path)
        ran = ckpt("average", a, b, "-o", tmp_path / "out")
        assert ran.code == 1
        assert problem.format(a) in ran.out or problem.format(b) in ran.out
        assert contents(tmp_path) == before

    def test_what_is_equal_in_all_is_not_touched(self, tmp_path):
        frozen = np.random.default_rng(1).standard_normal(1000)
        paths = [
            write_bundle(tmp_path / f"m{i}", {"frozen": frozen, "w": np.full(2, i, "f")}) for i in range(3)
        ]
        plan = plan_average(*paths)
        assert plan["frozen"].reason == "equal in all"
        assert (plan.bytes.linked, plan.bytes.written) == (8008, 8)
        plan.write(tmp_path / "out")
        assert read(tmp_path / "out")["frozen"].tobytes() == frozen.tobytes()
        assert read(tmp_path / "out")["w"].tolist() == [1, 1]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"weights": [1]}, "expected 2, one for each"),
            ({"weights": [0, 0]}, "expected one that is not 0"),
            ({"weights": ["a", 1]}, "could not convert"),
            ({"weights": [10**400, 1]}, "too large"),
            ({"decay": "0.9"}, "expected 0 or more, and below 1"),
            ({"weights": [1, -1]}, "weights 1, -1: add up to 0"),
            ({"weights": [0.3, -0.3 + 1e-17]}, "add up to 0"),
            ({"weights": [1, float("nan")]}, "expected finite numbers"),
            ({"weights": [float("-inf"), 1]}, "expected finite numbers"),
            ({"decay": 1}, "expected 0 or more, and below 1"),
            ({"decay": 0.5, "weights": [1, 1]}, "expected one of them"),
            ({"last": 1}, "is for a directory"),
        ],
    )
    def test_reject_usage(self, two, options, message):
        with pytest.raises(UsageError, match=message):
            plan_average(*two, **options)

    def test_reject_what_is_typed(self, ckpt, two, tmp_path):
        assert "expected numbers" in ckpt("average", *two, "--weights", "a,b", "--dry-run").err
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="nothing to average"):
            plan_average(tmp_path / "empty")
        a = write_bundle(tmp_path / "x", {"w": np.ones(2, "f")})
        with pytest.raises(PublishError, match="is the checkpoint that is read"):
            plan_average(a, write_bundle(tmp_path / "y", {"w": np.zeros(2, "f")})).write(a, force=True)

    def test_json_has_the_keys_of_the_contract(self, ckpt, tmp_path):
        paths = [write_bundle(tmp_path / f"m{i}", {"w": np.full(2, i, "f")}) for i in range(2)]
        document = json.loads(ckpt("average", *paths, "-o", tmp_path / "out", "--json").out)
        assert document["schema"] == "ckpt/average/1"
        assert document["plan"] == [
            {
                "name": "w",
                "action": "mean",
                "source": None,
                "reason": "mean of 2",
                "dtype": "float32",
                "shape": [2],
            }
        ]
        assert document["bytes"] == {"linked": 0, "copied": 0, "written": 8}
        assert names_in(tmp_path)[-2:] == ["out.data-00000-of-00001", "out.index"]

    def test_no_more_than_a_chunk_of_each_is_held(self, tmp_path):
        """Five tensors of 64 MiB: by how much the peak of the process grows, which has them nowhere whole."""
        for i in range(5):
            with BundleWriter(str(tmp_path / f"m{i}")) as writer:
                writer.add("w", np.full(1 << 24, i, "f"))
                writer.finish()
        script = """
import resource, sys
import numpy, toolkit
plan = toolkit.plan_average(*sys.argv[1:-1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plan.write(sys.argv[-1], sync=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        paths = [str(tmp_path / f"m{i}") for i in range(5)]
        done = subprocess.run(
            [sys.executable, "-c", script, *paths, str(tmp_path / "out")],
            check=True, capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        assert int(done.stdout) < 64 * 1024
        with open_checkpoint(tmp_path / "out") as checkpoint:
            assert set(np.unique(checkpoint["w"].read())) == {2.0}

"""What OUT's ending says is what is written, or it is refused with what to type."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from tests.conftest import names_in, write_bundle
from toolkit import (
    UsageError,
    edit,
    import_checkpoint,
    open_checkpoint,
    plan_average,
    plan_import,
    plan_merge,
    plan_reinit,
)
from toolkit.formats.endings import ending_of

OTHERS = {
    "mean.h5": "mean.h5",
    "mean.hdf5": "mean.hdf5",
    "mean.npz": "mean.npz",
    "mean.safetensors": "mean.safetensors",
    "Mean.H5": "Mean.H5",
    "mean.weights.h5": "mean.weights.h5 --model",
    "mean.keras": "mean.weights.h5 --model",
    "mean.weights.json": "mean.weights.h5 --model",
    "mean.safetensors.index.json": "mean.safetensors --max-shard-size",
    "mean.pt": "mean.safetensors",
    "mean.npy": "mean.safetensors",
}
COMMANDS = {
    "reinit": ["a", "w"],
    "edit": ["a", "--drop", "w"],
    "merge": ["a", "b", "--on-conflict", "last"],
    "average": ["a", "b"],
    "import": ["a"],
    "init": ["--model", "nowhere.py:build"],
    "restore": ["a", "--model", "nowhere.py:build"],
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    for i, name in enumerate("ab"):
        write_bundle(tmp_path / name, {"w": np.full(3, i, "f"), "step": np.int64(i)})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("out", OTHERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_out_that_ends_as_another_format_is_refused_with_what_to_type(ckpt, here, command, out):
    """`average a.h5 b.h5 -o mean.h5` said `wrote mean.h5`, and wrote `mean.h5.index`."""
    before = names_in(here)
    for dry in ([], ["--dry-run"]):
        ran = ckpt(command, *COMMANDS[command], "-o", f"sub/{out}", *dry)
        assert (ran.code, ran.out) == (2, "")
        assert f"ckpt: sub/{out}: ends as " in ran.err
        assert f"ckpt export sub/{out.split('.')[0]} sub/{OTHERS[out]}" in ran.err
    assert names_in(here) == before


@pytest.mark.parametrize("out", ["mean.h5", "mean.npz", "mean.safetensors"])
def test_what_the_hint_says_makes_the_file_that_was_wanted(ckpt, here, out):
    hint = ckpt("average", "a", "b", "-o", out).err.partition("hint: ")[2].strip()
    first, _, second = hint.partition(", then ckpt ")
    assert ckpt("average", "a", "b", *shlex.split(first)).code == 0
    assert ckpt(*shlex.split(second)).code == 0
    assert open_checkpoint(here / out)["w"].load().tolist() == [0.5] * 3


def test_the_library_refuses_it_before_any_work(here):
    before = names_in(here)
    a, b = here / "a", here / "b"
    for write in (
        lambda out: plan_average(a, b).write(out),
        lambda out: plan_merge(a, b, on_conflict="first").write(out),
        lambda out: plan_merge(a, b).write(out),  # also where the plan cannot be carried out anyway
        lambda out: plan_reinit(a, "w").write(out),
        lambda out: plan_import(a).write(out),
        lambda out: import_checkpoint(here / "nothing", out),
        lambda out: edit(a).drop("w").write(out),
    ):
        for out in ("mean.h5", here / "mean.keras", "mean.safetensors"):
            with pytest.raises(
                UsageError, match="what is written here is a TensorFlow checkpoint"
            ) as refused:
                write(out)
            assert refused.value.hint
    assert names_in(here) == before


@pytest.mark.parametrize("out", ["model.ckpt", "model.ckpt-100", "v1.2", "mean.h5-3", "h5", "a.b/c", "x.bin"])
def test_any_other_ending_is_a_prefix(ckpt, here, out):
    assert ending_of(out) is None
    (here / "a.b").mkdir()
    assert ckpt("average", "a", "b", "-o", out).code == 0
    assert open_checkpoint(out)["w"].load().tolist() == [0.5] * 3


@pytest.mark.parametrize("out", ["m.index", "m.meta", "m.data-00000-of-00001"])
def test_a_file_of_a_checkpoint_is_no_prefix(ckpt, here, out):
    ran = ckpt("average", "a", "b", "-o", out)
    assert ran.code == 2
    assert "hint: write to m\n" in ran.err

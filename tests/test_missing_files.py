"""Files that lie alone: an index without values, one data file of two, a graph, a prefix without a name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import VALID, names_in, write_bundle
from toolkit import (
    ReadError,
    TruncatedError,
    edit,
    inspect,
    log,
    open_checkpoint,
    plan_average,
    plan_export,
    plan_merge,
    plan_reinit,
)

SHARD = "model.data-00001-of-00003"
OTHERS = "beside it: model.data-00000-of-00003, model.data-00002-of-00003; "
TOGETHER = "copy the data files to where the index is, they belong together"


@pytest.fixture
def shards(tmp_path) -> Path:
    """A checkpoint of three data files, the second of which is missing."""
    shutil.copytree(VALID / "shards", tmp_path / "run")
    (tmp_path / "run" / SHARD).unlink()
    return tmp_path / "run"


def names_of(path: Path) -> list[str]:
    with open_checkpoint(path) as checkpoint:
        return list(checkpoint)


@pytest.mark.parametrize("given", ["model", "model.index", ""])
def test_an_index_alone_is_listed(tmp_path, ckpt, given):
    whole = names_of(VALID / "shards" / "model")
    shutil.copy(VALID / "shards" / "model.index", tmp_path)
    assert names_of(tmp_path / given) == whole
    ran = ckpt("inspect", tmp_path / given)
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        f"{tmp_path}/model: TensorFlow checkpoint (V2), name-based",
        f"values are not there: {', '.join(f'model.data-0000{i}-of-00003' for i in range(3))} are missing",
    ]
    listed = ckpt("inspect", VALID / "shards" / "model").out.splitlines()[1:]
    files = next(line for line in listed if line.startswith("files "))
    missing = next(line for line in ran.out.splitlines() if line.startswith("files "))
    assert missing.startswith("files       3 data files and the index, 3 not there, ")
    assert ran.out.splitlines()[2:] == [missing if line == files else line for line in listed]


def test_what_is_listed_without_values_is_what_is_listed_with_them(shards, ckpt):
    before = json.loads(ckpt("inspect", VALID / "shards" / "model", "--json").out)
    after = json.loads(ckpt("inspect", shards, "--json").out)
    assert after.pop("problems") == [f"values are not there: {SHARD} is missing"]
    assert after == before | {"path": f"{shards}/model"}
    note = f"values are not there: {SHARD} is missing"
    ran = ckpt("inspect", shards, "--csv")
    assert (ran.code, ran.err) == (0, f"{note}\n")
    assert ran.out == ckpt("inspect", VALID / "shards", "--csv").out
    ran = ckpt("inspect", shards, "--tree")
    assert (ran.code, ran.err) == (0, "")
    tree = ckpt("inspect", VALID / "shards", "--tree").out.splitlines()
    assert ran.out.splitlines()[1:] == [note, *tree[1:]]


def test_values_that_are_there_are_read_and_others_name_the_missing_file(shards):
    with open_checkpoint(shards) as checkpoint, open_checkpoint(VALID / "shards") as whole:
        assert checkpoint.missing_files() == [f"{shards}/{SHARD}"]
        for name, variable in checkpoint.items():
            if variable.shard != 1:
                assert variable.read().tobytes() == whole[name].read().tobytes()
                continue
            for read in (
                lambda v: v.read(),
                lambda v: v.load(),
                lambda v: list(v.chunks()),
                lambda v: v.extent,
            ):
                with pytest.raises(ReadError) as missing:
                    read(variable)
                assert missing.value.path == f"{shards}/{SHARD}"
                assert missing.value.message == (
                    f"{shards}/model.index: its data is missing: expected 3 data files, no {SHARD}"
                )
                assert missing.value.hint == OTHERS + TOGETHER


@pytest.mark.parametrize(
    "plan",
    [
        edit,
        lambda path: plan_reinit(path, "**"),
        lambda path: plan_merge(path, path),
        lambda path: plan_average(path, path),
        plan_export,
    ],
    ids=["edit", "reinit", "merge", "average", "export"],
)
@pytest.mark.parametrize("opened", [False, True])
def test_no_plan_is_made_that_could_not_be_carried_out(shards, plan, opened):
    with pytest.raises(ReadError, match=f"its data is missing: expected 3 data files, no {SHARD}"):
        plan(open_checkpoint(shards) if opened else shards / "model")


def test_a_cut_off_data_file_is_listed_and_is_a_problem(tmp_path, ckpt):
    shutil.copytree(VALID / "shards", tmp_path / "run")
    os.truncate(tmp_path / "run" / SHARD, 40)
    message = f"{tmp_path}/run/{SHARD}: file too short: expected 48 bytes, got 40"
    ran = ckpt("inspect", tmp_path / "run")
    assert ran.code == 1  # a problem was found
    assert ran.out.splitlines()[1] == f"values are damaged: {message}"
    summary = inspect(tmp_path / "run")
    assert isinstance(summary.problem, TruncatedError)
    assert summary.problem.message == message
    assert [v.name for v in summary.variables] == names_of(VALID / "shards")
    ran = ckpt("export", tmp_path / "run", tmp_path / "x.npz")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"ckpt: {message}\nhint: ")
    assert names_in(tmp_path) == ["run"]


def test_an_object_based_checkpoint_without_values_is_listed_by_its_keys(tmp_path, ckpt):
    source = next(p for p in sorted(VALID.glob("*/*.index")) if "_CHECKPOINTABLE_OBJECT_GRAPH" in names_of(p))
    shutil.copy(source, tmp_path / "m.index")
    ran = ckpt("inspect", tmp_path / "m")
    assert ran.code == 0
    assert ran.out.splitlines()[1].endswith(" missing, and with it the readable names: these are keys")
    listed = {v["name"] for v in json.loads(ckpt("inspect", tmp_path / "m", "--json").out)["variables"]}
    assert listed == set(names_of(source))
    with pytest.raises(ReadError, match="its data is missing"):
        edit(tmp_path / "m")


def test_a_v1_file_of_several_is_listed_without_the_others(tmp_path, ckpt):
    shutil.copy(VALID / "v1" / "model.ckpt", tmp_path / "m-00000-of-00002")
    for given in ("m", "m-00000-of-00002", "m-?????-of-00002"):
        with pytest.raises(
            ReadError, match="m-00001-of-00002: missing, one of the 2 files of this checkpoint"
        ):
            open_checkpoint(tmp_path / given)
        ran = ckpt("inspect", tmp_path / given)
        assert ran.code == 0
        assert ran.out.splitlines()[:2] == [
            f"{tmp_path}/m: TensorFlow checkpoint (V1)",
            "values are not there: m-00001-of-00002 is missing; what only such a file holds is not listed",
        ]
        listed = [v["name"] for v in json.loads(ckpt("inspect", tmp_path / given, "--json").out)["variables"]]
        assert listed == names_of(VALID / "v1" / "model.ckpt")


GRAPH = b"\x0a\x05\x0a\x03abc"


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (
            "m.meta",
            "m.meta: a graph without values: DIR/m.index is missing",
            "copy m.index and its data files to",
        ),
        ("m", "m.meta: a graph without values: DIR/m.index is missing", "copy m.index and its data files to"),
        (
            "",
            ": no checkpoint in this directory",
            "m.meta is a graph without values: copy m.index and its data",
        ),
    ],
)
def test_a_graph_alone_is_told_what_is_missing(tmp_path, ckpt, given, message, hint):
    (tmp_path / "m.meta").write_bytes(GRAPH)
    with pytest.raises(ReadError) as refused:
        open_checkpoint(tmp_path / given)
    where = f"{tmp_path}/" if given else str(tmp_path)
    assert refused.value.message == where + message.replace("DIR", str(tmp_path))
    assert refused.value.hint.startswith(hint)


def test_the_graph_of_a_v1_checkpoint_in_one_file_leads_to_it(tmp_path):
    shutil.copy(VALID / "v1" / "model.ckpt", tmp_path / "m")
    (tmp_path / "m.meta").write_bytes(GRAPH)
    assert open_checkpoint(tmp_path / "m.meta").path == str(tmp_path / "m")


class TestAPrefixWithoutAName:
    """`DIR/.index` and `DIR/.data-00000-of-00001`: what TensorFlow writes for the prefix `DIR/`."""

    @pytest.fixture
    def run(self, tmp_path) -> Path:
        source = write_bundle(tmp_path / "m", {"w": np.ones(2)})
        (tmp_path / "run").mkdir()
        for ending in (".index", ".data-00000-of-00001"):
            os.rename(source + ending, tmp_path / "run" / ending)
        return tmp_path / "run"

    @pytest.mark.parametrize("given", ["", "/", "/.index", "/.data-00000-of-00001"])
    def test_is_opened(self, run, given):
        assert open_checkpoint(f"{run}{given}")["w"].read().tolist() == [1, 1]

    def test_is_shown_in_the_log_and_in_plans(self, run, ckpt):
        assert [each.path for each in log(run)] == [f"{run}/"]
        row = ckpt("log", run).out.splitlines()[1]
        assert row.split()[-2:] == [".index", "latest"]
        other = write_bundle(run.parent / "other", {"w": np.zeros(2)})
        ran = ckpt("average", f"{run}/", other, "-o", run.parent / "out", "--dry-run")
        assert "of 2 checkpoints: .index, other" in ran.out
        ran = ckpt("prune", run, "--keep", 1, "--dry-run")
        assert ran.out.splitlines()[0].split()[:2] == ["keep", ".index"]
        assert ckpt("latest", run).out == f"{run}/\n"

"""What others wrote, and what lies elsewhere: Orbax's directories, URLs, directories of directories."""

from __future__ import annotations

import json
import os
import re
import shlex
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import write_bundle
from toolkit import CheckpointError, ReadError, UnsupportedError, open_checkpoint

REAL = Path(__file__).parents[2] / "shared" / "real"
MSGPACK = b"\x81\xa6params\x81\xa1w\xb7PLACEHOLDER://params.w"
NOT_READ = "which the toolkit does not read"
LATEST = "a directory of Orbax checkpoints: 2 steps, the latest 1"


def item(folder: Path, *, zarr3: bool | None = False) -> None:
    """Write the names of an item whose arrays are in a database."""
    folder.mkdir(parents=True)
    (folder / "manifest.ocdbt").write_bytes(b"\x0c\xdb\x3a\x2a")
    if zarr3 is not None:
        (folder / "_METADATA").write_text(json.dumps({"tree_metadata": {}, "use_zarr3": zarr3}))


def step(folder: Path, *, committed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"item_handlers": {}, "commit_timestamp_nsecs": 1 if committed else None}
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps(metadata))


def arrays(folder: Path, name: str, *names: str) -> None:
    """Write the names of arrays that have a directory each."""
    for each in names:
        (folder / each).mkdir(parents=True)
        (folder / each / name).write_text("{}")


def one_item(folder: Path) -> None:
    item(folder)


def one_item_of_unknown_arrays(folder: Path) -> None:
    item(folder, zarr3=None)


def directories(folder: Path) -> None:
    arrays(folder, ".zarray", "params.w")
    (folder / "_METADATA").write_text('{"tree_metadata": {}}')


def directories_of_zarr3(folder: Path) -> None:
    arrays(folder, "zarr.json", "params.w")
    (folder / "_METADATA").write_text('{"tree_metadata": {}, "use_zarr3": true}')


def early(folder: Path) -> None:
    arrays(folder, ".zarray", "params.w")
    (folder / "checkpoint").write_bytes(MSGPACK)


def aggregated(folder: Path) -> None:
    folder.mkdir()
    (folder / "checkpoint").write_bytes(b"\x81\xa1w\xc7\x10\x01" + bytes(16))


def one_array(folder: Path) -> None:
    arrays(folder, ".zarray", "checkpoint")


def empty_tree(folder: Path) -> None:
    folder.mkdir()
    (folder / "_METADATA").write_text('{"tree_metadata": {}}')


def zarr_alone(folder: Path) -> None:
    arrays(folder, ".zarray", "temperature")


def managed(folder: Path) -> None:
    for number in (9, 100):
        step(folder / str(number))
        item(folder / str(number) / "default")
    (folder / "100" / "metrics").mkdir()
    (folder / "200.orbax-checkpoint-tmp-17").mkdir()


def one_step(folder: Path) -> None:
    step(folder)
    item(folder / "params")
    item(folder / "state")


def padded(folder: Path) -> None:
    step(folder / "ckpt_00000007")
    item(folder / "ckpt_00000007" / "state")


def old_manager(folder: Path) -> None:
    early_folder = folder / "3" / "default"
    early_folder.parent.mkdir(parents=True)
    early(early_folder)


def v1_api(folder: Path) -> None:
    step(folder)
    item(folder / "state", zarr3=True)
    (folder / "orbax.checkpoint").write_bytes(b"")


def keras_callback(folder: Path) -> None:
    for epoch in (0, 1):
        step(folder / str(epoch))
        item(folder / str(epoch) / "pytree", zarr3=True)
        item(folder / str(epoch) / "model_config", zarr3=True)


def unfinished(folder: Path) -> None:
    step(folder, committed=False)
    (folder / "ocdbt.process_0").mkdir()


def unfinished_run(folder: Path) -> None:
    unfinished(folder / "200.orbax-checkpoint-tmp")


KINDS = [
    (one_item, f"an Orbax checkpoint (OCDBT, zarr v2), {NOT_READ}", "run"),
    (one_item_of_unknown_arrays, f"an Orbax checkpoint (OCDBT), {NOT_READ}", "run"),
    (directories, f"an Orbax checkpoint (zarr v2, a directory for each array), {NOT_READ}", "run"),
    (directories_of_zarr3, f"an Orbax checkpoint (zarr v3, a directory for each array), {NOT_READ}", "run"),
    (early, f"an Orbax checkpoint (zarr v2, a directory for each array), {NOT_READ}", "run"),
    (aggregated, f"an Orbax checkpoint (msgpack, values in the tree), {NOT_READ}", "run"),
    (one_array, f"an Orbax checkpoint (zarr v2, one array), {NOT_READ}", "run"),
    (empty_tree, f"an Orbax checkpoint (no arrays), {NOT_READ}", "run"),
    (
        zarr_alone,
        f"zarr arrays (zarr v2, a directory for each array), {NOT_READ}",
        "load them with zarr.open(",
    ),
    (
        managed,
        f"a directory of Orbax checkpoints: 2 steps, the latest 100 (item default; OCDBT, zarr v2), {NOT_READ}",
        "run/100/default",
    ),
    (one_step, f"an Orbax checkpoint (items params, state; OCDBT, zarr v2), {NOT_READ}", "run/state"),
    (
        padded,
        "a directory of Orbax checkpoints: the step ckpt_00000007 (item state; OCDBT, zarr v2), " + NOT_READ,
        "run/ckpt_00000007/state",
    ),
    (
        old_manager,
        "a directory of Orbax checkpoints: the step 3 (item default; zarr v2, a directory for each array), "
        + NOT_READ,
        "run/3/default",
    ),
    (v1_api, f"an Orbax checkpoint of the v1 API (item state; OCDBT, zarr v3), {NOT_READ}", "run/state"),
    (
        keras_callback,
        f"{LATEST} that keras.callbacks.OrbaxCheckpoint saved (OCDBT, zarr v3), {NOT_READ}",
        "keras.saving.load_model('DIR/run').save('x.keras')",
    ),
    (
        unfinished,
        "an unfinished Orbax checkpoint: its save was broken off, or goes on",
        "give an earlier step; Orbax itself passes over this one",
    ),
    (
        unfinished_run,
        "a directory of Orbax checkpoints, none of which is finished",
        "their saves were broken off, or go on: there is nothing to read",
    ),
]


@pytest.mark.parametrize("command", ["inspect", "log", "latest"])
@pytest.mark.parametrize(("make", "message", "hint"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_directory_of_orbax_is_named_as_what_it_is(tmp_path, ckpt, command, make, message, hint):
    make(tmp_path / "run")
    ran = ckpt(command, tmp_path / "run")
    assert (ran.code, ran.out) == (2, "")
    said, typed = ran.err.splitlines()
    assert said == f"ckpt: {tmp_path}/run: {message}"
    hint = hint.replace("DIR", str(tmp_path))
    assert hint in typed
    if hint.startswith("run"):  # Python that can be pasted
        python, option, code = shlex.split(typed.partition("read: ")[2])
        assert (python, option) == ("python", "-c")
        assert f'd = "{tmp_path}/{hint}"; ' in code
        compile(code, "hint", "exec")


def test_a_file_of_orbax_is_named_by_its_directory(tmp_path):
    early(tmp_path / "run")
    managed(tmp_path / "managed")
    for given in ("run/checkpoint", "managed/100/default/manifest.ocdbt", "managed/100/_CHECKPOINT_METADATA"):
        with pytest.raises(UnsupportedError) as refused:
            open_checkpoint(tmp_path / given)
        assert refused.value.message.startswith(
            f"{tmp_path}/{given.rpartition('/')[0]}: an Orbax checkpoint ("
        )
    with pytest.raises(UnsupportedError, match="an item of an Orbax checkpoint, without arrays"):
        open_checkpoint(tmp_path / "managed" / "100" / "metrics")


def test_a_checkpoint_beside_orbax_directories_is_the_checkpoint(tmp_path, ckpt):
    managed(tmp_path / "run")
    prefix = write_bundle(tmp_path / "run" / "model.ckpt-7", {"w": np.ones(2)})
    assert open_checkpoint(tmp_path / "run").path == prefix
    assert ckpt("latest", tmp_path / "run").out == f"{prefix}\n"


def test_a_state_file_is_no_msgpack(tmp_path):
    write_bundle(tmp_path / "m-1", {"w": np.ones(2)})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-1"\n')
    assert open_checkpoint(tmp_path).path == str(tmp_path / "m-1")


def test_a_directory_called_checkpoint_is_no_state_file(tmp_path):
    prefix = write_bundle(tmp_path / "m-1", {"w": np.ones(2)})
    (tmp_path / "checkpoint").mkdir()
    assert open_checkpoint(tmp_path).path == prefix


@pytest.mark.skipif(not (REAL / "orbax-ocdbt").exists(), reason="the real checkpoints are not here")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("orbax-ocdbt/run", "a directory of Orbax checkpoints: the step 100 (item default; OCDBT, zarr v2)"),
        ("orbax-ocdbt/run/100", "an Orbax checkpoint (item default; OCDBT, zarr v2)"),
        ("orbax-ocdbt/run/100/default", "an Orbax checkpoint (OCDBT, zarr v2)"),
        ("orbax-ocdbt/composite/ckpt_000007", "an Orbax checkpoint (items params, state; OCDBT, zarr v2)"),
        ("orbax-ocdbt/v1", "an Orbax checkpoint of the v1 API (item state; OCDBT, zarr v3)"),
        ("orbax-ocdbt/unfinished", "a directory of Orbax checkpoints, none of which is finished"),
        ("orbax-ocdbt/unfinished/200.orbax-checkpoint-tmp", "an unfinished Orbax checkpoint: its save was"),
        ("orbax-zarr/orbax-0.2.7/files", "an Orbax checkpoint (zarr v2, a directory for each array)"),
        ("orbax-zarr/orbax-0.2.7/aggregate", "an Orbax checkpoint (msgpack, values in the tree)"),
        ("orbax-zarr/orbax-0.4.8/files", "an Orbax checkpoint (zarr v2, a directory for each array)"),
        (
            "keras-orbax-callback/jax",
            "a directory of Orbax checkpoints: 2 steps, the latest 1 that keras.callbacks.OrbaxCheckpoint saved",
        ),
    ],
)
def test_what_orbax_wrote_is_named_as_what_it_is(given, message):
    with pytest.raises(UnsupportedError) as refused:
        open_checkpoint(REAL / given)
    assert refused.value.message.startswith(f"{REAL / given}: {message}")


URLS = [
    ("gs://b/run/m.ckpt-1", "a URL", "copy all its files to this machine first: gcloud storage cp -r 'gs://b/run/m.ckpt-1*' ."),
    ("gs://b/run/", "a URL", "copy all its files to this machine first: gcloud storage cp -r 'gs://b/run*' ."),
    (
        "s3:/b/run/m.h5",
        "a URL, with a slash missing (s3://b/run/m.h5)",
        "copy all its files to this machine first: aws s3 cp --recursive s3://b/run/ . --exclude '*' --include 'm.h5*'",
    ),
    ("https://x.org/a.h5", "a URL", "copy all its files to this machine first: curl -LO https://x.org/a.h5"),
    ("http:/x.org/a.index", "a URL, with a slash missing (http://x.org/a.index)", "copy all its files to this machine first: curl -LO http://x.org/a.index"),
    ("hdfs://n/m", "a URL", "copy all its files to this machine first: hdfs dfs -get hdfs://n/m"),
    ("hf://org/model", "a URL", "copy all its files to this machine first: hf download org/model"),
    ("memory://m", "a URL", "copy all its files to this machine first"),
]  # fmt: skip


@pytest.mark.parametrize("command", ["inspect", "log", "latest"])
@pytest.mark.parametrize(("url", "what", "hint"), URLS)
def test_a_url_is_named_as_one_with_what_copies_it(tmp_path, ckpt, monkeypatch, command, url, what, hint):
    monkeypatch.chdir(tmp_path)
    ran = ckpt(command, url)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ckpt: {url}: {what}: expected a path: only local files are read\nhint: {hint}\n"


def test_a_url_of_a_file_is_its_path(tmp_path, ckpt):
    ran = ckpt("inspect", "file:///data/my run/m")
    assert ran.err == "ckpt: file:///data/my run/m: a URL: expected a path\nhint: give '/data/my run/m'\n"


def test_a_url_is_not_written_to(tmp_path, ckpt, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle("m", {"w": np.ones(2)})
    for command in (["export", "m", "gs://b/x.npz"], ["edit", "m", "-o", "s3:/b/x"]):
        ran = ckpt(*command)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            f"ckpt: {command[-1]}{'' if 'npz' in command[-1] else '.index'}: a URL: expected a path: "
            "only local files are written\nhint: write to a path, and copy the files there\n"
        )
        assert not any(":" in name for name in os.listdir(tmp_path))


def test_a_path_that_looks_like_a_url_and_exists_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "b").mkdir(parents=True)
    write_bundle("s3:/b/m", {"w": np.ones(2)})
    assert open_checkpoint("s3:/b/m")["w"].read().tolist() == [1, 1]
    for path in ("c:/b", "note: this/x", "a:b"):
        with pytest.raises(ReadError, match="no such file or checkpoint"):
            open_checkpoint(path)


class TestDirectoriesOfDirectories:
    def hint(self, ckpt, command: str, path: Path) -> str:
        ran = ckpt(command, path)
        assert (ran.code, ran.out) == (2, "")
        said, hint = ran.err.splitlines()
        assert said == f"ckpt: {path}: no checkpoint in this directory"
        return hint

    def test_an_empty_directory_is_told_what_a_checkpoint_is(self, tmp_path, ckpt):
        assert self.hint(ckpt, "inspect", tmp_path) == (
            "hint: a checkpoint is a file ending in .index with its data files beside it"
        )

    @pytest.mark.parametrize(
        ("name", "content", "hint"),
        [
            (
                "epoch=0.ckpt",
                "PyTorch",
                (
                    "a PyTorch checkpoint (pickle in a zip archive), which is never opened here: "
                    "save it from PyTorch with safetensors.torch.save_file"
                ),
            ),
            (
                "old.pt",
                b"\x80\x02.",
                (
                    "a Python pickle, which can run code when loaded and is never opened here: "
                    "load it with the program that wrote it and save its arrays with numpy.savez"
                ),
            ),
            (
                "m.data-00000-of-00001",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
                "a Git LFS pointer, not the file itself: run `git lfs pull` in the repository that it comes from",
            ),
        ],
    )
    def test_a_directory_is_told_what_lies_there_instead(self, tmp_path, ckpt, name, content, hint):
        if content == "PyTorch":  # as torch.save writes it
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("epoch=0/data.pkl", b"\x80\x02.")
                archive.writestr("epoch=0/data/0", bytes(8))
        else:
            (tmp_path / name).write_bytes(content)
        (tmp_path / "a.json").write_text("{}")
        assert self.hint(ckpt, "inspect", tmp_path) == f"hint: {name} is {hint}"

    @pytest.mark.parametrize("command", ["inspect", "log", "latest"])
    def test_checkpoints_below_are_named(self, tmp_path, ckpt, command):
        (tmp_path / "lightning_logs" / "version_0" / "checkpoints").mkdir(parents=True)
        prefix = write_bundle(tmp_path / "lightning_logs/version_0/checkpoints/m-1", {"w": np.ones(2)})
        assert self.hint(ckpt, command, tmp_path) == f"hint: there is one below it: {prefix}"

    def test_each_is_named_as_it_is_opened(self, tmp_path, ckpt):
        made = {}
        run = tmp_path / "a-run"
        run.mkdir()
        for number in (1, 2):
            write_bundle(run / f"m-{number}", {"w": np.ones(2)})
        (run / "checkpoint").write_text('model_checkpoint_path: "m-2"\n')
        made[str(run)] = 5
        saved = tmp_path / "b-saved" / "variables"
        saved.mkdir(parents=True)
        write_bundle(saved / "variables", {"w": np.ones(2)})
        (saved.parent / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
        made[str(saved.parent)] = 4
        keras = tmp_path / "c-keras"
        keras.mkdir()
        (keras / "config.json").write_text("{}")
        with h5py.File(keras / "model.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.ones(2)
        made[str(keras)] = 3
        managed(tmp_path / "d-orbax")
        made[str(tmp_path / "d-orbax")] = 2
        (tmp_path / "e-plain").mkdir()
        made[write_bundle(tmp_path / "e-plain" / "m", {"w": np.ones(2)})] = 1
        for path, time in made.items():
            os.utime(path if os.path.exists(path) else f"{path}.index", (time, time))
        hint = self.hint(ckpt, "inspect", tmp_path)
        assert hint == f"hint: there are some below it: {', '.join(made)}"  # the newest first
        for path in hint.partition("it: ")[2].split(", "):
            if "orbax" in path:
                with pytest.raises(UnsupportedError):
                    open_checkpoint(path)
            else:
                assert open_checkpoint(path).variables()

    def test_the_nearest_come_first_and_a_few_are_named(self, tmp_path, ckpt):
        for number in range(7):
            (tmp_path / "deep" / f"run{number}").mkdir(parents=True)
            prefix = write_bundle(tmp_path / "deep" / f"run{number}" / "m", {"w": np.ones(2)})
            os.utime(f"{prefix}.index", (number, number))
        (tmp_path / "near").mkdir()
        near = write_bundle(tmp_path / "near" / "m", {"w": np.ones(2)})
        os.utime(f"{near}.index", (0, 0))
        deep = [f"{tmp_path}/deep/run{number}/m" for number in (6, 5, 4, 3)]
        assert self.hint(ckpt, "inspect", tmp_path) == (
            f"hint: there are some below it: {', '.join([near, *deep])} and 3 more"
        )

    def test_hidden_directories_links_and_deep_ones_are_passed_over(self, tmp_path, ckpt):
        for folder in (".cache", "a/b/c/d/e"):
            (tmp_path / folder).mkdir(parents=True)
            write_bundle(tmp_path / folder / "m", {"w": np.ones(2)})
        (tmp_path / "loop").symlink_to(tmp_path)
        assert "a checkpoint is a file" in self.hint(ckpt, "inspect", tmp_path)

    def test_a_huge_tree_is_looked_into_for_a_while_only(self, tmp_path, ckpt, monkeypatch):
        looked = []
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scandir(path))
        for number in range(400):
            (tmp_path / f"{number:03}" / "inner").mkdir(parents=True)
        self.hint(ckpt, "inspect", tmp_path)
        assert len(looked) <= 301

    def test_a_directory_that_may_not_be_listed_is_no_reason_to_fail(self, tmp_path, ckpt):
        (tmp_path / "closed").mkdir(mode=0)
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "m.index").symlink_to("nowhere")
        hint = self.hint(ckpt, "inspect", tmp_path)
        assert hint == f"hint: there is one below it: {tmp_path}/broken/m"
        (tmp_path / "closed").chmod(0o700)

    def test_a_name_that_is_nowhere_is_told_what_lies_below(self, tmp_path):
        (tmp_path / "run").mkdir()
        prefix = write_bundle(tmp_path / "run" / "m", {"w": np.ones(2)})
        with pytest.raises(CheckpointError) as missing:
            open_checkpoint(tmp_path / "checkpoints")
        assert re.fullmatch(f"checkpoints below that directory: {prefix}", missing.value.hint)

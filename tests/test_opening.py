"""Whatever a person has at hand, and what is said of what cannot be opened."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import VALID, write_bundle
from toolkit import CheckpointError, FormatError, ReadError, open_checkpoint


@pytest.fixture
def run(tmp_path) -> Path:
    """A training directory: two checkpoints, a graph, and a state file."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (100, 200):
        write_bundle(folder / f"model.ckpt-{step}", {"step": np.array(step)})
        (folder / f"model.ckpt-{step}.meta").write_bytes(b"\x0a\x05\x0a\x03abc")
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt-200"\n'
        'all_model_checkpoint_paths: "model.ckpt-100"\n'
        'all_model_checkpoint_paths: "model.ckpt-200"\n'
    )
    return folder


@pytest.mark.parametrize(
    "given",
    ["model.ckpt-100", "model.ckpt-100.index", "model.ckpt-100.data-00000-of-00001", "model.ckpt-100.meta"],
)
def test_a_prefix_and_each_of_its_files_are_the_checkpoint(run, given):
    checkpoint = open_checkpoint(run / given)
    assert checkpoint.path == str(run / "model.ckpt-100")
    assert checkpoint["step"].read() == 100


@pytest.mark.parametrize("given", ["", "checkpoint"])
def test_a_directory_and_its_state_file_are_the_latest(run, given):
    assert open_checkpoint(run / given)["step"].read() == 200


def test_paths_may_be_relative_and_end_in_a_slash(run, monkeypatch):
    monkeypatch.chdir(run)
    for given in (".", "./", "model.ckpt-200", "checkpoint"):
        assert open_checkpoint(given)["step"].read() == 200


def test_a_state_file_with_the_path_of_another_machine_is_looked_for_beside_it(run):
    (run / "checkpoint").write_text('model_checkpoint_path: "/gone/away/model.ckpt-100"\n')
    notes = []
    assert open_checkpoint(run, note=notes.append)["step"].read() == 100
    assert notes == [
        f"{run}/checkpoint: names /gone/away/model.ckpt-100, which is gone; took {run}/model.ckpt-100"
    ]


def test_a_state_file_whose_checkpoint_is_gone_says_what_there_is(run):
    (run / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-300"\n')
    notes = []
    assert open_checkpoint(run, note=notes.append).path == f"{run}/model.ckpt-200"
    assert notes == [
        f"{run}/checkpoint: names model.ckpt-300, which does not exist; took {run}/model.ckpt-200"
    ]
    for step in (100, 200):
        (run / f"model.ckpt-{step}.data-00000-of-00001").unlink()  # none is complete
    with pytest.raises(ReadError) as gone:
        open_checkpoint(run)
    assert gone.value.message == f"{run}/checkpoint: names model.ckpt-300, which does not exist"
    assert gone.value.hint == f"name one that does: {run}/model.ckpt-100, {run}/model.ckpt-200"


def test_the_only_checkpoint_of_a_directory_needs_no_state_file(run):
    (run / "checkpoint").unlink()
    for path in run.glob("model.ckpt-100*"):
        path.unlink()
    notes = []
    assert open_checkpoint(run, note=notes.append)["step"].read() == 200
    assert notes == []


def test_several_checkpoints_without_a_state_file_need_steps_in_their_names(run):
    (run / "checkpoint").unlink()
    notes = []
    assert open_checkpoint(run, note=notes.append).path == f"{run}/model.ckpt-200"
    assert notes == [f"{run}: no state file; took the newest, {run}/model.ckpt-200"]
    for path in run.glob("model.ckpt-*"):
        path.unlink()
    for name in ("small", "large"):
        write_bundle(run / name, {"step": np.array(1)})
    with pytest.raises(ReadError, match="2 checkpoints and no state file to tell the latest") as several:
        open_checkpoint(run)
    assert f"{run}/small" in several.value.hint


def test_a_saved_model_is_its_variables(tmp_path):
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    with pytest.raises(ReadError, match=r"a SavedModel without variables/variables\.index"):
        open_checkpoint(tmp_path / "saved")
    write_bundle(tmp_path / "saved" / "variables" / "variables", {"w": np.ones(2)})
    for given in ("saved", "saved/variables"):
        assert list(open_checkpoint(tmp_path / given)) == ["w"]


@pytest.mark.parametrize(
    "name", ["we[i]rd*?", "-dash", "sp ace", "ünïcode", "a.index.b", "a.data-00000-of-00001.c"]
)
def test_any_file_name_is_taken(tmp_path, name):
    prefix = write_bundle(tmp_path / name, {"w": np.ones(2)})
    for given in (prefix, prefix + ".index", prefix + ".data-00000-of-00001"):
        assert open_checkpoint(given).path == prefix


def test_links_are_followed(tmp_path, run):
    (tmp_path / "link").symlink_to(run)
    assert open_checkpoint(tmp_path / "link")["step"].read() == 200


def lfs_pointer() -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def written(make):
    def write(path: Path) -> None:
        path.write_bytes(make())

    return write


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")


def pytorch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02.")


def renamed(path: Path) -> None:
    shutil.copy(VALID / "strings" / "model.index", path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (written(lfs_pointer), "a Git LFS pointer, not the file itself"),
        (archive, "a zip archive"),
        (pytorch, "a PyTorch checkpoint (pickle in a zip archive)"),
        (written(lambda: pickle.dumps({"w": [1.0]})), "a Python pickle, which can run code"),
        (written(lambda: b"\x93NUMPY\x01\0"), "a NumPy array (.npy)"),
        (written(lambda: b"\x1f\x8b\x08" + bytes(20)), "a gzip archive"),
        (written(lambda: bytes(257) + b"ustar" + bytes(300)), "a tar archive"),
        (written(lambda: b"\x08\x01\x12\x80\x01"), "a SavedModel's graph, without values"),
        (written(lambda: b"\x0a\x10\x0a\x05input\x12\x0bPlaceholder"), "a graph (protocol buffer)"),
        (renamed, "header: not a V1 checkpoint's: this is an index that was renamed"),
        (written(lambda: b"../other/model.ckpt.index"), "the text of a symbolic link"),
        (written(lambda: b""), "an empty file"),
        (written(lambda: b"hello\n"), "no checkpoint that the toolkit knows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["file", "file.index"])
def test_what_is_no_checkpoint_is_told_what_it_is(tmp_path, make, what, name):
    if name.endswith(".index") and (make in (renamed, pytorch) or "toolkit knows" in what):
        return  # an index, an archive that nobody looks into by that name, and maybe one that was cut off
    make(tmp_path / name)
    with pytest.raises(FormatError) as refused:
        open_checkpoint(tmp_path / name)
    assert refused.value.message.startswith(f"{tmp_path}/{name}: {what}")
    assert refused.value.hint
    assert refused.value.path == f"{tmp_path}/{name}"


def test_a_pickle_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    (tmp_path / "model.index").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FormatError):
        open_checkpoint(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_a_data_file_that_is_a_pointer_is_named_as_one(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.ones(1000)})
    data = Path(prefix + ".data-00000-of-00001")
    data.write_bytes(lfs_pointer())
    with pytest.raises(FormatError, match="a Git LFS pointer") as refused:
        open_checkpoint(prefix)["w"].read()
    assert refused.value.path == str(data)
    os.unlink(prefix + ".index")
    with pytest.raises(FormatError, match="a Git LFS pointer"):
        open_checkpoint(data)


def test_data_without_an_index_is_told(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.ones(2)})
    os.unlink(prefix + ".index")
    for given in (prefix, prefix + ".data-00000-of-00001"):
        with pytest.raises(
            ReadError, match=r"m\.index: missing, and without it the values cannot be told apart"
        ):
            open_checkpoint(given)


def test_what_does_not_exist_is_told_with_what_there_is(run):
    with pytest.raises(ReadError) as missing:
        open_checkpoint(run / "model.ckpt-9")
    assert missing.value.message == f"{run}/model.ckpt-9: no such file or checkpoint"
    assert missing.value.hint == f"there is: {run}/model.ckpt-100, {run}/model.ckpt-200"
    with pytest.raises(ReadError) as missing:
        open_checkpoint(run / "nowhere" / "model")
    assert missing.value.hint == f"the directory {run}/nowhere does not exist"
    with pytest.raises(ReadError, match="no checkpoint in this directory"):
        (run / "empty").mkdir()
        open_checkpoint(run / "empty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the state file names no checkpoint"),
        ('model_checkpoint_path: "model.ck', "not a checkpoint state file"),
        ("<html>", "not a checkpoint state file"),
        ("\udcff", "not a checkpoint state file"),
    ],
)
def test_reject_state_files(run, text, message):
    (run / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=message):
        open_checkpoint(run)


def test_a_state_file_of_megabytes_is_not_parsed(run):
    with (run / "checkpoint").open("wb") as file:
        file.truncate(20 << 20)
    with pytest.raises(FormatError, match="too large for a state file"):
        open_checkpoint(run)


def test_unknown_fields_of_a_state_file_are_passed_over(run):
    with (run / "checkpoint").open("a") as file:
        file.write("last_preserved_timestamp: 1.5\nsomething_new: 3\n")
    assert open_checkpoint(run)["step"].read() == 200


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ReadError, match="not a regular file"):
        open_checkpoint(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(ReadError):
            open_checkpoint(tmp_path / "socket")
    with pytest.raises(ReadError, match="not a regular file"):
        open_checkpoint("/dev/null")
    (tmp_path / "m.index").symlink_to("nowhere")
    with pytest.raises(ReadError, match="no such file"):
        open_checkpoint(tmp_path / "m")


def test_a_directory_in_place_of_a_file_is_refused(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.ones(2)})
    os.unlink(prefix + ".data-00000-of-00001")
    os.mkdir(prefix + ".data-00000-of-00001")
    with pytest.raises(CheckpointError):
        open_checkpoint(prefix)["w"].read()
    (tmp_path / "d.index").mkdir()
    with pytest.raises(ReadError, match="not a regular file"):
        open_checkpoint(tmp_path / "d")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_impossible_paths_are_errors_of_the_toolkit(path):
    with pytest.raises(CheckpointError):
        open_checkpoint(path)

"""Weights in several files with an index, Keras's and safetensors': one checkpoint, by whatever is named.

The files are made with h5py as `keras.src.saving.saving_lib.ShardedH5IOStore` (Keras 3.15) makes them: the
groups of a variable's object in the first file, with their attributes, the rest without.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import names_in
from toolkit import CheckpointError, FormatError, ReadError, edit, inspect, log, open_checkpoint

REAL = Path(__file__).parents[2] / "shared" / "real" / "keras-sharded-weights"
FILES = ["net_00000.weights.h5", "net_00001.weights.h5", "net_00002.weights.h5"]
VALUES = {
    "vars/0": np.array([7], "f"),
    "layers/dense/vars/0": np.arange(6, dtype="f").reshape(2, 3),
    "layers/dense/vars/1": np.arange(3, dtype="f"),
    **{f"optimizer/vars/{i}": np.full((2, 3), i, "f") for i in range(2, 14)},
    "optimizer/vars/0": np.array(5, np.int64),
}
PLACES = {
    FILES[0]: ["vars/0", "layers/dense/vars/0", "layers/dense/vars/1", "optimizer/vars/0"],
    FILES[1]: [f"optimizer/vars/{i}" for i in range(2, 10)],
    FILES[2]: [f"optimizer/vars/{i}" for i in range(10, 14)],
}
WEIGHT_MAP = {"/vars": FILES[:1], "/layers/dense/vars": FILES[0], "/optimizer/vars": FILES}
"""A value is a name or a list of names."""
NAMES = {
    "vars": "net",
    "layers/dense/vars": "hidden",
    "layers/dropout/vars": "drop",
    "optimizer/vars": "adam",
}


def write(folder: Path, name: str = "net") -> Path:
    """Write the files, and return the path of the index."""
    folder.mkdir(exist_ok=True)
    for file, places in PLACES.items():
        with h5py.File(folder / file.replace("net", name), "w") as shard:
            for group, called in NAMES.items() if file == FILES[0] else ():
                shard.require_group(group).attrs["name"] = called
            for place in places:
                shard[place] = VALUES[place]
    text = json.dumps({"metadata": {"total_size": 4316.0}, "weight_map": WEIGHT_MAP}, indent=4)
    (folder / f"{name}.weights.json").write_text(text.replace("net_", f"{name}_"))
    return folder / f"{name}.weights.json"


@pytest.mark.parametrize("given", ["", "net.weights.json", *FILES])
def test_the_index_each_file_and_the_folder_are_the_whole(tmp_path, given):
    index = write(tmp_path / "run")
    with open_checkpoint(tmp_path / "run" / given) as checkpoint:
        assert checkpoint.path == str(index)
        assert checkpoint.files() == [str(index), *(str(tmp_path / "run" / name) for name in FILES)]
        assert checkpoint.describe() == "Keras 3 weights (HDF5), 3 files"
        assert {name: variable.read().tolist() for name, variable in checkpoint.items()} == {
            name: values.tolist() for name, values in VALUES.items()
        }
        assert {v.dtype.name for v in checkpoint.values()} == {"float32", "int64"}


def test_they_are_as_one_file_would_be(tmp_path):
    """One file that Keras had not split has the same names, in the same order, with the same roles."""
    with h5py.File(tmp_path / "one.weights.h5", "w") as whole:
        for group, called in NAMES.items():
            whole.require_group(group).attrs["name"] = called
        for place, values in VALUES.items():
            whole[place] = values
    with (
        open_checkpoint(write(tmp_path / "run")) as split,
        open_checkpoint(tmp_path / "one.weights.h5") as one,
    ):
        assert list(split) == list(one)
        assert split.paths() == one.paths()
        assert split.paths()["layers/dense/vars/0"].startswith("hidden/")
        assert split.roles() == one.roles()


def test_files_of_an_earlier_save_are_not_read(tmp_path):
    index = write(tmp_path / "run")
    shutil.copy(tmp_path / "run" / FILES[1], tmp_path / "run" / "net_00003.weights.h5")
    assert set(open_checkpoint(tmp_path / "run")) == set(VALUES)
    assert [each.path for each in log(tmp_path / "run")] == [str(index)]
    with pytest.raises(FormatError) as refused:
        open_checkpoint(tmp_path / "run" / "net_00003.weights.h5")
    assert refused.value.message == (
        f"{tmp_path}/run/net_00003.weights.h5: not one of the files that net.weights.json lists: "
        "an earlier save left it"
    )
    assert refused.value.hint.startswith(f"give {index}; ")


def test_saves_of_several_epochs_are_one_checkpoint_each(tmp_path, ckpt):
    for step in (1, 2):
        write(tmp_path / "run", f"net-{step}")
    logged = log(tmp_path / "run")
    assert [Path(each.path).name for each in logged] == ["net-1.weights.json", "net-2.weights.json"]
    assert [each.step for each in logged] == [1, 2]
    assert all(each.complete for each in logged)
    sizes = [path.stat().st_size for path in (tmp_path / "run").glob("net-1*")]
    assert logged[0].nbytes == sum(sizes)
    notes = []
    assert open_checkpoint(tmp_path / "run", note=notes.append).path == logged[1].path
    assert notes == [f"{tmp_path}/run: no state file; took the newest, {logged[1].path}"]
    assert ckpt("prune", tmp_path / "run", "--keep", 1, "--older-than", 0).code == 0
    left = names_in(tmp_path / "run")
    assert [name for name in left if "net" in name] == [
        "net-2.weights.json",
        *(file.replace("net", "net-2") for file in FILES),
    ]


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_hides_no_names_of_the_others_and_nothing_is_made_without_it(tmp_path, ckpt, missing):
    index = write(tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(ReadError) as refused:
        open_checkpoint(index)
    assert refused.value.message.startswith(
        f"{tmp_path}/run/{missing}: missing, one of the 3 files of net.weights.json: it holds values of /"
    )
    assert refused.value.path == f"{tmp_path}/run/{missing}"
    ran = ckpt("inspect", index)
    assert ran.code == 0
    assert ran.out.splitlines()[1] == (
        f"values are not there: {missing} is missing; what only such a file holds is not listed"
    )
    listed = [v["name"] for v in json.loads(ckpt("inspect", index, "--json").out)["variables"]]
    assert sorted(listed) == sorted(p for file, places in PLACES.items() for p in places if file != missing)
    with open_checkpoint(index, partial=True) as checkpoint:
        assert checkpoint.missing_files() == [f"{tmp_path}/run/{missing}"]
        with pytest.raises(ReadError, match="missing, one of the 3 files"):
            edit(checkpoint)
    for command in (
        ["export", index, tmp_path / "x.npz"],
        ["edit", index, "-o", tmp_path / "x", "--drop", "**"],
    ):
        ran = ckpt(*command)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith(f"ckpt: {tmp_path}/run/{missing}: missing")
    assert names_in(tmp_path) == ["run"]


def test_an_index_alone_says_which_files_are_missing(tmp_path, ckpt):
    index = write(tmp_path / "run")
    for name in FILES:
        (tmp_path / "run" / name).unlink()
    with pytest.raises(ReadError, match=r"net_00000\.weights\.h5: missing, one of the 3 files"):
        open_checkpoint(tmp_path / "run")
    ran = ckpt("inspect", index)
    assert ran.code == 0
    assert f"values are not there: {', '.join(FILES)} are missing; " in ran.out


def test_a_later_file_without_its_index_is_told_to_be_a_part(tmp_path, ckpt):
    write(tmp_path / "run").unlink()
    for number, is_part in enumerate([False, True, True]):
        ran = ckpt("inspect", tmp_path / "run" / FILES[number])
        assert ran.code == 0
        note = f"{tmp_path}/run/{FILES[number]}: a part: net.weights.json, which lists the other files, is missing\n"
        assert ran.err == (note if is_part else "")


def test_weights_that_are_numbered_by_epochs_are_no_parts(tmp_path, ckpt):
    with h5py.File(tmp_path / "net_00010.weights.h5", "w") as file:
        file.require_group("vars").attrs["name"] = "net"
        file["layers/dense/vars/0"] = np.zeros(2)
    ran = ckpt("inspect", tmp_path / "net_00010.weights.h5")
    assert (ran.code, ran.err) == (0, "")


def test_they_are_exported_and_edited_like_others(tmp_path, ckpt):
    index = write(tmp_path / "run")
    assert ckpt("export", index, tmp_path / "x.npz").code == 0
    with open_checkpoint(tmp_path / "x.npz") as made:
        assert sorted(v.read().tobytes() for v in made.values()) == sorted(
            v.tobytes() for v in VALUES.values()
        )
    assert ckpt("edit", index, "-o", tmp_path / "m", "--keep", "layers/dense/vars/0").code == 0
    with open_checkpoint(tmp_path / "m") as made:
        assert [v.read().tolist() for v in made.values()] == [VALUES["layers/dense/vars/0"].tolist()]


def test_values_of_a_file_that_was_cut_off_are_an_error_that_names_it(tmp_path):
    index = write(tmp_path / "run")
    data = (tmp_path / "run" / FILES[2]).read_bytes()
    for size in (8, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "run" / FILES[2]).write_bytes(data[:size])
        with pytest.raises(CheckpointError) as refused, open_checkpoint(index) as checkpoint:
            for variable in checkpoint.values():
                variable.read()
        assert refused.value.path == f"{tmp_path}/run/{FILES[2]}"


@pytest.mark.parametrize("given", ["", "m.safetensors.index.json", "m-00001-of-00002.safetensors"])
def test_a_file_of_several_safetensors_files_is_the_whole(tmp_path, given):
    numpy_ = pytest.importorskip("safetensors.numpy")
    names = [f"m-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (tmp_path / "run").mkdir()
    for name, key in zip(names, "ab", strict=True):
        numpy_.save_file({key: np.arange(3.0)}, tmp_path / "run" / name)
    weight_map = dict(zip("ab", names, strict=True))
    (tmp_path / "run" / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with open_checkpoint(tmp_path / "run" / given) as checkpoint:
        assert list(checkpoint) == ["a", "b"]
    (tmp_path / "run" / names[1]).unlink()
    index = tmp_path / "run" / "m.safetensors.index.json"
    with pytest.raises(ReadError, match=r"m-00002-of-00002\.safetensors: missing, .* it holds values of b"):
        open_checkpoint(index)
    summary = inspect(index)
    assert [v.name for v in summary.variables] == ["a"]
    assert summary.notes == [
        f"values are not there: {names[1]} is missing; what only such a file holds is not listed"
    ]


@pytest.mark.skipif(not REAL.exists(), reason="the real checkpoints are not here")
def test_what_keras_wrote_is_read_equal():
    expected = json.loads((REAL / "expected.json").read_text())["items"]["net.weights.json"]
    for given in ("net.weights.json", "net_00003.weights.h5", ""):
        with open_checkpoint(REAL / given) as checkpoint:
            assert set(checkpoint) == set(expected)
            for name, told in expected.items():
                values = checkpoint[name].read()
                assert [values.dtype.name, list(values.shape)] == [told["dtype"], told["shape"]]
                assert hashlib.sha256(values.tobytes()).hexdigest() == told["sha256"]

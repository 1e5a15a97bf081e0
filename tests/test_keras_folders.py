"""Models that Keras saved unzipped, told by `config.json`; and its pickled weights, which are refused."""

from __future__ import annotations

import io
import json
import os
import shlex
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import write_bundle
from toolkit import FormatError, ReadError, UnsupportedError, log, open_checkpoint

REAL = Path(__file__).parents[2] / "shared" / "real" / "keras-npz-archive"
REASON = (
    "Keras weights saved with weights_format='npz', which are Python pickles: they can run code when loaded "
    "and are never opened here, and Keras 3.9.2 and later cannot load them itself"
)
HINT = "where you trust the file, unpickle it yourself, with the Keras that wrote it, to x.npz: python -c "


@pytest.fixture
def folder(tmp_path) -> Path:
    """What `model.save(..., zipped=False)` writes: a layer with two weights."""
    made = tmp_path / "net"
    (made / "assets").mkdir(parents=True)
    (made / "config.json").write_text(
        json.dumps({"module": "keras", "class_name": "Sequential", "config": {}})
    )
    (made / "metadata.json").write_text(
        json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-25@14:30:34"})
    )
    with h5py.File(made / "model.weights.h5", "w") as file:
        file.require_group("vars").attrs["name"] = "net"
        file.require_group("layers/dense/vars").attrs["name"] = "hidden"
        file["layers/dense/vars/0"] = np.arange(6, dtype="f").reshape(2, 3)
    return made


@pytest.mark.parametrize("given", ["", "config.json", "metadata.json"])
def test_a_folder_is_read_as_the_archive_that_it_was_not_zipped_to(folder, given):
    with open_checkpoint(folder / given) as checkpoint:
        assert checkpoint.path == str(folder)
        assert checkpoint.format == "keras"
        assert checkpoint.describe() == "Keras 3 model, in a folder"
        assert checkpoint.paths()["layers/dense/vars/0"].startswith("hidden/")
        assert checkpoint["layers/dense/vars/0"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
        names = ["model.weights.h5", "config.json", "metadata.json"]
        assert checkpoint.files() == [str(folder / name) for name in names]


def test_the_weights_in_a_folder_are_a_file_like_others(folder):
    with open_checkpoint(folder / "model.weights.h5") as checkpoint:
        assert checkpoint.path == str(folder / "model.weights.h5")
        assert checkpoint.describe() == "Keras 3 weights (HDF5)"


def test_a_folder_is_exported_like_an_archive(folder, ckpt, tmp_path):
    assert ckpt("export", folder, tmp_path / "x.npz").code == 0
    with open_checkpoint(tmp_path / "x.npz") as made:
        assert [v.read().tolist() for v in made.values()] == [[[0, 1, 2], [3, 4, 5]]]


def test_without_config_json_a_folder_is_a_directory_with_one_checkpoint(folder):
    (folder / "config.json").unlink()
    (folder / "metadata.json").unlink()
    assert open_checkpoint(folder).path == str(folder / "model.weights.h5")


def test_weights_that_are_something_else_are_told(folder):
    (folder / "model.weights.h5").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    )
    with pytest.raises(FormatError, match=r"net/model\.weights\.h5: a Git LFS pointer, not the file itself"):
        open_checkpoint(folder)


def test_a_config_json_of_others_is_a_json_file(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FormatError, match=r"config\.json: a JSON file: it has no weights in it"):
        open_checkpoint(tmp_path / "config.json")
    with pytest.raises(ReadError, match="no checkpoint in this directory"):
        open_checkpoint(tmp_path)
    write_bundle(tmp_path / "m", {"w": np.ones(2)})
    assert open_checkpoint(tmp_path).path == str(tmp_path / "m")


def pickles(mark: Path) -> bytes:
    """Return an archive of pickled weights as Keras writes it; unpickling would make the directory `mark`."""

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(mark),))

    member = io.BytesIO()
    np.save(member, np.array(Bomb(), object), allow_pickle=True)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("__root__.npy", "layers/dense.npy", "optimizer.npy"):
            archive.writestr(name, member.getvalue())
    return out.getvalue()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("net.keras", "net.keras"),
        ("net", "net/model.weights.h5"),
        ("net/config.json", "net/model.weights.h5"),
        ("net/model.weights.h5", "net/model.weights.h5"),
        ("model.weights.npz", "model.weights.npz"),
    ],
)
def test_pickled_weights_are_refused_with_the_reason_and_never_unpickled(
    folder, tmp_path, ckpt, given, named
):
    content = pickles(tmp_path / "ran")
    (folder / "model.weights.h5").write_bytes(content)
    (tmp_path / "model.weights.npz").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.npz", content)
    with pytest.raises(UnsupportedError) as refused:
        open_checkpoint(tmp_path / given)
    assert refused.value.message == f"{tmp_path}/{named}: {REASON}"
    assert refused.value.hint.startswith(HINT)
    code = shlex.split(refused.value.hint.removeprefix(HINT))[0]
    member = ".open('model.weights.npz')" if named == "net.keras" else ""
    assert f"'{tmp_path}/{named}'" in code
    assert member in code
    compile(code, "hint", "exec")
    ran = ckpt("export", tmp_path / given, tmp_path / "out.npz")
    assert (ran.code, ran.out) == (2, "")
    assert not (tmp_path / "ran").exists()


def test_an_npz_with_arrays_in_it_is_read_whatever_they_are_called(tmp_path):
    np.savez(tmp_path / "x.npz", __root__=np.arange(2.0))
    assert open_checkpoint(tmp_path / "x.npz")["__root__"].read().tolist() == [0, 1]


def test_the_log_of_a_run_passes_over_folders_of_models(folder, tmp_path):
    write_bundle(tmp_path / "m-1", {"w": np.ones(2)})
    assert [each.step for each in log(tmp_path)] == [1]


@pytest.mark.skipif(not REAL.exists(), reason="the real checkpoints are not here")
def test_what_keras_wrote_is_read_or_refused():
    expected = json.loads((REAL / "expected.json").read_text())["items"]["net-dir-h5"]
    with open_checkpoint(REAL / "net-dir-h5") as checkpoint:
        assert {n: list(v.shape) for n, v in checkpoint.items()} == {
            n: t["shape"] for n, t in expected.items()
        }
    for given in ("net-dir-npz", "net-dir-npz/model.weights.h5", "net-npz.keras"):
        with pytest.raises(UnsupportedError, match=r"weights_format='npz'.* Keras 3\.9\.2 and later cannot"):
            open_checkpoint(REAL / given)

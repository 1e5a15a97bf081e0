"""Checkpoints that others wrote, against what TensorFlow's own reader says of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import VALID
from toolkit import open_checkpoint

REAL = Path(__file__).parents[2] / "shared" / "real"
"""Checkpoints from public repositories; not every machine has them."""


def cases():
    for folder in (VALID, REAL):
        if not (folder / "expected.json").exists():
            yield pytest.param(None, None, marks=pytest.mark.skip(f"no {folder.name} checkpoints here"))
            continue
        for prefix, variables in json.loads((folder / "expected.json").read_text("utf-8")).items():
            yield pytest.param(folder / prefix, variables, id=f"{folder.name}/{prefix}")


CASES = list(cases())


def digest(values: np.ndarray) -> str:
    found = hashlib.sha256()
    if values.dtype == object:
        for element in values.reshape(-1).tolist():
            found.update(len(element).to_bytes(8, "little") + element)
    else:
        found.update(values.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(("prefix", "expected"), CASES)
def test_reads_as_tensorflow_does(prefix, expected):
    with open_checkpoint(prefix) as checkpoint:
        found = {name: [v.dtype.name, list(v.shape), digest(v.read())] for name, v in checkpoint.items()}
    assert found == expected


KERAS = [*REAL.glob("keras*/*.h5"), *REAL.glob("keras*/*.keras"), *REAL.glob("keras*/*/*.h5")]
PICKLED = ("net-npz.keras", "net-dir-npz/model.weights.h5")
"""Which nothing reads without running what is in it."""


@pytest.mark.parametrize(
    "path", sorted(p for p in KERAS if not str(p).endswith(PICKLED)), ids=lambda p: p.name
)
def test_keras_files_read_as_h5py_does(path):
    with contextlib.ExitStack() as stack:
        contents = [path]
        if path.suffix == ".keras":
            archive = stack.enter_context(zipfile.ZipFile(path))
            contents = [stack.enter_context(archive.open("model.weights.h5"))]
        elif list(path.parent.glob("*.weights.json")):  # one file of several is the whole
            contents = list(path.parent.glob("*.weights.h5"))
        theirs = []
        for content in contents:
            stack.enter_context(h5py.File(content)).visititems(
                lambda name, item: theirs.append(item[()]) if isinstance(item, h5py.Dataset) else None
            )
        with open_checkpoint(path) as checkpoint:
            ours = [variable.read() for variable in checkpoint.values()]
    assert sorted((v.shape, v.tobytes()) for v in ours) == sorted(
        (v.shape, v.tobytes()) for v in map(np.asarray, theirs)
    )


@pytest.mark.parametrize(("prefix", "expected"), CASES)
def test_chunks_are_the_bytes_of_the_values(prefix, expected):
    with open_checkpoint(prefix) as checkpoint:
        for variable in checkpoint.values():
            chunks = [chunk.tobytes() for chunk in variable.chunks(max_bytes=100)]
            assert sum(map(len, chunks)) == variable.nbytes
            assert all(len(chunk) <= 100 for chunk in chunks)
            if variable.dtype.kind != "string":
                assert b"".join(chunks) == variable.read().tobytes()

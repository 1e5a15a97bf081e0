"""Bundles written by TensorFlow read equal here, those written here read equal in TensorFlow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import examples, tensors
from tests.tensorflow import reference, tf
from toolkit import dtypes
from toolkit.formats.bundle.naming import data_file, index_file
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.writer import BundleWriter
from toolkit.names import encode_name

with tempfile.TemporaryDirectory() as _folder:
    SAVABLE = reference.savable(Path(_folder))

EXAMPLES = settings(
    max_examples=examples(150),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def write(prefix: str, content: reference.Content, order: list[str]) -> None:
    with BundleWriter(prefix) as writer:
        for name in order:
            writer.add(name, content[name][1], content[name][0])
        writer.finish()


def files(prefix: str, num_shards: int = 1) -> list[bytes]:
    paths = [index_file(prefix), *(data_file(prefix, i, num_shards) for i in range(num_shards))]
    return [Path(path).read_bytes() for path in paths]


def test_tensorflow_saves_all_plain_dtypes_but_those_without_kernels():
    # float8 with unsigned zero and the 2-bit types exist in TensorFlow without a kernel that makes them
    assert {d.name for d in SAVABLE} >= {
        "float32", "float64", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "int4", "uint4",
        "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "complex64",
        "complex128", "qint8", "quint8", "qint16", "quint16", "qint32",
    }  # fmt: skip


@EXAMPLES
@given(tensors(SAVABLE))
def test_what_tensorflow_wrote_reads_equal(content):
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/model"
        reference.save(prefix, content)
        with BundleCheckpoint(prefix) as checkpoint:
            assert set(checkpoint) == set(content)
            for name, (dtype, values) in content.items():
                variable = checkpoint[name]
                assert (variable.dtype, variable.shape) == (dtype, values.shape)
                assert reference.same_bits(variable.read(), values)
                chunks = b"".join(chunk.tobytes() for chunk in variable.chunks(max_bytes=17))
                assert len(chunks) == variable.nbytes
                if dtype.kind != "string":
                    assert chunks == values.tobytes()


@EXAMPLES
@given(tensors(SAVABLE), st.randoms(use_true_random=False))
def test_what_is_written_here_reads_equal_in_tensorflow(content, random):
    order = list(content)
    random.shuffle(order)
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/model"
        write(prefix, content, order)
        read = reference.restore(prefix, content)
        for name, (_, values) in content.items():
            assert reference.same_bits(read[name], values)


@EXAMPLES
@given(tensors(SAVABLE))
def test_the_same_order_gives_the_same_bytes(content):
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = f"{folder}/theirs", f"{folder}/ours"
        reference.save(theirs, content)
        write(ours, content, list(content))  # SaveV2 adds in the order in which it is given them
        assert files(ours) == files(theirs)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"scope_{i // 16}/var_{i % 16}" for i in range(12_000)], id="many-blocks"),
        pytest.param([f"{i:04}" + "x" * 5000 for i in range(200)], id="long-names"),
        pytest.param(["a", "b" * 600_000, "b" * 600_000 + "c", "d"], id="entries-above-two-blocks"),
        pytest.param([chr(i) + tail for i in (1, 127, 255, 0xFFFF, 0x10FFFF) for tail in ("", "\xff")], id="separators"),
    ],
)  # fmt: skip
def test_the_index_has_the_same_bytes(tmp_path, names):
    content = {name: (dtypes.BY_NAME["uint8"], np.array([i % 251], np.uint8)) for i, name in enumerate(names)}
    reference.save(tmp_path / "theirs", content)
    write(str(tmp_path / "ours"), content, names)
    assert files(str(tmp_path / "ours")) == files(str(tmp_path / "theirs"))
    with BundleCheckpoint(str(tmp_path / "theirs")) as checkpoint:
        assert list(checkpoint) == sorted(names, key=encode_name)
        assert [v.read()[0] for v in list(checkpoint.values())[:50]] == [
            content[name][1][0] for name in list(checkpoint)[:50]
        ]


def test_several_data_files_read_equal(tmp_path):
    parts = []
    for i in range(3):
        content = {f"v{i}/{j}": (dtypes.BY_NAME["float32"], np.full((2, j), i + j, "f")) for j in range(4)}
        reference.save(tmp_path / f"part{i}", content)
        parts.append(content)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"part{i}") for i in range(3)],
        destination_prefix=str(tmp_path / "model"),
    )
    with BundleCheckpoint(str(tmp_path / "model")) as checkpoint:
        assert checkpoint.num_shards == 3
        assert len(checkpoint.files()) == 4
        for content in parts:
            for name, (_, values) in content.items():
                assert reference.same_bits(checkpoint[name].read(), values)


def test_an_empty_last_data_file_is_taken_by_tensorflow(tmp_path):
    content = {"a": (dtypes.BY_NAME["int32"], np.arange(5, dtype=np.int32))}
    with BundleWriter(str(tmp_path / "m"), num_shards=2) as writer:
        writer.add("a", content["a"][1])
        writer.finish()
    assert reference.restore(tmp_path / "m", content)["a"].tolist() == [0, 1, 2, 3, 4]
    assert tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("a").tolist() == [0, 1, 2, 3, 4]


def test_dtypes_are_tensorflows():
    known = []
    for dtype in dtypes.BY_NAME.values():
        try:
            theirs = tf.as_dtype(dtype.number)
        except TypeError:
            continue  # newer than this TensorFlow
        known.append(dtype.number)
        assert theirs.name == dtype.name
        if dtype.itemsize is not None:
            assert theirs.size == dtype.itemsize
            if dtype.kind != "quantized":
                assert np.dtype(theirs.as_numpy_dtype) == dtype.numpy
    assert known[:25] == list(range(1, 26))
    if tf.__version__.startswith("2.21."):
        assert len(known) == len(dtypes.BY_NAME) == 33

"""A bundle as a mapping: what is read when, and what is refused."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import VALID, write_bundle, write_table
from toolkit import (
    Checkpoint,
    ChecksumError,
    FormatError,
    ReadError,
    TruncatedError,
    UnsupportedError,
    VariableNotFoundError,
    open_checkpoint,
)
from toolkit.formats.bundle import messages, table_builder
from toolkit.formats.bundle.messages import Entry, encode_entry
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.schema import message_class
from toolkit.formats.bundle.table_builder import TableBuilder
from toolkit.formats.file import ReadFile


@pytest.fixture
def bytes_read(monkeypatch):
    """Count the bytes read from each kind of file by `pread`."""
    counted = {"index": 0, "data": 0}
    plain_read, plain_read_into = ReadFile.read, ReadFile.read_into

    def kind(file):
        return "index" if file.path.endswith(".index") else "data"

    def read(self, offset, size):
        counted[kind(self)] += size
        return plain_read(self, offset, size)

    def read_into(self, buffer, offset):
        counted[kind(self)] += buffer.size
        return plain_read_into(self, buffer, offset)

    monkeypatch.setattr(ReadFile, "read", read)
    monkeypatch.setattr(ReadFile, "read_into", read_into)
    return counted


def write_index(prefix: Path, entries: dict[bytes, bytes], header: bytes = messages.encode_header(1)) -> str:
    """Write an index of these very entries, and a data file of 100 bytes."""
    write_table(f"{prefix}.index", {b"": header, **entries})
    Path(f"{prefix}.data-00000-of-00001").write_bytes(bytes(range(100)))
    return str(prefix)


def entry(**fields) -> bytes:
    message = message_class("BundleEntryProto")()
    for size in fields.pop("dims", []):
        message.shape.dim.add().size = size
    for field, value in fields.items():
        setattr(message, field, value)
    return message.SerializeToString()


def test_a_checkpoint_is_a_mapping(trained):
    with open_checkpoint(trained) as checkpoint:
        assert isinstance(checkpoint, Checkpoint)
        assert isinstance(checkpoint, Mapping)
        assert len(checkpoint) == 23
        assert list(checkpoint) == sorted(checkpoint)
        assert "head/kernel" in checkpoint
        assert "head/kerne" not in checkpoint
        assert 3 not in checkpoint
        assert checkpoint.get("nope") is None
        assert checkpoint.get("nope", 1) == 1
        assert dict(checkpoint.items())["head/bias"].shape == (5,)
        variable = checkpoint["head/kernel"]
        assert (variable.name, variable.dtype.name, variable.shape, variable.nbytes) == (
            "head/kernel", "float32", (4, 5), 80,
        )  # fmt: skip
        assert variable.num_elements == 20
        assert repr(variable) == "Variable('head/kernel', float32, (4, 5))"


def test_a_missing_name_is_a_key_error_with_the_nearest(trained):
    with open_checkpoint(trained) as checkpoint:
        with pytest.raises(KeyError):
            checkpoint["head/kernels"]
        with pytest.raises(VariableNotFoundError) as missing:
            checkpoint["head/kernels"]
    assert missing.value.suggestions[0] == "head/kernel"
    assert "the nearest: head/kernel" in str(missing.value)


def test_values_are_a_read_only_view_of_a_map(trained):
    with open_checkpoint(trained) as checkpoint:
        values = checkpoint["head/kernel"].read()
        again = checkpoint["head/kernel"].read(verify=False)
    assert np.shares_memory(values, again)
    assert not values.flags.writeable
    assert not values.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1
    del checkpoint
    gc.collect()
    assert values.sum() == again.sum()  # the map lives as long as its views


def test_opening_reads_little_and_no_values(tmp_path, bytes_read):
    prefix = write_bundle(tmp_path / "m", {f"scope{i}/v": np.zeros(4, "f") for i in range(30_000)})
    size = os.path.getsize(prefix + ".index")
    assert size > 2 * table_builder.BLOCK_BYTES
    checkpoint = open_checkpoint(prefix)
    opening = bytes_read["index"]
    assert opening < table_builder.BLOCK_BYTES + 10_000  # footer, index block, and the header's block
    assert checkpoint["scope20000/v"].shape == (4,)
    assert bytes_read["index"] - opening < table_builder.BLOCK_BYTES + 10_000  # one block
    before = bytes_read["index"]
    assert len(checkpoint) == 30_000
    assert bytes_read["index"] - before < size
    before = bytes_read["index"]
    assert sum(v.nbytes for v in checkpoint.values()) == 480_000
    assert bytes_read["index"] == before  # once is enough
    assert bytes_read["data"] == 0


def test_chunks_read_each_byte_once(trained, bytes_read):
    with open_checkpoint(trained) as checkpoint:
        sizes = [chunk.size for chunk in checkpoint["head/kernel"].chunks(max_bytes=30)]
    assert sizes == [28, 28, 24]  # whole elements
    assert bytes_read["data"] == 80


def test_the_place_of_a_variable_is_where_its_bytes_are(trained):
    data = Path(trained + ".data-00000-of-00001").read_bytes()
    with open_checkpoint(trained) as checkpoint:
        for variable in checkpoint.values():
            assert variable.shard == 0
            assert data[variable.offset :][: variable.nbytes] == variable.read().tobytes()


def test_every_flipped_bit_of_a_value_is_found(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.arange(3, dtype="f"), "s": np.array([b"xy", b""], object)})
    path = Path(prefix + ".data-00000-of-00001")
    good = path.read_bytes()
    for position in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            name = "a" if position < 12 else "s"
            for read in (lambda v: v.read(), lambda v: list(v.chunks())):
                with open_checkpoint(prefix) as checkpoint, pytest.raises(FormatError) as found:
                    read(checkpoint[name])
            assert repr(name) in str(found.value)


def test_a_wrong_checksum_tells_both_sides(trained):
    path = Path(trained + ".data-00000-of-00001")
    data = bytearray(path.read_bytes())
    with open_checkpoint(trained) as checkpoint:
        variable = checkpoint["head/kernel"]
        offset, stored = variable.offset, variable.crc32c
    data[offset] ^= 1
    path.write_bytes(data)
    with open_checkpoint(trained) as checkpoint, pytest.raises(ChecksumError) as wrong:
        checkpoint["head/kernel"].read()
    assert (wrong.value.path, wrong.value.offset, wrong.value.stored) == (str(path), offset, stored)
    assert str(wrong.value).startswith(
        f"{path}: checksum of 'head/kernel' is wrong at byte {offset}: expected {stored:#010x}, got 0x"
    )
    with open_checkpoint(trained) as checkpoint:
        checkpoint["head/kernel"].read(verify=False)  # as asked


def test_a_truncated_data_file_is_found_at_every_length(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.arange(3, dtype="f"), "e": np.zeros(0, "f")})
    path = Path(prefix + ".data-00000-of-00001")
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with open_checkpoint(prefix) as checkpoint:
            with pytest.raises(TruncatedError, match=f"file too short: expected 12 bytes, got {length}"):
                checkpoint["a"].read()
            with pytest.raises(TruncatedError):
                list(checkpoint["a"].chunks())


def test_a_file_that_shrinks_while_it_is_read_is_an_error_not_a_crash(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.zeros(10_000, "f")})
    path = prefix + ".data-00000-of-00001"
    with open_checkpoint(prefix) as checkpoint:
        chunks = checkpoint["a"].chunks(max_bytes=4000)
        next(chunks)
        os.truncate(path, 6000)
        with pytest.raises(TruncatedError, match="file ends at byte 6000") as cut:
            list(chunks)
    assert cut.value.hint == "another program shortened it while it was read"


def test_an_old_index_is_never_paired_with_new_data(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.zeros(3, "f")})
    checkpoint = open_checkpoint(prefix)
    (tmp_path / "other").mkdir()
    other = write_bundle(tmp_path / "other" / "m", {"a": np.ones(3, "f")})
    shutil.copy(other + ".data-00000-of-00001", tmp_path / "new")
    os.replace(tmp_path / "new", prefix + ".data-00000-of-00001")
    with pytest.raises(ReadError, match="changed after the index was read"):
        checkpoint["a"].read(verify=False)


def test_a_bundle_that_is_replaced_while_it_is_opened_is_opened_anew(tmp_path, monkeypatch):
    prefix = write_bundle(tmp_path / "m", {"a": np.zeros(3, "f")})
    (tmp_path / "new").mkdir()
    new = write_bundle(tmp_path / "new" / "m", {"b": np.ones(3, "f")})
    looked = []

    def replace_first(path, _stat_file=BundleCheckpoint._is_current):
        if not looked:
            os.replace(new + ".index", prefix + ".index")
        looked.append(path)
        return _stat_file(path)

    monkeypatch.setattr(BundleCheckpoint, "_is_current", replace_first)
    assert list(open_checkpoint(prefix)) == ["b"]
    assert len(looked) == 2


def test_missing_data_files_are_named_with_what_is_there(tmp_path):
    shutil.copytree(VALID / "shards", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.data-00001-of-00003").unlink()
    with open_checkpoint(tmp_path / "model") as checkpoint, pytest.raises(ReadError) as missing:
        checkpoint.check_present()
    assert str(missing.value) == (
        f"{tmp_path}/model.index: its data is missing: expected 3 data files, "
        "no model.data-00001-of-00003\n"
        "hint: beside it: model.data-00000-of-00003, model.data-00002-of-00003; "
        "copy the data files to where the index is, they belong together"
    )


def test_a_huge_number_of_data_files_is_not_looked_for(tmp_path):
    prefix = write_index(tmp_path / "m", {}, messages.encode_header(2**31 - 1))
    with open_checkpoint(prefix) as checkpoint:
        assert len(checkpoint.missing_files()) == len(checkpoint.files()) - 1 == 10_000
        with pytest.raises(ReadError, match="expected 2147483647 data files"):
            checkpoint.check_present()


@pytest.mark.parametrize("name", ["", "\0", "é", "a" * 70_000, "a\nb", "\udcff"])
def test_any_name_but_the_empty_one_is_taken(tmp_path, name):
    if not name:
        return
    prefix = write_bundle(tmp_path / "m", {name: np.ones(2, "f")})
    with open_checkpoint(prefix) as checkpoint:
        assert list(checkpoint) == [name]
        assert checkpoint[name].read().tolist() == [1, 1]


def test_the_header_is_no_variable(trained):
    with open_checkpoint(trained) as checkpoint:
        assert "" not in checkpoint
        assert "" not in list(checkpoint)


def test_scalars_and_empty_tensors_keep_their_shapes(tmp_path):
    prefix = write_bundle(
        tmp_path / "m",
        {"scalar": np.array(2.5), "empty": np.zeros((3, 0, 2), "i4"), "none": np.zeros((0,), object)},
    )
    with open_checkpoint(prefix) as checkpoint:
        assert checkpoint["scalar"].read().shape == ()
        assert checkpoint["scalar"].read()[()] == 2.5
        assert checkpoint["empty"].read().shape == (3, 0, 2)
        assert checkpoint["none"].read().shape == (0,)
        assert list(checkpoint["empty"].chunks()) == []


def test_other_dtypes_are_listed_but_have_no_values(tmp_path):
    prefix = write_index(
        tmp_path / "m", {b"v": entry(dtype=21, size=9), b"r": entry(dtype=20), b"w": entry(dtype=1, size=4)}
    )
    with open_checkpoint(prefix) as checkpoint:
        assert [v.dtype.name for v in checkpoint.values()] == ["resource", "variant", "float32"]
        for name in ("v", "r"):
            with pytest.raises(UnsupportedError, match="has no plain values"):
                checkpoint[name].read()
            with pytest.raises(UnsupportedError, match="has no plain values"):
                list(checkpoint[name].chunks())


F32 = Entry(messages.dtypes.BY_NAME["float32"], (2,), 8, 0, 0, 0)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (b"\xff", FormatError, "entry 'w': not a BundleEntryProto"),
        (entry(dtype=99, size=4), FormatError, "entry 'w': dtype: expected one of TensorFlow's, got number 99"),
        (entry(dtype=1, size=5), FormatError, "entry 'w': size: expected 4 bytes for float32 (), got 5"),
        (encode_entry(F32._replace(shard=1)), FormatError, "number of its data file: expected below 1, got 1"),
        (encode_entry(F32._replace(offset=93)), TruncatedError, "file too short: expected 101 bytes, got 100"),
        (encode_entry(F32._replace(offset=2**63 - 1)), TruncatedError, "file too short"),
        (encode_entry(F32), ChecksumError, "checksum of 'w' is wrong"),
        (entry(dtype=7, dims=[2**40], size=4), FormatError, "strings of 'w': expected 1099511627776 bytes"),
        (entry(dtype=1, dims=[2**40], size=2**42), TruncatedError, "file too short"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_reject_entries(tmp_path, value, error, message):
    prefix = write_index(tmp_path / "m", {b"w": value})
    for read in (lambda v: v.read(), lambda v: list(v.chunks())):
        with open_checkpoint(prefix) as checkpoint, pytest.raises(error) as refused:
            read(checkpoint["w"])
        assert message in str(refused.value)


def header(**fields) -> bytes:
    message = message_class("BundleHeaderProto")()
    message.num_shards = 1
    for field, value in fields.items():
        if field == "min_consumer":
            message.version.min_consumer = value
        else:
            setattr(message, field, value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (header(num_shards=0), "header: number of data files: expected 1 or more, got 0"),
        (header(min_consumer=2), "version of the format: expected at most 1, got 2"),
        (b"\xff\xff", "header: not a BundleHeaderProto"),
    ],
)
def test_reject_headers(tmp_path, value, message):
    prefix = write_index(tmp_path / "m", {}, value)
    with pytest.raises(FormatError) as refused:
        open_checkpoint(prefix)
    assert message in str(refused.value)


def test_a_table_without_a_header_is_no_checkpoint(tmp_path):
    with (tmp_path / "m.index").open("wb") as file:
        builder = TableBuilder(file)
        builder.add(b"a", b"b")
        builder.finish()
    with pytest.raises(FormatError, match="the table has no header of a checkpoint"):
        open_checkpoint(tmp_path / "m")

"""What a file is, told by its beginning: whatever its length's bytes are, and whatever a text begins with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from toolkit import FormatError, open_checkpoint
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import identify

MARKS = {
    "{": b"{", "[": b"[", "a pickle": b"\x80\x04", "gzip": b"\x1f\x8b", "a graph": b"\x0a\x12", "a zip's": b"PK",
    "a SavedModel": b"\x08\x01\x12", "msgpack": b"\x81\xa1", "an array": b"\x93N", "HDF5": b"\x89H", "a space": b" ",
    "text": b"ab",
}  # fmt: skip
"""How files of other kinds begin: each is also the length of a header, little endian."""


def safetensors(header_bytes: int) -> bytes:
    """Return a file whose header has this length. The specification pads it with spaces."""
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    assert len(header) <= header_bytes
    raw = header.ljust(header_bytes)
    return len(raw).to_bytes(8, "little") + raw + np.array([1, 2], "<f4").tobytes()


@pytest.mark.parametrize(
    "length", [*range(56, 1024), *(0x7B + 256 * n for n in range(1, 40)), 0x8B1F, 0x4B50]
)
def test_a_safetensors_file_is_one_whatever_the_length_of_its_header_is(tmp_path, length):
    (tmp_path / "x.safetensors").write_bytes(safetensors(length))
    with open_checkpoint(tmp_path / "x.safetensors") as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint["w"].read().tolist() == [1, 2]


@pytest.mark.parametrize("mark", MARKS)
def test_a_length_that_is_the_mark_of_another_format_is_a_length(tmp_path, mark):
    length = int.from_bytes(MARKS[mark], "little")
    while length < 56:
        length += 1 << (8 * len(MARKS[mark]))
    content = safetensors(length)
    assert content.startswith(MARKS[mark])
    (tmp_path / "x").write_bytes(content)
    assert identify(ReadFile(str(tmp_path / "x"))).word == "safetensors"
    with open_checkpoint(tmp_path / "x") as checkpoint:
        assert checkpoint["w"].read().tolist() == [1, 2]


def test_a_safetensors_file_of_the_library_is_read_at_each_length(tmp_path):
    numpy_ = pytest.importorskip("safetensors.numpy")
    lengths = set()
    for number in range(1, 120):
        path = tmp_path / f"{number}.safetensors"
        numpy_.save_file({"n" * number: np.arange(number, dtype="f4")}, path)
        lengths.add(path.read_bytes()[0])
        with open_checkpoint(path) as checkpoint:
            assert checkpoint["n" * number].read().tolist() == list(range(number))
    assert len(lengths) > 10


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{}", "json"),
        (b'{"a": 1}', "json"),
        (b'{"abcde":{"x": 1}}', "json"),  # a brace where a header would begin
        (b'{\n "metadata": {}\n}', "json"),
        (b' \n{"a": {}}', "json"),
        (b'["a"]', "json"),
        (b"[[1, 2]]", "json"),
        (b'{"metadata": {}, "weight_map": {"w": "x"}}', "weight-map"),
        (b'{"metadata": {"text": "' + b"x" * 5000 + b'"}, "weight_map": {"w": "x"}}', "weight-map"),
        (b"{ not JSON", "unknown"),
        (b"[section]\nkey = 1\n", "unknown"),
        (b"\x7b\0\0\0\0\0\0\0[1]", "unknown"),
        (b"\x81\xa6params\x80", "msgpack"),
        (b"\xde\x00\x10\xa1x\x01", "msgpack"),
        (b"\x80\x04\x95.", "pickle"),
        (b"\x85", "unknown"),
    ],
)
def test_what_begins_with_a_brace_is_told_by_what_follows(tmp_path, content, word):
    (tmp_path / "x").write_bytes(content)
    assert identify(ReadFile(str(tmp_path / "x"))).word == word


@pytest.mark.parametrize("length", range(1, 200))
def test_a_json_text_of_any_length_is_no_safetensors_file(tmp_path, length):
    (tmp_path / "x.json").write_text(json.dumps({"k" * length: {"a": length}}))
    with pytest.raises(FormatError, match="a JSON file: it has no weights in it"):
        open_checkpoint(tmp_path / "x.json")


@pytest.mark.parametrize("cut", [9, 20, 55, 61])
def test_a_safetensors_file_that_was_cut_off_is_told_as_one(tmp_path, cut):
    (tmp_path / "x.safetensors").write_bytes(safetensors(200)[:cut])
    with pytest.raises(FormatError) as refused:
        open_checkpoint(tmp_path / "x.safetensors")
    expected = "no checkpoint that the toolkit knows"  # an object of one byte is none
    if cut > 9:
        expected = f"length of the header at byte 0: expected at most {cut - 8}, got 200"
    assert refused.value.message == f"{tmp_path}/x.safetensors: {expected}"

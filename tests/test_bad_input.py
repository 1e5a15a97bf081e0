"""Every file that is not what it should be: one clear line, what to do, exit 2, and nothing changes."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest

from tests.conftest import VALID, contents

INDEX = "model.ckpt-3.index"
DATA = "model.ckpt-3.data-00000-of-00001"


def truncated(folder: Path) -> None:
    os.truncate(folder / DATA, 100)


def truncated_index(folder: Path) -> None:
    os.truncate(folder / INDEX, 300)


def empty_index(folder: Path) -> None:
    os.truncate(folder / INDEX, 0)


def wrong_magic(folder: Path) -> None:
    data = bytearray((folder / INDEX).read_bytes())
    data[-1] ^= 0xFF
    (folder / INDEX).write_bytes(data)


def flipped_bit(folder: Path) -> None:
    data = bytearray((folder / DATA).read_bytes())
    data[200] ^= 1
    (folder / DATA).write_bytes(data)


def flipped_bit_of_the_index(folder: Path) -> None:
    data = bytearray((folder / INDEX).read_bytes())
    data[100] ^= 1
    (folder / INDEX).write_bytes(data)


def no_data(folder: Path) -> None:
    (folder / DATA).unlink()


def no_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / INDEX).write_text(text)


def pointer_for_data(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / DATA).write_text(text)


def graph(folder: Path) -> None:
    (folder / INDEX).write_bytes(b"\x0a\x10\x0a\x05input\x12\x07Const" + bytes(200))


def pickled(folder: Path) -> None:
    (folder / INDEX).write_bytes(pickle.dumps({"w": [1.0] * 100}))


def fifo(folder: Path) -> None:
    (folder / DATA).unlink()
    os.mkfifo(folder / DATA)


def directory(folder: Path) -> None:
    (folder / INDEX).unlink()
    (folder / INDEX).mkdir()


LISTED_ALL_THE_SAME = {flipped_bit: 0, no_data: 0, truncated: 1, pointer_for_data: 1}
"""What is damaged in values alone, which a listing does not read, and how it exits: 1 if it sees damage."""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, f"{DATA}: file too short: expected"),
        (truncated_index, f"{INDEX}: bad magic at byte 292: expected 0xdb4775248b80fb57, got 0x"),
        (empty_index, f"{INDEX}: an empty file"),
        (wrong_magic, f"{INDEX}: bad magic at byte 698: expected 0xdb4775248b80fb57, got 0x244775248b80fb57"),
        (flipped_bit, f"{DATA}: checksum of 'dense1/kernel/Exp"),
        (flipped_bit_of_the_index, f"{INDEX}: checksum of a block is wrong at byte 0: expected 0x"),
        (no_data, f"{INDEX}: its data is missing: expected 1 data file, no {DATA}"),
        (no_index, f"{INDEX}: missing, and without it the values cannot be told apart"),
        (pointer, f"{INDEX}: a Git LFS pointer, not the file itself"),
        (pointer_for_data, f"{DATA}: a Git LFS pointer, not the file itself"),
        (graph, f"{INDEX}: a graph (protocol buffer): it has no checkpoint in it"),
        (pickled, f"{INDEX}: a Python pickle, which can run code"),
        (fifo, f"{DATA}: not a regular file"),
        (directory, f"{INDEX}: not a regular file"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize(
    "command",
    [["inspect"], ["reinit", "head", "-o", "OUT"], ["export", "OUT.h5"]],
    ids=lambda words: words[0],
)
def test_damage_is_one_clear_error(ckpt, tmp_path, damage, message, command):
    folder = tmp_path / "run"
    shutil.copytree(VALID / "perceptron", folder)
    damage(folder)
    before = contents(tmp_path)
    words = [word.replace("OUT", f"{tmp_path}/out") for word in command]
    ran = ckpt(words[0], folder / "model.ckpt-3", *words[1:])
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    if words[0] == "inspect" and damage in LISTED_ALL_THE_SAME:
        assert ran.code == LISTED_ALL_THE_SAME[damage]
        note = {
            flipped_bit: "",
            no_data: f"values are not there: {DATA} is missing",
        }.get(damage, f"values are damaged: {folder}/{message}")
        assert ran.out.splitlines()[1].startswith(note)
        assert "dense1/kernel" in ran.out
        return
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith(f"ckpt: {folder}/{message}")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("command", [["inspect"], ["reinit", "-o", "OUT"], ["export", "OUT.h5"]])
def test_a_pattern_that_matches_nothing_is_one_clear_error(ckpt, tmp_path, command):
    words = [word.replace("OUT", f"{tmp_path}/out") for word in command]
    ran = ckpt(words[0], VALID / "perceptron", *words[1:], "haed")
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error == f"ckpt: {VALID}/perceptron/model.ckpt-3: no variable matches 'haed'"
    assert hint.startswith("hint: the nearest: head")
    assert contents(tmp_path) == {}

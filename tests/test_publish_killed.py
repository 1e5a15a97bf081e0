"""A writer that is killed at any system call leaves old or new, and the next one cleans up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import names_in
from tests.test_publish import put, value_of
from toolkit.formats.bundle.naming import data_file


def killed_at(prefix: Path, call: str, turn: int, *, force: bool) -> bool:
    """Publish in a process that is killed at the `turn`-th `call`; return whether it was."""
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests.test_publish import put
real, calls = os.{call}, iter(range(1000))
def killing(*arguments, **keywords):
    if next(calls) == {turn}:
        os.kill(os.getpid(), 9)
    return real(*arguments, **keywords)
os.{call} = killing
put({str(prefix)!r}, 2, force={force}, meta=b"new")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == -9


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call", ["link", "fsync", "unlink", "replace"])
def test_a_killed_writer_leaves_old_or_new_and_the_next_one_cleans_up(tmp_path, call, force):
    for turn in range(100):
        folder = tmp_path / f"{call}{turn}"
        folder.mkdir()
        if force:
            put(folder / "m", 1, meta=b"old")
        killed = killed_at(folder / "m", call, turn, force=force)
        value = value_of(folder / "m")
        assert value == 2 or (killed and value == (1 if force else None))
        put(folder / "next", 5)  # whoever writes to the same place next
        found = names_in(folder)
        assert not any(name.startswith(".ckpt") for name in found)
        value = value_of(folder / "m")
        num_shards = 2 if force and value == 2 else 1
        files = [data_file("m", i, num_shards) for i in range(num_shards)] + ["m.index", "m.meta"]
        assert [name for name in found if name.startswith("m.")] == (sorted(files) if value else [])
        if value == 2:
            assert (folder / "m.meta").read_bytes() == b"new"
        elif force:
            assert (folder / "m.meta").read_bytes() == b"old"
        put(folder / "m", 7, force=value is not None)
        assert value_of(folder / "m") == 7
        if not killed:
            return
    raise AssertionError("it is killed again and again")


@pytest.mark.parametrize("call", ["mkdir", "link", "fsync", "rmdir"])
def test_a_writer_killed_in_a_directory_that_it_made_leaves_at_most_an_empty_one(tmp_path, call):
    for turn in range(100):
        root = tmp_path / f"{call}{turn}"
        root.mkdir()
        killed = killed_at(root / "a" / "b" / "m", call, turn, force=False)
        value = value_of(root / "a" / "b" / "m")
        assert value == 2 or (killed and value is None)
        put(root / "a" / "b" / "next", 5)  # whoever writes to the same place next
        files = ["m.data-00000-of-00001", "m.index", "m.meta"] if value else []
        assert names_in(root / "a" / "b") == [*files, "next.data-00000-of-00001", "next.index"]
        if not killed:
            return
    raise AssertionError("it is killed again and again")

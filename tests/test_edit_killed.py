"""Writers that share data files: killed or interrupted anywhere, racing, they leave old or new."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import CheckpointError, edit, open_checkpoint
from toolkit.formats.bundle.naming import index_file
from toolkit.publish import Publication

ROOT = Path(__file__).parents[1]
CALLS = ("link", "fsync", "unlink", "replace", "rename")


def make(folder: Path) -> str:
    """Write a checkpoint of which an edit of one variable links the data file."""
    folder.mkdir(exist_ok=True)
    return write_bundle(folder / "m", {f"v{i:02d}": np.full(20, i, "f") for i in range(30)})


def change(prefix: str, out: Path, value: int, *, force: bool = False):
    return edit(prefix).set("v07", value).write(out, force=force)


def value_of(prefix: Path) -> float | None:
    """Return what the edit gave the checkpoint at `prefix`, all of which must read."""
    if not os.path.lexists(index_file(str(prefix))):
        return None
    with open_checkpoint(prefix) as checkpoint:
        values = {name: set(variable.load().tolist()) for name, variable in checkpoint.items()}
    changed = values.pop("v07")
    assert values == {f"v{i:02d}": {i} for i in range(30) if i != 7}
    return changed.pop()


def killed_at(prefix: str, out: Path, call: str, turn: int, *, force: bool) -> bool:
    script = f"""
import os, sys
from tests.test_edit_killed import change
real, calls = os.{call}, iter(range(1000))
def killing(*arguments, **keywords):
    if next(calls) == {turn}:
        os.kill(os.getpid(), 9)
    return real(*arguments, **keywords)
os.{call} = killing
change({prefix!r}, {str(out)!r}, 2, force={force})
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=ROOT)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == -9


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_killed_edit_leaves_old_or_new_and_the_next_one_cleans_up(tmp_path, call, force):
    for turn in range(100):
        prefix = make(tmp_path / f"{call}{turn}")
        folder = Path(prefix).parent
        if force:
            change(prefix, folder / "out", 1)
        killed = killed_at(prefix, folder / "out", call, turn, force=force)
        value = value_of(folder / "out")
        assert value == 2 or (killed and value == (1 if force else None))
        change(prefix, folder / "next", 5)  # whoever writes to the same place next
        assert value_of(folder / "out") == value
        assert value_of(Path(prefix)) == 7
        assert not any(name.startswith(".ckpt") for name in names_in(folder))
        ours = [name for name in names_in(folder) if name.startswith("out.")]
        assert len(ours) == (0 if value is None else 3 + (force and value == 2))
        if not killed:
            return
    raise AssertionError("it is killed again and again")


@pytest.mark.parametrize("call", CALLS)
def test_what_a_killed_writer_linked_is_not_taken_from_the_one_that_came_after(tmp_path, call):
    """Both link the same file: by its inode alone nobody could say whose a name is."""
    for turn in range(100):
        prefix = make(tmp_path / f"{call}{turn}")
        folder = Path(prefix).parent
        killed = killed_at(prefix, folder / "out", call, turn, force=False)
        left = [name for name in names_in(folder) if name.startswith(".ckpt")]
        for name in left:  # as if its process had lived until the next one was done
            os.rename(folder / name, tmp_path / name)
        if value_of(folder / "out") is None:
            for name in [name for name in names_in(folder) if name.startswith("out.")]:
                os.unlink(folder / name)
            change(prefix, folder / "out", 9)
        value = value_of(folder / "out")
        for name in left:
            os.rename(tmp_path / name, folder / name)
        change(prefix, folder / "next", 5)
        assert value_of(folder / "out") == value
        assert not any(name.startswith(".ckpt") for name in names_in(folder))
        if not killed:
            return
    raise AssertionError("it is killed again and again")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", [OSError, KeyboardInterrupt])
def test_whatever_comes_between_leaves_all_or_nothing(tmp_path, monkeypatch, call, how):
    real = getattr(os, call)
    for turn in range(100):
        prefix = make(tmp_path / f"turn{turn}")
        folder = Path(prefix).parent
        before, calls = contents(folder), iter(range(1000))

        def disturbing(*arguments, turn=turn, calls=calls, **keywords):
            if next(calls) == turn:
                raise OSError(5, "Input/output error") if how is OSError else KeyboardInterrupt
            return real(*arguments, **keywords)

        monkeypatch.setattr(os, call, disturbing)
        try:
            change(prefix, folder / "out", 2)
        except (CheckpointError, KeyboardInterrupt) as error:
            monkeypatch.setattr(os, call, real)
            if value_of(folder / "out") is None:
                assert contents(folder) == before
            else:
                assert isinstance(error, KeyboardInterrupt) or "written, but" in str(error)
        else:
            monkeypatch.setattr(os, call, real)
            assert value_of(folder / "out") == 2
            if next(calls) <= turn:
                return
        assert value_of(Path(prefix)) == 7
    raise AssertionError("it is met again and again")


def test_of_writers_that_link_the_same_file_one_wins(tmp_path, monkeypatch):
    prefix = make(tmp_path)
    barrier = threading.Barrier(2)
    publish = Publication.publish

    def together(self, **arguments):
        barrier.wait(10)
        return publish(self, **arguments)

    monkeypatch.setattr(Publication, "publish", together)
    outcomes = []

    def write(value):
        try:
            change(prefix, tmp_path / "out", value)
            outcomes.append(value)
        except CheckpointError as error:
            outcomes.append(str(error))

    for _ in range(20):
        outcomes.clear()
        threads = [threading.Thread(target=write, args=(value,)) for value in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert len(won) == 1, outcomes
        assert any("exists" in str(outcome) for outcome in outcomes)
        assert value_of(tmp_path / "out") == won[0]
        assert len(names_in(tmp_path)) == 5
        for name in names_in(tmp_path):
            if name.startswith("out."):
                os.unlink(tmp_path / name)


def test_a_source_on_another_file_system_is_copied(tmp_path):
    shm = Path("/dev/shm")
    if not shm.is_dir() or os.stat(shm).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system here")
    folder = shm / f"toolkit-{os.getpid()}"
    try:
        prefix = make(folder)
        planned = edit(prefix).set("v07", 3).plan()
        assert planned.bytes.linked > 0
        planned.aim(tmp_path / "out")
        plan = change(prefix, tmp_path / "out", 3)
        assert plan.bytes == planned.bytes
        assert plan.notes == planned.notes
        assert "1 data file taken over whole, 0 B linked; 2.3 KiB copied, 80 B written" in plan.notes
        assert plan.bytes.linked == 0
        assert value_of(tmp_path / "out") == 3
    finally:
        shutil.rmtree(folder, ignore_errors=True)

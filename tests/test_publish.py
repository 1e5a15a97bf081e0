"""The one door out: all or nothing, whatever happens on the way."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import CheckpointError, PublishError, ReadError, UsageError, open_checkpoint, staging
from toolkit.formats.bundle.naming import index_file
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.writer import BundleWriter
from toolkit.publish import Publication

SYSTEM_CALLS = ("link", "rename", "replace", "fsync", "unlink", "mkdir", "open")


def put(prefix: Path, value: float, *, force: bool = False, sync: bool = True, meta: bytes | None = None):
    """Publish a bundle with one variable, `w`, of this value."""

    def write(staged: str, num_shards: int) -> None:
        with BundleWriter(staged, num_shards=num_shards) as writer:
            writer.add("w", np.full(3, value, "f"))
            writer.finish()
        if meta is not None:
            Path(staged + ".meta").write_bytes(meta)

    def check(staged: str) -> None:
        assert open_checkpoint(staged)["w"].read().tolist() == [value] * 3

    publish_bundle(str(prefix), write, check=check, force=force, sync=sync)


def value_of(prefix: Path) -> float | None:
    """Return what the checkpoint at `prefix` holds; `None` if there is none."""
    if not os.path.lexists(index_file(str(prefix))):
        return None
    values = open_checkpoint(prefix)["w"].read()
    assert len(set(values.tolist())) == 1
    return values[0]


def test_a_new_bundle_is_all_that_appears(tmp_path):
    put(tmp_path / "m", 1)
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]
    assert value_of(tmp_path / "m") == 1


def test_an_existing_bundle_is_refused_and_untouched(tmp_path):
    put(tmp_path / "m", 1)
    before = contents(tmp_path)
    with pytest.raises(PublishError, match=r"m\.index: exists") as refused:
        put(tmp_path / "m", 2)
    assert refused.value.hint == "--force replaces it, or choose another name"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("left", ["m.data-00000-of-00001", "m.data-00003-of-00007", "m.meta"])
def test_a_part_of_another_bundle_is_refused_too(tmp_path, left):
    (tmp_path / left).write_bytes(b"precious")
    with pytest.raises(PublishError, match=f"{left}: exists"):
        put(tmp_path / "m", 1)
    assert contents(tmp_path) == {left: b"precious"}


def test_force_never_gives_a_new_file_an_old_name(tmp_path):
    put(tmp_path / "m", 1)
    old = open_checkpoint(tmp_path / "m")
    put(tmp_path / "m", 2, force=True)
    assert names_in(tmp_path) == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]
    with pytest.raises(ReadError):
        old["w"].read()  # gone, and not mistaken for the new
    put(tmp_path / "m", 3, force=True)
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]
    assert value_of(tmp_path / "m") == 3


def test_force_replaces_or_removes_the_meta_file(tmp_path):
    put(tmp_path / "m", 1, meta=b"one")
    put(tmp_path / "m", 2, force=True, meta=b"two")
    assert (tmp_path / "m.meta").read_bytes() == b"two"
    put(tmp_path / "m", 3, force=True)
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]


def test_force_takes_away_what_no_index_points_at(tmp_path):
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"orphan")
    (tmp_path / "other.data-00000-of-00001").write_bytes(b"another's")
    put(tmp_path / "m", 1, force=True)
    assert names_in(tmp_path) == [
        "m.data-00000-of-00002", "m.data-00001-of-00002", "m.index", "other.data-00000-of-00001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "error", "message"),
    [
        ("m.index", UsageError, "names one file of a checkpoint, not its prefix"),
        ("m.data-00000-of-00001", UsageError, "names one file of a checkpoint"),
        ("folder", UsageError, "is a directory, not the prefix"),
        ("folder/", UsageError, "is a directory, not the prefix"),
        ("file", PublishError, "a file of this name exists"),
        ("file/m", PublishError, "file is not a directory"),
        ("file/deep/er/m", PublishError, "file is not a directory"),
    ],
)
def test_reject_prefixes(tmp_path, prefix, error, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(error, match=message) as refused:
        put(f"{tmp_path}/{prefix}", 1)
    assert refused.value.hint
    assert names_in(tmp_path) == ["file", "folder"]


def test_the_prefix_without_a_name_is_told_one_that_can_be_written(tmp_path):
    """`DIR/.index` can be read, its prefix being `DIR/`; as OUT that is a directory."""
    with pytest.raises(UsageError) as refused:
        put(f"{tmp_path}/.index", 1)
    assert refused.value.hint == f"write to {tmp_path}/model.ckpt"
    put(refused.value.hint.removeprefix("write to "), 1)


def test_files_have_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        put(tmp_path / "m", 1)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_nobody_else_may_look_at_what_is_staged(tmp_path):
    with Publication(str(tmp_path / "x")) as publication:
        staging = Path(publication.staged("x")).parent.parent
        assert staging.stat().st_mode & 0o777 == 0o700
    assert names_in(tmp_path) == []


def disturbed(monkeypatch, call: str, turn: int, error: BaseException, *, after: bool, act) -> bool:
    """Do `act` with an error before or after the `turn`-th `call`; return whether it came to that."""
    real = getattr(os, call)
    calls = iter(range(1000))
    came = []

    def disturbing(*arguments, **keywords):
        result = real(*arguments, **keywords) if after else None
        if next(calls) == turn:
            came.append(True)
            raise error
        return result if after else real(*arguments, **keywords)

    monkeypatch.setattr(os, call, disturbing)
    try:
        act()
    finally:
        monkeypatch.setattr(os, call, real)
    return bool(came)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call", SYSTEM_CALLS)
@pytest.mark.parametrize("how", ["error", "interrupt before", "interrupt after"])
def test_whatever_comes_between_leaves_old_or_new_and_nothing_else(tmp_path, monkeypatch, call, force, how):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        if force:
            put(folder / "m", 1, meta=b"old")
    put(new / "m", 2, force=force, meta=b"new")
    for turn in range(100):
        folder = tmp_path / f"turn{turn}"
        shutil.copytree(old, folder)
        error = OSError(errno.EIO, "Input/output error") if how == "error" else KeyboardInterrupt()

        def act(folder=folder):
            put(folder / "m", 2, force=force, meta=b"new")

        try:
            came = disturbed(monkeypatch, call, turn, error, after=how.endswith("after"), act=act)
        except CheckpointError as error:
            assert str(folder) in str(error)
            assert contents(folder) == contents(new if "written, but" in str(error) else old)
        except KeyboardInterrupt:
            assert contents(folder) in (contents(old), contents(new))
        else:  # it was not met, or it did not matter
            assert contents(folder) == contents(new)
            if not came:
                assert turn or call == "rename" or not force
                return
    raise AssertionError("it is met again and again")


@pytest.mark.parametrize("call", SYSTEM_CALLS)
@pytest.mark.parametrize("how", ["error", "interrupt before", "interrupt after"])
def test_directories_that_were_made_are_removed_where_nothing_comes_of_it(tmp_path, monkeypatch, call, how):
    for turn in range(100):
        root = tmp_path / f"turn{turn}"
        root.mkdir()
        error = OSError(errno.EIO, "Input/output error") if how == "error" else KeyboardInterrupt()

        def act(root=root):
            put(root / "a" / "b" / "m", 2)

        try:
            came = disturbed(monkeypatch, call, turn, error, after=how.endswith("after"), act=act)
        except (CheckpointError, KeyboardInterrupt):
            if value_of(root / "a" / "b" / "m") is None:
                assert names_in(root) == []
            else:
                assert sorted(contents(root)) == ["a/b/m.data-00000-of-00001", "a/b/m.index"]
        else:
            assert sorted(contents(root)) == ["a/b/m.data-00000-of-00001", "a/b/m.index"]
            if not came:
                return
    raise AssertionError("it is met again and again")


def test_of_directories_above_only_those_that_were_missing_are_removed(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="no"), Publication(str(tmp_path / "a/b/c/x")):
        assert names_in(tmp_path / "a/b") == ["c"]
        raise ValueError("no")
    assert names_in(tmp_path / "a") == []
    with pytest.raises(ValueError, match="no"), Publication(str(tmp_path / "a/b/c/x")):
        (tmp_path / "a/b/mine").write_bytes(b"")
        raise ValueError("no")
    assert names_in(tmp_path / "a/b") == ["mine"]


def test_a_path_with_dots_and_a_relative_one_are_made_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("new/../other/./m"), 1)
    assert names_in(tmp_path) == ["new", "other"]
    put(Path("x/y/m"), 1)
    assert value_of(Path("x/y/m")) == 1


def test_two_writers_into_one_new_directory_do_not_trip_over_each_other(tmp_path, monkeypatch):
    """One fails and removes the directory while the other is about to use it."""
    real = os.listdir
    first = Publication(str(tmp_path / "d/x"))
    left = []

    def leave_first(*arguments):
        if not left:
            left.append(True)
            first.__exit__(None, None, None)
        return real(*arguments)

    monkeypatch.setattr(os, "listdir", leave_first)
    put(tmp_path / "d/m", 1)
    assert left
    assert value_of(tmp_path / "d/m") == 1


def test_new_directories_are_synced_into_those_above_before_the_result_exists(tmp_path, monkeypatch):
    done = []
    real, real_link = os.fsync, os.link

    def fsync(fd):
        done.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path))
        real(fd)

    def link(source, target, **keywords):
        done.append(f"link {os.path.basename(target)}")
        real_link(source, target, **keywords)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    put(tmp_path / "a/b/m", 1)
    before = done[: done.index("link m.index")]
    assert {".", "a", "a/b"} <= set(before)  # whose entries are a, a/b, and the data file
    done.clear()
    put(tmp_path / "c/d/m", 1, sync=False)
    assert not [step for step in done if not step.startswith("link")]


def test_an_old_checkpoint_is_not_mixed_with_what_another_writer_did_meanwhile(tmp_path):
    put(tmp_path / "m", 1)

    def write(staged, num_shards):
        with BundleWriter(staged, num_shards=num_shards) as writer:
            writer.add("w", np.full(3, 3, "f"))
            writer.finish()
        put(tmp_path / "m", 2, force=True)

    with pytest.raises(PublishError, match="another program changed it meanwhile") as refused:
        publish_bundle(str(tmp_path / "m"), write, check=lambda staged: None, force=True)
    assert refused.value.hint == "run it again, when the other is done"
    assert value_of(tmp_path / "m") == 2
    assert names_in(tmp_path) == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]


@pytest.mark.parametrize("taken", ["m.meta", "m.data-00000-of-00001"])
def test_a_directory_of_a_needed_name_is_refused_before_anything_is_done(tmp_path, taken):
    put(tmp_path / "m", 1)
    if taken in names_in(tmp_path):
        put(tmp_path / "m", 1, force=True)  # now its data file is called otherwise
    (tmp_path / taken).mkdir()
    before = names_in(tmp_path)
    with pytest.raises(PublishError, match="is a directory") as refused:
        put(tmp_path / "m", 2, force=True)
    assert refused.value.hint
    assert names_in(tmp_path) == before
    assert value_of(tmp_path / "m") == 1


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    with pytest.raises(PublishError) as full, Publication(str(tmp_path / "x")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.message == f"{tmp_path}/x: not written: no space left on device"
    assert full.value.hint == "free some space, or write to another disk"
    assert names_in(tmp_path) == []


def test_a_failed_check_publishes_nothing(tmp_path):
    def check(staged):
        raise ReadError("bad", path=staged)

    def write(staged, num_shards):
        with BundleWriter(staged, num_shards=num_shards) as writer:
            writer.finish()

    with pytest.raises(ReadError):
        publish_bundle(str(tmp_path / "m"), write, check=check)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("sync", [True, False])
def test_everything_is_synced_before_its_name_is_given(tmp_path, monkeypatch, sync):
    done = []
    for call in ("fsync", "link", "replace"):
        real = getattr(os, call)

        def noted(*arguments, _real=real, _call=call, **keywords):
            what = arguments[0]
            path = os.readlink(f"/proc/self/fd/{what}") if _call == "fsync" else str(arguments[1])
            done.append((_call, os.path.basename(path)))
            return _real(*arguments, **keywords)

        monkeypatch.setattr(os, call, noted)
    put(tmp_path / "m", 1, sync=sync)
    order = [step for step in done if step[0] == "link" or step[1] in (*names_in(tmp_path), tmp_path.name)]
    placed = [("link", "m.data-00000-of-00001"), ("link", "m.index")]
    if not sync:
        assert [step for step in done if step[0] == "fsync"] == []
        assert order == placed
        return
    folder = ("fsync", tmp_path.name)
    assert sorted(order[:2]) == [("fsync", "m.data-00000-of-00001"), ("fsync", "m.index")]
    assert order[2:] == [placed[0], folder, placed[1], folder, folder]


def test_what_a_living_writer_stages_is_left_alone(tmp_path):
    with Publication(str(tmp_path / "x")) as publication:
        Path(publication.staged("x")).write_bytes(b"half")
        put(tmp_path / "m", 1)
        assert Path(publication.staged("x")).read_bytes() == b"half"
        publication.publish()
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index", "x"]


def test_what_only_looks_staged_is_left_alone(tmp_path):
    (tmp_path / ".ckpt-0123456789abcdef").write_bytes(b"a file")
    (tmp_path / ".ckpt-notes").mkdir()
    (tmp_path / ".ckpt-fedcba9876543210").symlink_to(tmp_path / ".ckpt-notes")
    full = tmp_path / ".ckpt-0000000000000000"
    full.mkdir()
    (full / "somebody's").write_bytes(b"")
    put(tmp_path / "m", 1)
    assert names_in(tmp_path)[:4] == [
        ".ckpt-0000000000000000", ".ckpt-0123456789abcdef", ".ckpt-fedcba9876543210", ".ckpt-notes",
    ]  # fmt: skip


def test_of_two_writers_one_wins_and_the_other_is_told(tmp_path):
    def write_while_another_publishes(staged, num_shards):
        with BundleWriter(staged, num_shards=num_shards) as writer:
            writer.add("w", np.full(3, 1, "f"))
            writer.finish()
        put(tmp_path / "m", 2)

    with pytest.raises(PublishError, match="exists"):
        publish_bundle(str(tmp_path / "m"), write_while_another_publishes, check=lambda staged: None)
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]
    assert value_of(tmp_path / "m") == 2


@pytest.mark.parametrize("force", [False, True])
def test_a_file_system_without_links_is_written_by_renaming(tmp_path, monkeypatch, force):
    def no_links(*arguments, **keywords):
        raise OSError(errno.EPERM, "Operation not permitted")

    if force:
        put(tmp_path / "m", 1, meta=b"old")
    monkeypatch.setattr(os, "link", no_links)
    put(tmp_path / "m", 2, force=force, meta=b"new")
    assert value_of(tmp_path / "m") == 2
    assert (tmp_path / "m.meta").read_bytes() == b"new"
    assert len(names_in(tmp_path)) == (4 if force else 3)
    with pytest.raises(PublishError, match="exists"):
        put(tmp_path / "m", 3)
    assert value_of(tmp_path / "m") == 2


def test_a_file_system_without_locks_is_never_swept(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    with Publication(str(tmp_path / "x")) as publication:
        monkeypatch.setattr(fcntl, "flock", no_locks)
        put(tmp_path / "m", 1)
        assert Path(publication.staged("x")).parent.exists()
        assert value_of(tmp_path / "m") == 1


def test_a_directory_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    # the superuser may write anywhere, so the refusal is the system call's
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PublishError) as refused:
        put(tmp_path / "m", 1)
    assert refused.value.message == f"{tmp_path}/m.index: not written: permission denied"
    assert refused.value.hint == f"you may not write to {tmp_path}"


def test_sweeping_an_empty_staging_directory_does_not_stop_its_writer(tmp_path, monkeypatch):
    real = os.open
    swept = []

    def sweep_first(path, *arguments, **keywords):
        if str(path).endswith("lock") and not swept:
            swept.append(path)
            staging.sweep(str(tmp_path))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", sweep_first)
    put(tmp_path / "m", 1)
    assert len(swept) == 1
    assert value_of(tmp_path / "m") == 1


def test_bundles_written_beside_each_other_do_not_meet(tmp_path):
    write_bundle(tmp_path / "m-1", {"w": np.ones(1)})
    put(tmp_path / "m", 1)
    put(tmp_path / "m", 2, force=True)
    assert open_checkpoint(tmp_path / "m-1")["w"].read() == 1

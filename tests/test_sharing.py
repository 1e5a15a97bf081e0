"""Data files that checkpoints share: what is linked, copied and written, and that nothing is lost by it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import VALID, contents, names_in, write_bundle
from toolkit import (
    ChecksumError,
    FormatError,
    MismatchError,
    PublishError,
    ReadError,
    TruncatedError,
    UsageError,
    edit,
    open_checkpoint,
    plan_merge,
    plan_reinit,
)
from toolkit.formats.bundle import naming, sharing, transfer
from toolkit.formats.bundle.messages import Entry
from toolkit.formats.bundle.writer import BundleWriter, write_index
from toolkit.names import encode_name
from toolkit.plan import Bytes

ROOT = Path(__file__).parents[1]


def read(prefix) -> dict[str, np.ndarray]:
    with open_checkpoint(prefix) as checkpoint:
        return {name: variable.load() for name, variable in checkpoint.items()}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(one[n].tobytes() == other[n].tobytes() for n in one)


def inode(path) -> int:
    return os.stat(path).st_ino


@pytest.fixture
def many(tmp_path) -> str:
    """100 variables of 400 bytes in one data file."""
    rng = np.random.default_rng(3)
    return write_bundle(
        tmp_path / "m", {f"s{i // 10}/v{i:02d}": rng.standard_normal(100).astype("f") for i in range(100)}
    )


def test_what_stays_is_linked_and_what_changes_is_written(many, tmp_path):
    before, there = read(many), contents(tmp_path)
    plan = edit(many).rename("s3", "t").reinit("s7/v77", "ones").write(tmp_path / "out")
    assert names_in(tmp_path)[2:] == ["out.data-00000-of-00002", "out.data-00001-of-00002", "out.index"]
    assert inode(naming.data_file(str(tmp_path / "out"), 0, 2)) == inode(naming.data_file(many, 0, 1))
    assert os.path.getsize(naming.data_file(str(tmp_path / "out"), 1, 2)) == 400
    assert plan.bytes == Bytes(linked=40_000, copied=0, written=400)
    assert (
        "1 data file shared by hard link, 39.1 KiB linked, not read (--check compares its checksums); "
        "0 B copied, 400 B written"
    ) in plan.notes
    assert any(note.startswith("400 B of what is shared is used by no variable") for note in plan.notes)
    expected = {n.replace("s3/", "t/"): v for n, v in before.items()} | {"s7/v77": np.ones(100, "f")}
    assert equal(read(tmp_path / "out"), expected)
    assert there.items() <= contents(tmp_path).items()


@pytest.mark.parametrize(("dropped", "is_linked"), [(10, True), (11, False)])
def test_a_data_file_is_shared_from_nine_tenths_on(many, tmp_path, dropped, is_linked):
    names = sorted(read(many))[:dropped]
    plan = edit(many).drop(*names).write(tmp_path / "out")
    kept = (100 - dropped) * 400
    assert plan.bytes == (Bytes(40_000, 0, 0) if is_linked else Bytes(0, kept, 0))
    data = naming.data_file(str(tmp_path / "out"), 0, 1)
    assert (inode(data) == inode(naming.data_file(many, 0, 1))) == is_linked
    assert os.path.getsize(data) == plan.bytes.linked + plan.bytes.copied
    assert equal(read(tmp_path / "out"), {n: v for n, v in read(many).items() if n not in names})


@pytest.mark.parametrize(("mode", "linked"), [("link", 40_000), ("copy", 0), ("auto", 0)])
def test_the_mode_decides_whether_half_used_files_are_shared(many, tmp_path, mode, linked):
    edited = edit(many).drop(*(f"s{i}" for i in range(5)))
    plan = edited.write(tmp_path / "out", data=mode)
    assert plan.bytes == Bytes(linked, 0 if linked else 20_000, 0)
    assert len(read(tmp_path / "out")) == 50


def test_copying_compacts(many, tmp_path):
    edit(many).rename("s1", "t").reinit("s7/v77", "ones").write(tmp_path / "out")
    edit(tmp_path / "out").write(tmp_path / "compact", data="copy")
    assert names_in(tmp_path)[:2] == ["compact.data-00000-of-00001", "compact.index"]
    assert os.path.getsize(naming.data_file(str(tmp_path / "compact"), 0, 1)) == 40_000
    assert equal(read(tmp_path / "compact"), read(tmp_path / "out"))


def test_a_checkpoint_edited_ten_times_outlives_its_originals(many, tmp_path):
    expected, source = read(many), many
    for turn in range(10):
        name = f"s{turn}/v{turn}5"
        edit(source).reinit(name, f"constant:{turn}").write(tmp_path / f"turn{turn}", data="link")
        expected[name] = np.full(100, turn, "f")
        source = tmp_path / f"turn{turn}"
    for entry in os.listdir(tmp_path):
        if not entry.startswith("turn9."):
            os.unlink(tmp_path / entry)
    assert len(names_in(tmp_path)) == 12
    assert equal(read(source), expected)
    plan = edit(source).plan()
    assert plan.bytes == Bytes(10 * 400 + 40_000, 0, 0)


def test_the_number_of_data_files_does_not_grow_without_end(many, tmp_path):
    expected, source = read(many), many
    most = 0
    for turn in range(40):
        name = f"s{turn // 10}/v{turn:02d}"
        plan = edit(source).reinit(name, f"constant:{turn}").write(tmp_path / f"turn{turn}", data="link")
        expected[name] = np.full(100, turn, "f")
        source = tmp_path / f"turn{turn}"
        found = len([entry for entry in names_in(tmp_path) if entry.startswith(f"turn{turn}.data")])
        most = max(most, found)
        merged = [note for note in plan.notes if "copied into the new one" in note]
        assert bool(merged) == (turn >= 15)
    assert most == 16
    assert equal(read(source), expected)


def test_more_data_files_than_that_stay_as_they_are(tmp_path):
    with BundleWriter(str(tmp_path / "m"), num_shards=20) as writer:
        for i in range(20):
            writer.add(f"v{i:02d}", np.full(10 + i, i, "f"))
            if i < 19:
                writer.next_shard()
        writer.finish()
    edit(tmp_path / "m").rename("v00", "w").write(tmp_path / "a")
    assert inode(naming.data_file(str(tmp_path / "a"), 19, 20)) == inode(
        naming.data_file(str(tmp_path / "m"), 19, 20)
    )
    plan = edit(tmp_path / "m").set("v19", 5).write(tmp_path / "b")
    assert plan.bytes.written == 29 * 4
    assert len([n for n in names_in(tmp_path) if n.startswith("b.data")]) == 20
    assert read(tmp_path / "b")["v19"].tolist() == [5] * 29


def test_an_empty_tensor_and_an_empty_data_file_are_no_trouble(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.zeros((0, 3), "f"), "b": np.zeros(0, np.int8)})
    for mode in ("auto", "link", "copy"):
        edit(tmp_path / "m").rename("a", "c").write(tmp_path / mode, data=mode)
        assert {n: v.shape for n, v in read(tmp_path / mode).items()} == {"b": (0,), "c": (0, 3)}


def test_slices_stay_slices(tmp_path):
    for mode in ("auto", "link", "copy"):
        edit(VALID / "partitioned").write(tmp_path / mode, data=mode)
        with open_checkpoint(VALID / "partitioned") as before, open_checkpoint(tmp_path / mode) as after:
            assert [v.name for v in before.values() if v.slices]
            for name, variable in before.items():
                ours = [(s.start, s.variable.shape, s.variable.crc32c) for s in variable.slices]
                theirs = [(s.start, s.variable.shape, s.variable.crc32c) for s in after[name].slices]
                assert ours == theirs
                assert variable.load().tobytes() == after[name].load().tobytes()


def test_what_a_merge_takes_from_one_file_by_two_names_is_linked_once(many, tmp_path):
    edit(many).rename("s0", "t0").write(tmp_path / "n")
    plan = plan_merge(many, tmp_path / "n")
    plan.write(tmp_path / "out")
    assert plan.bytes == Bytes(40_000, 0, 0)
    assert len(read(tmp_path / "out")) == 110


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_without_links_the_whole_file_is_copied(many, tmp_path, monkeypatch, number):
    edited = edit(many).reinit("s7/v77", "ones")
    edited.write(tmp_path / "linked")
    real = os.link

    def link(source, target, **options):
        if str(source) == os.path.realpath(naming.data_file(many, 0, 1)):
            raise OSError(number, os.strerror(number))
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
    plan = edited.write(tmp_path / "copied")
    assert plan.bytes == Bytes(0, 40_000, 400)
    linked, copied = ({k.partition(".")[2]: v for k, v in contents(tmp_path).items() if k.startswith(p)}
                      for p in ("linked.", "copied."))  # fmt: skip
    assert linked == copied  # the bytes of a result do not depend on the file system
    with pytest.raises(PublishError, match="cannot be linked") as refused:
        edited.write(tmp_path / "never", data="link")
    assert refused.value.hint == "--data auto copies where no link is to be had"
    assert not any(name.startswith((".ckpt", "never")) for name in names_in(tmp_path))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, None])
def test_what_the_kernel_does_not_copy_is_read_and_written(tmp_path, monkeypatch, number):
    rng = np.random.default_rng(1)
    write_bundle(tmp_path / "m", {n: rng.standard_normal(400_000).astype("f") for n in "abc"})
    if number is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:

        def refuse(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    plan = edit(tmp_path / "m").drop("b").write(tmp_path / "out")
    assert plan.bytes == Bytes(0, 3_200_000, 0)
    assert equal(read(tmp_path / "out"), {n: v for n, v in read(tmp_path / "m").items() if n != "b"})


def test_a_link_to_a_data_file_is_followed(many, tmp_path):
    data = naming.data_file(many, 0, 1)
    (tmp_path / "elsewhere").mkdir()
    os.rename(data, tmp_path / "elsewhere/data")
    os.symlink(tmp_path / "elsewhere/data", data)
    edit(many).rename("s0", "t").write(tmp_path / "out")
    linked = naming.data_file(str(tmp_path / "out"), 0, 1)
    assert not os.path.islink(linked)
    assert inode(linked) == inode(tmp_path / "elsewhere/data")


def test_a_large_tensor_that_is_damaged_is_found_when_it_is_copied(tmp_path):
    write_bundle(tmp_path / "m", {n: np.zeros(400_000, "f") for n in "abc"})
    with open(naming.data_file(str(tmp_path / "m"), 0, 1), "r+b") as file:
        file.seek(2_000_000)
        file.write(b"x")
    before = contents(tmp_path)
    with pytest.raises(ChecksumError, match="m.data-00000-of-00001: checksum of 'b'"):
        edit(tmp_path / "m").write(tmp_path / "out", data="copy")
    assert contents(tmp_path) == before


def test_a_source_that_changes_while_it_is_read_is_refused(many, tmp_path, monkeypatch):
    real, data = transfer.link, naming.data_file(many, 0, 1)

    def meddling(extent, path, *, required):
        os.utime(data, ns=(1, 1))
        return real(extent, path, required=required)

    monkeypatch.setattr(transfer, "link", meddling)
    with pytest.raises(ReadError, match="changed while it was read"):
        edit(many).rename("s0", "t").write(tmp_path / "out")
    monkeypatch.undo()
    plan = edit(many).rename("s0", "t").plan()
    os.utime(data, ns=(2, 2))
    with pytest.raises(MismatchError, match="changed since the plan was made"):
        plan.write(tmp_path / "out")
    assert names_in(tmp_path) == ["m.data-00000-of-00001", "m.index"]


def test_a_data_file_that_is_too_short_is_an_error_of_the_plan(many):
    os.truncate(naming.data_file(many, 0, 1), 39_999)
    with pytest.raises(TruncatedError, match="expected 40000 bytes, got 39999"):
        edit(many).plan()


def test_an_entry_that_points_at_no_file_is_an_error_of_the_plan(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"a": np.zeros(3, "f")})
    os.unlink(naming.index_file(prefix))
    from toolkit.dtypes import as_dtype

    write_index(prefix, {b"a": Entry(as_dtype("float32"), (3,), 12, 7, 0, 0)}, 1)
    with pytest.raises(FormatError, match="number of its data file: expected below 1, got 7"):
        edit(prefix).plan()


def test_reject_a_mode_that_there_is_not(many):
    with pytest.raises(UsageError, match="data: expected one of auto, link, copy, got 'move'"):
        edit(many).plan(data="move")


COUNTED = """
import resource, sys
import toolkit
from pathlib import Path
def io():
    return {k: int(v) for k, v in (l.split(": ") for l in Path("/proc/self/io").read_text().splitlines())}
plan = toolkit.edit(sys.argv[1]).rename("s3", "t").reinit("s7/v77", "he_normal", seed=1)
before = io()
plan.write(sys.argv[2])
after = io()
print(after["wchar"] - before["wchar"], after["rchar"] - before["rchar"])
"""


def sparse(prefix: str, nbytes: int) -> None:
    """Write a checkpoint of 100 variables whose data file is one hole but for the last 4000 bytes."""
    size = nbytes // 100 // 4 * 4
    small = write_bundle(prefix + ".small", {"v": np.zeros(1000, "f")})
    with open_checkpoint(small) as checkpoint:
        crc = checkpoint["v"].crc32c
    from toolkit.dtypes import as_dtype

    entries = {}
    for i in range(100):
        length = 1000 if i == 77 else size // 4
        name = encode_name(f"s{i // 10}/v{i:02d}")
        entries[name] = Entry(as_dtype("float32"), (length,), length * 4, 0, i * size, crc)
    write_index(prefix, entries, 1)
    with open(naming.data_file(prefix, 0, 1), "wb") as file:
        file.truncate(100 * size)


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system does not count a process's bytes")
@pytest.mark.parametrize("nbytes", [40_000_000, 10**12])
def test_a_change_costs_what_it_changes_whatever_the_size(tmp_path, nbytes):
    sparse(str(tmp_path / "m"), nbytes)
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, tmp_path / "m", tmp_path / "out"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    written, read_back = map(int, done.stdout.split())
    assert 4000 <= written < 4000 + 20_000
    assert read_back < 100_000
    with open_checkpoint(tmp_path / "out") as checkpoint:
        assert sum(v.nbytes for v in checkpoint.values()) == pytest.approx(nbytes, rel=0.02)


def test_stripping_adam_leaves_a_third(tmp_path):
    weights = {f"layer{i}/kernel": np.ones((64, 64), "f") for i in range(6)}
    slots = {f"{name}/{slot}": v for name, v in weights.items() for slot in ("Adam", "Adam_1")}
    powers = {"beta1_power": np.float32(0.9), "beta2_power": np.float32(0.99)}
    write_bundle(tmp_path / "m", {**weights, **slots, **powers, "global_step": np.int64(3)})
    edit(tmp_path / "m").strip_optimizer().write(tmp_path / "out")
    before, after = (os.path.getsize(naming.data_file(str(tmp_path / n), 0, 1)) for n in ("m", "out"))
    assert after / before == pytest.approx(1 / 3, rel=0.001)
    assert set(read(tmp_path / "out")) == {*weights, "global_step"}


def test_force_over_a_checkpoint_that_shares_with_the_source(many, tmp_path):
    for turn in range(4):
        edit(many).reinit("s7/v77", f"constant:{turn}").write(tmp_path / "out", force=turn > 0)
        assert read(tmp_path / "out")["s7/v77"].tolist() == [turn] * 100
        assert len([n for n in names_in(tmp_path) if n.startswith("out.data")]) == 2 + turn % 2
    assert len(read(many)) == 100


def test_every_mode_is_documented():
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    assert all(f"`{mode}`" in text or f"--data {mode}" in text for mode in sharing.DATA_MODES)


def test_reinit_shares_too(many, tmp_path):
    assert plan_reinit(many, "s7/v77", data="copy").bytes == Bytes(0, 39_600, 400)
    assert plan_reinit(many, "s7/v77").bytes == Bytes(40_000, 0, 400)

"""`ckpt export` to HDF5: every value comes back, and other programs read it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import VALID, names_in, write_bundle
from tests.strategies import BITS, PLAIN, plain_values
from toolkit import MismatchError, PublishError, UsageError, dtypes, export, open_checkpoint, plan_export
from toolkit.chunks import regroup
from toolkit.formats.blocks import block_shape, regions
from toolkit.formats.hdf5 import types as hdf5_types
from toolkit.names import from_path

ROOT = Path(__file__).parents[1]


def exported(source, out, *patterns, **options):
    with open_checkpoint(source) as checkpoint:
        return export(checkpoint, out, patterns, **options)


def by_tf_name(file: h5py.File) -> dict[str, h5py.Dataset]:
    found = {}

    def visit(path, item):
        if isinstance(item, h5py.Dataset):
            name = item.attrs["tf_name"]
            assert from_path(path) == name
            found[name] = item

    file.visititems(visit)
    return found


@pytest.mark.parametrize(
    "options", [{}, {"compress": "gzip"}, {"checksum": True}, {"compress": "gzip", "checksum": True}]
)
@pytest.mark.parametrize("golden", ["perceptron", "shards", "dtypes", "strings"])
def test_everything_is_in_the_file(tmp_path, golden, options):
    exported(VALID / golden, tmp_path / "x.h5", **options)
    with open_checkpoint(VALID / golden) as checkpoint, h5py.File(tmp_path / "x.h5") as file:
        found = by_tf_name(file)
        assert set(found) == set(checkpoint)
        for name, variable in checkpoint.items():
            dataset = found[name]
            assert dataset.shape == variable.shape
            assert dataset.attrs["tf_dtype"] == variable.dtype.name
            assert dataset.attrs["crc32c"] == variable.crc32c
            if variable.dtype.kind == "string":
                continue
            stored = np.asarray(dataset[()]).reshape(-1)
            decoded = hdf5_types.decode(stored, variable.dtype)
            assert decoded.tobytes() == variable.read().tobytes()
            if variable.shape and variable.num_elements:
                assert dataset.compression == options.get("compress")
                assert dataset.fletcher32 == options.get("checksum", False)


def test_values_that_hdf5_has_are_h5pys(tmp_path):
    rng = np.random.default_rng(0)
    content = {
        "f2": rng.normal(size=3).astype("f2"), "f4": rng.normal(size=(2, 3)).astype("f4"), "f8": rng.normal(size=3),
        "i1": np.array([-1, 5], "i1"), "u8": np.array([2**64 - 1], "u8"), "b": np.array([True, False]),
        "c8": np.array([1 + 2j], "c8"), "c16": np.array([1 - 2j], "c16"),
    }  # fmt: skip
    exported(write_bundle(tmp_path / "m", content), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        for name, values in content.items():
            assert file[name].dtype == values.dtype
            assert file[name][()].tobytes() == values.tobytes()


def test_strings_are_text_where_they_are_and_bytes_where_not(tmp_path):
    content = {
        "ascii": [b"a", b"", b"long" * 100], "utf8": ["é".encode(), b"x"],
        "nul": [b"a\0b", b""], "bytes": [b"\xff\xfe", b"x"],
    }  # fmt: skip
    prefix = write_bundle(
        tmp_path / "m",
        {k: np.array(v, object) for k, v in content.items()} | {"scalar": np.array(b"one", object)},
    )
    exported(prefix, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["ascii"][()].tolist() == content["ascii"]
        assert file["utf8"].asstr()[()].tolist() == ["é", "x"]
        assert file["scalar"][()] == b"one"
        for name in ("nul", "bytes"):
            assert [part.tobytes() for part in file[name][()]] == content[name]


def test_names_below_a_variable_are_escaped(tmp_path):
    content = {name: np.ones(1, "f") for name in ("w", "w/Adam", "w/Adam/x", "a//b", "50%", "/abs", "c/./d")}
    exported(write_bundle(tmp_path / "m", content), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(by_tf_name(file)) == set(content)
        assert "w%2FAdam%2Fx" in file


def test_names_that_are_no_text_are_opaque_attributes(tmp_path):
    exported(
        write_bundle(tmp_path / "m", {"w\udcff": np.ones(1, "f"), "a\0b": np.ones(1, "f")}), tmp_path / "x.h5"
    )
    with h5py.File(tmp_path / "x.h5") as file:
        names = {path: dataset.attrs["tf_name"].tobytes() for path, dataset in file.items()}
    assert names == {"w%FF": b"w\xff", "a%00b": b"a\0b"}


def test_the_file_says_where_it_comes_from(tmp_path):
    exported(VALID / "perceptron", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert dict(file.attrs) == {
            "layout": "tf", "producer": "checkpoint-toolkit 0.1.0", "source": "model.ckpt-3", "step": 3,
        }  # fmt: skip
    exported(write_bundle(tmp_path / "m-42", {"w": np.ones(1)}), tmp_path / "y.h5")
    with h5py.File(tmp_path / "y.h5") as file:
        assert file.attrs["step"] == 42


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="no h5dump on this machine (Debian's hdf5-tools)")
@pytest.mark.parametrize("golden", ["perceptron", "dtypes", "strings"])
def test_h5dump_and_h5ls_read_it(tmp_path, golden):
    exported(VALID / golden, tmp_path / "x.h5", compress="gzip", checksum=True)
    for command in (["h5dump"], ["h5ls", "-r", "-d"]):
        done = subprocess.run(
            [*command, tmp_path / "x.h5"], check=True, capture_output=True, text=True, errors="replace"
        )
        assert "error" not in done.stderr
    if golden == "perceptron":
        listed = subprocess.run(
            ["h5ls", "-r", tmp_path / "x.h5"], check=True, capture_output=True, text=True
        ).stdout
        assert "/head/kernel             Dataset {3, 2}" in listed
        dumped = subprocess.run(
            ["h5dump", "-d", "/global_step", tmp_path / "x.h5"], check=True, capture_output=True, text=True
        ).stdout
        assert "H5T_STD_I64LE" in dumped
        assert "(0): 3" in dumped


def test_patterns_exclude_and_rename(tmp_path):
    done = exported(
        VALID / "perceptron", tmp_path / "x.h5", "dense1", "head/kernel/Adam", exclude=["**/bias"],
        rename={"dense1": "features/one"},
    )  # fmt: skip
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(by_tf_name(file)) == {"features/one/kernel", "head/kernel/Adam"}
    assert done.num_variables == 2
    assert done.nbytes == (tmp_path / "x.h5").stat().st_size


def test_cast(tmp_path):
    with open_checkpoint(VALID / "perceptron") as checkpoint:
        plan = plan_export(
            checkpoint, ["head", "global_step"], cast=["head/kernel=bfloat16", "global_step=int8"]
        )
        assert plan["head/kernel"].action == "cast"
        values = checkpoint["head/kernel"].read()
        error = np.abs(values - values.astype(dtypes.as_dtype("bfloat16").numpy).astype("f8")).max()
        assert plan["head/kernel"].reason == (
            f"cast from float32, rounded to the nearest bfloat16; the largest error is {error:.3g}"
        )
        plan.export(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["head/kernel"].attrs["tf_dtype"] == "bfloat16"
        assert file["head/kernel"].dtype == np.float32
        bfloat16 = values.astype(dtypes.as_dtype("bfloat16").numpy)
        assert file["head/kernel"][()].tolist() == bfloat16.astype("f").tolist()
        assert file["global_step"].dtype == np.int8
        assert file["global_step"][()] == 3


def test_a_cast_that_does_not_fit_writes_nothing(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.array([1e39, 1.0])})
    before = names_in(tmp_path)
    with pytest.raises(MismatchError, match="w: 1 of 2 values do not fit float32"):
        exported(prefix, tmp_path / "x.h5", cast={"w": "float32"})
    assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cast": ["**=float3"]}, "unknown dtype 'float3'"),
        ({"cast": ["=float32"]}, "not a cast"),
        ({"cast": ["head"]}, "'head': not a cast: there is no dtype of this name"),
        ({"cast": ["nope=float32"]}, "no variable matches 'nope'"),
        ({"cast": ["**=string"]}, "cannot be cast to string"),
        ({"rename": ["a"]}, "not a rename"),
        ({"compress": "zip"}, "expected gzip"),
    ],
)
def test_reject_options(tmp_path, options, message):
    with pytest.raises(Exception, match=message):
        exported(VALID / "perceptron", tmp_path / "x.h5", **options)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("out", ["x", "x.txt", "x.weights.h5"])
def test_reject_what_does_not_name_the_format(tmp_path, out):
    with pytest.raises(UsageError) as refused:
        exported(VALID / "perceptron", tmp_path / out)
    assert refused.value.hint


def test_variables_without_plain_values_are_left_out_and_said(tmp_path):
    from tests.test_reader import entry, write_index

    prefix = write_index(tmp_path / "m", {b"v": entry(dtype=21, size=9)})
    with open_checkpoint(prefix) as checkpoint:
        plan = plan_export(checkpoint)
        assert (plan["v"].action, plan["v"].reason) == ("drop", "variant has no plain values")
        assert plan.export(tmp_path / "x.h5").num_variables == 0


def test_an_existing_file_is_refused_unless_forced(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"precious")
    with pytest.raises(PublishError, match="exists"):
        exported(VALID / "perceptron", tmp_path / "x.h5")
    assert (tmp_path / "x.h5").read_bytes() == b"precious"
    exported(VALID / "perceptron", tmp_path / "x.h5", force=True, sync=False)
    assert h5py.is_hdf5(tmp_path / "x.h5")
    assert names_in(tmp_path) == ["x.h5"]


def test_kernels_have_their_dimensions_labelled(tmp_path):
    prefix = write_bundle(
        tmp_path / "m",
        {
            "conv/kernel": np.zeros((3, 3, 1, 2), "f"),
            "fc/weights": np.zeros((4, 2), "f"),
            "fc/bias": np.zeros(2, "f"),
        },
    )
    exported(prefix, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert [d.label for d in file["conv/kernel"].dims] == ["height", "width", "input", "output"]
        assert [d.label for d in file["fc/weights"].dims] == ["input", "output"]
        assert [d.label for d in file["fc/bias"].dims] == [""]


def test_what_reads_back_otherwise_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_types, "encode", lambda values, dtype: values * 0)
    with pytest.raises(MismatchError, match="was not written as it is"):
        exported(VALID / "perceptron", tmp_path / "x.h5")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_bit_pattern_of_a_byte_comes_back(dtype):
    raw = np.arange(256, dtype=np.uint8)
    raw &= (1 << BITS.get(dtype.name, 8)) - 1
    values = raw.view(dtype.numpy)
    stored = hdf5_types.encode(values, dtype)
    assert stored.dtype == hdf5_types.stored_dtype(dtype)
    assert hdf5_types.decode(stored, dtype).tobytes() == values.tobytes()
    if dtype.kind == "float":
        same = stored.astype("f8"), values.astype("f8")
        assert np.array_equal(*same, equal_nan=True)
        assert np.array_equal(np.signbit(same[0]), np.signbit(same[1]))


@given(st.sampled_from(PLAIN).flatmap(lambda d: plain_values(d).map(lambda v: (d, v))))
def test_any_values_come_back(case):
    dtype, values = case
    stored = hdf5_types.encode(values.reshape(-1), dtype)
    assert hdf5_types.decode(stored, dtype).tobytes() == values.tobytes()


@given(st.lists(st.integers(0, 7), max_size=4).map(tuple), st.integers(1, 8), st.integers(1, 300))
def test_regions_are_the_whole_in_order_and_in_bounds(shape, itemsize, max_bytes):
    slab = block_shape(shape, itemsize, max_bytes)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    seen = [numbers[region].reshape(-1) for region in regions(shape, slab)]
    assert np.concatenate([np.zeros(0, int), *seen]).tolist() == list(range(numbers.size))
    assert all(part.size * itemsize <= max(max_bytes, itemsize) for part in seen)


@given(st.lists(st.binary(max_size=9)), st.data())
def test_regroup_gives_the_same_bytes_in_other_pieces(chunks, data):
    whole = b"".join(chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    arrays = (np.frombuffer(chunk, np.uint8) for chunk in chunks if chunk)
    pieces = [piece.tobytes() for piece in regroup(arrays, sizes)]
    assert b"".join(pieces) == whole
    assert [len(piece) for piece in pieces] == sizes


@pytest.mark.parametrize("sizes", [[3], [5]])
def test_regroup_refuses_more_or_fewer_bytes(sizes):
    with pytest.raises(ValueError, match="bytes"):
        list(regroup([np.zeros(4, np.uint8)], sizes))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_is_bounded(tmp_path):
    """A tensor of 200 MB is exported with less than 50 MB above what an empty one takes."""
    script = (
        "import sys; from toolkit import export, open_checkpoint;"
        "export(open_checkpoint(sys.argv[1]), sys.argv[2]);"
        # of this program alone: getrusage would count what the one before it in this process had
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
    )
    peaks = []
    for mebibytes in (0, 200):
        prefix = write_bundle(tmp_path / f"m{mebibytes}", {"w": np.zeros((mebibytes, 1 << 18), "f")})
        command = [sys.executable, "-c", script, prefix, f"{tmp_path}/{mebibytes}.h5"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 50_000


def test_json_and_text_of_the_command(ckpt, tmp_path):
    ran = ckpt("export", VALID / "perceptron", tmp_path / "x.h5", "head", "--json")
    document = json.loads(ran.out)
    assert document["schema"] == "ckpt/export/1"
    assert {v["name"] for v in document["plan"]} == {"head/bias", "head/kernel"}
    assert document["bytes"] == {"linked": 0, "copied": 32, "written": 0}
    assert document["output"] == str(tmp_path / "x.h5")
    ran = ckpt("export", VALID / "perceptron", tmp_path / "y.h5")
    assert ran.out.startswith("4 weights, 8 slots, 4 moving averages, 3 counters kept: unchanged\n")
    assert ran.err.splitlines()[-1].endswith("read back: every value is equal")
    assert ckpt("export", VALID / "perceptron", tmp_path / "z.h5", "--dry-run").code == 0
    assert names_in(tmp_path) == ["x.h5", "y.h5"]


@pytest.mark.parametrize("options", [[], ["--compress", "gzip"], ["--checksum"]])
@pytest.mark.parametrize("limit", [8, 100, 300])
def test_a_full_disk_is_one_clear_error(tmp_path, options, limit):
    """Of a limit on the size of a file, in KiB: HDF5 itself may crash where it cannot write."""
    rng = np.random.default_rng(0)
    content = {f"v{i}": rng.normal(size=(40, 50)) for i in range(40)}
    prefix = write_bundle(tmp_path / "m", content)
    command = shlex.join(
        [sys.executable, "-m", "toolkit", "export", prefix, f"{tmp_path}/x.h5", "-q", *options]
    )
    before = names_in(tmp_path)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {limit}; {command}"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        f"ckpt: {tmp_path}/x.h5: not written: file too large",
        "hint: free some space, or write to another disk",
    ]
    assert names_in(tmp_path) == before


def test_strings_with_nul_of_one_length_come_back(tmp_path):
    values = np.array([b"a\0b", b"c\0d", b"e\0f"], object)
    prefix = write_bundle(
        tmp_path / "m", {"s": values, "t": values.reshape(3, 1), "u": values[:1].reshape(())}
    )
    export(prefix, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert [bytes(v) for v in file["s"][()]] == values.tolist()
        assert bytes(file["u"][()]) == b"a\0b"


def test_more_dimensions_than_hdf5_has_are_refused(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.zeros((1,) * 33, "f")})
    with pytest.raises(UsageError, match="has 33 dimensions, HDF5 at most 32") as refused:
        export(prefix, tmp_path / "x.h5")
    assert refused.value.hint == "leave it out with --exclude w"


def test_an_empty_tensor_with_a_huge_dimension_is_exported(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.zeros((1 << 60, 0), "f")})
    export(prefix, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["w"].shape == (1 << 60, 0)

"""Export to every format and back: name, dtype, shape and bits; and their own libraries read what we write."""

from __future__ import annotations

import json
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import VALID, names_in, write_bundle
from tests.strategies import PLAIN, examples, tensors
from toolkit import (
    PublishError,
    ReadError,
    UsageError,
    dtypes,
    export,
    import_checkpoint,
    open_checkpoint,
    plan_export,
)
from toolkit.formats.bundle.writer import BundleWriter
from toolkit.units import parse_size

FORMATS = ("h5", "safetensors", "npz")
GOLDEN = ["perceptron", "dtypes", "strings", "shards"]


def assert_same(before, after):
    assert set(before) == set(after)
    for name, variable in before.items():
        assert after[name].dtype is variable.dtype
        assert after[name].shape == variable.shape
        ours, theirs = variable.read(), after[name].read()
        if variable.dtype.kind == "string":
            assert ours.reshape(-1).tolist() == theirs.reshape(-1).tolist()
        else:
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("golden", GOLDEN)
def test_golden_checkpoints_come_back(tmp_path, ending, golden):
    out = tmp_path / f"x.{ending}"
    export(VALID / golden, out)
    with open_checkpoint(VALID / golden) as before, open_checkpoint(out) as after:
        assert_same(before, after)
    assert names_in(tmp_path) == [out.name]


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(tensors(PLAIN))
def test_any_checkpoint_comes_back(tmp_path_factory, ending, content):
    folder = tmp_path_factory.mktemp("any")
    with BundleWriter(str(folder / "m")) as writer:
        for name, (dtype, values) in content.items():
            writer.add(name, values, dtype)
        writer.finish()
    export(folder / "m", folder / f"x.{ending}")
    with open_checkpoint(folder / "m") as before, open_checkpoint(folder / f"x.{ending}") as after:
        assert_same(before, after)


@pytest.mark.parametrize("ending", FORMATS)
def test_odd_names_come_back(tmp_path, ending):
    names = [
        "a",
        "a/b",
        "a//b",
        "./c",
        "/abs",
        "..",
        "é",
        "a\0b",
        "caf\udce9",
        "%",
        "__metadata__",
        "__checkpoint__",
        "x.npy",
    ]
    prefix = write_bundle(tmp_path / "m", {name: np.full(2, i, "f") for i, name in enumerate(names)})
    export(prefix, tmp_path / f"x.{ending}")
    with open_checkpoint(prefix) as before, open_checkpoint(tmp_path / f"x.{ending}") as after:
        assert_same(before, after)


def test_the_safetensors_library_reads_ours(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    export(VALID / "perceptron", tmp_path / "x.safetensors")
    theirs = load_file(tmp_path / "x.safetensors")
    with open_checkpoint(VALID / "perceptron") as ours:
        assert set(theirs) == set(ours)
        for name, values in theirs.items():
            assert values.tobytes() == ours[name].read().tobytes()
            assert values.shape == ours[name].shape
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "tf"
    assert metadata["source"] == "model.ckpt-3"
    assert metadata["step"] == "3"
    export(VALID / "dtypes", tmp_path / "d.safetensors")
    with safe_open(tmp_path / "d.safetensors", "np") as file:
        assert "bfloat16/matrix" in file.keys()  # noqa: SIM118 - it is no mapping
        assert file.get_slice("int4/matrix").get_shape() == [256]  # as bytes


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_numpy_reads_our_npz(tmp_path, compress):
    export(VALID / "perceptron", tmp_path / "x.npz", compress=compress)
    with np.load(tmp_path / "x.npz") as theirs, open_checkpoint(VALID / "perceptron") as ours:
        assert set(theirs.files) == {*ours, "__checkpoint__"}
        for name in ours:
            assert theirs[name].tobytes() == ours[name].read().tobytes()
        described = json.loads(theirs["__checkpoint__"].tobytes())
    assert described["source"] == "model.ckpt-3"
    with open_checkpoint(tmp_path / "x.npz") as after, open_checkpoint(VALID / "perceptron") as before:
        assert_same(before, after)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])  # HDF5 notes the time of a dataset
def test_the_same_values_give_the_same_file(tmp_path, ending):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        export(VALID / "perceptron", tmp_path / folder / f"x.{ending}")
    assert (tmp_path / "a" / f"x.{ending}").read_bytes() == (tmp_path / "b" / f"x.{ending}").read_bytes()


class TestShards:
    def test_are_one_checkpoint_for_us_and_the_library(self, tmp_path):
        from safetensors.numpy import load_file

        prefix = write_bundle(tmp_path / "m", {f"v{i}": np.full(100, i, "f") for i in range(5)})
        done = export(prefix, tmp_path / "x.safetensors", max_shard_size=900)
        assert done.path == str(tmp_path / "x.safetensors.index.json")
        files = [name for name in names_in(tmp_path) if name.startswith("x")]
        assert files == [
            "x-00001-of-00003.safetensors", "x-00002-of-00003.safetensors", "x-00003-of-00003.safetensors",
            "x.safetensors.index.json",
        ]  # fmt: skip
        index = json.loads((tmp_path / "x.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == 2000
        for name, file in index["weight_map"].items():
            assert load_file(tmp_path / file)[name].tolist() == [int(name[1])] * 100
        with open_checkpoint(prefix) as before, open_checkpoint(done.path) as after:
            assert_same(before, after)

    def test_replace_others_without_taking_their_names(self, tmp_path):
        first = write_bundle(tmp_path / "m", {f"v{i}": np.full(100, i, "f") for i in range(4)})
        second = write_bundle(tmp_path / "n", {f"v{i}": np.full(100, i + 10, "f") for i in range(4)})
        export(first, tmp_path / "x.safetensors", max_shard_size=900)
        with pytest.raises(PublishError, match="exists"):
            export(second, tmp_path / "x.safetensors", max_shard_size=900)
        done = export(second, tmp_path / "x.safetensors", max_shard_size=900, force=True)
        assert [name for name in names_in(tmp_path) if name.startswith("x")] == [
            "x-00001-of-00003.safetensors", "x-00002-of-00003.safetensors", "x.safetensors.index.json",
        ]  # fmt: skip
        assert open_checkpoint(done.path)["v0"].read()[0] == 10

    def test_what_fits_into_one_file_is_one(self, tmp_path):
        done = export(VALID / "perceptron", tmp_path / "x.safetensors", max_shard_size="1MB")
        assert names_in(tmp_path) == ["x.safetensors"]
        assert done.path == str(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5k", 1500), (7, 7), ("10 b", 10)]
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "MB", "-1", "5XB"])
def test_what_is_no_size_is_said(text):
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("x.safetensors", {"compress": "gzip"}, "safetensors has no compression"),
        ("x.npz", {"checksum": True}, "checksum=True is for HDF5"),
        ("x.h5", {"max_shard_size": "1MB"}, "this format is one file"),
        ("x.pt", {}, "cannot tell the format"),
    ],
)
def test_options_that_a_format_has_not_are_refused(tmp_path, out, options, message):
    with pytest.raises(UsageError, match=message) as refused:
        export(VALID / "perceptron", tmp_path / out, **options)
    assert refused.value.hint
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_casts_and_renames_are_written(tmp_path, ending):
    plan = plan_export(VALID / "perceptron", ["head"], rename={"head": "top"}, cast={"head/**": "bfloat16"})
    plan.export(tmp_path / f"x.{ending}")
    with open_checkpoint(tmp_path / f"x.{ending}") as after, open_checkpoint(VALID / "perceptron") as before:
        assert set(after) == {"top/bias", "top/kernel"}
        assert after["top/kernel"].dtype == "bfloat16"
        expected = before["head/kernel"].read().astype(dtypes.BY_NAME["bfloat16"].numpy)
        assert after["top/kernel"].read().tobytes() == expected.tobytes()


def test_a_flipped_bit_in_what_was_exported_is_found(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"w": np.random.default_rng(0).normal(size=1000)})
    export(prefix, tmp_path / "x.safetensors")
    data = bytearray((tmp_path / "x.safetensors").read_bytes())
    data[-100] ^= 1
    (tmp_path / "x.safetensors").write_bytes(data)
    with (
        pytest.raises(ValueError, match="checksum of 'w' is wrong"),
        open_checkpoint(tmp_path / "x.safetensors") as after,
    ):
        after["w"].read()


def test_hdf5_still_has_what_it_had(tmp_path):
    export(VALID / "perceptron", tmp_path / "x.h5", compress="gzip", checksum=True)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["head/kernel"].compression == "gzip"
        assert file["head/kernel"].fletcher32


def test_histograms_stand_beside_the_values_as_nexus_has_them(tmp_path):
    values = np.array([0.0, 0.5, 1.0, 1.0, np.nan, np.inf], "f")
    prefix = write_bundle(
        tmp_path / "m", {"w": values, "stats/x": np.zeros(2, np.int64), "s": np.array([b"a"], object)}
    )
    export(prefix, tmp_path / "x.h5", stats=True)
    with h5py.File(tmp_path / "x.h5") as file:
        entry = file[file.attrs["default"]]
        assert entry.name == "/stats_"  # /stats is a scope of the checkpoint
        assert entry.attrs["NX_class"] == "NXentry"
        assert set(entry) == {"stats", "w"}
        plot = entry["w"]
        assert plot.attrs["NX_class"] == "NXdata"
        histogram, edges = plot[plot.attrs["signal"]][()], plot[plot.attrs["axes"]][()]
        assert (histogram.sum(), histogram[0], histogram[-1]) == (4, 1, 2)
        assert (edges[0], edges[-1], edges.size) == (0, 1, histogram.size + 1)
        assert (plot.attrs["num_nan"], plot.attrs["num_inf"]) == (1, 1)
        assert entry[entry.attrs["default"]].attrs["NX_class"] == "NXdata"
    with open_checkpoint(prefix) as before, open_checkpoint(tmp_path / "x.h5") as after:
        assert_same(before, after)


def test_a_plan_says_the_largest_error_of_a_cast(tmp_path):
    # between 1 and 2 a bfloat16 has 7 bits of fraction: 1 + 2**-9 becomes 1
    values = np.array([1.0, 1 + 2**-9, np.inf, np.nan], "f")
    prefix = write_bundle(tmp_path / "m", {"w": values, "e": np.array([1.0, 0.5], "f")})
    plan = plan_export(prefix, cast={"**": "bfloat16"})
    assert (
        plan["w"].reason == "cast from float32, rounded to the nearest bfloat16; the largest error is 0.00195"
    )
    assert plan["e"].reason == "cast from float32, rounded to the nearest bfloat16; here it is exact"
    assert plan_export(prefix, cast={"**": "float64"})["w"].reason == "cast from float32, exact"


@pytest.mark.parametrize(
    ("ending", "options"),
    [*((ending, {}) for ending in FORMATS), ("h5", {"compress": "gzip"}), ("npz", {"compress": "gzip"})],
)
def test_nothing_is_held_but_chunks(tmp_path, ending, options):
    """Of a tensor of 64 MiB, on the way out and on the way back; NumPy's memory is counted by tracemalloc."""
    values = np.zeros((4096, 4096), "f")
    values[::7] = 1.5
    prefix = write_bundle(tmp_path / "m", {"w": values})
    del values
    tracemalloc.start()
    try:
        export(prefix, tmp_path / f"x.{ending}", **options)
        import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "again")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    for end in (".index", ".data-00000-of-00001"):
        assert (tmp_path / f"again{end}").read_bytes() == (tmp_path / f"m{end}").read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_nothing_is_held_but_chunks_of_what_is_in_fortrans_order(tmp_path, save):
    values = np.arange(4096 * 4096, dtype="f").reshape(4096, 4096)
    save(tmp_path / "x.npz", w=np.asfortranarray(values))
    tracemalloc.start()
    try:
        import_checkpoint(tmp_path / "x.npz", tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    assert (tmp_path / "out.data-00000-of-00001").read_bytes() == values.tobytes()


@pytest.mark.parametrize("ending", FORMATS)
def test_what_was_closed_is_not_read(tmp_path, ending):
    """Not from another file either, that has the closed one's number."""
    prefix = write_bundle(tmp_path / "m", {"w": np.arange(4, dtype="f")})
    export(prefix, tmp_path / f"x.{ending}")
    checkpoint = open_checkpoint(tmp_path / f"x.{ending}")
    variable = checkpoint["w"]
    checkpoint.close()
    others = [os.open(tmp_path / "m.index", os.O_RDONLY) for _ in range(8)]
    for read in (variable.load, variable.read, lambda: list(variable.chunks())):
        with pytest.raises(ReadError, match="was closed"):
            read()
    for other in others:
        os.close(other)

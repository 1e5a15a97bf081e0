"""`.npz`, `.safetensors` and HDF5 as checkpoints: what their own libraries write reads equal here."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from toolkit import FormatError, UnsupportedError, dtypes, export, open_checkpoint

ARRAYS = {
    "dense/kernel": np.arange(6, dtype="f").reshape(2, 3),
    "double": np.array([1.5, -0.0, np.nan]),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.int16),
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64),
    "half": np.array([1.5], np.float16),
    "unsigned": np.array([2**64 - 1], np.uint64),
}


def assert_equal(path, expected):
    with open_checkpoint(path) as checkpoint:
        assert set(checkpoint) == set(expected)
        for name, values in expected.items():
            variable = checkpoint[name]
            assert variable.dtype == values.dtype.name
            assert variable.shape == values.shape
            for read in (variable.read(), variable.load()):
                assert read.tobytes() == values.tobytes()
                assert read.shape == values.shape
            for max_bytes in (1, 16, 1 << 20):
                chunks = variable.chunks(max_bytes=max_bytes)
                assert b"".join(chunk.tobytes() for chunk in chunks) == values.tobytes()
            assert not variable.read().flags.writeable


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_arrays_read_equal(self, tmp_path, save):
        save(tmp_path / "x.npz", **ARRAYS)
        assert_equal(tmp_path / "x.npz", ARRAYS)
        with open_checkpoint(tmp_path / "x.npz") as checkpoint:
            assert checkpoint.format == "npz"
            assert checkpoint.describe() == "NumPy archive (.npz)"

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_other_orders_read_equal(self, tmp_path, save):
        save(
            tmp_path / "x.npz",
            fortran=np.asfortranarray(ARRAYS["dense/kernel"]),
            big=np.arange(3, dtype=">i4"),
            both=np.asfortranarray(np.arange(6, dtype=">c8").reshape(2, 3)),
        )
        assert_equal(
            tmp_path / "x.npz",
            {
                "fortran": ARRAYS["dense/kernel"],
                "big": np.arange(3, dtype="i4"),
                "both": np.arange(6, dtype="c8").reshape(2, 3),
            },
        )

    def test_strings_are_bytes(self, tmp_path):
        np.savez(tmp_path / "x.npz", raw=np.array([b"a", b"bc"]), text=np.array([["é"], ["x"]]))
        with open_checkpoint(tmp_path / "x.npz") as checkpoint:
            assert checkpoint["raw"].dtype == "string"
            assert checkpoint["raw"].read().tolist() == [b"a", b"bc"]
            assert checkpoint["text"].read().tolist() == [["é".encode()], [b"x"]]
            assert checkpoint["raw"].nbytes == 2 + 4 + 3  # two lengths, their check, and the bytes

    def test_objects_are_never_loaded(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "ran"),))

        np.savez(tmp_path / "x.npz", bomb=np.array([Bomb()], object))
        with pytest.raises(UnsupportedError, match="Python objects, which can run code"):
            open_checkpoint(tmp_path / "x.npz")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("values", [np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f")]), np.zeros(2, "g")])
    def test_dtypes_that_tensorflow_has_not_are_refused(self, tmp_path, values):
        np.savez(tmp_path / "x.npz", x=values)
        with pytest.raises(UnsupportedError, match="'x.npy': NumPy's dtype"):
            open_checkpoint(tmp_path / "x.npz")

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_a_flipped_bit_is_found(self, tmp_path, save):
        values = np.random.default_rng(0).normal(size=1000)
        save(tmp_path / "x.npz", x=values)
        data = bytearray((tmp_path / "x.npz").read_bytes())
        data[4000] ^= 1
        (tmp_path / "x.npz").write_bytes(data)
        for read in (lambda v: v.read(), lambda v: v.load(), lambda v: list(v.chunks())):
            with pytest.raises(FormatError), open_checkpoint(tmp_path / "x.npz") as checkpoint:
                read(checkpoint["x"])

    def test_a_member_that_is_too_short_is_refused(self, tmp_path):
        out = io.BytesIO()
        np.save(out, np.zeros(10))
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("x.npy", out.getvalue()[:-8])
        with pytest.raises(FormatError, match="'x.npy': expected 208 bytes, got 200"):
            open_checkpoint(tmp_path / "x.npz")

    @pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x09\0", b"\x93NUMPY\x01\0\xff\xff{", b"hello"])
    def test_a_member_that_is_no_array_is_refused(self, tmp_path, content):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("x.npy", content)
        with pytest.raises(FormatError, match="'x.npy': "):
            open_checkpoint(tmp_path / "x.npz")

    def test_a_bomb_is_refused_by_its_size(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_BZIP2) as archive:
            archive.writestr("x.npy", bytes(50_000_000))
        with pytest.raises(FormatError, match="'x.npy': size: expected at most"):
            open_checkpoint(tmp_path / "x.npz")


def safetensors_file(path, header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


class TestSafetensors:
    def test_what_the_library_writes_reads_equal(self, tmp_path):
        from safetensors.numpy import save_file

        arrays = {**ARRAYS, "bfloat16": np.array([1.5, -0.0], dtypes.BY_NAME["bfloat16"].numpy)}
        save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
        assert_equal(tmp_path / "x.safetensors", arrays)

    def test_several_files_are_one_checkpoint(self, tmp_path):
        from safetensors.numpy import save_file

        names = sorted(ARRAYS)
        parts = {"a.safetensors": names[:3], "b.safetensors": names[3:]}
        for file, part in parts.items():
            save_file({name: ARRAYS[name] for name in part}, tmp_path / file)
        where = {name: file for file, part in parts.items() for name in part}
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
        assert_equal(index, ARRAYS)
        index.write_text(json.dumps({"weight_map": {**where, "x": "a.safetensors"}}))
        with pytest.raises(FormatError, match="'x': in the index or in the files, but not in both"):
            open_checkpoint(index)
        index.write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
        with pytest.raises(FormatError, match="expected a file beside the index"):
            open_checkpoint(index)

    @pytest.mark.parametrize(
        ("header", "data", "message"),
        [
            (b'{"a": 1', b"", "JSON: "),
            (b'{"a": {}, "a": {}}', b"", "JSON: a key stands twice"),
            (b"[" * 20000, b"", None),
            (
                {"a": {"dtype": "F32", "shape": [1]}},
                b"",
                "'a': expected a name, dtype, shape and two offsets",
            ),
            (
                {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
                b"abcd",
                "'a': expected a name, dtype, shape",
            ),
            (
                {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
                b"abcd",
                r"'a': expected F32 \(2,\) in 4",
            ),
            ({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"a", "'a': dtype F4"),
            (
                {"a": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}},
                b"abc",
                "'a': expected it to begin at 0",
            ),
            (
                {
                    "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                    "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
                },
                b"abc",
                "'b': expected it to begin at 2, got 1",
            ),
            (
                {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}},
                b"abc",
                "end of the tensors: expected 2, got 3",
            ),
            ({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, b"abc", "end of the tensors"),
            ({"__metadata__": {"tf_tensors": "{"}}, b"", "tf_tensors: expected an object"),
            ({"__metadata__": 3}, b"", "'__metadata__': expected texts"),
        ],
    )
    def test_damage_is_one_clear_error(self, tmp_path, header, data, message):
        path = safetensors_file(tmp_path / "x.safetensors", header, data)
        with pytest.raises(FormatError, match=message) as refused:
            open_checkpoint(path)
        assert refused.value.hint

    def test_a_header_that_is_too_long_is_refused_before_it_is_read(self, tmp_path):
        (tmp_path / "x.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
        with pytest.raises(FormatError):
            open_checkpoint(tmp_path / "x.safetensors")


class TestHdf5:
    def test_plain_datasets_are_variables(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            for name, values in ARRAYS.items():
                file[name] = values
            file.create_dataset(
                "zipped", data=np.arange(5000.0), chunks=(100,), compression="gzip", shuffle=True
            )
            file.create_dataset("big", data=np.arange(3), dtype=">i4")
        assert_equal(
            tmp_path / "x.h5", {**ARRAYS, "zipped": np.arange(5000.0), "big": np.arange(3, dtype="i4")}
        )
        with open_checkpoint(tmp_path / "x.h5") as checkpoint:
            assert checkpoint.format == "hdf5"
            assert checkpoint.describe() == "HDF5"

    def test_what_was_exported_comes_back_with_its_names_and_checksums(self, trained, tmp_path):
        export(trained, tmp_path / "x.h5")
        with open_checkpoint(trained) as before, open_checkpoint(tmp_path / "x.h5") as after:
            assert set(before) == set(after)
            assert after.roles()["head/kernel/Adam"].of == "head/kernel"
            for name in before:
                assert after[name].dtype is before[name].dtype
                assert after[name].read().tobytes() == before[name].read().tobytes()
        with h5py.File(tmp_path / "x.h5", "r+") as file:
            file["head/bias"][0] += 1
        with (
            pytest.raises(FormatError, match="checksum of 'head/bias'"),
            open_checkpoint(tmp_path / "x.h5") as after,
        ):
            after["head/bias"].read()

    def test_strings_come_back(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["text"] = ["é", "x"]
            file["fixed"] = np.array([b"a", b"bc"])
            file["one"] = "alone"
        with open_checkpoint(tmp_path / "x.h5") as checkpoint:
            assert checkpoint["text"].read().tolist() == ["é".encode(), b"x"]
            assert checkpoint["fixed"].read().tolist() == [b"a", b"bc"]
            assert checkpoint["one"].read().item() == b"alone"

    @pytest.mark.parametrize("link", ["soft", "external"])
    def test_links_are_refused(self, tmp_path, link):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["w"] = np.ones(2)
            file["l"] = h5py.SoftLink("/w") if link == "soft" else h5py.ExternalLink("other.h5", "/w")
        with pytest.raises(UnsupportedError, match="'l': a link to another place"):
            open_checkpoint(tmp_path / "x.h5")

    def test_external_storage_and_virtual_datasets_are_refused(self, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(16))
        with h5py.File(tmp_path / "e.h5", "w") as file:
            file.create_dataset("w", (2,), "f8", external=[(str(secret), 0, 16)])
        with pytest.raises(UnsupportedError, match="'w': external storage"):
            open_checkpoint(tmp_path / "e.h5")
        with h5py.File(tmp_path / "v.h5", "w") as file:
            layout = h5py.VirtualLayout((2,), "f8")
            layout[:] = h5py.VirtualSource(tmp_path / "e.h5", "w", (2,))
            file.create_virtual_dataset("w", layout)
        with pytest.raises(UnsupportedError, match="'w': a virtual dataset"):
            open_checkpoint(tmp_path / "v.h5")

    def test_a_group_in_two_places_is_refused(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_group("a/b")
            file["a/b/c"] = file["a"]
        with pytest.raises(UnsupportedError, match="a group that stands in two places"):
            open_checkpoint(tmp_path / "x.h5")

    def test_a_dataset_that_is_larger_than_what_is_stored_is_refused(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("w", (1 << 40,), "f4", chunks=(1024,))
        with pytest.raises(FormatError, match="'w': size of its values: expected at most"):
            open_checkpoint(tmp_path / "x.h5")

    @pytest.mark.parametrize("dtype", ["S64", h5py.string_dtype()])
    def test_so_are_strings(self, tmp_path, dtype):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("s", (1 << 33,), dtype, chunks=(1024,))
        with pytest.raises(FormatError, match="'s': size of its values: expected at most"):
            open_checkpoint(tmp_path / "x.h5")

    def test_what_is_no_tensor_is_left_out_and_said(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["w"] = np.ones(2)
            file["t"] = np.zeros(2, [("a", "f")])
        with open_checkpoint(tmp_path / "x.h5") as checkpoint:
            assert list(checkpoint) == ["w"]
            assert checkpoint.describe() == "HDF5, 1 dataset of other types left out"

    def test_a_file_that_is_cut_off_is_one_clear_error(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["w"] = np.ones(1000)
        whole = (tmp_path / "x.h5").read_bytes()
        for size in (10, 100, 2000, len(whole) - 1):
            (tmp_path / "x.h5").write_bytes(whole[:size])
            with pytest.raises(FormatError), open_checkpoint(tmp_path / "x.h5") as checkpoint:
                checkpoint["w"].read()

    def test_long_lists_of_names_come_in_parts(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.attrs["layer_names0"] = [b"a"]
            file.attrs["layer_names1"] = [b"b"]
            for layer in "ab":
                file.create_group(layer).attrs["weight_names"] = [b"kernel:0"]
                file[f"{layer}/kernel:0"] = np.ones(2, "f")
        with open_checkpoint(tmp_path / "x.h5") as checkpoint:
            assert list(checkpoint) == ["a/kernel", "b/kernel"]  # one name alone would not tell them apart


def test_a_pickle_in_a_zip_archive_is_told_from_an_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
    with pytest.raises(FormatError, match="a PyTorch checkpoint") as refused:
        open_checkpoint(tmp_path / "model.pt")
    assert "safetensors.torch.save_file" in refused.value.hint


def test_what_libraries_raise_on_odd_files_is_one_clear_error(tmp_path):
    safetensors_file(
        tmp_path / "a.safetensors", {"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, b"abcd"
    )
    safetensors_file(
        tmp_path / "b.safetensors", {"\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"a"
    )
    safetensors_file(
        tmp_path / "c.safetensors", {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"a"
    )
    np.savez(tmp_path / "u.npz", x=np.array(["a"]))
    bad = (tmp_path / "u.npz").read_bytes().replace(b"a\0\0\0", b"\xff\xff\xff\x7f")
    (tmp_path / "u.npz").write_bytes(bad)
    for name in ("a.safetensors", "b.safetensors", "c.safetensors", "u.npz"):
        with pytest.raises(FormatError), open_checkpoint(tmp_path / name) as checkpoint:
            for variable in checkpoint.values():
                variable.read()


def test_a_safetensors_file_whose_length_looks_like_a_pickle_is_one(tmp_path):
    header = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    raw = json.dumps(header).encode().ljust(0x0280)  # 80 02, as a pickle begins
    assert open_checkpoint(safetensors_file(tmp_path / "x.safetensors", raw, b"a"))["a"].read().tolist() == [
        97
    ]


def test_an_empty_dataspace_is_left_out(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["n"] = h5py.Empty("S5")
        file["w"] = np.ones(2)
    notes = []
    with open_checkpoint(tmp_path / "x.h5", note=notes.append) as checkpoint:
        assert list(checkpoint) == ["w"]
    assert notes == [f"{tmp_path}/x.h5: left out n: of types that are no tensors"]


def test_empty_strings_of_no_width_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(3, "S0"))
    assert set(open_checkpoint(tmp_path / "x.npz")["x"].read().tolist()) == {b""}

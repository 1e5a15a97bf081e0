"""Make the damaged and hostile files in `invalid/`, each with the message that it must be refused with.

    python -m tests.data.make_invalid

`messages.json` has for each what to open in its folder and what is said of it, without the folder's path.
Nothing here is made by the code that reads it, but for checksums: they must be right, or nothing else would
be looked at.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.conftest import write_table
from toolkit import checksum, dtypes
from toolkit.formats.bundle.messages import Entry, encode_entry, encode_header
from toolkit.formats.bundle.slices import TensorSlice

HERE = Path(__file__).parent
INVALID = HERE / "invalid"
VALID = HERE / "valid"
F32 = dtypes.BY_NAME["float32"]
DATA = np.arange(4, dtype="<f4").tobytes()
ENTRY = Entry(F32, (4,), 16, 0, 0, checksum.crc32c(DATA))

MAKERS: dict[str, tuple[Callable[[Path], None], str, str]] = {}


def case(opened: str, message: str):
    """Register a maker: what of its folder to open, and what is said of it."""

    def register(make: Callable[[Path], None]) -> Callable[[Path], None]:
        MAKERS[make.__name__] = (make, opened, message)
        return make

    return register


def bundle(
    folder: Path, entries: dict[bytes, bytes], *, data: bytes = DATA, header: bytes | None = None
) -> None:
    write_table(folder / "m.index", {b"": encode_header(1) if header is None else header, **entries})
    (folder / "m.data-00000-of-00001").write_bytes(data)


def golden(folder: Path) -> None:
    for path in (VALID / "shards").iterdir():
        shutil.copy(path, folder / path.name)


@case("model", "model.index: no room for a table's footer: expected 48 bytes or more, got 40")
def index_of_40_bytes(folder: Path) -> None:
    golden(folder)
    index = folder / "model.index"
    index.write_bytes(index.read_bytes()[:40])


@case("model", "model.index: bad magic at byte 270: expected 0xdb4775248b80fb57, got 0xdb4775248b80fb56")
def index_with_another_magic(folder: Path) -> None:
    golden(folder)
    index = bytearray((folder / "model.index").read_bytes())
    index[-8] ^= 1
    (folder / "model.index").write_bytes(index)


@case("model", "model.index: checksum of a block is wrong at byte 0")
def index_with_a_flipped_bit(folder: Path) -> None:
    golden(folder)
    index = bytearray((folder / "model.index").read_bytes())
    index[20] ^= 1
    (folder / "model.index").write_bytes(index)


@case("model", "model.index: its data is missing: expected 3 data files, no model.data-00001-of-00003")
def a_data_file_missing(folder: Path) -> None:
    golden(folder)
    (folder / "model.data-00001-of-00003").unlink()


@case("model", "model.data-00001-of-00003: file too short: expected 48 bytes, got 40")
def a_data_file_cut_off(folder: Path) -> None:
    golden(folder)
    data = folder / "model.data-00001-of-00003"
    data.write_bytes(data.read_bytes()[:40])


@case("model", "model.data-00002-of-00003: checksum of 'layer2/bias' is wrong at byte 24")
def a_value_with_a_flipped_bit(folder: Path) -> None:
    golden(folder)
    data = bytearray((folder / "model.data-00002-of-00003").read_bytes())
    data[30] ^= 1
    (folder / "model.data-00002-of-00003").write_bytes(data)


@case("m", "m.index: header: number of data files: expected 1 or more, got 0")
def no_data_files_at_all(folder: Path) -> None:
    bundle(folder, {b"w": encode_entry(ENTRY)}, header=b"\x1a\x02\x08\x01")


@case("m", "m.index: version of the format: expected at most 1, got 2")
def a_newer_version(folder: Path) -> None:
    bundle(folder, {b"w": encode_entry(ENTRY)}, header=b"\x08\x01\x1a\x04\x08\x02\x10\x02")


@case("m", "m.index: entry 'w': dtype: expected one of TensorFlow's, got number 127")
def an_unknown_dtype(folder: Path) -> None:
    bundle(folder, {b"w": b"\x08\x7f" + encode_entry(ENTRY)[2:]})


@case("m", "m.index: entry 'w': shape: expected sizes of 0 or more, got (-1,)")
def a_negative_dimension(folder: Path) -> None:
    entry = encode_entry(ENTRY)
    shape = b"\x12\x0d\x12\x0b\x08" + b"\xff" * 9 + b"\x01"
    bundle(folder, {b"w": entry[:2] + shape + entry[8:]})


@case("m", "m.index: entry 'w': size: expected 16 bytes for float32 (4,), got 12")
def a_size_unlike_the_shape(folder: Path) -> None:
    bundle(folder, {b"w": encode_entry(ENTRY._replace(nbytes=12))})


@case("m", "m.index: entry 'w': number of its data file: expected below 1, got 5")
def a_data_file_that_there_cannot_be(folder: Path) -> None:
    bundle(folder, {b"w": encode_entry(ENTRY._replace(shard=5))})


@case("m", "m.data-00000-of-00001: file too short: expected 1099511627792 bytes, got 16")
def an_offset_far_outside(folder: Path) -> None:
    bundle(folder, {b"w": encode_entry(ENTRY._replace(offset=1 << 40))})


@case("m", "m.index: strings of 's': expected 1099511627776 bytes or more, got 16")
def a_million_million_strings(folder: Path) -> None:
    string = Entry(dtypes.BY_NAME["string"], (1 << 40,), 16, 0, 0, 0)
    bundle(folder, {b"s": encode_entry(string)})


def sliced(folder: Path, *parts: TensorSlice, written: tuple[TensorSlice, ...] | None = None) -> None:
    entries = {b"w": encode_entry(Entry(F32, (4,), 0, 0, 0, 0, parts))}
    for part in parts if written is None else written:
        (size,) = part.lengths
        raw = DATA[: 4 * size]
        entries[part.key(b"w")] = encode_entry(Entry(F32, (size,), len(raw), 0, 0, checksum.crc32c(raw)))
    bundle(folder, entries)


@case("m", "m.index: partitioned variable 'w': the slice at (2,) of (2,) is missing")
def a_slice_missing(folder: Path) -> None:
    first, second = TensorSlice((0,), (2,)), TensorSlice((2,), (2,))
    sliced(folder, first, second, written=(first,))


@case("m", "m.index: partitioned variable 'w': expected slices of 4 elements, got 3")
def slices_with_a_gap(folder: Path) -> None:
    sliced(folder, TensorSlice((0,), (2,)), TensorSlice((3,), (1,)))


@case("m", "m.index: partitioned variable 'w': slices overlap: one at (0,), one at (1,)")
def slices_that_overlap(folder: Path) -> None:
    sliced(folder, TensorSlice((0,), (2,)), TensorSlice((1,), (2,)))


@case("m", "m.index: partitioned variable 'w': expected a slice within 0:4 of dimension 0, got 3:5")
def a_slice_outside(folder: Path) -> None:
    sliced(folder, TensorSlice((0,), (2,)), TensorSlice((3,), (2,)))


@case("model.ckpt", "model.ckpt: header: not a V1 checkpoint's: this is an index that was renamed")
def an_index_renamed(folder: Path) -> None:
    shutil.copy(VALID / "shards" / "model.index", folder / "model.ckpt")


@case("m-00000-of-00002", "m-00001-of-00002: missing, one of the 2 files of this checkpoint")
def a_file_of_v1_missing(folder: Path) -> None:
    shutil.copy(VALID / "v1" / "model.ckpt", folder / "m-00000-of-00002")


@case("m", "m.index: object graph: node 0: refers to a node that does not exist")
def an_object_graph_with_a_bad_number(folder: Path) -> None:
    graph = b"\x0a\x07\x0a\x05\x08\x09\x12\x01x"
    check = checksum.mask(checksum.crc32c(len(graph).to_bytes(4, "little"))).to_bytes(4, "little")
    crc = checksum.crc32c(graph, checksum.crc32c(len(graph).to_bytes(4, "little") + check))
    stored = bytes([len(graph)]) + check + graph
    entry = Entry(dtypes.BY_NAME["string"], (), len(stored), 0, 0, crc)
    bundle(folder, {b"_CHECKPOINTABLE_OBJECT_GRAPH": encode_entry(entry)}, data=stored)


@case("m.index", "m.index: a Git LFS pointer, not the file itself")
def a_pointer(folder: Path) -> None:
    (folder / "m.index").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    )


@case("m.pkl", "m.pkl: a Python pickle, which can run code when loaded and is never opened here")
def a_pickle(folder: Path) -> None:
    (folder / "m.pkl").write_bytes(pickle.dumps({"w": [1.0]}))


@case("m.pt", "m.pt: a PyTorch checkpoint (pickle in a zip archive), which is never opened here")
def a_pytorch_checkpoint(folder: Path) -> None:
    archive(folder / "m.pt", {"archive/data.pkl": pickle.dumps({})})


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)


@case("x.npz", "x.npz: 'w.npy': Python objects, which can run code when loaded and are never opened here")
def objects_in_an_npz(folder: Path) -> None:
    out = io.BytesIO()
    np.save(out, np.array([{}], object), allow_pickle=True)
    archive(folder / "x.npz", {"w.npy": out.getvalue()})


@case("x.npz", "x.npz: 'w.npy': expected 152 bytes, got 144")
def an_npz_member_cut_off(folder: Path) -> None:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    archive(folder / "x.npz", {"w.npy": out.getvalue()[:-8]})


def npy(dtype: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """Return a `.npy` whose header may say what no array can have."""
    out = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + data


@case(
    "x.npz", f"x.npz: 'w.npy': shape: expected less than 2**63 bytes, got {(1 << 62, 1 << 62, 0)} of float32"
)
def an_npz_shape_behind_a_zero(folder: Path) -> None:
    archive(folder / "x.npz", {"w.npy": npy("<f4", (1 << 62, 1 << 62, 0))})


@case("x.npz", "x.npz: 'w.npy': its description in __checkpoint__.npy does not fit it")
def an_npz_of_more_strings_than_bytes(folder: Path) -> None:
    told = json.dumps({"tensors": {"w.npy": {"tf_dtype": "string", "shape": [10**12]}}}).encode()
    archive(
        folder / "x.npz",
        {"w.npy": npy("|u1", (4,), b"abcd"), "__checkpoint__.npy": npy("|u1", (len(told),), told)},
    )


def safetensors(path: Path, header: object, data: bytes) -> None:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


@case("x.safetensors", "x.safetensors: 'b': expected it to begin at 2, got 1")
def safetensors_that_overlap(folder: Path) -> None:
    header = {name: {"dtype": "U8", "shape": [2], "data_offsets": [i, i + 2]} for i, name in enumerate("ab")}
    safetensors(folder / "x.safetensors", header, b"abc")


@case(
    "x.safetensors",
    f"x.safetensors: 'a': shape: expected less than 2**63 bytes, got {(1 << 62, 1 << 62, 0)} of float32",
)
def a_safetensors_shape_behind_a_zero(folder: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}}
    safetensors(folder / "x.safetensors", header, b"")


@case("x.safetensors", "x.safetensors: end of the tensors: expected 2, got 3")
def safetensors_with_something_behind(folder: Path) -> None:
    header = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    safetensors(folder / "x.safetensors", header, b"abc")


@case("x.h5", "x.h5: 'l': a link to another place")
def hdf5_with_a_link_out(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file["l"] = h5py.ExternalLink("/nowhere/else", "/w")


@case("x.h5", "x.h5: 'w': external storage, whose values lie in other files")
def hdf5_with_external_storage(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("w", (2,), "f8", external=[("/nowhere/else", 0, 16)])


@case(
    "x.h5",
    "x.h5: 'w': size of its values: expected at most 67108864 bytes, by what is stored, got 4398046511104",
)
def hdf5_of_four_tebibytes(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("w", (1 << 40,), "f4", chunks=(1024,))


@case("x.h5", "x.h5: layer 'dense': in layer_names, but not in the file")
def keras_weights_with_a_layer_missing(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]


def sharded(folder: Path, weight_map: dict[str, object], files: dict[str, list[str]]) -> None:
    """Write an index as Keras does, and files that hold these datasets."""
    (folder / "m.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    for name, places in files.items():
        with h5py.File(folder / name, "w") as file:
            for place in places:
                file[place] = np.zeros(2, "f4")


SHARDS = ("m_00000.weights.h5", "m_00001.weights.h5")
SPREAD = {"/vars": list(SHARDS)}


@case(
    "m.weights.json",
    "m_00001.weights.h5: missing, one of the 2 files of m.weights.json: it holds values of /vars",
)
def a_keras_shard_missing(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"]})


@case("m.weights.json", "m_00001.weights.h5: a Git LFS pointer, not the file itself")
def a_keras_shard_that_is_a_pointer(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"]})
    (folder / SHARDS[1]).write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    )


@case("m.weights.json", "m_00001.weights.h5: '/layers/dense/vars': there, but not in the index")
def a_keras_shard_of_another_save(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"], SHARDS[1]: ["vars/1", "layers/dense/vars/0"]})


@case("m.weights.json", "m_00001.weights.h5: '/vars': in the index, but not there")
def a_keras_shard_without_its_group(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"], SHARDS[1]: []})


@case("m.weights.json", "m_00001.weights.h5: 'vars/0': in two files")
def a_keras_weight_in_two_shards(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"], SHARDS[1]: ["vars/0"]})


@case("m_00002.weights.h5", "m_00002.weights.h5: not one of the files that m.weights.json lists: an earlier")
def a_keras_shard_of_an_earlier_save(folder: Path) -> None:
    sharded(folder, SPREAD, {SHARDS[0]: ["vars/0"], SHARDS[1]: ["vars/1"], "m_00002.weights.h5": ["vars/2"]})


@case("m.weights.json", "m.weights.json: weight_map: expected a file beside the index, got '../m.h5'")
def a_keras_index_that_leads_up(folder: Path) -> None:
    sharded(folder, {"/vars": ["../m.h5"]}, {})


@case("m.weights.json", "m.weights.json: weight_map: expected a file beside the index, got '/etc/passwd'")
def a_keras_index_that_leads_elsewhere(folder: Path) -> None:
    sharded(folder, {"/vars": "/etc/passwd"}, {})


@case("m.weights.json", "m.weights.json: 'weight_map': expected names and the files that they lie in")
def a_keras_index_without_files(folder: Path) -> None:
    sharded(folder, {"/vars": []}, {})


@case(
    "m.bin.index.json", "m.bin.index.json: the index of PyTorch files (pickles), which are never opened here"
)
def an_index_of_pytorch_files(folder: Path) -> None:
    (folder / "m.bin.index.json").write_text('{"weight_map": {"w": "m-00001-of-00001.bin"}}')
    (folder / "m-00001-of-00001.bin").write_bytes(pickle.dumps({}))


@case("tf_model.h5.index.json", "tf_model.h5.index.json: the index of HDF5 files by weights, as transformers")
def an_index_of_transformers(folder: Path) -> None:
    weight_map = {"tf_bert/dense/kernel:0": "tf_model-00001-of-00001.h5"}
    (folder / "tf_model.h5.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with h5py.File(folder / "tf_model-00001-of-00001.h5", "w") as file:
        file.attrs["layer_names"] = [b"tf_bert"]
        file.create_group("tf_bert").attrs["weight_names"] = [b"dense/kernel:0"]
        file["tf_bert/dense/kernel:0"] = np.zeros(2, "f4")


@case(
    "m.safetensors.index.json",
    "m-00002-of-00002.safetensors: missing, one of the 2 files of m.safetensors.index.json: "
    "it holds values of b, c",
)
def a_safetensors_shard_missing(folder: Path) -> None:
    files = {"a": "m-00001-of-00002.safetensors"} | dict.fromkeys("bc", "m-00002-of-00002.safetensors")
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    header = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    safetensors(folder / "m-00001-of-00002.safetensors", header, b"ab")


@case("x.safetensors", "x.safetensors: length of the header at byte 0: expected at most 60, got 500")
def safetensors_cut_off_in_its_header(folder: Path) -> None:
    header = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    raw = json.dumps(header).encode().ljust(500)
    (folder / "x.safetensors").write_bytes((len(raw).to_bytes(8, "little") + raw)[:68])


PICKLED = (
    "Keras weights saved with weights_format='npz', which are Python pickles: they can run code when loaded "
    "and are never opened here, and Keras 3.9.2 and later cannot load them itself"
)


def pickled_weights() -> dict[str, bytes]:
    out = io.BytesIO()
    np.save(out, np.array({"0": 1}, object), allow_pickle=True)
    return {"__root__.npy": out.getvalue(), "layers/dense.npy": out.getvalue()}


@case("m.keras", f"m.keras: {PICKLED}")
def a_keras_archive_of_pickles(folder: Path) -> None:
    inner = folder / "model.weights.npz"
    archive(inner, pickled_weights())
    archive(folder / "m.keras", {"config.json": b"{}", "model.weights.npz": inner.read_bytes()})
    inner.unlink()


@case("m", f"m/model.weights.h5: {PICKLED}")
def a_keras_folder_of_pickles(folder: Path) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "config.json").write_text("{}")
    archive(folder / "m" / "model.weights.h5", pickled_weights())


@case("m/model.weights.h5", f"m/model.weights.h5: {PICKLED}")
def the_weights_of_a_keras_folder_of_pickles(folder: Path) -> None:
    a_keras_folder_of_pickles(folder)


@case("m.meta", "m.meta: a graph without values: ")
def a_graph_alone(folder: Path) -> None:
    (folder / "m.meta").write_bytes(b"\x0a\x05\x0a\x03abc")


@case("config.json", "config.json: a JSON file: it has no weights in it")
def a_json_file(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": 1}')


@case("checkpoint_0", "checkpoint_0: a msgpack file, as Flax and early versions of Orbax write it")
def a_msgpack_file(folder: Path) -> None:
    (folder / "checkpoint_0").write_bytes(b"\x81\xa6params\x80")


def main() -> None:
    shutil.rmtree(INVALID, ignore_errors=True)
    messages = {}
    for name, (make, opened, message) in MAKERS.items():
        (INVALID / name).mkdir(parents=True)
        make(INVALID / name)
        messages[name] = {"open": opened, "message": message}
    text = json.dumps(messages, indent=1, sort_keys=True)
    (INVALID / "messages.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

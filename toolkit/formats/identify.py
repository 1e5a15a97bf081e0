"""What a file is, told by its first and last bytes, and what to type when it is no checkpoint."""

from __future__ import annotations

import re
from typing import NamedTuple

from toolkit.formats.bundle.table import FOOTER_BYTES, MAGIC
from toolkit.formats.file import ReadFile

_HEAD_BYTES = 1024
_MAX_INDEX_HEAD_BYTES = 1 << 20
"""How far into a JSON file its `weight_map` is looked for: what stands before it is a few texts."""
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file: the specification's own limit."""
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
"""A PROTO opcode and its version (Python's pickletools)."""


class Kind(NamedTuple):
    """What a file is.

    Attributes:
        word: One word, for programs.
        what: A few, for a person, with their article.
        hint: What to do with such a file.
    """

    word: str
    what: str
    hint: str


LFS_POINTER = Kind(
    "git-lfs",
    "a Git LFS pointer, not the file itself",
    "run `git lfs pull` in the repository that it comes from",
)
_STATE = Kind("state", "a checkpoint state file", "give the directory that it lies in")
TABLE = Kind(
    "table",
    "a table file: a V1 checkpoint, or an index under another name",
    "an index must be named PREFIX.index, with its data files beside it",
)
HDF5 = Kind("hdf5", "an HDF5 file", "h5ls -r lists it")
ZIP = Kind("zip", "a zip archive", "list it with `unzip -l`")
SAFETENSORS = Kind("safetensors", "a safetensors file", "load it with `safetensors`")
WEIGHT_MAP = Kind("weight-map", "the index of weights in several files", "the files must lie beside it")
KERAS_FOLDER = Kind(
    "keras-folder", "the folder of a Keras model", "it has config.json and model.weights.h5 in it"
)
MSGPACK = Kind(
    "msgpack",
    "a msgpack file, as Flax and early versions of Orbax write it",
    "load it with flax.serialization.msgpack_restore, and save its arrays with safetensors or numpy.savez",
)
JSON = Kind(
    "json",
    "a JSON file: it has no weights in it",
    "give the checkpoint that it lies beside",
)
UNKNOWN = Kind(
    "unknown",
    "no checkpoint that the toolkit knows",
    "give the prefix of a checkpoint, one of its files, or the directory that it lies in",
)

_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"PK\x03\x04", ZIP),
    (b"\x93NUMPY", Kind("npy", "a NumPy array (.npy)", "load it with numpy.load")),
    (b"\x1f\x8b", Kind("gzip", "a gzip archive", "unpack it first, with `tar xf` or `gunzip`")),
    (b"model_checkpoint_path:", _STATE),
)

_SAVED_MODEL = Kind(
    "saved-model",
    "a SavedModel's graph, without values",
    "give the directory that it lies in: its values are in variables/",
)
_GRAPH = Kind(
    "graph",
    "a graph (protocol buffer): it has no checkpoint in it",
    "give the checkpoint that was saved with it (files ending in .index and .data-00000-of-00001)",
)
PICKLE = Kind(
    "pickle",
    "a Python pickle, which can run code when loaded and is never opened here",
    "load it with the program that wrote it and save its arrays with numpy.savez",
)
PYTORCH = Kind(
    "pytorch",
    "a PyTorch checkpoint (pickle in a zip archive), which is never opened here",
    "save it from PyTorch with safetensors.torch.save_file",
)
"""A kind of zip archive, told by its members."""
_TAR = Kind("tar", "a tar archive", "unpack it first, with `tar xf`")
_LINK = Kind(
    "link-text",
    "the text of a symbolic link, not the file it points to",
    "check the repository out where symbolic links are allowed, or copy the file itself",
)
EMPTY = Kind("empty", "an empty file", "fetch it again, or use an earlier checkpoint")

_JSON_BEGINNING = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\"{\[\]\d-])[\t\n\r\x20-\x7e\x80-\xff]*\Z")
"""An object or a list, and text as far as one looks."""
_MSGPACK_BEGINNING = re.compile(
    rb"(?s)([\x81-\x8f]|\xde..|\xdf....)"  # a map of so many, and the length of its first key, a text
    rb"([\xa1-\xbf]|\xd9[\x20-\xff]|\xda[\x01-\xff].)[\x20-\x7e]"
)
_HEADER_BEGINNING = re.compile(rb"\{\s*[\"}]")
"""How the header of a safetensors file begins, which is a JSON object."""


def identify(file: ReadFile) -> Kind:
    """Return what `file` is. It reads its first kilobyte and its last 48 bytes."""
    head = file.read(0, min(file.size, _HEAD_BYTES))
    if not head:
        return EMPTY
    if _is_safetensors(head, file.size):
        return SAFETENSORS  # first: its length may have the bytes of any other beginning
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if file.size >= FOOTER_BYTES and file.read(file.size - len(MAGIC), len(MAGIC)) == MAGIC:
        return TABLE
    if head.startswith(_PICKLES):
        return PICKLE
    if _JSON_BEGINNING.match(head):
        beginning = file.read(0, min(file.size, _MAX_INDEX_HEAD_BYTES))
        return WEIGHT_MAP if b'"weight_map"' in beginning else JSON
    if _MSGPACK_BEGINNING.match(head):
        return MSGPACK
    if head[257:262] == b"ustar":
        return _TAR
    # saved_model_schema_version: 1, then a MetaGraphDef (saved_model.proto)
    if head.startswith(b"\x08\x01\x12"):
        return _SAVED_MODEL
    # a NodeDef whose first field is its name (graph.proto), or a MetaInfoDef (meta_graph.proto)
    if re.match(rb"\x0a[\x80-\xff]*[\x00-\x7f][\x0a\x12]", head):
        return _GRAPH
    if file.size < 512 and re.fullmatch(rb"[\x21-\x7e]*/[\x21-\x7e]+", head):
        return _LINK
    return UNKNOWN


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file of `size` bytes begins as a safetensors file does: a length, then an object.

    No text has such a length: eight characters are a number of 2**53 or more. A length that is more than
    the file has is one of a file that was cut off.
    """
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    plausible = length <= max(_MAX_HEADER_BYTES, size - _LENGTH_BYTES)
    return plausible and _HEADER_BEGINNING.match(head, _LENGTH_BYTES) is not None

"""What a file is, told by its first and last bytes, and what to type when it is no checkpoint."""

from __future__ import annotations

import re
from typing import NamedTuple

from toolkit.formats.bundle.table import FOOTER_BYTES, MAGIC
from toolkit.formats.file import ReadFile

_HEAD_BYTES = 1024
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
SAFETENSORS_INDEX = Kind(
    "safetensors-index", "the index of several safetensors files", "the files must lie beside it"
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
_PICKLE = Kind(
    "pickle",
    "a Python pickle, which can run code when loaded and is never opened here",
    "load it with the program that wrote it and save its arrays with numpy.savez",
)
_TAR = Kind("tar", "a tar archive", "unpack it first, with `tar xf`")
_LINK = Kind(
    "link-text",
    "the text of a symbolic link, not the file it points to",
    "check the repository out where symbolic links are allowed, or copy the file itself",
)
_EMPTY = Kind("empty", "an empty file", "fetch it again, or use an earlier checkpoint")


def identify(file: ReadFile) -> Kind:
    """Return what `file` is. It reads its first kilobyte and its last 48 bytes."""
    head = file.read(0, min(file.size, _HEAD_BYTES))
    if not head:
        return _EMPTY
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if file.size >= FOOTER_BYTES and file.read(file.size - len(MAGIC), len(MAGIC)) == MAGIC:
        return TABLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= file.size - 8:
        return SAFETENSORS  # before a pickle, whose first bytes a length may have
    if head.startswith(_PICKLES):
        return _PICKLE
    if re.match(rb"\s*\{", head) and b'"weight_map"' in head:
        return SAFETENSORS_INDEX
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

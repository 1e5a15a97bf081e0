"""Reading safetensors: a header of JSON, then the tensors as they are.

    length of the header (uint64)  header  tensors
    header    {"NAME": {"dtype": "F32", "shape": [3, 2], "data_offsets": [BEGIN, END]}, …,
               "__metadata__": {"KEY": "TEXT"}}

Offsets count from the end of the header. The tensors lie side by side: no byte between them is unused,
and none is used twice. A checkpoint in several files has an index: `{"weight_map": {"NAME": "FILE"}}`.

What safetensors has no dtype for is stored as bytes (`U8`). `__metadata__` tells of that, in JSON, under
`tf_tensors`: `{"NAME": {"tf_dtype": "string", "shape": [2], "crc32c": 123, "tf_name": "…"}}`; and of where
the tensors come from, as `origins.py` says.

Source: the safetensors format specification (huggingface/safetensors, README.md).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from toolkit import dtypes
from toolkit.checkpoint import TensorSpec, Variable
from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats import descriptions
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import SAFETENSORS, identify
from toolkit.formats.json_object import MAX_BYTES, read_object
from toolkit.formats.origins import OBJECTS, ExportedCheckpoint, Told, objects_of, told_of
from toolkit.formats.raw import RawPlace, RawSource
from toolkit.formats.weight_map import WeightMap
from toolkit.names import decode_name

METADATA = "__metadata__"
TF_TENSORS = "tf_tensors"
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
"""The format's dtypes as TensorFlow names them."""
_LENGTH_BYTES = 8


class SafetensorsCheckpoint(ExportedCheckpoint):
    """A safetensors file, or several with an index.

    Args:
        path: The file, or the index.
        index: What the index says, if it is one.
        partial: Open it although files of several are missing.

    Raises:
        ReadError: A file cannot be opened.
        FormatError: One breaks a rule.
    """

    format = "safetensors"

    def __init__(self, path: str, index: WeightMap | None = None, *, partial: bool = False) -> None:
        self.path = path
        self._index = index
        paths = [path] if index is None else index.files
        self._paths = paths if index is None else [path, *paths]
        self._missing = index.missing() if index is not None else []
        if not partial:
            self.check_present()
        there = {shard: ReadFile(each) for shard, each in enumerate(paths) if each not in self._missing}
        self._files = list(there.values())
        source = RawSource()
        self.own(source)
        variables: dict[str, Variable] = {}
        told: dict[str, Told] = {}
        objects: dict[str, bytes] = {}
        for shard, file in there.items():
            if (kind := identify(file)) is not SAFETENSORS:
                raise FormatError(kind.what, path=file.path, hint=kind.hint)
            found, more, beside = _variables_of(file, shard, source)
            for name, variable in found.items():
                if name in variables:
                    raise FormatError(f"{name!r}: in two files", path=file.path)
                variables[name] = variable
            told |= more
            objects |= beside
        if index is not None:
            missing = set(map(os.path.basename, self._missing))
            named = {key for key, names in index.places.items() if missing.isdisjoint(names)}
            if odd := named ^ set(variables):
                raise FormatError(f"{min(odd)!r}: in the index or in the files, but not in both", path=path)
        self._settle(dict(sorted(variables.items())), told, objects)

    def files(self) -> list[str]:
        """Return the paths of its files, the index first if there is one."""
        return list(self._paths)

    def missing_files(self) -> list[str]:
        """Return the paths of its files that are not there; the names in them are not listed."""
        return list(self._missing)

    def check_present(self) -> None:
        """Raise if a file of several is not there."""
        if self._missing and self._index is not None:
            raise self._index.missing_file(self._missing[0])

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        return "safetensors"

    def close(self) -> None:
        """Close its files. Arrays that were read stay valid."""
        for file in self._files:
            file.close()


def _variables_of(
    file: ReadFile, shard: int, source: RawSource
) -> tuple[dict[str, Variable], dict[str, Told], dict[str, bytes]]:
    """Return the variables of one file, every extent of which is checked, and what is said beside them."""
    size = int.from_bytes(file.read(0, _LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + size
    if size > MAX_BYTES or start > file.size:
        raise FormatError(
            "length of the header",
            path=file.path,
            offset=0,
            expected=f"at most {min(MAX_BYTES, file.size - _LENGTH_BYTES)}",
            found=size,
        )
    header = read_object(file, _LENGTH_BYTES, size)
    described, objects = _described(header.pop(METADATA, {}), file)
    variables, told = {}, {}
    extents = []
    for key, entry in header.items():
        try:
            shape = tuple(entry["shape"])
            begin, end = entry["data_offsets"]
            kind = entry["dtype"]
            if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)) or type(kind) is not str:
                raise TypeError
            if not key or (not key.isascii() and any("\ud800" <= c <= "\udfff" for c in key)):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            _refuse(file, key, "expected a name, dtype, shape and two offsets")
        dtype = dtypes.BY_NAME.get(DTYPES.get(kind, ""))
        if dtype is None:
            raise UnsupportedError(
                f"{key!r}: dtype {kind}", path=file.path, hint="`safetensors` itself may load this file"
            )
        if problem := dtypes.shape_problem(dtype, shape):
            _refuse(file, key, f"shape: {problem}")
        if math.prod(shape) * (dtype.itemsize or 0) != end - begin:
            _refuse(file, key, f"expected {kind} {shape} in {end - begin} bytes")
        extents.append((begin, end, key))
        more = described.get(key, {})
        name, spec = key, TensorSpec(dtype, shape, end - begin)
        if more:
            name, spec, told[name] = _meant(file, key, more, spec)
        place = RawPlace(file, shard, start + begin, more.get("crc32c"))
        variables[name] = Variable(name, spec, source, place)
    _check_extents(file, extents, file.size - start)
    return variables, told, objects


def _meant(
    file: ReadFile, key: str, more: Mapping[str, Any], spec: TensorSpec
) -> tuple[str, TensorSpec, Told]:
    """Return name and spec of a tensor that the toolkit described, and what it says of its origin."""
    try:
        dtype = dtypes.BY_NAME[more.get("tf_dtype", spec.dtype.name)]
        shape = tuple(more.get("shape", spec.shape))
        name = decode_name(bytes.fromhex(more["tf_name"])) if "tf_name" in more else key
        crc = more.get("crc32c")
        if not descriptions.fits(dtype, shape, spec.nbytes) or not isinstance(crc, int | None):
            raise ValueError
        told = told_of(name, more)
    except (KeyError, TypeError, ValueError):
        _refuse(file, key, f"its description in {TF_TENSORS} does not fit it")
    return name, TensorSpec(dtype, shape, spec.nbytes), told


def _described(metadata: Any, file: ReadFile) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Return the toolkit's descriptions of the tensors, by key, and of the file."""
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        _refuse(file, METADATA, "expected texts")
    try:
        described = json.loads(metadata.get(TF_TENSORS, "{}"))
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict) or not all(isinstance(d, dict) for d in described.values()):
        _refuse(file, METADATA, f"{TF_TENSORS}: expected an object of objects")
    try:
        return described, objects_of(metadata.get(OBJECTS, ""))
    except (ValueError, RecursionError) as error:
        _refuse(file, METADATA, f"{OBJECTS}: {error}")


def _check_extents(file: ReadFile, extents: list[tuple[int, int, str]], size: int) -> None:
    """Raise unless the tensors lie side by side and fill the file."""
    position = 0
    for begin, end, key in sorted(extents):
        if begin != position:
            _refuse(file, key, f"expected it to begin at {position}, got {begin}")
        position = end
    if position != size:
        raise FormatError("end of the tensors", path=file.path, expected=position, found=size)


def _refuse(file: ReadFile, key: str, why: str) -> NoReturn:
    raise FormatError(f"{key!r}: {why}", path=file.path)

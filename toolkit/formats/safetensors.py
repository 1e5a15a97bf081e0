"""Reading safetensors: a header of JSON, then the tensors as they are.

    length of the header (uint64)  header  tensors
    header    {"NAME": {"dtype": "F32", "shape": [3, 2], "data_offsets": [BEGIN, END]}, …,
               "__metadata__": {"KEY": "TEXT"}}

Offsets count from the end of the header. The tensors lie side by side: no byte between them is unused,
and none is used twice. A checkpoint in several files has an index: `{"weight_map": {"NAME": "FILE"}}`.

What safetensors has no dtype for is stored as bytes (`U8`). `__metadata__` tells of that, in JSON, under
`tf_tensors`: `{"NAME": {"tf_dtype": "string", "shape": [2], "crc32c": 123, "tf_name": "…"}}`.

Source: the safetensors format specification (huggingface/safetensors, README.md).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from toolkit import dtypes
from toolkit.checkpoint import Checkpoint, TensorSpec, Variable
from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats import descriptions
from toolkit.formats.file import ReadFile
from toolkit.formats.raw import RawPlace, RawSource
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
MAX_HEADER_BYTES = 100_000_000
"""The specification's own limit."""
_LENGTH_BYTES = 8


class SafetensorsCheckpoint(Checkpoint):
    """A safetensors file, or several with an index.

    Args:
        path: The file, or the index.

    Raises:
        ReadError: A file cannot be opened.
        FormatError: One breaks a rule.
    """

    format = "safetensors"

    def __init__(self, path: str) -> None:
        self.path = path
        first = ReadFile(path)
        index = None
        if first.size and first.read(0, 1) == b"{":
            index = _weight_map(first)
        self._files, self._paths = [first], [path]
        if index is not None:
            folder = os.path.dirname(path)
            self._files = [ReadFile(os.path.join(folder, name)) for name in _files_of(path, index)]
            self._paths += [file.path for file in self._files]
        source = RawSource()
        variables: dict[str, Variable] = {}
        for shard, file in enumerate(self._files):
            for name, variable in _variables_of(file, shard, source).items():
                if name in variables:
                    raise FormatError(f"{name!r}: in two files", path=file.path)
                variables[name] = variable
        if index is not None and set(index) != set(variables):
            odd = min(set(index) ^ set(variables))
            raise FormatError(f"{odd!r}: in the index or in the files, but not in both", path=path)
        self._variables = dict(sorted(variables.items()))

    def find(self, name: str) -> Variable | None:
        """Return the variable of this name, or `None`."""
        return self._variables.get(name)

    def variables(self) -> dict[str, Variable]:
        """Return all variables by name, in the order of their names."""
        return self._variables

    def files(self) -> list[str]:
        """Return the paths of its files, the index first if there is one."""
        return list(self._paths)

    def describe(self) -> str:
        """Return what it is in a few words, for a person."""
        return "safetensors"

    def close(self) -> None:
        """Close its files. Arrays that were read stay valid."""
        for file in self._files:
            file.close()


def _variables_of(file: ReadFile, shard: int, source: RawSource) -> dict[str, Variable]:
    """Return the variables of one file, every extent of which is checked."""
    size = int.from_bytes(file.read(0, _LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + size
    if size > MAX_HEADER_BYTES or start > file.size:
        raise FormatError(
            "length of the header",
            path=file.path,
            offset=0,
            expected=f"at most {min(MAX_HEADER_BYTES, file.size - _LENGTH_BYTES)}",
            found=size,
        )
    header = _json(file, _LENGTH_BYTES, size)
    described = _described(header.pop(METADATA, {}), file)
    variables = {}
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
            name, spec = _meant(file, key, more, spec)
        place = RawPlace(file, shard, start + begin, more.get("crc32c"))
        variables[name] = Variable(name, spec, source, place)
    _check_extents(file, extents, file.size - start)
    return variables


def _meant(file: ReadFile, key: str, more: Mapping[str, Any], spec: TensorSpec) -> tuple[str, TensorSpec]:
    """Return name and spec of a tensor that the toolkit described."""
    try:
        dtype = dtypes.BY_NAME[more.get("tf_dtype", spec.dtype.name)]
        shape = tuple(more.get("shape", spec.shape))
        name = decode_name(bytes.fromhex(more["tf_name"])) if "tf_name" in more else key
        crc = more.get("crc32c")
        if not descriptions.fits(dtype, shape, spec.nbytes) or not isinstance(crc, int | None):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        _refuse(file, key, f"its description in {TF_TENSORS} does not fit it")
    return name, TensorSpec(dtype, shape, spec.nbytes)


def _described(metadata: Any, file: ReadFile) -> dict[str, dict[str, Any]]:
    """Return what the toolkit wrote of the tensors, by their keys."""
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        _refuse(file, METADATA, "expected texts")
    try:
        described = json.loads(metadata.get(TF_TENSORS, "{}"))
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict) or not all(isinstance(d, dict) for d in described.values()):
        _refuse(file, METADATA, f"{TF_TENSORS}: expected an object of objects")
    return described


def _check_extents(file: ReadFile, extents: list[tuple[int, int, str]], size: int) -> None:
    """Raise unless the tensors lie side by side and fill the file."""
    position = 0
    for begin, end, key in sorted(extents):
        if begin != position:
            _refuse(file, key, f"expected it to begin at {position}, got {begin}")
        position = end
    if position != size:
        raise FormatError("end of the tensors", path=file.path, expected=position, found=size)


def _weight_map(file: ReadFile) -> dict[str, str]:
    if file.size > MAX_HEADER_BYTES:
        raise FormatError("size", path=file.path, expected=f"at most {MAX_HEADER_BYTES}", found=file.size)
    names = _json(file, 0, file.size).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(n, str) for n in names.values()):
        _refuse(file, "weight_map", "expected names and the files that they lie in")
    return names


def _files_of(path: str, index: Mapping[str, str]) -> list[str]:
    files = sorted(set(index.values()))
    for name in files:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise FormatError("weight_map", path=path, expected="a file beside the index", found=repr(name))
    return files


def _json(file: ReadFile, offset: int, size: int) -> dict[str, Any]:
    try:
        document = json.loads(file.read(offset, size), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"JSON: {error}", path=file.path, offset=offset) from error
    if not isinstance(document, dict):
        raise FormatError(
            "JSON", path=file.path, offset=offset, expected="an object", found=type(document).__name__
        )
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(file: ReadFile, key: str, why: str) -> NoReturn:
    raise FormatError(f"{key!r}: {why}", path=file.path)

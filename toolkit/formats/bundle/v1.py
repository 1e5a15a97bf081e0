"""Reading V1 checkpoints, the format before 2016's: tables that hold the tensors themselves.

Each file is a table. Under the empty key it says what tensors it has slices of; under a slice's key lie
the values. A checkpoint is one file, or N of them named `PREFIX-00000-of-0000N`, each with some slices.

Source: tensorflow/core/util/tensor_slice_writer.cc, tensor_slice_reader.cc, saved_tensor_slice.proto.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit import dtypes
from toolkit.checkpoint import Checkpoint, Slice, TensorSource, TensorSpec, Variable
from toolkit.chunks import whole_elements
from toolkit.dtypes import DType
from toolkit.errors import FormatError, ReadError, UnsupportedError
from toolkit.formats.bundle import spans
from toolkit.formats.bundle.assembly import SlicedSource
from toolkit.formats.bundle.messages import decode_shape, decode_slice
from toolkit.formats.bundle.schema import MessageError, parse
from toolkit.formats.bundle.slices import FULL, SliceError, TensorSlice, check_tiling
from toolkit.formats.bundle.table import Table
from toolkit.formats.file import ReadFile
from toolkit.formats.streamed import MeasuredSpec, StreamedSource
from toolkit.names import encode_name

if TYPE_CHECKING:
    import numpy as np

_META_KEY = b""
_READER_VERSION = 1
"""The version of the format that is read (tensorflow/core/public/version.h, TF_CHECKPOINT_VERSION)."""


class _Part(NamedTuple):
    """Where a slice lies: in which table, and which slice it is."""

    table: Table
    slice: TensorSlice


class _Tensor(NamedTuple):
    """What is known of a tensor, from all files."""

    dtype: DType
    shape: tuple[int, ...]
    parts: list[_Part]


class V1Checkpoint(Checkpoint):
    """A V1 checkpoint.

    Args:
        path: What names it.
        paths: Its files.
        partial: Open it although some are missing.

    Raises:
        ReadError: One is missing, or cannot be opened.
        FormatError: One breaks a rule.
    """

    format = "tensorflow-v1"

    def __init__(self, path: str, paths: Sequence[str], *, partial: bool = False) -> None:
        self.path = path
        self._paths = list(paths)
        self._missing = [each for each in paths if not os.path.lexists(each)]
        if not partial:
            self.check_present()
        self._files = [ReadFile(each) for each in paths if each not in self._missing]
        tensors: dict[str, _Tensor] = {}
        for file in self._files:
            self._take(Table(file), tensors)
        whole, sliced = _V1Values(), _V1Slices()
        self.own(whole, sliced)
        self._variables = {
            name: _variable(name, tensors[name], whole, sliced) for name in sorted(tensors, key=encode_name)
        }

    def find(self, name: str) -> Variable | None:
        """Return the variable of this name, or `None`."""
        return self._variables.get(name)

    def variables(self) -> dict[str, Variable]:
        """Return all variables by name, in the order of their names."""
        return self._variables

    def files(self) -> list[str]:
        """Return the paths of its files."""
        return list(self._paths)

    def missing_files(self) -> list[str]:
        """Return the paths of its files that are not there; what only they have is not listed."""
        return list(self._missing)

    def check_present(self) -> None:
        """Raise if a file is not there."""
        if self._missing:
            raise ReadError(
                f"{self._missing[0]}: missing, one of the {len(self._paths)} files of this checkpoint",
                path=self._missing[0],
                hint="copy it to where the others are, they belong together",
            )

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        return "TensorFlow checkpoint (V1)"

    def close(self) -> None:
        """Close its files. Arrays that were read stay valid."""
        for file in self._files:
            file.close()

    def _take(self, table: Table, tensors: dict[str, _Tensor]) -> None:
        """Add what a file says of the tensors that it has slices of."""
        path = table.file.path
        value = table.get(_META_KEY)
        if value is None:
            raise FormatError("the table has no header of a V1 checkpoint", path=path)
        try:
            slices = parse("SavedTensorSlices", value)
            if not slices.HasField("meta"):
                raise MessageError("not a V1 checkpoint's: this is an index that was renamed")
            meta = slices.meta
            if meta.versions.min_consumer > _READER_VERSION:
                raise UnsupportedError(
                    "version of the format",
                    path=path,
                    expected=f"at most {_READER_VERSION}",
                    found=meta.versions.min_consumer,
                )
            for described in meta.tensor:
                dtype = dtypes.BY_NUMBER.get(described.type)
                if dtype is None:
                    raise MessageError(f"{described.name!r}: expected a dtype, got number {described.type}")
                shape = decode_shape(described.shape, dtype)
                tensor = tensors.setdefault(described.name, _Tensor(dtype, shape, []))
                if tensor[:2] != (dtype, shape):
                    raise MessageError(
                        f"{described.name!r}: expected {tensor.dtype} {tensor.shape} as in another file, "
                        f"got {dtype} {shape}"
                    )
                tensor.parts.extend(_Part(table, decode_slice(part)) for part in described.slice)
        except MessageError as error:
            raise FormatError(f"header: {error}", path=path) from error


def _variable(name: str, tensor: _Tensor, whole: _V1Values, sliced: _V1Slices) -> Variable:
    parts = tensor.parts
    if len(parts) == 1 and _covers(parts[0].slice, tensor.shape):
        return _made(name, tensor.dtype, tensor.shape, whole, (name, parts[0]))
    return _made(name, tensor.dtype, tensor.shape, sliced, (name, tensor))


def _covers(part: TensorSlice, shape: tuple[int, ...]) -> bool:
    return len(part.starts) == len(shape) and all(
        start == 0 and length in (FULL, size)
        for start, length, size in zip(part.starts, part.lengths, shape, strict=True)
    )


def _made(name: str, dtype: DType, shape: tuple[int, ...], source: TensorSource, token: object) -> Variable:
    """Return a variable; the bytes of strings are counted when somebody asks."""
    if dtype.kind != "string":
        return Variable(
            name, TensorSpec(dtype, shape, math.prod(shape) * (dtype.itemsize or 0)), source, token
        )

    def measure() -> int:
        return sum(chunk.size for chunk in variable.chunks())

    variable = Variable(name, MeasuredSpec(dtype, shape, measure), source, token)
    return variable


class _V1Values(StreamedSource):
    """The source of tensors, and of slices, that lie in one entry. Their token is a name and a part."""

    def plain_chunks(
        self, variable: Variable, *, max_bytes: int, verify: bool
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `StreamedSource`; blocks are checked whether or not `verify` is asked for."""
        import numpy as np

        from toolkit.formats.bundle import tensor_proto

        entry, path = self._entry(variable)
        step = whole_elements(max_bytes, variable.dtype.itemsize)
        total = 0
        try:
            for values in tensor_proto.values(entry, variable.dtype):
                raw = values.view(np.uint8)
                total += raw.size
                if total > variable.nbytes:
                    break
                for start in range(0, raw.size, step):
                    yield raw[start : start + step]
        except MessageError as error:
            raise FormatError(f"values of {variable.name!r}: {error}", path=path) from error
        self._check_size(variable, total, variable.nbytes, "bytes", path)

    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Implement `StreamedSource`."""
        from toolkit.formats.bundle import tensor_proto

        entry, path = self._entry(variable)
        try:
            elements = tensor_proto.strings(entry)
        except MessageError as error:
            raise FormatError(f"values of {variable.name!r}: {error}", path=path) from error
        self._check_size(variable, len(elements), variable.num_elements, "strings", path)
        return elements

    def _entry(self, variable: Variable) -> tuple[spans.Span, str]:
        name, part = variable.token
        path = part.table.file.path
        if variable.dtype.kind == "handle":
            what = f"{name!r} is of dtype {variable.dtype}, which has no plain values"
            raise UnsupportedError(what, path=path)
        entry = spans.find(part.table, part.slice.key(encode_name(name)))
        if entry is None:
            raise FormatError(f"values of {variable.name!r}: expected an entry, got none", path=path)
        return entry, path

    def _check_size(self, variable: Variable, found: int, expected: int, what: str, path: str) -> None:
        if found != expected:
            raise FormatError(
                f"values of {variable.name!r}", path=path, expected=f"{expected} {what}", found=found
            )


class _V1Slices(SlicedSource):
    """The source of partitioned variables. Their token is a name and all that is known of the tensor."""

    def __init__(self) -> None:
        self._values = _V1Values()

    def slices(self, variable: Variable) -> tuple[Slice, ...]:
        """Implement `Variable.slices`."""
        name, tensor = variable.token
        if not tensor.parts:
            raise FormatError(f"{name!r}: expected slices, got none", path=name)
        path = tensor.parts[0].table.file.path
        slices = []
        try:
            for part in tensor.parts:
                sizes = part.slice.sizes(tensor.shape)
                called = part.slice.named(name, sizes)
                piece = _made(called, tensor.dtype, sizes, self._values, (name, part))
                slices.append(Slice(part.slice.starts, piece))
            check_tiling(tensor.shape, [(part.start, part.variable.shape) for part in slices])
        except SliceError as error:
            raise FormatError(f"partitioned variable {name!r}: {error}", path=path) from error
        return tuple(slices)

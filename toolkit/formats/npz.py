"""Reading `.npz` archives: NumPy arrays, each a `.npy` file in a zip archive. Objects are never loaded.

What NumPy has no dtype for is stored as bytes; then the member `__checkpoint__.npy` has JSON:
`{"tensors": {"MEMBER": {"tf_dtype": "string", "shape": [2], "tf_name": "…"}}}`.

Source: numpy.lib.format's documentation (NEP 1).
"""

from __future__ import annotations

import json
import math
import mmap
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from toolkit import dtypes
from toolkit.checkpoint import TensorSpec, Variable
from toolkit.chunks import CHUNK_BYTES, regroup
from toolkit.dtypes import DType
from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats import descriptions
from toolkit.formats.blocks import block_shape, regions
from toolkit.formats.origins import OBJECTS, ExportedCheckpoint, objects_of, told_of
from toolkit.formats.ranges import unpacked
from toolkit.formats.raw import RawPlace, RawSource
from toolkit.formats.streamed import MeasuredSpec, StreamedSource
from toolkit.names import decode_name

if TYPE_CHECKING:
    from toolkit.formats.archives import Archive

DESCRIPTION = "__checkpoint__.npy"
SUFFIX = ".npy"
_MAX_DESCRIPTION_BYTES = 1 << 28


_DAMAGE = (
    *(ValueError, EOFError, zipfile.BadZipFile, zlib.error, SyntaxError, RecursionError),
    *(NotImplementedError, RuntimeError, SystemError, OSError, OverflowError),
)
"""What zipfile and NumPy raise on members that are damaged."""


class _Array(NamedTuple):
    """What the header of a `.npy` says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    header_bytes: int


class NpzCheckpoint(ExportedCheckpoint):
    """An `.npz` archive.

    Raises:
        FormatError: It breaks a rule.
        UnsupportedError: An array has a dtype that TensorFlow has not, or Python objects.
    """

    format = "npz"

    def __init__(self, archive: Archive) -> None:
        self.path = archive.file.path
        self._archive = archive
        described, objects = self._described()
        plain, streamed = RawSource(), _Members(archive)
        variables: dict[str, Variable] = {}
        told = {}
        self.own(plain, streamed)
        for member in archive.members:
            if member.endswith(SUFFIX) and member != DESCRIPTION:
                more = described.get(member, {})
                variable = self._variable(member, more, plain, streamed)
                if variable.name in variables:
                    self._refuse(member, "its name is another's, too")
                variables[variable.name] = variable
                try:
                    told[variable.name] = told_of(variable.name, more)
                except ValueError as error:
                    self._refuse(member, f"its description in {DESCRIPTION}: {error}")
        self._settle(variables, told, objects)

    def files(self) -> list[str]:
        """Return the path of the archive."""
        return [self.path]

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        return "NumPy archive (.npz)"

    def close(self) -> None:
        """Close the archive. Arrays that were read stay valid."""
        self._archive.close()

    def _variable(self, member: str, more: dict[str, Any], plain: RawSource, streamed: _Members) -> Variable:
        info = self._archive.members[member]
        array = self._header(member)
        dtype, word = self._dtype_of(member, array.dtype)
        size = math.prod(array.shape) * array.dtype.itemsize
        if info.file_size != array.header_bytes + size:
            self._refuse(member, f"expected {array.header_bytes + size} bytes, got {info.file_size}")
        name, shape = member.removesuffix(SUFFIX), array.shape
        if more:
            name, dtype, shape = self._meant(member, more, array)
        if problem := dtypes.shape_problem(dtype, shape):
            self._refuse(member, f"shape: {problem}")
        spec = TensorSpec(dtype, shape, size)
        start = self._archive.offset_of(member)
        if sum(n > 1 for n in array.shape) < 2:
            array = array._replace(fortran=False)  # both orders are one
        if start is not None and not array.fortran and array.dtype.kind not in "SU":
            before = zlib.crc32(self._archive.file.read(start, array.header_bytes))
            place = RawPlace(
                self._archive.file, 0, start + array.header_bytes, None, word, (before, info.CRC)
            )
            return Variable(name, spec, plain, place)
        if array.dtype.kind in "SU":
            spec = MeasuredSpec(dtype, shape, lambda: sum(c.size for c in variable.chunks()))
        variable = Variable(name, spec, streamed, (member, array, word))
        return variable

    def _header(self, member: str) -> _Array:
        try:
            with self._archive.zip.open(member) as file:
                return read_header(file)
        except _DAMAGE as error:
            self._refuse(member, str(error))

    def _dtype_of(self, member: str, found: np.dtype[Any]) -> tuple[DType, int]:
        """Return TensorFlow's dtype, and the bytes of the numbers whose order must be turned round."""
        if found.hasobject:
            raise UnsupportedError(
                f"{member!r}: Python objects, which can run code when loaded and are never opened here",
                path=self.path,
                hint="save it without objects, as arrays of numbers",
            )
        if found.kind in "SU":
            return dtypes.BY_NAME["string"], 0
        dtype = dtypes.BY_NAME.get(found.newbyteorder("=").name)
        if dtype is None or dtype.itemsize != found.itemsize:
            raise UnsupportedError(
                f"{member!r}: NumPy's dtype {found}, which TensorFlow has not",
                path=self.path,
                hint="save it as another dtype",
            )
        word = found.itemsize // (2 if found.kind == "c" else 1) if found.byteorder == ">" else 0
        return dtype, word

    def _meant(self, member: str, more: dict[str, Any], array: _Array) -> tuple[str, DType, tuple[int, ...]]:
        """Return name, dtype and shape of an array that the toolkit described."""
        try:
            own, _ = self._dtype_of(member, array.dtype)
            dtype = dtypes.BY_NAME[more.get("tf_dtype", own.name)]
            shape = tuple(more.get("shape", array.shape))
            name = decode_name(bytes.fromhex(more["tf_name"])) if "tf_name" in more else None
            size = math.prod(array.shape) * array.dtype.itemsize
            if not descriptions.fits(dtype, shape, size) or not isinstance(more.get("crc32c", 0), int):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            self._refuse(member, f"its description in {DESCRIPTION} does not fit it")
        return name if name is not None else member.removesuffix(SUFFIX), dtype, shape

    def _described(self) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
        """Return the toolkit's descriptions of the arrays, by member, and of the file."""
        if DESCRIPTION not in self._archive.members:
            return {}, {}
        if self._archive.members[DESCRIPTION].file_size > _MAX_DESCRIPTION_BYTES:
            self._refuse(DESCRIPTION, f"expected at most {_MAX_DESCRIPTION_BYTES} bytes")
        try:
            with self._archive.zip.open(DESCRIPTION) as file:
                read_header(file)
                document = json.loads(file.read())
            tensors, objects = document["tensors"], objects_of(document.get(OBJECTS, ""))
            if not all(isinstance(described, dict) for described in tensors.values()):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
            self._refuse(DESCRIPTION, f"not a description of tensors: {error}")
        return dict(tensors), objects

    def _refuse(self, member: str, why: str) -> NoReturn:
        raise FormatError(f"{member!r}: {why}", path=self.path)


def read_header(file: IO[bytes]) -> _Array:
    """Return what the header of a `.npy` says, with `file` at its end afterwards.

    Raises:
        ValueError: It is none.
    """
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format, which has names of fields")
    shape, fortran, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return _Array(dtype, shape, fortran, file.tell())


class _Members(StreamedSource):
    """The source of arrays that are compressed, in Fortran's order, or NumPy's strings.

    Their token is the member, what its header says, and the bytes of numbers to be turned round.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def plain_chunks(
        self, variable: Variable, *, max_bytes: int, verify: bool
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `StreamedSource`."""
        _, array, word = variable.token
        itemsize = max(array.dtype.itemsize, 1)
        step = max(max_bytes - max_bytes % itemsize, itemsize)
        pieces = self._in_c_order(variable, step) if array.fortran else self._pieces(variable, step)
        sizes = [step] * (variable.nbytes // step) + [variable.nbytes % step] * bool(variable.nbytes % step)
        for chunk in regroup(pieces, sizes):
            yield chunk.view(f"u{word}").byteswap().view(np.uint8) if word else chunk

    def _in_c_order(self, variable: Variable, size: int) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the bytes of an array in Fortran's order, in C order, a block at a time.

        It is copied into a file that nobody else can shorten, which is mapped.
        """
        member, array, _ = variable.token
        try:
            with self._archive.zip.open(member) as source:
                size_of_all = self._archive.members[member].file_size
                copy = unpacked(source, size_of_all, f"{self._archive.file.path}: {member}")
        except _DAMAGE as error:
            raise FormatError(f"{member!r}: {error}", path=self._archive.file.path) from error
        mapped = mmap.mmap(copy.file.fileno(), copy.size, prot=mmap.PROT_READ)
        raw = np.frombuffer(mapped, np.uint8)[array.header_bytes :]
        values = raw.view(f"V{array.dtype.itemsize}").reshape(array.shape[::-1]).T
        for region in regions(array.shape, block_shape(array.shape, array.dtype.itemsize, size)):
            yield np.ascontiguousarray(values[region]).reshape(-1).view(np.uint8)

    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Implement `StreamedSource`."""
        from toolkit.formats.bundle import strings

        _, array, _ = variable.token
        raw = np.concatenate([*self._pieces(variable, CHUNK_BYTES), np.zeros(0, np.uint8)])
        if array.dtype.kind not in "SU":  # stored as a bundle does, and described
            try:
                return strings.decode(raw, variable.num_elements)[0]
            except strings.StringsError as error:
                raise FormatError(
                    f"strings of {variable.name!r}: {error}", path=self._archive.file.path
                ) from error
        if not array.dtype.itemsize:
            return [b""] * variable.num_elements
        values = raw.view(array.dtype).reshape(array.shape, order="F" if array.fortran else "C").reshape(-1)
        try:
            values.tolist()
        except (SystemError, ValueError) as error:
            path = self._archive.file.path
            raise FormatError(f"strings of {variable.name!r}: {error}", path=path) from error
        return [v if isinstance(v, bytes) else v.encode("utf-8", "surrogatepass") for v in values.tolist()]

    def _pieces(self, variable: Variable, size: int) -> Iterator[np.ndarray[Any, Any]]:
        member, array, _ = variable.token
        try:
            with self._archive.zip.open(member) as file:
                file.read(array.header_bytes)
                while part := file.read(size):
                    yield np.frombuffer(part, np.uint8)
        except _DAMAGE as error:
            raise FormatError(f"{member!r}: {error}", path=self._archive.file.path) from error

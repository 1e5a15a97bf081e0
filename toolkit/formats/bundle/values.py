"""The values of a bundle's variables: mapped as a view, or read in chunks, checked either way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit import checksum
from toolkit.checkpoint import TensorSource, Variable
from toolkit.chunks import whole_elements
from toolkit.errors import ChecksumError, FormatError, UnsupportedError
from toolkit.formats.bundle.data_files import DataFiles
from toolkit.formats.bundle.messages import decode_entry
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.streamed import stored_strings
from toolkit.places import Extent, Place

if TYPE_CHECKING:
    import numpy as np

_MAX_DIMENSIONS = 64
"""Of a NumPy array."""


class BundleValues(TensorSource):
    """The source of the variables that lie in one piece in the data files `data`.

    Args:
        data: The data files.
        big_endian: Whether numbers lie there in the byte order that is not this toolkit's.
    """

    def __init__(self, data: DataFiles, *, big_endian: bool = False) -> None:
        self._data = data
        self._big_endian = big_endian

    def place(self, variable: Variable) -> Place:
        """Implement `Variable.place`: the token of a variable is its entry."""
        place = self._place(variable)
        return place._replace(crc32c=None) if self._word_of(variable) else place

    def extent(self, variable: Variable) -> Extent | None:
        """Implement `Variable.extent`: an index that points at other than little endian is not written."""
        if self._big_endian:
            return None
        place = self._place(variable)
        path, identity = self._data.noted(variable, place)
        return Extent(path, place.offset, place.crc32c or 0, identity)

    def _place(self, variable: Variable) -> Place:
        """Return the place with the checksum of what lies there, whatever its byte order."""
        try:
            entry = decode_entry(variable.token)
        except MessageError as error:
            raise FormatError(f"entry {variable.name!r}: {error}", path=self._data.index) from error
        return Place(entry.shard, entry.offset, entry.crc32c)

    def read(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Implement `Variable.read`."""
        self._check_kind(variable)
        place = self._place(variable)
        values = self._decoded(variable, place, self._data.mapped(variable, place), verify=verify)
        values.flags.writeable = False
        return values

    def load(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Implement `Variable.load`."""
        import numpy as np

        self._check_kind(variable)
        place = self._place(variable)
        file = self._data.open(variable, place)
        raw = np.empty(variable.nbytes, np.uint8)
        file.read_into(raw, place.offset)
        return self._decoded(variable, place, raw, verify=verify)

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `Variable.chunks`."""
        import numpy as np

        from toolkit.formats.bundle.strings import StringChecksum, StringsError

        self._check_kind(variable)
        if self._big_endian and variable.dtype.kind == "string":
            elements = self.load(variable, verify=verify).reshape(-1).tolist()
            yield from stored_strings(elements, max_bytes=max_bytes)
            return
        place = self._place(variable)
        file = self._data.open(variable, place)
        step = whole_elements(max_bytes, variable.dtype.itemsize)
        buffer = np.empty(min(step, variable.nbytes), np.uint8)
        try:
            check = checksum.Running()
            if verify and variable.dtype.kind == "string":
                check = StringChecksum(variable.num_elements, variable.nbytes)
            for start in range(0, variable.nbytes, step):
                chunk = buffer[: min(step, variable.nbytes - start)]
                file.read_into(chunk, place.offset + start)
                if verify:
                    check.update(chunk)
                yield self._swapped(variable, chunk)
            if verify:
                self._compare(variable, place, check.finish())
        except StringsError as error:
            raise self._bad_strings(variable, place, error) from error

    def _decoded(
        self, variable: Variable, place: Place, raw: np.ndarray[Any, Any], *, verify: bool
    ) -> np.ndarray[Any, Any]:
        """Return the values whose stored bytes are `raw`: a view of them, or for strings a copy."""
        import numpy as np

        if variable.dtype.kind == "string":
            elements, computed = self._strings(variable, place, raw)
            values = np.empty(len(elements), object)
            values[:] = elements
        else:
            computed = checksum.crc32c(raw) if verify else 0
            values = self._swapped(variable, raw).view(variable.dtype.numpy)
        if len(variable.shape) > _MAX_DIMENSIONS:
            raise UnsupportedError(
                f"{variable.name!r}: dimensions of an array",
                path=self._data.index,
                expected=f"at most {_MAX_DIMENSIONS}",
                found=len(variable.shape),
                hint="its bytes are read with Variable.chunks",
            )
        if verify:
            self._compare(variable, place, computed)
        return values.reshape(variable.shape)

    def _word_of(self, variable: Variable) -> int:
        """Return the bytes of the numbers whose order must be turned round; 0 if none must."""
        dtype = variable.dtype
        if not self._big_endian or dtype.itemsize == 1:
            return 0
        if dtype.itemsize is None:
            return 1  # strings: nothing is turned round, but the checksum is another
        return dtype.itemsize // (2 if dtype.kind == "complex" else 1)

    def _swapped(self, variable: Variable, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return stored bytes as they are in little endian: a copy if that is another order."""
        word = self._word_of(variable)
        return raw.view(f"u{word}").byteswap().view(raw.dtype) if word > 1 else raw

    def _strings(
        self, variable: Variable, place: Place, raw: np.ndarray[Any, Any]
    ) -> tuple[list[bytes], int]:
        from toolkit.formats.bundle import strings

        try:
            return strings.decode(raw, variable.num_elements, big_endian=self._big_endian)
        except strings.StringsError as error:
            raise self._bad_strings(variable, place, error) from error

    def _check_kind(self, variable: Variable) -> None:
        if variable.dtype.kind == "handle":
            raise UnsupportedError(
                f"{variable.name!r} is of dtype {variable.dtype}, which has no plain values",
                path=self._data.index,
            )
        if variable.dtype.kind == "string" and variable.num_elements > variable.nbytes:
            raise FormatError(
                f"strings of {variable.name!r}",
                path=self._data.index,
                expected=f"{variable.num_elements} bytes or more",
                found=variable.nbytes,
            )

    def _compare(self, variable: Variable, place: Place, computed: int) -> None:
        if place.crc32c is not None and computed != place.crc32c:
            raise ChecksumError(
                repr(variable.name),
                path=self._data.path(place.shard),
                offset=place.offset,
                stored=place.crc32c,
                computed=computed,
            )

    def _bad_strings(self, variable: Variable, place: Place, error: ValueError) -> FormatError:
        return FormatError(
            f"strings of {variable.name!r}: {error}",
            path=self._data.path(place.shard),
            offset=place.offset,
        )

"""The source of variables whose bytes lie in a file as they are: mapped, or read in chunks."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit import checksum
from toolkit.checkpoint import TensorSource, Variable
from toolkit.chunks import whole_elements
from toolkit.errors import ChecksumError, FormatError
from toolkit.formats.file import ReadFile
from toolkit.formats.streamed import array_of_strings
from toolkit.places import NOWHERE, Place

if TYPE_CHECKING:
    import numpy as np


class RawPlace(NamedTuple):
    """Where the bytes of a variable lie: what such a variable has as its token.

    Attributes:
        file: The file.
        shard: Its number among the checkpoint's files.
        offset: Where they begin in it.
        crc32c: Their CRC-32C as they lie there, if the format has it.
        word: Bytes of the numbers whose order must be turned round, 0 if none must.
        crc32: The CRC-32 (zlib's) of what comes before them, and of it all, if the format has that.
    """

    file: ReadFile
    shard: int
    offset: int
    crc32c: int | None = None
    word: int = 0
    crc32: tuple[int, int] | None = None


class _Check:
    """The checksum that a place has, of bytes that come in chunks."""

    def __init__(self, place: RawPlace, variable: Variable) -> None:
        self._place = place
        self._name = variable.name
        self._value = place.crc32[0] if place.crc32 else 0
        self._running = checksum.Running()
        if place.crc32c is not None and variable.dtype.kind == "string":
            from toolkit.formats.bundle.strings import StringChecksum

            if variable.num_elements > variable.nbytes:
                raise FormatError(
                    f"strings of {variable.name!r}: expected {variable.num_elements} bytes or more",
                    path=place.file.path,
                )
            self._running = StringChecksum(variable.num_elements, variable.nbytes)

    def update(self, chunk: np.ndarray[Any, Any]) -> None:
        """Take the next chunk."""
        if self._place.crc32c is not None:
            try:
                self._running.update(chunk)
            except ValueError as error:  # of strings whose lengths cannot be
                path = self._place.file.path
                raise FormatError(f"strings of {self._name!r}: {error}", path=path) from error
        elif self._place.crc32 is not None:
            self._value = zlib.crc32(chunk.data, self._value)

    def compare(self, variable: Variable) -> None:
        """Raise ChecksumError unless it is as stored."""
        place = self._place
        computed = self._value if place.crc32c is None else self._running.finish()
        stored = place.crc32c if place.crc32c is not None else place.crc32 and place.crc32[1]
        if stored is not None and stored != computed:
            raise ChecksumError(
                repr(variable.name),
                path=place.file.path,
                offset=place.offset,
                stored=stored,
                computed=computed,
            )


class RawSource(TensorSource):
    """The source of variables that have a `RawPlace`. Strings lie there as a bundle stores them."""

    def __init__(self) -> None:
        self._maps: dict[str, np.ndarray[Any, Any]] = {}

    def place(self, variable: Variable) -> Place:
        """Implement `Variable.place`."""
        token: RawPlace = variable.token
        if token.word:
            return NOWHERE
        return Place(token.shard, token.offset, token.crc32c)

    def read(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Implement `Variable.read`."""
        import numpy as np

        token: RawPlace = variable.token
        token.file.check_extent(token.offset, variable.nbytes)
        raw = np.zeros(0, np.uint8)
        if variable.nbytes:
            mapped = self._maps.get(token.file.path)
            if mapped is None:
                mapping = mmap.mmap(token.file.fileno(), token.file.size, prot=mmap.PROT_READ)
                mapped = self._maps[token.file.path] = np.frombuffer(mapping, np.uint8)
            raw = mapped[token.offset : token.offset + variable.nbytes]
        values = self._decoded(variable, raw, verify=verify)
        values.flags.writeable = False
        return values

    def load(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Implement `Variable.load`."""
        import numpy as np

        token: RawPlace = variable.token
        token.file.check_extent(token.offset, variable.nbytes)
        raw = np.empty(variable.nbytes, np.uint8)
        token.file.read_into(raw, token.offset)
        return self._decoded(variable, raw, verify=verify)

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `Variable.chunks`."""
        import numpy as np

        token: RawPlace = variable.token
        token.file.check_extent(token.offset, variable.nbytes)
        step = whole_elements(max_bytes, variable.dtype.itemsize)
        buffer = np.empty(min(step, variable.nbytes), np.uint8)
        check = _Check(token, variable)
        for start in range(0, variable.nbytes, step):
            chunk = buffer[: min(step, variable.nbytes - start)]
            token.file.read_into(chunk, token.offset + start)
            if verify:
                check.update(chunk)
            yield _swapped(chunk, token.word)
        if verify:
            check.compare(variable)

    def _decoded(
        self, variable: Variable, raw: np.ndarray[Any, Any], *, verify: bool
    ) -> np.ndarray[Any, Any]:
        token: RawPlace = variable.token
        if verify:
            check = _Check(token, variable)
            check.update(raw)
            check.compare(variable)
        if variable.dtype.kind != "string":
            return _swapped(raw, token.word).view(variable.dtype.numpy).reshape(variable.shape)
        from toolkit.formats.bundle import strings

        try:
            elements, _ = strings.decode(raw, variable.num_elements)
        except strings.StringsError as error:
            raise FormatError(f"strings of {variable.name!r}: {error}", path=token.file.path) from error
        return array_of_strings(elements, variable.shape)


def _swapped(raw: np.ndarray[Any, Any], word: int) -> np.ndarray[Any, Any]:
    return raw.view(f"u{word}").byteswap().view(raw.dtype) if word else raw

"""The source of variables whose bytes are made a chunk at a time: decoded, converted or put together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from toolkit.checkpoint import TensorSource, TensorSpec, Variable
from toolkit.chunks import CHUNK_BYTES
from toolkit.dtypes import DType

if TYPE_CHECKING:
    import numpy as np


class StreamedSource(TensorSource):
    """A source that has `load` and `chunks` where a format says how it comes by plain values and strings."""

    @abstractmethod
    def plain_chunks(
        self, variable: Variable, *, max_bytes: int, verify: bool
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the values as `uint8` arrays of whole elements: C order, little endian."""

    @abstractmethod
    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Return the elements of a string tensor, in C order."""

    def load(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Implement `Variable.load`."""
        import numpy as np

        if variable.dtype.kind == "string":
            return array_of_strings(self.elements(variable, verify=verify), variable.shape)
        raw = np.empty(variable.nbytes, np.uint8)
        filled = 0
        for chunk in self.plain_chunks(variable, max_bytes=CHUNK_BYTES, verify=verify):
            raw[filled : filled + chunk.size] = chunk
            filled += chunk.size
        return raw.view(variable.dtype.numpy).reshape(variable.shape)

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `Variable.chunks`."""
        if variable.dtype.kind == "string":
            yield from stored_strings(self.elements(variable, verify=verify), max_bytes=max_bytes)
        else:
            yield from self.plain_chunks(variable, max_bytes=max_bytes, verify=verify)


class MeasuredSpec(TensorSpec):
    """What a string tensor is whose bytes are counted when somebody asks, because that takes reading it.

    Args:
        dtype: `string`.
        shape: Sizes of the dimensions.
        measure: Returns how many bytes the strings take as a bundle stores them.
    """

    __slots__ = ("_measure", "_nbytes")

    def __init__(self, dtype: DType, shape: tuple[int, ...], measure: Callable[[], int]) -> None:
        self.dtype = dtype
        self.shape = shape
        self._measure = measure
        self._nbytes: int | None = None

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Bytes that the values take as a bundle stores them."""
        if self._nbytes is None:
            self._nbytes = self._measure()
        return self._nbytes


def array_of_strings(elements: list[bytes], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return `elements` as an array of `bytes` objects of that shape."""
    import numpy as np

    values = np.empty(len(elements), object)
    values[:] = elements
    return values.reshape(shape)


def stored_strings(elements: list[bytes], *, max_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray[Any, Any]]:
    """Yield `elements` as a bundle stores them (`bundle/strings.py`), as `uint8` arrays."""
    import numpy as np

    from toolkit.formats.bundle import strings

    flat = np.frombuffer(b"".join(strings.encode(elements)), np.uint8)
    for start in range(0, flat.size, max_bytes):
        yield flat[start : start + max_bytes]

"""Variables that do not exist yet: what a plan's verdicts make, in the form that sinks take.

A sink is given variables and asks them for their bytes; whether these come from a file, an initializer
or a cast is their source's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from toolkit import casting, initializers
from toolkit.checkpoint import Slice, TensorSource, TensorSpec, Variable
from toolkit.chunks import CHUNK_BYTES, regroup, whole_elements
from toolkit.dtypes import DType
from toolkit.formats.bundle import strings
from toolkit.initializers import Spec
from toolkit.places import Extent, Place

Array = np.ndarray[Any, Any]


_MEAN_BYTES = 256 << 10
"""How much of each part of a mean is held at a time: so little that the sums stay in the cache."""


def filled(name: str, like: Variable, spec: Spec, seed: int) -> Variable:
    """Return a variable of the dtype and shape of `like` that `spec` fills.

    Raises:
        UsageError: `spec` has no values of this dtype or shape.
    """
    initializers.check(spec, like.shape, like.dtype, name)
    if like.dtype.kind == "string":
        nbytes = sum(map(len, strings.encode([b""] * like.num_elements)))
    else:
        nbytes = like.num_elements * (like.dtype.itemsize or 0)
    tensor = TensorSpec(like.dtype, like.shape, nbytes)
    return Variable(name, tensor, _Filled(spec, seed, name), None)


def constant(name: str, values: Array, dtype: DType) -> Variable:
    """Return a variable of `dtype` that holds `values`: of its NumPy type, in any byte order, or `bytes`."""
    if dtype.kind == "string":
        nbytes = sum(map(len, strings.encode(list(values.reshape(-1)))))
    else:
        values = values.astype(dtype.numpy, copy=False)
        nbytes = values.size * (dtype.itemsize or 0)
    return Variable(name, TensorSpec(dtype, values.shape, nbytes), _Constant(values), None)


def mean(name: str, parts: Sequence[Variable], weights: Sequence[float]) -> Variable:
    """Return the variable whose values are the weighted means of those of `parts`, element by element.

    They are added up in double precision, a chunk of each at a time, and rounded once.

    Args:
        name: What it is called.
        parts: Floating-point or complex, all of one dtype and shape.
        weights: One for each; they add up to 1. Where one is negative the result may be too large for the
            dtype: then taking the values raises MismatchError.
    """
    return Variable(name, parts[0].spec, _Mean(parts, weights), None)


def cast(variable: Variable, dtype: DType, name: str, *, clip: bool | None = None) -> Variable:
    """Return `variable` under `name` with its values in `dtype`.

    Args:
        variable: Whose values.
        dtype: What they become.
        name: What it is called.
        clip: Let values beyond what `dtype` can say become the nearest that it can; `None` where that
            is not offered.

    Raises:
        UsageError: Its values cannot be cast to that dtype.
    """
    casting.check(variable.name, variable.dtype, dtype)
    nbytes = variable.num_elements * (dtype.itemsize or 0)
    return Variable(name, TensorSpec(dtype, variable.shape, nbytes), _Cast(variable, clip), None)


def describe_cast(variable: Variable, dtype: DType) -> str:
    """Return what a cast does to the values, with the largest error; for that they are read.

    Raises:
        MismatchError: Some do not fit `dtype`.
        FormatError, ReadError: They cannot be read.
    """
    casting.check(variable.name, variable.dtype, dtype)
    text = casting.describe(variable.dtype, dtype)
    if text.endswith("exact"):
        return text
    largest = 0.0
    lost = casting.Lost(variable.name, dtype, variable.num_elements)
    for chunk in variable.chunks():
        values = chunk.view(variable.dtype.numpy)
        made, unfit = casting.converted(values, dtype)
        lost.add(unfit)
        largest = max(largest, casting.largest_error(values, made))
    lost.check()
    return f"{text}; the largest error is {largest:.3g}" if largest else f"{text}; here it is exact"


Progress = Callable[[int], None]
"""Is told how many bytes were handed on, a chunk at a time."""


def watched(variable: Variable, progress: Progress) -> Variable:
    """Return `variable`, of which `progress` is told each chunk that is taken."""
    return Variable(variable.name, variable.spec, _Watched(variable, progress), variable.token)


class _Filled(TensorSource):
    """The source of a variable that an initializer fills."""

    def __init__(self, spec: Spec, seed: int, name: str) -> None:
        self._spec = spec
        self._seed = seed
        self._name = name

    def load(self, variable: Variable, *, verify: bool) -> Array:
        # by the name it was made for: a copy of it under another name has the same values
        return initializers.values(
            self._spec, variable.shape, variable.dtype, seed=self._seed, name=self._name
        )

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[Array]:
        if variable.dtype.kind == "string":
            elements = self.load(variable, verify=verify).reshape(-1).tolist()
            flats = iter([np.frombuffer(b"".join(strings.encode(elements)), np.uint8)])
        else:
            blocks = initializers.blocks(
                self._spec, variable.shape, variable.dtype, seed=self._seed, name=self._name
            )
            flats = (block.view(np.uint8) for block in blocks)
        step = whole_elements(max_bytes, variable.dtype.itemsize)
        for flat in flats:
            for start in range(0, flat.size, step):
                yield flat[start : start + step]


class _Constant(TensorSource):
    """The source of a variable whose values are at hand."""

    def __init__(self, values: Array) -> None:
        self._values = values

    def load(self, variable: Variable, *, verify: bool) -> Array:
        return self._values.copy()

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[Array]:
        if variable.dtype.kind == "string":
            flat = np.frombuffer(b"".join(strings.encode(list(self._values.reshape(-1)))), np.uint8)
        else:
            flat = np.ascontiguousarray(self._values).reshape(-1).view(np.uint8)
        step = whole_elements(max_bytes, variable.dtype.itemsize)
        for start in range(0, flat.size, step):
            yield flat[start : start + step]


class _Mean(TensorSource):
    """The source of a variable that is the mean of others."""

    def __init__(self, parts: Sequence[Variable], weights: Sequence[float]) -> None:
        self._parts = parts
        self._weights = weights

    def load(self, variable: Variable, *, verify: bool) -> Array:
        chunks = [chunk.copy() for chunk in self.chunks(variable, max_bytes=CHUNK_BYTES, verify=verify)]
        flat = np.concatenate([*chunks, np.zeros(0, np.uint8)])
        return flat.view(variable.dtype.numpy).reshape(variable.shape)

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[Array]:
        step = whole_elements(min(max_bytes, _MEAN_BYTES), variable.dtype.itemsize)
        rounded = variable.dtype.numpy
        wide: Any = np.complex128 if variable.dtype.kind == "complex" else np.float64
        sizes = [min(step, variable.nbytes - start) for start in range(0, variable.nbytes, step)]
        read = [regroup(part.chunks(max_bytes=step, verify=verify), sizes) for part in self._parts]
        totals, scratch = np.empty((2, step // rounded.itemsize), wide)
        can_overflow = min(self._weights, default=0) < 0  # a mean lies between what it is of
        lost = casting.Lost(variable.name, variable.dtype, variable.num_elements)
        for chunks in zip(*read, strict=True):
            size = chunks[0].size // rounded.itemsize
            total, weighted = totals[:size], scratch[:size]
            total[:] = 0
            with np.errstate(all="ignore"):  # infinities and NaN are what they are
                for chunk, weight in zip(chunks, self._weights, strict=True):
                    np.multiply(chunk.view(rounded), weight, out=weighted, dtype=wide, casting="unsafe")
                    total += weighted
                result = total.astype(rounded)
                if can_overflow:
                    lost.add(total[~np.isfinite(result) & np.isfinite(total)])
            if not lost:  # else the rest is counted, to be told in one error
                yield result.view(np.uint8)
        lost.check()


class _Cast(TensorSource):
    """The source of a variable that has the values of another in its own dtype."""

    def __init__(self, original: Variable, clip: bool | None) -> None:
        self._original = original
        self._clip = bool(clip)
        self._hint = ", or --clip" if clip is False else ""

    def load(self, variable: Variable, *, verify: bool) -> Array:
        values = self._original.load(verify=verify)
        return casting.cast(values, variable.dtype, variable.name, clip=self._clip)

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[Array]:
        original = self._original
        itemsizes = original.dtype.itemsize or 1, variable.dtype.itemsize or 1
        max_bytes = max_bytes * itemsizes[0] // max(itemsizes)
        lost = casting.Lost(variable.name, variable.dtype, variable.num_elements, self._hint)
        for chunk in original.chunks(max_bytes=max_bytes, verify=verify):
            values, unfit = casting.converted(
                chunk.view(original.dtype.numpy), variable.dtype, clip=self._clip
            )
            lost.add(unfit)
            if not lost:  # else the rest is counted, to be told in one error
                yield values.view(np.uint8)
        lost.check()


class _Watched(TensorSource):
    """The source of a variable whose chunks are counted as they go."""

    def __init__(self, original: Variable, progress: Progress) -> None:
        self._original = original
        self._progress = progress

    def place(self, variable: Variable) -> Place:
        return self._original.place

    def extent(self, variable: Variable) -> Extent | None:
        return self._original.extent

    def slices(self, variable: Variable) -> tuple[Slice, ...]:
        return self._original.slices

    def read(self, variable: Variable, *, verify: bool) -> Array:
        return self._original.read(verify=verify)

    def load(self, variable: Variable, *, verify: bool) -> Array:
        values = self._original.load(verify=verify)
        self._progress(variable.nbytes)
        return values

    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[Array]:
        for chunk in self._original.chunks(max_bytes=max_bytes, verify=verify):
            yield chunk
            self._progress(chunk.size)

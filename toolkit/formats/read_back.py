"""Reading again what was written, to know that it is what it was meant to be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from toolkit import checksum
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.chunks import CHUNK_BYTES
from toolkit.dtypes import DType
from toolkit.errors import MismatchError
from toolkit.formats.file import ReadFile

if TYPE_CHECKING:
    import numpy as np

Expected = Mapping[str, tuple[DType, tuple[int, ...], int | None]]
"""Dtype, shape and, where it is known, CRC-32C of each variable's values, by name."""


def check_written(written: Checkpoint, expected: Expected) -> None:
    """Read all of `written` and compare it with what it should hold.

    Raises:
        FormatError, ReadError: It does not read.
        MismatchError: It has other variables, or one of another dtype, shape or value.
    """
    check_names(written, expected)
    for name, (dtype, shape, crc) in expected.items():
        _check(written.path, written[name], dtype, shape, crc)


def check_names(written: Checkpoint, expected: Collection[str]) -> None:
    """Raise MismatchError unless `written` has just the variables that are `expected`."""
    if names := sorted(written.variables().keys() ^ set(expected)):
        raise MismatchError(
            f"{written.path}: was written with other variables: {', '.join(names[:5])}",
            name=names[0],
            expected=len(expected),
            found=len(written),
        )


def check_value_of(path: str, stored: Variable, original: Variable) -> None:
    """Read a variable that was written to `path`, and compare it with the one that it was made of.

    Raises:
        ChecksumError: The original was damaged.
        MismatchError: It differs.
        FormatError, ReadError: One of them does not read.
    """
    if original.dtype.kind == "handle":  # what their checksum is of, TensorFlow alone knows
        if (expected := _raw_checksum(original)) != (found := _raw_checksum(stored)):
            raise MismatchError(
                f"{path}: {stored.name} was not written as it is",
                name=stored.name,
                expected=expected,
                found=found,
            )
        return
    try:
        _check(path, stored, original.dtype, original.shape, original.crc32c)
    except MismatchError:
        checksum_of(original)  # if that was damaged, this says so
        raise


def _check(path: str, stored: Variable, dtype: DType, shape: tuple[int, ...], crc: int | None) -> None:
    """Raise MismatchError unless `stored`, which is read, is of this dtype, shape and, if known, CRC-32C."""
    found = stored.dtype, stored.shape, checksum_of(stored, verify=False)
    known = crc if crc is not None else stored.crc32c
    if found[:2] != (dtype, shape) or (known is not None and found[2] != known):
        raise MismatchError(
            f"{path}: {stored.name} was not written as it is: expected {dtype} {shape} with "
            f"checksum {known}, got {found[0]} {found[1]} with {found[2]}",
            name=stored.name,
            expected=(dtype, shape, known),
            found=found,
        )


def _raw_checksum(variable: Variable) -> int:
    """Return the CRC-32C of the bytes of a variable as they lie in a data file."""
    extent = variable.extent
    assert extent is not None
    file = ReadFile(extent.path)
    running = checksum.Running()
    for start in range(0, variable.nbytes, CHUNK_BYTES):
        running.update(file.read(extent.offset + start, min(CHUNK_BYTES, variable.nbytes - start)))
    file.close()
    return running.finish()


def checksum_of(
    variable: Variable, *, verify: bool = True, moved: Callable[[int], None] = lambda nbytes: None
) -> int:
    """Return the CRC-32C of a variable's values as a bundle stores them, having read them.

    Args:
        variable: Which.
        verify: Compare what is read with the checksum that its own file has.
        moved: Is told the size of each chunk that was read.
    """
    if variable.dtype.kind == "string":
        from toolkit.formats.bundle.strings import StringChecksum

        running: checksum.Running = StringChecksum(variable.num_elements, variable.nbytes)
    else:
        running = checksum.Running()
    for chunk in variable.chunks(verify=verify):
        running.update(chunk)
        moved(chunk.size)
    return running.finish()


def is_equal(one: Variable, other: Variable) -> bool:
    """Return whether two variables are of one dtype and shape and, by their checksums, of equal values.

    Those without a checksum of the whole are read.
    """
    if one.dtype is not other.dtype or one.shape != other.shape or one.nbytes != other.nbytes:
        return False
    ours, theirs = one.crc32c, other.crc32c
    return (checksum_of(one) if ours is None else ours) == (checksum_of(other) if theirs is None else theirs)


def check_value(name: str, value: np.ndarray[Any, Any], stored: Variable) -> None:
    """Raise unless `value`, an array, has the bits of a checkpoint's variable.

    Raises:
        MismatchError: It has not.
        FormatError, ReadError: The checkpoint's cannot be read.
    """
    import numpy as np

    expected = stored.crc32c if stored.crc32c is not None else checksum_of(stored)
    value = np.asarray(value)
    if stored.dtype.kind == "string":
        from toolkit.formats.bundle import strings

        parts = strings.encode(value.reshape(-1).tolist())
        running: checksum.Running = strings.StringChecksum(value.size, sum(map(len, parts)))
        for part in parts:
            running.update(np.frombuffer(part, np.uint8))
    else:
        running = checksum.Running()
        running.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    if (found := running.finish()) != expected:
        raise MismatchError(
            f"{name}: has other values than {stored.name} in the checkpoint: expected those with checksum "
            f"{expected}, got {found}",
            name=name,
            expected=expected,
            found=found,
            hint="something else wrote to it meanwhile, or the memory is at fault",
        )

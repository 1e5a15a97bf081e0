"""Reading again what was written, to know that it is what it was meant to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit import checksum
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import DType
from toolkit.errors import MismatchError

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
    path = written.path
    if set(written) != set(expected):
        names = sorted(set(written) ^ set(expected))
        raise MismatchError(
            f"{path}: was written with other variables: {', '.join(names[:5])}",
            name=names[0],
            expected=len(expected),
            found=len(written),
        )
    for name, (dtype, shape, crc) in expected.items():
        variable = written[name]
        found = variable.dtype, variable.shape, checksum_of(variable, verify=False)
        known = crc if crc is not None else variable.crc32c
        if found[:2] != (dtype, shape) or (known is not None and found[2] != known):
            raise MismatchError(
                f"{path}: {name} was not written as it is: expected {dtype} {shape} with "
                f"checksum {known}, got {found[0]} {found[1]} with {found[2]}",
                name=name,
                expected=(dtype, shape, known),
                found=found,
            )


def checksum_of(variable: Variable, *, verify: bool = True) -> int:
    """Return the CRC-32C of a variable's values as a bundle stores them, having read them.

    Args:
        variable: Which.
        verify: Compare what is read with the checksum that its own file has.
    """
    if variable.dtype.kind == "string":
        from toolkit.formats.bundle.strings import StringChecksum

        running: checksum.Running = StringChecksum(variable.num_elements, variable.nbytes)
    else:
        running = checksum.Running()
    for chunk in variable.chunks(verify=verify):
        running.update(chunk)
    return running.finish()


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

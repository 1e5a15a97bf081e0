"""Reading a bundle again after it was written, to know that it is what it was meant to be."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.dtypes import DType
from toolkit.errors import MismatchError
from toolkit.formats.bundle.reader import BundleCheckpoint

Expected = Mapping[str, tuple[DType, tuple[int, ...], int | None]]
"""Dtype, shape and, where it is known, CRC-32C of each variable, by name."""


def check_bundle(prefix: str, expected: Expected) -> None:
    """Read all of the bundle at `prefix` and compare it with what it should hold.

    Raises:
        ChecksumError, FormatError, ReadError: It does not read.
        MismatchError: It has other variables, or one of another dtype, shape or value.
    """
    with BundleCheckpoint(prefix) as written:
        if set(written) != set(expected):
            names = sorted(set(written) ^ set(expected))
            raise MismatchError(
                f"{prefix}: was written with other variables: {', '.join(names[:5])}",
                name=names[0],
                expected=len(expected),
                found=len(written),
            )
        for name, (dtype, shape, crc) in expected.items():
            variable = written[name]
            for _ in variable.chunks():
                pass
            found = variable.dtype, variable.shape, variable.crc32c
            if found[:2] != (dtype, shape) or (crc is not None and found[2] != crc):
                raise MismatchError(
                    f"{prefix}: {name} was not written as it is: expected {dtype} {shape} with "
                    f"checksum {crc}, got {found[0]} {found[1]} with {found[2]}",
                    name=name,
                    expected=(dtype, shape, crc),
                    found=found,
                )

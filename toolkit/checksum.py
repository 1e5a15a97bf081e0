"""CRC-32C, and the masked form in which TensorFlow stores it.

Source: tensorflow/core/lib/hash/crc32c.h (Mask, Unmask); the polynomial is Castagnoli's.
"""

from __future__ import annotations

from typing import Any

import google_crc32c

_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | Any, crc: int = 0) -> int:
    """Return the CRC-32C of `data`, continued from `crc`.

    Args:
        data: `bytes`, or a contiguous NumPy array. The C library takes no memoryview.
        crc: The checksum of what comes before `data`; 0 where nothing does.
    """
    return int(google_crc32c.extend(crc, data))


def mask(crc: int) -> int:
    """Return `crc` as it is stored: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(stored: int) -> int:
    """Return the CRC-32C that `mask` made `stored` from."""
    rotated = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


class Running:
    """The CRC-32C of bytes that come in chunks: `update` with each, then `finish` for the value."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, chunk: Any) -> None:
        """Take the next chunk."""
        self._value = crc32c(chunk, self._value)

    def finish(self) -> int:
        """Return the checksum of all chunks."""
        return self._value

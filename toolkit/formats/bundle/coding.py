"""Variable-length integers as LevelDB and protocol buffers write them.

    value  300 = 0b10_0101100      bytes  AC 02
                                          │  └ 0·0000010  high 7 bits, no continuation
                                          └─── 1·0101100  low 7 bits, more follow

Source: tensorflow/core/lib/core/coding.cc.
"""

from __future__ import annotations


class CodingError(ValueError):
    """Bytes are not a varint. The caller knows the file and says so with its name."""


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint64 at `position` of `data` and the position after it.

    Raises:
        CodingError: `data` ends inside it, or it does not fit 64 bits.
    """
    value = shift = 0
    while True:
        if position >= len(data):
            raise CodingError("varint cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise CodingError("varint above 64 bits")
            return value, position
        shift += 7
        if shift > 63:
            raise CodingError("varint longer than 10 bytes")


def encode_varint(value: int) -> bytes:
    """Return the varint of a `value` from 0 to 2**64 - 1."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

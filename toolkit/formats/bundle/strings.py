"""String tensors as a bundle stores them.

    lengths   one varint an element, in order
    check     masked CRC-32C of the lengths (uint32)
    bytes     the elements, one after another

Both checksums, this one and the entry's, see a length not as its varint but as a uint32 in the order of
the file, mostly little endian (uint64 where it is above 0xFFFFFFFF). The entry's runs over the lengths so
seen, the four bytes of the check as stored, and the bytes.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, WriteStringTensor and ReadStringTensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from toolkit import checksum
from toolkit.formats.bundle import varints
from toolkit.formats.bundle.coding import encode_varint

_CHECK_BYTES = 4

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class StringsError(ValueError):
    """Stored strings break a rule. The caller knows the file and says so with its name."""


def encode(elements: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the stored form of `elements`: their lengths with the check, and their bytes."""
    lengths = np.array([len(element) for element in elements], np.uint64)
    check = checksum.mask(checksum.crc32c(_as_checksummed(lengths)))
    head = b"".join(encode_varint(len(element)) for element in elements)
    return head + check.to_bytes(_CHECK_BYTES, "little"), b"".join(elements)


def decode(stored: Bytes, num_elements: int, *, big_endian: bool = False) -> tuple[list[bytes], int]:
    """Return the elements, copied, and the checksum that their entry should have.

    Raises:
        StringsError: The lengths do not fill `stored`, or are not what their check says.
    """
    check = StringChecksum(num_elements, stored.size, big_endian=big_endian)
    check.update(stored)
    crc = check.finish()
    data = stored.tobytes()
    lengths = check.lengths.tolist()
    position = stored.size - sum(lengths)
    elements = []
    for length in lengths:
        elements.append(data[position : position + length])
        position += length
    return elements, crc


class StringChecksum(checksum.Running):
    """The CRC-32C of a string tensor whose stored bytes come in chunks.

    Attributes:
        lengths: Those seen so far, in bytes, as `uint64`.

    Args:
        num_elements: Elements of the tensor.
        nbytes: Bytes that all chunks have together.
        big_endian: Whether lengths and checks are seen in that order, as in a big-endian bundle.

    Raises:
        StringsError: They cannot hold that many elements.
    """

    def __init__(self, num_elements: int, nbytes: int, *, big_endian: bool = False) -> None:
        super().__init__()
        self._order: Literal["little", "big"] = "big" if big_endian else "little"
        if num_elements + _CHECK_BYTES > nbytes:
            raise StringsError(
                f"expected {num_elements + _CHECK_BYTES} bytes or more for {num_elements} strings, "
                f"got {nbytes}"
            )
        self.lengths = np.zeros(0, np.uint64)
        self._missing = num_elements
        self._nbytes = nbytes
        self._head_bytes = 0
        self._rest = np.zeros(0, np.uint8)  # the beginning of a varint that the last chunk cut
        self._check = b""

    def update(self, chunk: Bytes) -> None:
        """Take the next chunk.

        Raises:
            StringsError: What it holds cannot be.
        """
        if self._missing:
            chunk = self._take_lengths(np.concatenate([self._rest, chunk]))
            if self._missing:
                self._rest = chunk
                return
        if len(self._check) < _CHECK_BYTES:
            chunk = self._take_check(chunk)
        super().update(chunk)

    def finish(self) -> int:
        """Return the checksum of all chunks.

        Raises:
            StringsError: They ended within the lengths.
        """
        if len(self._check) < _CHECK_BYTES:
            raise StringsError(f"expected all lengths within {self._nbytes} bytes, got fewer")
        return super().finish()

    def _take_lengths(self, chunk: Bytes) -> Bytes:
        """Decode the varints that end in `chunk`, as many as are missing; return what follows."""
        try:
            lengths, used = varints.decode(chunk, self._missing)
        except ValueError:
            raise StringsError(f"expected lengths of at most {varints.MAX_BYTES} bytes, got more") from None
        super().update(_as_checksummed(lengths, self._order))
        self.lengths = np.concatenate([self.lengths, lengths])
        self._missing -= lengths.size
        self._head_bytes += used
        return chunk[used:]

    def _take_check(self, chunk: Bytes) -> Bytes:
        """Take the four bytes of the check, compare them, and return what follows."""
        taken = chunk[: _CHECK_BYTES - len(self._check)].tobytes()
        self._check += taken
        if len(self._check) == _CHECK_BYTES:
            stored = checksum.unmask(int.from_bytes(self._check, self._order))
            if stored != super().finish():
                raise StringsError(
                    f"expected lengths with checksum {stored:#010x}, got {super().finish():#010x}"
                )
            super().update(self._check)
            room = self._nbytes - self._head_bytes - _CHECK_BYTES
            if (total := sum(self.lengths.tolist())) != room:
                raise StringsError(f"expected lengths that sum to {room} bytes, got {total}")
        return chunk[len(taken) :]


def _as_checksummed(lengths: np.ndarray[Any, Any], order: Literal["little", "big"] = "little") -> bytes:
    """Return `lengths` as the checksums see them."""
    wide = lengths > 0xFFFFFFFF
    if not wide.any():
        return lengths.astype(">u4" if order == "big" else "<u4").tobytes()
    return b"".join(
        length.to_bytes(8 if is_wide else 4, order)
        for length, is_wide in zip(lengths.tolist(), wide.tolist(), strict=True)
    )

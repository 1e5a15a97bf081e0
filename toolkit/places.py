"""Where the bytes of a variable lie: in a file as they are, and in which."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where the bytes of a variable lie.

    Attributes:
        shard: Number of the data file, from 0.
        offset: Where they begin in it, in bytes.
        crc32c: Their CRC-32C, unmasked; `None` where the format keeps none.
    """

    shard: int
    offset: int
    crc32c: int | None


NOWHERE = Place(-1, 0, None)
"""The place of a variable whose values do not lie in a file as they are."""


class Extent(NamedTuple):
    """The bytes of a variable in a data file of a bundle, as they are stored there.

    Attributes:
        path: Of the data file.
        offset: Where they begin in it, in bytes.
        crc32c: Their CRC-32C as the index has it, unmasked.
        identity: What tells the file from another, as it was when its index was read: device, inode, size
            and time of the last change (ns).
    """

    path: str
    offset: int
    crc32c: int
    identity: tuple[int, int, int, int]

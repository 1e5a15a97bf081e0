"""Sizes as people write them."""

from __future__ import annotations

import re

from toolkit.errors import UsageError


def parse_size(size: str | int) -> int:
    """Return the bytes that `500MB`, `2GiB` or a number says.

    Raises:
        UsageError: It is none, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", str(size), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UsageError(f"{size!r}: not a size", hint="write 500MB, or 2GiB")
    unit = 1024 if match[3] else 1000
    return int(float(match[1]) * unit ** " KMGT".index(match[2].upper() or " "))

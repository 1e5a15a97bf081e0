"""Numbers and sizes, as people write and read them."""

from __future__ import annotations

import re

from toolkit.errors import UsageError


def size(nbytes: int) -> str:
    """Return a number of bytes in the unit that suits it: `512 B`, `1.5 KiB`, `2.0 GiB`."""
    amount = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{nbytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 variable`, `20,000 variables`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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

"""Numbers for people."""

from __future__ import annotations


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


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, the middle left out; both ends of a name matter."""
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"

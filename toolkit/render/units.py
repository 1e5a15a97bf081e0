"""Numbers for people."""

from __future__ import annotations

from collections.abc import Sequence


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


def shorten(names: Sequence[str], width: int) -> list[str]:
    """Return names in at most `width` characters each: cut so that they can best be told apart.

    That is in the middle, or where more names differ then, at the beginning.
    """
    if max(map(len, names), default=0) <= width:
        return list(names)
    tail = (width - 1) * 2 // 3
    head = width - 1 - tail
    middle = [n if len(n) <= width else f"{n[:head]}…{n[-tail:]}" for n in names]
    end = [n if len(n) <= width else f"…{n[1 - width :]}" for n in names]
    return middle if len(set(middle)) >= len(set(end)) else end

"""The patterns of a command line, from its arguments and from `--select-from`."""

from __future__ import annotations

import sys

from toolkit.errors import ReadError, UsageError


def gather(arguments: list[str] | None, select_from: str | None) -> list[str]:
    """Return all patterns that were given; blank lines of a file, and those with `#`, mean nothing.

    Raises:
        ReadError: The file cannot be read.
        UsageError: The file has no pattern.
    """
    patterns = list(arguments or ())
    if select_from is None:
        return patterns
    try:
        if select_from == "-":
            text = sys.stdin.read().removeprefix("\ufeff")
        else:
            with open(select_from, encoding="utf-8-sig", errors="surrogateescape") as file:
                text = file.read()
    except OSError as error:
        raise ReadError(f"{select_from}: {(error.strerror or '').lower()}", path=select_from) from error
    found = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise UsageError(f"{select_from}: no patterns in it", hint="write one a line")
    return patterns + found

"""A JSON object in a file, read strictly: a key that stands twice is an error."""

from __future__ import annotations

import json
from typing import Any

from toolkit.errors import FormatError
from toolkit.formats.file import ReadFile

MAX_BYTES = 100_000_000
"""Of a safetensors header (the specification's own limit), and of any other object that is read here."""


def read_object(file: ReadFile, offset: int = 0, size: int | None = None) -> dict[str, Any]:
    """Return the JSON object in `size` bytes of `file` at `offset`; by default, in the whole file.

    Raises:
        FormatError: There is none, or it is longer than `MAX_BYTES`.
    """
    size = file.size - offset if size is None else size
    if size > MAX_BYTES:
        raise FormatError("size", path=file.path, expected=f"at most {MAX_BYTES}", found=size)
    try:
        document = json.loads(file.read(offset, size), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"JSON: {error}", path=file.path, offset=offset) from error
    if not isinstance(document, dict):
        raise FormatError(
            "JSON", path=file.path, offset=offset, expected="an object", found=type(document).__name__
        )
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found

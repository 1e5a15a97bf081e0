"""Names as they may be shown and sorted, and as they may be stored where `/` and NUL have a meaning."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

_MOST_DIGITS = 0x10FFFF
"""Of a number in a name that is compared as a number: as many as there are characters to count them with."""


def printable(text: str) -> str:
    r"""Return `text` with everything a terminal would act on, or not show, as an escape sequence.

    Control characters, bidirectional marks, zero-width characters, line separators and bytes that
    are not UTF-8 (carried as lone surrogates) become `\x1b`, `\u202e` and so on. Other text comes
    back unchanged. The result is for showing; it is not meant to be read back.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def decode_name(raw: bytes) -> str:
    """Return the name stored as `raw`: UTF-8, other bytes as lone surrogates (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """Return the bytes that `decode_name` made `name` from."""
    return name.encode("utf-8", "surrogateescape")


def parents(name: str) -> list[str]:
    """Return the scopes that `name` lies in, innermost first: `a/b/c` gives `a/b`, `a`."""
    found = []
    while (cut := name.rfind("/")) > 0:
        name = name[:cut]
        found.append(name)
    return found


def natural_key(name: str) -> str:
    """Return a sort key for `name`: `conv2d_2` comes before `conv2d_10`, and `a/b` before `a_1`."""
    scope, slash, leaf = name.rpartition("/")
    return (_scope_key(scope) if slash else "") + _digits_by_size(leaf)


@functools.lru_cache(100_000)
def _scope_key(scope: str) -> str:
    return "".join(_digits_by_size(segment) + "\0" for segment in scope.split("/"))


@functools.lru_cache(100_000)
def _digits_by_size(segment: str) -> str:
    """Return `segment` with the number of its digits before each whole number: more digits are more."""
    if segment.isascii() and segment.isalpha():
        return segment
    return re.sub("[0-9]+", _with_size, segment)


def _with_size(match: re.Match[str]) -> str:
    digits = match[0].lstrip("0")
    return f"0{chr(min(len(digits) + 1, _MOST_DIGITS))}{digits}"


def nearest(name: str, candidates: Collection[str], *, count: int = 3) -> list[str]:
    """Return up to `count` of `candidates` that resemble `name`, best first.

    A candidate that ends in the same last segments, or that differs in case alone, comes before
    those that are near by spelling.
    """
    import difflib

    leaf = name.rsplit("/", 1)[-1]
    pool = list(candidates)
    if len(pool) > 2000:  # spelling is compared pair by pair, which is slow over many names
        related = [c for c in pool if leaf in c]
        pool = related[:2000] if related else pool[:2000]
    same = [name] if name in candidates else []
    same += [c for c in pool if c.lower() == name.lower() or c.endswith("/" + name)]
    near = difflib.get_close_matches(name, pool, n=count, cutoff=0.6)
    return list(dict.fromkeys([*same, *near]))[:count]


def to_path(name: str, *, above: str | None = None) -> str:
    """Return `name` as a path in a file where `/` separates groups (HDF5).

    Args:
        name: The variable's name.
        above: The outermost variable whose name is a scope of this one, if there is one. It is a
            dataset, which cannot also be a group, so below it each `/` is escaped: with
            `conv1/kernel` above, `conv1/kernel/Adam` becomes `conv1/kernel%2FAdam`.

    The escape is a percent sign and the byte in two hexadecimal digits. `%`, NUL and bytes that are
    not UTF-8 are escaped everywhere, and a segment that the file format would drop or follow
    (empty, `.`, `..`) is changed: an empty one is written `%`, a dot `%2E`.
    """
    scopes = 0 if above is None else above.count("/") + 1
    path = ""
    for i, segment in enumerate(name.split("/")):
        if i:
            path += "%2F" if scopes and i >= scopes else "/"
        if segment in (".", ".."):
            path += segment.replace(".", "%2E")
        else:
            path += "".join(_escaped(c) if _is_special(c) else c for c in segment) or "%"
    return path


def from_path(path: str) -> str:
    """Return the name that `to_path` made `path` from."""
    segments = ["" if s == "%" else s for s in path.replace("%2F", "/").split("/")]
    raw = bytearray()
    text = "/".join(segments)
    position = 0
    while (cut := text.find("%", position)) >= 0:
        raw += text[position:cut].encode("utf-8")
        raw.append(int(text[cut + 1 : cut + 3], 16))
        position = cut + 3
    raw += text[position:].encode("utf-8")
    return decode_name(bytes(raw))


def _is_special(character: str) -> bool:
    return character in "%\0" or "\ud800" <= character <= "\udfff"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in encode_name(character))

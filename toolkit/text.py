"""Text in the columns of a terminal: how wide it is, how it is cut, wrapped and put in tables."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence

ELLIPSIS = "…"
_SHARES = (1 / 3, 1 / 2, 2 / 3, 0.0, 1 / 5, 4 / 5)
"""How much of what is left of a name is its beginning, in the order in which that is tried."""
_WORD_ENDS = "/_."
"""What words of names end with."""
_MAX_COMPARED = 512
"""How many names are compared with each other, each with all: 250,000 pairs take a tenth of a second."""
_MAX_ROUNDS = 16
"""How often what names that look the same have in common is left out of them."""


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: letters of East Asia take two."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def padded(text: str, width: int) -> str:
    """Return `text` with spaces after it, in `width` columns."""
    return text.ljust(width) if text.isascii() else text + " " * (width - columns(text))


def beginning(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits in `width` columns."""
    if text.isascii():
        return text[: max(width, 0)]
    for cut, character in enumerate(text):
        width -= _columns_of(character)
        if width < 0:
            return text[:cut]
    return text


def ending(text: str, width: int) -> str:
    """Return as much of the end of `text` as fits in `width` columns."""
    if text.isascii():
        return text[-width:] if width > 0 else ""
    for cut in range(len(text), 0, -1):
        width -= _columns_of(text[cut - 1])
        if width < 0:
            return text[cut:]
    return text


def shortened(text: str, width: int, *, share: float = 1 / 3) -> str:
    """Return `text` in at most `width` columns, with `…` in place of its middle where it is wider.

    Args:
        text: What to shorten.
        width: Columns.
        share: How much of what is left is the beginning; 0 leaves the end alone.
    """
    if columns(text) <= width:
        return text
    head = width - 1 - int((width - 1) * (1 - share))
    return (beginning(text, head) + ELLIPSIS + ending(text, width - 1 - head))[: max(width, 0)]


def shorten(names: Sequence[str], width: int, *, taken: set[str] | None = None) -> list[str]:
    """Return names in at most `width` columns each. Names that differ still differ when shortened.

    They are cut in the middle, all at the same place if that tells them apart. Where it does not, the words
    in which a name differs from others are shown; where these are too many, what names that look the same
    begin with is left out as well, and where even that does not tell them apart, they are numbered.

    Args:
        names: What to shorten.
        width: Columns.
        taken: What other names look like, from which these differ too; theirs are added.
    """
    taken = set() if taken is None else taken
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if columns(name) <= width:
            found[name] = name if name not in taken else _numbered(name, width, taken)
            taken.add(found[name])
    _tell_apart({name: name for name in names if name not in found}, width, taken, found)
    return [found[name] for name in names]


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows of cells as lines, each column as wide as its widest cell; empty ones are left out."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    shown = [i for i, width in enumerate(widths) if width]
    return ["  ".join([padded(row[i], widths[i]) for i in shown]).rstrip() for row in rows]


def wrapped(text: str, width: int | None, *, lead: str = "", first: str | None = None) -> list[str]:
    """Return `text` in lines of at most `width` columns, broken at spaces; `None` leaves it in one.

    Args:
        text: What to wrap.
        width: Columns. A word that is wider is broken.
        lead: What each line begins with.
        first: What the first line begins with, if it is something else.
    """
    line = lead if first is None else first
    if width is None:
        return [(line + text).rstrip()]
    lines = []
    is_empty = True
    for each in text.split():
        word = each
        room = width - columns(line) - (not is_empty)
        if columns(word) > room and not is_empty:
            lines.append(line)
            line, is_empty = lead, True
            room = width - columns(line)
        while columns(word) > max(room, 1):
            part = beginning(word, max(room, 1)) or word[0]
            lines.append(line + part)
            word = word[len(part) :]
            line, room = lead, width - columns(lead)
        line += word if is_empty else f" {word}"
        is_empty = False
    return [*lines, line.rstrip()]


def common_scope(names: Sequence[str]) -> str:
    """Return the scope, with its `/`, that all names lie in; empty if there is none."""
    if not names:
        return ""
    first, last = min(names), max(names)
    return first[: first.rfind("/", 0, _num_common(first, last)) + 1]


def _tell_apart(
    rests: dict[str, str], width: int, taken: set[str], found: dict[str, str], rounds: int = _MAX_ROUNDS
) -> None:
    """Put into `found` what each name looks like: unlike the others, and unlike what is in `taken`.

    Args:
        rests: What is left to be shown of each name.
        width: Columns.
        taken: What others look like; these are added.
        found: What each name looks like.
        rounds: How often more may be left out of them.
    """
    if not rests:
        return
    if not rounds:
        for name, rest in rests.items():
            found[name] = _numbered(rest, width, taken)
            taken.add(found[name])
        return
    cuts = _best_cuts(rests, width, taken)
    if not _are_clear(cuts, taken) and (common := common_scope(list(rests.values()))):
        rests = {name: _without(rest, len(common)) for name, rest in rests.items()}
        cuts = _best_cuts(rests, width, taken)
    groups: dict[str, dict[str, str]] = {}
    if not _are_clear(cuts, taken):
        if shown := _by_words(cuts, width, taken):
            found |= shown
            taken |= set(shown.values())
            return
        for name, rest in rests.items():  # by scope, each with what its names have in common left out
            groups.setdefault(rest[: rest.find("/") + 1], {})[name] = rest
    if len(groups) < 2:
        groups = {}
        for name, cut in cuts.items():
            groups.setdefault(cut, {})[name] = rests[name]
        for cut, group in list(groups.items()):
            if len(group) == 1 and cut not in taken:
                found[next(iter(group))] = cut
                taken.add(cut)
                del groups[cut]
        groups = {cut: _without_beginning(group) for cut, group in groups.items()}
    for group in groups.values():
        _tell_apart(group, width, taken, found, rounds - 1)


def _by_words(cuts: dict[str, str], width: int, taken: set[str]) -> dict[str, str]:
    """Return what names look like that are cut where that tells them apart, and else by words that differ.

    Args:
        cuts: What each name looks like when it is cut.
        width: Columns.
        taken: What others look like.

    Returns:
        What each looks like; nothing if some have too many such words, or there are too many names.
    """
    if len(cuts) > _MAX_COMPARED:
        return {}
    times = Counter(cuts.values())
    shown = {name: cut for name, cut in cuts.items() if times[cut] == 1 and cut not in taken}
    for name in cuts.keys() - shown.keys():
        shown[name] = _words_that_differ(name, cuts.keys(), width)
    return (
        {name: shown[name] for name in cuts} if "" not in shown.values() and _are_clear(shown, taken) else {}
    )


def _words_that_differ(name: str, names: Iterable[str], width: int) -> str:
    """Return the words in which `name` parts from others, `…` for the rest; nothing if they do not fit."""
    parting = {_num_common(name, other) for other in names if other != name} - {len(name)}
    words = {}  # where each ends, and up to where it must be shown, by where it begins
    for cut in sorted(parting):
        start = max(name.rfind(end, 0, cut) for end in _WORD_ENDS) + 1
        stop = min((at for end in _WORD_ENDS if (at := name.find(end, cut + 1)) >= 0), default=len(name))
        words[start] = (stop, cut + 1)
    for longest in range(max((stop - start for start, (stop, _) in words.items()), default=0), 0, -1):
        text, end = "", 0
        for start, (stop, least) in words.items():
            text += name[end:start] if start - end < 2 else ELLIPSIS
            end = max(least, min(stop, start + longest))
            text += name[start:end]
        text += name[end:] if len(name) - end < 2 else ELLIPSIS
        if columns(text) <= width:
            return text
    return ""


def _are_clear(cuts: dict[str, str], taken: set[str]) -> bool:
    """Return whether all look different, and like nothing that is taken."""
    shown = set(cuts.values())
    return len(shown) == len(cuts) and shown.isdisjoint(taken)


def _without_beginning(rests: dict[str, str]) -> dict[str, str]:
    """Return names without the beginning that all of them share."""
    texts = list(rests.values())
    begun = _num_common(min(texts), max(texts))
    begun = texts[0].rfind("/", 0, begun) + 1 or begun  # at the beginning of a segment, if there is one
    return {name: _without(rest, begun) for name, rest in rests.items()}


def _best_cuts(rests: dict[str, str], width: int, taken: set[str]) -> dict[str, str]:
    """Return names cut at the place that tells most of them apart."""
    best: dict[str, str] = {}
    most = -1
    for share in _SHARES:
        cuts = {name: shortened(rest, width, share=share) for name, rest in rests.items()}
        different = len(set(cuts.values()) - taken)
        if different > most:
            best, most = cuts, different
        if most == len(rests):
            break
    return best


def _without(text: str, begun: int) -> str:
    """Return `text` with `…` in place of its first `begun` characters."""
    return ELLIPSIS + text[begun:].lstrip(ELLIPSIS) if begun else text


def _num_common(a: str, b: str) -> int:
    """Return how many characters two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _numbered(text: str, width: int, taken: set[str]) -> str:
    """Return `text`, cut and with a number after it that nothing in `taken` looks like."""
    number = 1
    while True:
        number += 1
        shown = shortened(text, width - len(f"~{number}")) + f"~{number}"
        if shown not in taken:
            return shown


@functools.cache
def _columns_of(character: str) -> int:
    """Return the columns of one character.

    Source: Unicode Standard Annex #11, East Asian Width.
    """
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1

r"""Which variables a pattern means.

    conv1              the variable conv1, and everything under the scope conv1/ (never conv10)
    conv*/kernel       a glob over the whole name: `*` and `?` stay inside one segment, `[ab]` too
    **/kernel          `**` crosses segments
    re:^conv\d+/       a regular expression, searched for

Slots and moving averages are meant by their full name, a glob or `re:`, never by a scope: where they
should come along with their variable they follow it.
"""

from __future__ import annotations

import functools
import re
import shlex
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping

from toolkit import names
from toolkit.errors import UsageError, VariableNotFoundError
from toolkit.roles import Role, followers

_GLOB = re.compile(r"[*?\[]")
_GLOB_BEGINNING = r"(?s:\A"
"""What the regular expression of a glob begins with; it ends with `)`."""


class Pattern:
    """One pattern. `matches` tells whether it means a variable."""

    def __init__(self, text: str, existing: Collection[str] = ()) -> None:
        """Read a pattern. A text that is one of `existing` names means that name, whatever it holds.

        Raises:
            UsageError: It is empty, or not a regular expression.
        """
        self.text = text
        self._regex: re.Pattern[str] | None = None
        self._searches = False
        self._scope = text.rstrip("/") + "/"
        if not text.removeprefix("re:").strip("/"):
            raise UsageError("an empty pattern", hint="'**' means every variable")
        if text in existing:
            return
        if text.startswith("re:"):
            self._regex = compile_regex(text.removeprefix("re:"))
            self._searches = True
        elif _GLOB.search(text):
            self._regex = compile_regex(_glob_regex(text) + r"\Z", shown=text)

    def means(self, name: str, role: Role, path: str | None = None, way: str | None = None) -> bool:
        """Return whether this pattern means a variable, by any of its names.

        Args:
            name: Its key.
            role: What it is for.
            path: Its readable name, where its key is none.
            way: Where it stands among objects. A scope that is an object means all that belongs to it,
                slots too; a key that leads another way (Keras 3 keeps a model's weights under the
                optimizer's) is meant by itself, or by `re:`.
        """
        if path is not None and self.matches(path, role):
            return True
        if way is None:
            return self.matches(name, role)
        if self.text in (way, name) or way.startswith(self._scope):
            return True
        by_key = self._searches or name.startswith(way + "/.")
        return (by_key and self.matches(name, role)) or (self._regex is not None and self.matches(way, role))

    def matches(self, name: str, role: Role) -> bool:
        """Return whether this pattern means a variable of this name and role."""
        if self._regex is not None:
            return self._regex.search(name) is not None
        if name == self.text:
            return True
        return role.of is None and name.startswith(self._scope)


def select(
    roles: Mapping[str, Role],
    patterns: Iterable[str],
    exclude: Iterable[str] = (),
    *,
    where: str,
    follow: bool = False,
    paths: Mapping[str, str] | None = None,
    ways: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the names that `patterns` mean and `exclude` does not, in the order of `roles`.

    Args:
        roles: The variables there are.
        patterns: What to take; without any, everything.
        exclude: What to leave.
        where: What is searched, for messages.
        follow: Whether slots and moving averages come along with their variables.
        paths: Readable names, which patterns may mean as well.
        ways: Where they stand among objects, which patterns may mean as well.

    Raises:
        VariableNotFoundError: A pattern matches nothing.
        UsageError: A pattern cannot be read.
    """
    patterns = listed(patterns)
    left_out = matching(roles, exclude, where=where, paths=paths, ways=ways)
    if follow:
        left_out = with_followers(left_out, roles)
    taken = matching(roles, patterns, where=where, paths=paths, ways=ways) if patterns else set(roles)
    if follow:
        taken = with_followers(taken - left_out, roles)
    return [name for name in roles if name in taken and name not in left_out]


def matching(
    roles: Mapping[str, Role],
    patterns: Iterable[str],
    *,
    where: str,
    paths: Mapping[str, str] | None = None,
    ways: Mapping[str, str] | None = None,
) -> set[str]:
    """Return the names that any of `patterns` means.

    Raises:
        VariableNotFoundError: A pattern matches nothing.
        UsageError: A pattern cannot be read.
    """
    found: set[str] = set()
    missed = []
    paths, ways = paths or {}, ways or {}
    existing = {*roles, *paths.values(), *ways.values()} if paths or ways else roles
    for text in listed(patterns):
        pattern = Pattern(text, existing)
        meant = [n for n, role in roles.items() if pattern.means(n, role, paths.get(n), ways.get(n))]
        if not meant:
            missed.append(text)
        found.update(meant)
    if missed:
        known = {**roles, **{path: roles[name] for name, path in paths.items() if name in roles}}

        def works(text: str) -> bool:
            pattern = Pattern(text, existing)
            return any(pattern.means(n, role, paths.get(n), ways.get(n)) for n, role in roles.items())

        raise not_found(missed[0], known, where=where, others=missed[1:], works=works)
    return found


def listed(patterns: str | Iterable[str]) -> list[str]:
    """Return patterns as a list; one alone may be given as a string.

    Raises:
        UsageError: One is no text.
    """
    if not isinstance(patterns, Iterable):
        raise UsageError(f"expected patterns, got {patterns!r}", hint="a pattern is text: a name or a scope")
    found = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in found:
        if not isinstance(pattern, str):
            raise UsageError(
                f"expected a pattern, got {pattern!r}", hint="a pattern is text: a name or a scope"
            )
    return found


def with_followers(taken: Collection[str], roles: Mapping[str, Role]) -> set[str]:
    """Return `taken` with the slots and moving averages of these variables, and theirs in turn."""
    belonging = followers(roles)
    found: set[str] = set()
    waiting = list(taken)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(belonging.get(name, ()))
    return found


def not_found(
    text: str,
    roles: Mapping[str, Role],
    *,
    where: str,
    others: Collection[str] = (),
    works: Callable[[str], bool] | None = None,
    globs: bool = True,
) -> VariableNotFoundError:
    """Return the error that says that a pattern matches nothing, and what does.

    Args:
        text: The pattern.
        roles: The variables there are.
        where: What was searched.
        others: Patterns that match nothing either.
        works: Tells whether a pattern in place of this one would match something: only those are named.
        globs: Whether globs are patterns here; the OLD of a rename is none.
    """
    if works is None:
        works = functools.partial(_matches_any, roles=roles, globs=globs)
    scope = text.rstrip("/") + "/"
    offered: list[str] = []
    why = ""
    if _is_glob(text):
        below = scope + "**"
        if not globs:
            same = "re:^" + _glob_regex(text).removeprefix(_GLOB_BEGINNING).removesuffix(")") + "$"
            offered, why = [same], "this is a name, a scope or re:…, no glob: {} means the same"
        elif _is_glob(below) and works(below):
            offered, why = [below], "a glob means whole names: {} means what lies under it"
    elif any(name.startswith(scope) for name in roles):
        offered = [f"{scope}**" if globs else f"re:^{re.escape(scope)}"]
        why = "only slots lie under it, which a scope does not mean: {} does"
    offered = [pattern for pattern in offered if works(pattern)]
    if offered:
        means = why.replace("{}", shlex.quote(offered[0]))
        return VariableNotFoundError(text, where=where, suggestions=offered, hint=means, others=others)
    near: list[str] = []
    why = ""
    if text.startswith("re:"):
        why = "it is searched for in whole names"
    elif _is_glob(text):
        near = _near(re.sub(r"[*?\[\]]+", "", text), roles)
        why = "a glob means whole names, '**' crosses '/'"
        if not globs:
            why = "this is a name, a scope or re:…, no glob"
    else:
        near = _near(text.removesuffix(":0"), roles)
    near = [pattern for pattern in near if works(pattern)]
    hint = "; ".join(filter(None, [f"the nearest: {', '.join(near)}" if near else "", why])) or None
    return VariableNotFoundError(text, where=where, suggestions=near, hint=hint, others=others)


def _is_glob(text: str) -> bool:
    return not text.startswith("re:") and _GLOB.search(text) is not None


def _matches_any(text: str, *, roles: Mapping[str, Role], globs: bool) -> bool:
    """Return whether a pattern matches one of the variables."""
    try:
        pattern = Pattern(text, roles if globs or text.startswith("re:") else {text})
    except UsageError:
        return False
    return any(pattern.matches(name, role) for name, role in roles.items())


def _near(text: str, roles: Mapping[str, Role]) -> list[str]:
    """Return the names, and the scopes, nearest to `text`; at worst those above it."""
    scopes = dict.fromkeys(parent for name in roles for parent in names.parents(name))
    return names.nearest(text, [*roles, *scopes]) or [s for s in names.parents(text) if s in scopes][:1]


def compile_regex(text: str, *, shown: str | None = None) -> re.Pattern[str]:
    """Return the regular expression `text`.

    Args:
        text: The expression.
        shown: The pattern that it was made from, for the message.

    Raises:
        UsageError: It is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a syntax that may mean more one day
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        what = f"re:{text}: not a regular expression" if shown is None else f"{shown}: not a glob"
        raise UsageError(
            f"{what}: {error}", hint="quote what is special with \\, or give the name"
        ) from error


@functools.cache
def _glob_regex(glob: str) -> str:
    """Return `glob` as a regular expression, to be matched from the start of a name."""
    parts = [_GLOB_BEGINNING]
    position = 0
    while position < len(glob):
        rest = glob[position:]
        if rest.startswith("**/") and (position == 0 or glob[position - 1] == "/"):
            parts.append("(?:.*/)?")  # also no scope at all, as in gitignore
            position += 3
        elif rest.startswith("**"):
            parts.append(".*")
            position += 2
        elif rest[0] == "*":
            parts.append("[^/]*")
            position += 1
        elif rest[0] == "?":
            parts.append("[^/]")
            position += 1
        elif match := re.match(r"\[(!?)([^]/]+)\]", rest):
            characters = match[2].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
            parts.append(f"[{'^/' if match[1] else ''}{characters}]")
            position += match.end()
        else:
            parts.append(re.escape(rest[0]))
            position += 1
    return "".join(parts) + ")"

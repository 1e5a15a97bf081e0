r"""`OLD=NEW`: what variables are called elsewhere.

OLD and NEW are names, or scopes (everything under OLD moves under NEW), or `re:…` with `\1` in NEW for
what its groups matched. Of a name, the first match is replaced; a match without a character is none. Slots
and moving averages follow their variable: with `net=backbone`, the slot `training/net/w/Adam` becomes
`training/backbone/w/Adam`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from toolkit.errors import UsageError, VariableNotFoundError
from toolkit.roles import ATTRIBUTE, OBJECT_SLOT, Role, owners_first
from toolkit.selection import Pattern, compile_regex, not_found

Renames = Mapping[str, str] | str | Iterable[str | Callable[[str], str]] | Callable[[str], str]
"""What functions take: `{OLD: NEW}`, `OLD=NEW`, a function from old to new names, or several of these."""


class OldNew(NamedTuple):
    """A rename that was written down.

    Attributes:
        old: A name, a scope, or `re:` with a regular expression.
        new: What takes its place.
        written: How the user wrote it, for messages; by default `OLD=NEW`.
        sought: What messages call `old`.
    """

    old: str
    new: str
    written: str = ""
    sought: str = ""

    def __str__(self) -> str:
        return self.written or f"{self.old}={self.new}"

    @property
    def is_regex(self) -> bool:
        """Whether `old` is a regular expression."""
        return self.old.startswith("re:")

    def substituted(self, regex: re.Pattern[str], name: str) -> str | None:
        r"""Return `name` with the first match of `regex` replaced; `None` if nothing matches.

        A match without a character counts in an empty name alone: `(.*)` matches a name, and then the nothing
        at its end.

        Raises:
            UsageError: `new` refers to a group that `regex` does not have.
        """
        match = next((match for match in regex.finditer(name) if match.group() or not name), None)
        if match is None:
            return None
        try:
            return name[: match.start()] + match.expand(self.new) + name[match.end() :]
        except (re.error, IndexError) as error:
            raise UsageError(f"{self}: {error}") from error


Rule = OldNew | Callable[[str], str]


def read_rules(renames: Renames) -> list[Rule]:
    """Return the renames in order, or the function.

    Raises:
        UsageError: One cannot be read.
    """
    if callable(renames):
        return [renames]
    if isinstance(renames, str):
        renames = [renames]
    if isinstance(renames, Mapping):
        for old, new in renames.items():
            if not (isinstance(old, str) and isinstance(new, str)):
                raise UsageError(f"rename: expected names, got {old!r} and {new!r}")
            if not old.startswith("re:") and not new.strip("/"):
                raise UsageError(
                    f"{old}={new}: leaves nothing of the name {old}", hint="a variable needs a name"
                )
        return [OldNew(old, new) for old, new in renames.items()]
    if not isinstance(renames, Iterable):
        raise UsageError(
            f"rename: expected OLD=NEW, got {renames!r}", hint="write {'old': 'new'}, or 'old=new'"
        )
    return [rule if callable(rule) else parse(rule) for rule in renames]


def parse(rule: str) -> OldNew:
    """Return the rename that is written `OLD=NEW`; in `re:…=NEW`, NEW follows the last `=`.

    Raises:
        UsageError: There is no `=`, or one side is empty.
    """
    if not isinstance(rule, str):
        raise UsageError(f"rename: expected OLD=NEW, got {rule!r}", hint="write {'old': 'new'}, or 'old=new'")
    old, found, new = rule.rpartition("=") if rule.startswith("re:") else rule.partition("=")
    if not found or not old.removeprefix("re:").strip("/") or not new.strip("/"):
        raise UsageError(f"{rule!r}: not a rename", hint="write OLD=NEW: --rename net=backbone")
    return OldNew(old, new)


def rename(roles: Mapping[str, Role], rules: Iterable[Rule], *, where: str) -> dict[str, str]:
    """Return the new name of every variable, also of those that keep theirs, in the order of `roles`.

    Args:
        roles: The variables there are.
        rules: Renames or functions, applied in order, each to the names as they are then.
        where: What is renamed, for messages.

    Raises:
        VariableNotFoundError: An OLD matches nothing.
        UsageError: A rule cannot be read, or two variables would have one name.
    """
    current = {name: name for name in roles}
    for rule in rules:
        now = {current[name]: role for name, role in roles.items()}
        by_regex = isinstance(rule, OldNew) and rule.is_regex
        shown = str(rule) if isinstance(rule, OldNew) else getattr(rule, "__name__", "rename")
        renamed = _apply(rule, now, where) if isinstance(rule, OldNew) else _called(rule, now)
        moved: dict[str, str] = {}
        for name in owners_first(roles):
            given = renamed.get(current[name])
            followed = _follow(name, roles[name].of, current, moved)
            # a regular expression that also finds the slot of a variable means the variable
            moved[name] = followed if given is None or (by_regex and followed != current[name]) else given
        moved = {name: moved[name] for name in roles}
        taken: dict[str, str] = {}
        for name, target in moved.items():
            if target in taken:
                raise UsageError(
                    f"{shown}: {taken[target]} and {name} would both be called {target}",
                    hint="rename one of them to something else",
                )
            taken[target] = name
        current = moved
    return current


def rename_called(
    roles: Mapping[str, Role], called: Mapping[str, str], rules: Iterable[Rule], *, where: str
) -> dict[str, str]:
    """Return the new name of every variable, having called each as `called` says, as `rename` does.

    Raises:
        VariableNotFoundError, UsageError: As `rename`.
    """
    owners = {name: called.get(role.of, role.of) if role.of else None for name, role in roles.items()}
    by_called = {called[name]: Role(role.kind, owners[name]) for name, role in roles.items()}
    renamed = rename(by_called, rules, where=where)
    return {name: renamed[called[name]] for name in roles}


def rename_by_either(
    roles: Mapping[str, Role], paths: Mapping[str, str], rules: Iterable[Rule], *, where: str
) -> dict[str, str]:
    """Return what `rename` does, all OLDs being readable names, `paths`, or if one is none, names.

    What no rule is for keeps its name.

    Raises:
        VariableNotFoundError, UsageError: As `rename`.
    """
    rules = list(rules)
    if not paths:
        return rename(roles, rules, where=where)
    called = {name: paths.get(name, name) for name in roles}
    try:
        renamed = rename_called(roles, called, rules, where=where)
    except VariableNotFoundError as error:
        try:
            return rename(roles, rules, where=where)
        except VariableNotFoundError:
            raise error from None  # in the words that people read
    return {name: name if new == called[name] else new for name, new in renamed.items()}


def _apply(rule: OldNew, roles: Mapping[str, Role], where: str) -> dict[str, str]:
    """Return the new names of the variables that OLD itself means."""
    renamed = {}
    if rule.is_regex:
        regex = compile_regex(rule.old.removeprefix("re:"))
        for name in roles:
            if (target := rule.substituted(regex, name)) is not None:
                renamed[name] = target
    else:
        scope, target_scope = rule.old.rstrip("/"), rule.new.rstrip("/")
        pattern = Pattern(rule.old, {rule.old})
        renamed = {
            name: target_scope + name[len(scope) :]
            for name, role in roles.items()
            if pattern.matches(name, role)
        }
    if not renamed:
        if rule.is_regex and any(regex.search(name) for name in roles):
            raise UsageError(
                f"{rule}: matches no character of any name", hint="--rename 're:^(.*)$=net/\\1' adds a scope"
            )
        raise not_found(rule.sought or rule.old, roles, where=where, globs=False)
    for name, target in renamed.items():
        _refuse_odd(str(rule), name, target)
    return renamed


def as_options(rules: Iterable[str]) -> str:
    """Return renames as they are typed in a shell: `--rename a=b --rename 're:^(.*):0$=c'`."""
    return " ".join(f"--rename {shlex.quote(rule)}" for rule in rules)


def add_scope(scope: str) -> OldNew:
    """Return the rename that puts every variable under `scope`.

    Raises:
        UsageError: `scope` is no scope.
    """
    scope = _scope("add-scope", scope)
    escaped = scope.replace("\\", r"\\")
    return OldNew(r"re:(?s)\A(.+)\Z", rf"{escaped}/\1", f"--add-scope {scope}")


def strip_scope(scope: str) -> OldNew:
    """Return the rename that takes `scope` off every name under it.

    Raises:
        UsageError: `scope` is no scope.
    """
    scope = _scope("strip-scope", scope)
    return OldNew(rf"re:(?s)\A{re.escape(scope)}/(.+)\Z", r"\1", f"--strip-scope {scope}", scope)


def _scope(option: str, scope: object) -> str:
    if not isinstance(scope, str) or not scope.strip("/"):
        raise UsageError(f"{option} {scope!r}: expected a scope", hint=f"--{option} net")
    return scope.strip("/")


def _refuse_odd(shown: str, name: str, target: str) -> None:
    """Raise if a rename makes a name that nobody means.

    Raises:
        UsageError: `target` is empty, or has more empty segments than `name`.
    """
    if not target:
        raise UsageError(f"{shown}: leaves nothing of the name {name}", hint="a variable needs a name")
    if target.split("/").count("") > name.split("/").count(""):
        raise UsageError(
            f"{shown}: makes {target!r} of {name!r}, which has an empty segment",
            hint="a scope is written without its last /: --rename net=backbone",
        )


def _called(function: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    """Return the new names of those that a function changes."""
    renamed = {}
    for name in names:
        new = function(name)
        if not isinstance(new, str) or not new:
            raise UsageError(f"rename: expected a name for {name}, got {new!r}")
        if new != name:
            _refuse_odd("rename", name, new)
            renamed[name] = new
    return renamed


def _follow(name: str, owner: str | None, current: Mapping[str, str], moved: Mapping[str, str]) -> str:
    """Return what `name` is called when only the variable that it belongs to was meant."""
    if owner is None or owner not in moved:
        return current[name]
    return _with_owner(current[name], current[owner], moved[owner])


def _with_owner(name: str, before: str, after: str) -> str:
    """Return the slot of `before` as the slot of `after`.

    Slots are called `[SCOPE/]before/SLOT`, or by an object's key; Keras's `adam/SLOT/before`, or
    `adam/before_SLOT` with `_` for `/`.
    """
    before_key, after_key = (key.removesuffix(ATTRIBUTE) + OBJECT_SLOT for key in (before, after))
    if name.startswith(before_key):
        return after_key + name.removeprefix(before_key)
    head, _, slot = name.rpartition("/")
    if head.endswith(before):
        return f"{head.removesuffix(before)}{after}/{slot}"
    if name.endswith("/" + before):
        return name.removesuffix(before) + after
    flat = before.replace("/", "_") + "_"
    if slot.startswith(flat):
        return f"{head}/{after.replace('/', '_')}_{slot.removeprefix(flat)}"
    return name  # renamed apart from its variable, by a rule of its own

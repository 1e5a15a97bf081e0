r"""`OLD=NEW`: what variables are called elsewhere.

OLD and NEW are names, or scopes (everything under OLD moves under NEW), or `re:…` with `\1` in NEW for
what its groups matched. Slots and moving averages follow their variable: with `net=backbone`, the slot
`training/net/w/Adam` becomes `training/backbone/w/Adam`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from toolkit.errors import UsageError, VariableNotFoundError
from toolkit.roles import ATTRIBUTE, OBJECT_SLOT, Role, owners_first
from toolkit.selection import Pattern, compile_regex, not_found

Renames = Mapping[str, str] | str | Iterable[str] | Callable[[str], str]
"""What functions take: `{OLD: NEW}`, `OLD=NEW` or several, or a function from old names to new ones."""
Rule = tuple[str, str] | Callable[[str], str]


def read_rules(renames: Renames) -> list[Rule]:
    """Return pairs of OLD and NEW, in order, or the function.

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
        return list(renames.items())
    if not isinstance(renames, Iterable):
        raise UsageError(f"rename: expected OLD=NEW, got {renames!r}")
    return [parse(rule) for rule in renames]


def parse(rule: str) -> tuple[str, str]:
    """Return OLD and NEW of `OLD=NEW`. A regular expression may hold `=`, what follows the last is NEW.

    Raises:
        UsageError: There is no `=`, or one side is empty.
    """
    old, found, new = rule.rpartition("=") if rule.startswith("re:") else rule.partition("=")
    if not found or not old.removeprefix("re:").strip("/") or not new.strip("/"):
        raise UsageError(f"{rule!r}: not a rename", hint="write OLD=NEW: --rename net=backbone")
    return old, new


def rename(roles: Mapping[str, Role], rules: Iterable[Rule], *, where: str) -> dict[str, str]:
    """Return the new name of every variable, also of those that keep theirs, in the order of `roles`.

    Args:
        roles: The variables there are.
        rules: Pairs OLD, NEW, or functions, applied in order, each to the names as they are then.
        where: What is renamed, for messages.

    Raises:
        VariableNotFoundError: An OLD matches nothing.
        UsageError: A rule cannot be read, or two variables would have one name.
    """
    current = {name: name for name in roles}
    for rule in rules:
        now = {current[name]: role for name, role in roles.items()}
        if isinstance(rule, tuple):
            shown = "=".join(rule)
            renamed = _apply(*rule, now, where)
        else:
            shown = getattr(rule, "__name__", "rename")
            renamed = _called(rule, now)
        moved: dict[str, str] = {}
        for name in owners_first(roles):
            moved[name] = renamed.get(current[name]) or _follow(name, roles[name].of, current, moved)
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


def _apply(old: str, new: str, roles: Mapping[str, Role], where: str) -> dict[str, str]:
    """Return the new names of the variables that OLD itself means."""
    renamed = {}
    if old.startswith("re:"):
        regex = compile_regex(old.removeprefix("re:"))
        for name in roles:
            try:
                target = regex.sub(new, name)
            except (re.error, IndexError) as error:
                raise UsageError(f"{old}={new}: {error}") from error
            if regex.search(name):
                renamed[name] = target
    else:
        scope, target_scope = old.rstrip("/"), new.rstrip("/")
        pattern = Pattern(old, {old})
        renamed = {
            name: target_scope + name[len(scope) :]
            for name, role in roles.items()
            if pattern.matches(name, role)
        }
    if not renamed:
        raise not_found(old, roles, where=where)
    for name, target in renamed.items():
        if not target:
            raise UsageError(
                f"{old}={new}: leaves nothing of the name {name}", hint="a variable needs a name"
            )
    return renamed


def _called(function: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    """Return the new names of those that a function changes."""
    renamed = {}
    for name in names:
        new = function(name)
        if not isinstance(new, str) or not new:
            raise UsageError(f"rename: expected a name for {name}, got {new!r}")
        if new != name:
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

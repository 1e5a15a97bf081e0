"""What is done to a draft: renaming, dropping, casting, copying, setting. Each changes the draft given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from toolkit import casting, names, renaming
from toolkit.change import results
from toolkit.change.casts import meant_by
from toolkit.change.drafts import Draft, Item, refuse_name
from toolkit.change.values import read_value
from toolkit.dtypes import DType
from toolkit.errors import MismatchError, UsageError, VariableNotFoundError
from toolkit.formats.bundle.object_edit import moves_of, path_of
from toolkit.renaming import OldNew, Rule
from toolkit.roles import ATTRIBUTE, OBJECT_GRAPH, Role, is_beta_power, is_of_optimizer
from toolkit.selection import Pattern, compile_regex, listed, matching, not_found, with_followers

Array = np.ndarray[Any, Any]


def rename(draft: Draft, rule: Rule) -> None:
    """Rename what a rule means, slots and moving averages with it.

    In an object-based checkpoint a rule means readable names, and the paths of objects, which are moved with
    all that belongs to them.

    Raises:
        VariableNotFoundError: It means nothing.
        UsageError: It cannot be read, or two would have one name.
    """
    if draft.objects is None:
        renamed = renaming.rename_by_either(draft.roles, draft.paths, [rule], where=draft.where)
        draft.rename(renamed, "renamed")
        return
    before = draft.paths
    full_names = draft.objects.full_names()
    error = None
    called = {name: before.get(name, name) for name in draft.items}
    try:
        renamed = renaming.rename_called(draft.roles, called, [rule], where=draft.where)
    except VariableNotFoundError as missing:
        error, renamed = missing, called
    if renamed.get(OBJECT_GRAPH) != called.get(OBJECT_GRAPH):
        _refuse_metadata(draft.items[OBJECT_GRAPH])
    moved = _move_objects(draft, rule)
    if error is not None and moved is None:
        raise error
    moved = moved or {}
    given = {key: renamed[key] for key in draft.items if full_names.get(key) == called[key] != renamed[key]}
    draft.objects.call({moved.get(key, key): name for key, name in given.items()})
    draft.rename(moved, "renamed")
    for key in given:
        item = draft.items[moved.get(key, key)]
        draft.put(item.changed(item.result, item.action, item.source, "renamed", item.initializer))
    draft.changed()


def add_scope(draft: Draft, scope: str) -> None:
    """Put everything under a scope; of objects all but the root's counter of saves.

    Raises:
        UsageError: `scope` is empty.
    """
    rule = renaming.add_scope(scope)
    if draft.objects is not None:  # tf.train.Checkpoint looks for its save_counter at the root
        rule = rule._replace(old=r"re:(?s)\A(?!save_counter\Z|_CHECKPOINTABLE_OBJECT_GRAPH\Z)(.+)\Z")
    rename(draft, rule)


def _refuse_metadata(item: Item) -> None:
    """Raise if it is the object graph, or what else is no value of the model."""
    if item.role.kind == "metadata":
        raise UsageError(
            f"{item.name}: tells of the objects, and is changed along with them",
            hint="`ckpt export CKPT OUT --to-tf1` makes a name-based checkpoint, without objects",
        )


def _move_objects(draft: Draft, rule: Rule) -> dict[str, str] | None:
    """Move the objects that a rule means; return the keys that this changes, or `None` if it means none."""
    assert draft.objects is not None
    if not isinstance(rule, OldNew):
        return None
    if not rule.is_regex:
        old, new = rule.old.strip("/"), rule.new.strip("/")
        moves = [(old, new)] if draft.objects.has(old) else []
    else:
        paths = draft.objects.object_paths()
        moves = moves_of(_substituted(rule, paths), paths)
    if not moves:
        return None
    renamed = draft.objects.move(moves)
    kept = [key for key in draft.items if key not in renamed]
    if taken := sorted(set(renamed.values()) & set(kept)):
        raise UsageError(f"{rule}: there is {taken[0]} already", hint="rename or drop that one first")
    return renamed


def drop(draft: Draft, patterns: Iterable[str], why: str = "dropped") -> None:
    """Remove what patterns mean, slots and moving averages with it.

    Raises:
        VariableNotFoundError, UsageError: A pattern means nothing, or cannot be read.
    """
    patterns = listed(patterns)
    chosen = _meant(draft, patterns)
    draft.drop(with_followers(chosen, draft.roles), why)


def keep(draft: Draft, patterns: Iterable[str]) -> None:
    """Remove what no pattern means, except an object graph.

    Raises:
        VariableNotFoundError, UsageError: A pattern means nothing, or cannot be read.
    """
    chosen = _meant(draft, listed(patterns))
    others = {name for name, item in draft.items.items() if item.role.kind != "metadata"} - chosen
    draft.drop(others, "not kept")


def strip_optimizer(draft: Draft) -> None:
    """Remove what only training needs: slots, powers of betas, an optimizer's own counters, metrics.

    Moving averages stay: models are evaluated with them.

    Raises:
        UsageError: There is nothing of the kind.
    """
    kept = draft.origin.kept_by_optimizers()
    chosen = {
        name
        for name, item in draft.items.items()
        if item.role.kind in ("slot", "metric")
        or is_beta_power(name)
        or (
            item.role.kind == "counter"
            and item.action != "copy"
            and (item.source in kept or is_of_optimizer(draft.paths.get(name, name)))
        )
    }
    if draft.objects is not None:
        graph = draft.objects.graph
        chosen |= {
            value.key
            for value in graph.values
            if graph.through_optimizer(value.node)
            and value.key in draft.items
            and draft.items[value.key].role.kind in ("slot", "counter")
        }
    if not chosen:
        raise UsageError(f"{draft.where}: has nothing that an optimizer keeps", hint="it is stripped already")
    whose = {
        name: "a metric" if draft.items[name].role.kind == "metric" else "an optimizer" for name in chosen
    }
    draft.drop(chosen, {name: f"kept by {each}" for name, each in whose.items()})


def cast(draft: Draft, pattern: str | None, target: DType, *, clip: bool) -> None:
    """Let what a pattern means, or without one all weights, as `meant_by` says, be of another dtype.

    Raises:
        VariableNotFoundError, UsageError: The pattern means nothing, or there is no such cast.
    """
    variables = {name: item.result for name, item in draft.items.items()}
    for name in meant_by(pattern, target, variables, draft.roles, draft.paths, draft.ways, where=draft.where):
        item = draft.items[name]
        source = item.result.dtype
        if source is target:
            continue
        result = results.cast(item.result.renamed(name), target, name, clip=clip)
        action = "cast" if item.action == "keep" else item.action
        reason = casting.describe(source, target)
        draft.put(item.changed(result, action, item.source, reason, item.initializer))


def put_value(draft: Draft, name: str, value: object) -> None:
    """Give a variable a value; an array, or a file of one, may also add a variable.

    Raises:
        VariableNotFoundError: There is none, and the value does not tell a dtype and shape.
        MismatchError: The value does not fit its dtype or shape.
        UsageError: The value cannot be read.
    """
    if not isinstance(name, str):
        raise UsageError(f"expected a name, got {name!r}")
    try:
        item: Item | None = draft.find(name)
    except VariableNotFoundError:
        item = None
        if not isinstance(value, np.ndarray) and not (isinstance(value, str) and value.endswith(".npy")):
            near = names.nearest(name, [*draft.items, *draft.paths.values()])
            hint = f"the nearest: {', '.join(near)}; " if near else ""
            hint += "a new one needs its values as an array: NAME=x.npy"
            raise VariableNotFoundError(name, where=draft.where, suggestions=near, hint=hint) from None
    if item is not None:
        _refuse_metadata(item)
    like = None if item is None else item.result
    array, dtype, shown = read_value(value, like, name)
    if item is None:
        item = _added(draft, name, results.constant(name, array, dtype), "constant", None, f"new, {shown}")
    else:
        result = results.constant(item.name, array, dtype)
        item = item.changed(result, "constant", None, f"set to {shown}")
    draft.put(item)


def copy(draft: Draft, new: str, old: str) -> None:
    r"""Add copies of variables under other names, or let variables that exist take their values.

    Args:
        draft: What is changed.
        new: A name, a scope, or with a regular expression what it becomes, with `\1`.
        old: A name, a scope (whose slots are not copied), or `re:…`.

    Raises:
        VariableNotFoundError: `old` means nothing.
        MismatchError: A variable that exists is of another dtype or shape.
        UsageError: A name cannot be one.
    """
    copies, called = _renamed_alone(draft, new, old)
    taken: dict[str, str] = {}
    for name, copied in copies.items():
        if copied in taken:
            raise UsageError(
                f"{new}={old}: {called[taken[copied]]} and {called[name]} would both be {copied}"
            )
        taken[copied] = name
    originals = {name: draft.items[name] for name in copies}
    for name, target in copies.items():
        original = originals[name]
        reason = f"copy of {called[name]}"
        try:
            there = draft.find(target)
        except VariableNotFoundError:
            role = Role("weight") if original.role.of is not None else original.role
            readable = draft.paths.get(name, "")
            full_name = new + readable[len(old) :] if readable.startswith(old + "/") else target
            draft.put(_added(draft, target, original.result, "copy", name, reason, role, full_name))
            continue
        _refuse_unlike(there.name, there.result, original)
        draft.put(there.changed(original.result, "copy", name, reason))


def _renamed_alone(draft: Draft, new: str, old: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the copies of what `old` means are called, by its name, and what that itself is called."""
    readable = {name: draft.paths.get(name, name) for name in draft.items}
    plain = {name: item for name, item in draft.items.items() if item.role.kind != "metadata"}
    spaces = [readable, draft.ways, {name: path_of(name) for name in draft.ways}]
    if draft.objects is not None and draft.objects.has(old):
        spaces = [*spaces[1:], readable]  # an object is copied as one
    for called in spaces:
        if old.startswith("re:"):
            found = _substituted(OldNew(old, new), {n: called[n] for n in plain if n in called})
        else:
            scope, target = old.rstrip("/"), new.rstrip("/")
            pattern = Pattern(old, {old})
            found = {
                name: target + called[name][len(scope) :]
                for name, item in plain.items()
                if name in called and pattern.matches(called[name], item.role)
            }
        if found:
            return found, called
    if old in plain:
        return {old: new}, readable
    roles = {readable[name]: item.role for name, item in plain.items()}
    raise not_found(old, roles, where=draft.where, globs=False)


def _substituted(rule: OldNew, texts: Mapping[str, str]) -> dict[str, str]:
    """Map the keys of the `texts` that a regular expression matches to the texts with the match replaced."""
    regex = compile_regex(rule.old.removeprefix("re:"))
    made = {key: rule.substituted(regex, text) for key, text in texts.items()}
    return {key: text for key, text in made.items() if text is not None}


def _added(
    draft: Draft,
    name: str,
    result: Any,
    action: Any,
    source: str | None,
    reason: str,
    role: Role | None = None,
    full_name: str | None = None,
) -> Item:
    """Return a new item; in an object-based checkpoint with an object of its own."""
    refuse_name(name)
    if draft.objects is not None:
        path = name.removesuffix(ATTRIBUTE)
        name = draft.objects.add(path, full_name or path)
        draft.changed()
    return Item(name, result, role or Role("weight"), action, source, (reason,))


def _refuse_unlike(name: str, result: Any, other: Item) -> None:
    for what in ("dtype", "shape"):
        expected, found = getattr(result, what), getattr(other.result, what)
        if expected != found:
            raise MismatchError(
                f"{name}: {what} {expected}, but {other.name} has {found}",
                name=name,
                expected=expected,
                found=found,
                hint="choose another name, or drop the one that is there first",
            )


def _meant(draft: Draft, patterns: list[str]) -> set[str]:
    """Return the names that patterns mean: an object graph only by its own name."""
    found: set[str] = set()
    for pattern in patterns:
        try:
            found |= matching(draft.roles, [pattern], where=draft.where, paths=draft.paths, ways=draft.ways)
        except VariableNotFoundError:  # an object may be reached by other ways than the shortest
            below = draft.objects.below(pattern.rstrip("/")) if draft.objects is not None else set()
            if not below & draft.items.keys():
                raise
            found |= below & draft.items.keys()
    for name in found.intersection(patterns):
        _refuse_metadata(draft.items[name])
    return {n for n in found if draft.items[n].role.kind != "metadata" or n in patterns}

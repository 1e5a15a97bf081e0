"""Making a TensorFlow checkpoint of one of any format: by names, or with the objects of another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from toolkit import names, renaming
from toolkit.change.plan import FilePlan
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import UsageError
from toolkit.formats.opening import as_checkpoint
from toolkit.plan import Action, Verdict
from toolkit.renaming import Renames
from toolkit.roles import is_object_based

_MAX_SUGGESTED = 20
"""For how many missing variables near names are looked for, which is slow over many."""


def plan_import(
    source: Checkpoint | str | os.PathLike[str],
    *,
    rename: Renames = (),
    object_graph_from: Checkpoint | str | os.PathLike[str] | None = None,
    called: Mapping[str, str] | None = None,
) -> FilePlan:
    """Plan to write a checkpoint of any format in TensorFlow's. Then `plan.write(prefix)` does it.

    Args:
        source: What to import: open, or its path. It is not changed.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings.
        object_graph_from: An object-based checkpoint (TF2): the result has its objects and keys, each
            with the value that `source` has under that key, or under its readable name there.
        called: For some variables of `source`, by name, the readable name that each is meant for.

    Raises:
        VariableNotFoundError: An OLD matches nothing.
        UsageError: A rename cannot be read, or `object_graph_from` is not object-based.
        FormatError, ReadError: One of them cannot be read.
    """
    source = as_checkpoint(source)
    variables = source.variables()
    rules = renaming.read_rules(rename)
    renamed = renaming.rename_by_either(source.roles(), source.paths(), rules, where=source.path)
    if object_graph_from is not None:
        return _with_objects(source, by_new_names(source, renamed, called), as_checkpoint(object_graph_from))
    verdicts = []
    results: dict[str, Variable] = {}
    for name, new in renamed.items():
        variable = variables[name]
        action: Action = "copy"
        reason = "as it is" if new == name else "renamed"
        problem = hint = None
        if variable.dtype.kind == "handle":
            action, reason = "drop", f"{variable.dtype} has no plain values"
        elif not new:
            problem, hint = "has no name, which a checkpoint's variables need", "--rename 're:^$=NAME'"
        else:
            results[new] = variable.renamed(new)
        verdicts.append(
            Verdict(
                new, action, name, reason, variable.dtype.name, variable.shape, problem=problem, hint=hint
            )
        )
    return FilePlan(verdicts, results, [source])


def import_checkpoint(
    source: Checkpoint | str | os.PathLike[str],
    prefix: str | os.PathLike[str],
    *,
    rename: Renames = (),
    object_graph_from: Checkpoint | str | os.PathLike[str] | None = None,
    max_shard_size: str | int | None = None,
    force: bool = False,
    sync: bool = True,
) -> FilePlan:
    """Write a checkpoint of any format in TensorFlow's: `plan_import`, then `FilePlan.write`, which see.

    Returns:
        The plan that was carried out.

    Raises:
        CheckpointError: As they do.
    """
    plan = plan_import(source, rename=rename, object_graph_from=object_graph_from)
    plan.write(prefix, max_shard_size=max_shard_size, force=force, sync=sync)
    return plan


class Found(NamedTuple):
    """A variable, and why it goes by a name."""

    variable: Variable
    reason: str


def by_new_names(
    source: Checkpoint, renamed: Mapping[str, str], called: Mapping[str, str] | None = None
) -> dict[str, Found]:
    """Return the variables of `source` by all names that they go by.

    Args:
        source: Whose they are.
        renamed: The new name of each. One that gets no other keeps all that it had, too.
        called: The names that some are meant for. They come before what the source calls them.
    """
    variables, paths = source.variables(), source.paths()
    kept = [name for name, new in renamed.items() if new == name]
    found = {new: Found(variables[old], "renamed") for old, new in renamed.items() if new != old}
    for name in kept:
        if called and name in called:
            found.setdefault(called[name], Found(variables[name], "as Keras loads the file"))
    for name in kept:
        found.setdefault(name, Found(variables[name], "same name"))
    for name in kept:
        if name in paths:
            found.setdefault(paths[name], Found(variables[name], "same name"))
    return found


def _with_objects(source: Checkpoint, found: Mapping[str, Found], objects: Checkpoint) -> FilePlan:
    """Plan to give each key of the object-based checkpoint `objects` its value from `found`."""
    if not is_object_based(objects.variables()):
        raise UsageError(
            f"{objects.path}: has no object graph",
            hint="name a checkpoint that tf.train.Checkpoint wrote, or leave it out",
        )
    variables = source.variables()
    roles, targets = objects.roles(), objects.paths()
    verdicts = []
    results = {}
    taken = set()
    for key, meant in objects.variables().items():
        if roles[key].kind == "metadata":
            results[key] = meant
            place = f"{objects.path}::{key}"
            verdicts.append(Verdict(key, "copy", place, "of the objects", meant.dtype.name, meant.shape))
            continue
        path = targets.get(key, key)
        variable, reason = found.get(key) or found.get(path) or (None, "")
        if reason == "same name":
            reason = "same key" if key in found else f"called {path}"
        problem, hint = _problem(meant, variable, path, found, len(verdicts))
        if variable is not None and problem is None:
            results[key] = variable.renamed(key)
            taken.add(variable.name)
        verdicts.append(
            Verdict(
                key,
                "copy",
                None if variable is None else variable.name,
                problem or reason,
                meant.dtype.name,
                meant.shape,
                problem=problem,
                hint=hint,
            )
        )
    unused = [name for name in variables if name not in taken]
    return FilePlan(verdicts, results, [source, objects], unused=unused)


def _problem(
    meant: Variable, variable: Variable | None, path: str, found: Mapping[str, Found], number: int
) -> tuple[str | None, str | None]:
    """Return why `variable` cannot be what a key needs, and what to type; nothing if it can."""
    if variable is None:
        near = names.nearest(path, found, count=1) if number < _MAX_SUGGESTED else []
        taken = found[near[0]].variable.name if near else "NAME"
        hint = f"--rename {taken}={path} takes that" if near else f"--rename NAME={path}, of what holds it"
        return f"no {path} in what is imported", hint
    if variable.dtype is not meant.dtype:
        return f"{variable.dtype} in what is imported, {meant.dtype} in the object", None
    if variable.shape != meant.shape:
        return f"shape {variable.shape} in what is imported, {meant.shape} in the object", None
    return None, None

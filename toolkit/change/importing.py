"""Making a TensorFlow checkpoint of one of any format: by names, or with the objects of another."""

from __future__ import annotations

import os
from collections.abc import Mapping

from toolkit import renaming
from toolkit.arguments import checked
from toolkit.change import operations
from toolkit.change.drafts import Draft
from toolkit.change.matching import Matching
from toolkit.change.plan import FilePlan
from toolkit.change.readable_names import with_readable_names
from toolkit.change.rules import Rules, Target, copied
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import UsageError
from toolkit.formats.endings import refuse_ending
from toolkit.formats.opening import as_checkpoint
from toolkit.plan import Action, Verdict
from toolkit.renaming import Renames
from toolkit.roles import is_object_based


@checked
def plan_import(
    source: Checkpoint | str | os.PathLike[str],
    *,
    rename: Renames = (),
    object_graph_from: Checkpoint | str | os.PathLike[str] | None = None,
    called: Mapping[str, str] | None = None,
) -> FilePlan:
    """Plan to convert a checkpoint of any format to TensorFlow's. `plan.write(prefix)` carries it out.

    Args:
        source: What to import: open, or its path. It is not changed.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings. Of an object-based checkpoint they move objects along, as
            `edit` does.
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
    if object_graph_from is not None:
        return _with_objects(source, rename, called, as_checkpoint(object_graph_from))
    rules = renaming.read_rules(rename)
    if rules and is_object_based(variables):
        draft = Draft(source)
        for rule in rules:
            operations.rename(draft, rule)
        return draft.plan(data="copy")
    paths = source.paths()
    renamed = renaming.rename_by_either(source.roles(), paths, rules, where=source.path)
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
                new,
                action,
                name,
                reason,
                variable.dtype.name,
                variable.shape,
                problem=problem,
                hint=hint,
                path=paths.get(name) if new == name else None,
            )
        )
    return FilePlan(*with_readable_names(source, verdicts, results), [source])


@checked
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
    """Convert a checkpoint of any format to TensorFlow's: `plan_import`, then `FilePlan.write`.

    Returns:
        The plan that was carried out.

    Raises:
        CheckpointError: As they do.
    """
    refuse_ending(os.fspath(prefix))
    plan = plan_import(source, rename=rename, object_graph_from=object_graph_from)
    plan.write(prefix, max_shard_size=max_shard_size, force=force, sync=sync)
    return plan


def _with_objects(
    source: Checkpoint, rename: Renames, called: Mapping[str, str] | None, objects: Checkpoint
) -> FilePlan:
    """Plan to give each key of the object-based checkpoint `objects` its value from `source`."""
    if not is_object_based(objects.variables()):
        raise UsageError(
            f"{objects.path}: has no object graph",
            hint="name a checkpoint that tf.train.Checkpoint wrote, or leave it out",
        )
    roles, paths = objects.roles(), objects.paths()
    wanted = {key: v for key, v in objects.variables().items() if roles[key].kind != "metadata"}
    targets = {
        key: Target(v.dtype, v.shape, aliases=(paths[key],) if key in paths else (), role=roles[key])
        for key, v in wanted.items()
    }
    rules = Rules(rename=rename, offers=False)
    matching = Matching(source, targets, rules, called=called, where="what is imported")
    made = copied(matching.fates(), targets, source.variables())
    verdicts = []
    for key, meant in objects.variables().items():
        if key in targets:
            verdicts.append(made.verdicts[key])
        else:
            made.results[key] = meant
            place = f"{objects.path}::{key}"
            verdicts.append(Verdict(key, "copy", place, "of the objects", meant.dtype.name, meant.shape))
    sources = [source, objects]
    return FilePlan(verdicts, made.results, sources, unused=made.unused, advice=matching.advice())

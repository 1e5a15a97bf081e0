"""Exporting a checkpoint's variables to a file of another format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toolkit import renaming
from toolkit.arguments import checked
from toolkit.change import results
from toolkit.change.casts import Casts, meant_by, read_casts
from toolkit.change.destinations import check_destination
from toolkit.change.exported_names import Wanted, display_names, objects_in, origin_of, scope_of
from toolkit.change.plan import FilePlan, refuse_source
from toolkit.change.results import Progress
from toolkit.change.shards import check, write_shards
from toolkit.change.unchanged import refuse_changed
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import DType
from toolkit.errors import VariableNotFoundError
from toolkit.formats.opening import as_checkpoint
from toolkit.formats.origins import Origin
from toolkit.plan import Action, Verdict
from toolkit.publish import Publication, refuse_destination
from toolkit.renaming import Renames, Rule
from toolkit.roles import OBJECT_GRAPH, Role
from toolkit.selection import listed, select
from toolkit.units import parse_size
from toolkit.version import __version__

PRODUCER = f"checkpoint-toolkit {__version__}"
"""Who wrote a file, as it says itself."""


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        path: The file.
        num_variables: How many variables are in it.
        nbytes: Its size in bytes.
    """

    path: str
    num_variables: int
    nbytes: int


class ExportPlan(FilePlan):
    """A plan for a file of another format.

    Attributes:
        places: Where each result stands among the objects of a model, by name, if the checkpoint tells and
            weights alone are exported: they are then in the order in which the model made them.
        trained: Which of them an optimizer trains, if the checkpoint tells.
        kept: What the file keeps beside them, to give the checkpoint back.
    """

    kept = Origin()
    places: Mapping[str, str] | None = None
    trained: frozenset[str] | None = None

    @checked
    def export(
        self,
        out: str | os.PathLike[str],
        *,
        compress: str | None = None,
        checksum: bool = False,
        max_shard_size: str | int | None = None,
        layout: str = "tf",
        stats: bool = False,
        force: bool = False,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> Exported:
        """Write the results to the file `out`, read it back, and compare every value.

        Args:
            out: A path ending in `.h5`, `.hdf5`, `.safetensors` or `.npz`.
            compress: `gzip`, or `None`; safetensors has no compression.
            checksum: Let HDF5 keep a checksum of each chunk, too, and compare it at every reading.
            max_shard_size: For safetensors: `500MB`, or bytes; what is larger goes to several files
                and an index, `OUT.safetensors.index.json`.
            layout: Of HDF5: `tf`, or `keras`, the legacy layout that Keras loads with
                `load_weights(…, by_name=True)`; for that the plan is made with `layout="keras"`.
            stats: Add a histogram of each variable to HDF5, on which h5web opens.
            force: Replace what is there.
            sync: Make it survive a power loss.
            progress: Is told the size of each chunk that was written.

        Raises:
            UsageError: `out` ends in nothing that is written, or an option is not for that format.
            PublishError: It exists, or the system refuses something.
            FormatError, ReadError: The checkpoint is damaged.
            MismatchError: A value does not fit the dtype it is cast to, or reads back otherwise; or a source
                has changed since the plan was made.
        """
        out = os.fspath(out)
        kind = check_destination(
            out,
            compress=compress,
            checksum=checksum,
            max_shard_size=max_shard_size,
            layout=layout,
            stats=stats,
        )
        refuse_destination(out, force=force)
        refuse_source(out, self.sources)
        refuse_changed(self.files)
        origin = self.kept if layout == "tf" else Origin()
        variables = self.watched(progress)
        attributes = _attributes(self.sources[0])
        if max_shard_size is not None:
            limit = parse_size(max_shard_size)
            if sum(v.nbytes for v in self.results.values()) > limit:
                path, nbytes = write_shards(out, variables, attributes, origin, limit, force=force, sync=sync)
                return Exported(path, len(variables), nbytes)
        with Publication(out, force=force, sync=sync) as publication:
            staged = publication.staged(os.path.basename(out))
            if kind == "npz":
                from toolkit.formats import npz_writer

                checksums = npz_writer.write(
                    staged,
                    variables.values(),
                    attributes=attributes,
                    compress=compress is not None,
                    origin=origin,
                )
            elif kind == "safetensors":
                from toolkit.formats import safetensors_writer

                checksums = safetensors_writer.write(
                    staged, variables.values(), attributes=attributes, origin=origin
                )
            else:
                from toolkit.formats.hdf5 import keras_layout
                from toolkit.formats.hdf5 import writer as hdf5

                layers = None
                if layout == "keras":
                    layers = keras_layout.layers_of(list(variables), self.places, self.trained)
                options = hdf5.Options(compress, checksum, layout, stats, layers)
                checksums = hdf5.write(
                    staged, variables.values(), attributes=attributes, options=options, origin=origin
                )
            publication.publish(check=lambda: check(staged, variables, checksums, origin))
        return Exported(out, len(variables), os.path.getsize(out))


@checked
def plan_export(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    cast: Casts = (),
    to_tf1: bool = False,
    weights_only: bool = False,
    raw_names: bool = False,
    layout: str = "tf",
) -> ExportPlan:
    """Plan to export the variables that `patterns` mean, all without any.

    Variables go by their readable names, as `inspect` shows them. Their keys, and the object graph of an
    object-based checkpoint (TF2), are no variables of the file: they are kept in its description, and whoever
    reads the file with the toolkit, `plan_import` too, has the checkpoint back. A `rename` leaves them out.

    Args:
        checkpoint: Where they are: open, or its path.
        patterns: Which variables, by their names in the checkpoint.
        exclude: Which to leave out.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings, of readable names, or of keys.
        cast: `{PATTERN: DTYPE}`, or `PATTERN=DTYPE` strings, by the names in the checkpoint; or a dtype alone
            (`bfloat16`, `np.float16`), which all floating-point weights and moving averages become.
        to_tf1: Leave the object graph out: for `write`, which makes a name-based checkpoint. Readable names
            are those of TensorFlow 1 where there are such.
        weights_only: Leave out what is not of the role `weight`: slots, moving averages, counters, metrics.
        raw_names: Let variables go by their keys.
        layout: `keras` for HDF5 in that layout: weights alone, and what layers count beside them.

    Raises:
        VariableNotFoundError: A pattern or OLD matches nothing.
        UsageError: A pattern, rename, cast or dtype cannot be read, a cast is impossible, or `raw_names` is
            given with `to_tf1` or `layout="keras"`.
    """
    checkpoint = as_checkpoint(checkpoint)
    patterns, excluded = listed(patterns), listed(exclude)
    rules = renaming.read_rules(rename)
    wanted = Wanted(to_tf1, weights_only, raw_names, layout == "keras", bool(rules))
    wanted.check()
    variables = checkpoint.variables()
    roles, paths, places = checkpoint.roles(), checkpoint.paths(), checkpoint.tree_paths()
    chosen = select(roles, patterns, excluded, where=checkpoint.path, paths=paths, ways=places)
    if (weights_only or wanted.for_keras) and places:
        rank = {name: number for number, name in enumerate(places)}
        chosen = sorted(chosen, key=lambda name: rank.get(name, len(rank)))
    chosen_roles = {name: roles[name] for name in chosen}
    called = display_names(chosen, {} if raw_names else paths, variables)
    renamed = _renamed(chosen_roles, called, rules, checkpoint.path)
    # patterns mean variables, whose objects come along; what is excluded does not
    has_objects = OBJECT_GRAPH in (chosen if not patterns else roles.keys() - set(excluded))
    objects = objects_in(checkpoint, roles) if wanted.keeps_keys and has_objects else {}
    targets = _cast_to(checkpoint, chosen_roles, cast)
    of_weights = {scope_of(called[name]) for name in chosen if roles[name].kind == "weight"}
    verdicts = []
    made: dict[str, Variable] = {}
    action: Action
    for name in chosen:
        variable, new = variables[name], renamed[name]
        dtype = targets.get(name, variable.dtype)
        why_not = wanted.why_not(variable, roles[name], called[name], of_weights)
        if name in objects:
            action, reason = "keep", "beside the values, for ckpt import: no variable of the file"
        elif why_not is not None:
            action, reason = "drop", why_not
        elif dtype is not variable.dtype:
            made[new] = results.cast(variable, dtype, new)
            action, reason = "cast", results.describe_cast(variable, dtype)
        else:
            made[new] = variable.renamed(new)
            action, reason = ("keep", "unchanged") if new == name else ("copy", "renamed")
            if new != name and new == called[name]:
                reason = _why_called(new, places.get(name))
        verdicts.append(Verdict(new, action, name, reason, dtype.name, variable.shape))
    plan = ExportPlan(verdicts, made, [checkpoint])
    if not to_tf1 and not wanted.for_keras:
        keys = {new: name if wanted.keeps_keys else new for name, new in renamed.items()}
        plan.kept = origin_of(made, keys, _roles_by_key(roles, renamed, keys), objects, path=checkpoint.path)
    if wanted.for_keras and places:
        plan.places = {renamed[name]: place for name, place in places.items() if name in renamed}
        trained = checkpoint.trained()
        plan.trained = trained and frozenset(renamed[name] for name in trained if name in renamed)
    return plan


@checked
def export(
    checkpoint: Checkpoint | str | os.PathLike[str],
    out: str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    cast: Casts = (),
    weights_only: bool = False,
    raw_names: bool = False,
    compress: str | None = None,
    checksum: bool = False,
    max_shard_size: str | int | None = None,
    layout: str = "tf",
    stats: bool = False,
    force: bool = False,
    sync: bool = True,
) -> Exported:
    """Export variables to a file of another format: `plan_export`, then `ExportPlan.export`.

    Raises:
        CheckpointError: As they do.
    """
    check_destination(
        os.fspath(out),
        compress=compress,
        checksum=checksum,
        max_shard_size=max_shard_size,
        layout=layout,
        stats=stats,
    )
    plan = plan_export(
        checkpoint,
        patterns,
        exclude=exclude,
        rename=rename,
        cast=cast,
        weights_only=weights_only,
        raw_names=raw_names,
        layout=layout,
    )
    return plan.export(
        out,
        compress=compress,
        checksum=checksum,
        max_shard_size=max_shard_size,
        layout=layout,
        stats=stats,
        force=force,
        sync=sync,
    )


def _renamed(
    roles: Mapping[str, Role], called: Mapping[str, str], rules: list[Rule], where: str
) -> dict[str, str]:
    """Map each key to its name after the renames, which mean readable names, or else keys."""
    try:
        return renaming.rename_called(roles, called, rules, where=where)
    except VariableNotFoundError as error:
        try:
            renamed = renaming.rename(roles, rules, where=where)
        except VariableNotFoundError:
            raise error from None  # in the words that people read
    return {key: called[key] if new == key else new for key, new in renamed.items()}


def _cast_to(checkpoint: Checkpoint, roles: Mapping[str, Role], casts: Casts) -> dict[str, DType]:
    """Map the keys of the chosen variables that are cast to their new dtypes."""
    variables = checkpoint.variables()
    chosen = {name: variables[name] for name in roles}
    paths, places = checkpoint.paths(), checkpoint.tree_paths()
    where = f"{checkpoint.path}, of what is exported"
    targets = {}
    for pattern, dtype in read_casts(casts):
        for name in meant_by(pattern, dtype, chosen, roles, paths, places, where=where):
            targets[name] = dtype
    return targets


def _roles_by_key(
    roles: Mapping[str, Role], renamed: Mapping[str, str], keys: Mapping[str, str]
) -> dict[str, Role]:
    """Map each variable to its role, both under the names that a reader will see."""
    final = {name: keys[renamed[name]] if name in renamed else name for name in roles}
    return {final[name]: Role(kind, of and final.get(of)) for name, (kind, of) in roles.items()}


def _why_called(name: str, place: str | None) -> str:
    """Return why a variable is called by `name`, which is not its key; `place` is its place in a tree."""
    if place is None:
        return "by its readable name"
    return (
        "by its place among the objects: its name is not unique"
        if name == place
        else "by its name in a graph"
    )


def _attributes(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a file says of where its values come from."""
    attributes: dict[str, Any] = {
        "producer": PRODUCER,
        "source": os.path.basename(checkpoint.path),
    }
    step = _step(checkpoint)
    if step is not None:
        attributes["step"] = step
    return attributes


def _step(checkpoint: Checkpoint) -> int | None:
    """Return the step of training: the variable `global_step`, or what the name ends in."""
    variable = checkpoint.find("global_step")
    if variable is not None and variable.dtype.kind == "int" and not variable.shape:
        return int(variable.load())
    found = re.search(r"-(\d+)\Z", checkpoint.path)
    return int(found[1]) if found else None

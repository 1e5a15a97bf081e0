"""Exporting a checkpoint's variables to a file of another format."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from toolkit import renaming
from toolkit.change import results
from toolkit.change.casts import Casts, meant_by, read_casts
from toolkit.change.plan import FilePlan, refuse_source
from toolkit.change.results import Progress
from toolkit.change.shards import check, write_shards
from toolkit.change.unchanged import refuse_changed
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.dtypes import DType
from toolkit.errors import UsageError
from toolkit.formats.opening import as_checkpoint
from toolkit.plan import Action, Verdict
from toolkit.publish import Publication
from toolkit.renaming import Renames
from toolkit.roles import Role
from toolkit.selection import select
from toolkit.units import parse_size
from toolkit.version import __version__

SUFFIXES = (".h5", ".hdf5", ".safetensors", ".npz")
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
    """

    places: Mapping[str, str] | None = None
    trained: frozenset[str] | None = None

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
                `load_weights(…, by_name=True)`; for that the plan is made with `weights_only`.
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
        check_destination(
            out,
            compress=compress,
            checksum=checksum,
            max_shard_size=max_shard_size,
            layout=layout,
            stats=stats,
        )
        refuse_source(out, self.sources)
        refuse_changed(self.files)
        variables = self.watched(progress)
        attributes = _attributes(self.sources[0])
        if max_shard_size is not None:
            limit = parse_size(max_shard_size)
            if sum(v.nbytes for v in self.results.values()) > limit:
                path, nbytes = write_shards(out, variables, attributes, limit, force=force, sync=sync)
                return Exported(path, len(variables), nbytes)
        with Publication(out, force=force, sync=sync) as publication:
            staged = publication.staged(os.path.basename(out))
            if out.endswith(".npz"):
                from toolkit.formats import npz_writer

                checksums = npz_writer.write(
                    staged, variables.values(), attributes=attributes, compress=compress is not None
                )
            elif out.endswith(".safetensors"):
                from toolkit.formats import safetensors_writer

                checksums = safetensors_writer.write(staged, variables.values(), attributes=attributes)
            else:
                from toolkit.formats.hdf5 import keras_layout
                from toolkit.formats.hdf5 import writer as hdf5

                layers = None
                if layout == "keras":
                    layers = keras_layout.layers_of(list(variables), self.places, self.trained)
                options = hdf5.Options(compress, checksum, layout, stats, layers)
                checksums = hdf5.write(staged, variables.values(), attributes=attributes, options=options)
            publication.publish(check=lambda: check(staged, variables, checksums))
        return Exported(out, len(variables), os.path.getsize(out))


def plan_export(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    cast: Casts = (),
    to_tf1: bool = False,
    weights_only: bool = False,
) -> ExportPlan:
    """Plan to export the variables that `patterns` mean, all without any.

    Args:
        checkpoint: Where they are: open, or its path.
        patterns: Which variables, by their names in the checkpoint.
        exclude: Which to leave out.
        rename: `{OLD: NEW}`, or `OLD=NEW` strings.
        cast: `{PATTERN: DTYPE}`, or `PATTERN=DTYPE` strings, by the names in the checkpoint; or a dtype alone
            (`bfloat16`, `np.float16`), which all floating-point weights and moving averages become.
        to_tf1: Call the variables of an object-based checkpoint by their readable names, which are those
            of TensorFlow 1 where there are such, and leave the object graph out: for `write`, which makes
            a name-based checkpoint of it. `rename` then means the readable names.
        weights_only: Leave out what is no weight of the model, and call weights by their readable names.

    Raises:
        VariableNotFoundError: A pattern or OLD matches nothing.
        UsageError: A pattern, rename, cast or dtype cannot be read, or a cast is impossible.
    """
    checkpoint = as_checkpoint(checkpoint)
    variables = checkpoint.variables()
    roles, paths, places = checkpoint.roles(), checkpoint.paths(), checkpoint.tree_paths()
    chosen = select(roles, patterns, exclude, where=checkpoint.path, paths=paths, ways=places)
    if weights_only and places:
        rank = {name: number for number, name in enumerate(places)}
        chosen = sorted(chosen, key=lambda name: rank.get(name, len(rank)))
    chosen_roles = {name: roles[name] for name in chosen}
    by_path = to_tf1 or weights_only
    called = {name: paths.get(name, name) if by_path else name for name in chosen}
    rules = renaming.read_rules(rename)
    renamed = renaming.rename_called(chosen_roles, called, rules, where=checkpoint.path)
    targets: dict[str, DType] = {}
    chosen_variables = {name: variables[name] for name in chosen}
    for pattern, dtype in read_casts(cast):
        where = f"{checkpoint.path}, of what is exported"
        for name in meant_by(pattern, dtype, chosen_variables, chosen_roles, paths, places, where=where):
            targets[name] = dtype
    of_weights = {_scope(called[name]) for name in chosen if roles[name].kind == "weight"}
    verdicts = []
    made: dict[str, Variable] = {}
    action: Action
    for name in chosen:
        variable, new = variables[name], renamed[name]
        dtype = targets.get(name, variable.dtype)
        if variable.dtype.kind == "handle":
            action, reason = "drop", f"{dtype} has no plain values"
        elif weights_only and not _is_of_model(roles[name], called[name], of_weights):
            action, reason = "drop", "no weight of the model"
        elif to_tf1 and roles[name].kind == "metadata":
            action, reason = "drop", "a name-based checkpoint has no objects"
        elif dtype is not variable.dtype:
            made[new] = results.cast(variable, dtype, new)
            action, reason = "cast", results.describe_cast(variable, dtype)
        else:
            made[new] = variable.renamed(new)
            action, reason = ("keep", "unchanged") if new == name else ("copy", "renamed")
            if by_path and new != name and new == called[name]:
                reason = _why_called(new, places.get(name))
        verdicts.append(Verdict(new, action, name, reason, dtype.name, variable.shape))
    plan = ExportPlan(verdicts, made, [checkpoint])
    if weights_only and places:
        plan.places = {renamed[name]: place for name, place in places.items() if name in renamed}
        trained = checkpoint.trained()
        plan.trained = trained and frozenset(renamed[name] for name in trained if name in renamed)
    return plan


def export(
    checkpoint: Checkpoint | str | os.PathLike[str],
    out: str | os.PathLike[str],
    patterns: str | Iterable[str] = (),
    *,
    exclude: str | Iterable[str] = (),
    rename: Renames = (),
    cast: Casts = (),
    compress: str | None = None,
    checksum: bool = False,
    max_shard_size: str | int | None = None,
    layout: str = "tf",
    stats: bool = False,
    force: bool = False,
    sync: bool = True,
) -> Exported:
    """Export variables to a file of another format: `plan_export`, then `ExportPlan.export`, which see.

    Raises:
        CheckpointError: As they do.
    """
    plan = plan_export(
        checkpoint, patterns, exclude=exclude, rename=rename, cast=cast, weights_only=layout == "keras"
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


def check_destination(
    out: str,
    *,
    compress: str | None = None,
    checksum: bool = False,
    max_shard_size: str | int | None = None,
    layout: str = "tf",
    stats: bool = False,
) -> None:
    """Raise unless `out` ends in what tells a format that is written, and has what is asked for.

    Raises:
        UsageError: It does not.
    """
    if not out.endswith(SUFFIXES):
        raise UsageError(
            f"{out}: cannot tell the format from the name",
            hint=f"end it in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )
    if out.endswith(".weights.h5"):
        raise UsageError(f"{out}: this ending means Keras 3's own layout", hint="end it in .h5 alone")
    if layout not in ("tf", "keras"):
        raise UsageError(f"layout {layout!r}: expected tf or keras", hint="--layout keras")
    if layout != "tf" and not out.endswith((".h5", ".hdf5")):
        raise UsageError("--layout is for HDF5", hint="leave it out, or end OUT in .h5")
    if compress not in (None, "gzip"):
        raise UsageError(f"compression {compress!r}: expected gzip", hint="--compress gzip")
    if compress and out.endswith(".safetensors"):
        raise UsageError("safetensors has no compression", hint="leave --compress out")
    if stats and not out.endswith((".h5", ".hdf5")):
        raise UsageError("--stats is for HDF5", hint="leave it out, or end OUT in .h5")
    if checksum and not out.endswith((".h5", ".hdf5")):
        raise UsageError("--checksum is for HDF5: this format has one always", hint="leave it out")
    if max_shard_size is not None and not out.endswith(".safetensors"):
        raise UsageError(
            "--max-shard-size: this format is one file", hint="leave it out, or end OUT in .safetensors"
        )
    if max_shard_size is not None:
        parse_size(max_shard_size)


def _is_of_model(role: Role, name: str, of_weights: Collection[str]) -> bool:
    """Return whether a variable is a weight, or a number that a layer counts beside its weights."""
    return role.kind == "weight" or (role.kind == "counter" and "/" in name and _scope(name) in of_weights)


def _scope(name: str) -> str:
    return name.rpartition("/")[0]


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

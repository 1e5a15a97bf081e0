"""Several checkpoints in one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from toolkit import dtypes
from toolkit.arguments import checked, choose
from toolkit.change import results
from toolkit.change.plan import FilePlan
from toolkit.change.readable_names import with_readable_names
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import FormatError, UsageError
from toolkit.formats.bundle.object_edit import ObjectEditor
from toolkit.formats.bundle.object_merge import DifferentObjectsError, Joined, join
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.bundle.sharing import DATA_MODES, DataMode
from toolkit.formats.opening import as_checkpoint
from toolkit.formats.read_back import is_equal
from toolkit.plan import Verdict
from toolkit.roles import OBJECT_GRAPH, is_object_based

OnConflict = Literal["error", "first", "last"]


@checked
def plan_merge(
    *checkpoints: Checkpoint | str | os.PathLike[str] | Sequence[Checkpoint | str | os.PathLike[str]],
    on_conflict: OnConflict = "error",
    data: DataMode = "auto",
) -> FilePlan:
    """Plan to put the variables of several checkpoints into one. `plan.write(prefix)` does it.

    What is equal in dtype, shape and value is no conflict. Variables meet by their readable names.
    Object-based checkpoints (TF2) are merged with their object graphs: objects of the same path become one.

    Args:
        *checkpoints: Two or more, open or their paths; or a list of them. They are not changed.
        on_conflict: What becomes of a variable that differs: an `error`, the `first` or the `last` one's.
        data: Which data files are shared with them by hard link, as in `plan_reinit`.

    Raises:
        UsageError: There are fewer than two, or object-based ones beside others.
        FormatError, ReadError: One of them cannot be read.
    """
    choose("on_conflict", on_conflict, get_args(OnConflict))
    choose("data", data, DATA_MODES)
    given: Sequence[Any] = checkpoints
    if len(checkpoints) == 1 and isinstance(checkpoints[0], (list, tuple)):
        given = checkpoints[0]
    if len(given) < 2:
        raise UsageError("expected two checkpoints or more to merge", hint="name all of them")
    opened = [as_checkpoint(checkpoint) for checkpoint in given]
    based = [is_object_based(checkpoint.variables()) for checkpoint in opened]
    if any(based) and not all(based):
        other = opened[based.index(False)]
        raise UsageError(
            f"{opened[based.index(True)].path}: object-based (TF2), {other.path}: not",
            hint="`ckpt export CKPT OUT --to-tf1` makes a name-based one, which can be merged",
        )
    merged = _Merged(opened[0], on_conflict)
    for checkpoint in opened[1:]:
        merged.add(checkpoint, _joined(merged, checkpoint) if all(based) else None)
    named = with_readable_names(opened[0], merged.verdicts.values(), merged.results)
    return FilePlan(*named, opened, data=data)


class _Merged:
    """What the checkpoints so far make together."""

    def __init__(self, first: Checkpoint, on_conflict: OnConflict) -> None:
        self._on_conflict = on_conflict
        self._paths = dict(first.paths()) if is_object_based(first.variables()) else {}
        self._where: dict[str, Checkpoint] = {}
        self.results: dict[str, Variable] = {}
        self.verdicts: dict[str, Verdict] = {}
        named = _readable(first)
        for name, variable in first.variables().items():
            self._put(named.get(name, name), variable, first, "keep", name, "of the first")

    def add(self, checkpoint: Checkpoint, joined: Joined | None) -> None:
        """Add the variables of a checkpoint, and the object graph of all so far."""
        called = {} if joined is None else checkpoint.paths()
        named = _readable(checkpoint)
        for name, variable in checkpoint.variables().items():
            if name == OBJECT_GRAPH and joined is not None:
                value = np.array(joined.serialized, object)
                graph = results.constant(name, value, dtypes.as_dtype("string"))
                self._put(name, graph, checkpoint, "constant", None, "the objects of all")
                continue
            key = named.get(name, name) if joined is None else joined.keys.get(name, name)
            if key not in self.results:
                self._paths |= {key: called[name]} if name in called else {}
                place = f"{checkpoint.path}::{name}"
                self._put(key, variable, checkpoint, "copy", place, "of that checkpoint alone")
            else:
                self._resolve(key, variable, checkpoint)

    def _resolve(self, key: str, variable: Variable, checkpoint: Checkpoint) -> None:
        """Decide between what is here and another of the same name."""
        ours, before = self.results[key], self._where[key]
        if is_equal(ours, variable):
            return
        place = f"{checkpoint.path}::{variable.name}"
        what = next((w for w in ("dtype", "shape") if getattr(ours, w) != getattr(variable, w)), None)
        differs = "other values" if what is None else f"{what} {getattr(variable, what)}"
        reason = f"{checkpoint.path} has {differs}"
        if self._on_conflict == "last":
            self._put(key, variable, checkpoint, "copy", place, f"the last; {before.path} has others")
        elif self._on_conflict == "first":
            verdict = self.verdicts[key]
            self._put(key, ours, before, verdict.action, verdict.source, f"the first; {reason}")
        else:
            verdict = self.verdicts[key]
            hint = (
                "--on-conflict first takes the one, --on-conflict last the other; "
                "`ckpt edit` renames or drops it"
            )
            self._put(key, ours, before, verdict.action, verdict.source, verdict.reason, reason, hint)

    def _put(
        self,
        key: str,
        variable: Variable,
        checkpoint: Checkpoint,
        action: str,
        source: str | None,
        reason: str,
        problem: str | None = None,
        hint: str | None = None,
    ) -> None:
        self._where[key] = checkpoint
        self.results[key] = variable.renamed(key)
        self.verdicts[key] = Verdict(
            key,
            action,  # type: ignore[arg-type]
            source,
            reason,
            variable.dtype.name,
            variable.shape,
            problem=problem,
            hint=hint,
            path=self._paths.get(key),
        )


def _readable(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Return the readable names by which the variables of a checkpoint meet those of others, by key.

    Keys of Keras's files number layers: what `layers/dense/vars/0` is in two of them need not be one thing.
    The keys of an object-based checkpoint are the names.
    """
    return {} if is_object_based(checkpoint.variables()) else checkpoint.paths()


def _joined(merged: _Merged, checkpoint: Checkpoint) -> Joined:
    """Return the object graph of what is merged, with that of a further checkpoint."""
    ours, theirs = (
        ObjectEditor(graph.load().reshape(-1)[0])
        for graph in (merged.results[OBJECT_GRAPH], checkpoint[OBJECT_GRAPH])
    )
    try:
        return join(ours, theirs, set(merged.results))
    except DifferentObjectsError as error:
        raise UsageError(
            f"{checkpoint.path}: {error} is not the object there that it is in those before it",
            hint="give one of them another name first: `ckpt edit CKPT --rename OBJECT=OTHER -o OUT`",
        ) from error
    except MessageError as error:
        raise FormatError(f"object graph: {error}", path=checkpoint.path) from error

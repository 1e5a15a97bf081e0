"""Saving that can be relied on: complete or not there, checked, remembered, and cleaned up after."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from toolkit.arguments import checked, path_of
from toolkit.change.kept import KeptDirectory
from toolkit.change.retention import Retention
from toolkit.errors import CheckpointError, FormatError, MismatchError, PublishError, UsageError
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.writer import renumber
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.read_back import checksum_of
from toolkit.formats.records import WEIGHTS, Mode, Saved
from toolkit.graph.keeping_weights import save_weights
from toolkit.graph.object_plan import ObjectPlan
from toolkit.graph.plan import GraphPlan
from toolkit.graph.restore import plan_restore
from toolkit.graph.saving import save as save_session
from toolkit.graph.saving import saver_of
from toolkit.graph.trackables import variables_of
from toolkit.graph.variables import by_name, dtype_of, shape_of
from toolkit.units import count
from toolkit.urls import refuse_url_to_write

_SPARE_BYTES = 1 << 20
"""Beside the values: the index, the graph and the like, which nobody knows before."""


class Restored(NamedTuple):
    """What was restored.

    Attributes:
        path: The save.
        step: Its step.
        plan: What was carried out.
        skipped: Why newer saves were not taken: each is broken.
    """

    path: str
    step: int
    plan: GraphPlan | ObjectPlan
    skipped: tuple[CheckpointError, ...]

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} newer ones skipped" if self.skipped else ""
        return f"<Restored {self.path!r}: step {self.step}, {self.plan.summary()}{skipped}>"


class CheckpointKeeper:
    """Saves a training, keeps what is worth it, and restores the newest save that is sound.

    A save is written beside its place, read back, and given its name when it is complete: whoever is
    killed, or meets a full disk, leaves the saves before it as they were and nothing behind. What is kept,
    and how good it was, is remembered over restarts. Saves that another program made are never removed.

    Args:
        directory: Made if it is missing.
        name: Saves are called `NAME-STEP`; those of a Keras model's weights `NAME-STEP.weights.h5`.
        keep: How many of the newest are kept.
        keep_every: Keep every save whose step is a multiple of this, too; 0 for none.
        keep_best: Keep the best so many by the metric, too.
        mode: Whether the best metric is the greatest (`max`) or the least (`min`).
        sync: Make each save survive a power loss.

    Raises:
        UsageError: An argument makes no sense.
        PublishError: The directory is a URL, or cannot be made.
        FormatError: The record of earlier saves is damaged.
    """

    @checked
    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        name: str = "model.ckpt",
        keep: int = 5,
        keep_every: int = 0,
        keep_best: int = 0,
        mode: Mode = "max",
        sync: bool = True,
    ) -> None:
        self._retention = Retention(keep, keep_every, keep_best, mode)
        self._retention.check()
        if not isinstance(name, str) or not name or os.path.basename(name) != name:
            raise UsageError(
                f"name: expected one without a directory, got {name!r}", hint="name='model.ckpt'"
            )
        self._directory = path_of(directory, "directory")
        self._name = name
        self._sync = sync
        refuse_url_to_write(self._directory)
        try:
            os.makedirs(self._directory, exist_ok=True)
        except OSError as error:
            raise PublishError(
                f"{self._directory}: cannot be made: {(error.strerror or str(error)).lower()}",
                path=self._directory,
                hint="choose another directory",
            ) from error
        self._kept = KeptDirectory(self._directory, name, self._retention, sync=sync)

    def __repr__(self) -> str:
        newest = f", the newest {self.saves[-1].name}" if self.saves else ""
        return f"<CheckpointKeeper {self._directory!r}: {count(len(self.saves), 'save')}{newest}>"

    @property
    def saves(self) -> tuple[Saved, ...]:
        """The saves that are kept, oldest first."""
        return tuple(self._kept.saves)

    @property
    def best(self) -> str | None:
        """Path of the best save by its metric, if one has any."""
        best = self._retention._replace(keep_best=1).best(self._kept.saves)
        return self._kept.path(best.pop()) if best else None

    def prepare(self, graph: tf.Graph) -> None:
        """Add to `graph` what saving its variables needs, so that it can be finalized before."""
        variables = by_name(graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
        if variables:
            saver_of(graph, variables)

    def save(self, target: Any, step: int, *, metric: float | None = None) -> str:
        """Save, and remove what is not kept any more. When this returns, the save is complete.

        Args:
            target: A session (also a monitored one), whose global variables are saved through the Saver; a
                `tf.train.Checkpoint`; or a Keras model, whose weights are, with what its optimizer keeps,
                and the states of its seed generators (of Dropout and the like).
            step: Of the training: a whole number of any kind. This keeper's save of the step is replaced.
            metric: How good the model is: by this the best are kept.

        Returns:
            Its path: a prefix, or a file of weights.

        Raises:
            PublishError: There is no room for it, or the system refuses something. What was there before is
                there still.
            MismatchError, FormatError: What was written is not what was meant; it is not there.
            ModelError: A variable has no value.
            UsageError: `target` is none of these, or `step` is below 0.
        """
        step = _whole(step)
        measured = None if metric is None else _number(metric)
        target = _target(target)
        is_weights = isinstance(target, tf.keras.Model)
        name = f"{self._name}-{step}{WEIGHTS if is_weights else ''}"
        path = self._kept.path(name)
        replaces = name in {save.name for save in self._kept.saves}
        self._refuse_without_room(target, path)
        saved = Saved(name, step, time.time(), measured)
        self._kept.begin(saved)
        try:
            if is_weights:
                save_weights(target, path, force=replaces, sync=self._sync)
            elif isinstance(target, tf.train.Checkpoint):
                _save_objects(target, path, force=replaces, sync=self._sync)
            else:
                save_session(target, path, force=replaces, sync=self._sync)
        except BaseException:
            self._kept.give_up()
            raise
        self._kept.add(saved)
        return path

    def restore(self, target: Any, **options: Any) -> Restored | None:
        """Restore the newest save that is sound into `target`; `None` if there is none at all.

        The newest is what `toolkit.latest` tells; if the state file was turned back to an earlier save, that.

        Args:
            target: As for `save`. A Keras model gets its weights and the state of its optimizer, which is
                built if it is not yet; of a `tf.train.Checkpoint` tables and iterators are restored, too, and
                what is not made yet when it is made, from the save, which must be there then.
            options: Of `plan_restore`.

        Raises:
            FormatError: There are saves, and all are broken.
            PlanError: The newest sound one does not fit `target`, or a Keras model is compiled otherwise
                than it was; nothing was done.
        """
        target = _target(target)
        name, problems = self._kept.newest_sound(weights=isinstance(target, tf.keras.Model))
        if name is None:
            if problems:
                raise FormatError(
                    f"every save is broken; the newest: {problems[0].message}",
                    path=self._directory,
                    hint="take the directory from a backup",
                )
            return None
        path = self._kept.path(name)
        step = int(name.removesuffix(WEIGHTS).rpartition("-")[2])
        with open_checkpoint(path) as checkpoint:
            plan = plan_restore(checkpoint, getattr(target, "graph", target), **options)
            if isinstance(plan, GraphPlan):
                plan.apply(target)
            else:
                plan.apply()
        return Restored(path, step, plan, tuple(problems))

    def _refuse_without_room(self, target: Any, path: str) -> None:
        needed = _SPARE_BYTES + _num_bytes(target)
        status = os.statvfs(self._directory)
        free = status.f_bavail * status.f_frsize
        if free < needed:
            raise PublishError(
                f"{path}: not written: needs {needed} bytes, and {free} are free",
                path=path,
                hint="free some space, or keep fewer saves; the earlier ones are whole",
            )


def _whole(step: Any) -> int:
    """Return a step as a number: it may be NumPy's, or a variable.

    Raises:
        UsageError: `step` is not a whole number, or below 0.
    """
    value = np.asarray(step.numpy() if hasattr(step, "numpy") else step)
    if (
        value.size != 1
        or value.dtype.kind not in "iuf"
        or value.item() != int(value.item())
        or value.item() < 0
    ):
        raise UsageError(f"step {step!r}: expected a whole number of 0 or more")
    return int(value.item())


def _number(metric: Any) -> float:
    """Return a metric as a number.

    Raises:
        UsageError: `metric` is not a number.
    """
    try:
        return float(np.asarray(metric, np.float64).reshape(()))
    except (TypeError, ValueError) as error:
        raise UsageError(f"metric {metric!r}: expected a number") from error


def _target(target: Any) -> Any:
    """Return what can be saved: of a monitored session the session in it.

    Raises:
        UsageError: It cannot.
    """
    if hasattr(target, "_tf_sess"):  # MonitoredSession gives its own in no other way
        target = target._tf_sess()
    known = tf.compat.v1.Session | tf.compat.v1.InteractiveSession | tf.train.Checkpoint | tf.keras.Model
    if not isinstance(target, known):
        raise UsageError(
            f"{type(target).__name__}: expected a session, a tf.train.Checkpoint or a Keras model",
            hint="tf.train.Checkpoint(model=…, optimizer=…) keeps any objects",
        )
    return target


def _num_bytes(target: Any) -> int:
    """Return the bytes of the values that will be saved, as far as they are known."""
    if isinstance(target, tf.keras.Model):
        variables = [*target.variables, *getattr(getattr(target, "optimizer", None), "variables", [])]
    elif isinstance(target, tf.train.Checkpoint):
        variables = list(variables_of(target).values())
    else:
        found = by_name(target.graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)).values()
        return sum(int(np.prod(shape_of(v) or ())) * (dtype_of(v).itemsize or 0) for v in found)
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


def _save_objects(checkpoint: tf.train.Checkpoint, prefix: str, *, force: bool, sync: bool) -> None:
    """Save what a `tf.train.Checkpoint` keeps; it is read back before it takes its name."""

    def write(staged: str, num_shards: int) -> None:
        try:
            checkpoint.write(staged)
        except tf.errors.OpError as error:
            raise _refused(error, prefix) from error
        renumber(staged, num_shards)

    def check(staged: str) -> None:
        with BundleCheckpoint(staged) as written:
            for variable in written.variables().values():
                if variable.dtype.kind != "handle":
                    checksum_of(variable)
            for key, variable in variables_of(checkpoint).items():
                if written.find(key) is None:
                    raise MismatchError(
                        f"{prefix}: {key} was not written", name=key, expected=str(variable.dtype), found=None
                    )

    publish_bundle(prefix, write, check=check, force=force, sync=sync)


def _refused(error: tf.errors.OpError, prefix: str) -> Exception:
    from toolkit.graph.failures import as_system_error, reason

    return as_system_error(error, prefix) or PublishError(
        f"{prefix}: not written: {reason(error)}", path=prefix
    )

"""Saving a session's variables through TensorFlow's Saver, and out by the one door."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from toolkit.arguments import checked
from toolkit.errors import ModelError, PublishError
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.writer import renumber
from toolkit.formats.endings import refuse_ending
from toolkit.formats.read_back import check_written
from toolkit.graph.failures import as_system_error, reason
from toolkit.graph.variables import Partitioned, by_name, dtype_of, parts_of, shape_of


@checked
def save(
    session: tf.compat.v1.Session,
    prefix: str | os.PathLike[str],
    *,
    checksums: Mapping[str, int | None] | None = None,
    force: bool = False,
    sync: bool = True,
) -> str:
    """Save all global variables, and the graph as `.meta`, under `prefix`; the state file is not touched.

    The Saver writes to a staged prefix. What it wrote is read again and compared with what the graph
    has, and for the variables in `checksums` with these, before it takes its name.

    Args:
        session: Whose variables.
        prefix: The path without `.index`.
        checksums: CRC-32C, by name, of values that must not have changed on the way.
        force: Replace the checkpoint there.
        sync: Make it survive a power loss.

    Returns:
        `prefix`, as a Saver does.

    Raises:
        PublishError: `prefix` exists, or the system refuses something.
        UsageError: `prefix` cannot be one, or its ending says another format.
        ModelError: A variable has no value.
        MismatchError, FormatError: What was written is not what was meant.
    """
    prefix = os.fspath(prefix)
    refuse_ending(prefix)
    graph = session.graph
    variables = by_name(graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
    known = checksums or {}

    def write(staged: str, num_shards: int) -> None:
        saver = saver_of(graph, variables)
        try:
            saver.save(session, staged, write_state=False)
        except tf.errors.FailedPreconditionError as error:
            raise ModelError(
                f"a variable has no value: {reason(error)}", hint="initialize or restore it first"
            ) from error
        except tf.errors.OpError as error:
            if system_error := as_system_error(error, prefix):
                raise system_error from error
            raise PublishError(f"{prefix}: not written: {reason(error)}", path=prefix) from error
        renumber(staged, num_shards)

    def check(staged: str) -> None:
        expected = {
            name: (dtype_of(variable), session_shape(session, variable), known.get(name))
            for name, variable in variables.items()
        }
        with BundleCheckpoint(staged) as written:
            check_written(written, expected)

    num_files = max(len(_tasks(variables)), 1)
    publish_bundle(prefix, write, check=check, num_files=num_files, force=force, sync=sync)
    return prefix


def saver_of(graph: tf.Graph, keys: Mapping[str, Any]) -> tf.compat.v1.train.Saver:
    """Return the Saver of these variables by key: one for all times, since each adds ops to the graph.

    Raises:
        ModelError: There is none yet, and the graph is finalized.
    """
    savers, known = _savers(keys)
    if known not in savers:
        if graph.finalized:
            raise ModelError(
                "the graph is finalized, and a Saver would have to add its ops",
                hint="before it is: CheckpointKeeper.prepare(graph), plan.prepare(), or save once",
            )
        with graph.as_default(), tf.device(None), tf.control_dependencies(None):
            savable = {k: v.parts if isinstance(v, Partitioned) else v for k, v in keys.items()}
            is_sharded = len(_tasks(keys)) > 1
            savers[known] = tf.compat.v1.train.Saver(savable, max_to_keep=0, sharded=is_sharded)
    return savers[known]


def _tasks(variables: Mapping[str, Any]) -> set[tuple[Any, ...]]:
    """Return the tasks of a cluster that variables are placed on: each writes a data file of its own."""
    devices = {str(part.device) for variable in variables.values() for part in parts_of(variable)}
    specs = map(tf.compat.v1.DeviceSpec.from_string, devices)
    return {(spec.job, spec.replica, spec.task) for spec in specs}


def has_saver(keys: Mapping[str, Any]) -> bool:
    """Return whether `saver_of` has the Saver of these variables already."""
    savers, known = _savers(keys)
    return known in savers


def _savers(keys: Mapping[str, Any]) -> tuple[dict[Any, tf.compat.v1.train.Saver], Any]:
    """Return the Savers that there are, and by what that of `keys` is known among them."""
    # a variable lives as long as its graph, which takes no attributes
    keeper = parts_of(next(iter(keys.values())))[0]
    savers = vars(keeper).setdefault("_checkpoint_toolkit_savers", {})
    return savers, tuple((key, part.op.name) for key, variable in keys.items() for part in parts_of(variable))


def session_shape(session: tf.compat.v1.Session, variable: object) -> tuple[int, ...]:
    """Return the shape of a variable; of one that the graph leaves open, that of its value."""
    shape = shape_of(variable)
    if shape is None:
        shape = tuple(session.run(variable).shape)
    return shape

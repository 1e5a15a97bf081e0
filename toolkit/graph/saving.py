"""Saving a session's variables through TensorFlow's Saver, and out by the one door."""

from __future__ import annotations

import os
from collections.abc import Mapping

import tensorflow as tf

from toolkit.errors import ModelError, PublishError
from toolkit.formats.bundle.publication import publish_bundle
from toolkit.formats.bundle.verify import check_bundle
from toolkit.formats.bundle.writer import renumber
from toolkit.graph.variables import by_name, dtype_of, shape_of


def save(
    session: tf.compat.v1.Session,
    prefix: str,
    *,
    checksums: Mapping[str, int | None] | None = None,
    force: bool = False,
    sync: bool = True,
) -> None:
    """Save all global variables, and the graph as `.meta`, under `prefix`; the state file is not touched.

    The Saver writes to a staged prefix. What it wrote is read again and compared with what the graph
    has, and for the variables in `checksums` with these, before it takes its name.

    Args:
        session: Whose variables.
        prefix: The path without `.index`.
        checksums: CRC-32C, by name, of values that must not have changed on the way.
        force: Replace the checkpoint there.
        sync: Make it survive a power loss.

    Raises:
        PublishError: `prefix` exists, or the system refuses something.
        UsageError: `prefix` cannot be one.
        ModelError: A variable has no value.
        MismatchError, FormatError: What was written is not what was meant.
    """
    graph = session.graph
    variables = by_name(graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES))
    known = checksums or {}

    def write(staged: str, num_shards: int) -> None:
        with graph.as_default():
            saver = tf.compat.v1.train.Saver(variables)
        try:
            saver.save(session, staged, write_state=False)
        except tf.errors.FailedPreconditionError as error:
            raise ModelError(f"a variable has no value: {error.message}") from error
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
            raise PublishError(f"{prefix}: not written: {reason}", path=prefix) from error
        if num_shards > 1:
            renumber(staged, num_shards)

    def check(staged: str) -> None:
        expected = {
            name: (dtype_of(variable), session_shape(session, variable), known.get(name))
            for name, variable in variables.items()
        }
        check_bundle(staged, expected)

    publish_bundle(os.fspath(prefix), write, check=check, force=force, sync=sync)


def session_shape(session: tf.compat.v1.Session, variable: object) -> tuple[int, ...]:
    """Return the shape of a variable; of one that the graph leaves open, that of its value."""
    shape = shape_of(variable)
    if shape is None:
        shape = tuple(session.run(variable).shape)
    return shape

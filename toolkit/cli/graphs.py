"""What the commands that load TensorFlow have in common: quiet loading, and a built model."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.cli.output import Settings, passing
from toolkit.deferred import needs_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


def seed_or_drawn(seed: int | None) -> int:
    """Return `seed`, or one that is drawn: 31 bits, which every op of TensorFlow takes."""
    import secrets

    return secrets.randbits(31) if seed is None else seed


@contextlib.contextmanager
def tensorflow() -> Iterator[None]:
    """Load TensorFlow, and keep its native log off the terminal while it is used, unless --debug.

    It writes to file descriptor 2 before anybody can tell it not to. Python's own stderr, where the
    user's model function may print, goes on as before.

    Raises:
        UsageError: TensorFlow is not installed.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stdout_to_stderr())
        loading = stack.enter_context(passing("loading TensorFlow…"))
        if not Settings.debug:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            stack.enter_context(_native_log_diverted())
        try:
            import tensorflow as tf
        except ImportError as error:
            raise needs_tensorflow("this command", error) from error
        if not Settings.debug:
            tf.get_logger().setLevel("ERROR")
        loading()
        yield


@contextlib.contextmanager
def session(graph: Any) -> "Iterator[tf.compat.v1.Session]":
    """Open a session on the processor alone, so that the same seed gives the same values."""
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    with tf.compat.v1.Session(graph=graph, config=config) as opened:
        yield opened


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Let what anybody but the command prints on stdout, a child process too, go to stderr."""
    sys.stdout.flush()
    try:
        stdout = os.dup(1)
    except OSError:  # closed
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextlib.contextmanager
def _native_log_diverted() -> Iterator[None]:
    import tempfile

    sys.stderr.flush()
    terminal = os.dup(2)
    python_stderr = sys.stderr
    with (
        tempfile.TemporaryFile() as log,
        open(terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace") as stderr,
    ):
        os.dup2(log.fileno(), 2)
        if sys.stderr is sys.__stderr__:
            sys.stderr = stderr
        try:
            yield
        finally:
            stderr.flush()
            sys.stderr = python_stderr
            os.dup2(terminal, 2)

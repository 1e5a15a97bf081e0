"""What TensorFlow says when an op fails, in a line that a person can use."""

from __future__ import annotations

import errno
import os
import re

import tensorflow as tf

_NOISE = re.compile(
    r"\s*(File \"|Detected at node|Graph execution error|Traceback|Original stack|node \(|\[\[\{\{node|"
    r"\d+ (successful|derived)|Restoring from checkpoint failed|Node: )"
)
_SYSTEM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


def reason(error: tf.errors.OpError) -> str:
    """Return the cause that TensorFlow names somewhere among stack frames and generalities."""
    message = str(error.message).rpartition("Original error:")[2] or str(error.message)
    for line in message.splitlines():
        if line.strip() and not line.startswith("    ") and not _NOISE.match(line):
            return re.sub(r"\s*\[\[\{\{node.*", "", line).strip()
    return " ".join(message.split())[:200]


def as_system_error(error: tf.errors.OpError, path: str) -> OSError | None:
    """Return the error of the system that TensorFlow met at `path`; `None` if it was none."""
    for number in _SYSTEM_ERRORS:
        if os.strerror(number) in str(error.message):
            return OSError(number, os.strerror(number), path)
    return None

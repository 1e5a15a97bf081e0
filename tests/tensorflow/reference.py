"""TensorFlow's own way of writing and reading a checkpoint, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.strategies import PLAIN
from tests.tensorflow import tf
from toolkit.dtypes import DType

Content = Mapping[str, tuple[DType, np.ndarray]]


def to_tensor(dtype: DType, values: np.ndarray):
    """Return TensorFlow's tensor of these very bits."""
    if dtype.kind == "quantized":
        return tf.bitcast(tf.constant(values), tf.as_dtype(dtype.name))
    if dtype.kind == "string":
        return tf.constant(values.reshape(-1).tolist(), tf.string, shape=values.shape)
    return tf.constant(values, tf.as_dtype(dtype.name))


def save(prefix: Path | str, content: Content) -> None:
    """Write a checkpoint with TensorFlow."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(content),
        shape_and_slices=[""] * len(content),
        tensors=[to_tensor(dtype, values) for dtype, values in content.values()],
    )


def restore(prefix: Path | str, content: Content) -> dict[str, np.ndarray]:
    """Read with TensorFlow the values of the names in `content`."""
    tensors = tf.raw_ops.RestoreV2(
        prefix=str(prefix),
        tensor_names=list(content),
        shape_and_slices=[""] * len(content),
        dtypes=[tf.as_dtype(dtype.name) for dtype, _ in content.values()],
    )
    read = {}
    for (name, (dtype, _)), tensor in zip(content.items(), tensors, strict=True):
        plain = tf.bitcast(tensor, tf.as_dtype(dtype.numpy.name)) if dtype.kind == "quantized" else tensor
        values = plain.numpy()
        read[name] = np.array(values, object) if dtype.kind == "string" else values
    return read


def can_save(dtype: DType, folder: Path) -> bool:
    """Return whether this TensorFlow can make and save a tensor of `dtype`."""
    try:
        save(folder / "probe", {"x": (dtype, np.zeros(2, dtype.numpy))})
    except (tf.errors.OpError, TypeError, ValueError):
        return False
    return True


def savable(folder: Path) -> list[DType]:
    """Return the plain dtypes that TensorFlow can make and save."""
    return [dtype for dtype in PLAIN if can_save(dtype, folder)]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays have one shape and the same bits."""
    if a.dtype == object or b.dtype == object:
        return a.shape == b.shape and a.reshape(-1).tolist() == b.reshape(-1).tolist()
    return a.shape == b.shape and a.tobytes() == b.tobytes()

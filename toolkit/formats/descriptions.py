"""What the toolkit writes of a tensor where a format has no word for it: in JSON, beside the tensors."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from toolkit import dtypes
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType
from toolkit.formats.origins import Origin
from toolkit.names import encode_name


def keys_for(variables: Collection[Variable], *, taken: Collection[str]) -> dict[str, str]:
    """Return a key for each variable, by name: its name, or where that cannot be one, another.

    A key is text without NUL, and none of those that are `taken`.
    """
    keys: dict[str, str] = {}
    used = {v.name for v in variables if is_key(v.name, taken)} | set(taken)
    for variable in variables:
        key = variable.name
        if not is_key(key, taken):
            key = "".join(c if is_key(c, ()) else f"%{ord(c) & 0xFF:02X}" for c in key)
            while key in used:
                key = "%" + key
            used.add(key)
        keys[variable.name] = key
    return keys


def is_key(name: str, taken: Collection[str]) -> bool:
    """Return whether `name` can be a key as it is."""
    return name not in taken and "\0" not in name and not any("\ud800" <= c <= "\udfff" for c in name)


def fits(dtype: DType, shape: Sequence[Any], nbytes: int) -> bool:
    """Return whether a described tensor can be what `nbytes` hold; a string takes a byte or more."""
    if not all(type(size) is int for size in shape) or dtypes.shape_problem(dtype, shape):
        return False
    count: int = math.prod(shape)
    return count <= nbytes if dtype.itemsize is None else bool(count * dtype.itemsize == nbytes)


def describe(
    variable: Variable, key: str, *, stored_as: str | None, crc32c: int, origin: Origin
) -> dict[str, Any]:
    """Return what is to be said of a tensor.

    Args:
        variable: The tensor.
        key: What it is called in the file.
        stored_as: TensorFlow's dtype that the file says it has; `None` where it is stored as bytes.
        crc32c: Of its values, as a bundle stores them.
        origin: What is kept of where it comes from.
    """
    described: dict[str, Any] = {"crc32c": crc32c}
    if key != variable.name:
        described["tf_name"] = encode_name(variable.name).hex()
    if stored_as != variable.dtype.name:
        described |= {"tf_dtype": variable.dtype.name, "shape": list(variable.shape)}
    return described | origin.described(variable.name)

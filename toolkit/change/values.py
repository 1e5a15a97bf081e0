"""Values that a person gives: typed on the command line, in a `.npy` file, or as an array."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from toolkit import casting, dtypes
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType
from toolkit.errors import MismatchError, ReadError, UsageError

Array = np.ndarray[Any, Any]
_MAX_SHOWN = 40
_WORDS = {"true": True, "false": False, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def read_value(value: object, like: Variable | None, name: str) -> tuple[Array, DType, str]:
    """Return the values that `value` gives, their dtype, and how they are shown in a plan.

    Args:
        value: An array, a number, a list of lists of numbers, or text: a number, a list in brackets, or the
            path of a `.npy` file. For a variable of strings, text is the string itself.
        like: The variable whose dtype and shape it must fit; one number fills all of it. `None` takes those
            of an array.
        name: What it is called, for messages.

    Raises:
        MismatchError: It does not fit.
        UsageError: It cannot be read.
        ReadError: The file cannot be.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise UsageError(f"{name}: a masked array has places without a value", hint="fill them first")
    shown = f"an array of {np.shape(value)}" if isinstance(value, np.ndarray) else str(value)
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 1] + "…"
    if isinstance(value, str) and value.endswith(".npy"):
        array = _load(value)
        shown = f"what {value} holds"
    elif (
        like is not None
        and like.dtype.kind == "string"
        and isinstance(value, str)
        and (listed := _strings_listed(value, like.shape)) is not None
    ):
        array = listed
    elif like is not None and like.dtype.kind == "string" and isinstance(value, (str, bytes)):
        array = np.array(
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value, object
        )
    else:
        array = _array(_parsed(value, name) if isinstance(value, str) else value, name)
    if like is None:
        dtype = _dtype_of(array, name)
        return _strings(array, name) if dtype.kind == "string" else array, dtype, shown
    if like.dtype.kind == "handle":
        raise UsageError(f"{name}: {like.dtype} has no plain values")
    array = _fitted(array, like, name)
    if array.shape == () and like.shape != ():
        array = np.broadcast_to(array, like.shape)
    if array.shape != like.shape:
        raise MismatchError(
            f"{name}: shape {like.shape}, but the value's is {array.shape}",
            name=name,
            expected=like.shape,
            found=array.shape,
            hint="give a value of that shape, or one number for all of it",
        )
    return array, like.dtype, shown


def _fitted(array: Array, like: Variable, name: str) -> Array:
    """Return an array in the dtype of `like`."""
    dtype = like.dtype
    if dtype.kind == "string":
        return _strings(array, name)
    if array.dtype == dtype.numpy:
        return array
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.numpy.itemsize:
        return array.view(dtype.numpy)  # NumPy forgets the names of types like bfloat16 in a .npy
    source = _dtype_of(array, name)
    casting.check(name, source, dtype)
    try:
        made = casting.cast(array, dtype, name)
    except MismatchError as error:
        error.hint = f"it is of dtype {dtype}: cast it to a wider one first"
        raise
    if dtype.kind == "int" and source.kind == "float" and np.any(made != array):
        raise MismatchError(
            f"{name}: {dtype}, but the value has fractions",
            name=name,
            expected=dtype.name,
            found=str(array),
            hint="give whole numbers",
        )
    return made


def _strings(array: Array, name: str) -> Array:
    """Return an array of text as one of `bytes` objects."""
    made = np.empty(array.shape, object)
    for place, value in enumerate(array.reshape(-1).tolist()):
        if not isinstance(value, (str, bytes)):
            raise UsageError(f"{name}: expected strings, got {value!r}", hint="give text")
        encoded = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        made.reshape(-1)[place] = encoded
    return made


def _parsed(text: str, name: str) -> object:
    """Return the number, or the list, that a text is."""
    if text.strip().lower() in _WORDS:
        return _WORDS[text.strip().lower()]
    for read in (int, float, complex, json.loads):
        try:
            value = read(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, float) and not np.isfinite(value):
            what = f"{name}: {text} is more than any number here"
            raise MismatchError(what, name=name, expected="a number", found=text, hint="inf is one")
        return value
    raise UsageError(
        f"{name}: {text!r} is not a value",
        hint="give a number, a list such as [1, 2.5], or the path of a .npy file",
    )


def _strings_listed(text: str, shape: tuple[int, ...]) -> Array | None:
    """Return the strings of a JSON list of just this shape; `None` if the text is a string itself."""
    if not shape or not text.startswith("["):
        return None
    try:
        array = np.array(json.loads(text), object)
    except (ValueError, RecursionError):
        return None
    is_text = array.shape == shape and all(isinstance(each, str) for each in array.reshape(-1).tolist())
    return array if is_text else None


def _array(value: object, name: str) -> Array:
    try:
        array = np.asarray(value)
        if array.dtype == object and not all(isinstance(v, (str, bytes)) for v in array.reshape(-1).tolist()):
            raise ValueError("numbers that no type holds, or lists of different lengths")
        return array
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{name}: {error}", hint="give a list of lists of numbers, all of one length"
        ) from error


def _dtype_of(array: Array, name: str) -> DType:
    if array.dtype.kind in "SUO":
        return dtypes.as_dtype("string")
    try:
        return dtypes.of_array(array)
    except UsageError:
        raise UsageError(f"{name}: TensorFlow has no dtype {array.dtype}", hint="convert the array") from None


def _load(path: str) -> Array:
    """Return the array of a `.npy` file. Nothing that it says is run, or allocated beyond its length."""
    try:
        if not os.path.isfile(path):
            raise OSError(0, "no such file" if not os.path.exists(path) else "not a regular file")
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray):
            raise ValueError("an archive of several arrays")
        return np.array(mapped, order="C")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ReadError(f"{path}: {reason}", path=path, hint="check the path") from error
    except (
        ValueError,
        EOFError,
        SyntaxError,
        TypeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise UsageError(f"{path}: not an array in .npy: {error}", hint="write it with numpy.save") from error

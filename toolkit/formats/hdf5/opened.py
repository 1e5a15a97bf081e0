"""An HDF5 file, open: its datasets, which lie all in it.

Links to other places, external storage and virtual datasets are refused before anything is read.

Source: HDF5 File Format Specification 3.0; h5py's documentation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import h5py
import numpy as np

from toolkit import dtypes
from toolkit.dtypes import DType
from toolkit.errors import FormatError, ReadError, UnsupportedError
from toolkit.formats.hdf5 import types as hdf5_types
from toolkit.formats.ranges import FileRange

_CACHE_BYTES = 64 << 20
"""Of unpacked chunks of a dataset, so that one that is larger than a block is not unpacked for each."""


class Opened(NamedTuple):
    """An HDF5 file, open.

    Attributes:
        file: The file.
        datasets: Its datasets by their places in it.
        left_out: The places of those that are no tensors.
    """

    file: h5py.File
    datasets: dict[str, h5py.Dataset]
    left_out: list[str]


def open_file(content: FileRange, path: str) -> Opened:
    """Open an HDF5 file.

    Args:
        content: The file.
        path: What it is called in messages.

    Raises:
        FormatError: It is damaged.
        UnsupportedError: It leads out of itself.
    """
    with reported(path):
        file = h5py.File(content, "r", rdcc_nbytes=_CACHE_BYTES)
        return Opened(file, *walk(file, path))


@contextlib.contextmanager
def reported(path: str) -> Iterator[None]:
    """Let what h5py raises within the block be a FormatError of the file `path`."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, FormatError | ReadError):
            raise
        raise FormatError(f"HDF5: {line(error)}", path=path) from error


def walk(file: h5py.File, path: str) -> tuple[dict[str, h5py.Dataset], list[str]]:
    """Return all datasets by their paths, and the paths of those that are no tensors."""
    found: dict[str, h5py.Dataset] = {}
    left_out = []
    seen = set()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        prefix, group = waiting.pop()
        below = []
        for name in group:
            place = f"{prefix}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsupportedError(
                    f"{place!r}: a link to another place",
                    path=path,
                    hint="copy the file with `h5repack`, or load it with the program that wrote it",
                )
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group):
                if address in seen:
                    raise UnsupportedError(f"{place!r}: a group that stands in two places", path=path)
                seen.add(address)
                below.append((f"{place}/", item))
            elif isinstance(item, h5py.Dataset):
                _refuse_elsewhere(item, place, path)
                if dtype_of(item) is None:
                    left_out.append(place)
                else:
                    found[place] = item
        waiting.extend(reversed(below))
    return found, left_out


def order_of_writing(datasets: Mapping[str, h5py.Dataset], paths: Mapping[str, str]) -> dict[str, int]:
    """Return a number for each dataset, smaller for those written before: by where its header lies.

    Args:
        datasets: By their places.
        paths: Of the files that they lie in, of which the earlier has the smaller name.
    """
    headers = {place: (paths[place], h5py.h5o.get_info(each.id).addr) for place, each in datasets.items()}
    return {place: number for number, place in enumerate(sorted(headers, key=headers.__getitem__))}


def _refuse_elsewhere(dataset: h5py.Dataset, place: str, path: str) -> None:
    """Refuse a dataset whose values lie in other files."""
    if dataset.external or dataset.is_virtual:
        what = "external storage" if dataset.external else "a virtual dataset"
        raise UnsupportedError(
            f"{place!r}: {what}, whose values lie in other files",
            path=path,
            hint="copy them into one file, with h5py or `h5repack`",
        )


def dtype_of(dataset: h5py.Dataset) -> DType | None:
    """Return TensorFlow's dtype of a dataset's values; `None` if it has none."""
    if dataset.shape is None:
        return None
    if dataset.dtype == np.dtype("V2") and dataset.attrs.get("dtype") in ("bfloat16", b"bfloat16"):
        return dtypes.BY_NAME["bfloat16"]  # as Keras 3 stores it: its bytes
    told = dataset.attrs.get("tf_dtype")
    told = told.decode("ascii", "replace") if isinstance(told, bytes) else told
    if isinstance(told, str) and told in dtypes.BY_NAME:
        meant = dtypes.BY_NAME[told]
        if meant.kind != "string" and hdf5_types.stored_dtype(meant) == dataset.dtype.newbyteorder("="):
            return meant
    is_bytes = h5py.check_vlen_dtype(dataset.dtype) == np.dtype(np.uint8) and told == "string"
    if is_bytes or h5py.check_string_dtype(dataset.dtype) is not None or dataset.dtype.kind == "S":
        return dtypes.BY_NAME["string"]
    if dataset.dtype.kind not in "fiubc":
        return None
    dtype = dtypes.BY_NAME.get(dataset.dtype.newbyteorder("=").name)
    return dtype if dtype is not None and dtype.itemsize == dataset.dtype.itemsize else None


def line(error: Exception) -> str:
    """Return the message of an error of h5py's in one line."""
    return " ".join(str(error).split()) or type(error).__name__

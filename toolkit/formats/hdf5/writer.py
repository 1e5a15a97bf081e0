"""Writing variables to an HDF5 file, in the toolkit's own layout: a dataset for each.

A variable keeps its name as its path where it can (`names.to_path`). What HDF5 cannot say is in
attributes: of a dataset `tf_name`, `tf_dtype` and `crc32c` (of the values as a checkpoint stores them);
of the file `producer`, `layout`, `source` and `step`; and what `origins.py` says, `tf_objects` in parts that
an attribute can hold, `tf_objects0` and so on.

Debian's h5ls and h5dump (HDF5 1.10) read what is written. Nothing is held but a chunk of one tensor;
string tensors, which HDF5 stores element by element, are held whole.

Source: HDF5 File Format Specification 3.0; h5py's documentation on special types.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from toolkit import checksum, names
from toolkit.checkpoint import Variable
from toolkit.chunks import regroup
from toolkit.errors import UsageError
from toolkit.formats.blocks import block_shape, extent, regions
from toolkit.formats.bundle import strings
from toolkit.formats.hdf5 import keras_layout, stats
from toolkit.formats.hdf5 import output as hdf5_output
from toolkit.formats.hdf5 import types as hdf5_types
from toolkit.formats.origins import KEY, OBJECTS, ROLE, Origin
from toolkit.wording import typed

LAYOUT = "tf"
_MAX_DIMENSIONS = 32
"""Of a dataset (H5Spublic.h, H5S_MAX_RANK)."""
_KERNEL = r"(^|/)(\w*_)?(kernel|weights?|w|filters?)(_\d+)?$"
"""How the names of kernels end."""
_KERNEL_DIMENSIONS = ("depth", "height", "width", "input", "output")
"""What the dimensions of a kernel are, the last ones first: of a dense layer the last two."""
_ATTRIBUTE_CHARACTERS = 32 << 10
"""Of ASCII in one attribute, which holds at most 64 KiB (HDF5 File Format Specification, IV.A.2.m)."""
_SLAB_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20
"""Of a chunked dataset: what HDF5 holds of it at a time."""

Array = np.ndarray[Any, Any]


class Options(NamedTuple):
    """How datasets are stored.

    Attributes:
        compress: `gzip`, or `None`.
        checksum: Whether HDF5 keeps a Fletcher-32 of each chunk and compares it at every reading.
        layout: `tf`, the toolkit's own, or `keras`, the legacy one of weights.
        stats: Whether to add a histogram of each variable.
        layers: For the layout `keras`, the weights of each layer, in their order.
    """

    compress: str | None = None
    checksum: bool = False
    layout: str = LAYOUT
    stats: bool = False
    layers: Mapping[str, Sequence[keras_layout.Weight]] | None = None


def write(
    path: str,
    variables: Iterable[Variable],
    *,
    attributes: dict[str, Any],
    options: Options,
    origin: Origin = Origin(),  # noqa: B008 - immutable
) -> dict[str, int]:
    """Write `variables` to the new file `path`; return the CRC-32C of each one's values, by name.

    Args:
        path: It must not exist.
        variables: What to write. All are read once, and checked on the way.
        attributes: Of the file.
        options: How they are stored.
        origin: What is kept of where they come from.

    Raises:
        UnsupportedError: A variable has no plain values.
        UsageError: One has more dimensions than HDF5 knows.
        FormatError, ReadError: A variable cannot be read.
        OSError: The system refuses something.
    """
    variables = list(variables)
    for variable in variables:
        if len(variable.shape) > _MAX_DIMENSIONS:
            raise UsageError(
                f"{variable.name}: has {len(variable.shape)} dimensions, HDF5 at most {_MAX_DIMENSIONS}",
                hint=f"leave it out with {typed('exclude', variable.name)}",
            )
    all_names = [variable.name for variable in variables]
    layers = options.layers
    paths = _paths(all_names) if layers is None else keras_layout.paths_of(layers)
    checksums = {}
    with hdf5_output.create(path) as (file, output):
        for name, value in {"layout": options.layout, **attributes}.items():
            file.attrs[name] = value
        text = origin.objects_text
        for number, start in enumerate(range(0, len(text), _ATTRIBUTE_CHARACTERS)):
            file.attrs[f"{OBJECTS}{number}"] = text[start : start + _ATTRIBUTE_CHARACTERS]
        if layers is not None:
            keras_layout.write_attributes(file, layers)
        for variable in variables:
            if variable.dtype.kind == "string":
                dataset, crc = _write_strings(file, paths[variable.name], variable)
            else:
                dataset, crc = _write_plain(file, paths[variable.name], variable, options)
            dataset.attrs["tf_name"] = _storable_name(variable.name)
            dataset.attrs["tf_dtype"] = variable.dtype.name
            dataset.attrs["crc32c"] = np.uint32(crc)
            told = origin.described(variable.name)
            if KEY in told:
                dataset.attrs[KEY] = _storable_name(told[KEY])
            if ROLE in told:
                dataset.attrs[ROLE] = json.dumps(told[ROLE])
            _label(dataset, variable.name)
            checksums[variable.name] = crc
            output.check()
        if options.stats:
            stats.write(file, variables, paths)
    return checksums


def _label(dataset: h5py.Dataset, name: str) -> None:
    """Say what the dimensions of a kernel are, for those who look at the file."""
    labels = _KERNEL_DIMENSIONS[-len(dataset.shape) :] if dataset.shape else ()
    if len(labels) == len(dataset.shape) >= 2 and re.search(_KERNEL, name):
        for dimension, label in zip(dataset.dims, labels, strict=True):
            dimension.label = label


def _paths(all_names: list[str]) -> dict[str, str]:
    """Return where each variable lies in the file."""
    known = set(all_names)
    paths = {}
    for name in all_names:
        above = [scope for scope in names.parents(name) if scope in known]
        paths[name] = names.to_path(name, above=above[-1] if above else None)
    if len(set(paths.values())) < len(paths):
        raise UsageError("two variables would have one path in the file")
    return paths


def _write_plain(
    file: h5py.File, path: str, variable: Variable, options: Options
) -> tuple[h5py.Dataset, int]:
    dtype = hdf5_types.stored_dtype(variable.dtype)
    filters: dict[str, Any] = {}
    filtered = (options.compress or options.checksum) and math.prod(variable.shape) > 0
    if filtered and variable.shape:  # a scalar cannot be chunked, nor can nothing
        filters["chunks"] = block_shape(variable.shape, dtype.itemsize, _CHUNK_BYTES)
        filters["compression"] = options.compress
        filters["shuffle"] = options.compress is not None and dtype.itemsize > 1
        filters["fletcher32"] = options.checksum
    dataset = file.create_dataset(path, variable.shape, dtype, track_order=True, **filters)
    slab = filters.get("chunks") or block_shape(variable.shape, dtype.itemsize, _SLAB_BYTES)
    running = checksum.Running()
    itemsize = variable.dtype.itemsize or 1
    sizes = (math.prod(extent(r)) * itemsize for r in regions(variable.shape, slab))
    for region, raw in zip(regions(variable.shape, slab), regroup(variable.chunks(), sizes), strict=True):
        running.update(raw)
        values = raw.view(variable.dtype.numpy)
        dataset[region] = hdf5_types.encode(values, variable.dtype).reshape(extent(region))
    return dataset, running.finish()


def _write_strings(file: h5py.File, path: str, variable: Variable) -> tuple[h5py.Dataset, int]:
    values = variable.load()
    elements = values.reshape(-1).tolist()
    dataset = file.create_dataset(path, variable.shape, _string_dtype(elements), track_order=True)
    if h5py.check_string_dtype(dataset.dtype) is None:
        for index, element in zip(np.ndindex(variable.shape), elements, strict=True):
            dataset[index] = np.frombuffer(element, np.uint8)
    elif values.size:
        dataset[...] = values if variable.shape else values[()]
    return dataset, _checksum_of_strings(elements)


def _string_dtype(elements: list[bytes]) -> Any:
    """Return the HDF5 type for these strings: text where they are, else sequences of bytes.

    HDF5 ends a variable-length string at its first NUL, and readers decode it.
    """
    if any(b"\0" in element for element in elements):
        return h5py.vlen_dtype(np.uint8)
    if all(element.isascii() for element in elements):
        return h5py.string_dtype("ascii")
    try:
        for element in elements:
            element.decode("utf-8")
    except UnicodeDecodeError:
        return h5py.vlen_dtype(np.uint8)
    return h5py.string_dtype("utf-8")


def _checksum_of_strings(elements: list[bytes]) -> int:
    parts = strings.encode(elements)
    running = strings.StringChecksum(len(elements), sum(map(len, parts)))
    for part in parts:
        running.update(np.frombuffer(part, np.uint8))
    return running.finish()


def _storable_name(name: str) -> str | np.void:
    """Return a name as an attribute: text, or opaque bytes where it has a NUL or is not UTF-8."""
    raw = names.encode_name(name)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return np.void(raw)
    return np.void(raw) if b"\0" in raw else name

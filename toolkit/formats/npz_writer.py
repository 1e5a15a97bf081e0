"""Writing `.npz` archives: a `.npy` for each variable, and what NumPy has no word for beside them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from toolkit.checkpoint import Variable
from toolkit.formats import descriptions
from toolkit.formats.npz import DESCRIPTION, SUFFIX
from toolkit.formats.origins import OBJECTS, Origin
from toolkit.formats.read_back import checksum_of

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can say: the same values give the same file."""
_ZIP64_BYTES = 1 << 31


def write(
    path: str,
    variables: Iterable[Variable],
    *,
    attributes: dict[str, Any],
    compress: bool,
    origin: Origin = Origin(),  # noqa: B008 - immutable
) -> dict[str, int]:
    """Write `variables` to the new archive `path`; return the CRC-32C of each one's values, by name.

    Args:
        path: It must not exist.
        variables: What to write. Nothing is held but a chunk of one.
        attributes: Where they come from.
        compress: Deflate the values.
        origin: What is kept of where they come from.

    Raises:
        FormatError, ReadError: A variable cannot be read.
        OSError: The system refuses something.
    """
    variables = list(variables)
    keys = descriptions.keys_for(variables, taken=[DESCRIPTION.removesuffix(SUFFIX)])
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    described: dict[str, Any] = {}
    checksums = {}
    with open(path, "xb") as file, zipfile.ZipFile(file, "w", method) as archive:
        for variable in variables:
            member = keys[variable.name] + SUFFIX
            dtype = _numpy_of(variable)
            crc = variable.crc32c if variable.crc32c is not None else checksum_of(variable)
            shape = variable.shape if dtype is not None else (variable.nbytes,)
            with _member(archive, member, method, variable.nbytes) as out:
                _write_header(out, dtype or np.dtype(np.uint8), shape)
                for chunk in variable.chunks():
                    out.write(chunk)
            stored_as = None if dtype is None else variable.dtype.name
            if variable.dtype.kind == "quantized":
                stored_as = variable.dtype.numpy.name
            described[member] = descriptions.describe(
                variable, keys[variable.name], stored_as=stored_as, crc32c=crc, origin=origin
            )
            checksums[variable.name] = crc
        objects = {OBJECTS: origin.objects_text} if origin.objects else {}
        text = json.dumps({**attributes, **objects, "tensors": described}).encode()
        with _member(archive, DESCRIPTION, method, len(text)) as out:
            _write_header(out, np.dtype(np.uint8), (len(text),))
            out.write(text)
    return checksums


def _numpy_of(variable: Variable) -> np.dtype[Any] | None:
    """Return the dtype in which NumPy itself can load a variable; `None` if it has none."""
    dtype = variable.dtype
    if dtype.kind == "string" or (dtype.kind != "quantized" and dtype.numpy.isbuiltin != 1):
        return None
    return dtype.numpy


def _member(archive: zipfile.ZipFile, name: str, method: int, size: int) -> Any:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = method
    info.external_attr = 0o600 << 16
    return archive.open(info, "w", force_zip64=size >= _ZIP64_BYTES)


def _write_header(out: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)

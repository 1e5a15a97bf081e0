"""Writing safetensors: one file, or several and an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.checkpoint import Variable
from toolkit.formats import descriptions
from toolkit.formats.origins import OBJECTS, Origin
from toolkit.formats.read_back import checksum_of
from toolkit.formats.safetensors import DTYPES, METADATA, TF_TENSORS

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
_ALIGNMENT = 8
"""The header is padded with spaces, so that the tensors begin at a multiple of this."""
_STORED = {name: kind for kind, name in DTYPES.items()}


def write(
    path: str,
    variables: Iterable[Variable],
    *,
    attributes: dict[str, Any],
    origin: Origin = Origin(),  # noqa: B008 - immutable
) -> dict[str, int]:
    """Write `variables` to the new file `path`; return the CRC-32C of each one's values, by name.

    The largest elements come first, so that each tensor is aligned, then by name: as the format's own
    library does. Values whose checksum is not known beforehand are read twice.

    Args:
        path: It must not exist.
        variables: What to write. Nothing is held but a chunk of one.
        attributes: Where they come from, as `__metadata__`.
        origin: What is kept of that, in `__metadata__` too.

    Raises:
        FormatError, ReadError: A variable cannot be read.
        OSError: The system refuses something.
    """
    ordered = sorted(variables, key=lambda v: (-_itemsize(v), v.name))
    keys = descriptions.keys_for(ordered, taken=[METADATA])
    header: dict[str, Any] = {METADATA: {}}
    described = {}
    checksums = {}
    offset = 0
    for variable in ordered:
        key = keys[variable.name]
        kind = _STORED.get(variable.dtype.name)
        crc = variable.crc32c if variable.crc32c is not None else checksum_of(variable)
        header[key] = {
            "dtype": kind or "U8",
            "shape": list(variable.shape) if kind else [variable.nbytes],
            "data_offsets": [offset, offset + variable.nbytes],
        }
        stored_as = variable.dtype.name if kind else None
        described[key] = descriptions.describe(variable, key, stored_as=stored_as, crc32c=crc, origin=origin)
        checksums[variable.name] = crc
        offset += variable.nbytes
    texts = {name: str(value) for name, value in attributes.items()}
    if origin.objects:
        texts[OBJECTS] = origin.objects_text
    header[METADATA] = {"format": "tf", **texts, TF_TENSORS: json.dumps(described)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for variable in ordered:
            file.writelines(chunk.data for chunk in variable.chunks())
    return checksums


def shards(variables: Sequence[Variable], max_bytes: int) -> list[list[Variable]]:
    """Return variables in groups of at most `max_bytes`, in their order; a larger one is alone."""
    groups: list[list[Variable]] = [[]]
    size = 0
    for variable in variables:
        if groups[-1] and size + variable.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(variable)
        size += variable.nbytes
    return groups


def shard_name(base: str, number: int, count: int) -> str:
    """Return the name of file `number`, from 0, of `count`: `model-00001-of-00003.safetensors`."""
    return f"{base}-{number + 1:05d}-of-{count:05d}{SUFFIX}"


def write_index(path: str, where: dict[str, str], total_size: int) -> None:
    """Write the index of several files.

    Args:
        path: It must not exist.
        where: The file of each tensor, by its key.
        total_size: Bytes of all tensors.
    """
    with open(path, "x", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": total_size}, "weight_map": where}, file, indent=2)


def _itemsize(variable: Variable) -> int:
    return (variable.dtype.itemsize or 1) if variable.dtype.name in _STORED else 1

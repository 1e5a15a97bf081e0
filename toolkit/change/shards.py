"""A result in several files of a limited size, with an index."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.change.results import constant
from toolkit.checkpoint import Variable
from toolkit.dtypes import as_dtype
from toolkit.formats import safetensors_writer as writer
from toolkit.formats.descriptions import keys_for
from toolkit.formats.endings import stem_of
from toolkit.formats.opening import open_checkpoint
from toolkit.formats.origins import Origin
from toolkit.formats.read_back import check_written, checksum_of
from toolkit.formats.safetensors import METADATA
from toolkit.publish import Publication, exists


def write_shards(
    out: str,
    variables: Mapping[str, Variable],
    attributes: dict[str, Any],
    origin: Origin,
    limit: int,
    *,
    force: bool,
    sync: bool,
) -> tuple[str, int]:
    """Write several safetensors files and their index; return its path, and the bytes of all."""
    base = stem_of(out)
    index = base + writer.INDEX_SUFFIX
    directory, name = os.path.split(base)
    old = [
        os.path.join(directory, entry)
        for entry in (os.listdir(directory or ".") if os.path.isdir(directory or ".") else ())
        if re.fullmatch(rf"{re.escape(name)}(-\d{{5}}-of-\d{{5}})?\.safetensors", entry)
    ]
    if old and not force:
        raise exists(old[0])
    groups = writer.shards(sorted(variables.values(), key=lambda v: v.name), limit)
    count = len(groups)
    while any(f"-of-{count:05d}." in path for path in old):  # no new file takes an old one's name
        count += 1
    keys = keys_for(variables.values(), taken=[METADATA])
    with Publication(index, force=force, sync=sync) as publication:
        publication.replaces(old)
        checksums: dict[str, int] = {}
        where: dict[str, str] = {}
        for number, group in enumerate(groups):
            file = writer.shard_name(name, number, count)
            told = origin if number == 0 else origin._replace(objects={})
            staged = publication.staged(file)
            checksums |= writer.write(staged, group, attributes=attributes, origin=told)
            where |= {keys[variable.name]: file for variable in group}
        staged = publication.staged(os.path.basename(index))
        nbytes = sum(variable.nbytes for variable in variables.values())
        writer.write_index(staged, where, nbytes)
        publication.publish(check=lambda: check(staged, variables, checksums, origin))
    written = [
        index,
        *(os.path.join(directory, writer.shard_name(name, i, count)) for i in range(len(groups))),
    ]
    return index, sum(map(os.path.getsize, written))


def check(path: str, variables: Mapping[str, Variable], checksums: Mapping[str, int], origin: Origin) -> None:
    """Read what was written, and compare it with what was meant."""
    expected = {origin.key_of(n): (v.dtype, v.shape, checksums[n]) for n, v in variables.items()}
    for key, value in origin.objects.items():
        meant = constant(key, np.array(value, object), as_dtype("string"))
        expected[key] = (meant.dtype, meant.shape, checksum_of(meant))
    with open_checkpoint(path) as written:
        check_written(written, expected)

"""The names of a checkpoint's files.

    run/model.ckpt-100.index                     the index
    run/model.ckpt-100.data-00000-of-00002       data file 0 of 2
    run/model.ckpt-100.meta                      the graph (written by a Saver; no values)
    └──── prefix ────┘

Source: tensorflow/core/util/tensor_bundle/naming.cc.
"""

from __future__ import annotations

import os
import re

INDEX = ".index"
META = ".meta"
_V1 = re.compile(r"(?s)(.*)-(\d{5}|\?{5})-of-(\d{5})")
_MAX_V1_FILES = 99999
_DATA = re.compile(r"(?s)(.*)\.data-(\d{5,})-of-(\d{5,})")


def index_file(prefix: str) -> str:
    """Return the path of the index of the checkpoint at `prefix`."""
    return prefix + INDEX


def shown(prefix: str) -> str:
    """Return the name of the checkpoint `prefix` in its directory, for a person.

    A prefix may end in `/`: the files are called `.index` and `.data-…`, and `.index` is what one types.
    """
    return os.path.basename(prefix) or INDEX


def data_file(prefix: str, shard: int, num_shards: int) -> str:
    """Return the path of data file `shard` of `num_shards`; five digits widen past 99999."""
    return f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"


def parse_data_file(path: str) -> tuple[str, int, int] | None:
    """Return prefix, shard and number of shards of a data file's path; `None` if it is not one."""
    match = _DATA.fullmatch(path)
    return match and (match[1], int(match[2]), int(match[3]))


def prefix_of(path: str) -> str | None:
    """Return the prefix that the path of an index, data or meta file belongs to, or `None`."""
    for suffix in (INDEX, META):
        if path.endswith(suffix):
            return path.removesuffix(suffix)
    parsed = parse_data_file(path)
    return parsed and parsed[0]


def v1_files(path: str) -> list[str]:
    """Return the paths of all files of the V1 checkpoint in several files that `path` names.

    That is one of the files (`m-00000-of-00002`), the pattern that TensorFlow records for them
    (`m-?????-of-00002`), or their prefix (`m`). Whether all are there is not looked at; none if `path` is
    none of these.
    Source: tensorflow/python/training/saver.py, Saver.save (`model_checkpoint_path` of sharded V1).
    """
    match = _V1.fullmatch(path)
    if match is not None:
        num_files = int(match[3])
        if (match[2] == "?" * 5 or int(match[2]) < num_files) and num_files <= _MAX_V1_FILES:
            return [f"{match[1]}-{i:05d}-of-{num_files:05d}" for i in range(num_files)]
        return []
    directory, base = os.path.split(path)
    try:
        entries = sorted(os.listdir(directory or "."))
    except OSError:
        return []
    for entry in entries:
        match = _V1.fullmatch(entry)
        if match is not None and match[1] == base:
            return v1_files(os.path.join(directory, entry))
    return []


def v1_prefix(path: str) -> str:
    """Return the prefix of a V1 checkpoint's file: the path itself where the checkpoint is one file."""
    match = _V1.fullmatch(path)
    return match[1] if match else path


def existing_data_files(prefix: str) -> dict[int, list[str]]:
    """Return the paths of the data files that bear this prefix, by the number of shards they tell."""
    directory, base = os.path.split(prefix)
    found: dict[int, list[str]] = {}
    try:
        entries = sorted(os.listdir(directory or "."))
    except OSError:
        return found
    for entry in entries:
        parsed = parse_data_file(entry)
        if parsed and parsed[0] == base:
            found.setdefault(parsed[2], []).append(os.path.join(directory, entry))
    return found

"""Reading Keras 3's sharded weights: one checkpoint whose groups are spread over several HDF5 files.

    net.weights.json         {"weight_map": {"/layers/dense/vars": ["net_00000.weights.h5"],
                                             "/optimizer/vars": ["net_00000…", "net_00001…"]}}
    net_00000.weights.h5     layers/dense/vars/{0, 1}  optimizer/vars/{0, 1}
    net_00001.weights.h5     optimizer/vars/{2, 3}

A key is a group; its files hold one dataset or more of it each. A group of a later file lacks the
attributes that it has in the first. The files are put together as one: a file in memory that has the groups,
attributes and datasets of all, and no values. What tells names and roles sees that file; values are read
from the others.

Source: keras/src/saving/saving_lib.py, ShardedH5IOStore.
"""

from __future__ import annotations

import io
import os

import h5py

from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats.file import ReadFile
from toolkit.formats.hdf5.opened import Opened, open_file, reported, walk
from toolkit.formats.hdf5.reader import Hdf5Checkpoint
from toolkit.formats.identify import HDF5, identify
from toolkit.formats.ranges import FileRange
from toolkit.formats.weight_map import WeightMap

_MAX_NAMED = 5


class ShardedCheckpoint(Hdf5Checkpoint):
    """Keras 3's weights in several files.

    Args:
        index: What the index says.
        partial: Open it although files are missing.

    Raises:
        ReadError: A file is missing, or cannot be opened.
        FormatError: One is damaged, or does not hold what the index says.
        UnsupportedError: It is not Keras's index.
    """

    def __init__(self, index: WeightMap, *, partial: bool = False) -> None:
        if not all(group.startswith("/") for group in index.places):
            raise UnsupportedError(
                "the index of HDF5 files by weights, as transformers writes it: they are not read as one",
                path=index.path,
                hint=f"give one of its files: {', '.join(index.files[:_MAX_NAMED])}",
            )
        self.path = index.path
        self._index = index
        self._file_paths = [index.path, *index.files]
        self._missing = index.missing()
        if not partial:
            self.check_present()
        self._shards: list[h5py.File] = []
        merged = Opened(h5py.File(io.BytesIO(), "w", libver="latest"), {}, [])
        places: dict[str, str] = {}  # the path of the file that each dataset lies in
        for path in index.files:
            if path in self._missing:
                continue
            shard = _open(path)
            self._shards.append(shard.file)
            _check(shard, path, index)
            for place, dataset in shard.datasets.items():
                if place in places:
                    raise FormatError(f"{place!r}: in two files, also in {places[place]}", path=path)
                places[place] = path
                merged.datasets[place] = dataset
            merged.left_out.extend(shard.left_out)
            with reported(path):
                _copy_structure(shard.file, merged.file)
        in_order, _ = walk(merged.file, self.path)  # as one file would have them
        self._take(merged._replace(datasets={place: merged.datasets[place] for place in in_order}), places)

    def missing_files(self) -> list[str]:
        """Return the paths of its files that are not there; what only they have is not listed."""
        return list(self._missing)

    def check_present(self) -> None:
        """Raise if a file is not there."""
        if self._missing:
            raise self._index.missing_file(self._missing[0])

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        count = len(self._index.names)
        return f"{super().describe()}, {count} file{'s' if count > 1 else ''}"

    def close(self) -> None:
        """Close its files. Arrays that were read stay valid."""
        super().close()
        for shard in self._shards:
            shard.close()


def _open(path: str) -> Opened:
    file = ReadFile(path)
    kind = identify(file)
    if kind is not HDF5:
        raise FormatError(kind.what, path=path, hint=kind.hint)
    return open_file(FileRange(file, 0, file.size), path)


def _check(shard: Opened, path: str, index: WeightMap) -> None:
    """Raise unless a file has datasets of the groups that the index says, and of no others."""
    name = os.path.basename(path)
    found = {"/" + place.rpartition("/")[0] for place in (*shard.datasets, *shard.left_out)}
    listed = {group for group, names in index.places.items() if name in names}
    for odd in sorted(found ^ listed):
        where = "there, but not in the index" if odd in found else "in the index, but not there"
        raise FormatError(
            f"{odd!r}: {where}", path=path, hint=f"it is not of one save with {index.path}: save both again"
        )


def _copy_structure(source: h5py.File, target: h5py.File) -> None:
    """Add the groups, datasets and attributes of `source` to `target`. Values are not read."""

    def copy(place: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            here = target.require_group(place)
        elif item.shape is None:
            here = target.create_dataset(place, data=h5py.Empty(item.dtype))
        else:
            here = target.create_dataset(place, item.shape, item.dtype)
        for name in item.attrs:
            dtype = item.attrs.get_id(name).dtype
            is_plain = dtype.kind in "biufcS" or h5py.check_string_dtype(dtype) is not None
            if name not in here.attrs and is_plain:  # a reference would lead into another file
                here.attrs[name] = item.attrs[name]

    copy("/", source)
    source.visititems(copy)

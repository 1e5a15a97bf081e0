"""The data files of a bundle: looked up when the index is read, opened when values are."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

from toolkit.errors import FormatError, ReadError
from toolkit.formats.bundle import naming
from toolkit.formats.file import Identity, ReadFile, identity_of, stat_file
from toolkit.formats.identify import LFS_POINTER, identify

if TYPE_CHECKING:
    import numpy as np

    from toolkit.checkpoint import Variable
    from toolkit.places import Place

_POINTER_BYTES = 1024
"""A Git LFS pointer is smaller (git-lfs, docs/spec.md)."""
_MAX_NAMED = 5
"""How many missing files a message names."""
_MAX_MISSING = 10_000
"""How many missing files are looked for: an index may claim 2**31 of them."""


class DataFiles:
    """The `num_shards` data files under `prefix`.

    What tells each file from another is noted at once, because whoever replaces a checkpoint under a
    reader must not make it pair the old index with new data.

    Some may be missing: their values cannot be read, and reading says which file is not there.

    Attributes:
        index: The path of the index that they belong to.
        missing: The paths of those that are not there, the first few of many.

    Raises:
        ReadError: One is no regular file, or the system refuses it.
    """

    def __init__(self, prefix: str, num_shards: int) -> None:
        self.index = naming.index_file(prefix)
        self._prefix = prefix
        self._num_shards = num_shards
        self._files: dict[int, ReadFile] = {}
        self._maps: dict[int, np.ndarray[Any, Any]] = {}
        self._noted: dict[int, Identity] = {}
        self.missing: list[str] = []
        for shard in range(num_shards):
            path = naming.data_file(prefix, shard, num_shards)
            try:
                self._noted[shard] = identity_of(stat_file(path))
            except ReadError:
                if os.path.exists(path):
                    raise
                self.missing.append(path)
                if len(self.missing) == _MAX_MISSING:
                    break

    @property
    def nbytes(self) -> int:
        """The bytes of all data files together, when the index was read."""
        return sum(size for _, _, size, _ in self._noted.values())

    def check_present(self) -> None:
        """Raise ReadError, which names them, if some are missing."""
        if self.missing:
            raise self._missing(self.missing[:_MAX_NAMED])

    @property
    def paths(self) -> list[str]:
        """Their paths, also of those that are missing; of many that are missing only the first."""
        return [self.path(shard) for shard in range(len(self._noted) + len(self.missing))]

    def path(self, shard: int) -> str:
        """Return the path of a data file."""
        return naming.data_file(self._prefix, shard, self._num_shards)

    def noted(self, variable: Variable, place: Place) -> tuple[str, Identity]:
        """Return the path of the data file of `variable`, and what it was when the index was read.

        Raises:
            FormatError: The entry names a data file that does not exist.
            TruncatedError: The file ends before the bytes do.
            ReadError: It was missing when the index was read.
        """
        self._check_shard(variable, place.shard)
        identity = self._noted[place.shard]
        if place.offset + variable.nbytes > identity[2]:
            self.open(variable, place)  # which says what is there instead
        return self.path(place.shard), identity

    def open(self, variable: Variable, place: Place) -> ReadFile:
        """Return the open data file of `variable`, having checked that it holds all its bytes.

        Raises:
            FormatError: The entry names a data file that does not exist.
            TruncatedError: The file ends before the bytes do.
            ReadError: It cannot be opened, or was missing or another when the index was read.
        """
        shard = place.shard
        self._check_shard(variable, shard)
        file = self._files.get(shard)
        if file is None:
            if not os.path.exists(self.path(shard)):
                raise self._changed(shard)
            file = ReadFile(self.path(shard))
            if file.identity() != self._noted[shard]:
                raise self._changed(shard)
            if file.size < _POINTER_BYTES and identify(file) is LFS_POINTER:
                raise FormatError(LFS_POINTER.what, path=file.path, hint=LFS_POINTER.hint)
            self._files[shard] = file
        file.check_extent(place.offset, variable.nbytes)
        return file

    def mapped(self, variable: Variable, place: Place) -> np.ndarray[Any, Any]:
        """Return the bytes of `variable` as a read-only view of its mapped data file.

        Raises:
            FormatError, TruncatedError, ReadError: As `open`.
        """
        import numpy as np

        file = self.open(variable, place)
        if not variable.nbytes:
            return np.zeros(0, np.uint8)
        data = self._maps.get(place.shard)
        if data is None:
            mapping = mmap.mmap(file.fileno(), file.size, prot=mmap.PROT_READ)
            data = self._maps[place.shard] = np.frombuffer(mapping, np.uint8)
        return data[place.offset : place.offset + variable.nbytes]

    def close(self) -> None:
        """Close the files. What was mapped stays mapped while it is used."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._maps.clear()

    def _check_shard(self, variable: Variable, shard: int) -> None:
        if shard >= self._num_shards:
            raise FormatError(
                f"entry {variable.name!r}: number of its data file",
                path=self.index,
                expected=f"below {self._num_shards}",
                found=shard,
            )
        if shard not in self._noted:
            raise self._missing([self.path(shard)])

    def _changed(self, shard: int) -> ReadError:
        return ReadError(
            f"{self.path(shard)}: changed after the index was read",
            path=self.path(shard),
            hint="another program saves here: open the checkpoint again",
        )

    def _missing(self, paths: list[str]) -> ReadError:
        names = ", ".join(os.path.basename(path) for path in paths)
        others = [
            os.path.basename(path)
            for found in naming.existing_data_files(self._prefix).values()
            for path in found
        ]
        beside = f"beside it: {', '.join(others[:_MAX_NAMED])}; " if others else ""
        return ReadError(
            f"{self.index}: its data is missing: "
            f"expected {self._num_shards} data file{'s'[: self._num_shards > 1]}, no {names}",
            path=paths[0],
            hint=f"{beside}copy the data files to where the index is, they belong together",
        )

"""Where the values of a new bundle come to lie: in data files shared with others, or in one of its own.

A data file is only addressed by its number, an offset and a size, and what no entry points at is ignored.
So what has not changed can stay where it is, in a data file that is linked under another name:

    old.data-00000-of-00001  ─── the same file ───  new.data-00000-of-00002
                                                    new.data-00001-of-00002   what has changed
    old.index                                       new.index

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, BundleReader (GetValue).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from toolkit.checkpoint import Variable
from toolkit.errors import MismatchError
from toolkit.formats.bundle import naming, transfer
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.slices import TensorSlice
from toolkit.formats.bundle.writer import BundleWriter
from toolkit.formats.read_back import check_names, check_value_of, checksum_of
from toolkit.names import encode_name
from toolkit.places import NOWHERE, Extent

DataMode = Literal["auto", "link", "copy"]
DATA_MODES: tuple[DataMode, ...] = ("auto", "link", "copy")
_WORTH_SHARING = 0.9
"""The part of a data file that must still be used for `auto` to link it."""
_MAX_DATA_FILES = 16
"""How many data files a bundle comes to have by changes; more only if what it is made of has more."""
_BY_KERNEL = 1 << 20
"""Bytes from which on a tensor is copied by the kernel: below, it is checked on the way."""


class SharedFile(NamedTuple):
    """A data file that others have too.

    Attributes:
        extent: One in it, for its path and identity.
        num_used: The bytes of it that something points at.
    """

    extent: Extent
    num_used: int

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self.extent.identity[2]


class _Piece(NamedTuple):
    """A variable that is stored in one piece, or a slice of one that is not."""

    key: bytes
    variable: Variable
    extent: Extent | None


class Layout:
    """Where the values of `variables` will lie.

    Attributes:
        files: The data files that are linked, the first ones of the result.
        num_merged: How many were not, because there would have been too many.
        num_copied: Bytes that are copied from other data files into the new one, or read from files of
            other formats.
        num_written: Bytes of values that are made.

    Args:
        variables: In the order of their names.
        mode: `auto` links a data file of which at least 90% of the bytes are used; `link` any that is used
            at all; `copy` none.
        num_files: How many data files all sources have together.

    Raises:
        FormatError, TruncatedError: An entry points at what is not there.
    """

    def __init__(self, variables: Sequence[Variable], mode: DataMode, num_files: int) -> None:
        self._mode = mode
        self._variables = variables
        self._parts: dict[str, tuple[TensorSlice, ...]] = {}
        self._pieces: list[_Piece] = []
        for variable in variables:
            self._pieces += self._pieces_of(variable)
        used = _used(self._pieces)
        self.files = tuple(f for f in used if _is_shared(f, mode))
        room = max(_MAX_DATA_FILES, num_files)
        shared = {f.extent.identity for f in self.files}
        has_more = any(p.extent is None or p.extent.identity not in shared for p in self._pieces)
        num_kept = len(self.files) if len(self.files) + has_more <= room else room - 1
        kept = sorted(self.files, key=lambda file: -file.num_used)[:num_kept]
        self.num_merged = len(self.files) - num_kept
        self.files = tuple(file for file in self.files if file in kept)
        self._shards = {file.extent.identity: shard for shard, file in enumerate(self.files)}
        self._moving = [p for p in self._pieces if self._shard_of(p) is None]
        copied = [piece.variable for piece in self._moving if _lies_in_a_file(piece)]
        self.num_copied = sum(variable.nbytes for variable in copied)
        self.num_written = sum(piece.variable.nbytes for piece in self._moving) - self.num_copied

    @property
    def num_linked(self) -> int:
        """The bytes of the data files that are linked."""
        return sum(file.nbytes for file in self.files)

    @property
    def num_unused(self) -> int:
        """The bytes of these that nothing points at."""
        return self.num_linked - sum(file.num_used for file in self.files)

    @property
    def num_files(self) -> int:
        """How many data files the result has values for."""
        return len(self.files) + (bool(self._moving) or not self.files)

    def write(
        self, prefix: str, num_shards: int, moved: Callable[[int], None]
    ) -> tuple[list[str], list[SharedFile]]:
        """Write the bundle `prefix`, of `num_shards` data files.

        Args:
            prefix: Its path.
            num_shards: At least `num_files`.
            moved: Is told the bytes that were copied or written.

        Returns:
            The names of the data files that are links, and which files could not be linked but were copied.

        Raises:
            PublishError: A link is not to be had, and the mode is `link`.
            UsageError, FormatError, ReadError: As `BundleWriter`.
        """
        linked, copied = [], []
        for shard, file in enumerate(self.files):
            path = naming.data_file(prefix, shard, num_shards)
            if transfer.link(file.extent, path, required=self._mode == "link"):
                linked.append(os.path.basename(path))
            else:
                transfer.copy_file(file.extent, path, moved)
                copied.append(file)
        with BundleWriter(prefix, num_shards=num_shards, first_shard=len(self.files)) as writer:
            for variable in self._variables:
                if variable.name in self._parts:
                    writer.list_slices(variable.name, variable, self._parts[variable.name])
            for piece in self._pieces:
                self._add(writer, piece, moved)
            writer.finish()
        return linked, copied

    @property
    def num_checked(self) -> int:
        """The bytes that `check_linked` reads."""
        return sum(variable.nbytes for variable in self._linked())

    def check_linked(self, moved: Callable[[int], None]) -> None:
        """Read the values that lie in linked data files, and compare their checksums.

        Bytes that no variable uses are not read. Variants are not compared: what their checksum is of,
        TensorFlow alone knows.

        Args:
            moved: Is told the bytes that were read.

        Raises:
            ChecksumError: A value is damaged.
            FormatError, ReadError: One cannot be read.
        """
        for variable in self._linked():
            checksum_of(variable, moved=moved)

    def _linked(self) -> list[Variable]:
        """Return the extents in linked data files, each value once."""
        found = {}
        for piece in self._pieces:
            if self._shard_of(piece) is not None and piece.variable.dtype.kind != "handle":
                found[piece.extent, piece.variable.nbytes] = piece.variable
        return list(found.values())

    def check(self, prefix: str, copied: Iterable[SharedFile]) -> None:
        """Read what was written to `prefix` again, except what is linked, and compare it.

        Args:
            prefix: Where it was written.
            copied: Files that could not be linked.

        Raises:
            ChecksumError: What was copied was damaged before.
            MismatchError: Something was not written as it should be.
            FormatError, ReadError: It does not read.
        """
        again = {file.extent.identity for file in copied}
        with BundleCheckpoint(prefix) as written:
            stored = written.variables()
            check_names(written, [variable.name for variable in self._variables])
            for variable in self._variables:
                made = stored[variable.name]
                pairs = [(variable, made)]
                if variable.name in self._parts:
                    slices = zip(variable.slices, made.slices, strict=True)
                    pairs = [(part.variable, new.variable) for part, new in slices]
                for original, new in pairs:
                    extent = original.extent
                    shard = None if extent is None else self._shards.get(extent.identity)
                    if extent is None or shard is None or extent.identity in again:
                        check_value_of(written.path, new, original)
                    else:
                        _check_pointer(written.path, new, original, (shard, extent.offset, extent.crc32c))

    def _pieces_of(self, variable: Variable) -> list[_Piece]:
        """Return what of `variable` is stored in one piece; slices as they are, if they are in a bundle."""
        name = encode_name(variable.name)
        slices = variable.slices
        extents = [part.variable.extent for part in slices]
        if not slices or None in extents:
            return [_Piece(name, variable, variable.extent)]
        parts = tuple(TensorSlice(part.start, part.variable.shape) for part in slices)
        self._parts[variable.name] = parts
        keys = [part.key(name) for part in parts]
        return [_Piece(k, s.variable, e) for k, s, e in zip(keys, slices, extents, strict=True)]

    def _shard_of(self, piece: _Piece) -> int | None:
        """Return the number of the linked data file that a piece lies in, or `None`."""
        return None if piece.extent is None else self._shards.get(piece.extent.identity)

    def _add(self, writer: BundleWriter, piece: _Piece, moved: Callable[[int], None]) -> None:
        """Let the index point at a piece, or move it to the new data file."""
        key, variable, extent = piece
        shard = self._shard_of(piece)
        if extent is not None and shard is not None:
            writer.point(key, variable, extent, shard)
        elif extent is not None and (variable.nbytes >= _BY_KERNEL or variable.dtype.kind == "handle"):
            writer.copy_stored(key, variable, extent, moved)
        else:
            writer.copy_as(key, variable)


def _used(pieces: Iterable[_Piece]) -> list[SharedFile]:
    """Return the data files that pieces lie in, and how many bytes of each they are."""
    extents: dict[tuple[int, ...], list[tuple[Extent, int]]] = {}
    for piece in pieces:
        if piece.extent is not None and piece.variable.nbytes:
            extents.setdefault(piece.extent.identity, []).append((piece.extent, piece.variable.nbytes))
    files = []
    for taken in extents.values():
        num_used = reached = 0
        for start, end in sorted((extent.offset, extent.offset + nbytes) for extent, nbytes in taken):
            num_used += max(end - max(start, reached), 0)
            reached = max(reached, end)
        files.append(SharedFile(taken[0][0], num_used))
    return sorted(files, key=lambda file: file.extent.path)


def _is_shared(file: SharedFile, mode: DataMode) -> bool:
    """Return whether a data file is to be linked."""
    return mode == "link" or (mode == "auto" and file.num_used >= _WORTH_SHARING * file.nbytes)


def _lies_in_a_file(piece: _Piece) -> bool:
    """Return whether the values of a piece exist already."""
    return piece.extent is not None or bool(piece.variable.slices) or piece.variable.place != NOWHERE


def _check_pointer(path: str, new: Variable, original: Variable, place: tuple[int, int, int]) -> None:
    """Raise unless `new` is described as `original`, and lies at `place`: shard, offset and CRC-32C."""
    expected = original.dtype, original.shape, place
    found = new.dtype, new.shape, (new.shard, new.offset, new.crc32c)
    if expected != found:
        raise MismatchError(
            f"{path}: {new.name} does not point at its value: expected {expected}, got {found}",
            name=new.name,
            expected=expected,
            found=found,
        )

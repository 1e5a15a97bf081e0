"""Writing a V2 bundle: the same bytes as TensorFlow's for the same tensors in the same order of adding.

`BundleWriter` writes data files and the index. `write_index` writes an index alone, for data files
that exist already.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, BundleWriter.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from toolkit import checksum, dtypes
from toolkit.checkpoint import Variable
from toolkit.chunks import CHUNK_BYTES, regroup
from toolkit.dtypes import DType
from toolkit.errors import MismatchError, UsageError
from toolkit.formats.bundle import naming, strings, transfer
from toolkit.formats.bundle.messages import Entry, decode_entry, encode_entry, encode_header
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.slices import TensorSlice
from toolkit.formats.bundle.table_builder import TableBuilder
from toolkit.names import decode_name, encode_name
from toolkit.places import Extent

_BUFFER_BYTES = 1 << 20


class BundleWriter:
    """Writes the bundle `prefix`. Its values go to one data file, then to those that `next_shard` begins.

    The files must not exist. `finish` writes the index and ends it; without it there is no bundle.
    Neither is synced: that, and giving the files their final names, is `toolkit.publish`'s.

    Args:
        prefix: Path without `.index`.
        num_shards: Data files to be told of; those that are not begun are written empty.
        first_shard: The data file to begin with. Those before it are others', to be told of by `point`.
    """

    def __init__(self, prefix: str, *, num_shards: int = 1, first_shard: int = 0) -> None:
        self._prefix = prefix
        self._num_shards = num_shards
        self._entries: dict[bytes, Entry] = {}
        self._shard = first_shard - 1
        self._data: BinaryIO | None = None
        if first_shard < num_shards:
            self.next_shard()

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._data is not None:
            self._data.close()

    def next_shard(self) -> None:
        """Let what is added from now on go to the next data file."""
        if self._data is not None:
            self._data.close()
        self._shard += 1
        self._offset = 0
        path = naming.data_file(self._prefix, self._shard, self._num_shards)
        self._data = open(path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115 - closed by __exit__

    def add(self, name: str, values: np.ndarray[Any, Any], dtype: DType | None = None) -> Entry:
        """Add `values` under `name` and return their entry.

        Args:
            name: Must be new; the empty name is the header's.
            values: Any shape and byte order. Strings: `bytes` objects.
            dtype: TensorFlow's dtype; by default the one of `values`.

        Raises:
            UsageError: The name is taken or empty, or TensorFlow has no such dtype.
        """
        dtype = dtype or dtypes.of_array(values)
        if dtype.kind == "string":
            parts = strings.encode(list(values.reshape(-1)))
            chunks: list[Any] = [np.frombuffer(part, np.uint8) for part in parts]
        else:
            plain = np.ascontiguousarray(values, dtype.numpy.newbyteorder("<"))
            chunks = [plain.reshape(-1).view(np.uint8)]
        return self._add(_key(name), dtype, values.shape, sum(c.size for c in chunks), chunks)

    def copy(self, name: str, variable: Variable) -> Entry:
        """Add the stored bytes of `variable` under `name`, checked on the way, chunk by chunk.

        Raises:
            UsageError: The name is taken or empty.
            FormatError, ReadError: As `Variable.chunks`.
        """
        return self.copy_as(_key(name), variable)

    def copy_as(self, key: bytes, variable: Variable) -> Entry:
        """Add the stored bytes of `variable` under `key`, an encoded name or a slice's, as `copy` does."""
        return self._add(key, variable.dtype, variable.shape, variable.nbytes, variable.chunks())

    def copy_slices(self, name: str, variable: Variable, parts: Sequence[TensorSlice]) -> None:
        """Add `variable` under `name` in slices, each to a data file of its own, the first to this one.

        Args:
            name: Must be new.
            variable: Plain values, checked on the way, chunk by chunk.
            parts: Slices that tile it, each in one piece in C order, in that order.

        Raises:
            UsageError: The name is taken or empty.
            FormatError, ReadError: As `Variable.chunks`.
        """
        itemsize = variable.dtype.itemsize or 1
        shapes = [part.sizes(variable.shape) for part in parts]
        pieces = [_pieces(math.prod(shape) * itemsize) for shape in shapes]
        chunks = regroup(variable.chunks(), itertools.chain(*pieces))
        for number, (part, shape, sizes) in enumerate(zip(parts, shapes, pieces, strict=True)):
            if number:
                self.next_shard()
            taken = itertools.islice(chunks, len(sizes))
            self._add(part.key(encode_name(name)), variable.dtype, shape, sum(sizes), taken)
        for _ in chunks:
            pass  # there are no more: this is where the checksum is compared
        self.list_slices(name, variable, parts)

    def copy_stored(
        self, key: bytes, variable: Variable, extent: Extent, moved: Callable[[int], None]
    ) -> Entry:
        """Add the bytes of `variable` as its data file has them, within the kernel where that can be.

        They are not checked: whoever calls it reads them back.

        Args:
            key: Must be new: an encoded name, or a slice's key.
            variable: What is copied.
            extent: Where it lies.
            moved: Is told how many bytes were copied, now and then.

        Raises:
            TruncatedError, ReadError: Its file has changed since the index was read.
        """
        assert self._data is not None
        self._data.flush()
        transfer.copy_bytes(extent, variable.nbytes, self._data.fileno(), moved)
        entry = Entry(
            variable.dtype, variable.shape, variable.nbytes, self._shard, self._offset, extent.crc32c
        )
        self._data.seek(0, os.SEEK_END)
        self._offset += variable.nbytes
        self._enter(key, entry)
        return entry

    def point(self, key: bytes, variable: Variable, extent: Extent, shard: int) -> None:
        """Let `key` point at the bytes of `variable` at `extent`, in what is data file `shard` here."""
        entry = Entry(variable.dtype, variable.shape, variable.nbytes, shard, extent.offset, extent.crc32c)
        self._enter(key, entry)

    def list_slices(self, name: str, variable: Variable, parts: Sequence[TensorSlice]) -> None:
        """Say that `name` lies in `parts`, which are added, or pointed at, under keys of their own."""
        self._enter(_key(name), Entry(variable.dtype, variable.shape, 0, 0, 0, 0, tuple(parts)))

    def finish(self) -> None:
        """Write the other data files, empty, and the index."""
        while self._shard + 1 < self._num_shards:
            self.next_shard()
        if self._data is not None:
            self._data.close()
        write_index(self._prefix, self._entries, self._num_shards)

    def _add(
        self,
        key: bytes,
        dtype: DType,
        shape: tuple[int, ...],
        nbytes: int,
        chunks: Iterable[np.ndarray[Any, Any]],
    ) -> Entry:
        assert self._data is not None
        self._refuse_taken(key)
        name = decode_name(key)
        check = checksum.Running()
        if dtype.kind == "string":
            check = strings.StringChecksum(int(np.prod(shape, dtype=np.int64)), nbytes)
        written = 0
        for chunk in chunks:
            check.update(chunk)
            self._data.write(chunk.data)
            written += chunk.size
        if written != nbytes:
            raise MismatchError(
                f"variable {name!r}: expected {nbytes} bytes, got {written}",
                name=name,
                expected=nbytes,
                found=written,
            )
        entry = Entry(dtype, shape, nbytes, self._shard, self._offset, check.finish())
        self._enter(key, entry)
        self._offset += nbytes
        return entry

    def _enter(self, key: bytes, entry: Entry) -> None:
        self._refuse_taken(key)
        self._entries[key] = entry

    def _refuse_taken(self, key: bytes) -> None:
        if not key or key in self._entries:
            problem = "the name is taken" if key else "no name"
            raise UsageError(f"variable {decode_name(key)!r}: {problem}")


def _key(name: str) -> bytes:
    return encode_name(name)


def _pieces(nbytes: int) -> list[int]:
    """Return the sizes in which so many bytes are handed on."""
    return [CHUNK_BYTES] * (nbytes // CHUNK_BYTES) + [nbytes % CHUNK_BYTES] * bool(nbytes % CHUNK_BYTES)


def write_index(prefix: str, entries: Mapping[bytes, Entry], num_shards: int) -> None:
    """Write the index of the bundle `prefix`, which must not exist, over existing data files.

    Args:
        prefix: The path without `.index`.
        entries: By their keys: encoded names, or keys of slices.
        num_shards: How many data files there are.
    """
    with open(naming.index_file(prefix), "xb", buffering=_BUFFER_BYTES) as file:
        table = TableBuilder(file)
        table.add(b"", encode_header(num_shards))
        for key in sorted(entries):
            table.add(key, encode_entry(entries[key]))
        table.finish()


def renumber(prefix: str, num_shards: int) -> None:
    """Give a bundle `num_shards` data files: those that it has, and empty ones."""
    with contextlib.closing(BundleCheckpoint(prefix)) as bundle:
        entries = {key: decode_entry(value) for key, value in bundle.entries()}
        before = bundle.num_shards
    if before == num_shards:
        return
    for shard in range(before):
        os.rename(naming.data_file(prefix, shard, before), naming.data_file(prefix, shard, num_shards))
    for shard in range(before, num_shards):
        open(naming.data_file(prefix, shard, num_shards), "xb").close()
    os.unlink(naming.index_file(prefix))
    write_index(prefix, entries, num_shards)

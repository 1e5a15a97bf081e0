"""Writing a V2 bundle: the same bytes as TensorFlow's for the same tensors in the same order of adding.

`BundleWriter` writes one data file and the index. `write_index` writes an index alone, for data files
that exist already.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, BundleWriter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from toolkit import checksum, dtypes
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType
from toolkit.errors import MismatchError, UsageError
from toolkit.formats.bundle import naming, strings
from toolkit.formats.bundle.messages import Entry, decode_entry, encode_entry, encode_header
from toolkit.formats.bundle.reader import BundleCheckpoint
from toolkit.formats.bundle.table_builder import TableBuilder
from toolkit.names import encode_name

_BUFFER_BYTES = 1 << 20


class BundleWriter:
    """Writes the bundle `prefix`. Its values go to data file 0, in the order of adding.

    The files must not exist. `finish` writes the index and ends it; without it there is no bundle.
    Neither is synced: that, and giving the files their final names, is `toolkit.publish`'s.

    Args:
        prefix: Path without `.index`.
        num_shards: Data files to be told of; all but the first are written empty.
    """

    def __init__(self, prefix: str, *, num_shards: int = 1) -> None:
        self._prefix = prefix
        self._num_shards = num_shards
        self._entries: dict[str, Entry] = {}
        self._offset = 0
        path = naming.data_file(prefix, 0, num_shards)
        self._data = open(path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

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
        return self._add(name, dtype, values.shape, sum(c.size for c in chunks), chunks)

    def copy(self, name: str, variable: Variable) -> Entry:
        """Add the stored bytes of `variable` under `name`, checked on the way, chunk by chunk.

        Raises:
            UsageError: The name is taken or empty.
            FormatError, ReadError: As `Variable.chunks`.
        """
        return self._add(name, variable.dtype, variable.shape, variable.nbytes, variable.chunks())

    def finish(self) -> None:
        """Write the other data files, empty, and the index."""
        self._data.close()
        for shard in range(1, self._num_shards):
            open(naming.data_file(self._prefix, shard, self._num_shards), "xb").close()
        write_index(self._prefix, self._entries, self._num_shards)

    def _add(
        self,
        name: str,
        dtype: DType,
        shape: tuple[int, ...],
        nbytes: int,
        chunks: Iterable[np.ndarray[Any, Any]],
    ) -> Entry:
        if not name or name in self._entries:
            raise UsageError(f"variable {name!r}: {'the name is taken' if name else 'no name'}")
        check = checksum.Running()
        if dtype.kind == "string":
            check = strings.StringChecksum(int(np.prod(shape, dtype=np.int64)), nbytes)
        written = 0
        for chunk in chunks:
            check.update(chunk)
            self._data.write(chunk)  # type: ignore[call-overload]
            written += chunk.size
        if written != nbytes:
            raise MismatchError(
                f"variable {name!r}: expected {nbytes} bytes, got {written}",
                name=name,
                expected=nbytes,
                found=written,
            )
        entry = Entry(dtype, shape, nbytes, 0, self._offset, check.finish())
        self._entries[name] = entry
        self._offset += nbytes
        return entry


def write_index(prefix: str, entries: Mapping[str, Entry], num_shards: int) -> None:
    """Write the index of the bundle `prefix`, which must not exist, over existing data files."""
    with open(naming.index_file(prefix), "xb", buffering=_BUFFER_BYTES) as file:
        table = TableBuilder(file)
        table.add(b"", encode_header(num_shards))
        for key, entry in sorted((encode_name(name), entry) for name, entry in entries.items()):
            table.add(key, encode_entry(entry))
        table.finish()


def renumber(prefix: str, num_shards: int) -> None:
    """Make a bundle of one data file one of `num_shards`, all but the first of them empty."""
    with BundleCheckpoint(prefix) as bundle:
        entries = {name: decode_entry(v.token) for name, v in bundle.variables().items()}
    os.rename(naming.data_file(prefix, 0, 1), naming.data_file(prefix, 0, num_shards))
    for shard in range(1, num_shards):
        open(naming.data_file(prefix, shard, num_shards), "xb").close()
    os.unlink(naming.index_file(prefix))
    write_index(prefix, entries, num_shards)

"""Reading HDF5 files as checkpoints: the toolkit's own, Keras's of all times, and plain datasets.

Nothing outside the file is followed, and nothing is run: links to other places, external storage and
virtual datasets are refused before anything is read. Values are read a block at a time.

Source: HDF5 File Format Specification 3.0; h5py's documentation.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from toolkit import checksum, dtypes
from toolkit.checkpoint import TensorSpec, Variable
from toolkit.errors import CheckpointError, ChecksumError, FormatError
from toolkit.formats.blocks import block_shape, extent, regions
from toolkit.formats.file import ReadFile, closed
from toolkit.formats.hdf5 import layouts
from toolkit.formats.hdf5 import types as hdf5_types
from toolkit.formats.hdf5.opened import Opened, dtype_of, line, open_file, order_of_writing, reported
from toolkit.formats.keras import understood
from toolkit.formats.keras.config import NOTHING, Config, of_attributes
from toolkit.formats.origins import ExportedCheckpoint
from toolkit.formats.ranges import FileRange
from toolkit.formats.streamed import MeasuredSpec, StreamedSource, stored_strings
from toolkit.formats.weight_map import index_name
from toolkit.metadata import Metadata
from toolkit.roles import Role

_MAX_RATIO = 1032
"""Deflate makes at most so many bytes of one (zlib's Technical Details)."""
_SPARE_BYTES = 64 << 20
"""What a dataset may say it has without having stored it: HDF5 stores nothing for what was never written."""


class _Token(NamedTuple):
    """What a variable's values are read from: its dataset, and its checksum if the file has one."""

    dataset: h5py.Dataset
    crc32c: int | None


class Hdf5Checkpoint(ExportedCheckpoint):
    """An HDF5 file.

    Attributes:
        layout: `tf`, `keras`, `keras3` or `plain`, as `layouts.py` says.

    Args:
        path: Of the file, or of the archive or folder that it lies in.
        content: The file, if it lies in another, or in a folder.
        files: The paths of all that is read; by default `path` alone.
        config: What is told beside the file, in an archive or folder of Keras's; a whole model's `.h5` tells
            that itself.

    Raises:
        FormatError: The file is damaged, or breaks a rule of its layout.
        UnsupportedError: It leads out of itself.
    """

    format = "hdf5"

    def __init__(
        self,
        path: str,
        content: FileRange | None = None,
        *,
        files: Sequence[str] | None = None,
        config: Config = NOTHING,
    ) -> None:
        self.path = path
        self._file_paths = [path] if files is None else list(files)
        if content is None:
            raw = ReadFile(path)
            content = FileRange(raw, 0, raw.size)
        else:
            self.format = "keras"
        opened = open_file(content, path)
        self._take(opened, dict.fromkeys(opened.datasets, path), config)

    def _take(self, opened: Opened, paths: Mapping[str, str], config: Config = NOTHING) -> None:
        """Become the variables of what was opened.

        Args:
            opened: The file, or one with the structure of several.
            paths: The path of the file that each dataset lies in, by the place of the dataset.
            config: What is told beside it.
        """
        self._file = opened.file
        self._left_out = opened.left_out
        with reported(self.path):
            named = layouts.read(opened.file, opened.datasets, self.path)
            placed = {name: opened.datasets[place] for name, place in named.datasets.items()}
            told, objects = layouts.read_origin(opened.file, placed, named.layout, self.path)
            texts = layouts.texts(opened.file.attrs) if named.layout == "keras" else {}
        self.layout = named.layout
        self.keys_are_places = named.layout in ("keras", "keras3")
        sources = {path: _Datasets(path) for path in paths.values()}
        self.own(*sources.values())
        where = {name: paths[place] for name, place in named.datasets.items()}
        variables = {
            name: _variable(name, dataset, sources[where[name]], where[name])
            for name, dataset in placed.items()
        }
        self._settle(variables, told, objects)
        self._known = understood.Understood(
            named.layout,
            self._variables,
            config=config if config != NOTHING else of_attributes(texts),
            called=named.called,
            written=order_of_writing(opened.datasets, paths) if named.layout == "keras3" else {},
            weights=named.weights,
            optimizer=named.optimizer,
            attributes={"backend": texts["backend"]} if texts.get("backend") else {},
        )

    def roles(self) -> dict[str, Role]:
        """Return the role of each variable; what the file says an optimizer keeps is no weight."""
        return super().roles() if self.layout == "tf" else dict(self._known.roles)

    def paths(self) -> dict[str, str]:
        """Return readable names, by those keys that are none."""
        return super().paths() if self.layout == "tf" else dict(self._known.paths)

    def trained(self) -> frozenset[str] | None:
        """Return the names of what is trained, by the configuration of the model or the optimizer's state."""
        return super().trained() if self.layout == "tf" else self._known.trained

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        """The variables that an optimizer keeps, where the layout tells, in the order of the file."""
        kept = self._known.kept
        return tuple(name for name in self._variables if name in kept)

    def kept_by_optimizers(self) -> frozenset[str]:
        """Return the names of what optimizers keep."""
        return self._known.kept

    def slot_starts(self) -> Mapping[str, float | None]:
        """Map slots to their initial values where the class of their optimizer is told."""
        return self._known.starts

    @property
    def metadata(self) -> Metadata:
        """What the file, or what lies beside it, says of the model and its optimizer."""
        return self._known.metadata(self._scalar)

    def _scalar(self, name: str) -> float | None:
        """Return the value of a scalar; `None` if it cannot be read."""
        variable = self._variables[name]
        if variable.shape or variable.dtype.kind not in ("int", "float"):
            return None
        try:
            return float(variable.read().item())
        except CheckpointError:
            return None

    def write_skeleton(self, path: str, fills: Mapping[Variable, int]) -> None:
        """Write the new file `path` with this one's structure, as `skeleton.write` says."""
        from toolkit.formats.hdf5 import skeleton

        skeleton.write(path, self._file, fills)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The datasets that are no tensors."""
        return tuple(self._left_out)

    def index_of_shard(self) -> str | None:
        """Return the name of the index of Keras's sharded weights that this file is a part of, if it tells.

        The file is called as a part is, and lacks the model's own group, which only the first part has.
        """
        is_part = self.layout == "keras3" and "vars" not in self._file
        return index_name(os.path.basename(self.path)) if is_part else None

    def files(self) -> list[str]:
        """Return the paths of the files that are read."""
        return list(self._file_paths)

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        text = {
            "tf": "HDF5, checkpoint-toolkit's",
            "keras": f"Keras {'model' if self.metadata.model_class else 'weights'} (HDF5)",
            "keras3": f"Keras 3 {self._holder}" if self.format == "keras" else "Keras 3 weights (HDF5)",
        }.get(self.layout, "HDF5")
        more = len(self._left_out)
        return text + (f", {more} dataset{'s' if more > 1 else ''} of other types left out" if more else "")

    @property
    def _holder(self) -> str:
        """What a model that Keras saved whole lies in."""
        return "model, in a folder" if os.path.isdir(self.path) else "archive"

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        self._file.close()


def _variable(name: str, dataset: h5py.Dataset, source: _Datasets, path: str) -> Variable:
    dtype = dtype_of(dataset)
    assert dtype is not None
    crc = dataset.attrs.get("crc32c")
    token = _Token(dataset, int(crc) if isinstance(crc, np.integer) else None)
    shape = tuple(int(size) for size in dataset.shape)
    if problem := dtypes.shape_problem(dtype, shape):
        raise FormatError(f"{name!r}: shape: {problem}", path=path)
    # of strings of any length a dataset has references, of the same size each
    nbytes = math.prod(shape) * (dtype.itemsize or dataset.dtype.itemsize)
    most = dataset.id.get_storage_size() * _MAX_RATIO + _SPARE_BYTES
    if nbytes > most:
        raise FormatError(
            f"{name!r}: size of its values",
            path=path,
            expected=f"at most {most} bytes, by what is stored",
            found=nbytes,
        )
    spec = TensorSpec(dtype, shape, nbytes)
    if dtype.kind == "string":
        spec = MeasuredSpec(dtype, shape, lambda: sum(c.size for c in variable.chunks()))
    variable = Variable(name, spec, source, token)
    return variable


class _Datasets(StreamedSource):
    """The source of variables that are datasets."""

    def __init__(self, path: str) -> None:
        self._path = path

    def plain_chunks(
        self, variable: Variable, *, max_bytes: int, verify: bool
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `StreamedSource`: each chunk is a block of the dataset."""
        token: _Token = variable.token
        dataset, dtype = token.dataset, variable.dtype
        running = checksum.Running()
        block = block_shape(variable.shape, max(dataset.dtype.itemsize, dtype.itemsize or 1), max_bytes)
        for region in regions(variable.shape, block):
            stored = self._read(variable, dataset, region)
            stored = np.ascontiguousarray(stored, dataset.dtype.newbyteorder("=")).reshape(extent(region))
            flat = stored.reshape(-1)
            raw = (flat if flat.dtype.kind == "V" else hdf5_types.decode(flat, dtype)).view(np.uint8)
            if verify and token.crc32c is not None:
                running.update(raw)
            yield raw
        if verify and token.crc32c is not None:
            self._compare(variable, running.finish())

    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Implement `StreamedSource`."""
        from toolkit.formats.bundle import strings

        token: _Token = variable.token
        values = self._read(variable, token.dataset, ()) if variable.num_elements else np.empty(0, object)
        found = np.asarray(values, object).reshape(-1) if variable.shape else [values]
        elements = [v if isinstance(v, bytes) else np.asarray(v, np.uint8).tobytes() for v in found]
        if verify and token.crc32c is not None:
            running = strings.StringChecksum(
                len(elements), sum(chunk.size for chunk in stored_strings(elements))
            )
            for chunk in stored_strings(elements):
                running.update(chunk)
            self._compare(variable, running.finish())
        return elements

    def _read(self, variable: Variable, dataset: h5py.Dataset, region: tuple[slice, ...]) -> Any:
        if not dataset:
            raise closed(self._path)
        try:
            return dataset[region]
        except (OSError, RuntimeError, ValueError) as error:
            raise FormatError(f"values of {variable.name!r}: {line(error)}", path=self._path) from error

    def _compare(self, variable: Variable, computed: int) -> None:
        stored = variable.token.crc32c
        if computed != stored:
            raise ChecksumError(
                repr(variable.name), path=self._path, offset=0, stored=stored, computed=computed
            )

"""Reading a V2 bundle, TensorFlow's checkpoint format: an index, and data files that it points into.

Opening a bundle reads the footer and the index block of its index, and the header, and looks up its
data files. Entries are decoded when they are asked for, values when a variable is.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc, BundleReader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from toolkit.checkpoint import Checkpoint, Slice, TensorSpec, Variable
from toolkit.errors import CheckpointError, FormatError, ReadError, TruncatedError, UnsupportedError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.assembly import SlicedSource
from toolkit.formats.bundle.data_files import DataFiles
from toolkit.formats.bundle.messages import (
    EntryDecoder,
    Header,
    SlicedSpec,
    decode_entry,
    decode_header,
)
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.bundle.slices import SliceError, TensorSlice, check_tiling
from toolkit.formats.bundle.table import Table
from toolkit.formats.bundle.values import BundleValues
from toolkit.formats.file import ReadFile, identity_of, stat_file
from toolkit.metadata import Metadata
from toolkit.names import decode_name, encode_name
from toolkit.roles import OBJECT_GRAPH, Role

if TYPE_CHECKING:
    from toolkit.formats.bundle.object_graph import ObjectGraph

_HEADER_KEY = b""
_READER_VERSION = 1
"""The version of the format that is read (tensor_bundle.h, kTensorBundleVersion)."""
_SLICE_KEY = b"\0"
"""How the keys of a partitioned variable's slices begin (saved_tensor_slice_util.cc)."""
_SAVED_MODEL = "saved_model.pb"
"""What a SavedModel has beside the folder of its variables (tensorflow/python/saved_model/constants.py)."""
_MAX_ATTEMPTS = 5
"""How often a bundle that is replaced while it is opened is opened anew."""


class BundleCheckpoint(Checkpoint):
    """A V2 bundle.

    Attributes:
        num_shards: How many data files it has.

    Args:
        prefix: The path without `.index`.

    Raises:
        ReadError: The index is missing, or it or a data file cannot be opened. Data files may be missing.
        FormatError: The index breaks a rule.
    """

    format = "tensorflow-v2"
    knows_all_names = True

    def __init__(self, prefix: str) -> None:
        self.path = prefix
        for _ in range(_MAX_ATTEMPTS):
            self._index = ReadFile(naming.index_file(prefix))
            self._table = Table(self._index)
            self.num_shards, self._big_endian, _ = self._read_header()
            self._data = DataFiles(prefix, self.num_shards)
            if self._is_current():
                break
        else:
            raise ReadError(
                f"{self._index.path}: replaced again and again while it was opened",
                path=self._index.path,
                hint="another program saves here: wait until it is done",
            )
        self._decoder = EntryDecoder()
        self._values = BundleValues(self._data, big_endian=self._big_endian)
        self._sliced_values = _BundleSlices(self._slices_of)
        self.own(self._values, self._sliced_values)
        self._has_slices = False
        self._variables: dict[str, Variable] | None = None
        self._has_read_graph = False
        self._object_graph: ObjectGraph | None = None

    def find(self, name: str) -> Variable | None:
        """Return the variable of this name, or `None`: a lookup of one reads one block."""
        if self._variables is not None:
            return self._variables.get(name)
        key = encode_name(name)
        if key == _HEADER_KEY:
            return None
        if key.startswith(_SLICE_KEY):
            return self.variables().get(name)
        value = self._table.get(key)
        return None if value is None else self._variable(key, value)

    def variables(self) -> dict[str, Variable]:
        """Return all variables by name; the first time, all blocks of the index are read."""
        if self._variables is None:
            variables = {}
            for entries in self._table.blocks():
                for variable in self._described(entries):
                    variables[variable.name] = variable
            # A name may begin with NUL; only beside a partitioned variable is it a slice's key.
            if self._has_slices:
                variables = {n: v for n, v in variables.items() if not n.startswith("\0")}
            self._variables = variables
        return self._variables

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of the index as they are, slices too; the header is left out."""
        for block in self._table.blocks():
            for key, value in block:
                if key != _HEADER_KEY:
                    yield key, value

    def paths(self) -> dict[str, str]:
        """Return what a person calls each value of an object-based checkpoint, by its key."""
        graph = self._graph_for_names()
        return {} if graph is None else {k: p for k, p in graph.paths().items() if k in self and k != p}

    def tree_paths(self) -> dict[str, str]:
        """Return the way to each value through the objects of an object-based checkpoint, by its key."""
        graph = self._graph_for_names()
        return {} if graph is None else graph.object_paths()

    def trained(self) -> frozenset[str] | None:
        """Return the keys of what the optimizers of an object-based checkpoint train, if it tells."""
        graph = self._graph_for_names()
        if graph is None:
            return None
        from toolkit.formats.bundle import object_roles

        return object_roles.trained_keys(graph)

    def roles(self) -> dict[str, Role]:
        """Return what each variable is for, by the object graph where there is one."""
        graph = self._graph_for_names()
        if graph is None:
            return super().roles()
        from toolkit.formats.bundle import object_roles

        return object_roles.roles(graph, self.variables())

    @property
    def metadata(self) -> Metadata:
        """What the object graph says of optimizers; nothing where there is none, or it is damaged."""
        try:
            graph = self.object_graph()
        except CheckpointError:
            graph = None
        if graph is None:
            return Metadata()
        from toolkit.formats.bundle import object_metadata

        return object_metadata.metadata(graph, self._scalar)

    def _scalar(self, name: str) -> float | None:
        """Return the value of a scalar; `None` if it cannot be read."""
        variable = self.find(name)
        if variable is None or variable.shape or variable.dtype.kind not in ("int", "float"):
            return None
        try:
            return float(variable.read().item())
        except CheckpointError:
            return None

    def object_graph(self) -> ObjectGraph | None:
        """Return the object graph; `None` in a name-based checkpoint.

        Raises:
            FormatError: It breaks a rule.
        """
        if not self._has_read_graph:
            variable = self.find(OBJECT_GRAPH)
            if variable is not None and variable.dtype.kind == "string" and variable.num_elements == 1:
                from toolkit.formats.bundle.object_graph import ObjectGraph

                try:
                    self._object_graph = ObjectGraph(variable.load().reshape(-1)[0])
                except MessageError as error:
                    raise FormatError(f"object graph: {error}", path=self._index.path) from error
            self._has_read_graph = True
        return self._object_graph

    def _graph_for_names(self) -> ObjectGraph | None:
        """Return the object graph; `None` also where its data file is missing or was cut off.

        Then the keys are all that is known of the values, and a listing shows those.
        """
        try:
            return self.object_graph()
        except (ReadError, TruncatedError):
            return None

    def files(self) -> list[str]:
        """Return the paths of the index and the data files."""
        return [self._index.path, *self._data.paths]

    def missing_files(self) -> list[str]:
        """Return the paths of the data files that are not there; all names are listed without them."""
        return list(self._data.missing)

    def check_present(self) -> None:
        """Raise if a data file is not there."""
        self._data.check_present()

    def check_files(self) -> None:
        """Raise if a data file is not there, or too short for the values that the index places in it."""
        self.check_present()
        variables = [v for v in self.variables().values() if type(v.spec) is TensorSpec]
        if sum(v.spec.nbytes for v in variables) <= self._data.nbytes:
            return  # values hardly ever share bytes, so this rules out nearly every cut
        for v in variables:
            self._data.open(v, v.place)

    def describe(self) -> str:
        """Return a description in a few words, for a person."""
        folder = os.path.dirname(os.path.abspath(self.path))
        if os.path.basename(folder) == "variables" and os.path.isfile(
            os.path.join(os.path.dirname(folder), _SAVED_MODEL)
        ):
            return "SavedModel"
        named = "name-based" if self.find(OBJECT_GRAPH) is None else "object-based"
        return f"TensorFlow checkpoint (V2), {named}"

    def close(self) -> None:
        """Close index and data files. Arrays that were read stay valid."""
        self._index.close()
        self._data.close()

    def _is_current(self) -> bool:
        """Return whether the index that was read is still the one under its name."""
        return identity_of(stat_file(self._index.path)) == self._index.identity()

    def _described(self, entries: list[tuple[bytes, bytes]]) -> list[Variable]:
        """Return the variables of these keys and values; the header is left out."""
        if entries and entries[0][0] == _HEADER_KEY:
            entries = entries[1:]
        try:
            specs = self._decoder.describe_all([value for _, value in entries])
        except MessageError:
            return [self._variable(key, value) for key, value in entries]  # which of them, it says
        try:
            names = [key.decode() for key, _ in entries]
        except UnicodeDecodeError:
            names = [decode_name(key) for key, _ in entries]
        self._has_slices = self._has_slices or SlicedSpec in set(map(type, specs))
        plain, sliced = self._values, self._sliced_values
        return [
            Variable(name, spec, plain, value)
            if type(spec) is TensorSpec
            else Variable(name, spec, sliced, (key, value))
            for name, spec, (key, value) in zip(names, specs, entries, strict=True)
        ]

    def _variable(self, key: bytes, value: bytes) -> Variable:
        name = decode_name(key)
        try:
            spec = self._decoder.describe(value)
        except MessageError as error:
            raise FormatError(f"entry {name!r}: {error}", path=self._index.path) from error
        if type(spec) is TensorSpec:
            return Variable(name, spec, self._values, value)
        return Variable(name, spec, self._sliced_values, (key, value))  # its slices lie under that key

    def _read_header(self) -> Header:
        path = self._index.path
        value = self._table.get(_HEADER_KEY)
        if value is None:
            raise FormatError("the table has no header of a checkpoint", path=path)
        try:
            header = decode_header(value)
        except MessageError as error:
            raise FormatError(f"header: {error}", path=path) from error
        if header.min_consumer > _READER_VERSION:
            raise UnsupportedError(
                "version of the format",
                path=path,
                expected=f"at most {_READER_VERSION}",
                found=header.min_consumer,
            )
        return header

    def _slices_of(self, variable: Variable) -> tuple[Slice, ...]:
        """Return the slices of a partitioned variable, which must tile it."""
        slices = []
        key, entry = variable.token
        try:
            for part in decode_entry(entry).slices:
                sizes = part.sizes(variable.shape)
                value = self._table.get(part.key(key))
                if value is None:
                    raise SliceError(f"the slice at {part.starts} of {sizes} is missing")
                spec = self._decoder.describe(value)
                if (spec.dtype, spec.shape) != (variable.dtype, sizes):
                    raise SliceError(
                        f"expected a slice of {variable.dtype} {sizes} at {part.starts}, "
                        f"got {spec.dtype} {spec.shape}"
                    )
                slices.append(Slice(part.starts, self._part(variable, part, spec, value)))
            check_tiling(variable.shape, [(part.start, part.variable.shape) for part in slices])
        except (SliceError, MessageError) as error:
            what = f"partitioned variable {variable.name!r}: {error}"
            raise FormatError(what, path=self._index.path) from error
        return tuple(slices)

    def _part(self, variable: Variable, part: TensorSlice, spec: TensorSpec, value: bytes) -> Variable:
        return Variable(part.named(variable.name, spec.shape), spec, self._values, value)


class _BundleSlices(SlicedSource):
    """The source of a bundle's partitioned variables."""

    def __init__(self, slices_of: Callable[[Variable], tuple[Slice, ...]]) -> None:
        self._slices_of = slices_of

    def slices(self, variable: Variable) -> tuple[Slice, ...]:
        """Implement `Variable.slices`."""
        return self._slices_of(variable)

"""A checkpoint: a mapping from names to tensors that have not been read yet."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from toolkit import names
from toolkit.chunks import CHUNK_BYTES
from toolkit.dtypes import DType
from toolkit.errors import UsageError, VariableNotFoundError
from toolkit.metadata import Metadata
from toolkit.places import NOWHERE, Extent, Place
from toolkit.roles import Role, assign

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Slice(NamedTuple):
    """A part of a partitioned variable.

    Attributes:
        start: Where it begins in the whole, an index for each dimension.
        variable: The part, with its own shape, to be read like any variable.
    """

    start: tuple[int, ...]
    variable: Variable


class TensorSource(ABC):
    """Where the values of variables come from: what a format implements.

    Attributes:
        owner: The checkpoint whose variables have it; `None` for those that belong to none.
    """

    owner: Checkpoint | None = None

    def place(self, variable: Variable) -> Place:
        """Do what `Variable.place` says."""
        return NOWHERE

    def extent(self, variable: Variable) -> Extent | None:
        """Do what `Variable.extent` says."""
        return None

    def slices(self, variable: Variable) -> tuple[Slice, ...]:
        """Do what `Variable.slices` says."""
        return ()

    def read(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Do what `Variable.read` says."""
        values = self.load(variable, verify=verify)
        values.flags.writeable = False
        return values

    @abstractmethod
    def load(self, variable: Variable, *, verify: bool) -> np.ndarray[Any, Any]:
        """Do what `Variable.load` says."""

    @abstractmethod
    def chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Iterator[np.ndarray[Any, Any]]:
        """Do what `Variable.chunks` says."""


class TensorSpec:
    """What a tensor is: many variables of a checkpoint share one. Compared by identity.

    Attributes:
        dtype: TensorFlow's dtype.
        shape: Sizes of the dimensions; `()` for a scalar.
        nbytes: Bytes that the values take in the file.
    """

    __slots__ = ("dtype", "nbytes", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], nbytes: int) -> None:
        self.dtype = dtype
        self.shape = shape
        self.nbytes = nbytes


class Variable:
    """One variable of a checkpoint: what the index says of it. Its values are read when asked for.

    Attributes:
        name: The checkpoint's own key.
        spec: Dtype, shape and bytes, which `dtype`, `shape` and `nbytes` give one by one.
        token: By what its source finds it.
    """

    __slots__ = ("_source", "name", "spec", "token")

    def __init__(self, name: str, spec: TensorSpec, source: TensorSource, token: Any) -> None:
        self.name = name
        self.spec = spec
        self._source = source
        self.token = token

    def __repr__(self) -> str:
        return f"Variable({self.name!r}, {self.dtype}, {self.shape})"

    def renamed(self, name: str) -> Variable:
        """Return a variable of the same bytes in the same place, under another name."""
        return Variable(name, self.spec, self._source, self.token)

    @property
    def role(self) -> Role:
        """What it is for: a weight, a slot of another variable, and so on.

        The first time, the roles of all variables of its checkpoint are told. Of one that belongs to no
        checkpoint (what a plan makes) it is what its own name and shape tell, as if it stood alone.

        Raises:
            FormatError: The checkpoint has a damaged object graph.
        """
        owner = self._source.owner
        found = None if owner is None else owner.role_of(self.name)
        return assign({self.name: self})[self.name] if found is None else found

    @property
    def dtype(self) -> DType:
        """TensorFlow's dtype."""
        return self.spec.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions; `()` for a scalar."""
        return self.spec.shape

    @property
    def nbytes(self) -> int:
        """Bytes that the values take in the file."""
        return self.spec.nbytes

    @property
    def num_elements(self) -> int:
        """The product of the dimensions; 1 for a scalar."""
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the values for `numpy.asarray`: what `read` returns, or a copy in another dtype."""
        values = self.read()
        if dtype is not None and values.dtype != dtype:
            return values.astype(dtype)
        return values.copy() if copy else values

    @property
    def place(self) -> Place:
        """Where its bytes lie.

        Raises:
            FormatError: The index says what cannot be.
        """
        return self._source.place(self)

    @property
    def shard(self) -> int:
        """Number of the data file that its bytes lie in, from 0."""
        return self.place.shard

    @property
    def offset(self) -> int:
        """Where its bytes begin in the data file."""
        return self.place.offset

    @property
    def crc32c(self) -> int | None:
        """CRC-32C of its bytes, unmasked; `None` where there is none for the whole of it."""
        return self.place.crc32c

    @property
    def extent(self) -> Extent | None:
        """Where its bytes lie in a data file that a new index could point into; `None` if nowhere.

        Raises:
            FormatError: The index says what cannot be.
            TruncatedError: The data file ends before they do.
        """
        return self._source.extent(self)

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The parts that a partitioned variable is stored in, which tile it; `()` for any other.

        Raises:
            FormatError: They do not, or one is missing.
        """
        return self._source.slices(self)

    def read(self, *, verify: bool = True) -> np.ndarray[Any, Any]:
        """Return the values, as a read-only array of `shape` in C order.

        Plain values of a TensorFlow checkpoint are a view of the mapped file: nothing is copied, and
        memory is taken only for the pages that are touched. The view may be unaligned. It keeps the
        file mapped for as long as it lives, and if another program *truncates* that file meanwhile,
        touching the lost part kills this process (SIGBUS), which Python cannot catch. Where that may
        happen, use `load` or `chunks`. What has to be decoded or put together (partitioned variables,
        big-endian files, compressed datasets) is a copy, and so are strings: an array of `bytes` objects.

        Args:
            verify: Compare the CRC-32C of the bytes with the stored one first.

        Raises:
            ChecksumError: They differ.
            TruncatedError: The data file ends before the values do.
            ReadError: The data file is missing, has changed, or cannot be read.
            UnsupportedError: The dtype has no plain values.
        """
        return self._source.read(self, verify=verify)

    def load(self, *, verify: bool = True) -> np.ndarray[Any, Any]:
        """Return the values, as an array of `shape` in memory of its own: aligned, and writable.

        The file is read, not mapped: one that is shortened meanwhile is an error like any other.

        Args:
            verify: Compare the CRC-32C of the bytes with the stored one first.

        Raises:
            ChecksumError: They differ.
            TruncatedError: The data file ends before the values do.
            ReadError: The data file is missing, has changed, or cannot be read.
            UnsupportedError: The dtype has no plain values.
        """
        return self._source.load(self, verify=verify)

    def chunks(self, *, max_bytes: int = CHUNK_BYTES, verify: bool = True) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the bytes of the values as a bundle stores them, as `uint8` arrays in their order.

        Plain values are in C order, little endian; strings as `formats/bundle/strings.py` says.

        Each may be a view of a buffer that the next overwrites, and has whole elements.

        Args:
            max_bytes: The largest chunk, in bytes.
            verify: After the last chunk, compare the CRC-32C of all with the stored one. What was
                taken before the error must be thrown away.

        Raises:
            ChecksumError: They differ.
            TruncatedError: The data file ends before the values do, or shrinks meanwhile.
            ReadError: The data file is missing, has changed, or cannot be read.
        """
        return self._source.chunks(self, max_bytes=max_bytes, verify=verify)


class Checkpoint(Mapping[str, Variable]):
    """The variables of a checkpoint by name, in the order of its index.

    Opening one reads no values, and no more of the index than is asked for.

    Attributes:
        path: The path that names it; for TensorFlow's formats, the prefix.
        format: What it is, for scripts: `tensorflow-v2`.
        knows_all_names: Whether all names are known where files with values are missing.
    """

    path: str
    format: str
    keys_are_places = False
    """Whether keys are places in a file of Keras's: another program knows the variables by readable names."""
    knows_all_names: bool = False
    _known_roles: Mapping[str, Role] | None = None

    def own(self, *sources: TensorSource) -> None:
        """Let the variables with these sources know that they are this checkpoint's: what a format calls."""
        for source in sources:
            if source.owner is None:
                source.owner = self

    def role_of(self, name: str) -> Role | None:
        """Return the role of the variable `name`; `None` if there is none. The first call finds all roles."""
        if self._known_roles is None:
            self._known_roles = self.roles()
        return self._known_roles.get(name)

    @abstractmethod
    def find(self, name: str) -> Variable | None:
        """Return the variable of this name, or `None`."""

    @abstractmethod
    def variables(self) -> Mapping[str, Variable]:
        """Return all variables by name: the quick way to go through many."""

    def paths(self) -> Mapping[str, str]:
        """Return a readable name for each variable whose own name is none, by that: unique ones."""
        return {}

    def tree_paths(self) -> Mapping[str, str]:
        """Map each variable's name to its path in the object tree, where the two differ."""
        return {}

    def trained(self) -> frozenset[str] | None:
        """Return the names of the variables that an optimizer trains; `None` where that is not told."""
        return None

    def kept_by_optimizers(self) -> frozenset[str]:
        """Return the names of what optimizers keep, numbers of their own too, where the files tell that."""
        return frozenset()

    def slot_starts(self) -> Mapping[str, float | None]:
        """Map slots to their initial values, where files tell them; `None` is the value of their variable."""
        return {}

    @property
    def metadata(self) -> Metadata:
        """What the files say of themselves; nothing where their format has no place for it."""
        return Metadata()

    def roles(self) -> dict[str, Role]:
        """Return what each variable is for, in their order."""
        return assign(self.variables())

    @abstractmethod
    def files(self) -> list[str]:
        """Return the paths of the files that it consists of."""

    def missing_files(self) -> list[str]:
        """Return the paths of its files that are not there: their values cannot be read.

        Where names are in the missing files alone, they are not listed, and `open_checkpoint` opens such
        a checkpoint only with `partial`.
        """
        return []

    def check_present(self) -> None:
        """Raise if a file is not there.

        Raises:
            ReadError: One is not; the error names it.
        """

    def check_files(self) -> None:
        """Raise if a file is not there, or too short for the values in it. None of them is read.

        Raises:
            ReadError: One is not there.
            TruncatedError: One is too short.
        """
        self.check_present()

    @abstractmethod
    def describe(self) -> str:
        """Return a description in a few words, for a person."""

    def close(self) -> None:
        """Close what is open. Arrays that were read stay valid."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables())

    def __len__(self) -> int:
        return len(self.variables())

    def __getitem__(self, name: str) -> Variable:
        if not isinstance(name, str):
            raise UsageError(f"{self.path}: expected a name, got {name!r}", hint="a name is text")
        variable = self.find(name)
        if variable is None:
            key = next((key for key, path in self.paths().items() if path == name), None)
            if key is not None:
                hint = f"that is its readable name; its key, for Python, is {key!r}"
                raise VariableNotFoundError(name, where=self.path, suggestions=[key], hint=hint)
            raise VariableNotFoundError(name, where=self.path, suggestions=names.nearest(name, self))
        self.own(variable._source)
        return variable

    @overload
    def get(self, name: str, /) -> Variable | None: ...
    @overload
    def get(self, name: str, /, default: Variable) -> Variable: ...
    @overload
    def get(self, name: str, /, default: T) -> Variable | T: ...
    def get(self, name: str, /, default: object = None) -> object:
        """Return the variable of this name, or `default`."""
        variable = self.find(name) if isinstance(name, str) else None
        if variable is None:
            return default
        self.own(variable._source)
        return variable

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"

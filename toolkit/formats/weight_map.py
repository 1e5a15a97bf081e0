"""The index of weights in several files: which file holds what. Written by safetensors' users and by Keras.

    model.safetensors.index.json    {"weight_map": {"dense/kernel": "model-00001-of-00002.safetensors", …}}
    net.weights.json                {"weight_map": {"/layers/dense/vars": ["net_00000.weights.h5"], …}}

Source: huggingface_hub, serialization/_base.py; keras/src/saving/saving_lib.py (ShardedH5IOStore).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from toolkit.errors import FormatError, ReadError, UnsupportedError
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import HDF5, SAFETENSORS, WEIGHT_MAP, Kind, identify
from toolkit.formats.json_object import read_object

_INDICES = (
    (re.compile(r"(?s)(.*)_\d{5,}\.weights\.h5"), r"\1.weights.json"),
    (re.compile(r"(?s)(.*)-\d{5,}-of-\d{5,}\.safetensors"), r"\1.safetensors.index.json"),
)
"""What files of weights are called, and what their index is called."""
_ENDINGS = ((".safetensors", SAFETENSORS), (".h5", HDF5), (".hdf5", HDF5))
_MAX_NAMED = 5


class WeightMap(NamedTuple):
    """What an index says.

    Attributes:
        path: Of the index.
        places: The names of the files that hold each key's weights, in the order of the index.
    """

    path: str
    places: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> list[str]:
        """The names of all files, each once."""
        return sorted({name for names in self.places.values() for name in names})

    @property
    def files(self) -> list[str]:
        """The paths of all files, in the order of their names."""
        return [self.file(name) for name in self.names]

    def file(self, name: str) -> str:
        """Return the path of one of the files, which lies beside the index."""
        return os.path.join(os.path.dirname(self.path), name)

    def missing(self) -> list[str]:
        """Return the paths of the files that are not there."""
        return [path for path in self.files if not os.path.lexists(path)]

    def missing_file(self, path: str) -> ReadError:
        """Return the error that says that a file is not there, and what it holds."""
        name = os.path.basename(path)
        keys = [key for key, names in self.places.items() if name in names]
        more = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
        return ReadError(
            f"{path}: missing, one of the {len(self.names)} files of {os.path.basename(self.path)}: "
            f"it holds values of {', '.join(keys[:_MAX_NAMED])}{more}",
            path=path,
            hint="copy it to where the others are, they belong together",
        )


def read_weight_map(path: str) -> WeightMap:
    """Return the weight map of the index at `path`.

    Raises:
        ReadError: It cannot be opened.
        FormatError: The file is no index, or it names a file that does not lie beside it.
    """
    file = ReadFile(path)
    found = read_object(file).get("weight_map")
    file.close()
    if not isinstance(found, dict) or not found:
        raise _broken(path, "expected names and the files that they lie in")
    places: dict[str, tuple[str, ...]] = {}
    for key, value in found.items():
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) for name in names):
            raise _broken(path, "expected names and the files that they lie in")
        for name in names:
            if not _lies_beside(name):
                raise FormatError(
                    "weight_map", path=path, expected="a file beside the index", found=repr(name)
                )
        places[key] = tuple(names)
    return WeightMap(path, places)


def kind_of(weight_map: WeightMap) -> Kind:
    """Return the kind of the files of an index, `HDF5` or `SAFETENSORS`, by the first that is there.

    Raises:
        UnsupportedError, FormatError: They are something else.
    """
    for path in weight_map.files:
        if os.path.lexists(path):
            kind = identify(ReadFile(path))
            if kind in (HDF5, SAFETENSORS):
                return kind
            if path.endswith((".bin", ".pt", ".pth")):
                raise UnsupportedError(
                    "the index of PyTorch files (pickles), which are never opened here",
                    path=weight_map.path,
                    hint="save them from PyTorch with safetensors.torch.save_file",
                )
            raise FormatError(kind.what, path=path, hint=kind.hint)
    for ending, kind in _ENDINGS:
        if weight_map.files[0].endswith(ending):
            return kind
    raise weight_map.missing_file(weight_map.files[0])


def index_name(name: str) -> str | None:
    """Return the name of the index of the file `name`; `None` if it is not called as one of several."""
    for pattern, index in _INDICES:
        if match := pattern.fullmatch(name):
            return match.expand(index)
    return None


def index_beside(path: str) -> str | None:
    """Return the path of the index that lies beside the file `path` and is called as that file's.

    Raises:
        FormatError: There is one, but it does not list the file.
    """
    directory, base = os.path.split(path)
    name = index_name(base)
    index = None if name is None else os.path.join(directory, name)
    if index is None or not os.path.isfile(index) or identify(ReadFile(index)) is not WEIGHT_MAP:
        return None
    if base not in read_weight_map(index).names:
        raise FormatError(
            f"not one of the files that {name} lists: an earlier save left it",
            path=path,
            hint=f"give {index}; to look into this file alone, copy it to another directory",
        )
    return index


def _lies_beside(name: str) -> bool:
    return os.path.basename(name) == name and name not in ("", ".", "..") and "\0" not in name


def _broken(path: str, why: str) -> FormatError:
    return FormatError(f"'weight_map': {why}", path=path)

"""A file with the structure of another, and in place of its values one number for each dataset.

It takes no room: HDF5 stores nothing for a dataset that has one value throughout.

Source: HDF5 File Format Specification 3.0, "The Data Storage - Fill Value Message".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from toolkit.checkpoint import Variable

_ATTRIBUTES = re.compile(r"name|dtype|backend|keras_version|(layer|weight)_names\d*")
"""By which Keras finds weights. No other is taken over."""


def write(path: str, file: h5py.File, fills: Mapping[Variable, int]) -> None:
    """Write the new file `path`: the groups of `file`, and the datasets that are filled.

    Args:
        path: It must not exist.
        file: Whose structure it gets.
        fills: What to fill the dataset of each variable of `file` with; the dtype must have it.

    Raises:
        OSError: The system refuses something.
    """
    by_place = {variable.token.dataset.name: (variable, fill) for variable, fill in fills.items()}
    with h5py.File(path, "w-") as made:

        def copy(place: str, item: Any) -> None:
            here: Any
            if isinstance(item, h5py.Group):
                here = made.require_group(place)
            elif f"/{place}" in by_place:
                variable, fill = by_place[f"/{place}"]
                value = np.full(1, fill, variable.dtype.numpy).view(item.dtype)[0]
                here = made.create_dataset(place, item.shape, item.dtype, fillvalue=value)
            else:
                return
            for name in filter(_ATTRIBUTES.fullmatch, item.attrs):
                here.attrs[name] = item.attrs[name]

        copy("/", file)
        file.visititems(copy)

"""A histogram of each variable beside the values, as NeXus describes plots, so that h5web opens on one.

    /            default = "stats"
    /stats       NX_class = "NXentry", default = the first variable
    /stats/NAME  NX_class = "NXdata", signal = "histogram", axes = "edges"; num_nan, num_inf

Source: the NeXus manual, NXdata (a histogram's axis has one edge more than there are bins).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from toolkit.checkpoint import Variable

_NUM_BINS = 64
_KINDS = ("float", "int")


def write(file: h5py.File, variables: Iterable[Variable], paths: Mapping[str, str]) -> None:
    """Write the histograms of all numbers among `variables`, each of which is read twice.

    Args:
        file: Where the values are already.
        variables: Of what.
        paths: Where each lies in the file, by name.
    """
    group_name = "stats"
    while any(path == group_name or path.startswith(f"{group_name}/") for path in paths.values()):
        group_name += "_"
    group = file.create_group(group_name, track_order=True)
    file.attrs["default"] = group_name
    group.attrs["NX_class"] = "NXentry"
    for variable in variables:
        if variable.dtype.kind in _KINDS and variable.num_elements:
            _write_histogram(group, paths[variable.name], variable)


def _write_histogram(group: h5py.Group, path: str, variable: Variable) -> None:
    low, high = np.inf, -np.inf
    num_nan = num_inf = 0
    for values in _numbers(variable):
        finite = values[np.isfinite(values)]
        num_nan += int(np.count_nonzero(np.isnan(values)))
        num_inf += int(np.count_nonzero(np.isinf(values)))
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        low = high = 0.0
    if low == high:  # NumPy's own widening of a range that is a point
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _NUM_BINS + 1)
    counts = np.zeros(_NUM_BINS, np.int64)
    for values in _numbers(variable):
        counts += np.histogram(values[np.isfinite(values)], edges)[0]
    data = group.create_group(path)
    data.attrs["NX_class"] = "NXdata"
    data.attrs["signal"] = "histogram"
    data.attrs["axes"] = "edges"
    data.attrs["num_nan"] = num_nan
    data.attrs["num_inf"] = num_inf
    data["histogram"] = counts
    data["edges"] = edges
    if "default" not in group.attrs:
        group.attrs["default"] = path


def _numbers(variable: Variable) -> Iterable[np.ndarray[Any, np.dtype[np.float64]]]:
    """Yield the values in double precision, a chunk at a time."""
    for chunk in variable.chunks():
        yield chunk.view(variable.dtype.numpy).astype(np.float64)

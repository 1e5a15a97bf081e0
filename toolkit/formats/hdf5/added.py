"""Datasets that are added to a file that another program wrote."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np


def add_datasets(path: str, datasets: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """Add to the file `path` a dataset for each name and its values.

    Raises:
        OSError, ValueError: The system refuses something, or the file has such a name.
    """
    with h5py.File(path, "r+") as file:
        for name, values in datasets:
            file.create_dataset(name, data=values)

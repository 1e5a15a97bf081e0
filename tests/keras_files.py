"""Files laid out as Keras lays them out, without Keras: for tests that need no TensorFlow.

Groups, attributes, and configurations are those of Keras 3.15.1 and 2.15.0 for the same models.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Shapes = Sequence[tuple[int, ...]]
SAVED_AT = "2024-05-01@12:00:00"


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    """Return a layer as Keras 3 writes it in `config.json`."""
    config = {"name": name, "trainable": True, **config}
    return {"module": "keras.layers", "class_name": class_name, "config": config, "name": name}


def sequential(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    """Return a sequential model as Keras 3 writes it."""
    config = {"name": name, "trainable": True, "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": config, "name": name}


def optimizer(class_name: str, **config: Any) -> dict[str, Any]:
    """Return an optimizer as Keras 3 writes it."""
    given = {"name": class_name.lower(), "learning_rate": 0.01, **config}
    return {"module": "keras.optimizers", "class_name": class_name, "config": given, "registered_name": None}


def write_archive(
    path: Path,
    groups: Mapping[str, Sequence[np.ndarray]],
    *,
    names: Mapping[str, str] | None = None,
    model: dict[str, Any] | str | None = None,
    trained_by: dict[str, Any] | None = None,
    version: str = "3.15.1",
) -> Path:
    """Write a `.keras` archive.

    Args:
        path: Where.
        groups: The variables of each group, `layers/dense`, in the order of writing.
        names: What the attributes call the objects.
        model: The model; a text for a `config.json` that is none.
        trained_by: The optimizer that the configuration names.
        version: Keras's.
    """
    told = (
        model
        if isinstance(model, str)
        else json.dumps({**(model or {}), "compile_config": {"optimizer": trained_by}})
    )
    buffer = io.BytesIO()
    write_weights(buffer, groups, names=names)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": SAVED_AT}))
        archive.writestr("config.json", told)
        archive.writestr("model.weights.h5", buffer.getvalue())
    return path


def write_weights(
    path: Any, groups: Mapping[str, Sequence[np.ndarray]], *, names: Mapping[str, str] | None = None
) -> None:
    """Write a file of weights in the layout of Keras 3: `GROUP/vars/N`."""
    with h5py.File(path, "w") as file:
        for group, values in groups.items():
            held = file.require_group(f"{group}/vars" if group else "vars")
            if (names or {}).get(group):
                held.attrs["name"] = names[group]
            for number, value in enumerate(values):
                held[str(number)] = value


def numbered(shapes: Shapes, start: int = 1) -> list[np.ndarray]:
    """Return arrays of these shapes, filled with one number each: 1, 2, 3."""
    return [np.full(shape, start + number, np.float32) for number, shape in enumerate(shapes)]


def state(owners: Sequence[np.ndarray], *, step: int = 7, rate: float | None = 0.5) -> list[np.ndarray]:
    """Return the variables of an optimizer: its numbers, then a slot like each of `owners`."""
    first = [np.array(step, np.int64), *([] if rate is None else [np.array(rate, np.float32)])]
    return [*first, *(np.array(owner) for owner in owners)]

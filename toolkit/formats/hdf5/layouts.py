"""What the datasets of an HDF5 file are called as variables, by the layout that the file is written in.

    tf        the toolkit's own: each dataset has its name in `tf_name`
    keras     legacy weights: `layer_names` lists groups, `weight_names` of each its datasets
              (`dense/kernel:0`); a whole model has them in `model_weights`, and `optimizer_weights` beside
    keras3    `…/vars/N` in a group for each layer; the name of a layer is an attribute of its `vars`
    plain     anything else: a dataset's path is its name

Source: keras/src/legacy/saving/legacy_h5_format.py, keras/src/saving/saving_lib.py (H5IOStore).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np

from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats.keras.legacy import Weight
from toolkit.formats.origins import KEY, OBJECTS, ROLE, Told, objects_of, told_of
from toolkit.names import decode_name

RANDOM_STATES = "seed_generators/vars/"
UNTRACKED = "optimizer/untracked/vars/"
"""How the names begin of what a keeper of saves adds to Keras's files, numbered: the states of a model's seed
generators, in Keras's order, and what an optimizer keeps that Keras does not know of. Keras itself neither
writes nor reads them."""
_MAX_PARTS = 100_000
"""Attributes that one list of names is spread over."""


class Named(NamedTuple):
    """What the datasets of a file are as variables.

    Attributes:
        layout: `tf`, `keras`, `keras3` or `plain`.
        datasets: Path of the dataset of each variable, by its name.
        optimizer: Of `keras`, the names of what an optimizer keeps, in order.
        weights: Of `keras`, the weights in order, with their layers.
        called: Of `keras3`, what objects are called, by their groups; empty where that is not said.
    """

    layout: str
    datasets: dict[str, str]
    optimizer: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    called: Mapping[str, str] = {}


def read(file: h5py.File, datasets: Mapping[str, h5py.Dataset], path: str) -> Named:
    """Return what the `datasets` of a file, by their paths, are as variables.

    Args:
        file: The file.
        datasets: All its datasets.
        path: Of the file, for messages.

    Raises:
        FormatError: The file breaks a rule of its layout.
    """
    layout = _text(file.attrs.get("layout"))
    plots = _text(file.attrs.get("default"))
    if layout and plots:  # histograms, which the toolkit wrote beside the values
        datasets = {place: d for place, d in datasets.items() if not place.startswith(f"{plots}/")}
    if layout in ("tf", "keras") and all("tf_name" in dataset.attrs for dataset in datasets.values()):
        return _read_tf(datasets, path)._replace(layout=layout)
    root = "model_weights" if "model_weights" in file and "layer_names" not in file.attrs else ""
    group = file[root] if root else file
    if isinstance(group, h5py.Group) and ("layer_names" in group.attrs or "layer_names0" in group.attrs):
        return _read_keras(file, root, datasets, path)
    if any(part in f"/{name}" for name in datasets for part in ("/vars/", "/_layer_checkpoint_dep")):
        return _read_keras3(file, datasets)
    return Named("plain", {name: name for name in datasets})


def _read_tf(datasets: Mapping[str, h5py.Dataset], path: str) -> Named:
    named: dict[str, str] = {}
    for place, dataset in datasets.items():
        stored = dataset.attrs["tf_name"]
        name = decode_name(stored.tobytes()) if isinstance(stored, np.void) else _text(stored)
        if not name or name in named:
            what = f"{place!r}: attribute tf_name"
            raise FormatError(what, path=path, expected="a name of its own", found=repr(name))
        named[name] = place
    return Named("tf", named)


def read_origin(
    file: h5py.File, datasets: Mapping[str, h5py.Dataset], layout: str, path: str
) -> tuple[dict[str, Told], dict[str, bytes]]:
    """Return the origins of variables, by name, that a file of the toolkit's layout may tell.

    Raises:
        FormatError: It says what cannot be.
    """
    if layout != "tf":
        return {}, {}
    told = {}
    for name, dataset in datasets.items():
        more: dict[str, Any] = {}
        stored = dataset.attrs.get(KEY)
        if stored is not None:
            more[KEY] = decode_name(stored.tobytes()) if isinstance(stored, np.void) else _text(stored)
        try:
            if ROLE in dataset.attrs:
                more[ROLE] = json.loads(_text(dataset.attrs[ROLE]))
            told[name] = told_of(name, more)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{name!r}: {error}", path=path) from error
    parts: list[str] = []
    while len(parts) < _MAX_PARTS and f"{OBJECTS}{len(parts)}" in file.attrs:
        parts.append(_text(file.attrs[f"{OBJECTS}{len(parts)}"]))
    try:
        return told, objects_of("".join(parts))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{OBJECTS}: {error}", path=path) from error


def _read_keras(file: h5py.File, root: str, datasets: Mapping[str, h5py.Dataset], path: str) -> Named:
    found: list[tuple[str, str, str]] = []  # layer, weight, path of the dataset
    group = file[root] if root else file
    for layer in _names(group, "layer_names", path):
        if layer not in group:
            raise FormatError(f"layer {layer!r}: in layer_names, but not in the file", path=path)
        parent = "/".join(filter(None, [root, layer]))
        found += [(layer, w, f"{parent}/{w}") for w in _names(group[layer], "weight_names", path)]
    for extra in ("top_level_model_weights", "optimizer_weights"):
        parent = "/".join(filter(None, [root if extra[0] == "t" else "", extra]))
        if parent in file:
            found += [(extra, w, f"{parent}/{w}") for w in _names(file[parent], "weight_names", path)]
    weights = [weight.removesuffix(":0") for _, weight, _ in found]
    named: dict[str, str] = {}
    optimizer: list[str] = []
    listed: list[Weight] = []
    for (layer, weight, place), short in zip(found, weights, strict=True):
        if place not in datasets and place in file:
            stored = getattr(file[place], "dtype", "a group")
            raise UnsupportedError(
                f"weight {short!r}: stored as {stored}, which does not say what its numbers are",
                path=path,
                hint="save the model as .keras or .weights.h5",
            )
        if place not in datasets:
            raise FormatError(f"weight {weight!r}: in weight_names, but not in the file", path=path)
        name = short if weights.count(short) == 1 else f"{layer}/{short}"
        if name in named:
            raise FormatError(f"weight {weight!r}: listed twice", path=path)
        named[name] = place
        if layer == "optimizer_weights":
            optimizer.append(name)
        else:
            listed.append(Weight(name, layer, short))
    return Named("keras", named, tuple(optimizer), tuple(listed))


def _read_keras3(file: h5py.File, datasets: Mapping[str, h5py.Dataset]) -> Named:
    called: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        group, _, kind = name.rpartition("/")
        if kind == "vars" and isinstance(item, h5py.Group):
            called[group] = _text(item.attrs.get("name"))

    file.visititems(visit)
    return Named("keras3", {place: place for place in datasets}, called=called)


def _names(group: Any, attribute: str, path: str) -> list[str]:
    """Return a list of names, which Keras spreads over several attributes where it is long."""
    if not isinstance(group, h5py.Group):
        raise FormatError(f"{group.name!r}: expected a group of layers or weights", path=path)
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while len(parts) < _MAX_PARTS and f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [_text(name) for part in parts for name in np.asarray(part).reshape(-1).tolist()]


def texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of the root of a whole model's file that are texts."""
    names = ("keras_version", "backend", "model_config", "training_config")
    return {name: _text(attributes[name]) for name in names if name in attributes}


def _text(value: Any) -> str:
    """Return an attribute as text; the empty one if it is none."""
    if isinstance(value, bytes):
        return decode_name(value)
    return value if isinstance(value, str) else ""

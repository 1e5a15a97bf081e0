"""Keras's legacy layout of weights: a group for each layer, with lists of names as attributes.

A variable `dense/kernel` is the weight `dense/kernel:0` of the layer `dense`; of `net/dense/kernel`, where
all variables lie in `net`, that one scope is left out. Keras loads by the order of a layer's weights, so
they are listed in the order in which Keras makes them: kernels, biases, then what is not trained.

Source: keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import h5py
import numpy as np

from toolkit.errors import UsageError

_KERAS_VERSION = "2.15.0"
"""The last version whose layout this is; Keras 3 reads it."""
_MAX_ATTRIBUTE_BYTES = 64512
"""Of one attribute (HDF5_OBJECT_HEADER_LIMIT); longer lists are spread over several."""
_TOP_LEVEL = "top_level_model_weights"
_ORDER = (
    "kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "weights", "w", "embeddings",
    "bias", "biases", "b", "gamma", "beta",
)  # fmt: skip
"""The order in which Keras's layers make their trained weights."""
_UNTRAINED = ("moving_mean", "moving_variance")


class Weight(NamedTuple):
    """A weight: what its variable is called, its layer, and its name there."""

    name: str
    layer: str
    weight: str


def layers_of(names: Sequence[str]) -> dict[str, list[Weight]]:
    """Return the weights of each layer, in their order.

    Raises:
        UsageError: A name cannot be one in this layout.
    """
    for name in names:
        if not all(name.split("/")) or "\0" in name or any(part in (".", "..") for part in name.split("/")):
            raise UsageError(f"{name!r}: cannot be a name in Keras's layout", hint="--rename it")
    split = [name.split("/") for name in names]
    shared = int(bool(split) and all(len(s) > 2 and s[0] == split[0][0] for s in split))
    layers: dict[str, list[Weight]] = {}
    for name, segments in zip(names, split, strict=True):
        rest = segments[shared:]
        layer = rest[0] if len(rest) > 1 else _TOP_LEVEL
        layers.setdefault(layer, []).append(Weight(name, layer, "/".join(rest) + ":0"))
    for layer, weights in layers.items():
        _refuse_unknown_order(layer, weights)
        weights.sort(key=_rank)
    return layers


def _refuse_unknown_order(layer: str, weights: Sequence[Weight]) -> None:
    """Refuse a layer of several others: Keras loads by their order, which names do not tell.

    Raises:
        UsageError: It has several, and is no Bidirectional.
    """
    inner = {tuple(weight.weight.split("/")[1:-1]) for weight in weights}
    if layer == _TOP_LEVEL or len(inner) < 2:
        return
    directions = {scopes[0].partition("_")[0] for scopes in inner if scopes}
    if len(inner) == 2 and directions == {"forward", "backward"}:
        return
    raise UsageError(
        f"layer {layer!r}: has several layers in it, whose order their names do not tell",
        hint="--layout keras3 with --model has Keras itself write them; or leave it out with --exclude",
    )


def paths_of(layers: Mapping[str, Sequence[Weight]]) -> dict[str, str]:
    """Return where each variable lies in the file, by name."""
    return {w.name: f"{layer}/{w.weight}" for layer, weights in layers.items() for w in weights}


def write_attributes(file: h5py.File, layers: Mapping[str, Sequence[Weight]]) -> None:
    """Make the groups of the layers, and list what is in them."""
    file.attrs["keras_version"] = _KERAS_VERSION
    file.attrs["backend"] = "tensorflow"
    _write_names(file, "layer_names", [layer for layer in layers if layer != _TOP_LEVEL])
    for layer, weights in layers.items():
        _write_names(file.create_group(layer), "weight_names", [weight.weight for weight in weights])
    if _TOP_LEVEL not in layers:
        _write_names(file.create_group(_TOP_LEVEL), "weight_names", [])


def _write_names(group: h5py.Group, attribute: str, names: Sequence[str]) -> None:
    array = np.array([name.encode() for name in names]) if names else np.array([], "S1")
    count = 1
    while any(part.nbytes > _MAX_ATTRIBUTE_BYTES for part in np.array_split(array, count)):
        count += 1
    if count == 1:
        group.attrs[attribute] = array
    else:
        for number, part in enumerate(np.array_split(array, count)):
            group.attrs[f"{attribute}{number}"] = part


def _rank(weight: Weight) -> tuple[bool, list[tuple[int, str]], int, str]:
    """Return by what weights of a layer are sorted: untrained last, by sublayer, then by kind."""
    *scopes, leaf = weight.weight.removesuffix(":0").split("/")
    kind = _ORDER.index(leaf) if leaf in _ORDER else len(_ORDER)
    if leaf in _UNTRAINED:
        kind = _UNTRAINED.index(leaf)
    return leaf in _UNTRAINED, [_natural(scope) for scope in scopes], kind, leaf


def _natural(segment: str) -> tuple[int, str]:
    """Return a segment so that `dense_2` comes before `dense_10`."""
    number = re.search(r"_(\d+)$", segment)
    if segment.startswith("forward"):
        return -1, segment  # of a Bidirectional, before what goes backward
    return (int(number[1]) if number else 0), segment

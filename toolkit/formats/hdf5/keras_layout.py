"""Keras's legacy layout of weights: a group for each layer, with lists of names as attributes.

A variable `dense/kernel` is the weight `dense/kernel:0` of the layer `dense`; of `net/dense/kernel`, where
all variables lie in `net`, that one scope is left out. Keras loads by the order of a layer's weights: those
that are trained in the order in which they were made, then the others. Where nothing tells that order, it
is the one of Keras's own layers: kernels, biases, then what is not trained.

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
_LAYER = re.compile(r"\d+|layer(_with_weights)?-\d+")
"""What a layer of a model is called among its objects (Keras 3's `_operations`, Keras 2's)."""
_CONTAINERS = ("_functional", "_operations")
"""Objects that are no layers."""
_TOP_LEVEL = "top_level_model_weights"
_ORDER = (
    "kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "weights", "w", "embeddings",
    "bias", "biases", "b", "gamma", "beta",
)  # fmt: skip
"""The order in which Keras's layers make their trained weights."""
_UNTRAINED = ("moving_mean", "moving_variance", "mean", "variance", "count", "vector_u")
"""What Keras's layers keep that is not trained, in their order."""
_PARTS = (
    ("forward", "backward"),
    ("query", "key", "value", "attention_output"),
)
"""The layers in one layer whose order Keras gives: of Bidirectional, of MultiHeadAttention."""


class Weight(NamedTuple):
    """A weight: what its variable is called, its layer, and its name there."""

    name: str
    layer: str
    weight: str


def layers_of(names: Sequence[str], places: Mapping[str, str] | None = None) -> dict[str, list[Weight]]:
    """Return the weights of each layer, in their order.

    Args:
        names: The names of the variables.
        places: Where each stands among the objects of the model, if that is known; `names` are then in
            the order in which the model made them.

    Raises:
        UsageError: A name cannot be one in this layout.
    """
    for name in names:
        if not all(name.split("/")) or "\0" in name or any(part in (".", "..") for part in name.split("/")):
            raise UsageError(f"{name!r}: cannot be a name in Keras's layout", hint="--rename it")
    split = [name.split("/") for name in names]
    shared = int(_have_scope_of_model(split, [(places or {}).get(name, "") for name in names]))
    layers: dict[str, list[Weight]] = {}
    for name, segments in zip(names, split, strict=True):
        rest = segments[shared:]
        layer = rest[0] if len(rest) > 1 else _TOP_LEVEL
        layers.setdefault(layer, []).append(Weight(name, layer, "/".join(rest) + ":0"))
    for layer, weights in layers.items():
        if places:
            weights.sort(key=_is_untrained)
        else:
            _refuse_unknown_order(layer, weights)
            weights.sort(key=_rank)
    return layers


def _have_scope_of_model(split: Sequence[Sequence[str]], places: Sequence[str]) -> bool:
    """Return whether the first scope of all names is the model's, not that of the one layer it has.

    Args:
        split: The names, by segments.
        places: Where each stands among the objects, empty where that is not known.
    """
    if not split or not all(len(s) > 2 and s[0] == split[0][0] for s in split):
        return False
    if any(places):
        return all(len(s) - 1 > _depth(place) for s, place in zip(split, places, strict=True))
    return not all(_part(s[1]) for s in split)


def _depth(place: str) -> int:
    """Return how many layers, one in the other, a place lies in: `_operations/1/layer/_kernel` in two."""
    *objects, _ = place.split("/")
    first = next((i for i, each in enumerate(objects) if _LAYER.fullmatch(each)), len(objects))
    return sum(each not in _CONTAINERS for each in objects[first:])


def _refuse_unknown_order(layer: str, weights: Sequence[Weight]) -> None:
    """Refuse a layer of several others: Keras loads by their order, which names do not tell.

    Raises:
        UsageError: It has several, and is none whose order is known.
    """
    inner = {_segments(weight)[1:-1] for weight in weights}
    if layer == _TOP_LEVEL or len(inner) < 2 or all(scopes and _part(scopes[0]) for scopes in inner):
        return
    raise UsageError(
        f"layer {layer!r}: has several layers in it, whose order their names do not tell",
        hint="export a checkpoint of tf.train.Checkpoint, which has the order; or --layout keras3 with"
        " --model, which lets Keras write them; or leave it out with --exclude",
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


def _segments(weight: Weight) -> tuple[str, ...]:
    """Return the layer, the layers in it, and the name of a weight."""
    return tuple(weight.weight.removesuffix(":0").split("/"))


def _is_untrained(weight: Weight) -> bool:
    return _segments(weight)[-1] in _UNTRAINED


def _rank(weight: Weight) -> tuple[bool, list[tuple[int, str]], int, str]:
    """Return by what weights of a layer are sorted: untrained last, by sublayer, then by kind."""
    *scopes, leaf = _segments(weight)
    order = _UNTRAINED if leaf in _UNTRAINED else _ORDER
    kind = order.index(leaf) if leaf in order else len(order)
    return leaf in _UNTRAINED, [_natural(scope) for scope in scopes], kind, leaf


def _part(scope: str) -> int | None:
    """Return the place of a layer in a layer, from 1, if Keras gives it; `None` if not."""
    for parts in _PARTS:
        for place, part in enumerate(parts, 1):
            if scope == part or scope.startswith(f"{part}_"):
                return place
    return None


def _natural(scope: str) -> tuple[int, str]:
    """Return by what scopes are sorted, so that `dense_2` comes before `dense_10`."""
    number = re.search(r"_(\d+)$", scope)
    return _part(scope) or (int(number[1]) if number else 0), scope

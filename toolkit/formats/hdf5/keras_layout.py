"""Keras's legacy layout of weights: a group for each layer, with lists of names as attributes.

A variable `dense/kernel` is the weight `dense/kernel:0` of the layer `dense`; of `net/dense/kernel`, where
all variables lie in `net`, that one scope is left out. Keras loads by the order of a layer's weights: those
that are trained in the order in which they were made, then the others. Where nothing tells that order, it
is the one of Keras's own layers: kernels, biases, then what is not trained.

Source: keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
    "bias", "biases", "b", "gamma", "beta", "alpha",
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


def layers_of(
    names: Sequence[str],
    places: Mapping[str, str] | None = None,
    trained: Collection[str] | None = None,
) -> dict[str, list[Weight]]:
    """Return the weights of each layer, in the order in which Keras loads them.

    Args:
        names: The names of the variables.
        places: Where each stands among the objects of the model, if that is known; `names` are then in
            the order in which these were given their parts.
        trained: Which of them an optimizer trains, if that is known.

    Raises:
        UsageError: A name cannot be one in this layout, or the order of a layer's weights is not told.
    """
    for name in names:
        if not all(name.split("/")) or "\0" in name or any(part in (".", "..") for part in name.split("/")):
            raise UsageError(
                f"{name!r}: cannot be a name in Keras's layout", hint="rename it: --rename OLD=NEW"
            )
    tops = _top_layers({name: places[name] for name in names} if places else {})
    if tops is not None:
        layers = _by_place(tops)
    else:
        layers = _by_scope(names)
        _refuse_unknown_layers({name: places[name] for name in names} if places else {})
    ordered: dict[str, list[Weight]] = {}
    for layer, weights in layers.items():
        if len(weights) > 1:
            _refuse_unknown_order(layer, weights, by_place=tops is not None, trained=trained)
        ordered[layer] = sorted(weights, key=lambda w: _rank(w, tops is not None, trained))
    return ordered


def layers_given(layers: Mapping[str, Sequence[str]]) -> dict[str, list[Weight]]:
    """Return the weights of each layer, by their names in the order that a model gives."""
    return {layer: [Weight(name, layer, f"{name}:0") for name in names] for layer, names in layers.items()}


def top_level(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return what `layers_given` takes for weights that are in no layer."""
    return {_TOP_LEVEL: names}


def _by_scope(names: Sequence[str]) -> dict[str, list[Weight]]:
    """Return the weights of each layer as the scopes of their names tell."""
    split = [name.split("/") for name in names]
    shared = all(len(s) > 2 and s[0] == split[0][0] and not _part(s[1]) for s in split)
    layers: dict[str, list[Weight]] = {}
    for name, segments in zip(names, split, strict=True):
        rest = segments[int(shared) :]
        layer = rest[0] if len(rest) > 1 else _TOP_LEVEL
        layers.setdefault(layer, []).append(Weight(name, layer, "/".join(rest) + ":0"))
    return layers


def _top_layers(places: Mapping[str, str]) -> dict[str, dict[str, int]] | None:
    """Return the weights of each layer of a functional or sequential model, by its place.

    Each comes with the number of layers, one in the other, that it lies in. `None` if it is no such model.
    """
    tops: dict[str, dict[str, int]] = {}
    roots = set()
    for name, place in places.items():
        *objects, _ = place.split("/")
        first = next((i for i, each in enumerate(objects) if _LAYER.fullmatch(each)), None)
        if first is None:
            return None
        roots.add(tuple(objects[:first]))
        depth = sum(each not in _CONTAINERS for each in objects[first:])
        tops.setdefault(objects[first], {})[name] = depth
    return tops if len(roots) == 1 else None


def _by_place(tops: Mapping[str, Mapping[str, int]]) -> dict[str, list[Weight]]:
    """Return the weights of each layer as their places tell; its name is the scope at that depth.

    A weight that two objects share may stand higher than its scope says, so the most have their way.
    """
    layers: dict[str, list[Weight]] = {}
    for depths in tops.values():
        scopes = {name: name.split("/")[:-1] for name in depths}
        votes = Counter(
            scopes[name][len(scopes[name]) - depth]
            for name, depth in depths.items()
            if len(scopes[name]) >= depth
        )
        fitting = [layer for layer in votes if all(layer in each for each in scopes.values())]
        layer = max(fitting, key=lambda each: votes[each], default=None)
        if layer is None or layer in layers:
            raise _untold(f"{next(iter(depths))}: what Keras calls its layer is not told")
        layers[layer] = [
            Weight(name, layer, name[f"/{name}".index(f"/{layer}/") :] + ":0") for name in depths
        ]
    return layers


def _refuse_unknown_layers(places: Mapping[str, str]) -> None:
    """Refuse names without the scope of a layer, of models that are made of any objects.

    Args:
        places: Where each variable stands among the objects.

    Raises:
        UsageError: There is one.
    """
    objects = {name: place.split("/")[:-1] for name, place in places.items()}
    columns = zip(*objects.values(), strict=False)
    shared = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
    for name, place in places.items():
        if name == place or name.count("/") <= len(objects[name]) - shared:
            raise _untold(f"{name}: what Keras calls its layer is not told")


def _refuse_unknown_order(
    layer: str, weights: Sequence[Weight], *, by_place: bool, trained: Collection[str] | None
) -> None:
    """Refuse a layer of which nothing tells in which order Keras loads its weights.

    Raises:
        UsageError: It is one.
    """
    if layer == _TOP_LEVEL:
        return
    for weight in weights:
        if (leaf := _segments(weight)[-1]) not in (*_ORDER, *_UNTRAINED) and not leaf.isdecimal():
            raise _untold(f"layer {layer!r}: where {leaf} stands among its weights is not told")
    inner = {_segments(weight)[1:-1] for weight in weights}
    if len(inner) < 2:
        return
    if not by_place and not all(scopes and _part(scopes[0]) for scopes in inner):
        raise _untold(f"layer {layer!r}: has several layers in it, whose order their names do not tell")
    if by_place and trained is None and any(_is_untrained(w) and len(_segments(w)) > 2 for w in weights):
        raise _untold(f"layer {layer!r}: whether it is trained is not told, by which its weights are ordered")


def _untold(what: str) -> UsageError:
    return UsageError(what, hint="ask Keras: --model MODULE:FUNCTION; or leave it out with --exclude")


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


def _rank(
    weight: Weight, by_place: bool, trained: Collection[str] | None
) -> tuple[bool, list[tuple[int, str]], int, str]:
    """Return by what weights of a layer are sorted: untrained last, by sublayer, then by kind.

    Where the places tell they are in their order already.
    """
    *scopes, leaf = _segments(weight)
    last = leaf in _UNTRAINED if trained is None else weight.name not in trained
    if by_place:
        return last, [], 0, ""
    order = _UNTRAINED if leaf in _UNTRAINED else _ORDER
    kind = int(leaf) if leaf.isdecimal() else order.index(leaf) if leaf in order else len(order)
    return last, [_natural(scope) for scope in scopes], kind, leaf


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

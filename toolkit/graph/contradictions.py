"""Where Keras would load a layer's weights into another layer, though file and model say which is which.

Keras goes by the classes of layers and their order. In a model that was changed since (a layer more, a scope
around some), `dense` is then another layer. What the file calls its layers tells, unless Keras named them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping


def without_contradictions(
    loaded: Mapping[str, str], paths: Mapping[str, str], targets: Collection[str]
) -> dict[str, str]:
    """Return `loaded` without the weights of layers that the model has elsewhere under their names.

    Args:
        loaded: By the keys of the file's variables, those of the model's that get their values.
        paths: The readable names of the file's variables, by key.
        targets: The names of all of the model's variables.
    """
    theirs, ours = {_layer(path) for path in paths.values()}, set(map(_layer, targets))
    kept = {}
    for key, target in loaded.items():
        layer, given = _layer(paths.get(key, key)), _layer(target)
        is_elsewhere = layer in ours or given in theirs
        if layer == given or not is_elsewhere or _is_of_keras(layer, key):
            kept[key] = target
    return kept


def _layer(name: str) -> str:
    """Return the name of the layer that a variable belongs to."""
    return name.rpartition("/")[0].rpartition("/")[2]


def _is_of_keras(layer: str, key: str) -> bool:
    """Return whether Keras made a layer's name of its class, with a number: `layers/dense_1/vars/0`."""
    group = key.partition("/vars/")[0].rpartition("/")[2]
    return re.sub(r"_\d+\Z", "", layer) == re.sub(r"_\d+\Z", "", group)

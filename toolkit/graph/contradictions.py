"""Where Keras or TensorFlow would load a layer's weights into another layer, though names say which is which.

Keras goes by the classes of layers and their order, TensorFlow by their numbers in lists. In a model that was
changed since (a layer more, a scope around some), `dense` is then another layer. What the checkpoint calls
its layers tells, unless Keras named them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping


def without_contradictions(
    loaded: Mapping[str, str],
    paths: Mapping[str, str],
    targets: Collection[str],
    classes: Collection[str] = (),
) -> dict[str, str]:
    """Return `loaded` without the weights of layers that the model has elsewhere under their names.

    Args:
        loaded: By the keys of the file's variables, those of the model's that get their values.
        paths: The readable names of the file's variables, by key.
        targets: The names of all of the model's variables.
        classes: Those of the model's layers, after which Keras names layers.
    """
    named = {_snake_case(name) for name in classes}
    theirs, ours = {_layer(path) for path in paths.values()}, set(map(_layer, targets))
    kept = {}
    for key, target in loaded.items():
        layer, given = _layer(paths.get(key, key)), _layer(target)
        is_elsewhere = layer in ours or given in theirs
        if layer == given or not is_elsewhere or _is_of_keras(layer, key, named):
            kept[key] = target
    return kept


def by_layers(kept: Mapping[str, str], paths: Mapping[str, str], targets: Collection[str]) -> dict[str, str]:
    """Return `kept`, and with it what is called alike: the weights of layers that were contradicted.

    Args:
        kept: What `without_contradictions` returned.
        paths: As for it.
        targets: The names of the model's weights.
    """
    taken, found = set(kept.values()), dict(kept)
    ours: dict[str, list[str]] = {}
    for target in targets:
        ours.setdefault(end_of(target), []).append(target)
    times: dict[str, int] = {}
    for path in paths.values():
        times[end_of(path)] = times.get(end_of(path), 0) + 1
    for key, path in paths.items():
        alike = [target for target in ours.get(end_of(path), ()) if target not in taken]
        if key not in kept and len(alike) == times[end_of(path)] == 1:
            found[key] = alike[0]
    return found


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _layer(name: str) -> str:
    """Return the name of the layer that a variable belongs to."""
    return name.rpartition("/")[0].rpartition("/")[2]


def end_of(name: str) -> str:
    """Return the names of a variable's layer and of the variable in it."""
    return "/".join(name.split("/")[-2:])


def _is_of_keras(layer: str, key: str, named: Collection[str]) -> bool:
    """Return whether Keras made a layer's name of its class, with a number: `layers/dense_1/vars/0`.

    Source: keras/src/utils/naming.py, to_snake_case and uniquify.
    """
    stem, group = re.sub(r"_\d+\Z", "", layer), key.partition("/vars/")[0].rpartition("/")[2]
    return stem in named or stem == re.sub(r"_\d+\Z", "", group)

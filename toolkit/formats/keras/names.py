"""What the variables of a Keras file are called by people: `hidden/kernel`, as Keras calls them in a model.

A name is the names of the objects on the way, the model's own left out, and what the layer calls the
variable. Where a class does not tell that, its number stands for it: `hidden/0`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from toolkit.formats.keras.objects import Object

_MODELS_WITHOUT_SCOPE = ("Functional", "Model")
"""Models whose name is not in the paths of what is in them: their layers were made outside."""


class Names:
    """What the variables of a model are called.

    Args:
        root: The model.
    """

    def __init__(self, root: Object) -> None:
        self._root = root
        self.shown: dict[str, str] = {}
        """By key, what each is called, where that is told."""
        self._paths: dict[str, frozenset[str]] = {}
        self._add(root)

    def paths(self, key: str) -> Collection[str]:
        """Return the paths that a variable may have in its Keras model; none if that is not told."""
        return self._paths.get(key, ())

    def _add(self, root: Object) -> None:
        waiting = [(root, "", frozenset(self._scopes(root, frozenset(("",)))))]
        while waiting:
            item, scope, scopes = waiting.pop()
            for number, key in enumerate(item.own):
                leaf = item.names[number] if item.names is not None else key.rpartition("/")[2]
                if item.name:
                    self.shown[key] = f"{scope or item.name}/{leaf}"
                if item.name and item.names is not None:
                    self._paths[key] = frozenset(f"{each}/{leaf}" if each else leaf for each in scopes)
            for chain in item.chains:
                for inner in chain:
                    below = "/".join(filter(None, (scope, inner.name)))
                    waiting.append((inner, below, frozenset(self._scopes(inner, scopes))))

    @staticmethod
    def _scopes(item: Object, outside: frozenset[str]) -> set[str]:
        """Return in which scopes the variables in an object may lie."""
        inside = {"/".join(filter(None, (scope, item.name))) for scope in outside}
        class_name = item.described.class_name if item.described is not None else ""
        if class_name in _MODELS_WITHOUT_SCOPE or (
            item.described is not None and not item.described.is_whole
        ):
            return inside | outside
        return inside


def unique(names: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    """Return the names that mean one variable each, and are no other's key."""
    times = Counter(names.values())
    return {key: name for key, name in names.items() if times[name] == 1 and name != key and name not in keys}

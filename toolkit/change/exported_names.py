"""What an export writes, what that is called, and what is kept beside it to give the checkpoint back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import FormatError, UsageError
from toolkit.formats.bundle.object_edit import ObjectEditor
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.origins import Origin
from toolkit.roles import OBJECT_GRAPH, Role, assign, is_beta_power

_NO_WEIGHT = "no weight of the model"


class Wanted(NamedTuple):
    """What of a checkpoint is exported.

    Attributes:
        to_tf1: Variables by names, and no objects.
        weights_only: What is of the role `weight`.
        raw_names: Everything by its key.
        for_keras: What layers hold.
        is_renamed: Names change.
    """

    to_tf1: bool
    weights_only: bool
    raw_names: bool
    for_keras: bool
    is_renamed: bool

    @property
    def keeps_keys(self) -> bool:
        """Whether the file tells the keys of its variables, and can have their objects."""
        return not (self.to_tf1 or self.for_keras or self.is_renamed)

    def check(self) -> None:
        """Raise UsageError if this is not to be had together."""
        if self.raw_names and (self.to_tf1 or self.for_keras):
            raise UsageError(
                "--raw-names: keys are no names of TensorFlow 1 or of Keras",
                hint="leave out --raw-names, or --to-tf1 and --layout",
            )

    def why_not(self, variable: Variable, role: Role, called: str, of_weights: Collection[str]) -> str | None:
        """Return the reason to leave a variable out; `None` to keep it.

        Args:
            variable: Which.
            role: What it is for.
            called: Its readable name.
            of_weights: The scopes that weights lie in.
        """
        if variable.dtype.kind == "handle":
            return f"{variable.dtype} has no plain values"
        if role.kind == "metadata" and not self.raw_names:
            if self.to_tf1:
                return "a name-based checkpoint has no objects"
            return "its objects have other names" if self.is_renamed else _NO_WEIGHT
        if self.for_keras:
            counts = role.kind == "counter" and "/" in called and scope_of(called) in of_weights
            return None if role.kind == "weight" or (counts and not is_beta_power(called)) else _NO_WEIGHT
        return _NO_WEIGHT if self.weights_only and role.kind != "weight" else None


def scope_of(name: str) -> str:
    """Return the scope that a name lies in; the empty one for none."""
    return name.rpartition("/")[0]


def display_names(chosen: Iterable[str], paths: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    """Map each key to the readable name of its variable if that is unique, else to itself.

    Args:
        chosen: The keys of what is exported.
        paths: The readable names of the checkpoint, by key.
        keys: All of its keys, none of which is another's readable name.
    """
    chosen = list(chosen)
    times = Counter(paths.get(key, key) for key in chosen)
    called = {}
    for key in chosen:
        path = paths.get(key, key)
        called[key] = path if path and times[path] == 1 and path not in keys else key
    return called


def objects_in(checkpoint: Checkpoint, roles: Mapping[str, Role]) -> dict[str, bytes]:
    """Return the entries of an object-based checkpoint that are no variables: the object graph, and texts."""
    found = {}
    variables = checkpoint.variables()
    for key, role in roles.items():
        variable = variables[key]
        if role.kind == "metadata" and variable.dtype.kind == "string" and not variable.shape:
            found[key] = variable.load().reshape(-1)[0]
    return found if OBJECT_GRAPH in found else {}


def origin_of(
    made: Mapping[str, Variable],
    keys: Mapping[str, str],
    roles: Mapping[str, Role],
    objects: Mapping[str, bytes],
    *,
    path: str,
) -> Origin:
    """Return the description that an exported file keeps of its checkpoint.

    Args:
        made: What is exported, by its name in the file.
        keys: The key of each in the checkpoint, by its name in the file.
        roles: What all variables of the checkpoint are for, by key.
        objects: What is no variable, by key. The graph is kept as far as its values are exported.
        path: Of the checkpoint.

    Raises:
        FormatError: The object graph breaks a rule.
    """
    kept = {keys[name] for name in made}
    if objects:
        graph = objects[OBJECT_GRAPH]
        dropped = roles.keys() - kept - objects.keys()
        if dropped:
            try:
                editor = ObjectEditor(graph)
                editor.drop(dropped)
            except MessageError as error:
                raise FormatError(f"object graph: {error}", path=path) from error
            graph = editor.serialized
        objects = {**objects, OBJECT_GRAPH: graph}
    told = {}
    if not objects:
        by_name = assign({keys[name]: variable for name, variable in made.items()})
        for name in made:
            kind, of = roles[keys[name]]
            role = Role(kind, of if of in kept else None)
            if role != by_name[keys[name]]:
                told[name] = role
    return Origin({name: keys[name] for name in made if keys[name] != name}, told, objects)

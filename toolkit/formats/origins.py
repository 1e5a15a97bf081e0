"""What a file of another format keeps of the checkpoint that it was exported from.

An object-based checkpoint (TF2) has keys that nobody reads, and objects beside its values. For other programs
its variables go by readable names, and nothing but variables is among them. What gives the checkpoint back is
where the format has a place for descriptions:

    tf_key      of a variable: its key, where that is not its name in the file
    tf_role     of a variable: what it is for and whose it is, where names do not tell: ["slot", "KEY"]
    tf_objects  of the file: what is no variable, the object graph first of all: {"KEY": "BASE64"}

Such a file is read as the checkpoint was: its variables have their keys, and readable names beside them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from toolkit import dtypes
from toolkit.checkpoint import Checkpoint, TensorSpec, Variable
from toolkit.errors import FormatError, UnsupportedError
from toolkit.formats.streamed import StreamedSource
from toolkit.names import encode_name
from toolkit.roles import OBJECT_GRAPH, Kind, Role

if TYPE_CHECKING:
    from toolkit.formats.bundle.object_graph import ObjectGraph

KEY = "tf_key"
ROLE = "tf_role"
OBJECTS = "tf_objects"


class Origin(NamedTuple):
    """What is kept of a checkpoint.

    Attributes:
        keys: The key of each variable that goes by another name, by that name.
        roles: What variables are for, by name in the file; `of` is a key.
        objects: What is no variable, by key.
    """

    keys: Mapping[str, str] = {}
    roles: Mapping[str, Role] = {}
    objects: Mapping[str, bytes] = {}

    def described(self, name: str) -> dict[str, Any]:
        """Return the description of the variable that goes by `name`."""
        told: dict[str, Any] = {}
        if name in self.keys:
            told[KEY] = self.keys[name]
        if name in self.roles:
            told[ROLE] = list(self.roles[name])
        return told

    def key_of(self, name: str) -> str:
        """Return the key of the variable that goes by `name`."""
        return self.keys.get(name, name)

    @property
    def objects_text(self) -> str:
        """What is no variable, as text; the empty one if there is nothing."""
        if not self.objects:
            return ""
        return json.dumps({key: base64.b64encode(value).decode() for key, value in self.objects.items()})


class Told(NamedTuple):
    """What a file says of one variable: its key, and what it is for if that is said."""

    key: str
    role: Role | None


def told_of(name: str, more: Mapping[str, Any]) -> Told:
    """Return key and role in the description `more` of the variable that goes by `name`.

    Raises:
        ValueError: It says what cannot be.
    """
    key, role = more.get(KEY, name), more.get(ROLE)
    if not isinstance(key, str):
        raise ValueError(f"{KEY}: expected text")
    if role is None:
        return Told(key, None)
    if not isinstance(role, list) or len(role) != 2 or role[0] not in get_args(Kind):
        raise ValueError(f"{ROLE}: expected a role and a key")
    kind, of = role
    if not isinstance(of, str | None):
        raise ValueError(f"{ROLE}: expected a key")
    return Told(key, Role(kind, of))


def objects_of(text: str) -> dict[str, bytes]:
    """Return the objects that `Origin.objects_text` wrote as `text`.

    Raises:
        ValueError: It is something else.
    """
    if not text:
        return {}
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{OBJECTS}: expected an object of texts")
    return {key: base64.b64decode(value, validate=True) for key, value in found.items()}


class ExportedCheckpoint(Checkpoint):
    """A file that may keep what it was exported from."""

    _variables: dict[str, Variable]
    _readable: dict[str, str]

    def _settle(
        self, variables: Mapping[str, Variable], told: Mapping[str, Told], objects: Mapping[str, bytes]
    ) -> None:
        """Take over variables by the names in the file, what it says of them, and what is no variable.

        Raises:
            FormatError: Two would have one key.
        """
        self._names = {told[name].key: name for name in variables if name in told}
        self._readable = {key: name for key, name in self._names.items() if key != name}
        if self._readable and not objects:
            self.keys_are_places = (
                True  # of a Keras file: nothing but that has readable names without objects
            )
        self._roles = {each.key: each.role for each in told.values() if each.role is not None}
        found = {told[name].key if name in told else name: variable for name, variable in variables.items()}
        if len(found) < len(variables) or found.keys() & objects:
            raise FormatError(f"{KEY}: two variables have one", path=self.path)
        found = {key: variable.renamed(key) for key, variable in found.items()}
        for key, value in objects.items():
            found[key] = _text_variable(key, value)
        if objects:
            found = {key: found[key] for key in sorted(found, key=encode_name)}  # as a bundle has them
        self._variables = found
        self._keys = {name: key for key, name in self._readable.items() if name not in found}
        self._serialized = objects.get(OBJECT_GRAPH)
        if self._readable and not objects:  # no objects ask for keys: an export of a file of Keras's
            self.keys_are_places = True

    def find(self, name: str) -> Variable | None:
        """Return the variable of this key, or of this name in the file; `None` if there is none."""
        found = self._variables.get(name)
        return found if found is not None else self._variables.get(self._keys.get(name, name))

    def variables(self) -> dict[str, Variable]:
        """Return all variables by key, in their order."""
        return self._variables

    def paths(self) -> dict[str, str]:
        """Return the name in the file, by key where that is another; else a readable name."""
        if self._readable or self._graph is None:
            return self._readable
        return {
            key: path for key, path in self._graph.paths().items() if key in self._variables and key != path
        }

    def tree_paths(self) -> dict[str, str]:
        """Return the way to each value through the objects, by key, where the file keeps these."""
        return {} if self._graph is None else self._graph.object_paths()

    def trained(self) -> frozenset[str] | None:
        """Return the keys of what optimizers train, where the file keeps the objects and they tell."""
        if self._graph is None:
            return None
        from toolkit.formats.bundle import object_roles

        return object_roles.trained_keys(self._graph)

    def roles(self) -> dict[str, Role]:
        """Map each variable to its role: told by the objects, by its description, or by names."""
        if self._graph is None:
            return super().roles() | self._roles
        from toolkit.formats.bundle import object_roles

        return object_roles.roles(self._graph, self._variables)

    @cached_property
    def _graph(self) -> ObjectGraph | None:
        """The object graph; `None` if there is none."""
        if self._serialized is None:
            return None
        from toolkit.formats.bundle.object_graph import ObjectGraph
        from toolkit.formats.bundle.schema import MessageError

        try:
            return ObjectGraph(self._serialized)
        except MessageError as error:
            raise FormatError(f"object graph: {error}", path=self.path) from error


def _text_variable(key: str, value: bytes) -> Variable:
    """Return a scalar string variable of this value."""
    from toolkit.formats.bundle import strings

    spec = TensorSpec(dtypes.BY_NAME["string"], (), sum(map(len, strings.encode([value]))))
    return Variable(key, spec, _Text(), value)


class _Text(StreamedSource):
    """The source of scalar strings, whose token is their value."""

    def plain_chunks(self, variable: Variable, *, max_bytes: int, verify: bool) -> Any:
        """Implement `StreamedSource`: strings have no plain values."""
        raise UnsupportedError("a string has no plain values", path=variable.name)

    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Implement `StreamedSource`."""
        return [variable.token]

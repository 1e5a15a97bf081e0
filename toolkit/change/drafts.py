"""A checkpoint as it is to become: what each variable will be called and hold, and why.

A draft begins as what a checkpoint is. Operations change it one after another, each meaning the names as they
are by then, and in the end it makes a plan.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from toolkit import dtypes, names
from toolkit.arguments import choose
from toolkit.change import results
from toolkit.change.plan import FilePlan
from toolkit.change.readable_names import with_readable_names
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import FormatError, UsageError, VariableNotFoundError
from toolkit.formats.bundle import naming
from toolkit.formats.bundle.object_edit import ObjectEditor
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.bundle.sharing import DATA_MODES, DataMode
from toolkit.plan import Action, Verdict
from toolkit.roles import OBJECT_GRAPH, Role

_SEED_BITS = 32
_GAP = (
    "an optimizer finds what it keeps by number: where a model lacks what was dropped, the state of what "
    "came after is not found, and starts anew"
)


@dataclass(frozen=True)
class Item:
    """What will be a variable.

    Attributes:
        name: What it will be called.
        result: Its value to be; what that is called does not matter.
        role: What it is for; `of` is what its variable is called now.
        action: What happens to it.
        source: Where its value comes from.
        reasons: Why, one for each operation that changed it.
        initializer: The SPEC that fills it, where one does.
    """

    name: str
    result: Variable
    role: Role
    action: Action
    source: str | None
    reasons: tuple[str, ...] = ()
    initializer: str | None = None

    def changed(
        self,
        result: Variable,
        action: Action,
        source: str | None,
        reason: str,
        initializer: str | None = None,
    ) -> Item:
        """Return it with another value."""
        return replace(
            self,
            result=result,
            action=action,
            source=source,
            reasons=(*self.reasons, reason),
            initializer=initializer,
        )

    def verdict(self, otherwise: str, path: str | None) -> Verdict:
        """Return what will be done; `otherwise` is the reason where there is no other."""
        return Verdict(
            self.name,
            self.action,
            self.source,
            "; ".join(dict.fromkeys(self.reasons)) or otherwise,
            self.result.dtype.name,
            self.result.shape,
            self.initializer,
            path=path,
        )


class Draft:
    """A checkpoint as it is to become.

    Attributes:
        origin: The checkpoint that it began as.
        items: What will be its variables, by what they will be called; in their order at first.
        sources: The checkpoints that values come from, `origin` first.
        objects: Its object graph, if it is object-based.
        seed: What random values are drawn from, once something may be.

    Args:
        origin: Open.
    """

    def __init__(self, origin: Checkpoint) -> None:
        self.origin = origin
        self.sources = [origin]
        roles = origin.roles()
        self.items = {
            name: Item(name, variable, roles[name], "keep", name)
            for name, variable in origin.variables().items()
        }
        graph = self.items.get(OBJECT_GRAPH)
        self.objects: ObjectEditor | None = None
        if graph is not None and graph.result.dtype.kind == "string" and graph.result.num_elements == 1:
            try:
                self.objects = ObjectEditor(graph.result.load().reshape(-1)[0])
                self._objects_before = self.objects.serialized
            except MessageError as error:
                raise FormatError(f"object graph: {error}", path=origin.path) from error
        self.seed: int | None = None
        self._dropped: list[Verdict] = []
        self._notes: list[str] = []
        self._paths: dict[str, str] | None = dict(origin.paths())
        self._ways: dict[str, str] | None = dict(origin.tree_paths())

    def copy(self) -> Draft:
        """Return another draft that is changed apart from this one."""
        other = object.__new__(Draft)
        other.__dict__.update(self.__dict__)
        other.sources = list(self.sources)
        other.items = dict(self.items)
        other._dropped = list(self._dropped)
        if self.objects is not None:
            other.objects = self.objects.copy()
        return other

    @property
    def has_other_names(self) -> bool:
        """Whether anything is called otherwise than in the checkpoint that it began as, or is new or gone."""
        return list(self.items) != list(self.origin.variables())

    @property
    def where(self) -> str:
        """What is searched, for messages."""
        return f"{self.origin.path}, as edited so far" if self.has_other_names else self.origin.path

    @property
    def roles(self) -> dict[str, Role]:
        """What each is for, by the names that they have now."""
        return {name: item.role for name, item in self.items.items()}

    @property
    def paths(self) -> dict[str, str]:
        """The readable names of those whose own name is none, by that."""
        if self._paths is None:
            found = {} if self.objects is None else self.objects.graph.paths()
            self._paths = {key: path for key, path in found.items() if key in self.items and key != path}
        return self._paths

    @property
    def ways(self) -> dict[str, str]:
        """Where values stand among objects, as far as the checkpoint has any."""
        if self._ways is None:
            self._ways = {} if self.objects is None else self.objects.graph.object_paths()
        return self._ways

    def find(self, name: str) -> Item:
        """Return what is called `name` now, by that or by its readable name.

        Raises:
            VariableNotFoundError: Nothing is.
        """
        if not isinstance(name, str):
            raise UsageError(f"expected a name, got {name!r}", hint="a name is text")
        item = self.items.get(name)
        if item is None:
            keys = {path: key for key, path in [*self.ways.items(), *self.paths.items()]}
            if name not in keys and self.objects is not None and len(below := self.objects.below(name)) == 1:
                keys[name] = below.pop()  # by another way than the shortest
            if keys.get(name) not in self.items:
                found = [*self.items, *(each for each, key in keys.items() if key in self.items)]
                near = names.nearest(name, found)
                raise VariableNotFoundError(name, where=self.where, suggestions=near)
            item = self.items[keys[name]]
        return item

    def put(self, item: Item) -> None:
        """Let `item` be what is called so."""
        self.items[item.name] = item

    def rename(self, renamed: Mapping[str, str], why: str) -> None:
        """Give items, by what they are called, other names. Those of all items are different afterwards."""
        items = {}
        for name, item in self.items.items():
            new, kind, owner = renamed.get(name, name), item.role.kind, item.role.of
            role = Role(kind, None if owner is None else renamed.get(owner, owner))
            if new != name:
                refuse_name(new)
            reasons = (*item.reasons, why) if new != name else item.reasons
            items[new] = replace(item, name=new, role=role, reasons=reasons)
        self.items = items
        self.changed()

    def drop(self, dropped: Collection[str], why: str | Mapping[str, str]) -> None:
        """Remove items, by what they are called, for one reason or each for its own."""
        dropped = set(dropped)
        for name in [name for name in self.items if name in dropped]:
            item = self.items.pop(name)
            result, path = item.result, self.paths.get(name)
            reason = why if isinstance(why, str) else why[name]
            self._dropped.append(
                Verdict(name, "drop", item.source, reason, result.dtype.name, result.shape, path=path)
            )
        gone = [name for name, item in self.items.items() if item.role.of and item.role.of not in self.items]
        for name in gone:
            item = self.items[name]
            self.items[name] = replace(item, role=Role("weight"))  # to whoever reads the result, too
        if self.objects is not None and self.objects.drop(dropped):
            self._notes = [_GAP]
        self.changed()

    def changed(self) -> None:
        """Say that names have changed, so that readable ones are looked up anew."""
        if self.objects is not None:
            self._paths = self._ways = None
            return
        kept = {key: path for key, path in self.paths.items() if key in self.items}
        self._paths = {key: path for key, path in kept.items() if path not in self.items}
        self._ways = {}

    def draw(self) -> int:
        """Return the seed, which is drawn if none was given."""
        if self.seed is None:
            self.seed = secrets.randbits(_SEED_BITS)
        return self.seed

    def add_source(self, checkpoint: Checkpoint) -> None:
        """Note that values come from a checkpoint."""
        if not any(checkpoint is source for source in self.sources):
            self.sources.append(checkpoint)

    def plan(self, *, data: DataMode = "auto", otherwise: str = "as it is") -> FilePlan:
        """Return the plan that makes a checkpoint of this draft.

        Args:
            data: Which data files it shares, as `Layout` says.
            otherwise: The reason for what nothing has changed.

        Raises:
            UsageError: It has no variables.
        """
        choose("data", data, DATA_MODES)
        if not self.items:
            raise UsageError("no variables are left", hint="drop less, or keep more")
        items = self._with_objects()
        notes = list(self._notes)
        meta = self.origin.path + naming.META
        if self.has_other_names and os.path.isfile(meta):
            notes.append(f"{meta} is left out: its graph has the names as they were (--keep-meta copies it)")
        verdicts = [items[name].verdict(otherwise, self.paths.get(name)) for name in items]
        results = {name: item.result.renamed(name) for name, item in items.items()}
        named = with_readable_names(self.origin, [*verdicts, *self._dropped], results)
        return FilePlan(*named, self.sources, seed=self.seed, data=data, notes=notes)

    def _with_objects(self) -> dict[str, Item]:
        """Return the items, the object graph among them as it is now."""
        if self.objects is None or OBJECT_GRAPH not in self.items:
            return self.items
        item = self.items[OBJECT_GRAPH]
        serialized = self.objects.serialized
        if serialized == self._objects_before:
            return self.items
        value = np.array(serialized, object)
        graph = results.constant(OBJECT_GRAPH, value, dtypes.as_dtype("string"))
        return {
            **self.items,
            OBJECT_GRAPH: item.changed(graph, "constant", None, "the objects, as they are now"),
        }


def refuse_name(name: str) -> None:
    """Raise unless a checkpoint can have a variable of this name.

    Raises:
        UsageError: It is empty or not UTF-8, which TensorFlow cannot ask for.
    """
    if not name:
        raise UsageError("a variable needs a name", hint="rename it to something")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{name!r}: not UTF-8, as names in TensorFlow are", hint="rename it to something that is"
        ) from None

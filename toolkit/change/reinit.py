"""Fresh values for chosen variables of a checkpoint, and with them for what an optimizer keeps of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from toolkit import initializers
from toolkit.arguments import checked, whole_number
from toolkit.change import results
from toolkit.change.drafts import Draft, Item
from toolkit.change.plan import FilePlan
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, UnsupportedError, UsageError, VariableNotFoundError
from toolkit.formats.bundle.sharing import DataMode
from toolkit.formats.opening import as_checkpoint, open_checkpoint
from toolkit.initializers import Spec
from toolkit.names import nearest
from toolkit.roles import Role, initial_slot_value, is_beta_power, owners_first
from toolkit.selection import listed, matching, select, with_followers


@checked
def plan_reinit(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str],
    *,
    init: str | None = None,
    seed: int | None = None,
    exclude: str | Iterable[str] = (),
    keep_slots: bool = False,
    data: DataMode = "auto",
) -> FilePlan:
    """Plan to give the variables that `patterns` mean fresh values; the rest stays bit for bit.

    Args:
        checkpoint: What to begin from, open or its path. It is not changed.
        patterns: Which variables. Powers of betas (Adam's) stay, unless one is named.
        init: An initializer (`he_normal`, `constant:0.1`), `from:VARIABLE`, or
            `checkpoint:PATH[::NAME]`. Without it, by role: kernels glorot_uniform, biases zeros and
            so on; the plan says which. That is also what becomes of biases, counters and the like
            where the initializer is one for kernels, unless they are named.
        seed: For random values; without one, one is drawn, and the plan has it.
        exclude: Patterns of variables to leave alone.
        keep_slots: Leave slots and moving averages of the chosen variables as they are. Without it
            slots start as their optimizer starts them, and averages as their variable's new value.
        data: `auto` shares the data files of which at least 90% of the bytes are still used with the
            checkpoint, by hard link, and copies what is used of others; `link` shares any; `copy` none.

    Raises:
        VariableNotFoundError: A pattern, or the variable of `from:`, matches nothing.
        UsageError: `init` cannot be read, or has no values for one of the variables.
        MismatchError: What `init` takes a value from differs in dtype or shape.
        UnsupportedError: Whose the slots are cannot be told.
    """
    draft = Draft(as_checkpoint(checkpoint))
    reinitialize(draft, patterns, init=init, seed=seed, exclude=exclude, keep_slots=keep_slots)
    return draft.plan(data=data, otherwise="not chosen")


def reinitialize(
    draft: Draft,
    patterns: str | Iterable[str],
    *,
    init: str | None = None,
    seed: int | None = None,
    exclude: str | Iterable[str] = (),
    keep_slots: bool = False,
) -> None:
    """Give what `patterns` mean in a draft fresh values, as `plan_reinit` says.

    Raises:
        CheckpointError: As it does.
    """
    if init is not None and not isinstance(init, str):
        raise UsageError(f"init: expected an initializer, got {init!r}", hint="such as --init he_normal")
    if seed is not None:
        whole_number("seed", seed)
    roles, paths, ways = draft.roles, draft.paths, draft.ways
    patterns, exclude = listed(patterns), listed(exclude)
    selected = select(roles, patterns, exclude, where=draft.where, paths=paths, ways=ways)
    chosen = {name for name in selected if roles[name].kind != "metadata"}
    if not chosen:
        raise UsageError("nothing is left to reinitialize", hint="exclude less")
    following: set[str] = set()
    if not keep_slots:
        _refuse_unowned(draft, chosen)
        left_out = matching(roles, exclude, where=draft.where, paths=paths, ways=ways)
        following = with_followers(chosen, roles) - chosen - left_out
    if draft.seed is None:
        draft.seed = seed
    maker = _Maker(draft, init, seed)
    exact = set(patterns)
    for name in owners_first(roles):
        role = roles[name]
        named = not exact.isdisjoint((name, paths.get(name), ways.get(name)))
        if name in chosen and not named and _is_setting(draft.items[name]):
            what = "power of a beta" if is_beta_power(name) else "a number of the optimizer"
            maker.keep(name, f"{what}: kept, unless it is named")
        elif name in chosen and (init is not None or role.of is None):
            maker.choose(name, exact=named)
        elif name in chosen or name in following:
            maker.follow(name, role)


def _refuse_unowned(draft: Draft, chosen: Collection[str]) -> None:
    """Refuse to reinitialize variables that a slot may belong to of which the files leave that open.

    Raises:
        UnsupportedError: There is such a slot, which would be left as it is.
    """
    items = draft.items.values()
    unowned = [i for i in items if i.role.kind in ("slot", "moving_average") and i.role.of is None]
    weights = {i.result.shape for i in items if i.role.kind == "weight"}
    fitting = {shape for name in chosen for shape in _shapes_of_slots(draft.items[name].result.shape)}
    for item in unowned:
        if item.name in chosen or (item.result.shape in weights and item.result.shape not in fitting):
            continue
        raise UnsupportedError(
            f"it has slots of which it does not tell whose they are; {item.name} may be of what is chosen",
            path=draft.origin.path,
            hint="--keep-slots reinitializes the variables alone",
        )


def _shapes_of_slots(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Return the shapes that slots of a variable may have: Adafactor keeps sums over the last two axes."""
    return {shape, shape[:-1], (*shape[:-2], *shape[-1:])}


def _is_setting(item: Item) -> bool:
    """Return whether no default value suits it: a rate of an optimizer, a power of a beta."""
    return item.role.kind == "counter" and item.result.dtype.kind == "float"


class _Maker:
    """Gives items of a draft their values, one after another, owners before their slots."""

    def __init__(self, draft: Draft, init: str | None, seed: int | None) -> None:
        self._draft = draft
        self._seed = seed
        self._before = dict(draft.items)
        self._spec: Spec | None = None
        self._inherited: tuple[Checkpoint | None, str] | None = None  # where from; which if one for all
        kind, _, rest = (init or "").partition(":")
        if kind == "from":
            self._inherited = None, draft.find(rest).name
        elif kind == "checkpoint":
            path, _, name = rest.rpartition("::") if "::" in rest else (rest, "", "")
            other = open_checkpoint(path)
            draft.add_source(other)
            self._inherited = other, name
        elif init is not None:
            self._spec = initializers.parse(init)

    def choose(self, name: str, *, exact: bool) -> None:
        """Give a variable that was asked for, by its `exact` name or otherwise, its fresh value."""
        item = self._draft.items[name]
        if self._inherited is not None:
            self._inherit(item, *self._inherited)
            return
        called, variable = self._draft.paths.get(name, name), item.result
        spec, reason = self._spec, "chosen"
        if spec is None and _is_setting(item):
            what = "a power of a beta" if is_beta_power(called) else "a number of the optimizer"
            raise UsageError(
                f"{called}: no default initial value for {what}",
                hint="give it with --init constant:VALUE; a power of a beta starts as the beta itself",
            )
        if spec is None or not (exact or initializers.suits(spec, variable.shape, variable.dtype)):
            other = "" if spec is None else f", {spec} is not for it"
            spec, why = initializers.default_spec(called, variable.shape, variable.dtype)
            reason = f"chosen; {why}{other}"
        self._fill(item, spec, reason)

    def follow(self, name: str, role: Role) -> None:
        """Give a slot the value that it starts with, and a moving average its variable's."""
        item, owner = self._draft.items[name], role.of
        assert owner is not None
        shown = self._draft.paths.get(owner, owner)
        if role.kind == "moving_average":
            result = self._draft.items[owner].result
            self._draft.put(item.changed(result, "copy", owner, f"moving average of {shown}"))
            return
        value, known = initial_slot_value(self._draft.paths.get(name, name))
        starts = self._draft.origin.slot_starts()
        if item.source is not None and item.source in starts:
            told, known = starts[item.source], True
            if told is None:
                result = self._draft.items[owner].result
                self._draft.put(
                    item.changed(result, "copy", owner, f"slot of {shown}, which starts as its value")
                )
                return
            value = told
        name_of_value = {0.0: "zeros", 1.0: "ones"}.get(value)
        spec = Spec(name_of_value, ()) if name_of_value else Spec("constant", (value,))
        self._fill(item, spec, f"slot of {shown}{'' if known else ', optimizer unknown: zeroed'}")

    def keep(self, name: str, reason: str) -> None:
        """Leave a variable as it is, and say why."""
        item = self._draft.items[name]
        self._draft.put(item.changed(item.result, item.action, item.source, reason, item.initializer))

    def _fill(self, item: Item, spec: Spec, reason: str) -> None:
        seed = 0
        if initializers.is_random(spec):
            seed = self._draft.draw() if self._seed is None else self._seed
            if seed != self._draft.seed:  # the one that the plan names
                reason = f"{reason}; seed {seed}"
        result = results.filled(item.name, item.result, spec, seed)
        self._draft.put(item.changed(result, "initialize", None, reason, str(spec)))

    def _inherit(self, item: Item, source: Checkpoint | None, name: str) -> None:
        """Take the value of another variable, of this draft or another checkpoint."""
        called = self._draft.paths.get(item.name, item.name)
        if source is None:
            other = self._before[name].result
            place, where, reason = name, self._draft.origin.path, "chosen; takes its value"
            name = self._draft.paths.get(name, name)
        else:
            other = _found(source, name or called)
            place, where = f"{source.path}::{other.name}", source.path
            reason, name = "chosen; from that checkpoint", source.paths().get(other.name, other.name)
        for what in ("dtype", "shape"):
            expected, found = getattr(item.result, what), getattr(other, what)
            if expected != found:
                raise MismatchError(
                    f"{called}: {what} {expected}, but {name} in {where} has {found}",
                    name=item.name,
                    expected=expected,
                    found=found,
                    hint="name the variables that are alike, or leave this one out with --exclude",
                )
        self._draft.put(item.changed(other, "copy" if source is None else "restore", place, reason))


def _found(checkpoint: Checkpoint, name: str) -> Variable:
    """Return the variable that is called `name`, which may be its readable name, or its key.

    Keys of Keras's files count layers: under one key another file may have another layer.

    Raises:
        VariableNotFoundError: There is none.
    """
    paths = checkpoint.paths()
    keys = [key for key, path in paths.items() if path == name]
    if len(keys) == 1:
        return checkpoint[keys[0]]
    if (found := checkpoint.find(name)) is not None:
        return found
    near = nearest(name, [paths.get(key, key) for key in checkpoint])
    raise VariableNotFoundError(name, where=checkpoint.path, suggestions=near)

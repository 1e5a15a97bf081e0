"""Fresh values for chosen variables of a checkpoint, and with them for what an optimizer keeps of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

from toolkit import initializers
from toolkit.change import results
from toolkit.change.plan import FilePlan
from toolkit.checkpoint import Checkpoint, Variable
from toolkit.errors import MismatchError, UnsupportedError, UsageError
from toolkit.formats.opening import as_checkpoint, open_checkpoint
from toolkit.initializers import Spec
from toolkit.plan import Action, Verdict
from toolkit.roles import (
    Role,
    initial_slot_value,
    is_beta_power,
    is_object_based,
    owners_first,
)
from toolkit.selection import listed, matching, select, with_followers

_SEED_BITS = 32


def plan_reinit(
    checkpoint: Checkpoint | str | os.PathLike[str],
    patterns: str | Iterable[str],
    *,
    init: str | None = None,
    seed: int | None = None,
    exclude: str | Iterable[str] = (),
    keep_slots: bool = False,
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

    Raises:
        VariableNotFoundError: A pattern, or the variable of `from:`, matches nothing.
        UsageError: `init` cannot be read, or has no values for one of the variables.
        MismatchError: What `init` takes a value from differs in dtype or shape.
        UnsupportedError: Slots cannot be told in an object-based checkpoint.
    """
    checkpoint = as_checkpoint(checkpoint)
    if init is not None and not isinstance(init, str):
        raise UsageError(f"init: expected a SPEC such as 'he_normal', got {init!r}")
    if seed is not None and seed < 0:
        raise UsageError(f"seed {seed}: expected 0 or more")
    roles = dict(checkpoint.roles())
    paths = checkpoint.paths()
    patterns, exclude = listed(patterns), listed(exclude)
    if not keep_slots and any(role.kind == "slot" and role.of is None for role in roles.values()):
        raise UnsupportedError(
            "it has slots of which it does not tell whose they are",
            path=checkpoint.path,
            hint="--keep-slots reinitializes the variables alone",
        )
    if is_object_based(roles) and not keep_slots:
        raise UnsupportedError(
            "an object-based checkpoint (TF2), in which names do not tell whose slots are whose",
            path=checkpoint.path,
            hint="--keep-slots reinitializes the variables alone",
        )
    selected = select(roles, patterns, exclude, where=checkpoint.path, paths=paths)
    chosen = {name for name in selected if roles[name].kind != "metadata"}
    if not chosen:
        raise UsageError("nothing is left to reinitialize", hint="exclude less")
    following: set[str] = set()
    if not keep_slots:
        left_out = matching(roles, exclude, where=checkpoint.path, paths=paths)
        following = with_followers(chosen, roles) - chosen - left_out
    maker = _Maker(checkpoint, init, seed)
    exact = set(patterns)
    for name in owners_first(roles):
        role = roles[name]
        if name in chosen and name not in exact and is_beta_power(name):
            maker.keep(name, "power of a beta: kept, unless it is named")
        elif name in chosen and (init is not None or role.of is None):
            maker.choose(name, exact=name in exact)
        elif name in chosen or name in following:
            maker.follow(name, role)
        else:
            maker.keep(name)
    return maker.plan(roles)


class _Maker:
    """Makes verdicts and their results, one variable after another, owners before their slots."""

    def __init__(self, checkpoint: Checkpoint, init: str | None, seed: int | None) -> None:
        self._variables = checkpoint.variables()
        self._sources = [checkpoint]
        self._seed = secrets.randbits(_SEED_BITS) if seed is None else seed
        self._seed_given = seed is not None
        self._draws = False
        self._spec: Spec | None = None
        self._inherited: tuple[Checkpoint, str] | None = None  # where from, and which if one for all
        self._verdicts: dict[str, Verdict] = {}
        self._results: dict[str, Variable] = {}
        kind, _, rest = (init or "").partition(":")
        if kind == "from":
            self._inherited = checkpoint, checkpoint[rest].name
        elif kind == "checkpoint":
            path, _, name = rest.rpartition("::") if "::" in rest else (rest, "", "")
            self._sources.append(open_checkpoint(path))
            self._inherited = self._sources[-1], name
        elif init is not None:
            self._spec = initializers.parse(init)

    def choose(self, name: str, *, exact: bool) -> None:
        """Give a variable that was asked for, by its `exact` name or otherwise, its fresh value."""
        variable = self._variables[name]
        if self._inherited is not None:
            self._inherit(variable, *self._inherited)
            return
        spec, reason = self._spec, "chosen"
        if spec is None and is_beta_power(name):
            raise UsageError(
                f"{name}: no default initial value for a power of a beta",
                hint="give it with --init constant:BETA; an optimizer starts from the beta itself",
            )
        if spec is None or not (exact or initializers.suits(spec, variable.shape, variable.dtype)):
            other = "" if spec is None else f", {spec} is not for it"
            spec, why = initializers.default_spec(name, variable.shape, variable.dtype)
            reason = f"chosen; {why}{other}"
        self._fill(name, spec, reason)

    def follow(self, name: str, role: Role) -> None:
        """Give a slot the value that it starts with, and a moving average its variable's."""
        owner = role.of
        assert owner is not None
        if role.kind == "moving_average":
            result = self._results[owner].renamed(name)
            self._add(result, "copy", owner, f"moving average of {owner}")
            return
        value, known = initial_slot_value(name)
        name_of_value = {0.0: "zeros", 1.0: "ones"}.get(value)
        spec = Spec(name_of_value, ()) if name_of_value else Spec("constant", (value,))
        self._fill(name, spec, f"slot of {owner}{'' if known else ', optimizer unknown: zeroed'}")

    def keep(self, name: str, reason: str = "not chosen") -> None:
        """Leave a variable as it is."""
        self._add(self._variables[name], "keep", name, reason)

    def plan(self, order: Iterable[str]) -> FilePlan:
        """Return the plan, verdicts in the given order."""
        verdicts = [self._verdicts[name] for name in order]
        seed = self._seed if self._draws or self._seed_given else None
        return FilePlan(verdicts, self._results, self._sources, seed=seed)

    def _fill(self, name: str, spec: Spec, reason: str) -> None:
        result = results.filled(name, self._variables[name], spec, self._seed)
        self._draws = self._draws or initializers.is_random(spec)
        self._add(result, "initialize", None, reason, str(spec))

    def _inherit(self, variable: Variable, source: Checkpoint, name: str) -> None:
        """Take the value of another variable, of this checkpoint or another."""
        other = source[name or variable.name]
        for what in ("dtype", "shape"):
            expected, found = getattr(variable, what), getattr(other, what)
            if expected != found:
                raise MismatchError(
                    f"{variable.name}: {what} {expected}, but {other.name} in {source.path} has {found}",
                    name=variable.name,
                    expected=expected,
                    found=found,
                    hint="name the variables that are alike, or leave this one out with --exclude",
                )
        if source is self._sources[0]:
            self._add(other.renamed(variable.name), "copy", other.name, "chosen; takes its value")
        else:
            place = f"{source.path}::{other.name}"
            self._add(other.renamed(variable.name), "restore", place, "chosen; from that checkpoint")

    def _add(
        self,
        result: Variable,
        action: Action,
        source: str | None,
        reason: str,
        initializer: str | None = None,
    ) -> None:
        self._results[result.name] = result
        self._verdicts[result.name] = Verdict(
            result.name, action, source, reason, result.dtype.name, result.shape, initializer
        )

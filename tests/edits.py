"""Edits of a plain dict of arrays: what a checkpoint's edits must come to, written down once more and simply."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
SCOPES = ["a", "b", "a/c", "d"]
LEAVES = ["w", "v", "bias"]
SLOTS = ["Adam", "Adam_1"]


@dataclass(frozen=True)
class Held:
    """An array, and for a slot the name of the variable that it belongs to."""

    value: np.ndarray
    owner: str | None = None


Held_by_name = dict[str, Held]


class CannotError(Exception):
    """An edit that must be refused."""


@st.composite
def contents(draw: st.DrawFn) -> Held_by_name:
    """Some variables in some scopes, half of them with slots; one of whole numbers, one of strings."""
    places = [f"{scope}/{leaf}" for scope in SCOPES for leaf in LEAVES]
    names = draw(st.sets(st.sampled_from(places), min_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    held: Held_by_name = {}
    for name in sorted(names):
        shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
        held[name] = Held(rng.integers(-50, 50, shape).astype(np.float32) / 4)
        if draw(st.booleans()):
            for slot in SLOTS:
                held[f"{name}/{slot}"] = Held(rng.integers(-9, 9, shape).astype(np.float32), name)
    held["step"] = Held(np.array(draw(st.integers(0, 2**40)), np.int64))
    held["text"] = Held(np.array([b"x", b"\0y" * 3], object))
    return held


TARGETS = st.sampled_from([*SCOPES, "new", "new/deep", "a/w", "b/bias", "x_1"])
KINDS = ["rename", "drop", "keep", "cast", "set", "copy", "reinit"]


@st.composite
def one_edit(draw: st.DrawFn, held: Held_by_name) -> tuple:
    """An edit, mostly of what there is: a variable, a slot, a scope; now and then of what there is not."""
    scopes = sorted({name.rpartition("/")[0] for name in held} - {""})
    place = st.sampled_from([*held, *scopes, *scopes, "no/such"])
    kind = draw(st.sampled_from(KINDS))
    if kind == "rename":
        return kind, draw(place), draw(TARGETS)
    if kind == "drop":
        return kind, draw(place)
    if kind == "keep":
        return kind, *draw(st.lists(place, min_size=1, max_size=4))
    if kind == "cast":
        return kind, draw(place), draw(st.sampled_from(list(DTYPES)))
    if kind == "set":
        return kind, draw(place), draw(st.integers(-100, 100))
    if kind == "copy":
        return kind, draw(TARGETS), draw(place)
    return kind, draw(place), draw(st.sampled_from(["zeros", "ones", "constant:3"]))


def after(held: Held_by_name, edit: tuple) -> Held_by_name:
    """Return what an edit makes of a dict.

    Raises:
        CannotError: It must be refused.
    """
    kind, *arguments = edit
    return globals()[f"_{kind}"](held, *arguments)


def _meant(held: Held_by_name, place: str) -> list[str]:
    found = [
        name
        for name, each in held.items()
        if name == place or (each.owner is None and name.startswith(place + "/"))
    ]
    if not found:
        raise CannotError(place)
    return found


def _with_slots(held: Held_by_name, names: list[str]) -> set[str]:
    return {*names, *(name for name, each in held.items() if each.owner in names)}


def _rename(held: Held_by_name, old: str, new: str) -> Held_by_name:
    called = {name: new + name[len(old) :] for name in _meant(held, old)}
    made: Held_by_name = {}
    for name, each in held.items():
        owner = called.get(each.owner, each.owner)
        target = called.get(name, name)
        if each.owner in called and name not in called:
            target = f"{owner}/{name.rpartition('/')[2]}"
        if target in made:
            raise CannotError(target)
        made[target] = replace(each, owner=owner)
    return made


def _drop(held: Held_by_name, place: str) -> Held_by_name:
    gone = _with_slots(held, _meant(held, place))
    return {name: each for name, each in held.items() if name not in gone}


def _keep(held: Held_by_name, *patterns: str) -> Held_by_name:
    kept = {name for place in patterns for name in _meant(held, place)}
    return {
        name: each if each.owner in kept else replace(each, owner=None)
        for name, each in held.items()
        if name in kept
    }


def _cast(held: Held_by_name, place: str, dtype: str) -> Held_by_name:
    found = _meant(held, place)
    # a name is cast whatever it is
    floats = [name for name in found if name == place or held[name].value.dtype in DTYPES.values()]
    if not floats or any(held[name].value.dtype == object for name in floats):
        raise CannotError(place)
    made = dict(held)
    for name in floats:
        with np.errstate(all="ignore"):
            value = held[name].value.astype(DTYPES[dtype])
        if not np.isfinite(value.astype(np.float64)).all():
            raise CannotError(name)
        made[name] = replace(held[name], value=value)
    return made


def _set(held: Held_by_name, name: str, number: int) -> Held_by_name:
    if name not in held:
        raise CannotError(name)
    value = held[name].value
    if value.dtype == object:
        raise CannotError(name)
    return {**held, name: replace(held[name], value=np.full(value.shape, number).astype(value.dtype))}


def _copy(held: Held_by_name, new: str, old: str) -> Held_by_name:
    made = dict(held)
    for name in _meant(held, old):
        target, value = new + name[len(old) :], held[name].value
        if target in held and (held[target].value.dtype, held[target].value.shape) != (
            value.dtype,
            value.shape,
        ):
            raise CannotError(target)
        made[target] = replace(held.get(target, Held(value)), value=value)
    return made


def _reinit(held: Held_by_name, place: str, spec: str) -> Held_by_name:
    found = _meant(held, place)
    number = {"zeros": 0, "ones": 1, "constant:3": 3}[spec]
    made = dict(held)
    for name in _with_slots(held, found):
        value = held[name].value
        if value.dtype == object:
            if number:
                raise CannotError(name)
            made[name] = replace(held[name], value=np.full(value.shape, b"", object))
            continue
        filled = number if name in found else 0  # Adam's slots start with zeros
        made[name] = replace(held[name], value=np.full(value.shape, filled).astype(value.dtype))
    return made

"""What an Orbax checkpoint is, told by the names of its files: the toolkit names it, and does not read it.

    run/100/default/{manifest.ocdbt, d/…, _METADATA}     OCDBT: the arrays in one database
    run/100/state/NAME/{.zarray, 0.0}                    a directory of zarr v2 for each array
    run/100/state/NAME/{zarr.json, c/0/0}                the same of zarr v3
    run/100/state/checkpoint                             msgpack: the tree, and early versions' values
    run/200.orbax-checkpoint-tmp/…                       a save that was broken off, or goes on

A step (`run/100`) has an item or several. A run is the directory of the steps.

Source: orbax-checkpoint 0.2.7 to 0.12.8 (type_handlers.py, step.py, atomicity.py).
"""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import NamedTuple

from toolkit.errors import ReadError
from toolkit.formats.file import ReadFile
from toolkit.formats.identify import MSGPACK, identify

_STEP = re.compile(r"(.*_)?\d+")
_TEMPORARY = ".orbax-checkpoint-tmp"
_CHECKPOINT_METADATA = "_CHECKPOINT_METADATA"
_METADATA = "_METADATA"
_V1 = "orbax.checkpoint"
_TREE = "checkpoint"
"""The msgpack file; of an item that is one array, the directory of the array."""
_KERAS = ("model_config", "pytree")
"""The items of a step that keras.callbacks.OrbaxCheckpoint saves."""
_SIGNS = frozenset({_METADATA, _CHECKPOINT_METADATA, _V1, _TREE, "_sharding", "commit_success.txt"})
"""What Orbax writes beside arrays, by which they are told from those of other programs."""
_MAX_JSON_BYTES = 16 << 20
_MAX_FOLDERS = 200
"""How many folders are looked into, to find an item among them."""
_MAX_STEPS = 5
"""How many of the latest steps of a run are looked into."""
_PREFERRED = ("default", "state", "params", "pytree")
"""What items with arrays are called most often."""
_CODE = (
    "import jax, numpy, orbax.checkpoint as ocp, safetensors.numpy as st; "
    "c = ocp.PyTreeCheckpointer(); d = {path}; m = c.metadata(d).item_metadata; "
    'a = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=numpy.ndarray), getattr(m, "tree", m)); '
    "t = jax.tree_util.tree_leaves_with_path(c.restore(d, restore_args=a)); "
    'st.save_file({{jax.tree_util.keystr(k, simple=True, separator="/"): numpy.asarray(v) for k, v in t}}, '
    '"x.safetensors")'
)
"""What reads the arrays of an item, and saves them as a file that the toolkit reads."""
_NOT_READ = "which the toolkit does not read"


class Orbax(NamedTuple):
    """What a directory of Orbax's is.

    Attributes:
        what: In a few words, for a person.
        hint: What to type to get at the values.
    """

    what: str
    hint: str


def recognize(directory: str) -> Orbax | None:
    """Return the description of a directory that Orbax wrote; `None` for any other."""
    entries = _entries(directory)
    where = os.path.abspath(directory)
    if _is_unfinished(where, entries):
        return Orbax(
            "an unfinished Orbax checkpoint: its save was broken off, or goes on",
            "give an earlier step; Orbax itself passes over this one",
        )
    if (kind := _item(directory, entries)) is not None:
        above = _entries(os.path.dirname(where))
        if kind.startswith("zarr") and entries.isdisjoint(_SIGNS) and above.isdisjoint(_SIGNS):
            return Orbax(f"zarr arrays ({kind}), {_NOT_READ}", f"load them with zarr.open({where!r})")
        return Orbax(f"an Orbax checkpoint ({kind}), {_NOT_READ}", _to_type(where))
    if (step := _step(directory, entries)) is not None:
        return Orbax(f"an Orbax checkpoint{step.what}, {_NOT_READ}", step.hint)
    if _CHECKPOINT_METADATA in _entries(os.path.dirname(where)) and _step(os.path.dirname(where), None):
        return Orbax(
            "an item of an Orbax checkpoint, without arrays", f"the arrays are in {os.path.dirname(where)}"
        )
    return _run(directory, entries)


def _run(directory: str, entries: set[str]) -> Orbax | None:
    """Return the description of a directory with steps of Orbax's in it; `None` for any other."""
    unfinished = [name for name in entries if _TEMPORARY in name]
    steps = sorted((name for name in entries if _STEP.fullmatch(name)), key=_number)
    for name in reversed(steps[-_MAX_STEPS:]):
        path = os.path.join(directory, name)
        inside = _entries(path)
        if _is_unfinished(path, inside):
            continue
        step = _step(path, inside)
        if step is None and (kind := _item(path, inside)) is not None:
            step = Orbax(f" ({kind})", _to_type(os.path.abspath(path)))
        if step is not None:
            count = f"{len(steps)} steps, the latest {name}" if len(steps) > 1 else f"the step {name}"
            return Orbax(f"a directory of Orbax checkpoints: {count}{step.what}, {_NOT_READ}", step.hint)
    if unfinished:
        return Orbax(
            "a directory of Orbax checkpoints, none of which is finished",
            "their saves were broken off, or go on: there is nothing to read",
        )
    return None


def _number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _step(directory: str, entries: set[str] | None) -> Orbax | None:
    """Return the items of a step, and what to type; `None` if the directory is no step."""
    entries = _entries(directory) if entries is None else entries
    items: dict[str, str] = {}
    for name in sorted(entries)[:_MAX_FOLDERS]:
        path = os.path.join(directory, name)
        if os.path.isdir(path) and (kind := _item(path, _entries(path))) is not None:
            items[name] = kind
    is_one = _CHECKPOINT_METADATA in entries or _V1 in entries
    where = os.path.abspath(directory)
    if not items or not (is_one or _STEP.fullmatch(os.path.basename(where))):
        return None
    if set(_KERAS) <= items.keys():
        run = os.path.dirname(where)
        return Orbax(
            f" that keras.callbacks.OrbaxCheckpoint saved ({items['pytree']})",
            "load its latest step with Keras 3.13 or later, and save it again: "
            f"keras.saving.load_model({run!r}).save('x.keras')",
        )
    chosen = next((name for name in _PREFERRED if name in items), min(items))
    api = " of the v1 API" if _V1 in entries else ""
    named = f"{'items' if len(items) > 1 else 'item'} {', '.join(items)}"
    return Orbax(f"{api} ({named}; {items[chosen]})", _to_type(os.path.join(where, chosen)))


def _item(directory: str, entries: set[str]) -> str | None:
    """Return how the arrays of an item are stored; `None` if a directory is no item."""
    if "manifest.ocdbt" in entries:
        is_v3 = _json(directory, _METADATA).get("use_zarr3")
        return "OCDBT" + (f", zarr v{3 if is_v3 else 2}" if isinstance(is_v3, bool) else "")
    has_tree = _is_msgpack(os.path.join(directory, _TREE)) if _TREE in entries else False
    for name in ["", *sorted(entries)[:_MAX_FOLDERS]]:
        for file, version in ((".zarray", "v2"), ("zarr.json", "v3")):
            if os.path.isfile(os.path.join(directory, name, file)):
                one = "one array" if name in ("", _TREE) else "a directory for each array"
                return f"zarr {version}, {one}"
    if has_tree:
        return "msgpack, values in the tree"
    return "no arrays" if "tree_metadata" in _json(directory, _METADATA) else None


def _is_unfinished(where: str, entries: set[str]) -> bool:
    if _TEMPORARY in os.path.basename(where) or _TEMPORARY in os.path.basename(os.path.dirname(where)):
        return True
    metadata = _json(where, _CHECKPOINT_METADATA) if _CHECKPOINT_METADATA in entries else {}
    return metadata.get("commit_timestamp_nsecs", 0) is None


def _is_msgpack(path: str) -> bool:
    try:
        return os.path.isfile(path) and identify(ReadFile(path)) is MSGPACK
    except ReadError:
        return False


def _entries(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def _json(directory: str, name: str) -> dict[str, object]:
    """Return the JSON object in a file; an empty one if there is none."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            document = json.loads(file.read(_MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _to_type(item: str) -> str:
    code = shlex.quote(_CODE.format(path=json.dumps(item)))
    return f"save its arrays with Orbax as a file that is read: python -c {code}"

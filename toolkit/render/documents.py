"""The JSON documents that commands print: one object, `schema` first."""

from __future__ import annotations

import json
from typing import Any

from toolkit.checkpoint import Variable
from toolkit.look.about import About
from toolkit.look.inspect import Summary
from toolkit.places import NOWHERE


def dump(command: str, document: dict[str, Any]) -> str:
    """Return the document of `ckpt COMMAND --json` as text.

    Names that are not UTF-8 come as lone surrogates, escaped; so do control characters.
    """
    text = json.dumps({"schema": f"ckpt/{command}/1", **document}, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps({"schema": f"ckpt/{command}/1", **document})
    return text


def inspection(summary: Summary, *, variables: bool = True) -> dict[str, Any]:
    """Return the document of `ckpt inspect`.

    Args:
        summary: What it is of.
        variables: Whether it lists the variables.
    """
    totals = summary.totals
    document: dict[str, Any] = {
        "format": summary.checkpoint.format,
        "path": summary.checkpoint.path,
        **({"problems": summary.notes} if summary.notes else {}),
        "metadata": _metadata(summary.about),
    }
    if variables:
        document["variables"] = [_variable(v, summary) for v in summary.variables]
    document["totals"] = {
        "num_variables": totals.num_variables,
        "num_parameters": summary.num_parameters,
        "nbytes": totals.nbytes,
    }
    return document


def _metadata(about: About) -> dict[str, Any]:
    """Return the metadata of a checkpoint; nulls where it has none."""
    told = about.metadata
    return {
        "producer": told.producer,
        "saved_at": told.saved_at,
        "model_class": told.model_class,
        "model_name": told.model_name,
        "step": about.step,
        "optimizers": [
            {**optimizer._asdict(), "settings": dict(optimizer.settings)} for optimizer in about.optimizers
        ],
        "attributes": dict(told.attributes),
    }


def _variable(v: Variable, summary: Summary) -> dict[str, Any]:
    role = summary.roles[v.name]
    return {
        "name": v.name,
        "dtype": v.dtype.name,
        "shape": v.shape,
        "nbytes": v.nbytes,
        "num_elements": v.num_elements,
        **({"path": summary.paths[v.name]} if v.name in summary.paths else {}),
        "role": role.kind,
        **({"of": role.of} if role.of is not None else {}),
        **_place(v),
    }


def _place(variable: Variable) -> dict[str, Any]:
    """Return where a variable's bytes lie; nulls where they do not lie in one piece, as they are."""
    place = variable.place
    if place != NOWHERE:
        return place._asdict()
    document: dict[str, Any] = {"shard": None, "offset": None, "crc32c": None}
    if variable.slices:
        document["slices"] = [
            {"start": part.start, "shape": part.variable.shape, **part.variable.place._asdict()}
            for part in variable.slices
        ]
    return document

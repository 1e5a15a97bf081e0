"""The JSON documents that commands print: one object, `schema` first."""

from __future__ import annotations

import json
from typing import Any

from toolkit.checkpoint import NOWHERE, Variable
from toolkit.look.inspect import Summary


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


def inspection(summary: Summary) -> dict[str, Any]:
    """Return the document of `ckpt inspect`."""
    totals = summary.totals
    return {
        "format": summary.checkpoint.format,
        "path": summary.checkpoint.path,
        **({"problems": summary.notes} if summary.notes else {}),
        "variables": [
            {
                "name": v.name,
                "dtype": v.dtype.name,
                "shape": v.shape,
                "nbytes": v.nbytes,
                "num_elements": v.num_elements,
                **({"path": summary.paths[v.name]} if v.name in summary.paths else {}),
                "role": (role := summary.roles[v.name]).kind,
                **({"of": role.of} if role.of is not None else {}),
                **_place(v),
            }
            for v in summary.variables
        ],
        "totals": {
            "num_variables": totals.num_variables,
            "num_parameters": summary.num_parameters,
            "nbytes": totals.nbytes,
        },
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

"""The JSON documents that commands print: one object, `schema` first."""

from __future__ import annotations

import json
from typing import Any

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
        "variables": [
            {
                "name": v.name,
                "dtype": v.dtype.name,
                "shape": v.shape,
                "nbytes": v.nbytes,
                "num_elements": v.num_elements,
                "role": (role := summary.roles[v.name]).kind,
                **({"of": role.of} if role.of is not None else {}),
                **v.place._asdict(),
            }
            for v in summary.variables
        ],
        "totals": {
            "num_variables": totals.num_variables,
            "num_parameters": summary.num_parameters,
            "nbytes": totals.nbytes,
        },
    }

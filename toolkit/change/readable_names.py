"""The names of variables in a TensorFlow checkpoint that is made from a file of Keras's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from toolkit.checkpoint import Checkpoint, Variable
from toolkit.plan import Verdict


class Named(NamedTuple):
    """Verdicts, and the variables that they make, by the names that they get."""

    verdicts: list[Verdict]
    results: dict[str, Variable]


def with_readable_names(
    source: Checkpoint, verdicts: Iterable[Verdict], results: Mapping[str, Variable]
) -> Named:
    """Give variables of a Keras file the names that a model knows them by: its keys mean nothing elsewhere.

    A variable keeps its key where its readable name is another variable's.

    Args:
        source: Where the values come from.
        verdicts: By keys, with readable names as paths.
        results: The variables that they make, by key.
    """
    verdicts = list(verdicts)
    if not source.keys_are_places:
        return Named(verdicts, dict(results))
    paths = source.paths()
    taken = Counter([verdict.path or verdict.name for verdict in verdicts])
    taken.update(verdict.name for verdict in verdicts if verdict.path is not None)
    new = {v.name: v.path if v.path is not None and taken[v.path] == 1 else v.name for v in verdicts}
    named = [
        replace(
            verdict,
            name=new[verdict.name],
            source=None if verdict.source is None else paths.get(verdict.source, verdict.source),
            path=None if verdict.path == new[verdict.name] else verdict.path,
        )
        for verdict in verdicts
    ]
    made = {new.get(name, name): result for name, result in results.items()}
    return Named(named, {name: result.renamed(name) for name, result in made.items()})

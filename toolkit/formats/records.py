"""The record of a keeper of saves, `NAME.keeper.json`: what was saved, is being saved, is being removed."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Literal, NamedTuple

from toolkit.errors import FormatError

RECORD = ".keeper.json"
WEIGHTS = ".weights.h5"
SHARDED_WEIGHTS = ".weights.json"
"""The index of Keras's weights in several files."""
_MAX_BYTES = 64 << 20

Mode = Literal["max", "min"]


class Saved(NamedTuple):
    """A save.

    Attributes:
        name: Of the checkpoint in its directory: a prefix, or a file of weights.
        step: Of the training.
        time: When it was saved, in seconds since 1970.
        metric: How good the model was, if that was told.
    """

    name: str
    step: int
    time: float
    metric: float | None = None


def is_save_of(training: str, name: object) -> bool:
    """Return whether `name` is what a save of the training `training` is called: `TRAINING-STEP`."""
    pattern = re.escape(training) + r"-\d+(\.weights\.h5)?"
    return isinstance(name, str) and re.fullmatch(pattern, name) is not None


def read_record(directory: str, training: str) -> tuple[list[Saved], list[str], Saved | None]:
    """Return what was saved, oldest first, the names of what is being removed, and what is being saved.

    Nothing, if there is no record.

    Raises:
        FormatError: It is none.
    """
    path = os.path.join(directory, training + RECORD)
    if not os.path.lexists(path):
        return [], [], None
    try:
        with open(path, encoding="utf-8") as file:
            document = json.loads(file.read(_MAX_BYTES))
        saves = [_saved(training, save) for save in document["saves"]]
        saving, removing = document.get("saving"), list(document["removing"])
        if not all(is_save_of(training, name) for name in removing):
            raise ValueError("a name that is none of its saves")
        return saves, removing, None if saving is None else _saved(training, saving)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"not the record of a keeper: {error}",
            path=path,
            hint="move it away: all checkpoints stay, and none is removed any more",
        ) from error


def _saved(training: str, document: dict[str, Any]) -> Saved:
    """Return a save as the record has it.

    Raises:
        ValueError, TypeError, KeyError: It is none.
    """
    metric = document.get("metric")
    name, step = document["name"], document["step"]
    if not is_save_of(training, name) or type(step) is not int:
        raise ValueError("a name that is none of its saves")
    return Saved(name, step, float(document["time"]), None if metric is None else float(metric))


def recorded_metrics(directory: str, training: str) -> dict[str, tuple[float, Mode]]:
    """Return the metrics that a record has, and which of them is best, by the names of the saves.

    Raises:
        FormatError: It is no record.
    """
    saves, _, _ = read_record(directory, training)
    with open(os.path.join(directory, training + RECORD), encoding="utf-8") as file:
        mode: Mode = "min" if json.loads(file.read(_MAX_BYTES)).get("mode") == "min" else "max"
    return {save.name: (save.metric, mode) for save in saves if save.metric is not None}

"""What a checkpoint is as a whole: what its files say of themselves, and what its variables come to."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from toolkit.checkpoint import Checkpoint, TensorSpec, Variable
from toolkit.checksum import crc32c
from toolkit.errors import CheckpointError
from toolkit.formats.file import ReadFile
from toolkit.metadata import Metadata, Optimizer
from toolkit.roles import ATTRIBUTE, Kind, Role

_STEPS = ("global_step", f"global_step{ATTRIBUTE}", f"step{ATTRIBUTE}")
"""What TensorFlow 1 calls the number of steps (tensorflow/python/training/training_util.py), with a scope
before it or not, and what those call it who keep it as an object (its guide on checkpoints)."""
_OF_SLOTS = {
    "Adam": "Adam", "Adam_1": "Adam", "adam_m": "AdamWeightDecay", "Momentum": "Momentum",
    "RMSProp": "RMSProp", "RMSProp_1": "RMSProp", "Adagrad": "Adagrad", "Adadelta": "Adadelta",
    "Ftrl": "Ftrl", "Ftrl_1": "Ftrl", "AdagradDA": "AdagradDA", "LARSOptimizer": "LARS",
}  # fmt: skip
"""The optimizers of TensorFlow 1 that keep slots of these names (tensorflow/python/training)."""


class Share(NamedTuple):
    """How many variables of a checkpoint are of a dtype, and their bytes."""

    dtype: str
    num_variables: int
    nbytes: int


@dataclass(frozen=True)
class About:
    """What a checkpoint is as a whole.

    Attributes:
        what: What it is, in a few words: `Keras 3.3.3 archive, saved 2024-05-01`.
        num_variables: How many variables it has, metadata not counted.
        num_weights: How many of them are weights.
        num_parameters: The elements of those.
        parameter_bytes: The bytes of those.
        num_trainable: How many of the parameters an optimizer trains; `None` where that is not told.
        dtypes: What the variables are, those with the most bytes first; metadata not counted.
        num_slots: How many slots there are.
        num_averages: How many moving averages.
        kept_bytes: The bytes of both.
        slot_bytes: The bytes of the slots.
        nbytes: The bytes of all variables.
        spare_bytes: The bytes of TensorFlow's data files that no variable uses; 0 for other formats.
        optimizers: As `Metadata.optimizers`; where the files do not name them, what the names of slots tell.
        step: How many steps the training has taken, where a checkpoint counts them by itself.
        num_files: How many files it consists of.
        num_missing: How many of them are not there.
        file_bytes: The bytes of those that are.
        metadata: What the files say of themselves.
    """

    what: str
    num_variables: int
    num_weights: int
    num_parameters: int
    parameter_bytes: int
    num_trainable: int | None
    dtypes: tuple[Share, ...]
    num_slots: int
    num_averages: int
    kept_bytes: int
    slot_bytes: int
    nbytes: int
    spare_bytes: int
    optimizers: tuple[Optimizer, ...]
    step: int | None
    num_files: int
    num_missing: int
    file_bytes: int
    metadata: Metadata


def about(checkpoint: Checkpoint, roles: Mapping[str, Role]) -> About:
    """Return the facts about a checkpoint as a whole. Of its values one may be read: the number of steps.

    Args:
        checkpoint: Open.
        roles: The role of each of its variables.
    """
    variables = checkpoint.variables()
    counts = Counter(
        zip([v.spec for v in variables.values()], [roles[name].kind for name in variables], strict=True)
    )
    metadata = checkpoint.metadata
    weights = [(spec, count) for (spec, kind), count in counts.items() if kind == "weight"]
    kept = [(spec, count) for (spec, kind), count in counts.items() if kind in ("slot", "moving_average")]
    trained = checkpoint.trained()
    sizes = [_size_of(path) for path in checkpoint.files()]
    nbytes = sum(spec.nbytes * count for (spec, _), count in counts.items())
    is_whole = checkpoint.format == "tensorflow-v2" and None not in sizes
    data_bytes = sum(size or 0 for size in sizes[1:])  # the index comes first
    return About(
        what=_what(checkpoint, metadata),
        num_variables=sum(count for (_, kind), count in counts.items() if kind != "metadata"),
        num_weights=sum(count for _, count in weights),
        num_parameters=sum(math.prod(spec.shape) * count for spec, count in weights),
        parameter_bytes=sum(spec.nbytes * count for spec, count in weights),
        num_trainable=None
        if trained is None
        else sum(v.num_elements for n, v in variables.items() if n in trained and roles[n].kind == "weight"),
        dtypes=_shares(counts),
        num_slots=sum(count for (_, kind), count in counts.items() if kind == "slot"),
        num_averages=sum(count for (_, kind), count in counts.items() if kind == "moving_average"),
        kept_bytes=sum(spec.nbytes * count for spec, count in kept),
        slot_bytes=sum(spec.nbytes * count for (spec, kind), count in counts.items() if kind == "slot"),
        nbytes=nbytes,
        spare_bytes=max(data_bytes - nbytes, 0) if is_whole else 0,
        optimizers=metadata.optimizers or _optimizers_by_slots(roles),
        step=_step(checkpoint, roles),
        num_files=len(sizes),
        num_missing=sizes.count(None),
        file_bytes=sum(size or 0 for size in sizes),
        metadata=metadata,
    )


def _what(checkpoint: Checkpoint, metadata: Metadata) -> str:
    """Return a description of a checkpoint: its format, producer, date and model."""
    what = checkpoint.describe()
    producer = metadata.producer
    if producer and producer not in what:
        program = producer.partition(" ")[0]
        named = re.sub(rf"^{re.escape(program)}( \d+)?\b", lambda _: producer, what)
        what = named if named != what else f"{what}, by {producer}"
    if metadata.saved_at:
        what += f", saved {metadata.saved_at.partition('@')[0]}"
    if metadata.model_class and metadata.model_name:
        what += f", {metadata.model_class} `{metadata.model_name}`"
    elif model := metadata.model_class or metadata.model_name:
        what += f", model `{model}`"
    return what


def _shares(counts: Mapping[tuple[TensorSpec, Kind], int]) -> tuple[Share, ...]:
    found: dict[str, list[int]] = {}
    for (spec, kind), count in counts.items():
        if kind != "metadata":
            share = found.setdefault(spec.dtype.name, [0, 0])
            share[0] += count
            share[1] += spec.nbytes * count
    shares = (Share(name, num_variables, nbytes) for name, (num_variables, nbytes) in found.items())
    return tuple(sorted(shares, key=lambda share: (-share.nbytes, share.dtype)))


def _optimizers_by_slots(roles: Mapping[str, Role]) -> tuple[Optimizer, ...]:
    """Return the optimizers that the names of slots tell."""
    leaves = {name.rpartition("/")[2] for name, role in roles.items() if role.kind == "slot"}
    return tuple(
        Optimizer(name) for name in sorted({_OF_SLOTS[leaf] for leaf in leaves if leaf in _OF_SLOTS})
    )


def _step(checkpoint: Checkpoint, roles: Mapping[str, Role]) -> int | None:
    """Return the number of steps that a counter says; `None` where there is none, or it cannot be read."""
    counters = [name for name, role in roles.items() if role.kind == "counter"]
    found = [name for name in _STEPS if name in counters]
    found = found or [name for name in counters if name.endswith(f"/{_STEPS[0]}")]
    variable = checkpoint.find(found[0]) if found else None
    if variable is None or variable.shape or variable.dtype.kind != "int":
        return None
    try:
        extent = variable.extent
        if extent is None:
            return int(variable.load())
        return _stored_number(variable, extent.path, extent.offset, extent.crc32c)
    except (CheckpointError, OSError):
        return None  # what is wrong with it, whoever reads the values is told


def _stored_number(variable: Variable, path: str, offset: int, stored: int) -> int | None:
    """Return the whole number that lies in a data file, read without NumPy; `None` if it is damaged."""
    file = ReadFile(path)
    try:
        raw = file.read(offset, variable.nbytes)
    finally:
        file.close()
    if crc32c(raw) != stored:
        return None
    return int.from_bytes(raw, "little", signed=not variable.dtype.name.startswith("u"))


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None

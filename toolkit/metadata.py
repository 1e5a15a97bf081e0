"""What a checkpoint's files say of themselves: who wrote them, when, of which model, with which optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Optimizer(NamedTuple):
    """An optimizer whose state a checkpoint holds, as far as the files tell.

    Attributes:
        class_name: Its class: `Adam`; `None` where the files do not name it.
        learning_rate: Its learning rate; `None` where the files do not tell it, or there is a schedule.
        schedule: The class of its learning rate schedule: `CosineDecay`; `None` without one.
        step: How many steps it has taken; `None` where the files do not tell it.
        settings: Its other settings as its configuration has them: `{"beta_1": 0.9}`.
    """

    class_name: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    step: int | None = None
    settings: Mapping[str, object] = {}


@dataclass(frozen=True)
class Metadata:
    """What the files of a checkpoint say of themselves. What they do not say is `None` or empty.

    Attributes:
        producer: The program that wrote them, with its version: `Keras 3.15.1`.
        saved_at: When they were saved, as they have it: `2024-05-01@12:00:00`.
        model_class: The class of the model: `Functional`.
        model_name: The name of the model: `model_1`.
        optimizers: The optimizers, the outer one first where one wraps another.
        attributes: Other texts that the files carry, by name: safetensors' `__metadata__`.
    """

    producer: str | None = None
    saved_at: str | None = None
    model_class: str | None = None
    model_name: str | None = None
    optimizers: tuple[Optimizer, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

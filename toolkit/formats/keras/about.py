"""What a Keras file says of itself, for `Checkpoint.metadata`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from toolkit.formats.keras import slots
from toolkit.formats.keras.config import Config, Described, described, name_of
from toolkit.metadata import Metadata, Optimizer

_APART = frozenset(("name", "learning_rate", "inner_optimizer", "optimizer_map", "is_legacy_optimizer"))
"""What of an optimizer's configuration is said elsewhere."""
Number = int | float
Read = Callable[[str], Number | None]
"""Gives the value of a scalar by its key; `None` if it has none that can be read."""


def metadata(config: Config, optimizers: Iterable[Optimizer], attributes: Mapping[str, str]) -> Metadata:
    """Return the metadata of a file, with its optimizers."""
    model = config.model
    return Metadata(
        producer=f"Keras {config.version}" if config.version else None,
        saved_at=config.saved_at,
        model_class=model.class_name if model is not None else None,
        model_name=name_of(model) or None,
        optimizers=tuple(optimizers),
        attributes=attributes,
    )


def optimizer(
    told: Described | None, numbers: Mapping[str, str], read: Read, *, is_wrapper: bool = False
) -> Optimizer:
    """Return the facts about an optimizer.

    Args:
        told: Its class and configuration; `None` where not even the class is told.
        numbers: The keys of the numbers that it keeps, by what it calls them: `learning_rate`.
        read: Reads them: they are as they were when it was saved, and may have been changed in training.
        is_wrapper: Whether it wraps others, and has a learning rate of its own that nothing uses.
    """
    config = told.config if told is not None else {}
    step = read(numbers["iteration"]) if "iteration" in numbers else None
    every = config.get("gradient_accumulation_steps")
    if step is not None and isinstance(every, int) and every > 1:
        step //= every  # as Keras counts them
    given = config.get("learning_rate")
    schedule = described(given) if isinstance(given, dict) else None
    rate = read(numbers["learning_rate"]) if "learning_rate" in numbers and schedule is None else None
    if rate is None and isinstance(given, int | float) and not isinstance(given, bool):
        rate = given
    return Optimizer(
        class_name=slots.canonical(told.class_name) if told is not None else None,
        learning_rate=None if rate is None or is_wrapper else float(rate),
        schedule=schedule.class_name if schedule is not None else None,
        step=None if step is None else int(step),
        settings={key: value for key, value in config.items() if key not in _APART and value is not None},
    )

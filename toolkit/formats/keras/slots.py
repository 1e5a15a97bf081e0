"""In which order Keras's optimizers keep what they keep: by their class and settings.

    head    iteration [learning_rate]                         no learning_rate with a schedule, nor in Keras 2
    before  average…, gradient_accumulator…                   one for each trained variable, in blocks
    main    momentum velocity  momentum velocity  …           together for each variable
    after   velocity_hat…                                     in blocks again
    tail    u_product

Source: keras/src/optimizers (Keras 3.15); keras/src/optimizers (Keras 2.15).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from toolkit.formats.keras.config import Described
from toolkit.formats.keras.layers import snake_name

Shape = tuple[int, ...]
AVERAGE = "average"
_MAX_PATTERN = 200
"""Characters of a pattern that is tried."""
_ACCUMULATOR = "gradient_accumulator"
_DEFAULT_ACCUMULATOR = 0.1
"""What Adagrad and Ftrl begin with unless they are told otherwise."""


class Layout(NamedTuple):
    """How an optimizer lists what it keeps.

    Attributes:
        class_name: Its class; `None` where that is not told.
        head, before, main, after, tail: The names of what it keeps, as above. Empty names are not told.
        rule: How the main ones differ from variable to variable: `factored` and `factored_where_matrix`
            (Adafactor of Keras 3 and 2), `muon`; empty if they do not.
        excluded: What `muon` leaves out, as regular expressions; `None` if that is not told.
    """

    class_name: str | None
    head: tuple[str, ...]
    before: tuple[str, ...] = ()
    main: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    rule: str = ""
    excluded: tuple[str, ...] | None = ()

    def slots_of(
        self, shape: Shape, paths: Collection[str]
    ) -> Iterator[tuple[tuple[str, Shape | None], ...]]:
        """Yield what may be kept for a variable among the main ones: names and shapes.

        Args:
            shape: The variable's. A shape of `None` is any scalar's.
            paths: Its path, by which Muon goes; several if it may be any of them, none if it is not told.
        """
        if self.rule.startswith("factored"):
            if len(shape) < 2:
                dummies = (("r", ()), ("c", ())) if self.rule == "factored" else ()
                yield (*dummies, ("velocity", shape))
            else:
                yield (("r", shape[:-1]), ("c", (*shape[:-2], shape[-1])), ("velocity", shape))
        elif self.rule == "muon":
            both = (("momentum", shape), ("velocity", shape))
            by_adam = True if len(shape) != 2 else is_meant(self.excluded, paths)
            if by_adam is not False:
                yield both
            if not by_adam:
                yield both[:1]
        else:
            yield tuple((slot, shape) for slot in self.main)

    @property
    def is_one_width(self) -> bool:
        """Whether as much is kept for each variable as for any other."""
        return self.rule in ("", "factored")

    @property
    def width(self) -> int:
        """How many are kept together for a variable, at least."""
        return {"": len(self.main), "factored": 3}.get(self.rule, 1)


def layouts(optimizer: Described, *, is_keras_2: bool) -> list[Layout]:
    """Return how an optimizer of this class and configuration lists what it keeps; none if that is not known.

    Args:
        optimizer: Its class and configuration; without one, every setting is tried.
        is_keras_2: Whether Keras 2.11 to 2.15 wrote it.
    """
    config = optimizer.config
    class_name = canonical(optimizer.class_name)
    if class_name not in _MAIN or not optimizer.is_keras:
        return []
    if not config:
        return list(_any_settings(class_name, is_keras_2=is_keras_2))
    head = ["iteration"]
    if not is_keras_2 and isinstance(config.get("learning_rate"), int | float):
        head.append("learning_rate")
    before = [AVERAGE] if config.get("use_ema") else []
    if config.get("gradient_accumulation_steps"):
        before.append(_ACCUMULATOR)
    return [_layout(class_name, config, tuple(head), tuple(before), is_keras_2=is_keras_2)]


def any_layouts(*, is_keras_2: bool | None) -> Iterator[Layout]:
    """Yield how any optimizer may list what it keeps, each way once. Names that differ are not told."""
    seen: dict[object, Layout] = {}
    for generation in (False, True) if is_keras_2 is None else (is_keras_2,):
        for class_name in _MAIN:
            for layout in _any_settings(class_name, is_keras_2=generation):
                kind = (len(layout.head), len(layout.before), len(layout.main), len(layout.after))
                known = (*kind, layout.tail, layout.rule)
                found = seen.get(known)
                if found is None:
                    seen[known] = layout._replace(class_name=None)
                else:
                    seen[known] = found._replace(
                        before=_common(found.before, layout.before),
                        main=_common(found.main, layout.main),
                        after=_common(found.after, layout.after),
                    )
    yield from seen.values()


def is_meant(patterns: Collection[str] | None, paths: Collection[str], *, whole: bool = False) -> bool | None:
    """Return whether one of a configuration's patterns means a path; `None` if that is not certain.

    A pattern that could take for ever is not tried: the file may be anybody's.

    Args:
        patterns: Regular expressions; `None` if they are not told.
        paths: What the path may be; it is certain where all agree.
        whole: Whether they have to match all of it.
    """
    found = set()
    if patterns is None:
        return None
    for pattern in patterns:
        if len(pattern) > _MAX_PATTERN or len(re.findall(r"[*+?{(]", pattern.removeprefix("(?i)"))) > 2:
            return None
    try:
        for path in paths:
            match = re.fullmatch if whole else re.search
            found.add(any(match(pattern, path) for pattern in patterns))
    except re.error:
        return None
    return found.pop() if len(found) == 1 else None


def canonical(class_name: str) -> str:
    """Return a class by its name in Keras, of which a model may also be given a lower-case one: `adam`."""
    return _BY_NAME.get(class_name.lower().replace("_", ""), class_name)


def is_class(name: str) -> bool:
    """Return whether it is the class of one of Keras's optimizers."""
    return name in _MAIN or name in WRAPPERS


def class_of_name(name: str) -> str | None:
    """Return the class that Keras named an optimizer after: `AdamW` of `adam_w_1`; `None` if it is none."""
    return _BY_SNAKE_NAME.get(name) or _BY_SNAKE_NAME.get(re.sub(r"_\d+\Z", "", name))


def starting_value(optimizer: Described | None, slot: str) -> float | None:
    """Return the initial value of a slot; `None` where that is the value of its variable.

    Args:
        optimizer: Its class, and what it was told.
        slot: What the optimizer calls it: `accumulator`.
    """
    class_name = canonical(optimizer.class_name) if optimizer else ""
    if class_name in ("Adagrad", "Ftrl") and slot == "accumulator" and optimizer is not None:
        given = optimizer.config.get("initial_accumulator_value", _DEFAULT_ACCUMULATOR)
        return float(given) if isinstance(given, int | float) else _DEFAULT_ACCUMULATOR
    if class_name == "ScheduleFreeAdamW" and slot == "momentum":
        return None
    return 0.0


def _layout(
    class_name: str,
    config: Mapping[str, object],
    head: tuple[str, ...],
    before: tuple[str, ...],
    *,
    is_keras_2: bool,
) -> Layout:
    main, rule = _MAIN[class_name], ""
    after: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    excluded: tuple[str, ...] | None = ()
    if class_name == "SGD" and not is_keras_2 and not config.get("momentum"):
        main = ()
    elif class_name == "RMSprop":
        momentum = ("momentum",) if config.get("momentum") else ()
        after = (*momentum, *(("average_gradient",) if config.get("centered") else ()))
    elif class_name in ("Adam", "AdamW"):
        after = ("velocity_hat",) if config.get("amsgrad") else ()
    elif class_name == "Nadam" and not is_keras_2:
        tail = ("u_product",)
    elif class_name == "Adafactor":
        rule = "factored_where_matrix" if is_keras_2 else "factored"
    elif class_name == "Muon":
        rule = "muon"
        listed = config.get("exclude_layers")
        excluded = (
            tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else None
        )
        if excluded is not None and config.get("exclude_embeddings", True):
            excluded = (*excluded, "(?i)embedding")
    return Layout(class_name, head, before, main, after, tail, rule, excluded)


def _any_settings(class_name: str, *, is_keras_2: bool) -> Iterator[Layout]:
    """Yield how an optimizer of a class lists what it keeps, by every setting that matters."""
    heads = [("iteration",)] if is_keras_2 else [("iteration", "learning_rate"), ("iteration",)]
    befores: list[tuple[str, ...]] = [(), (AVERAGE,)]
    if not is_keras_2:
        befores += [(_ACCUMULATOR,), (AVERAGE, _ACCUMULATOR)]
    seen = set()
    for amsgrad, momentum, centered in itertools.product((False, True), repeat=3):
        config = {"amsgrad": amsgrad, "momentum": momentum, "centered": centered}
        for head, before in itertools.product(heads, befores):
            layout = _layout(class_name, config, head, before, is_keras_2=is_keras_2)
            if layout not in seen:
                seen.add(layout)
                yield layout


def _common(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(a if a == b else "" for a, b in zip(first, second, strict=True))


_TWO = ("momentum", "velocity")
_MAIN: dict[str, tuple[str, ...]] = {
    "SGD": ("momentum",),
    "Lion": ("momentum",),
    "Adagrad": ("accumulator",),
    "RMSprop": ("velocity",),
    "Adam": _TWO,
    "AdamW": _TWO,
    "Nadam": _TWO,
    "Lamb": _TWO,
    "ScheduleFreeAdamW": _TWO,
    "Adamax": ("momentum", "norm"),
    "Ftrl": ("accumulator", "linear"),
    "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "Adafactor": ("r", "c", "velocity"),
    "Muon": _TWO,
}
WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")
_BY_NAME = {name.lower(): name for name in (*_MAIN, *WRAPPERS)}
_BY_SNAKE_NAME = {snake_name(name): name for name in (*_MAIN, *WRAPPERS)}

"""What a Keras file's variables are, found out when it is asked for, in whichever layout they lie."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from toolkit.formats.keras import about, contents, legacy
from toolkit.formats.keras.about import Read
from toolkit.formats.keras.config import Config
from toolkit.formats.keras.optimizer import State
from toolkit.formats.keras.slots import canonical
from toolkit.metadata import Metadata
from toolkit.roles import Described, Role, assign


class Understood:
    """What the variables of a file are.

    Args:
        layout: `keras3`, `keras` (the legacy one), or another, which tells nothing.
        variables: All of them by key: dtypes and shapes.
        config: What is told beside the weights.
        called: Of `keras3`, the groups of objects with their names.
        written: Of `keras3`, for each variable a number that is smaller for those written before.
        weights: Of `keras`, the weights in order.
        optimizer: Of `keras`, the keys of what optimizers keep, in order.
        attributes: Other texts that the file carries.
    """

    def __init__(
        self,
        layout: str,
        variables: Mapping[str, Described],
        *,
        config: Config,
        called: Mapping[str, str],
        written: Mapping[str, int],
        weights: Sequence[legacy.Weight] = (),
        optimizer: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._layout = layout
        self._variables = variables
        self._config = config
        self._called = called
        self._written = written
        self._weights = weights
        self._optimizer = optimizer
        self._attributes = dict(attributes or {})

    @functools.cached_property
    def _contents(self) -> contents.Contents | None:
        if self._layout != "keras3":
            return None
        return contents.read(self._variables, called=self._called, written=self._written, config=self._config)

    @functools.cached_property
    def paths(self) -> Mapping[str, str]:
        """Readable names, by those keys that are none."""
        if self._contents is not None:
            return self._contents.paths
        return legacy.paths(self._weights, self.roles, self._config.model)

    @functools.cached_property
    def roles(self) -> Mapping[str, Role]:
        """What each variable is for."""
        if self._contents is not None:
            return self._contents.roles
        if self._optimizer:
            return legacy.roles(self._variables, frozenset(self._optimizer))
        return assign(self._variables)

    @property
    def trained(self) -> frozenset[str] | None:
        """The keys of what is trained; `None` where that is not told."""
        if self._contents is not None:
            return self._contents.trained
        return legacy.trained(self._weights, self._config.model)

    @property
    def kept(self) -> frozenset[str]:
        """The keys of what optimizers keep."""
        return self._contents.kept if self._contents is not None else frozenset(self._optimizer)

    @functools.cached_property
    def starts(self) -> Mapping[str, float | None]:
        """What slots start with, by key, where that is told; `None` for their variable's value."""
        if self._contents is not None:
            return self._contents.starts
        return legacy.starts(self.roles, legacy.optimizers(self._config))

    def metadata(self, read: Read) -> Metadata:
        """Return the metadata of the file.

        Args:
            read: Reads a scalar.
        """
        if self._contents is not None:
            states = self._contents.optimizers
            found = [
                about.optimizer(state.described, _numbers(state, states), read, is_wrapper=state.is_wrapper)
                for state in states
            ]
        else:
            told = legacy.optimizers(self._config)
            numbers = [legacy.numbers(self._optimizer, each, alone=len(told) == 1) for each in told]
            if len(told) > 1 and _scales_losses(told[0].class_name):
                numbers[0] = numbers[1]
            found = [
                about.optimizer(each, kept, read, is_wrapper=number == 0 and len(told) > 1)
                for number, (each, kept) in enumerate(zip(told, numbers, strict=True))
            ]
        return about.metadata(self._config, found, self._attributes)


def _numbers(state: State, states: Sequence[State]) -> Mapping[str, str]:
    """Return the keys of an optimizer's numbers: of one that scales losses, those of the one in it."""
    if state.is_wrapper and state.described is not None and _scales_losses(state.described.class_name):
        return states[states.index(state) + 1].numbers
    return state.numbers


def _scales_losses(class_name: str) -> bool:
    """Return whether an optimizer scales losses: the one in it takes the steps."""
    return canonical(class_name).startswith("LossScale")

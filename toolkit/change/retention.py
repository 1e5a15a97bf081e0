"""Which saves of a training are kept: the newest, every N-th step, the best by a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from toolkit.arguments import choose, whole_number
from toolkit.formats.records import Mode, Saved


class Retention(NamedTuple):
    """What is kept. A save is kept if any of these keeps it; the newest always is.

    Attributes:
        keep: The newest so many.
        keep_every: Those whose step is a multiple of this, for ever; 0 for none.
        keep_best: The best so many of those with a metric that is a number.
        mode: Whether the best metric is the greatest (`max`) or the least (`min`).
    """

    keep: int = 5
    keep_every: int = 0
    keep_best: int = 0
    mode: Mode = "max"

    def check(self) -> None:
        """Raise unless it makes sense.

        Raises:
            UsageError: It does not.
        """
        whole_number("keep", self.keep, least=1)
        for option in ("keep_every", "keep_best"):
            whole_number(option, getattr(self, option))
        choose("mode", self.mode, ("max", "min"))

    def kept(self, saves: Iterable[Saved]) -> set[str]:
        """Return the names of those of `saves`, oldest first, that are kept."""
        saves = list(saves)
        names = {save.name for save in saves[-self.keep :]}
        if self.keep_every:
            names.update(save.name for save in saves if save.step % self.keep_every == 0)
        return names | self.best(saves)

    def best(self, saves: Iterable[Saved]) -> set[str]:
        """Return the names of the best; of two as good, the newer comes first."""
        measured = [s for s in saves if s.metric is not None and not math.isnan(s.metric)]
        sign = -1 if self.mode == "max" else 1
        places = range(len(measured))
        ranked = sorted(places, key=lambda place: (sign * (measured[place].metric or 0.0), -place))
        return {measured[place].name for place in ranked[: self.keep_best]}

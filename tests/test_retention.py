"""Which saves are kept: each row is worked out by hand."""

from __future__ import annotations

import math

import pytest

from toolkit import UsageError
from toolkit.change.retention import Retention
from toolkit.formats.records import Saved

METRICS = [0.3, 0.9, math.nan, 0.5, None, 0.9, 0.1]
SAVES = [
    Saved(f"m-{step}", step, float(step), metric)
    for step, metric in zip(range(10, 80, 10), METRICS, strict=True)
]


@pytest.mark.parametrize(
    ("retention", "steps"),
    [
        (Retention(keep=2), [60, 70]),
        (Retention(keep=1, keep_every=30), [30, 60, 70]),
        (Retention(keep=1, keep_best=1), [60, 70]),  # of two as good the newer
        (Retention(keep=1, keep_best=3), [20, 40, 60, 70]),
        (Retention(keep=1, keep_best=2, mode="min"), [10, 70]),
        (Retention(keep=99), [10, 20, 30, 40, 50, 60, 70]),
    ],
)
def test_the_newest_every_nth_and_the_best_are_kept(retention, steps):
    assert retention.kept(SAVES) == {f"m-{step}" for step in steps}


@pytest.mark.parametrize(
    "retention", [Retention(keep=0), Retention(keep_every=-1), Retention(keep_best=-1), Retention(mode="up")]
)
def test_what_makes_no_sense_is_refused(retention):
    with pytest.raises(UsageError):
        retention.check()

"""`ckpt export --model`: the weights of a Keras model in a file that Keras loads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from toolkit.cli import graphs, output
from toolkit.errors import UsageError
from toolkit.formats.endings import ending_of


def is_of_keras3(out: str) -> bool:
    """Return whether the name of a file says that it is to have Keras 3's own layout of weights."""
    return out.endswith(".weights.h5")  # in lower case, as Keras itself wants it


def export_weights(
    ckpt: str,
    out: str,
    layout: str | None,
    model: str | None,
    rename: Iterable[str],
    force: bool,
    no_sync: bool,
    dry_run: bool,
    json: bool,
    no_truncate: bool,
) -> None:
    """Export the weights of a Keras model, in Keras 3's own file or the legacy layout."""
    from toolkit.formats.opening import open_checkpoint
    from toolkit.publish import refuse_destination

    ending = ending_of(out)
    is_keras3 = layout in (None, "keras3") and is_of_keras3(out)
    is_legacy = layout == "keras" and ending is not None and ending.format == "hdf5"
    if model is None or not (is_keras3 or is_legacy):
        raise UsageError(
            "Keras 3's layout needs OUT.weights.h5, --layout keras3 and --model; its legacy one OUT.h5",
            hint="ckpt export CKPT OUT.weights.h5 --layout keras3 --model MODULE:FUNCTION",
        )
    refuse_destination(out, force=force)
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(open_checkpoint(ckpt, note=output.message))
        with graphs.tensorflow():
            from toolkit.graph.keras_weights import plan_weights

            plan = plan_weights(checkpoint, model, rename=rename)
            if plan.ok and not dry_run:
                plan.save(out, force=force, sync=not no_sync)
        done = out if plan.ok and not dry_run else None
        output.plan("export", plan, done, json=json, every_row=no_truncate)
        plan.check()

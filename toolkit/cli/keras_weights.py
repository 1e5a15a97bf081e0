"""`ckpt export --layout keras3`: the weights of a model in Keras 3's own file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from toolkit.cli import graphs, output
from toolkit.errors import UsageError


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
    """Export the weights of a Keras 3 model, in Keras's own file."""
    from toolkit.formats.opening import open_checkpoint
    from toolkit.publish import refuse_destination

    if layout not in (None, "keras3") or model is None or not out.endswith(".weights.h5"):
        raise UsageError(
            "Keras 3's layout needs OUT.weights.h5, --layout keras3 and --model",
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

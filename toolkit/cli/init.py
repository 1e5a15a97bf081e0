"""`ckpt init`: a model's initial values as a checkpoint."""

import secrets

from toolkit.cli import graphs, options, output


def init(
    model: options.Model,
    out: options.Out = None,
    seed: options.Seed = None,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Build a model, initialize its variables in the order they need, and save them."""
    destination = options.destination(out, dry_run=dry_run)
    seed = secrets.randbits(31) if seed is None else seed
    with graphs.tensorflow():
        from toolkit.graph.initialize import plan_initialize
        from toolkit.graph.model_function import build
        from toolkit.graph.saving import save

        graph = build(model, seed=seed)
        plan = plan_initialize(graph=graph)
        plan.seed = seed
        if destination:
            with graphs.session(graph) as session:
                plan.apply(session)
                save(session, destination, force=force, sync=not no_sync)
        output.plan("init", plan, destination, json=json, every_row=no_truncate)

"""`ckpt init`: a model's initial values as a checkpoint."""

from toolkit.cli import graphs, options, output


def init(
    model: options.Model,
    out: options.Out = None,
    copy: options.Copy = None,
    seed: options.Seed = None,
    force: options.Force = False,
    no_sync: options.NoSync = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    no_truncate: options.NoTruncate = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Save a model's initial values.

    Builds the model in a new graph, runs its initializers in the order in which they depend on each
    other, and saves all variables, and the graph, through TensorFlow's Saver.
    """
    destination = options.destination(out, dry_run=dry_run, force=force)
    seed = graphs.seed_or_drawn(seed)
    with graphs.tensorflow():
        from toolkit.graph.initialize import plan_initialize
        from toolkit.graph.model_function import build
        from toolkit.graph.saving import save
        from toolkit.graph.variables import all_variables

        graph = build(model, seed=seed)
        plan = plan_initialize(all_variables(graph), copies=options.copies(copy), graph=graph)
        plan.seed = seed
        if destination:
            with graphs.session(graph) as session:
                plan.apply(session)
                save(session, destination, force=force, sync=not no_sync)
    output.plan("init", plan, destination, json=json, every_row=no_truncate)

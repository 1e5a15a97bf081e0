"""A trained checkpoint made ready for another task, in the file alone: renamed, stripped, a new head."""

import os
import tempfile

import toolkit

with tempfile.TemporaryDirectory() as folder:
    source = toolkit.open_checkpoint("tests/data/valid/perceptron")
    edited = (
        toolkit.edit(source)
        .rename("dense1", "encoder")
        .strip_optimizer()
        .drop("**/ExponentialMovingAverage")
        .copy("old_head", "head")
        .reinit("head", "he_normal", seed=7)
        .set("global_step", 0)
    )
    plan = edited.write(f"{folder}/start")
    for verdict in plan:
        if verdict.action != "drop":
            print(f"{verdict.action:10} {verdict.name:14} {verdict.reason}")
    print(plan.summary())

    # what has not changed is shared, as long as nine tenths of a data file are still used
    plan = toolkit.edit(source).rename("dense1", "encoder").write(f"{folder}/renamed")
    print(plan.bytes)
    print(os.stat(f"{folder}/renamed.data-00000-of-00001").st_nlink > 1)

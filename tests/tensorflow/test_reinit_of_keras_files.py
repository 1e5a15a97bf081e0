"""The plainest case: `ckpt reinit model.keras head`, and on with the training."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import random_models
from tests.tensorflow.random_models import Layer, Optimizer, Spec
from toolkit import plan_reinit, plan_restore

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")

SPEC = Spec(
    1, "sequential", "net", (3,), (Layer("dense", "body", 4),), Layer("dense", "head", 2), Optimizer("Adam")
)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
def test_the_result_restores_into_the_model_with_its_optimizer(tmp_path, ending):
    model = random_models.build(SPEC)
    random_models.train(model, SPEC, range(3))
    (model.save_weights if ending == ".weights.h5" else model.save)(tmp_path / f"m{ending}")
    plan_reinit(tmp_path / f"m{ending}", "head", seed=1).write(tmp_path / "out")
    target = random_models.build(SPEC)
    plan = plan_restore(tmp_path / "out", target)
    plan = plan_restore(tmp_path / "out", target, rename=plan.advice.renames)
    assert plan.ok, str(plan)
    plan.apply(verify=True)
    assert target.optimizer.iterations.numpy() == 3
    body, head = target.get_layer("body"), target.get_layer("head")
    assert np.array_equal(body.kernel, model.get_layer("body").kernel)
    assert not np.array_equal(head.kernel, model.get_layer("head").kernel)
    ours, theirs = (
        {v.path.partition("/")[2]: v.numpy() for v in each.optimizer.variables} for each in (target, model)
    )
    for name, value in ours.items():
        assert np.array_equal(value, np.zeros_like(value) if "head" in name else theirs[name]), name

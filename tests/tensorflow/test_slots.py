"""Slots: their names and initial values, as TensorFlow's own optimizers make them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import tf
from tests.tensorflow.conftest import save
from toolkit import open_checkpoint, plan_reinit
from toolkit.roles import assign, initial_slot_value

train = tf.compat.v1.train
v1 = tf.compat.v1

OPTIMIZERS = {
    "Adam": lambda: train.AdamOptimizer(0.1),
    "Adagrad": lambda: train.AdagradOptimizer(0.1),
    "AdagradDA": lambda: train.AdagradDAOptimizer(0.1, train.get_or_create_global_step()),
    "Adadelta": lambda: train.AdadeltaOptimizer(0.1),
    "Ftrl": lambda: train.FtrlOptimizer(0.1),
    "Momentum": lambda: train.MomentumOptimizer(0.1, 0.9),
    "ProximalAdagrad": lambda: train.ProximalAdagradOptimizer(0.1),
    "RMSProp": lambda: train.RMSPropOptimizer(0.1),
    "RMSProp-centered": lambda: train.RMSPropOptimizer(0.1, centered=True),
}


def build(make, scope=""):
    w = v1.get_variable("net/w", [3, 2], initializer=v1.ones_initializer())
    with v1.variable_scope(scope) if scope else v1.variable_scope(v1.get_variable_scope()):
        make().minimize(tf.reduce_sum(w * w))


@pytest.mark.parametrize("scope", ["", "training"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slots_are_told_and_start_as_tensorflow_starts_them(tmp_path, optimizer, scope):
    values = save(tmp_path / "m", lambda: build(OPTIMIZERS[optimizer], scope))
    with open_checkpoint(tmp_path / "m") as checkpoint:
        roles = assign(checkpoint)
        slots = [name for name, role in roles.items() if role.kind == "slot"]
        assert slots, list(checkpoint)
        assert {roles[name].of for name in slots} == {"net/w"}
        assert all(name.startswith(f"{scope}/net/w/" if scope else "net/w/") for name in slots)
        for name in slots:
            value, known = initial_slot_value(name)
            assert known, name
            assert (values[name] == np.float32(value)).all(), name
        others = {name for name, role in roles.items() if role.kind == "weight"}
        assert others == {"net/w"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_reinitialized_slots_are_those_of_a_new_optimizer(tmp_path, optimizer):
    def trained():
        build(OPTIMIZERS[optimizer])
        for variable in v1.global_variables():
            v1.add_to_collection("train", variable)

    fresh = save(tmp_path / "fresh", trained)
    with tf.Graph().as_default(), v1.Session() as session:
        trained()
        session.run(v1.global_variables_initializer())
        step = next(
            op
            for op in session.graph.get_operations()
            if op.name.endswith(optimizer.partition("-")[0]) and op.type == "NoOp"
        )
        session.run(step)
        v1.train.Saver().save(session, str(tmp_path / "trained"), write_state=False)
    with open_checkpoint(tmp_path / "trained") as checkpoint:
        plan_reinit(checkpoint, ["net"], init="ones").write(tmp_path / "out")
    with open_checkpoint(tmp_path / "out") as out:
        for name, role in assign(out).items():
            if role.kind == "slot" or name == "net/w":
                assert out[name].read().tobytes() == fresh[name].tobytes(), name

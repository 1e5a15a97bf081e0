"""Where TensorFlow is: names that load it, what they take, and what they are called in a line."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import toolkit
from tests.conftest import VALID
from tests.tensorflow import tf
from tests.test_wrong_types import WRONG

v1 = tf.compat.v1


@pytest.mark.parametrize(
    "prefix", sorted(p.with_suffix("") for p in VALID.rglob("*.index")), ids=lambda p: p.parent.name
)
def test_list_variables_of_a_path_is_what_tensorflow_lists(prefix):
    assert toolkit.list_variables(prefix) == tf.train.list_variables(str(prefix))
    assert toolkit.list_variables(str(prefix)) == tf.train.list_variables(str(prefix))


def test_list_variables_of_a_graph_is_as_it_was():
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", [2, 3])
        (one,) = toolkit.list_variables(graph)
        assert [one.name, one.shape, one.initialized] == ["w", (2, 3), None]
        assert not toolkit.list_variables(session=session)[0].initialized
        assert repr(one) == "<GraphVariable 'w': float32 (2, 3), variables>"
        assert isinstance(one, toolkit.GraphVariable)
        for wrong in (5, [1], object()):
            with pytest.raises(toolkit.UsageError, match="expected a graph, or a checkpoint"):
                toolkit.list_variables(wrong)


def test_plans_over_graphs_take_no_nonsense(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", [2])
        session.run(v1.global_variables_initializer())
        path = toolkit.save(session, tmp_path / "m")
        for name in inspect.signature(toolkit.plan_restore).parameters:
            for value in WRONG:
                arguments = {"checkpoint": path, "target": graph, name: value}
                try:
                    toolkit.plan_restore(**arguments)
                except toolkit.CheckpointError:
                    pass
                except Exception as error:
                    pytest.fail(f"plan_restore({name}={value!r}): {error!r}")
        for name in ("prefix", "force", "sync"):
            for value in WRONG:
                arguments = {"prefix": tmp_path / "m", "force": True, "sync": False, name: value}
                try:
                    toolkit.save(session, **arguments)
                except toolkit.CheckpointError:
                    pass
                except Exception as error:
                    pytest.fail(f"save({name}={value!r}): {error!r}")


def test_keepers_take_no_nonsense_and_say_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in inspect.signature(toolkit.CheckpointKeeper).parameters:
        for value in WRONG:
            try:
                toolkit.CheckpointKeeper(**{"directory": tmp_path / "run", name: value})
            except toolkit.CheckpointError:
                pass
            except Exception as error:
                pytest.fail(f"CheckpointKeeper({name}={value!r}): {error!r}")
    keeper = toolkit.CheckpointKeeper(tmp_path / "saves", sync=False)
    assert isinstance(keeper, toolkit.CheckpointKeeper)
    assert repr(keeper) == f"<CheckpointKeeper '{tmp_path}/saves': 0 saves>"
    root = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0]))
    keeper.save(root, 3)
    assert repr(keeper) == f"<CheckpointKeeper '{tmp_path}/saves': 1 save, the newest model.ckpt-3>"
    restored = keeper.restore(root)
    assert repr(restored).startswith(f"<Restored '{tmp_path}/saves/model.ckpt-3': step 3, ")
    assert "\n" not in repr(restored)
    assert isinstance(restored, toolkit.Restored)
    assert repr(keeper.saves[0]).startswith("Saved(name='model.ckpt-3', step=3, time=")


def test_a_class_of_a_users_own_may_derive_from_a_public_one(tmp_path):
    class Mine(toolkit.CheckpointKeeper):
        def save(self, target, step, **options):
            return super().save(target, step + 1000, **options)

    keeper = Mine(tmp_path, sync=False)
    assert keeper.save(tf.train.Checkpoint(w=tf.Variable(np.float32(1))), 1).endswith("-1001")
    assert isinstance(keeper, toolkit.CheckpointKeeper)


def test_errors_have_pythons_words_and_the_nearest_choice(tmp_path):
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", [2])
        session.run(v1.global_variables_initializer())
        path = toolkit.save(session, tmp_path / "m")
        with pytest.raises(toolkit.PublishError) as refused:
            toolkit.save(session, path)
        assert refused.value.hint == "--force replaces it, or choose another name"
        assert str(refused.value).endswith("hint: force=True replaces it, or choose another name")
        for option, wrong, near in (("on_missing", "inti", "init"), ("on_shape", "overlapp", "overlap"), ("ema", "perfer", "prefer"), ("copy_value", "curent", "current")):  # fmt: skip
            with pytest.raises(toolkit.UsageError) as misspelt:
                toolkit.plan_restore(path, graph, **{option: wrong})
            assert str(misspelt.value).endswith(f"hint: the nearest: {option}='{near}'")
        v1.get_variable("other", [2])
        plan = toolkit.plan_restore(path, graph)
        assert "on_missing='init' starts it afresh" in str(plan)
        assert "on_missing='init' starts it afresh" in plan.explain("other")
        assert "--on-missing init starts it afresh" in plan["other"].hint

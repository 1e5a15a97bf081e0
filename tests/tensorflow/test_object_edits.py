"""Object-based checkpoints that were edited restore as if the objects had been called so all along."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.tensorflow import tf
from toolkit import (
    UsageError,
    VariableNotFoundError,
    edit,
    open_checkpoint,
    plan_average,
    plan_merge,
    plan_reinit,
)
from toolkit.formats.read_back import checksum_of


class Module(tf.Module):
    """A layer in the plain manner of TensorFlow 2."""

    def __init__(self, number: int = 0):
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([3, 2], [number, 1]), name="w")
        self.b = tf.Variable([1.0 * number, 2.0], name="b")


def model() -> keras.Model:
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")], name="net")  # fmt: skip


def trained(optimizer: str = "adam"):
    """A model and its optimizer after two steps."""
    keras.backend.clear_session()  # names are numbered anew
    keras.utils.set_random_seed(1)
    made = model()
    made.compile(keras.optimizers.get(optimizer), loss="mse")
    made.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=2, verbose=0)
    return made, made.optimizer


def fresh(optimizer: str = "adam"):
    """The same, new, with all its variables made."""
    keras.backend.clear_session()
    made, new = model(), keras.optimizers.get(optimizer)
    new.build(made.trainable_variables)
    return made, new


def values(*variables) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in variables]


def sound(prefix) -> None:
    with open_checkpoint(prefix) as checkpoint:
        for variable in checkpoint.values():
            assert checksum_of(variable) == variable.crc32c


@pytest.fixture
def saved(tmp_path):
    made, optimizer = trained()
    prefix = tf.train.Checkpoint(net=made, optimizer=optimizer).write(str(tmp_path / "m"))
    return prefix, made, optimizer


@pytest.mark.parametrize("rename", ["net=backbone", r"re:^net/=backbone/", "net=a/b"])
def test_a_renamed_object_restores_under_its_new_name(saved, tmp_path, rename):
    prefix, before, optimizer_before = saved
    edit(prefix).rename([rename]).write(tmp_path / "out")
    made, optimizer = fresh()
    if rename == "net=a/b":
        root = tf.train.Checkpoint(a=tf.train.Checkpoint(b=made), optimizer=optimizer)
    else:
        root = tf.train.Checkpoint(backbone=made, optimizer=optimizer)
    root.read(str(tmp_path / "out")).assert_consumed()
    assert values(*made.weights) == values(*before.weights)
    assert values(*optimizer.variables) == values(*optimizer_before.variables)
    sound(tmp_path / "out")


def test_a_scope_around_all_is_an_object_that_has_them(saved, tmp_path):
    prefix, before, optimizer_before = saved
    added = edit(prefix).add_scope("run")
    added.write(tmp_path / "out")
    made, optimizer = fresh()
    inner = tf.train.Checkpoint(net=made, optimizer=optimizer)
    tf.train.Checkpoint(run=inner).read(str(tmp_path / "out")).assert_existing_objects_matched()
    assert values(*made.weights, *optimizer.variables) == values(*before.weights, *optimizer_before.variables)
    added.strip_scope("run").write(tmp_path / "back")
    made, optimizer = fresh()
    tf.train.Checkpoint(net=made, optimizer=optimizer).read(str(tmp_path / "back")).assert_consumed()
    assert values(*made.weights, *optimizer.variables) == values(*before.weights, *optimizer_before.variables)


@pytest.mark.parametrize("rename", ["optimizer=adam", "re:^optimizer/=adam/"])
def test_a_renamed_optimizer_keeps_its_slots(saved, tmp_path, rename):
    prefix, before, optimizer_before = saved
    edit(prefix).rename([rename]).write(tmp_path / "out")
    made, optimizer = fresh()
    tf.train.Checkpoint(net=made, adam=optimizer).read(str(tmp_path / "out")).assert_consumed()
    assert values(*optimizer.variables) == values(*optimizer_before.variables)
    assert values(*made.weights) == values(*before.weights)


def test_a_renamed_variable_takes_its_slots_names_along(saved, tmp_path):
    prefix, _, _ = saved
    edit(prefix).rename("net/body", "net/trunk").write(tmp_path / "out")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        called = set(checkpoint.paths().values())
        roles = checkpoint.roles()
    assert {"net/trunk/kernel", "adam/net_trunk_kernel_momentum", "net/head/kernel"} <= called
    assert not any("body" in name for name in called)
    assert sum(role.of is not None for role in roles.values()) == 8
    made, optimizer = fresh()
    tf.train.Checkpoint(net=made, optimizer=optimizer).read(str(tmp_path / "out")).assert_consumed()


def test_full_names_are_what_a_saver_of_a_graph_finds(saved, tmp_path):
    prefix, before, _ = saved
    edit(prefix).rename("net/body", "trunk").write(tmp_path / "out")
    expected = before.layers[0].kernel.numpy().tobytes()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        kernel = tf.compat.v1.get_variable("trunk/kernel", [4, 3])
        tf.compat.v1.train.Saver([kernel]).restore(session, str(tmp_path / "out"))
        assert session.run(kernel).tobytes() == expected


@pytest.mark.parametrize("drop", [["--strip"], ["optimizer"]])
def test_without_its_optimizer_a_model_restores_alone(saved, tmp_path, drop):
    prefix, before, _ = saved
    edited = edit(prefix).strip_optimizer() if drop == ["--strip"] else edit(prefix).drop(*drop)
    plan = edited.write(tmp_path / "out")
    assert {v.path for v in plan if v.action == "drop"} >= {"adam/iteration", "adam/net_body_kernel_momentum"}
    made = model()
    tf.train.Checkpoint(net=made).read(str(tmp_path / "out")).assert_consumed()
    assert values(*made.weights) == values(*before.weights)
    sound(tmp_path / "out")


def test_a_dropped_layer_is_no_object_any_more(tmp_path):
    first, second = Module(1), Module(2)
    prefix = tf.train.Checkpoint(first=first, second=second).write(str(tmp_path / "m"))
    edit(prefix).drop("second").write(tmp_path / "out")
    made = Module()
    tf.train.Checkpoint(first=made).read(str(tmp_path / "out")).assert_consumed()
    assert values(made.w, made.b) == values(first.w, first.b)
    edit(prefix).keep("second").write(tmp_path / "kept")
    tf.train.Checkpoint(second=made).read(str(tmp_path / "kept")).assert_consumed()
    assert values(made.w, made.b) == values(second.w, second.b)


def test_objects_change_places(tmp_path):
    first, second = Module(1), Module(2)
    prefix = tf.train.Checkpoint(first=first, second=second).write(str(tmp_path / "m"))
    swapped = edit(prefix).rename("first", "t").rename("second", "first").rename("t", "second")
    swapped.write(tmp_path / "out")
    a, b = Module(), Module()
    tf.train.Checkpoint(first=a, second=b).read(str(tmp_path / "out")).assert_consumed()
    assert values(a.w, a.b, b.w, b.b) == values(second.w, second.b, first.w, first.b)


def test_a_scope_moves_into_one_that_there_is(tmp_path):
    prefix = tf.train.Checkpoint(
        a=tf.train.Checkpoint(x=Module(1)), b=tf.train.Checkpoint(y=Module(2))
    ).write(str(tmp_path / "m"))
    edit(prefix).rename("a/x", "b/x").write(tmp_path / "out")
    x, y = Module(), Module()
    tf.train.Checkpoint(b=tf.train.Checkpoint(x=x, y=y)).read(str(tmp_path / "out")).assert_consumed()
    assert values(x.b, y.b) == values(Module(1).b, Module(2).b)
    with pytest.raises(UsageError, match="would both be called"):
        edit(prefix).rename("a/x", "b/y").write(tmp_path / "never")


def test_names_with_dots_and_slashes_are_found(tmp_path):
    tracked = tf.train.Checkpoint()
    tracked.d = {"a/b": Module(1), "c.d": Module(2)}
    prefix = tracked.write(str(tmp_path / "m"))
    edit(prefix).rename("d/a.Sb", "d/e.Sf").rename("d/c..d", "d/g..h").write(tmp_path / "out")
    other = tf.train.Checkpoint()
    other.d = {"e/f": Module(), "g.h": Module()}
    other.read(str(tmp_path / "out")).assert_consumed()
    assert values(other.d["e/f"].b, other.d["g.h"].b) == values(Module(1).b, Module(2).b)


def test_copies_are_objects_of_their_own(saved, tmp_path):
    prefix, before, _ = saved
    edit(prefix).copy("twin", "net").write(tmp_path / "out")
    made, optimizer = fresh()
    twin = model()
    root = tf.train.Checkpoint(net=made, twin=twin, optimizer=optimizer)
    root.read(str(tmp_path / "out")).assert_consumed()
    assert values(*twin.weights) == values(*made.weights) == values(*before.weights)


def test_values_are_set_and_cast_and_added(tmp_path):
    prefix = tf.train.Checkpoint(m=Module(1)).write(str(tmp_path / "m"))
    edit(prefix).set("m/b", "[5, 6]").cast("m/w", "float64").set("m/c", np.arange(3.0)).write(
        tmp_path / "out"
    )
    made = Module()
    made.w = tf.Variable(tf.zeros([3, 2], tf.float64))
    made.c = tf.Variable(tf.zeros([3], tf.float64))
    tf.train.Checkpoint(m=made).read(str(tmp_path / "out")).assert_consumed()
    assert made.b.numpy().tolist() == [5, 6]
    assert made.c.numpy().tolist() == [0, 1, 2]
    assert made.w.numpy().tolist() == Module(1).w.numpy().astype(np.float64).tolist()


OPTIMIZERS = ["adam", "adamw", "adagrad", "ftrl", "rmsprop", "adadelta", "nadam", "adamax", "lion", "sgd"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_start_with_their_variables_as_keras_starts_them(tmp_path, name):
    made, optimizer = trained(name)
    prefix = tf.train.Checkpoint(net=made, optimizer=optimizer).write(str(tmp_path / "m"))
    plan = plan_reinit(prefix, "net/head", init="ones")
    plan.write(tmp_path / "out")
    assert not any("unknown" in verdict.reason for verdict in plan)
    again, new = fresh(name)
    tf.train.Checkpoint(net=again, optimizer=new).read(str(tmp_path / "out")).assert_consumed()
    assert all((v.numpy() == 1).all() for v in again.layers[1].weights)
    assert values(*again.layers[0].weights) == values(*made.layers[0].weights)
    _, untouched = fresh(name)
    assert len(new.variables) == len(untouched.variables)
    for restored, start, before in zip(new.variables, untouched.variables, optimizer.variables, strict=True):
        expected = start if "head" in restored.path else before
        assert restored.numpy().tobytes() == expected.numpy().tobytes(), restored.path


def test_slots_that_the_object_graph_lists_follow_their_variable(tmp_path):
    def make():
        module = Module(3)
        optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
        return module, optimizer

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        module, optimizer = make()
        step = optimizer.minimize(tf.reduce_sum(module.w**2) + tf.reduce_sum(module.b**2))
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step)
        prefix = tf.compat.v1.train.Checkpoint(m=module, opt=optimizer).save(
            str(tmp_path / "m"), session=session
        )
        before = {n: session.run(optimizer.get_slot(v, n)) for n in ("m", "v") for v in [module.b]}
    with open_checkpoint(prefix) as checkpoint:
        slots = {n: r.of for n, r in checkpoint.roles().items() if r.kind == "slot"}
    assert len(slots) == 4
    edit(prefix).rename("m", "module").reinit("module/w", "ones").write(tmp_path / "out")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        module, optimizer = make()
        optimizer.minimize(tf.reduce_sum(module.w**2) + tf.reduce_sum(module.b**2))
        root = tf.compat.v1.train.Checkpoint(module=module, opt=optimizer)
        status = root.restore(str(tmp_path / "out"))
        status.assert_consumed().run_restore_ops(session)
        assert session.run(module.w).tolist() == np.ones((3, 2)).tolist()
        assert not session.run(optimizer.get_slot(module.w, "m")).any()
        for name, value in before.items():
            assert session.run(optimizer.get_slot(module.b, name)).tobytes() == value.tobytes()


def test_merged_objects_restore_together(tmp_path):
    a, b = Module(1), Module(2)
    one = tf.train.Checkpoint(a=a, step=tf.Variable(3)).write(str(tmp_path / "one"))
    two = tf.train.Checkpoint(b=b, step=tf.Variable(3)).write(str(tmp_path / "two"))
    plan = plan_merge(one, two)
    assert plan.ok
    plan.write(tmp_path / "out")
    ours, theirs, step = Module(), Module(), tf.Variable(0)
    tf.train.Checkpoint(a=ours, b=theirs, step=step).read(str(tmp_path / "out")).assert_consumed()
    assert values(ours.w, ours.b, theirs.w, theirs.b) == values(a.w, a.b, b.w, b.b)
    assert step.numpy() == 3
    sound(tmp_path / "out")


@pytest.mark.parametrize(("on_conflict", "number"), [("first", 1), ("last", 2)])
def test_of_objects_that_differ_one_is_taken(tmp_path, on_conflict, number):
    prefixes = [tf.train.Checkpoint(a=Module(i)).write(str(tmp_path / f"m{i}")) for i in (1, 2)]
    refused = plan_merge(*prefixes)
    assert {v.path for v in refused.problems} == {"a/w", "a/b"} or len(refused.problems) == 2
    plan_merge(*prefixes, on_conflict=on_conflict).write(tmp_path / "out")
    made = Module()
    tf.train.Checkpoint(a=made).read(str(tmp_path / "out")).assert_consumed()
    assert values(made.w, made.b) == values(Module(number).w, Module(number).b)


def test_models_with_optimizers_are_merged(tmp_path):
    prefixes, kept = [], []
    for name in ("x", "y"):
        made, optimizer = trained()
        kept.append((made, optimizer))
        root = tf.train.Checkpoint(**{name: made, f"{name}_optimizer": optimizer})
        prefixes.append(root.write(str(tmp_path / name)))
    plan_merge(*prefixes).write(tmp_path / "out")
    (x, ox), (y, oy) = fresh(), fresh()
    root = tf.train.Checkpoint(x=x, x_optimizer=ox, y=y, y_optimizer=oy)
    root.read(str(tmp_path / "out")).assert_consumed()
    for (made, optimizer), ours in zip(kept, [(x, ox), (y, oy)], strict=True):
        assert values(*ours[0].weights) == values(*made.weights)
        assert values(*ours[1].variables) == values(*optimizer.variables)


def test_averages_of_objects_restore(tmp_path):
    prefixes = [tf.train.Checkpoint(a=Module(i)).write(str(tmp_path / f"m{i}")) for i in (1, 2, 6)]
    plan_average(*prefixes).write(tmp_path / "out")
    made = Module()
    tf.train.Checkpoint(a=made).read(str(tmp_path / "out")).assert_consumed()
    assert made.b.numpy().tolist() == [3, 2]
    expected = np.mean([Module(i).w.numpy().astype(np.float64) for i in (1, 2, 6)], axis=0)
    np.testing.assert_allclose(made.w.numpy(), expected, rtol=6e-8)


class Wrapped(tf.Module):
    """A model some steps away from the root."""

    def __init__(self, made: keras.Model):
        super().__init__()
        self.inner = made


def test_models_of_other_paths_are_not_taken_for_one_by_their_optimizers(tmp_path):
    prefixes = []
    for name in ("gen", "disc"):
        made, optimizer = trained()
        root = tf.train.Checkpoint(**{name: Wrapped(made), "optimizer": optimizer})
        prefixes.append(root.write(str(tmp_path / name)))
    for on_conflict in ("error", "first", "last"):
        with pytest.raises(UsageError, match="optimizer/.* is not the object there") as refused:
            plan_merge(*prefixes, on_conflict=on_conflict)
        assert "--rename OBJECT=OTHER" in refused.value.hint
    for prefix in prefixes:
        edit(prefix).rename("optimizer", f"{prefix[-3:]}_optimizer").write(prefix + "2")
    plan_merge(*(prefix + "2" for prefix in prefixes)).write(tmp_path / "out")
    (g, og), (d, od) = fresh(), fresh()
    root = tf.train.Checkpoint(gen=Wrapped(g), disc=Wrapped(d), gen_optimizer=og, isc_optimizer=od)
    root.read(str(tmp_path / "out")).assert_existing_objects_matched()


def test_what_is_shared_in_one_and_not_in_the_other_cannot_be_merged(tmp_path):
    x, y = Module(1), Module(2)
    apart = tf.train.Checkpoint(n=tf.train.Checkpoint(x=x, y=y)).write(str(tmp_path / "apart"))
    shared = tf.train.Checkpoint(n=tf.train.Checkpoint(x=x, y=x)).write(str(tmp_path / "shared"))
    for pair in ((apart, shared), (shared, apart)):
        with pytest.raises(UsageError, match="n/y is not the object there"):
            plan_merge(*pair, on_conflict="last")


def test_objects_that_contain_themselves_are_joined(tmp_path):
    a, b = tf.train.Checkpoint(v=Module(1)), tf.train.Checkpoint(w=Module(2))
    a.me, b.me = a, b
    prefix = tf.train.Checkpoint(x=a, y=b).write(str(tmp_path / "m"))
    edit(prefix).rename("y", "x").write(tmp_path / "out")
    both = tf.train.Checkpoint(v=Module(), w=Module())
    both.me = both
    tf.train.Checkpoint(x=both).read(str(tmp_path / "out")).assert_consumed()
    assert values(both.v.b, both.w.b) == values(Module(1).b, Module(2).b)


def test_the_object_graph_itself_is_not_edited(saved):
    graph = "_CHECKPOINTABLE_OBJECT_GRAPH"
    for step in (lambda e: e.set(graph, "x"), lambda e: e.rename(graph, "x"), lambda e: e.drop(graph),
                 lambda e: e.cast(graph, "float32"), lambda e: e.keep(graph)):  # fmt: skip
        with pytest.raises(UsageError):
            step(edit(saved[0])).plan()


def test_a_gap_in_an_optimizers_list_is_said(saved):
    plan = edit(saved[0]).drop("net/body").plan()
    assert any("an optimizer finds what it keeps by number" in note for note in plan.notes)
    assert not any("by number" in note for note in edit(saved[0]).drop("net/head").plan().notes)


@pytest.mark.parametrize("name", ["a//b", "/a", "a/"])
def test_objects_have_names_at_every_step(saved, name):
    with pytest.raises(UsageError):
        edit(saved[0]).set(name, np.zeros(2)).plan()


def test_an_object_is_meant_by_any_way_that_leads_to_it(tmp_path):
    module = Module(1)
    root = tf.train.Checkpoint(a=module, z=tf.train.Checkpoint(again=module, other=Module(2)))
    prefix = root.write(str(tmp_path / "m"))
    dropped = edit(prefix).drop("z/again").plan()
    assert sorted(v.source for v in dropped if v.action == "drop") == [
        "a/b/.ATTRIBUTES/VARIABLE_VALUE", "a/w/.ATTRIBUTES/VARIABLE_VALUE",
    ]  # fmt: skip
    plan = edit(prefix).set("z/again/b", 7).plan()
    assert [v.name for v in plan if v.action == "constant"] == ["a/b/.ATTRIBUTES/VARIABLE_VALUE"]
    with pytest.raises(VariableNotFoundError):
        edit(prefix).drop("z/none")

"""Initializing variables of a graph: order, choice, copies, and proof."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tensorflow import tf
from tests.tensorflow.conftest import values_of
from toolkit import (
    MismatchError,
    ModelError,
    UsageError,
    VariableNotFoundError,
    initialize,
    list_variables,
    plan_initialize,
)
from toolkit.graph.variables import by_name, uninitialized

v1 = tf.compat.v1


def reading(variable):
    """An initial value that is computed from another variable's value."""
    return lambda: variable.read_value() * 2


def test_all_variables_are_initialized(session, variable):
    for name in ("a", "b"):
        variable(name)
    plan = initialize(session)
    assert plan.ok
    assert [(v.name, v.action, v.reason) for v in plan.verdicts] == [
        ("a", "initialize", "its initializer"), ("b", "initialize", "its initializer"),
    ]  # fmt: skip
    assert uninitialized(session, by_name(v1.global_variables())) == []


def test_chosen_variables_alone_are_initialized(session, variable):
    a, b = variable("a"), variable("b")
    initialize(session, [a])
    assert uninitialized(session, {"a": a, "b": b}) == ["b"]
    initialize(session, ["b"])
    assert uninitialized(session, {"a": a, "b": b}) == []


def test_initializing_again_draws_anew(session, variable):
    a = variable("a")
    initialize(session)
    before = session.run(a)
    initialize(session, [a])
    assert not np.array_equal(session.run(a), before)


def test_dependent_variables_wait_for_what_they_depend_on(session, use_resource):
    a = v1.get_variable("a", [3], initializer=v1.random_normal_initializer(), use_resource=use_resource)
    b = v1.get_variable("b", initializer=reading(a), use_resource=use_resource)
    v1.get_variable("c", initializer=reading(b), use_resource=use_resource)
    plan = plan_initialize()
    assert plan.waves() == [["a"], ["b"], ["c"]]
    # TensorFlow lets a reference variable's initial value fall back on what that is computed from
    assert plan["c"].reason == f"its initializer, computed from {'b' if use_resource else 'a, b'}"
    plan.apply(session)
    values = values_of(session)
    assert values["b"].tolist() == (values["a"] * 2).tolist()
    assert values["c"].tolist() == (values["a"] * 4).tolist()


def test_a_value_that_is_needed_and_missing_is_named(session, variable):
    a = variable("a")
    b = v1.get_variable("b", initializer=reading(a))
    with pytest.raises(ModelError) as missing:
        initialize(session, [b])
    assert missing.value.message == "b: its initial value is computed from a, which has no value"
    assert missing.value.hint == "initialize or restore a too"
    initialize(session, [a])
    initialize(session, [b])


def test_two_variables_over_one_random_tensor_start_from_one_draw(session, use_resource):
    drawn = tf.random.normal([3])
    a = v1.Variable(drawn, name="a", use_resource=use_resource)
    b = v1.Variable(drawn, name="b", use_resource=use_resource)
    initialize(session)
    assert session.run(a).tolist() == session.run(b).tolist()


def test_a_copy_of_the_initial_value_is_of_the_same_draw(session, variable):
    w, copy = variable("w"), variable("copy")
    plan = initialize(session, copies={copy: w})
    assert plan["copy"].reason == "starts as the initial value of w"
    assert session.run(copy).tolist() == session.run(w).tolist()


def test_a_copy_of_the_initial_value_of_what_has_one_is_refused(session, variable):
    w, copy = variable("w"), variable("copy")
    initialize(session, [w])
    before = session.run(w)
    with pytest.raises(ModelError) as refused:
        initialize(session, copies={copy: w})
    assert refused.value.message.startswith("w: is initialized already")
    assert refused.value.hint == 'copy its current value: copy_value="current"'
    assert session.run(w).tolist() == before.tolist()
    assert uninitialized(session, {"copy": copy}) == ["copy"]


def test_a_copy_of_the_current_value(session, variable):
    w, copy = variable("w"), variable("copy")
    initialize(session, [w])
    session.run(v1.assign(w, [1.0, 2.0, 3.0]))
    plan = initialize(session, copies={copy: w}, copy_value="current")
    assert plan["copy"].reason == "starts as the current value of w"
    assert session.run(copy).tolist() == [1, 2, 3]
    assert len(plan) == 1


@pytest.mark.parametrize("copy_value", ["initial", "current"])
def test_copies_of_copies(session, variable, copy_value):
    w, one, two = variable("w"), variable("one"), variable("two")
    initialize(session, [w, one, two] if copy_value == "initial" else [w], {two: one, one: w}, copy_value)
    values = values_of(session)
    assert values["w"].tolist() == values["one"].tolist() == values["two"].tolist()


def test_variables_can_be_named(session, variable):
    variable("net/w"), variable("copy")
    initialize(session, copies={"copy": "net/w:0"})
    values = values_of(session)
    assert values["copy"].tolist() == values["net/w"].tolist()
    with pytest.raises(VariableNotFoundError) as missing:
        initialize(session, ["net/v"])
    assert missing.value.suggestions == ("net/w",)


@pytest.mark.parametrize("copy_value", ["initial", "current"])
def test_copies_in_a_circle_are_refused_and_named(session, variable, copy_value):
    a, b = variable("a"), variable("b")
    with pytest.raises(ModelError, match="a -> b -> a|b -> a -> b"):
        initialize(session, copies={a: b, b: a}, copy_value=copy_value)


def test_a_copy_must_fit(session, variable):
    w, other = variable("w"), variable("other", (4,))
    with pytest.raises(MismatchError) as refused:
        initialize(session, copies={other: w})
    assert refused.value.message == "other: float32 (4,) cannot start as a copy of w, float32 (3,)"
    with pytest.raises(UsageError, match="copy_value: expected one of initial, current, got 'now'"):
        initialize(session, copies={other: w}, copy_value="now")


def test_nothing_is_added_to_the_graph(session, variable):
    w, copy = variable("w"), variable("copy")
    initialize(session, [w])
    uninitialized(session, {"w": w, "copy": copy})  # reference variables get an op here, once
    session.graph.finalize()
    initialize(session)
    initialize(session, copies={copy: w}, copy_value="current")
    assert uninitialized(session, {"w": w, "copy": copy}) == []


def test_a_finalized_graph_tells_what_is_uninitialized(session, variable):
    w, other = variable("w"), variable("other")
    session.graph.finalize()
    assert uninitialized(session, {"w": w, "other": other}) == ["w", "other"]
    initialize(session, [w])
    assert uninitialized(session, {"w": w, "other": other}) == ["other"]


def test_checking_again_and_again_does_not_grow_the_graph(session, variable):
    w = variable("w")
    uninitialized(session, {"w": w})
    before = len(session.graph.get_operations())
    for _ in range(3):
        uninitialized(session, {"w": w})
        list_variables(session=session)
    assert len(session.graph.get_operations()) == before


def test_listing_tells_what_a_variable_is(session, variable):
    a = variable("a", (2, 3))
    v1.get_variable("b", initializer=reading(a), trainable=False)
    initialize(session, [a])
    found = list_variables(session=session)
    assert [(v.name, v.dtype.name, v.shape, v.trainable, v.initialized, v.depends_on) for v in found] == [
        ("a", "float32", (2, 3), True, True, ()),
        ("b", "float32", (2, 3), False, False, ("a",)),
    ]
    assert found[0].variable is a
    assert [v.initialized for v in list_variables()] == [None, None]


def test_a_failing_initializer_is_an_error_with_its_reason(session):
    with tf.control_dependencies([v1.Assert(False, ["no value today"])]):
        value = tf.identity(1.0)
    v1.Variable(value, name="a", use_resource=True)
    with pytest.raises(ModelError, match="an initializer failed: "):
        initialize(session)


def test_two_variables_of_one_name_are_refused(graph):
    a = v1.Variable(1.0, name="a", use_resource=True)
    with pytest.raises(ModelError, match="two variables of the graph have this name"):
        with v1.Graph().as_default():
            other = v1.Variable(1.0, name="a", use_resource=True)
        by_name([a, other])


def test_a_partitioned_variable_is_one(session, use_resource):
    with v1.variable_scope("net", partitioner=v1.fixed_size_partitioner(3), use_resource=use_resource):
        w = v1.get_variable("w", [5, 2])
    twice = v1.get_variable("twice", [5, 2], use_resource=use_resource)
    plan = initialize(session, copies={"twice": "net/w"})
    assert [v.name for v in plan.verdicts] == ["net/w", "twice"]
    assert plan["net/w"].shape == (5, 2)
    values = session.run(w.as_tensor())
    assert values.any()
    assert session.run(twice).tobytes() == values.tobytes()
    assert [(v.name, v.shape, v.initialized) for v in list_variables(session=session)] == [
        ("net/w", (5, 2), True),
        ("twice", (5, 2), True),
    ]


def test_local_variables_and_tables_are_listed_and_initialized(session):
    v1.get_variable("w", [2])
    count = v1.get_local_variable("count", [], initializer=v1.ones_initializer())
    keys = v1.constant(["a", "b"])
    v1.lookup.StaticHashTable(
        v1.lookup.KeyValueTensorInitializer(keys, v1.constant([3.0, 4.0])), 0.0, name="t"
    )
    initialize(session)
    assert session.run(count) == 1
    assert [(v.name, v.collection, v.trainable, v.initialized) for v in list_variables(session=session)] == [
        ("w", "variables", True, True),
        ("count", "local_variables", False, True),
        ("t", "table_initializer", False, None),
    ]


def test_two_of_one_name_among_parts_are_refused(graph):
    with v1.variable_scope("net", partitioner=v1.fixed_size_partitioner(2)):
        v1.get_variable("w", [4, 2])
    graph.unique_name("net")
    v1.Variable(0.0, name="net/w")
    with pytest.raises(ModelError, match="net/w: two variables of the graph have this name"):
        list_variables()


def test_what_is_no_variable_among_the_graphs_variables_is_refused(graph):
    graph.add_to_collection(v1.GraphKeys.GLOBAL_VARIABLES, "junk")
    with pytest.raises(ModelError, match="among the graph's variables, but none"):
        list_variables()


def test_an_initial_value_may_come_from_a_lookup_table(graph):
    keys = v1.constant(["a", "b"])
    table = v1.lookup.StaticHashTable(v1.lookup.KeyValueTensorInitializer(keys, v1.constant([3.0, 4.0])), 0.0)
    variable = v1.Variable(table.lookup(v1.constant(["b", "a"])), name="looked_up")
    with v1.Session() as session:
        initialize(session)
        assert session.run(variable).tolist() == [4.0, 3.0]

from typing import NamedTuple

import pytest

from toolkit import dtypes
from toolkit.dtypes import DType
from toolkit.roles import Role, assign, followers, initial_slot_value


class Thing(NamedTuple):
    shape: tuple[int, ...] = (3,)
    dtype: DType = dtypes.BY_NAME["float32"]


def roles(*names: str, **shaped: tuple[int, ...]) -> dict[str, Role]:
    return assign({**{name: Thing() for name in names}, **{n: Thing(s) for n, s in shaped.items()}})


@pytest.mark.parametrize(
    ("slot", "owner"),
    [
        ("net/w/Adam", "net/w"),
        ("net/w/Adam_1", "net/w"),
        ("net/w/my", "net/w"),  # an optimizer with a name of its own
        ("net/w/my_1", "net/w"),
        ("training/net/w/Adam", "net/w"),  # made in a scope
        ("a/b/training/net/w/Momentum", "net/w"),
        ("w/Adam", "w"),
        ("net/w2/Adam", None),
        ("net/w", None),
        ("net/wide/Adam", None),
    ],
)
def test_a_slot_is_named_after_its_variable(slot, owner):
    found = roles("net/w", "w", slot)[slot]
    assert found == (Role("slot", owner) if owner else Role("weight"))


def test_the_longest_suffix_that_is_a_variable_is_the_owner():
    found = roles("w", "net/w", "training/net/w/Adam")
    assert found["training/net/w/Adam"] == Role("slot", "net/w")
    assert roles("w", "training/net/w/Adam")["training/net/w/Adam"] == Role("slot", "w")


def test_a_slot_has_the_shape_of_its_variable():
    found = assign(
        {"w": Thing((3,)), "w/Adam": Thing((4,)), "net/w": Thing((4,)), "s/net/w/Adam": Thing((3,))}
    )
    assert found["w/Adam"] == Role("weight")
    assert found["s/net/w/Adam"] == Role("slot", "w")  # not of net/w, whose shape is another


def test_moving_averages_are_told_from_slots():
    found = roles("w", "w/ExponentialMovingAverage", "avg/w/ExponentialMovingAverage_1", "w/Exponential")
    assert found["w/ExponentialMovingAverage"] == Role("moving_average", "w")
    assert found["avg/w/ExponentialMovingAverage_1"] == Role("moving_average", "w")
    assert found["w/Exponential"] == Role("slot", "w")


def test_counters_are_whole_scalars_and_beta_powers():
    found = assign(
        {
            "global_step": Thing((), dtypes.BY_NAME["int64"]),
            "training/beta1_power": Thing(()),
            "beta2_power_1": Thing(()),
            "temperature": Thing(()),
            "vocabulary_size": Thing((1,), dtypes.BY_NAME["int64"]),
        }
    )
    assert [role.kind for role in found.values()] == ["counter", "counter", "counter", "weight", "weight"]


def test_keys_of_object_based_checkpoints():
    key = "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    slot = "layer/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"
    graph = Thing((), dtypes.BY_NAME["string"])
    found = assign({key: Thing(), slot: Thing(), "_CHECKPOINTABLE_OBJECT_GRAPH": graph})
    assert found == {
        key: Role("weight"),
        slot: Role("slot", key),
        "_CHECKPOINTABLE_OBJECT_GRAPH": Role("metadata"),
    }


def test_followers_are_grouped_by_their_variable():
    assert followers(roles("w", "w/Adam", "w/Adam_1", "v")) == {"w": ["w/Adam", "w/Adam_1"]}


@pytest.mark.parametrize(
    ("slot", "value", "known"),
    [
        ("w/Adam", 0, True),
        ("w/Adagrad", 0.1, True),
        ("training/w/Ftrl", 0.1, True),
        ("w/Ftrl_1", 0, True),
        ("w/RMSProp", 1, True),
        ("w/RMSProp_1", 0, True),
        ("w/mine", 0, False),
        ("w/Adam_2", 0, False),
    ],
)
def test_slots_start_as_their_optimizer_starts_them(slot, value, known):
    assert initial_slot_value(slot) == (value, known)


SCALAR = Thing(())


@pytest.mark.parametrize(
    "name",
    [
        "RMSprop/decay", "RMSprop/learning_rate", "RMSprop/rho", "RMSprop/momentum", "SGD/momentum", "Adam/beta_1",
        "Adam/beta_2", "Adam_1/decay", "training/Adam/lr", "adam/learning_rate", "rm_sprop_1/learning_rate",
        "optimizer/learning_rate", "AdamW/weight_decay", "nadam/variable", "Nadam/momentum_cache",
        "Ftrl/l1_regularization_strength", "loss_scale_optimizer/dynamic_scale", "current_loss_scale",
        "learning_rate", "RectifiedAdam/sma_threshold", "adam/iteration",
    ],
)  # fmt: skip
def test_the_numbers_of_an_optimizer_are_no_weights(name):
    assert assign({"w": Thing(), name: SCALAR})[name].kind == "counter"


@pytest.mark.parametrize(
    "name", ["decay", "rnn/decay", "mixer/momentum", "head/beta_1", "temperature", "adam/scale"]
)
def test_a_scalar_of_a_layer_is_a_weight(name):
    assert assign({"w": Thing(), name: SCALAR})[name].kind == "weight"


@pytest.mark.parametrize("scope", ["", "net/"])
@pytest.mark.parametrize(
    "slot",
    [
        "Adam/m/{}", "Adam/v/{}", "training/Adam/m/{}", "rm_sprop_1/{flat}_velocity", "adam/{flat}_momentum",
        "SGD/m/{}", "optimizer/{flat}_momentum",
    ],
)  # fmt: skip
def test_what_keras_optimizers_keep_is_told_by_its_flat_name(scope, slot):
    owner = f"{scope}dense/kernel"
    name = slot.format(owner, flat=owner.replace("/", "_"))
    found = assign({owner: Thing(), name: Thing(), "other": Thing((4,))})
    assert found == {owner: Role("weight"), name: Role("slot", owner), "other": Role("weight")}
    average = f"adam/{owner.replace('/', '_')}_average"
    assert assign({owner: Thing(), average: Thing()})[average] == Role("moving_average", owner)


def test_a_model_in_a_scope_that_is_called_after_an_optimizer_has_weights():
    """Two networks to compare optimizers, and a third beside them."""
    names = ["adam/dense/kernel", "sgd/dense/kernel", "dense/kernel", "adam/dense/bias"]
    assert {role.kind for role in roles(*names).values()} == {"weight"}


@pytest.mark.parametrize("scope", ["", "metrics/mean/"])
@pytest.mark.parametrize("number", ["", "_1"])
def test_what_a_mean_sums_up_is_a_metric(scope, number):
    total, count = f"{scope}total{number}", f"{scope}count{number}"
    found = roles("net/w", **{total: (), count: ()})
    assert found[total] == found[count] == Role("metric")
    assert roles(**{total: ()})[total] == roles(total, count)[total] == Role("weight")  # alone; no scalars

import pytest

from toolkit import UsageError, VariableNotFoundError
from toolkit.renaming import parse, read_rules, rename
from toolkit.roles import Role

ROLES = {
    "net/b": Role("weight"),
    "net/w": Role("weight"),
    "net/w/Adam": Role("slot", "net/w"),
    "net/w/Adam/Deep": Role("slot", "net/w/Adam"),
    "net2/w": Role("weight"),
    "training/net/w/Adam_1": Role("slot", "net/w"),
}


def renamed(*rules: str) -> dict[str, str]:
    names = rename(ROLES, read_rules(rules), where="here")
    assert list(names) == list(ROLES)
    return {old: new for old, new in names.items() if old != new}


def test_a_scope_moves_with_all_under_it_and_its_slots():
    assert renamed("net=backbone/x") == {
        "net/b": "backbone/x/b",
        "net/w": "backbone/x/w",
        "net/w/Adam": "backbone/x/w/Adam",
        "net/w/Adam/Deep": "backbone/x/w/Adam/Deep",
        "training/net/w/Adam_1": "training/backbone/x/w/Adam_1",
    }


def test_a_variable_takes_its_slots_along():
    assert renamed("net/w=v") == {
        "net/w": "v",
        "net/w/Adam": "v/Adam",
        "net/w/Adam/Deep": "v/Adam/Deep",
        "training/net/w/Adam_1": "training/v/Adam_1",
    }


def test_a_slot_can_be_renamed_alone():
    assert renamed("net/w/Adam=net/w/m") == {"net/w/Adam": "net/w/m", "net/w/Adam/Deep": "net/w/m/Deep"}


def test_regular_expressions_rename_with_groups():
    assert renamed(r"re:^net(\d)/(.*)=layer_\1/\2") == {"net2/w": "layer_2/w"}
    assert renamed("re:(?=w)w$=v")["training/net/w/Adam_1"] == "training/net/v/Adam_1"


def test_rules_apply_in_order_to_the_names_as_they_are_then():
    assert renamed("net=a", "a/w=a/v")["training/net/w/Adam_1"] == "training/a/v/Adam_1"
    assert renamed("net/w=x", "net2/w=net/w", "x=net2/w")["net/w"] == "net2/w"


def test_keys_of_object_based_checkpoints_take_their_slots_along():
    key, slot = (f"{k}/.ATTRIBUTES/VARIABLE_VALUE" for k in ("a/w", "a/w/.OPTIMIZER_SLOT/o/m"))
    names = rename({key: Role("weight"), slot: Role("slot", key)}, [("a", "b")], where="here")
    assert names[slot] == "b/w/.OPTIMIZER_SLOT/o/m/.ATTRIBUTES/VARIABLE_VALUE"


def test_two_variables_of_one_name_are_refused():
    with pytest.raises(UsageError, match="net/w and net2/w would both be called net2/w"):
        renamed("net/w=net2/w")


def test_what_matches_nothing_is_an_error():
    with pytest.raises(VariableNotFoundError, match="no variable matches 'nett'"):
        renamed("nett=x")


@pytest.mark.parametrize("rule", ["net", "=x", "net=", "re:=x", "re:net", ""])
def test_reject_what_is_no_rename(rule):
    with pytest.raises(UsageError, match="not a rename"):
        parse(rule)


@pytest.mark.parametrize("rule", [r"re:net/w=\9", "re:(=x", "re:.*="])
def test_reject_regular_expressions(rule):
    with pytest.raises(UsageError):
        renamed(rule)
    with pytest.raises(UsageError, match="leaves nothing of the name"):
        rename(ROLES, [("re:.*", "")], where="here")

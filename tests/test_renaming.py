import pytest

from toolkit import UsageError, VariableNotFoundError
from toolkit.renaming import OldNew, add_scope, parse, read_rules, rename, strip_scope
from toolkit.roles import Role

ROLES = {
    "net/b": Role("weight"),
    "net/w": Role("weight"),
    "net/w/Adam": Role("slot", "net/w"),
    "net/w/Adam/Deep": Role("slot", "net/w/Adam"),
    "net2/w": Role("weight"),
    "training/net/w/Adam_1": Role("slot", "net/w"),
}


def renamed(*rules) -> dict[str, str]:
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


def test_a_regular_expression_replaces_once():
    assert renamed(r"re:(.*)=enc/\1")["net/b"] == "enc/net/b"
    assert renamed("re:[a-z]=X")["net/b"] == "Xet/b"


def test_slots_follow_the_variable_that_a_regular_expression_finds():
    names = renamed(r"re:(.*)=enc/\1")
    assert names["training/net/w/Adam_1"] == "training/enc/net/w/Adam_1"
    assert renamed(r"re:^(.*)$=\1_1")["net/w/Adam"] == "net/w_1/Adam"


def test_an_expression_that_matches_nothing_but_between_characters_is_refused():
    with pytest.raises(UsageError, match="matches no character of any name"):
        renamed("re:^=enc/")
    names = rename({"": Role("weight")}, read_rules("re:^$=first"), where="here")
    assert names == {"": "first"}


@pytest.mark.parametrize("rule", ["net/w=a//w", "re:^net/(w)$=a/", "re:w$=x/", "re:^net=/net"])
def test_a_name_with_an_empty_segment_is_refused(rule):
    with pytest.raises(UsageError, match="which has an empty segment"):
        renamed(rule)


def test_an_empty_segment_that_was_there_may_stay():
    roles = {"a//w": Role("weight"), "b/": Role("weight")}
    names = rename(roles, read_rules(["re:^a=c", "re:^b=d"]), where="here")
    assert names == {"a//w": "c//w", "b/": "d/"}


def test_a_scope_is_added_to_all_and_taken_off_again():
    added = rename(ROLES, [add_scope("enc")], where="here")
    assert added["net/b"] == "enc/net/b"
    assert added["training/net/w/Adam_1"] == "training/enc/net/w/Adam_1"
    roles = {added[name]: Role(role.kind, added.get(role.of)) for name, role in ROLES.items()}
    stripped = rename(roles, [strip_scope("enc/")], where="here")
    assert {name: stripped[new] for name, new in added.items()} == {name: name for name in ROLES}


def test_a_scope_with_a_backslash_is_added_as_it_is():
    assert rename({"w": Role("weight")}, [add_scope(r"a\1")], where="here") == {"w": r"a\1/w"}


def test_a_scope_under_which_nothing_lies_is_named():
    with pytest.raises(VariableNotFoundError, match="no variable matches 'nett'"):
        rename(ROLES, [strip_scope("nett")], where="here")
    with pytest.raises(UsageError, match=r"strip_scope='net': .* would both be called"):
        rename({"net/w": Role("weight"), "w": Role("weight")}, [strip_scope("net")], where="here")


@pytest.mark.parametrize("scope", ["", "/", 3, None])
def test_reject_what_is_no_scope(scope):
    for make in (add_scope, strip_scope):
        with pytest.raises(UsageError, match="expected a scope"):
            make(scope)


def test_rules_apply_in_order_to_the_names_as_they_are_then():
    assert renamed("net=a", "a/w=a/v")["training/net/w/Adam_1"] == "training/a/v/Adam_1"
    assert renamed("net/w=x", "net2/w=net/w", "x=net2/w")["net/w"] == "net2/w"


def test_rules_and_functions_apply_in_one_list():
    assert (
        renamed(lambda name: name.replace("net/", "a/"), "a/w=a/v")["training/net/w/Adam_1"]
        == "training/a/v/Adam_1"
    )


def test_keys_of_object_based_checkpoints_take_their_slots_along():
    key, slot = (f"{k}/.ATTRIBUTES/VARIABLE_VALUE" for k in ("a/w", "a/w/.OPTIMIZER_SLOT/o/m"))
    names = rename({key: Role("weight"), slot: Role("slot", key)}, [OldNew("a", "b")], where="here")
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
        rename(ROLES, [OldNew("re:.*", "")], where="here")

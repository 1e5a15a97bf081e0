from hypothesis import given
from hypothesis import strategies as st

from toolkit import names


def test_printable_escapes_what_a_terminal_would_act_on():
    assert names.printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert names.printable("a\u202eb\u200bc") == "a\\u202eb\\u200bc"
    assert names.printable("a\nb\tc\0") == "a\\nb\\tc\\x00"
    assert names.printable("head/kernel é 漢") == "head/kernel é 漢"


def test_a_name_that_is_not_utf8_comes_back_and_can_be_shown():
    name = names.decode_name(b"w\xff")
    assert names.encode_name(name) == b"w\xff"
    assert names.printable(name) == "w\\udcff"


def test_parents_are_the_scopes_innermost_first():
    assert names.parents("a/b/c") == ["a/b", "a"]
    assert names.parents("a") == []


def test_paths_below_a_variable_are_escaped():
    assert names.to_path("conv1/kernel") == "conv1/kernel"
    assert names.to_path("conv1/kernel/Adam", above="conv1/kernel") == "conv1/kernel%2FAdam"
    assert names.to_path("w/a/b", above="w") == "w%2Fa%2Fb"


def test_what_hdf5_would_normalize_is_escaped():
    assert names.to_path("a//b") == "a/%/b"
    assert names.to_path("/abs") == "%/abs"
    assert names.to_path("./c/..") == "%2E/c/%2E%2E"
    assert names.to_path("50%\0") == "50%25%00"


segments = st.text(st.characters(codec="utf-8") | st.sampled_from("/%.\0"), max_size=12)


@given(segments | st.binary(max_size=8).map(names.decode_name), st.integers(0, 5))
def test_a_path_gives_its_name_back(name, depth):
    scopes = names.parents(name)
    above = scopes[depth] if depth < len(scopes) else None
    path = names.to_path(name, above=above)
    assert names.from_path(path) == name
    assert "\0" not in path
    assert not {"", ".", ".."} & set(path.split("/"))


def test_nearest_prefers_the_same_end():
    known = ["net/head/kernel", "head/kernels", "tail/bias"]
    assert names.nearest("head/kernel", known)[:2] == ["net/head/kernel", "head/kernels"]
    assert names.nearest("zzz", known) == []


def test_nearest_over_many_names_looks_at_related_ones():
    known = [f"scope{i}/var{i}" for i in range(5000)] + ["scope/kernel"]
    assert names.nearest("scop/kernel", known) == ["scope/kernel"]

"""Hints: what they name exists, can be pasted, and does not end where it began."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import toolkit
from tests.conftest import VALID, write_bundle
from toolkit.cli.app import app
from toolkit.roles import Role
from toolkit.selection import matching, not_found
from toolkit.wording import in_python

PACKAGE = Path(toolkit.__file__).parent
OPTIONS = {
    name: {option for parameter in command.params for option in parameter.opts}
    for name, command in typer.main.get_command(app).commands.items()
}
EVERY_OPTION = set().union(*OPTIONS.values())
_OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z0-9-]+)")


def texts():
    """Yield every text of the package that is no documentation, `{}` for what is filled in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "urls.py":
            continue  # its commands are other programs'
        tree = ast.parse(path.read_text("utf-8"))
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        }
        loose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}  # below constants
        inside = {
            id(value) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for value in ast.walk(n)
        } - {id(n) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)}
        for node in ast.walk(tree):
            if id(node) in documentation | loose | inside:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
                yield path, node.lineno, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.lineno, node.value


def test_every_option_that_a_text_names_exists():
    """Of a command in backquotes that command has it; every other option some command has."""
    seen = 0
    for path, line, text in texts():
        for command in re.findall(r"`ckpt ([a-z]+)([^`]*)`", text):
            assert command[0] in OPTIONS, f"{path}:{line}: {text}"
            for option in _OPTION.findall(command[1]):
                assert option in OPTIONS[command[0]], f"{path}:{line}: {text}"
        for option in _OPTION.findall(re.sub(r"`[^`]*`", "", text)):
            seen += 1
            assert option in EVERY_OPTION | {
                "--help",
                "--version",
                "--install-completion",
                "--show-completion",
            }, f"{path}:{line}: {text}"
    assert seen > 80


def test_commands_in_hints_stand_in_backquotes():
    """Then they stay as they are where options are put into Python's words."""
    for path, line, text in texts():
        if (
            re.search(r"(?<![`/\w.-])ckpt [a-z]+ ", text)
            and path.parent.name not in ("cli", "render")
            and "then ckpt export {}" not in text  # a line to be typed, made of several
        ):
            command = re.search(r"(?<![`/\w.-])ckpt ([a-z]+) ", text)[1]
            assert command not in OPTIONS, f"{path}:{line}: {text}"


def test_hints_are_written_as_they_are_typed():
    """`--force`, which Python's words are made of, and never `force=True`, which no shell takes."""
    arguments = {option[2:].replace("-", "_") for option in EVERY_OPTION if option.startswith("--")}
    for path, line, text in texts():
        for name in re.findall(r"(?<![\w-])([a-z_]+)=(?:True|False)\b", text):
            assert name not in arguments, f"{path}:{line}: {text}"


@pytest.mark.parametrize(
    ("typed", "python"),
    [
        ("--force replaces it, or choose another name", "force=True replaces it, or choose another name"),
        ("--on-shape init starts it afresh, --on-shape overlap copies", "on_shape='init' starts it afresh, on_shape='overlap' copies"),
        (r"--rename 're:^(.*)$=net/\1' finds it", r"rename='re:^(.*)$=net/\\1' finds it"),
        ("--rename net=body --rename head=top --on-missing init", "rename=['net=body', 'head=top'], on_missing='init'"),
        ("leave it out with --exclude 'a b', or choose", "leave it out with exclude='a b', or choose"),
        ("leave --compress out", "leave compress out"),
        ("--cast converts it", "cast=True converts it"),
        ("write PATTERN=DTYPE: --cast 'net/**=bfloat16'", "write PATTERN=DTYPE: cast='net/**=bfloat16'"),
        ("(--reinit global_step resets it)", "(reinit='global_step' resets it)"),
        ("`ckpt export CKPT OUT --to-tf1` makes one; --check", "`ckpt export CKPT OUT --to-tf1` makes one; check=True"),
        ("give it with --init constant:VALUE; a power", "give it with init='constant:VALUE'; a power"),
        (r"--exclude 'it'\''s'", 'exclude="it\'s"'),
        ("a/b--c stays, and so does --dry-run", "a/b--c stays, and so does --dry-run"),
        ("--strip-scope net: a and b would be one", "strip_scope='net': a and b would be one"),
        ("no options", "no options"),
    ],
)  # fmt: skip
def test_options_in_pythons_words(typed, python):
    assert in_python(typed) == python


@given(
    st.dictionaries(
        st.sampled_from(["rename", "exclude"]),
        st.lists(st.text("ab=:'\" \\/*^$", min_size=1), min_size=1, max_size=3),
        min_size=1,
    )
)
def test_what_a_shell_would_hand_on_is_what_python_is_given(options):
    """A line of options that was quoted for a shell is the call with the same values."""
    typed = " ".join(
        f"--{name} {shlex.quote('x=' + value)}" for name, values in options.items() for value in values
    )
    given_to = eval(f"dict({in_python(typed)})")
    for name, values in options.items():
        found = given_to[name]
        assert (found if isinstance(found, list) else [found]) == ["x=" + value for value in values]


NAMES = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@st.composite
def variables(draw):
    roles = {name: Role("weight") for name in draw(st.lists(NAMES, min_size=1, max_size=6))}
    for name in draw(st.lists(NAMES, max_size=3)):
        roles.setdefault(f"{name}/Adam", Role("slot", name))
    return roles


@given(variables(), st.text("ab/*?[]", min_size=1, max_size=7), st.booleans())
def test_every_pattern_that_is_suggested_matches(roles, text, globs):
    """No hint leads to the same error again."""
    try:
        matching(roles, [text], where="m")
    except toolkit.VariableNotFoundError as error:
        for pattern in error.suggestions:
            assert matching(roles, [pattern], where="m")
    except toolkit.UsageError:
        return
    refused = not_found(text, roles, where="m", globs=globs)
    for pattern in [*refused.suggestions, *re.findall(r"'([^']+)'", refused.hint.partition("no glob: ")[2])]:
        if globs or pattern.startswith("re:"):
            assert matching(roles, [pattern], where="m")
        else:
            assert any(name == pattern or name.startswith(pattern + "/") for name in roles)


@pytest.mark.parametrize("prefix", ["perceptron/model.ckpt-3", "objects/model"])
@pytest.mark.parametrize(
    "text", ["**/**", "**", "he*", "head/*", "net/**", "ne", "kernal", "adam/*", "x[0]", "?", "re:^hxad"]
)
def test_the_hint_of_a_rename_or_copy_does_what_it_says(prefix, text):
    edited = toolkit.edit(VALID / prefix)
    for call in (lambda old: edited.rename(old, "new"), lambda old: edited.copy("new", old)):
        with pytest.raises(toolkit.VariableNotFoundError) as refused:
            call(text)
        assert text not in refused.value.suggestions
        for pattern in refused.value.suggestions:
            try:
                call(pattern)
            except toolkit.VariableNotFoundError as error:
                pytest.fail(f"{text} -> {pattern}: {error}")
            except toolkit.UsageError:
                pass  # it matches, and two would have one name


def test_a_glob_that_is_renamed_is_told_the_expression_that_means_the_same():
    with pytest.raises(toolkit.VariableNotFoundError) as refused:
        toolkit.edit(VALID / "perceptron/model.ckpt-3").rename("head/*", "top")
    assert refused.value.hint == "this is a name, a scope or re:…, no glob: 're:^head/[^/]*$' means the same"


@pytest.fixture
def files(tmp_path, trained):
    """Files that commands stumble over, by name."""
    other = write_bundle(tmp_path / "other", {"head/kernel": np.zeros((2, 2), "f"), "x": np.zeros(3)})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["w"] = np.zeros(3)
    (tmp_path / "exists.index").write_bytes(b"x")
    (tmp_path / "text.txt").write_text("hello")
    return {"M": trained, "OTHER": other, "H5": str(tmp_path / "x.h5"), "OBJECTS": str(VALID / "objects/model"),
            "EXISTS": str(tmp_path / "exists"), "OUT": str(tmp_path / "out"), "DIR": str(tmp_path / "run"),
            "TEXT": str(tmp_path / "text.txt")}  # fmt: skip


FAILING = """
inspect TEXT
inspect M nope
inspect M head/* -x nope
inspect DIR/nope
reinit M head -o EXISTS
reinit M head -o M
reinit M head --init he_nomal -o OUT
reinit M head --init orthogonal:3 -o OUT
reinit M global_step --init he_normal -o OUT
reinit M beta1_power -o OUT
reinit M head --init checkpoint:OTHER -o OUT
reinit M head/kernel --init from:head/bias -o OUT
reinit M head
edit M --drop nope -o OUT
edit M --drop ** -o OUT
edit M --rename nope=x -o OUT
edit M --rename head/*=x -o OUT
edit M --rename conv1=conv10 -o OUT
edit M --rename conv1 -o OUT
edit M --cast **=float99 -o OUT
edit M --cast global_step=int8 -o OUT
edit M --cast head=int8 -o OUT
edit M --cast head -o OUT
edit M --set head/kernel=x -o OUT
edit M --set nope=3 -o OUT
edit M --set head/kernel=[1,2] -o OUT
edit M --copy conv1/kernel=head/kernel -o OUT
edit M --clip -o OUT
edit M --keep-meta -o OUT
edit OBJECTS --drop _CHECKPOINTABLE_OBJECT_GRAPH -o OUT
edit M --drop head -o EXISTS
merge M OTHER -o OUT
merge M -o OUT
merge M OBJECTS -o OUT
merge M M -o EXISTS
average M OTHER -o OUT
average M M --last 3 -o OUT
average M M --weights 1 -o OUT
average M M --weights a,b -o OUT
average DIR --last 99 -o OUT
export M OUT
export M OUT.npz --stats
export M OUT.npz --layout keras
export M OUT.safetensors --compress gzip
export M OUT.h5 --max-shard-size 5MB
export M OUT.h5 --cast head
export M OUT.h5 --cast **=float99
export M OUT.weights.h5
export M H5
import H5 -o EXISTS
import H5 --to-tf2 -o OUT
import H5 --object-graph-from M -o OUT
import H5 -o OUT --rename nope=x
import H5
prune DIR --keep 1 --keep-best 2
prune DIR --keep 0
prune M --keep 1
latest M
log M
repair M
"""


@pytest.mark.parametrize("line", FAILING.strip().splitlines())
def test_what_a_command_hints_at_it_has(files, ckpt, line):
    """An option in the hint of a command is that command's, or of the one that it names."""
    words = [
        re.sub(r"\b[A-Z][A-Z0-9]*\b(?!\.)|\bOUT\b", lambda found: files[found[0]], word)
        for word in line.split()
    ]
    ran = ckpt(*words)
    assert ran.code in (1, 2), ran
    told = ran.err.splitlines()
    assert told[-1 if ran.code == 2 else 0], ran
    hints = [text for text in told if text.startswith("hint: ")]
    assert hints or ran.code == 1 or "expected" in ran.err, ran
    for hint in hints:
        assert not re.search(r"\b[a-z_]+=(True|False|None)\b", hint)
        command = words[0]
        for quoted, plain in re.findall(r"(`ckpt [^`]*`)|([^`]+)", hint):
            if quoted:
                named = quoted.split()[1].strip("`")
                assert set(_OPTION.findall(quoted)) <= OPTIONS[named], hint
            else:
                assert set(_OPTION.findall(plain)) <= OPTIONS[command], hint

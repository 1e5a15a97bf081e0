"""Whatever is given to a public function, what comes back is a result or an error of the toolkit's."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import toolkit
from toolkit import CheckpointError, UsageError

WRONG = (
    5,
    None,
    1.5,
    b"x",
    object(),
    "no such",
    "",
    ["x", 5],
    {"a": 5},
    {"a"},
    True,
    -1,
    float("nan"),
    "a\0b",
    [[]],
)
"""Values that are wrong for most arguments: none of them may be an error from the inside."""

FUNCTIONS = {
    "edit": {},
    "export": {"out": "OUT.h5"},
    "import_checkpoint": {"prefix": "OUT"},
    "inspect": {},
    "latest": {"directory": "DIR"},
    "list_variables": {},
    "log": {"directory": "DIR"},
    "open_checkpoint": {},
    "plan_average": {},
    "plan_export": {},
    "plan_import": {},
    "plan_merge": {},
    "plan_prune": {"directory": "DIR", "keep": 1},
    "plan_reinit": {"patterns": ["head"]},
    "plan_repair": {"directory": "DIR"},
}
FIRST = {"checkpoint", "checkpoints", "path", "source", "target"}


def arguments_of(name, trained, tmp_path):
    """Return good arguments for a function: by place, and by name."""
    given = dict(FUNCTIONS[name])
    for key, value in given.items():
        if isinstance(value, str):
            given[key] = trained.rpartition("/")[0] if value == "DIR" else str(tmp_path / value)
    first = next(iter(inspect.signature(getattr(toolkit, name)).parameters))
    return (
        [trained, trained] if name in ("plan_merge", "plan_average") else [trained] * (first in FIRST)
    ), given


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_no_nonsense(trained, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(toolkit, name)
    by_place, by_name = arguments_of(name, trained, tmp_path)
    by_name |= {"sync": False} if "sync" in inspect.signature(function).parameters else {}
    function(*by_place, **by_name)
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        for value in WRONG:
            args, kwargs = (
                list(by_place),
                {**by_name, "force": True} if "force" in parameters else dict(by_name),
            )
            if parameter.kind is parameter.VAR_POSITIONAL or parameter.name in FIRST:
                args[:1] = [value]
            else:
                kwargs[parameter.name] = value
            try:
                function(*args, **kwargs)
            except CheckpointError as error:
                assert "\n" not in error.message
            except Exception as error:
                pytest.fail(f"{name}({parameter.name}={value!r}): {error!r}")


METHODS = {
    "rename": ["head", "top"],
    "drop": ["head"],
    "keep": ["head"],
    "cast": ["head", "float16"],
    "set": ["global_step", 3],
    "copy": ["other", "head"],
    "reinit": ["head"],
}


@pytest.mark.parametrize("name", METHODS)
def test_edits_take_no_nonsense(trained, name):
    edited = toolkit.edit(trained)
    for place in range(len(METHODS[name])):
        for value in WRONG:
            args = list(METHODS[name])
            args[place] = value
            try:
                getattr(edited, name)(*args)
            except CheckpointError:
                pass
            except Exception as error:
                pytest.fail(f"{name}{tuple(args)}: {error!r}")
    for keyword in ("init", "seed", "exclude", "keep_slots") if name == "reinit" else ():
        for value in WRONG:
            try:
                edited.reinit("head", **{keyword: value})
            except CheckpointError:
                pass
            except Exception as error:
                pytest.fail(f"reinit({keyword}={value!r}): {error!r}")


def test_carrying_out_takes_no_nonsense(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = toolkit.plan_reinit(trained, "head", seed=1)
    edited = toolkit.edit(trained)
    exported = toolkit.plan_export(trained)
    out = str(tmp_path / "out")
    for carry_out, first in ((plan.write, out), (edited.write, out), (exported.export, out + ".h5")):
        for parameter in inspect.signature(carry_out).parameters:
            for value in WRONG:
                kwargs = {"force": True, "sync": False, parameter: value}
                args = [] if parameter in ("prefix", "out") else [first]
                try:
                    carry_out(*args, **kwargs)
                except CheckpointError:
                    pass
                except Exception as error:
                    pytest.fail(f"{carry_out.__qualname__}({parameter}={value!r}): {error!r}")


def test_looking_up_takes_no_nonsense(trained):
    checkpoint = toolkit.open_checkpoint(trained)
    plan = toolkit.plan_reinit(trained, "head", seed=1)
    for value in (5, None, b"x", 1.5):
        for mapping in (checkpoint, plan):
            with pytest.raises(UsageError, match="expected (a|the) name"):
                mapping[value]
        assert value not in checkpoint
        assert checkpoint.get(value) is None


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (
            lambda p: toolkit.open_checkpoint(5),
            "path: expected a path, got 5",
            "a path is text, or a pathlib.Path",
        ),
        (
            lambda p: toolkit.log(None),
            "directory: expected a path, got None",
            "a path is text, or a pathlib.Path",
        ),
        (
            lambda p: toolkit.plan_reinit(p, 5),
            "expected patterns, got 5",
            "a pattern is text: a name or a scope",
        ),
        (
            lambda p: toolkit.plan_reinit(p, "head", seed="x"),
            "seed: expected a whole number of 0 or more, got 'x'",
            None,
        ),
        (
            lambda p: toolkit.plan_reinit(p, "head", keep_slots="no"),
            "keep_slots: expected True or False, got 'no'",
            None,
        ),
        (
            lambda p: toolkit.plan_reinit(p, "head", data="lnik"),
            "data: expected one of auto, link, copy, got 'lnik'",
            "the nearest: data='link'",
        ),
        (
            lambda p: toolkit.inspect(p, sort="byte"),
            "sort: expected one of name, bytes, order, got 'byte'",
            "the nearest: sort='bytes'",
        ),
        (
            lambda p: toolkit.plan_merge(p, p, on_conflict="frist"),
            "on_conflict: expected one of error, first, last, got 'frist'",
            "the nearest: on_conflict='first'",
        ),
        (
            lambda p: toolkit.plan_reinit(p, "head", init="he_nomal"),
            "'he_nomal': no such initializer",
            "the nearest: he_normal; one of: zeros, ones, constant:VALUE",
        ),
        (
            lambda p: toolkit.plan_reinit(p, "head", init="glorotuniform"),
            "'glorotuniform': no such initializer",
            "the nearest: glorot_uniform; one of",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_is_near(trained, call, message, hint):
    with pytest.raises(UsageError) as refused:
        call(trained)
    said, _, told = str(refused.value).partition("\nhint: ")
    assert said == message
    assert told.startswith(hint or "")


def test_several_checkpoints_may_be_a_list(trained, tmp_path):
    other = str(tmp_path / "other")
    toolkit.edit(trained).set("global_step", 400).write(other)
    assert toolkit.plan_average([trained, other]).ok
    assert str(toolkit.plan_average((trained, other))) == str(toolkit.plan_average(trained, other))
    assert toolkit.plan_merge([trained, other], on_conflict="last").ok
    with toolkit.open_checkpoint(trained) as one, toolkit.open_checkpoint(other) as two:
        assert toolkit.plan_average([one, two]).ok


def test_numbers_of_numpy_are_numbers(trained):
    assert toolkit.plan_reinit(trained, "head", seed=np.int64(3)).seed == 3
    assert toolkit.plan_reinit(trained, "head", seed=3, keep_slots=np.bool_(True)).ok

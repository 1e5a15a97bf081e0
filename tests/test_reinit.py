"""`ckpt reinit`: fresh values for what was chosen, and nothing else changes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import contents, names_in, write_bundle
from toolkit import (
    MismatchError,
    PublishError,
    UsageError,
    VariableNotFoundError,
    open_checkpoint,
    plan_reinit,
)

HEAD = {"head/bias", "head/kernel"}
SLOTS = {f"{name}/{slot}" for name in HEAD for slot in ("Adam", "Adam_1")}
AVERAGES = {f"{name}/ExponentialMovingAverage" for name in HEAD}


def read(prefix) -> dict[str, np.ndarray]:
    with open_checkpoint(prefix) as checkpoint:
        return {name: variable.read() for name, variable in checkpoint.items()}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def reinit(prefix, out, *patterns, **options):
    with open_checkpoint(prefix) as checkpoint:
        plan = plan_reinit(checkpoint, patterns, **options)
        plan.write(out)
    return plan


def test_only_the_chosen_and_what_belongs_to_them_change(trained, tmp_path):
    reinit(trained, tmp_path / "out", "head", seed=1)
    before, after = read(trained), read(tmp_path / "out")
    assert changed(before, after) == HEAD | SLOTS | AVERAGES
    assert not any(after[name].any() for name in SLOTS)
    for name in HEAD:
        assert after[name].tobytes() == after[f"{name}/ExponentialMovingAverage"].tobytes()
    assert after["head/kernel"].any()
    assert not after["head/bias"].any()  # zeros by its name
    assert (after["beta1_power"], after["global_step"]) == (0.5, 300)


def test_the_source_is_never_touched(trained, tmp_path):
    before = contents(Path(trained).parent)
    reinit(trained, tmp_path / "out", "head")
    assert contents(Path(trained).parent) == before


def test_the_same_seed_gives_the_same_files(trained, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        reinit(trained, tmp_path / name / "m", "head", seed=1 if name < "c" else 2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_variables_values_do_not_depend_on_which_others_are_chosen(trained, tmp_path):
    reinit(trained, tmp_path / "one", "head/kernel", seed=1)
    reinit(trained, tmp_path / "all", "**", seed=1)
    assert read(tmp_path / "one")["head/kernel"].tolist() == read(tmp_path / "all")["head/kernel"].tolist()


def test_without_a_seed_one_is_drawn_and_told(ckpt, trained, tmp_path):
    first = json.loads(ckpt("reinit", trained, "head", "-o", tmp_path / "a", "--json").out)
    second = json.loads(ckpt("reinit", trained, "head", "-o", tmp_path / "b", "--json").out)
    assert first["seed"] != second["seed"]
    ckpt("reinit", trained, "head", "-o", tmp_path / "c", "--seed", first["seed"])
    assert changed(read(tmp_path / "a"), read(tmp_path / "c")) == set()
    assert changed(read(tmp_path / "a"), read(tmp_path / "b"))


def test_keep_slots(trained, tmp_path):
    reinit(trained, tmp_path / "out", "head", keep_slots=True)
    assert changed(read(trained), read(tmp_path / "out")) == HEAD


def test_exclude_leaves_alone_what_would_follow(trained, tmp_path):
    reinit(trained, tmp_path / "out", "head", exclude=["head/bias", "**/Adam_1"])
    assert changed(read(trained), read(tmp_path / "out")) == {
        "head/kernel", "head/kernel/Adam", "head/kernel/ExponentialMovingAverage",
    }  # fmt: skip


def test_a_slot_chosen_by_name_starts_as_its_optimizer_starts_it(trained, tmp_path):
    reinit(trained, tmp_path / "out", "**/Adam", "head/bias/ExponentialMovingAverage")
    before, after = read(trained), read(tmp_path / "out")
    assert changed(before, after) == {n for n in before if n.endswith("/Adam")} | {
        "head/bias/ExponentialMovingAverage"
    }
    assert not after["conv1/kernel/Adam"].any()
    assert after["head/bias/ExponentialMovingAverage"].tolist() == before["head/bias"].tolist()
    reinit(trained, tmp_path / "ones", "**/Adam", init="ones")
    assert (read(tmp_path / "ones")["head/bias/Adam"] == 1).all()


def test_slots_of_each_optimizer_start_as_it_starts_them(tmp_path):
    w = np.full((2, 3), 5, "f")
    slots = {"Adagrad": 0.1, "ProximalAdagrad": 0.1, "Ftrl": 0.1, "Ftrl_1": 0, "RMSProp": 1,
             "RMSProp_1": 0, "RMSProp_2": 0, "Momentum": 0, "mine": 0, "mine_1": 0}  # fmt: skip
    content = {"net/w": w, **{f"train/net/w/{slot}": w for slot in slots}}
    prefix = write_bundle(tmp_path / "m", content)
    plan = reinit(prefix, tmp_path / "out", "net", init="ones")
    after = read(tmp_path / "out")
    for slot, value in slots.items():
        assert (after[f"train/net/w/{slot}"] == np.float32(value)).all(), slot
    assert plan["train/net/w/mine"].reason == "slot of net/w, optimizer unknown: zeroed"
    assert plan["train/net/w/Ftrl"].reason == "slot of net/w"
    assert plan["train/net/w/Ftrl"].initializer == "constant:0.1"


def test_a_moving_average_made_in_a_scope_before_its_variable_is_its_copy(tmp_path):
    content = {"z/w": np.ones((4, 4), "f"), "a/z/w/ExponentialMovingAverage": np.ones((4, 4), "f")}
    prefix = write_bundle(tmp_path / "m", content)
    reinit(prefix, tmp_path / "out", "z", init="he_normal", seed=3)
    after = read(tmp_path / "out")
    assert after["z/w"].tolist() == after["a/z/w/ExponentialMovingAverage"].tolist()
    assert len(set(after["z/w"].reshape(-1).tolist())) == 16


def test_from_takes_the_value_that_another_variable_has(trained, tmp_path):
    plan = reinit(trained, tmp_path / "out", "conv1/kernel", init="from:conv10/kernel")
    before, after = read(trained), read(tmp_path / "out")
    assert after["conv1/kernel"].tolist() == before["conv10/kernel"].tolist()
    assert after["conv1/kernel/ExponentialMovingAverage"].tolist() == before["conv10/kernel"].tolist()
    assert not after["conv1/kernel/Adam"].any()
    assert (plan["conv1/kernel"].action, plan["conv1/kernel"].source) == ("copy", "conv10/kernel")


def test_checkpoint_takes_values_from_another_checkpoint(trained, tmp_path):
    other = write_bundle(tmp_path / "other::x", {"head/bias": np.ones(5, "f"), "b": np.full(5, 2, "f")})
    plan = reinit(trained, tmp_path / "one", "head/bias", init=f"checkpoint:{other}::b")
    assert read(tmp_path / "one")["head/bias"].tolist() == [2] * 5
    assert (plan["head/bias"].action, plan["head/bias"].source) == ("restore", f"{other}::b")
    same_name = write_bundle(tmp_path / "same", {"head/bias": np.ones(5, "f")})
    reinit(trained, tmp_path / "two", "head/bias", init=f"checkpoint:{same_name}")
    assert read(tmp_path / "two")["head/bias"].tolist() == [1] * 5


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("from:nope", VariableNotFoundError, "no variable matches 'nope'"),
        ("from:conv1/kernel", MismatchError, "head/bias: shape (5,), but conv1/kernel in"),
        ("from:global_step", MismatchError, "head/bias: dtype float32, but global_step in"),
        ("checkpoint:nowhere", Exception, "nowhere: no such file or checkpoint"),
        ("glorrot", UsageError, "no such initializer"),
        ("orthogonal", UsageError, "head/bias: orthogonal has no values of shape (5,)"),
    ],
)
def test_reject_init(trained, tmp_path, init, error, message):
    with open_checkpoint(trained) as checkpoint, pytest.raises(error) as refused:
        plan_reinit(checkpoint, ["head/bias"], init=init)
    assert message in str(refused.value)


def test_random_values_for_whole_numbers_are_refused(trained):
    with open_checkpoint(trained) as checkpoint:
        with pytest.raises(UsageError, match="global_step: he_normal has no values of dtype int64"):
            plan_reinit(checkpoint, "global_step", init="he_normal")
        assert plan_reinit(checkpoint, "**")["global_step"].initializer == "zeros"


def test_an_initializer_for_kernels_leaves_what_is_none_to_its_role_unless_that_is_named(trained):
    with open_checkpoint(trained) as checkpoint:
        plan = plan_reinit(checkpoint, "**", init="he_normal", exclude="re:Adam|Exponential")
        assert plan["head/kernel"].initializer == "he_normal"
        assert plan["head/bias"].initializer == "zeros"
        assert plan["head/bias"].reason == "chosen; bias by name, he_normal is not for it"
        assert plan["global_step"].initializer == "zeros"
        named = plan_reinit(checkpoint, ["head/bias"], init="he_normal")
        assert named["head/bias"].initializer == "he_normal"
        assert plan_reinit(checkpoint, "head", init="normal:0,1")["head/bias"].initializer == "normal:0,1"
        assert plan_reinit(checkpoint, "head", init="orthogonal")["head/bias"].initializer == "zeros"


@pytest.mark.parametrize("init", [None, "zeros", "he_normal"])
def test_powers_of_betas_stay_unless_they_are_named(trained, init):
    with open_checkpoint(trained) as checkpoint:
        plan = plan_reinit(checkpoint, "**", init=init)
        assert plan["beta1_power"].action == "keep"
        assert plan["beta1_power"].reason == "power of a beta: kept, unless it is named"
        with pytest.raises(UsageError, match="no default initial value for a power of a beta") as refused:
            plan_reinit(checkpoint, "beta1_power")
        assert "--init constant:VALUE" in refused.value.hint
        named = plan_reinit(checkpoint, "beta1_power", init="constant:0.9")
        assert named["beta1_power"].initializer == "constant:0.9"


def test_the_source_is_known_by_whatever_name_it_comes(trained, tmp_path):
    for end in (".index", ".data-00000-of-00001"):
        (tmp_path / f"alias{end}").symlink_to(f"{trained}{end}")
    before = contents(Path(trained).parent)
    with pytest.raises(PublishError, match="is the checkpoint that is read"):
        plan_reinit(tmp_path / "alias", "head").write(trained, force=True)
    assert contents(Path(trained).parent) == before


def test_strings_can_be_emptied_but_have_no_default(tmp_path):
    prefix = write_bundle(tmp_path / "m", {"words": np.array([b"a", b"bc"], object), "w": np.ones(1, "f")})
    with open_checkpoint(prefix) as checkpoint, pytest.raises(UsageError, match="no default initial value"):
        plan_reinit(checkpoint, ["words"])
    reinit(prefix, tmp_path / "out", "words", init="zeros")
    assert read(tmp_path / "out")["words"].tolist() == [b"", b""]


def test_an_object_graph_is_no_value_of_the_model(tmp_path):
    key = "w/.ATTRIBUTES/VARIABLE_VALUE"
    content = {key: np.ones(2, "f"), "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"\n\0", object)}
    prefix = write_bundle(tmp_path / "m", content)
    reinit(prefix, tmp_path / "out", "**", init="zeros")
    after = read(tmp_path / "out")
    assert after[key].tolist() == [0, 0]
    assert after["_CHECKPOINTABLE_OBJECT_GRAPH"][()] == b"\n\0"  # not a value of the model


def test_the_plan_says_what_and_why(ckpt, trained):
    ran = ckpt("reinit", trained, "head", "-x", "**/Exp*", "--dry-run", "--seed", 5)
    assert ran.out == (
        "initialize  head/bias           float32 (5,)    zeros           chosen; bias by name\n"
        "initialize  head/bias/Adam      float32 (5,)    zeros           slot of head/bias\n"
        "initialize  head/bias/Adam_1    float32 (5,)    zeros           slot of head/bias\n"
        "initialize  head/kernel         float32 (4, 5)  glorot_uniform  chosen; kernel by name\n"
        "initialize  head/kernel/Adam    float32 (4, 5)  zeros           slot of head/kernel\n"
        "initialize  head/kernel/Adam_1  float32 (4, 5)  zeros           slot of head/kernel\n"
        "3 weights, 6 slots, 5 moving averages, 3 counters kept: not chosen\n"
        "17 keep, 6 initialize; seed 5\n"
    )  # fmt: skip
    assert ran.err == "dry run: nothing was written\n"
    assert ran.code == 0


def test_a_dry_run_writes_nothing(ckpt, trained, tmp_path):
    before = contents(tmp_path)
    ckpt("reinit", trained, "head", "-o", tmp_path / "out", "--dry-run")
    assert contents(tmp_path) == before


def test_json_has_the_keys_of_the_contract(ckpt, trained, tmp_path):
    ran = ckpt("reinit", trained, "head/bias", "-o", tmp_path / "out", "--seed", 1, "--json")
    document = json.loads(ran.out)
    assert {"schema", "plan", "unused", "ok", "seed", "bytes", "output"} <= document.keys()
    assert document["schema"] == "ckpt/reinit/1"
    total = sum(v.nbytes for v in open_checkpoint(trained).values())
    # the bias, its two slots and its average are new, 5% of the bytes: the data file is shared
    assert document["bytes"] == {"linked": total, "copied": 0, "written": 80}
    assert document["output"] == str(tmp_path / "out")
    copied = ckpt("reinit", trained, "head/bias", "-o", tmp_path / "again", "--data", "copy", "--json")
    assert json.loads(copied.out)["bytes"] == {"linked": 0, "copied": total - 80, "written": 80}
    dry = json.loads(ckpt("reinit", trained, "head/bias", "--dry-run", "--json").out)
    assert dry["output"] is None


def test_quiet_prints_nothing(ckpt, trained, tmp_path):
    assert ckpt("reinit", trained, "head", "-o", tmp_path / "out", "-q")[:3] == (0, "", "")


def test_an_existing_output_is_refused_unless_forced(ckpt, trained, tmp_path):
    reinit(trained, tmp_path / "out", "head", seed=1)
    before = contents(tmp_path)
    ran = ckpt("reinit", trained, "head", "-o", tmp_path / "out")
    assert ran.code == 2
    assert ran.err == (
        f"ckpt: {tmp_path}/out.index: exists\nhint: --force replaces it, or choose another name\n"
    )
    assert contents(tmp_path) == before
    assert ckpt("reinit", trained, "conv1", "-o", tmp_path / "out", "--force", "--no-sync").code == 0
    assert not changed(read(trained), read(tmp_path / "out")) & HEAD


@pytest.mark.parametrize("force", [False, True])
def test_the_output_may_not_be_the_source(trained, tmp_path, force):
    link = tmp_path / "link"
    link.symlink_to(Path(trained).parent)
    before = contents(tmp_path)
    for out in (trained, str(link / "model.ckpt-300"), f"{Path(trained).parent}/../run/model.ckpt-300"):
        with open_checkpoint(trained) as checkpoint:
            plan = plan_reinit(checkpoint, ["head"])
            with pytest.raises(PublishError, match="is the checkpoint that is read, which is never changed"):
                plan.write(out, force=force)
    with open_checkpoint(trained) as checkpoint:
        plan = plan_reinit(
            checkpoint, ["head"], init=f"checkpoint:{write_bundle(tmp_path / 'o', read(trained))}"
        )
        with pytest.raises(PublishError, match="is the checkpoint that is read"):
            plan.write(tmp_path / "o", force=True)
    (tmp_path / "o.index").unlink()
    (tmp_path / "o.data-00000-of-00001").unlink()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["head"], "no -o OUT: where to write?"),
        (["-o", "out"], "no PATTERN: which variables?"),
        (["haed", "-o", "out"], "no variable matches 'haed'"),
        (["head", "-x", "**", "-o", "out"], "nothing is left to reinitialize"),
    ],
)
def test_reject_usage(ckpt, trained, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    ran = ckpt("reinit", trained, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert message in ran.err
    assert "hint: " in ran.err
    assert "Traceback" not in ran.err
    assert names_in(tmp_path) == ["run"]


def test_a_damaged_source_is_found_before_anything_appears(ckpt, trained, tmp_path):
    path = Path(trained + ".data-00000-of-00001")
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    ran = ckpt("reinit", trained, "head", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "checksum of 'conv1/" in ran.err
    assert names_in(tmp_path) == ["run"]


def test_several_data_files_become_one(tmp_path):
    from tests.conftest import VALID

    plan = reinit(VALID / "shards", tmp_path / "out", "layer1", seed=1, data="copy")
    assert names_in(tmp_path) == ["out.data-00000-of-00001", "out.index"]
    assert changed(read(VALID / "shards"), read(tmp_path / "out")) == {"layer1/bias", "layer1/kernel"}
    assert plan.bytes.copied == 96


@pytest.mark.parametrize("limit", [1, 300])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, limit):
    """Of a limit on the size of a file, in KiB, which is met for real."""
    prefix = write_bundle(tmp_path / "m", {"w": np.ones(100_000, "f")})
    before = names_in(tmp_path)
    command = shlex.join(
        [sys.executable, "-m", "toolkit", "reinit", prefix, "w", "-o", f"{tmp_path}/x", "-q"]
    )
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {limit}; {command}"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        f"ckpt: {tmp_path}/x.index: not written: file too large",
        "hint: free some space, or write to another disk",
    ]
    assert names_in(tmp_path) == before

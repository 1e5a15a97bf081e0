"""What is made of Keras's files: the names that plans show, roles that stay, values found by these names."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

import toolkit
from tests.keras_files import layer, numbered, optimizer, sequential, state, write_archive

GROUPS = {"layers/dense": numbered([(3, 4), (4,)]), "layers/dense_1": numbered([(4, 2), (2,)], 7)}
TRAINED = [value for values in GROUPS.values() for value in values]
SLOTS = {
    "Adam": [each for value in TRAINED for each in (value, value)],
    # keras/src/optimizers/adafactor.py: sums over the last axis and over the one before, or a 0, then all
    "Adafactor": [
        each
        for value in TRAINED
        for each in (
            (value[:, 0], value[0], value)
            if value.ndim > 1
            else (np.array(0, np.int32), np.array(0, np.int32), value)
        )
    ],
}


@pytest.fixture
def archive(tmp_path):
    def write(name, *, layers=("hidden", "head"), trained_by="Adam", groups=GROUPS):
        return write_archive(
            tmp_path / name,
            {**groups, "optimizer": state(SLOTS[trained_by])},
            names=dict(zip(groups, layers, strict=True)),
            model=sequential("net", *(layer("Dense", each, use_bias=True) for each in layers)),
            trained_by=optimizer(trained_by),
        )

    return write


@pytest.mark.parametrize("command", ["import", "edit", "reinit", "average", "merge"])
def test_what_is_made_has_the_names_that_the_plan_shows(ckpt, archive, tmp_path, command):
    net = archive("net.keras")
    argv = {
        "edit": ["--set", "head/bias=0"],
        "reinit": ["head"],
        "average": [net],
        "merge": [net],
    }
    ran = ckpt(command, net, *argv.get(command, []), "-o", tmp_path / "out", "--no-truncate")
    assert ran.code == 0
    assert "vars/" not in ran.out
    made = toolkit.open_checkpoint(tmp_path / "out")
    weights = ["head/bias", "head/kernel", "hidden/bias", "hidden/kernel"]
    assert sorted(name for name, role in made.roles().items() if role.kind == "weight") == weights
    owners = sorted(role.of for role in made.roles().values() if role.kind == "slot")
    assert owners == sorted([*weights, *weights])
    again = ckpt("reinit", tmp_path / "out", "head", "--dry-run")
    assert "2 keep" not in again.out
    assert "6 initialize" in again.out  # the kernel, the bias, two slots of each


def test_sums_that_adafactor_keeps_are_no_weights_of_what_is_made(ckpt, archive, tmp_path):
    ckpt("import", archive("net.keras", trained_by="Adafactor"), "-o", tmp_path / "out")
    roles = toolkit.open_checkpoint(tmp_path / "out").roles()
    assert sum(role.kind == "weight" for role in roles.values()) == 4
    assert roles["adafactor/head_kernel_c"].of == "head/kernel"


def test_an_edit_that_renames_one_layer_leaves_the_others_their_names(ckpt, archive, tmp_path):
    ckpt("edit", archive("net.keras"), "--rename", "head=top", "-o", tmp_path / "out")
    made = toolkit.open_checkpoint(tmp_path / "out")
    assert {"top/kernel", "hidden/kernel", "adam/top_kernel_momentum"} < set(made)
    assert made["top/kernel"].read().tolist() == GROUPS["layers/dense_1"][0].tolist()


def test_what_is_exported_is_imported_by_the_same_names_and_bits(ckpt, archive, tmp_path):
    net = archive("net.keras")
    ckpt("import", net, "-o", tmp_path / "straight")
    expected = (tmp_path / "straight.index").read_bytes()  # it has the checksums of all values
    for ending in ("npz", "safetensors", "h5"):
        ckpt("export", net, tmp_path / f"net.{ending}")
        ckpt("import", tmp_path / f"net.{ending}", "-o", tmp_path / ending)
        assert (tmp_path / f"{ending}.index").read_bytes() == expected


def test_slots_of_a_legacy_file_are_called_after_their_weights(ckpt, tmp_path):
    """Keras 3 writes a sequential model's `.h5` with the model's name in the names of weights and slots."""
    weights = ["net/head/kernel", "net/head/bias"]
    slots = [f"adam/net_head_{weight}_{slot}" for weight in ("kernel", "bias") for slot in ("m", "v")]
    dense = {"class_name": "Dense", "config": {"name": "head"}}
    model = {"class_name": "Sequential", "config": {"name": "net", "layers": [dense]}}
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["keras_version"] = "3.15.1"
        file.attrs["model_config"] = json.dumps(model)
        file.create_group("model_weights").attrs["layer_names"] = [b"head"]
        for group, names in (("model_weights/head", weights), ("optimizer_weights", slots)):
            held = file.create_group(group)
            held.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                held[name] = np.ones((3, 2) if "kernel" in name else (2,), np.float32)
    for number, argv in enumerate((["import"], ["edit", "--set", "head/bias=0"])):
        out = tmp_path / f"out{number}"
        assert ckpt(argv[0], tmp_path / "net.h5", *argv[1:], "-o", out).code == 0
        roles = toolkit.open_checkpoint(out).roles()
        assert {name: role.of for name, role in roles.items() if role.kind == "slot"} == {
            f"adam/head_{weight}_{slot}": f"head/{weight}" for weight in ("kernel", "bias") for slot in "mv"
        }
        assert [name for name, role in roles.items() if role.kind == "weight"] == ["head/bias", "head/kernel"]


class TestValuesOfAnotherFile:
    def test_they_are_found_by_the_names_that_are_shown(self, archive):
        other = archive("other.keras")
        plan = toolkit.plan_reinit(
            archive("net.keras"), ["head/kernel"], init=f"checkpoint:{other}::head/kernel"
        )
        made = plan.results["head/kernel"].read()
        assert made.tolist() == GROUPS["layers/dense_1"][0].tolist()

    def test_a_number_that_both_files_count_is_no_name(self, archive):
        """The second layer here is the first one there, so that one key means two layers."""
        swapped = {"layers/dense": GROUPS["layers/dense_1"], "layers/dense_1": GROUPS["layers/dense"]}
        other = archive("other.keras", layers=("head", "hidden"), groups=swapped)
        plan = toolkit.plan_reinit(archive("net.keras"), ["head"], init=f"checkpoint:{other}")
        assert plan["head/kernel"].source == f"{other}::layers/dense/vars/0"

    def test_a_shape_that_differs_is_told_by_these_names(self, archive):
        with pytest.raises(toolkit.MismatchError) as differs:
            toolkit.plan_reinit(archive("net.keras"), ["head/kernel"], init="from:hidden/kernel")
        assert differs.value.message.startswith("head/kernel: shape (4, 2), but hidden/kernel in ")

    def test_the_nearest_of_these_names_is_proposed(self, archive):
        with pytest.raises(toolkit.VariableNotFoundError) as missing:
            toolkit.plan_reinit(
                archive("net.keras"), ["head"], init=f"checkpoint:{archive('o.keras')}::head/kernal"
            )
        assert missing.value.suggestions[0] == "head/kernel"


def test_stripping_what_was_made_of_a_file_of_keras_leaves_no_number_of_the_optimizer(
    ckpt, archive, tmp_path
):
    net = archive("net.keras")
    ckpt("import", net, "-o", tmp_path / "made")
    ckpt("export", net, tmp_path / "net.npz")
    for source in ("made", "net.npz"):
        out = tmp_path / f"stripped-{source}"[:12]
        assert ckpt("edit", tmp_path / source, "--strip-optimizer", "-o", out, "--force").code == 0
        assert sorted(toolkit.open_checkpoint(out)) == [
            "head/bias",
            "head/kernel",
            "hidden/bias",
            "hidden/kernel",
        ]


def test_stripping_leaves_the_global_step_wherever_it_lies(tmp_path):
    values = {"w": np.ones(2), "optimizer/global_step": np.int64(5), "sgd/iterations": np.int64(6)}
    np.savez(tmp_path / "m.npz", **values)
    plan = toolkit.edit(tmp_path / "m.npz").strip_optimizer().plan()
    assert set(plan.results) == {"w", "optimizer/global_step"}


def test_layers_of_two_files_meet_by_their_names_and_not_by_their_numbers(ckpt, archive, tmp_path):
    one = archive("one.keras", layers=("hidden", "head"))
    other = archive("other.keras", layers=("encoder", "decoder"))  # the same keys, other layers
    assert ckpt("edit", other, "--strip-optimizer", "-o", tmp_path / "weights").code == 0
    assert ckpt("merge", one, tmp_path / "weights", "-o", tmp_path / "both").code == 0
    ckpt("merge", one, other, "-o", tmp_path / "straight", "--on-conflict", "first")
    for name in ("both", "straight"):
        made = toolkit.open_checkpoint(tmp_path / name)
        assert {"head/kernel", "decoder/kernel", "encoder/bias"} < set(made)
        assert made["decoder/kernel"].role.kind == "weight"

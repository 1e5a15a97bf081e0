"""What Keras's files tell: true names, whose the optimizer's state is, what is trained, who wrote them."""

from __future__ import annotations

import itertools
import json
import zipfile

import h5py
import numpy as np
import pytest

import toolkit
from tests.keras_files import (
    SAVED_AT,
    layer,
    numbered,
    optimizer,
    sequential,
    state,
    write_archive,
    write_weights,
)
from toolkit.metadata import Optimizer
from toolkit.roles import Role

NET = sequential(
    "net",
    layer("Dense", "hidden", use_bias=True),
    layer("BatchNormalization", "norm", scale=True, center=True),
    layer("Dense", "head", use_bias=True),
)
GROUPS = {
    "layers/dense": numbered([(3, 4), (4,)]),
    "layers/batch_normalization": numbered([(4,)] * 4, 3),
    "layers/dense_1": numbered([(4, 2), (2,)], 7),
}
NAMES = {"layers/dense": "hidden", "layers/batch_normalization": "norm", "layers/dense_1": "head"}
TRAINED = [*GROUPS["layers/dense"], *GROUPS["layers/batch_normalization"][:2], *GROUPS["layers/dense_1"]]


def twice(values):
    return [each for value in values for each in (value, value)]


def owners_by_value(checkpoint):
    """Return, for each slot, its value and that of its owner: in these files a slot has its owner's."""
    return {
        name: (float(checkpoint[name].read().flat[0]), role.of and float(checkpoint[role.of].read().flat[0]))
        for name, role in checkpoint.roles().items()
        if role.kind in ("slot", "moving_average")
    }


@pytest.fixture
def net(tmp_path):
    """A trained model, with Adam."""
    groups = {**GROUPS, "optimizer": state(twice(TRAINED))}
    names = {**NAMES, "optimizer": "adam"}
    return write_archive(tmp_path / "net.keras", groups, names=names, model=NET, trained_by=optimizer("Adam"))


WEIGHTS = {
    *(f"norm/{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")),
    *(f"{layer}/{leaf}" for layer in ("hidden", "head") for leaf in ("kernel", "bias")),
}
"""The readable names of what `GROUPS` holds: a checkpoint that is made from the file has them."""


class TestNames:
    def test_layers_are_called_as_in_their_model(self, net):
        shown = toolkit.open_checkpoint(net).paths()
        assert shown["layers/dense/vars/0"] == "hidden/kernel"
        assert shown["layers/batch_normalization/vars/3"] == "norm/moving_variance"
        assert shown["layers/dense_1/vars/1"] == "head/bias"
        assert shown["optimizer/vars/0"] == "adam/iteration"
        assert shown["optimizer/vars/2"] == "adam/hidden_kernel_momentum"

    def test_what_a_layer_leaves_out_has_no_number(self, tmp_path):
        model = sequential(
            "net",
            layer("Dense", "a", use_bias=False),
            layer("BatchNormalization", "b", scale=False, center=True),
            layer("LayerNormalization", "c", scale=True, center=False),
            layer("SeparableConv1D", "d", use_bias=False),
        )
        groups = {
            "layers/dense": numbered([(3, 4)]),
            "layers/batch_normalization": numbered([(4,)] * 3),
            "layers/layer_normalization": numbered([(4,)]),
            "layers/separable_conv1d": numbered([(3, 4, 1), (1, 4, 5)]),
        }
        path = write_archive(tmp_path / "m.keras", groups, model=model)
        assert list(toolkit.open_checkpoint(path).paths().values()) == [
            *("b/beta", "b/moving_mean", "b/moving_variance", "a/kernel", "c/gamma"),
            *("d/depthwise_kernel", "d/pointwise_kernel"),
        ]

    def test_layers_in_layers_are_called_as_keras_calls_them(self, tmp_path):
        """Without attributes, as Keras wrote them before 3.6."""
        lstm = layer("LSTM", "forward_lstm", use_bias=True)
        model = sequential(
            "net",
            layer("MultiHeadAttention", "att", use_bias=True),
            layer("Bidirectional", "both", layer=lstm, backward_layer=layer("LSTM", "backward_lstm")),
            layer("TimeDistributed", "each", layer=layer("Dense", "inner")),
            sequential("block", layer("Dense", "d"), sequential("deep", layer("Dense", "d"))),
        )
        parts = ("key_dense", "output_dense", "query_dense", "value_dense")
        groups = {
            **{f"layers/multi_head_attention/{part}": numbered([(4, 2, 3), (2, 3)]) for part in parts},
            **{
                f"layers/bidirectional/{way}_layer/cell": numbered([(4, 8), (2, 8), (8,)])
                for way in ("backward", "forward")
            },
            "layers/time_distributed/layer": numbered([(4, 4), (4,)]),
            "layers/sequential/layers/dense": numbered([(4, 4), (4,)]),
            "layers/sequential/layers/sequential/layers/dense": numbered([(4, 4), (4,)]),
        }
        shown = toolkit.open_checkpoint(write_archive(tmp_path / "m.keras", groups, model=model)).paths()
        assert shown["layers/multi_head_attention/output_dense/vars/0"] == "att/attention_output/kernel"
        assert (
            shown["layers/bidirectional/backward_layer/cell/vars/1"]
            == "both/backward_lstm/lstm_cell/recurrent_kernel"
        )
        assert shown["layers/time_distributed/layer/vars/1"] == "each/inner/bias"
        assert shown["layers/sequential/layers/dense/vars/0"] == "block/d/kernel"
        assert shown["layers/sequential/layers/sequential/layers/dense/vars/0"] == "block/deep/d/kernel"

    def test_a_file_of_weights_alone_tells_the_names_of_its_layers(self, tmp_path):
        path = tmp_path / "m.weights.h5"
        write_weights(path, GROUPS, names=NAMES)
        shown = toolkit.open_checkpoint(path).paths()
        assert shown["layers/dense_1/vars/0"] == "head/kernel"
        assert shown["layers/batch_normalization/vars/2"] == "norm/moving_mean"

    def test_of_users_own_classes_weights_are_numbered(self, tmp_path):
        own = {**layer("Dense", "mine"), "module": None, "registered_name": "my>Dense"}
        path = write_archive(
            tmp_path / "m.keras",
            {"layers/dense": numbered([(3, 4), (4,)])},
            names={"layers/dense": "mine"},
            model=sequential("net", own),
        )
        assert toolkit.open_checkpoint(path).paths()["layers/dense/vars/0"] == "mine/0"

    def test_two_weights_of_one_name_are_called_by_their_keys(self, tmp_path):
        path = tmp_path / "m.weights.h5"
        names = {"a": "same", "b": "same", "c": "other"}
        write_weights(path, dict.fromkeys("abc", numbered([(2, 2)])), names=names)
        assert toolkit.open_checkpoint(path).paths() == {"c/vars/0": "other/0"}

    def test_a_name_that_is_another_weights_key_is_not_given(self, tmp_path):
        path = tmp_path / "m.weights.h5"
        write_weights(
            path, {"a": numbered([(2, 2)]), "b": numbered([(2, 2)])}, names={"a": "b/vars", "b": "c"}
        )
        assert toolkit.open_checkpoint(path).paths() == {"b/vars/0": "c/0"}

    def test_a_whole_models_h5_is_called_without_the_models_name(self, tmp_path):
        """Keras 3 writes `net/hidden/kernel` there for a sequential model `net`."""
        path = legacy(tmp_path / "m.h5", "net/", version="3.15.1")
        assert toolkit.open_checkpoint(path).paths()["net/hidden/kernel"] == "hidden/kernel"

    def test_they_can_be_typed_in_any_order_of_edits(self, net, tmp_path):
        edited = toolkit.edit(net).drop("norm").rename("hidden", "body").rename("head/kernel", "head/w")
        edited.write(tmp_path / "out")
        kept = toolkit.open_checkpoint(tmp_path / "out")
        assert {"body/kernel", "body/bias", "head/w", "adam/body_kernel_momentum"} <= set(kept)


# what `[v.path for v in model.optimizer.variables]` is in Keras 3.15.1
LISTS = {
    "SGD": ({"momentum": 0.9}, "{}_momentum", ""),
    "Lion": ({}, "{}_momentum", ""),
    "Adagrad": ({}, "{}_accumulator", ""),
    "Adam": ({}, "{0}_momentum {0}_velocity", ""),
    "AdamW": ({}, "{0}_momentum {0}_velocity", ""),
    "Adamax": ({}, "{0}_momentum {0}_norm", ""),
    "Nadam": ({}, "{0}_momentum {0}_velocity", "u_product"),
    "Lamb": ({}, "{0}_momentum {0}_velocity", ""),
    "ScheduleFreeAdamW": ({}, "{0}_momentum {0}_velocity", ""),
    "Ftrl": ({}, "{0}_accumulator {0}_linear", ""),
    "Adadelta": ({}, "{0}_accumulated_grad {0}_accumulated_delta_var", ""),
    "RMSprop": ({}, "{}_velocity", ""),
}


class TestOptimizerState:
    def test_reinitializing_a_layer_of_a_trained_model_takes_its_slots_along(self, ckpt, net, tmp_path):
        ran = ckpt("reinit", net, "head", "-o", tmp_path / "out", "--seed", 1)
        assert ran.code == 0
        before, after = toolkit.open_checkpoint(net), toolkit.open_checkpoint(tmp_path / "out")
        read = {before.paths()[key]: variable.read() for key, variable in before.items()}
        assert read.keys() == set(after)
        changed = {name for name, value in read.items() if not np.array_equal(value, after[name].read())}
        slots = {f"adam/head_{of}_{slot}" for of in ("kernel", "bias") for slot in ("momentum", "velocity")}
        assert changed == {"head/kernel", "head/bias", *slots}
        assert not any(after[name].read().any() for name in slots)
        assert all(
            after.roles()[name].of == name[5:].replace("_", "/", 1).rpartition("_")[0] for name in slots
        )

    def test_an_error_tells_the_key_of_a_readable_name(self, net):
        with pytest.raises(toolkit.VariableNotFoundError) as caught:
            toolkit.open_checkpoint(net)["head/kernel"]
        assert (
            caught.value.hint == "that is its readable name; its key, for Python, is 'layers/dense_1/vars/0'"
        )

    def test_stripping_the_optimizer_leaves_the_weights_alone(self, ckpt, net, tmp_path):
        assert ckpt("edit", net, "--strip-optimizer", "-o", tmp_path / "out").code == 0
        assert set(toolkit.open_checkpoint(tmp_path / "out")) == WEIGHTS

    def test_stripping_leaves_no_counter_or_metric_of_keras_2(self, ckpt, tmp_path):
        groups = {
            **GROUPS,
            "metrics/mean": [np.float32(1.0), np.float32(2.0)],
            "optimizer": state(twice(TRAINED), rate=None),
        }
        trained_by = optimizer("Adam")
        path = write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=trained_by, version="2.15.0")
        roles = toolkit.open_checkpoint(path).roles()
        assert roles["metrics/mean/vars/0"] == Role("metric")
        assert roles["optimizer/vars/1"] == Role("slot", "layers/dense/vars/0")
        ckpt("edit", path, "--strip-optimizer", "-o", tmp_path / "out")
        assert set(toolkit.open_checkpoint(tmp_path / "out")) == WEIGHTS

    @pytest.mark.parametrize("counter", ["iteration", "iterations_1", "Adam/iter"])
    def test_stripping_leaves_no_counter_of_a_legacy_file(self, ckpt, tmp_path, counter):
        path = legacy(tmp_path / "m.h5", "", counter=counter)
        assert toolkit.open_checkpoint(path).roles()[counter] == Role("counter")
        ckpt("edit", path, "--strip-optimizer", "-o", tmp_path / "out")
        assert set(toolkit.open_checkpoint(tmp_path / "out")) == {"hidden/kernel", "hidden/bias"}

    @pytest.mark.parametrize("has_averages", [False, True])
    @pytest.mark.parametrize("class_name", LISTS)
    def test_every_optimizers_list_is_read_as_keras_lists_it(self, tmp_path, class_name, has_averages):
        settings, each, tail = LISTS[class_name]
        names = ["hidden_kernel", "hidden_bias", "norm_gamma", "norm_beta", "head_kernel", "head_bias"]
        first = [f"{name}_average" for name in names] if has_averages else []
        listed = [*first, *(slot for name in names for slot in each.format(name).split())]
        by_name = dict(zip(names, TRAINED, strict=True))
        kept = [next(v for n, v in by_name.items() if slot.startswith(n)) for slot in listed]
        kept = state(kept, rate=0.5) + ([np.float32(1)] if tail else [])
        told = optimizer(class_name, name="best", use_ema=has_averages, **settings)
        path = write_archive(
            tmp_path / "m.keras", {**GROUPS, "optimizer": kept}, names=NAMES, model=NET, trained_by=told
        )
        checkpoint = toolkit.open_checkpoint(path)
        expected = ["iteration", "learning_rate", *listed, *([tail] if tail else [])]
        assert [checkpoint.paths()[f"optimizer/vars/{n}"] for n in range(len(kept))] == [
            f"best/{name}" for name in expected
        ]
        assert all(slot == owner for slot, owner in owners_by_value(checkpoint).values())
        averages = [n for n, role in checkpoint.roles().items() if role.kind == "moving_average"]
        assert len(averages) == 6 * has_averages

    def test_blocks_of_one_slot_after_the_others_are_told_apart(self, tmp_path):
        """As RMSprop(momentum=0.9, centered=True) has, and Adam(amsgrad=True) its velocity_hat."""
        told = optimizer("RMSprop", momentum=0.9, centered=True)
        groups = {**GROUPS, "optimizer": state([*TRAINED, *TRAINED, *TRAINED])}
        path = write_archive(tmp_path / "m.keras", groups, names=NAMES, model=NET, trained_by=told)
        checkpoint = toolkit.open_checkpoint(path)
        assert checkpoint.paths()["optimizer/vars/8"] == "rmsprop/hidden_kernel_momentum"
        assert checkpoint.paths()["optimizer/vars/19"] == "rmsprop/head_bias_average_gradient"
        assert all(slot == owner for slot, owner in owners_by_value(checkpoint).values())

    @pytest.mark.parametrize("version", ["3.15.1", "2.15.0"])
    def test_adafactors_sums_belong_to_their_matrix(self, tmp_path, version):
        kept, is_new = [], version[0] == "3"
        for value in TRAINED:
            number = value.flat[0]
            if value.ndim > 1:
                kept += [np.full(value.shape[:-1], number), np.full(value.shape[-1:], number)]
            elif is_new:
                kept += [np.array(0, np.int32)] * 2
            kept.append(value)
        groups = {**GROUPS, "optimizer": state(kept, rate=0.5 if is_new else None)}
        path = write_archive(
            tmp_path / "m.keras",
            groups,
            names=NAMES,
            model=NET,
            trained_by=optimizer("Adafactor"),
            version=version,
        )
        found = owners_by_value(toolkit.open_checkpoint(path))
        assert len(found) == len(kept)
        assert all(slot in (owner, 0) for slot, owner in found.values())

    def test_muon_keeps_one_of_a_matrix_and_two_of_an_embedding(self, tmp_path):
        model = sequential("net", layer("Embedding", "words"), layer("Dense", "head"))
        groups = {"layers/embedding": numbered([(4, 4)]), "layers/dense": numbered([(4, 4), (4,)], 2)}
        words, kernel, bias = groups["layers/embedding"] + groups["layers/dense"]
        groups["optimizer"] = state([words, words, kernel, bias, bias])
        told = optimizer("Muon", exclude_layers=[], exclude_embeddings=True)
        checkpoint = toolkit.open_checkpoint(
            write_archive(tmp_path / "m.keras", groups, model=model, trained_by=told)
        )
        assert list(owners_by_value(checkpoint).values()) == [(1, 1), (1, 1), (2, 2), (3, 3), (3, 3)]

    def test_one_that_scales_losses_lists_that_in_it_again(self, tmp_path):
        inner = state(twice(TRAINED))
        outer = [np.array(0, np.int64), np.float32(0), np.array(0, np.int64), np.float32(2**15), *inner]
        told = optimizer("LossScaleOptimizer", name="scaled", inner_optimizer=optimizer("Adam"))
        groups = {**GROUPS, "optimizer": outer, "optimizer/inner_optimizer": inner}
        checkpoint = toolkit.open_checkpoint(
            write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=told)
        )
        found = owners_by_value(checkpoint)
        assert len(found) == 24
        assert all(slot == owner for slot, owner in found.values())
        assert checkpoint.paths()["optimizer/vars/3"] == "scaled/dynamic_scale"
        assert checkpoint.paths()["optimizer/vars/6"] == "scaled/adam/hidden_kernel_momentum"
        outer_told, inner_told = checkpoint.metadata.optimizers
        assert (outer_told.class_name, outer_told.learning_rate, outer_told.step) == (
            "LossScaleOptimizer",
            None,
            7,
        )
        assert (inner_told.class_name, inner_told.learning_rate, inner_told.step) == ("Adam", 0.5, 7)

    def test_several_optimizers_train_what_their_patterns_mean(self, tmp_path):
        head, rest = TRAINED[-2:], TRAINED[:-2]
        adam, sgd = state(twice(head)), state(rest)
        told = optimizer("MultiOptimizer", name="multi", learning_rate=None)
        by_pattern = {"net/head/.*": optimizer("Adam")}
        inner = {"default_optimizer": optimizer("SGD", momentum=0.9), "optimizer_map": by_pattern}
        told["config"]["optimizer_map"] = {
            "module": "keras.optimizers",
            "class_name": "OptimizerMap",
            "config": inner,
        }
        groups = {
            **GROUPS,
            "optimizer": [np.array(0, np.int64), np.float32(0), *adam, *sgd],
            "optimizer/optimizers/adam": adam,
            "optimizer/optimizers/sgd": sgd,
        }
        names = {"optimizer/optimizers/adam": "adam", "optimizer/optimizers/sgd": "sgd"}
        checkpoint = toolkit.open_checkpoint(
            write_archive(tmp_path / "m.keras", groups, names=names, model=NET, trained_by=told)
        )
        found = owners_by_value(checkpoint)
        assert len(found) == 2 * 8
        assert all(slot == owner for slot, owner in found.values())

    @pytest.mark.parametrize("called", ["adam_1", ""])
    def test_slots_are_told_where_the_configuration_names_no_optimizer(self, tmp_path, called):
        """Keras 3.15.1 leaves it out of a `.keras` that is saved after an `.h5` of the same model."""
        groups = {**GROUPS, "optimizer": state(twice(TRAINED))}
        path = write_archive(tmp_path / "m.keras", groups, names={**NAMES, "optimizer": called}, model=NET)
        checkpoint = toolkit.open_checkpoint(path)
        found = owners_by_value(checkpoint)
        assert len(found) == 12
        assert all(slot == owner for slot, owner in found.values())
        assert checkpoint.roles()["optimizer/vars/1"] == Role("counter")
        assert checkpoint.metadata.optimizers[0].class_name == ("Adam" if called else None)

    def test_what_is_frozen_has_no_slots(self, tmp_path):
        model = json.loads(json.dumps(NET))
        model["config"]["layers"][0]["config"]["trainable"] = False
        groups = {**GROUPS, "optimizer": state(twice(TRAINED[2:]))}
        path = write_archive(tmp_path / "m.keras", groups, model=model, trained_by=optimizer("Adam"))
        checkpoint = toolkit.open_checkpoint(path)
        assert all(slot == owner for slot, owner in owners_by_value(checkpoint).values())
        assert sorted(checkpoint[name].read().flat[0] for name in checkpoint.trained()) == [3, 4, 7, 8]

    def test_a_state_that_fits_the_model_in_no_way_is_nobodys(self, tmp_path):
        groups = {**GROUPS, "optimizer": state(twice([np.ones((5, 5), np.float32)]))}
        path = write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=optimizer("Adam"))
        assert set(owners_by_value(toolkit.open_checkpoint(path)).values()) == {(1, None)}

    def test_one_that_was_never_used_has_numbers_alone(self, tmp_path):
        path = write_archive(
            tmp_path / "m.keras", {**GROUPS, "optimizer": state([])}, model=NET, trained_by=optimizer("Adam")
        )
        kinds = [role.kind for role in toolkit.open_checkpoint(path).roles().values()]
        assert kinds.count("counter") == 2
        assert kinds.count("weight") == 8

    def test_a_slot_starts_again_as_its_optimizer_was_told(self, ckpt, tmp_path):
        told = optimizer("Adagrad", name="mine", initial_accumulator_value=0.25)
        path = write_archive(
            tmp_path / "m.keras", {**GROUPS, "optimizer": state(TRAINED)}, model=NET, trained_by=told
        )
        ckpt("reinit", path, "hidden/kernel", "-o", tmp_path / "out")
        assert (
            toolkit.open_checkpoint(tmp_path / "out")["mine/hidden_kernel_accumulator"].read() == 0.25
        ).all()

    def test_a_schedule_free_momentum_starts_as_its_variable(self, ckpt, tmp_path):
        groups = {**GROUPS, "optimizer": state(twice(TRAINED))}
        path = write_archive(
            tmp_path / "m.keras", groups, model=NET, trained_by=optimizer("ScheduleFreeAdamW")
        )
        ckpt("reinit", path, "hidden/kernel", "-o", tmp_path / "out")
        after = toolkit.open_checkpoint(tmp_path / "out")
        momentum, velocity = (
            after[f"schedulefreeadamw/hidden_kernel_{slot}"].read() for slot in ("momentum", "velocity")
        )
        assert np.array_equal(momentum, after["hidden/kernel"].read())
        assert not velocity.any()


class TestUsersOwnClasses:
    """Their parts are written by name; in which order the optimizer was given them is not in the file."""

    @staticmethod
    def write(path, parts, order, **more):
        groups = {f"layers/mine/{name}": values for name, values in parts.items()}
        own = {**layer("Mine", "mine"), "module": None, "registered_name": "Mine"}
        kept = state(twice([value for name in order for value in parts[name]]))
        groups["optimizer"] = kept
        model = sequential("net", own)
        return write_archive(
            path,
            groups,
            names={g: g.rpartition("/")[2] for g in groups},
            model=model,
            trained_by=optimizer("Adam"),
            **more,
        )

    @pytest.mark.parametrize("order", list(itertools.permutations("abc")))
    def test_shapes_tell_the_order(self, tmp_path, order):
        parts = {
            "a": numbered([(3, 4), (4,)]),
            "b": numbered([(4, 4), (4,)], 3),
            "c": numbered([(4, 2), (2,)], 5),
        }
        found = owners_by_value(toolkit.open_checkpoint(self.write(tmp_path / "m.keras", parts, order)))
        assert len(found) == 12
        assert all(slot == owner for slot, owner in found.values())

    @pytest.mark.parametrize("order", ["abc", "bac", "cab"])
    def test_of_parts_of_one_shape_nothing_is_said(self, ckpt, tmp_path, order):
        parts = {"a": numbered([(4, 4)]), "b": numbered([(4, 4)], 2), "c": numbered([(4, 2)], 3)}
        path = self.write(tmp_path / "m.keras", parts, order)
        found = owners_by_value(toolkit.open_checkpoint(path)).values()
        assert sorted(found, key=str) == sorted([(1, None)] * 2 + [(2, None)] * 2 + [(3, 3)] * 2, key=str)
        ran = ckpt("reinit", path, "mine/a", "-o", tmp_path / "out")
        assert ran.code == 2
        assert "it has slots of which it does not tell whose they are" in ran.err
        assert ckpt("reinit", path, "mine/c", "-o", tmp_path / "out").code == 0

    def test_the_order_of_a_list_is_that_of_writing(self, tmp_path):
        """`[Dense, LayerNormalization, Dense]`: groups are numbered by class, and listed by name."""
        groups = {
            "layers/mine/parts/dense": numbered([(4, 4), (4,)]),
            "layers/mine/parts/layer_normalization": numbered([(4,)] * 2, 3),
            "layers/mine/parts/dense_1": numbered([(4, 4), (4,)], 5),
        }
        groups["optimizer"] = state(twice([v for values in groups.values() for v in values]))
        own = {**layer("Mine", "mine"), "module": None}
        path = write_archive(
            tmp_path / "m.keras", groups, model=sequential("net", own), trained_by=optimizer("Adam")
        )
        found = owners_by_value(toolkit.open_checkpoint(path))
        assert len(found) == 12
        assert all(slot == owner for slot, owner in found.values())

    def test_thirty_parts_of_one_shape_take_no_longer_than_three(self, tmp_path):
        parts = {f"p{n}": numbered([(4, 4), (4,)], 2 * n) for n in range(30)}
        found = owners_by_value(toolkit.open_checkpoint(self.write(tmp_path / "m.keras", parts, list(parts))))
        assert {owner for _, owner in found.values()} == {None}


class TestSeveralFiles:
    def test_a_folder_tells_what_an_archive_tells(self, net, tmp_path):
        with zipfile.ZipFile(net) as archive:
            archive.extractall(tmp_path / "folder")
        archive, folder = toolkit.open_checkpoint(net), toolkit.open_checkpoint(tmp_path / "folder")
        assert folder.metadata == archive.metadata
        assert folder.paths() == archive.paths()
        assert folder.roles() == archive.roles()

    @staticmethod
    def shard(folder):
        """Write the net's weights in two files, the optimizer's in both, the first with the names."""
        kept = state(twice(TRAINED))
        first = {"": [], "layers/dense": GROUPS["layers/dense"], "optimizer": kept[:5]}
        rest = {g: GROUPS[g] for g in ("layers/batch_normalization", "layers/dense_1")}
        write_weights(folder / "m_00000.weights.h5", first, names={"": "net", **NAMES, "optimizer": "adam"})
        write_weights(folder / "m_00001.weights.h5", rest, names=NAMES)
        with h5py.File(folder / "m_00001.weights.h5", "a") as file:
            for number, value in enumerate(kept[5:], 5):
                file[f"optimizer/vars/{number}"] = value
        names = ["m_00000.weights.h5", "m_00001.weights.h5"]
        groups = {"layers/dense": names[:1], "optimizer": names, **dict.fromkeys(rest, names[1:])}
        index = {"metadata": {}, "weight_map": {f"/{group}/vars": files for group, files in groups.items()}}
        (folder / "m.weights.json").write_text(json.dumps(index))
        return folder / "m.weights.json"

    def test_shards_are_told_as_one_file(self, tmp_path):
        checkpoint = toolkit.open_checkpoint(self.shard(tmp_path))
        found = owners_by_value(checkpoint)
        assert len(found) == 12
        assert all(slot == owner for slot, owner in found.values())
        assert checkpoint.paths()["optimizer/vars/13"] == "adam/head_bias_velocity"
        assert checkpoint.metadata.optimizers == (Optimizer("Adam", 0.5, None, 7, {}),)


def test_of_a_list_with_gaps_nothing_is_said(tmp_path):
    """As one is of which a part is missing."""
    path = tmp_path / "m.weights.h5"
    write_weights(path, {**GROUPS, "optimizer": state(twice(TRAINED))}, names=NAMES)
    with h5py.File(path, "a") as file:
        del file["optimizer/vars/4"], file["optimizer/vars/5"]
    assert {owner for _, owner in owners_by_value(toolkit.open_checkpoint(path)).values()} == {None}


class TestMetadata:
    def test_an_archive_says_who_wrote_it_and_how_it_was_trained(self, net):
        told = toolkit.open_checkpoint(net).metadata
        assert (told.producer, told.saved_at) == ("Keras 3.15.1", SAVED_AT)
        assert (told.model_class, told.model_name) == ("Sequential", "net")
        assert told.optimizers == (Optimizer("Adam", 0.5, None, 7, {}),)

    def test_a_schedule_is_named_and_leaves_no_rate(self, tmp_path):
        schedule = {"module": "keras.optimizers.schedules", "class_name": "CosineDecay", "config": {}}
        told = optimizer("SGD", learning_rate=schedule, momentum=0.9)
        groups = {**GROUPS, "optimizer": state(TRAINED, rate=None)}
        checkpoint = toolkit.open_checkpoint(
            write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=told)
        )
        assert checkpoint.metadata.optimizers == (
            Optimizer("SGD", None, "CosineDecay", 7, {"momentum": 0.9}),
        )
        assert all(slot == owner for slot, owner in owners_by_value(checkpoint).values())

    def test_steps_are_counted_as_keras_counts_them(self, tmp_path):
        """`optimizer.iterations` is by how many gradients are gathered for a step."""
        told = optimizer("SGD", momentum=0.9, gradient_accumulation_steps=3)
        groups = {**GROUPS, "optimizer": state([*TRAINED, *TRAINED])}
        checkpoint = toolkit.open_checkpoint(
            write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=told)
        )
        assert checkpoint.metadata.optimizers[0].step == 2

    def test_a_whole_models_h5_says_it_in_attributes(self, tmp_path):
        told = toolkit.open_checkpoint(legacy(tmp_path / "m.h5", "")).metadata
        assert (told.producer, told.model_class, told.model_name) == ("Keras 2.15.0", "Sequential", "net")
        assert told.optimizers == (Optimizer("Adam", 0.001, None, 4, {"amsgrad": False}),)

    def test_of_a_legacy_file_too_where_one_optimizer_wraps_another(self, tmp_path):
        path = legacy(tmp_path / "m.h5", "")
        inner = {"class_name": "Custom>Adam", "config": {"name": "Adam", "learning_rate": 0.001}}
        told = {
            "class_name": "Custom>LossScaleOptimizer",
            "config": {"name": "scaled", "inner_optimizer": inner},
        }
        with h5py.File(path, "a") as file:
            file.attrs["training_config"] = json.dumps({"optimizer_config": told})
        outer, inner = toolkit.open_checkpoint(path).metadata.optimizers
        assert (outer.class_name, outer.learning_rate) == ("LossScaleOptimizer", None)
        assert outer.step == 4  # those of the one in it, as in every layout
        assert (inner.class_name, inner.learning_rate, inner.step) == ("Adam", 0.001, 4)

    def test_a_file_of_weights_says_nothing_but_its_state(self, tmp_path):
        write_weights(tmp_path / "m.weights.h5", {**GROUPS, "optimizer": state(twice(TRAINED))})
        told = toolkit.open_checkpoint(tmp_path / "m.weights.h5").metadata
        assert (told.producer, told.model_class) == (None, None)
        assert told.optimizers == (Optimizer(None, 0.5, None, 7, {}),)


class TestTrained:
    def test_statistics_of_a_normalization_are_not_trained(self, net):
        found = toolkit.open_checkpoint(net)
        assert {found.paths()[name] for name in found.trained()} == {
            *("hidden/kernel", "hidden/bias", "norm/gamma", "norm/beta", "head/kernel", "head/bias")
        }

    def test_the_configuration_tells_without_an_optimizer(self, tmp_path):
        found = toolkit.open_checkpoint(write_archive(tmp_path / "m.keras", GROUPS, names=NAMES, model=NET))
        assert len(found.trained()) == 6

    def test_of_a_legacy_file_too(self, tmp_path):
        assert toolkit.open_checkpoint(legacy(tmp_path / "m.h5", "")).trained() == {
            "hidden/kernel",
            "hidden/bias",
        }

    def test_a_users_own_class_does_not_tell(self, tmp_path):
        own = {**layer("Mine", "mine"), "module": None}
        path = write_archive(
            tmp_path / "m.keras", {"layers/mine": numbered([(2, 2)])}, model=sequential("n", own)
        )
        assert toolkit.open_checkpoint(path).trained() is None


DEEP = "[" * 100_000
WRONG = [
    "",
    "not JSON",
    DEEP,
    '{"config": ' + DEEP,
    "[]",
    "null",
    '{"class_name": 3, "config": 4}',
    '{"class_name": "Sequential", "config": {"layers": [1, null, "x"]}}',
    '{"class_name": "Sequential", "config": {"layers": {"a": 1}, "name": 7}}',
    '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": [1]}]}}',
    '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Bidirectional", "config": {"layer": 1}}]}}',
    '{"compile_config": {"optimizer": {"class_name": "MultiOptimizer", "config": {"optimizer_map": 5}}}}',
    '{"compile_config": {"optimizer": {"class_name": "Adam", "config": {"learning_rate": []}}}}',
    '{"compile_config": {"optimizer": "nothing of Keras"}}',
    '{"compile_config": 5}',
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_configuration_that_says_nothing_sensible_counts_as_none(tmp_path, text):
    groups = {**GROUPS, "optimizer": state(twice(TRAINED))}
    checkpoint = toolkit.open_checkpoint(write_archive(tmp_path / "m.keras", groups, model=text))
    assert checkpoint.metadata.producer == "Keras 3.15.1"
    assert len(checkpoint.roles()) == len(checkpoint) == 22
    checkpoint.paths()
    checkpoint.trained()
    assert all(owner in (slot, None) for slot, owner in owners_by_value(checkpoint).values())


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*a){20}", "[", "x" * 300])
def test_a_pattern_that_could_take_for_ever_is_not_tried(tmp_path, pattern):
    model = sequential("net", layer("Dense", "a" * 200 + "b"))
    groups = {"layers/dense": numbered([(4, 4), (4,)])}
    groups["optimizer"] = state([*groups["layers/dense"], groups["layers/dense"][1]])
    told = optimizer("Muon", exclude_layers=[pattern])
    checkpoint = toolkit.open_checkpoint(
        write_archive(tmp_path / "m.keras", groups, model=model, trained_by=told)
    )
    assert set(owners_by_value(checkpoint).values()) == {(1, 1), (2, 2)}


def test_a_layer_of_another_name_than_the_configuration_says_is_not_that_layer(tmp_path):
    """The file's own attribute is believed, and of the class only its group tells."""
    names = {**NAMES, "layers/dense": "other"}
    path = write_archive(tmp_path / "m.keras", GROUPS, names=names, model=NET)
    assert toolkit.open_checkpoint(path).paths()["layers/dense/vars/0"] == "other/kernel"


def legacy(path, prefix, *, counter="iteration", version="2.15.0"):
    """Write a whole model's `.h5` as Keras 2.15 does: one dense layer, with Adam."""
    dense = {"class_name": "Dense", "config": {"name": "hidden", "trainable": True, "use_bias": True}}
    adam = {"name": "Adam", "learning_rate": 0.001, "amsgrad": False}
    model = {"class_name": "Sequential", "config": {"name": "net", "layers": [dense]}}
    weights = [f"{prefix}hidden/kernel", f"{prefix}hidden/bias"]
    slots = [f"Adam/{slot}/{name}" for name in weights for slot in "mv"]
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(model)
        file.attrs["training_config"] = json.dumps(
            {"optimizer_config": {"class_name": "Custom>Adam", "config": adam}}
        )
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"hidden"]
        for group, names in (("model_weights/hidden", weights), ("optimizer_weights", [counter, *slots])):
            held = file.create_group(group)
            held.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                shape = (3, 2) if "kernel" in name else (2,)
                held[f"{name}:0"] = np.int64(4) if name == counter else np.ones(shape, np.float32)
    return path


def test_a_whole_model_is_not_called_weights(tmp_path):
    path = legacy(tmp_path / "m.h5", "")
    assert toolkit.open_checkpoint(path).describe() == "Keras model (HDF5)"
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"], file.attrs["training_config"]
    assert toolkit.open_checkpoint(path).describe() == "Keras weights (HDF5)"


def test_what_a_keeper_adds_to_a_file_is_no_weight_and_leaves_owners_told(tmp_path):
    added = {"optimizer/untracked": numbered([(3, 4)]), "seed_generators": [np.array([1, 2], np.uint32)]}
    write_weights(
        tmp_path / "m.weights.h5", {**GROUPS, "optimizer": state(twice(TRAINED)), **added}, names=NAMES
    )
    checkpoint = toolkit.open_checkpoint(tmp_path / "m.weights.h5")
    found = owners_by_value(checkpoint)
    assert found.pop("optimizer/untracked/vars/0") == (1, None)
    assert len(found) == 12
    assert all(slot == owner for slot, owner in found.values())
    assert checkpoint.roles()["seed_generators/vars/0"] == Role("counter")

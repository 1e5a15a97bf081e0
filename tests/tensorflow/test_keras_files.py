"""What Keras itself writes in several files, in folders and as pickles: read as Keras reads it, or refused."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf
from keras.src.saving import saving_lib

from toolkit import UnsupportedError, export, open_checkpoint, plan_restore

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")

layers = tf.keras.layers


class Subclassed(tf.keras.Model):
    """A model with a variable of its own, which lies in the group `/vars`."""

    def __init__(self):
        super().__init__(name="net")
        self.block = [layers.Dense(40, name="z"), layers.Dense(30, name="a")]
        self.scale = self.add_weight(name="scale", shape=(30,))

    def call(self, x):
        for layer in self.block:
            x = layer(x)
        return x * self.scale


def functional():
    inputs = tf.keras.Input((8,))
    x = layers.Dense(40, name="hidden")(inputs)
    x = layers.Dropout(0.5)(layers.BatchNormalization(name="norm")(x))
    block = tf.keras.Sequential([layers.Dense(30, name="inner")], name="block")
    return tf.keras.Model(inputs, layers.Dense(30, name="out")(block(x)), name="net")


def trained(make):
    model = make()
    model(np.zeros((1, 8), "f"))
    model.compile("adam", "mse")
    rng = np.random.default_rng(5)
    data = rng.normal(size=(16, 8)).astype("f"), rng.normal(size=(16, 30)).astype("f")
    model.fit(*data, epochs=2, verbose=0)
    return model


@pytest.mark.parametrize("make", [functional, Subclassed])
@pytest.mark.parametrize("kilobytes", [5, 12, 1000])
def test_sharded_weights_are_as_one_file_is(tmp_path, make, kilobytes):
    model = trained(make)
    model.save_weights(tmp_path / "one.weights.h5")
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=kilobytes / 2**20)
    files = sorted(tmp_path.glob("x_*.weights.h5"))
    assert (len(files) > 1) == (kilobytes < 1000)
    with open_checkpoint(tmp_path / "one.weights.h5") as one:
        expected = {name: variable.read() for name, variable in one.items()}
        for given in (tmp_path / "x.weights.json", files[-1]):
            with open_checkpoint(given) as split:
                assert list(split) == list(expected)
                assert split.paths() == one.paths()
                assert split.roles() == one.roles()
                for name, values in expected.items():
                    assert split[name].dtype == one[name].dtype
                    assert split[name].read().tobytes() == values.tobytes()


@pytest.mark.parametrize("make", [functional, Subclassed])
def test_a_model_is_restored_from_sharded_weights_as_keras_loads_them(tmp_path, make):
    model = trained(make)
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=5 / 2**20)
    loaded, restored = make(), make()
    for new in (loaded, restored):
        new(np.zeros((1, 8), "f"))
    loaded.load_weights(tmp_path / "x.weights.json")
    plan = plan_restore(tmp_path / "x.weights.json", restored)
    assert plan.ok
    plan.apply()
    for ours, keras in zip(restored.weights, loaded.weights, strict=True):
        assert ours.numpy().tobytes() == keras.numpy().tobytes()


def test_keras_reads_a_missing_file_as_little_as_the_toolkit(tmp_path):
    model = trained(functional)
    model.save_weights(tmp_path / "x.weights.json", max_shard_size=5 / 2**20)
    weight_map = json.loads((tmp_path / "x.weights.json").read_text())["weight_map"]
    files = sorted({*itertools.chain.from_iterable(weight_map.values())})
    (tmp_path / files[1]).unlink()
    with pytest.raises(OSError, match=files[1]):
        model.load_weights(tmp_path / "x.weights.json")
    with pytest.raises(OSError, match=files[1]):
        open_checkpoint(tmp_path / "x.weights.json")
    with open_checkpoint(tmp_path / "x.weights.json", partial=True) as checkpoint:
        assert checkpoint.missing_files() == [str(tmp_path / files[1])]


def test_a_folder_that_keras_saved_is_read_as_its_archive(tmp_path):
    model = trained(functional)
    saving_lib.save_model(model, str(tmp_path / "net.keras"))
    saving_lib.save_model(model, str(tmp_path / "net"), zipped=False)
    with open_checkpoint(tmp_path / "net.keras") as archive, open_checkpoint(tmp_path / "net") as folder:
        assert folder.format == archive.format == "keras"
        assert folder.paths() == archive.paths()
        assert folder.roles() == archive.roles()
        assert list(folder) == list(archive)
        for name, variable in archive.items():
            assert folder[name].read().tobytes() == variable.read().tobytes()
    export(tmp_path / "net", tmp_path / "net.npz")
    shutil.rmtree(tmp_path / "net" / "assets", ignore_errors=True)
    assert open_checkpoint(tmp_path / "net" / "config.json").path == str(tmp_path / "net")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_keras_pickles_it_cannot_load_itself_and_is_refused_with_what_can(tmp_path, monkeypatch, zipped):
    model = trained(functional)
    path = str(tmp_path / ("net.keras" if zipped else "net"))
    saving_lib.save_model(model, path, weights_format="npz", zipped=zipped)
    with pytest.raises((ValueError, UnboundLocalError)):  # the second where the first kept it from a name
        saving_lib.load_model(path)
    with pytest.raises(UnsupportedError, match=r"Keras 3\.9\.2 and later cannot load them itself") as refused:
        open_checkpoint(path)
    monkeypatch.chdir(tmp_path)
    python, _, code = shlex.split(refused.value.hint.partition("x.npz: ")[2])
    assert python == "python"
    exec(code, {})
    model.save_weights(tmp_path / "one.weights.h5")
    with open_checkpoint("x.npz") as unpickled, open_checkpoint("one.weights.h5") as expected:
        assert set(unpickled) == set(expected)
        for name, variable in expected.items():
            assert unpickled[name].read().tobytes() == variable.read().tobytes()

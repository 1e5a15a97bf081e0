"""Partitioned variables, V1 checkpoints, other byte orders, object graphs: against TensorFlow and Keras."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import write_table
from tests.strategies import PLAIN, examples, plain_values, shapes, string_values
from tests.tensorflow import reference, tf
from toolkit import checksum, dtypes, open_checkpoint
from toolkit.formats.bundle.messages import Entry, encode_entry

v1 = tf.compat.v1
keras = tf.keras


@pytest.fixture(scope="module")
def savable(tmp_path_factory):
    return reference.savable(tmp_path_factory.mktemp("savable"))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, ...], list[list[int]]]:
    """A shape, and for each dimension where it is cut."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
    return shape, [
        sorted(draw(st.sets(st.integers(1, size - 1), max_size=2)) if size > 1 else []) for size in shape
    ]


def boxes(shape, cut):
    """Yield the start and the sizes of each part of a tensor that is cut so."""
    edges = [list(zip([0, *c], [*c, n], strict=True)) for n, c in zip(shape, cut, strict=True)]
    for corner in np.ndindex(*map(len, edges)):
        parts = [edge[i] for edge, i in zip(edges, corner, strict=True)]
        yield [a for a, _ in parts], [b - a for a, b in parts]


class TestSlices:
    @settings(max_examples=examples(100))
    @given(cuts(), st.data())
    def test_of_any_partitioning_read_equal(self, savable, tmp_path_factory, cut, data):
        folder = tmp_path_factory.mktemp("slices")
        shape, where = cut
        dtype = data.draw(st.sampled_from(savable))
        seed = data.draw(st.integers(0, 2**32 - 1))
        raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, np.uint8)
        if dtype.itemsize == 1:
            raw &= 1
        values = raw.view(dtype.numpy).reshape(shape)
        specs, tensors = [], []
        for start, sizes in boxes(shape, where):
            box = tuple(slice(a, a + n) for a, n in zip(start, sizes, strict=True))
            extents = ":".join(
                "-" if n == whole else f"{a},{n}" for a, n, whole in zip(start, sizes, shape, strict=True)
            )
            specs.append(f"{' '.join(map(str, shape))} {extents}")
            tensors.append(reference.to_tensor(dtype, values[box]))
        names = ["w"] * len(specs)
        tf.raw_ops.SaveV2(
            prefix=str(folder / "m"), tensor_names=names, shape_and_slices=specs, tensors=tensors
        )
        with open_checkpoint(folder / "m") as checkpoint:
            assert list(checkpoint) == ["w"]
            assert reference.same_bits(checkpoint["w"].read(), values)
            for max_bytes in (1, 7, 64):
                chunks = checkpoint["w"].chunks(max_bytes=max_bytes)
                assert b"".join(chunk.tobytes() for chunk in chunks) == values.tobytes()
        shutil.rmtree(folder)

    def test_of_strings_read_equal(self, tmp_path):
        values = np.array([[b"a", b"\0"], [b"", b"x" * 300]], object)
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "m"),
            tensor_names=["s", "s"],
            shape_and_slices=["2 2 0,1:-", "2 2 1,1:-"],
            tensors=[tf.constant(values[:1]), tf.constant(values[1:])],
        )
        with open_checkpoint(tmp_path / "m") as checkpoint:
            assert checkpoint["s"].read().tolist() == values.tolist()

    @pytest.mark.parametrize("axis", [0, 1])
    def test_of_partitioned_variables_read_equal(self, tmp_path, axis):
        with v1.Graph().as_default(), v1.Session() as session:
            with v1.variable_scope("net", partitioner=v1.fixed_size_partitioner(3, axis=axis)):
                v1.get_variable("w", [7, 5])
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(tmp_path / "m"))
        expected = tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("net/w")
        with open_checkpoint(tmp_path / "m") as checkpoint:
            assert list(checkpoint) == ["net/w"]
            assert len(checkpoint["net/w"].slices) == 3
            assert reference.same_bits(checkpoint["net/w"].read(), expected)


def v1_savable(folder: Path) -> list[dtypes.DType]:
    """Return the plain dtypes that TensorFlow's V1 writer takes."""
    found = []
    for dtype in PLAIN:
        try:
            save_v1(folder / "probe", {"x": (dtype, np.zeros(2, dtype.numpy))})
        except (tf.errors.OpError, TypeError, ValueError):
            continue
        found.append(dtype)
    return found


def save_v1(path: Path, content) -> None:
    tf.raw_ops.Save(
        filename=str(path),
        tensor_names=list(content),
        data=[reference.to_tensor(dtype, values) for dtype, values in content.values()],
    )


@pytest.fixture(scope="module")
def v1_dtypes(tmp_path_factory):
    found = v1_savable(tmp_path_factory.mktemp("v1"))
    assert {"float32", "int64", "complex128", "float16", "bool", "qint8"} <= {d.name for d in found}
    return found


class TestV1:
    @settings(max_examples=examples(100))
    @given(st.data())
    def test_values_read_equal(self, v1_dtypes, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("v1")
        content = {}
        for name in data.draw(st.lists(st.sampled_from("abcé/"), min_size=1, max_size=3, unique=True)):
            dtype = data.draw(st.sampled_from([*v1_dtypes, dtypes.BY_NAME["string"]]))
            values = data.draw(string_values() if dtype.kind == "string" else plain_values(dtype))
            if values.size:  # the V1 writer refuses an empty tensor
                content[f"{name}x"] = (dtype, values)
        if not content:
            return
        save_v1(folder / "m", content)
        with open_checkpoint(folder / "m") as checkpoint:
            assert checkpoint.format == "tensorflow-v1"
            assert set(checkpoint) == set(content)
            for name, (dtype, values) in content.items():
                assert checkpoint[name].dtype is dtype
                assert reference.same_bits(checkpoint[name].read(), values)
                assert (
                    sum(chunk.size for chunk in checkpoint[name].chunks(max_bytes=10))
                    == checkpoint[name].nbytes
                )
        shutil.rmtree(folder)

    def test_tensors_larger_than_what_is_held_read_equal(self, tmp_path):
        rng = np.random.default_rng(0)
        content = {
            "a": (dtypes.BY_NAME["float32"], np.ones(3, "f")),
            "floats": (dtypes.BY_NAME["float32"], rng.normal(size=(700, 1000)).astype("f")),
            "ints": (dtypes.BY_NAME["int32"], rng.integers(-(2**31), 2**31, (700, 1000)).astype("i4")),
            "z": (dtypes.BY_NAME["int64"], np.array(-5)),
        }
        save_v1(tmp_path / "m", content)
        with open_checkpoint(tmp_path / "m") as checkpoint:
            for name, (_, values) in content.items():
                assert reference.same_bits(checkpoint[name].read(), values)
            assert max(chunk.size for chunk in checkpoint["ints"].chunks(max_bytes=1000)) == 1000

    def test_slices_read_equal_which_tensorflows_reader_refuses(self, tmp_path):
        values = np.arange(24, dtype="f").reshape(6, 4)
        tf.raw_ops.SaveSlices(
            filename=str(tmp_path / "m"),
            tensor_names=["w", "w"],
            shapes_and_slices=["6 4 0,2:-", "6 4 2,4:-"],
            data=[tf.constant(values[:2]), tf.constant(values[2:])],
        )
        with open_checkpoint(tmp_path / "m") as checkpoint:
            assert [part.start for part in checkpoint["w"].slices] == [(0, 0), (2, 0)]
            assert reference.same_bits(checkpoint["w"].read(), values)

    def test_several_files_are_one_checkpoint(self, tmp_path):
        with v1.Graph().as_default(), v1.Session() as session:
            v1.get_variable("a", initializer=[1.0, 2.0], use_resource=False)
            session.run(v1.global_variables_initializer())
            saver = v1.train.Saver(sharded=True, write_version=v1.train.SaverDef.V1)
            assert saver.save(session, str(tmp_path / "m")) == f"{tmp_path}/m-?????-of-00001"
        save_v1(tmp_path / "n-00000-of-00002", {"a": (dtypes.BY_NAME["float32"], np.ones(2, "f"))})
        save_v1(tmp_path / "n-00001-of-00002", {"b": (dtypes.BY_NAME["int32"], np.array(3, "i4"))})
        for given_path in ("m", "m-?????-of-00001", "m-00000-of-00001", "m.meta", "", "checkpoint"):
            assert list(open_checkpoint(tmp_path / given_path)) == ["a"]
        for given_path in ("n", "n-?????-of-00002", "n-00001-of-00002"):
            with open_checkpoint(tmp_path / given_path) as checkpoint:
                assert checkpoint.describe() == "TensorFlow checkpoint (V1)"
                assert {name: v.read().tolist() for name, v in checkpoint.items()} == {"a": [1, 1], "b": 3}


SWAPPED = {*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "bool", "bfloat16"}
SWAPPED |= {"float16", "float32", "float64", "complex64", "complex128"}
"""The dtypes whose byte order TensorFlow turns round; it refuses others (tensor_bundle/byte_swap_tensor.cc)."""


@settings(max_examples=examples(60))
@given(shapes(4), st.data())
def test_tensorflow_and_we_read_the_same_from_big_endian_bundles(savable, tmp_path_factory, shape, data):
    folder = tmp_path_factory.mktemp("endian")
    dtype = data.draw(st.sampled_from([d for d in savable if d.name in SWAPPED]))
    values = data.draw(plain_values(dtype))
    word = dtype.itemsize // (2 if dtype.kind == "complex" else 1)
    stored = np.frombuffer(values.tobytes(), f"u{word}").byteswap().tobytes()
    entry = Entry(dtype, values.shape, len(stored), 0, 0, checksum.crc32c(stored))
    write_table(folder / "m.index", {b"": b"\x08\x01\x10\x01\x1a\x02\x08\x01", b"w": encode_entry(entry)})
    (folder / "m.data-00000-of-00001").write_bytes(stored)
    theirs = reference.restore(folder / "m", {"w": (dtype, values)})["w"]
    with open_checkpoint(folder / "m") as checkpoint:
        ours = checkpoint["w"].read()
    assert reference.same_bits(ours, theirs)
    assert reference.same_bits(ours, values)
    shutil.rmtree(folder)


def test_tensorflow_and_we_read_the_same_strings_from_big_endian_bundles(tmp_path):
    """The lengths, and the checksum over them, are seen in the order of the file."""
    elements = [b"abc", b"", b"x" * 300]
    lengths = b"".join(len(element).to_bytes(4, "big") for element in elements)
    check = checksum.mask(checksum.crc32c(lengths)).to_bytes(4, "big")
    crc = checksum.crc32c(b"".join(elements), checksum.crc32c(lengths + check))
    stored = b"\x03\x00\xac\x02" + check + b"".join(elements)
    entry = Entry(dtypes.BY_NAME["string"], (3,), len(stored), 0, 0, crc)
    write_table(tmp_path / "m.index", {b"": b"\x08\x01\x10\x01\x1a\x02\x08\x01", b"w": encode_entry(entry)})
    (tmp_path / "m.data-00000-of-00001").write_bytes(stored)
    content = {"w": (dtypes.BY_NAME["string"], np.array(elements, object))}
    assert reference.restore(tmp_path / "m", content)["w"].tolist() == elements
    with open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint["w"].read().tolist() == elements
        ours = b"".join(chunk.tobytes() for chunk in checkpoint["w"].chunks(max_bytes=10))
    reference.save(tmp_path / "little", content)
    assert ours == (tmp_path / "little.data-00000-of-00001").read_bytes()


def trained_model():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    return trained_model()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
class TestObjectGraphs:
    @pytest.mark.parametrize("with_optimizer_first", [False, True])
    def test_of_keras_tell_paths_and_roles(self, tmp_path, model, with_optimizer_first):
        parts = {"model": model, "optimizer": model.optimizer}
        if with_optimizer_first:
            parts = dict(reversed(parts.items()))
        path = tf.train.Checkpoint(**parts).save(str(tmp_path / "m"))
        with open_checkpoint(path) as checkpoint:
            paths, roles = checkpoint.paths(), checkpoint.roles()
            by_path = {path: key for key, path in paths.items()}
            for weight in model.weights:
                key = by_path[weight.path]
                assert roles[key].kind == "weight"
                assert reference.same_bits(checkpoint[key].read(), weight.numpy())
            for variable in model.optimizer.variables:
                key = by_path[variable.path]
                assert roles[key].kind == ("slot" if len(variable.shape) else "counter")
                if len(variable.shape):
                    flat = variable.path.partition("/")[2]  # after the optimizer's name
                    weight = next(w for w in model.weights if flat.startswith(f"{w.path.replace('/', '_')}_"))
                    assert roles[key].of == by_path[weight.path]
            assert roles[by_path["save_counter"]].kind == "counter"
            assert roles["_CHECKPOINTABLE_OBJECT_GRAPH"].kind == "metadata"

    def test_of_modules_have_the_way_where_the_name_is_not_unique(self, tmp_path):
        module = tf.Module()
        module.named = tf.Variable([1.0, 2.0], name="named")
        module.list = [tf.Variable(1.0), tf.Variable(2.0)]
        module.itself = module
        tf.train.Checkpoint(net=module, step=tf.Variable(3)).write(str(tmp_path / "m"))
        with open_checkpoint(tmp_path / "m") as checkpoint:
            suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
            assert {key.removesuffix(suffix): path for key, path in checkpoint.paths().items()} == {
                "net/named": "named", "net/list/0": "net/list/0", "net/list/1": "net/list/1", "step": "step",
            }  # fmt: skip
            assert checkpoint.roles()[f"step{suffix}"].kind == "counter"

    def test_of_keras_2_slots_are_listed(self, ckpt):
        """SGD with momentum in a loss scale optimizer, as TensorFlow 2.4 saved it."""
        real = Path(__file__).parents[3] / "shared" / "real" / "tf2-object-two-shards"
        if not real.exists():
            pytest.skip("no real checkpoints here")
        with open_checkpoint(real) as checkpoint:
            roles, paths = checkpoint.roles(), checkpoint.paths()
            slots = {paths[key]: paths[role.of] for key, role in roles.items() if role.kind == "slot"}
        assert slots == {
            f"SGD/sequential/dense/{leaf}/momentum": f"sequential/dense/{leaf}" for leaf in ("kernel", "bias")
        }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
class TestKerasFiles:
    @pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".h5"])
    def test_read_equal_to_the_model(self, tmp_path, model, ending):
        path = str(tmp_path / f"m{ending}")
        if ending == ".weights.h5":
            model.save_weights(path)
        else:
            model.save(path)
        with open_checkpoint(path) as checkpoint:
            roles = checkpoint.roles()
            weights = {name for name, role in roles.items() if role.kind == "weight"}
            assert len(weights) == len(model.weights)
            values = {v.read().tobytes() for name, v in checkpoint.items() if name in weights}
            assert values == {weight.numpy().tobytes() for weight in model.weights}
            kept = {v.read().tobytes() for name, v in checkpoint.items() if name not in weights}
            assert kept == {variable.numpy().tobytes() for variable in model.optimizer.variables}
            paths = checkpoint.paths()
            if ending == ".h5":
                slot = next(name for name in roles if name.endswith("head_kernel_momentum"))
                assert roles[slot].of.endswith("/head/kernel")
            else:
                assert {"hidden/kernel", "head/bias", "norm/moving_variance"} <= set(paths.values())

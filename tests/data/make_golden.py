"""Make the checkpoints in `valid/` with TensorFlow, and write down what TensorFlow reads from them.

    python -m tests.data.make_golden [NAME]...

`expected.json` has for each variable of each checkpoint its dtype, shape and the SHA-256 of its values
in C order, little endian; for strings, of each element's length (8 bytes, little endian) and bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.conftest import write_table
from tests.strategies import BITS
from tests.tensorflow import reference, tf
from toolkit import checksum, dtypes
from toolkit.formats.bundle.messages import Entry, encode_entry
from toolkit.graph.models import perceptron

VALID = Path(__file__).parent / "valid"


def golden_dtypes(folder: Path) -> Path:
    """Every dtype that TensorFlow saves: all bit patterns of a byte, scalars, and an empty tensor."""
    content = {}
    for dtype in reference.savable(folder):
        raw = np.arange(256, dtype=np.uint8)
        raw &= (1 << BITS.get(dtype.name, 8)) - 1
        values = raw.view(dtype.numpy)
        content[f"{dtype}/matrix"] = (dtype, values.reshape(4, -1))
        content[f"{dtype}/scalar"] = (dtype, values[1].reshape(()))
        content[f"{dtype}/empty"] = (dtype, values[:0].reshape(3, 0))
    for path in folder.glob("probe*"):
        path.unlink()
    reference.save(folder / "model", content)
    return folder / "model"


def golden_strings(folder: Path) -> Path:
    """Strings: empty ones, ones with NUL, ones that are not UTF-8, one with a length of two bytes."""
    string = dtypes.BY_NAME["string"]
    values = np.array([b"", b"a\0b", b"\xff\xfe", "é".encode(), b"x" * 300, b"plain"], object)
    content = {
        "matrix": (string, values.reshape(2, 3)),
        "scalar": (string, np.array(b"one", object)),
        "none": (string, values[:0]),
        "é/ünïcode": (dtypes.BY_NAME["float32"], np.array([1.5], "f")),
    }
    reference.save(folder / "model", content)
    return folder / "model"


def golden_shards(folder: Path) -> Path:
    """Three data files."""
    for i in range(3):
        content = {
            f"layer{i}/kernel": (dtypes.BY_NAME["float32"], np.arange(6, dtype="f").reshape(2, 3) + i),
            f"layer{i}/bias": (dtypes.BY_NAME["float64"], np.arange(3.0) - i),
        }
        reference.save(folder / f"part{i}", content)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(folder / f"part{i}") for i in range(3)],
        destination_prefix=str(folder / "model"),
    )
    return folder / "model"


def golden_perceptron(folder: Path) -> Path:
    """A network after three steps of Adam, with moving averages, as a Saver leaves it."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        model = perceptron(4, (3,), 2, optimizer="adam", learning_rate=0.1, average=0.5)
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in range(3):
            batch = {model.inputs: rng.normal(size=(8, 4)), model.labels: rng.integers(0, 2, 8)}
            session.run(model.train_op, batch)
        saver = tf.compat.v1.train.Saver(save_relative_paths=True)
        return Path(
            saver.save(session, str(folder / "model.ckpt"), model.global_step, write_meta_graph=False)
        )


def golden_partitioned(folder: Path) -> Path:
    """Variables partitioned over rows and over columns, beside one that is not."""
    rng = np.random.default_rng(1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for axis, shape in ((0, (7, 3)), (1, (2, 5))):
            with tf.compat.v1.variable_scope(
                f"axis{axis}", partitioner=tf.compat.v1.fixed_size_partitioner(3, axis=axis)
            ):
                tf.compat.v1.get_variable("w", shape)
        tf.compat.v1.get_variable("whole", [2])
        for variable in tf.compat.v1.global_variables():
            variable.load(rng.normal(size=variable.shape).astype("f"), session)
        saver = tf.compat.v1.train.Saver()
        return Path(saver.save(session, str(folder / "model"), write_state=False, write_meta_graph=False))


def golden_v1(folder: Path) -> Path:
    """A V1 checkpoint with all dtypes that TensorFlow's V1 writer takes, and strings."""
    content = {"text": (dtypes.BY_NAME["string"], np.array([b"a", b"", b"\xff\0"], object))}
    for name in ("float32", "float64", "int32", "uint8", "int16", "int8", "complex64", "int64", "bool"):
        dtype = dtypes.BY_NAME[name]
        raw = np.arange(2 * dtype.itemsize, dtype=np.uint8) % (2 if name == "bool" else 255)
        content[name] = (dtype, raw.view(dtype.numpy).reshape(2, 1))
    tf.raw_ops.Save(
        filename=str(folder / "model.ckpt"),
        tensor_names=list(content),
        data=[reference.to_tensor(dtype, values) for dtype, values in content.values()],
    )
    return folder / "model.ckpt"


def golden_objects(folder: Path) -> Path:
    """A Keras 3 model and its optimizer, as tf.train.Checkpoint writes them."""
    tf.keras.utils.set_random_seed(1)
    layers = [
        tf.keras.Input((2,)),
        tf.keras.layers.Dense(3, name="hidden"),
        tf.keras.layers.Dense(2, name="head"),
    ]
    model = tf.keras.Sequential(layers, name="net")
    model.compile(tf.keras.optimizers.Adam(), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    return Path(tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(folder / "model")))


def golden_big_endian(folder: Path) -> Path:
    """What a machine of the other byte order would have written; made by hand, read by TensorFlow."""
    entries, data = {b"": b"\x08\x01\x10\x01\x1a\x02\x08\x01"}, b""
    for name, values in {
        "float32": np.array([1.5, -0.0, 3e38], ">f4"),
        "int64": np.array([[1 << 40, -1]], ">i8"),
        "complex64": np.array([1 + 2j], ">c8"),
        "uint8": np.array([7], "u1"),
    }.items():
        raw = values.tobytes()
        entry = Entry(dtypes.BY_NAME[name], values.shape, len(raw), 0, len(data), checksum.crc32c(raw))
        entries[name.encode()] = encode_entry(entry)
        data += raw
    write_table(folder / "model.index", entries)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return folder / "model"


GOLDEN = (
    golden_dtypes,
    golden_strings,
    golden_shards,
    golden_perceptron,
    golden_partitioned,
    golden_v1,
    golden_objects,
    golden_big_endian,
)


def described(prefix: Path) -> dict[str, list]:
    """Return what TensorFlow's own reader says of a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    found = {}
    for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
        shape = reader.get_variable_to_shape_map()[name]
        tensor = tf.raw_ops.RestoreV2(
            prefix=str(prefix), tensor_names=[name], shape_and_slices=[""], dtypes=[dtype]
        )[0]
        digest = hashlib.sha256()
        if dtype == tf.string:
            for element in tensor.numpy().reshape(-1).tolist() if shape else [tensor.numpy()]:
                digest.update(len(element).to_bytes(8, "little") + element)
        else:
            plain = dtypes.BY_NAME[dtype.name].numpy.name
            if dtype.is_quantized:
                tensor = tf.bitcast(tensor, tf.as_dtype(plain))
            digest.update(tensor.numpy().tobytes())
        found[name] = [dtype.name, shape, digest.hexdigest()]
    return found


def main(wanted: list[str]) -> None:
    """Make all, or those that are `wanted`, anew."""
    file = VALID / "expected.json"
    expected = json.loads(file.read_text("utf-8")) if wanted else {}
    for make in GOLDEN:
        folder = VALID / make.__name__.removeprefix("golden_")
        if wanted and folder.name not in wanted:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        prefix = make(folder)
        expected[str(prefix.relative_to(VALID))] = described(prefix)
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

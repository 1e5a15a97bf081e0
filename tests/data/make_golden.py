"""Make the checkpoints in `valid/` with TensorFlow, and write down what TensorFlow reads from them.

    python -m tests.data.make_golden

`expected.json` has for each variable of each checkpoint its dtype, shape and the SHA-256 of its values
in C order, little endian; for strings, of each element's length (8 bytes, little endian) and bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from tests.strategies import BITS
from tests.tensorflow import reference, tf
from toolkit import dtypes
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


def main() -> None:
    shutil.rmtree(VALID, ignore_errors=True)
    expected = {}
    for make in (golden_dtypes, golden_strings, golden_shards, golden_perceptron):
        folder = VALID / make.__name__.removeprefix("golden_")
        folder.mkdir(parents=True)
        prefix = make(folder)
        expected[str(prefix.relative_to(VALID))] = described(prefix)
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    (VALID / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

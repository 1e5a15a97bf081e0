"""The files that the examples of each `--help` mean, and the examples themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tests.conftest import write_bundle
from toolkit import export
from toolkit.cli.examples import EXAMPLES, epilog
from toolkit.formats.bundle.schema import message_class

WITH_TENSORFLOW = ("init", "restore")
MODEL = """
import tensorflow as tf

def build():
    v1 = tf.compat.v1
    for name, shape in {"body/kernel": [3, 4], "body/bias": [4], "head/kernel": [4, 2], "head/bias": [2]}.items():
        v1.get_variable(name, shape)
    v1.train.create_global_step()

def keras():
    return tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4, name="dense")], name="net")
"""


def examples(command: str) -> list[str]:
    """Return the examples of a command, as its help shows them, each with its continuation lines."""
    lines = epilog(command).partition("Examples:\n")[2]
    return [line.strip() for line in lines.replace("\\\n", " ").splitlines()]


def all_examples() -> list[tuple[str, str]]:
    """Return every example with its command."""
    return [(command, line) for command in EXAMPLES for line in examples(command)]


def needs_tensorflow(command: str, line: str) -> bool:
    """Return whether an example loads TensorFlow."""
    return command in WITH_TENSORFLOW or "--to-tf2" in line


def make_files(folder: Path) -> None:
    """Make them all, but for `model.h5` as Keras itself would write it."""
    rng = np.random.default_rng(5)
    body = {"body/kernel": rng.normal(size=(3, 4)), "body/bias": np.zeros(4)}
    head = {"head/kernel": rng.normal(size=(4, 2)), "head/bias": np.zeros(2)}
    plain = {name: value.astype("f") for name, value in {**body, **head}.items()}
    for place in ("run", "old", "tf2"):
        (folder / place).mkdir()
    for step in (100, 200):
        content = {"global_step": np.int64(step), "beta1_power": np.float32(0.5)}
        for name, value in plain.items():
            content |= {name: value + np.float32(step), f"{name}/Adam": value, f"{name}/Adam_1": value**2}
        write_bundle(folder / "run" / f"model.ckpt-{step}", content)
    state = 'model_checkpoint_path: "model.ckpt-200"\n'
    state += "".join(f'all_model_checkpoint_paths: "model.ckpt-{step}"\n' for step in (100, 200))
    (folder / "run" / "checkpoint").write_text(state)
    write_bundle(folder / "old" / "net", {n.replace("body", "net"): plain[n] for n in body})
    write_bundle(folder / "body", {name: plain[name] for name in body})
    write_bundle(folder / "head", {name: plain[name] for name in head})
    for i, name in enumerate("abc"):
        write_bundle(folder / name, {"w": np.full(3, i, "f")})
    graph = message_class("TrackableObjectGraph")()
    root, value = graph.nodes.add(), graph.nodes.add()
    root.children.add(node_id=1, local_name="w")
    key = "w/.ATTRIBUTES/VARIABLE_VALUE"
    value.attributes.add(name="VARIABLE_VALUE", full_name="net/w", checkpoint_key=key)
    objects = np.array(graph.SerializeToString(), object)
    write_bundle(folder / "tf2" / "ckpt-1", {key: np.ones(3, "f"), "_CHECKPOINTABLE_OBJECT_GRAPH": objects})
    with h5py.File(folder / "model.h5", "w") as file:
        file["dense/kernel"] = np.ones((3, 4), "f")
        file["dense/bias"] = np.zeros(4, "f")
    export(folder / "run", folder / "model.safetensors")
    (folder / "model.py").write_text(MODEL)

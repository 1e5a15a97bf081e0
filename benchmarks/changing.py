"""Changing 1 GB, and averaging five times that, beside TensorFlow; and the same change of 1 TB.

python benchmarks/changing.py [FOLDER]

FOLDER is where 7 GB may be written for a while; by default the system's place for temporary files.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import in_turn

from toolkit import open_checkpoint
from toolkit.dtypes import as_dtype
from toolkit.formats.bundle.messages import Entry
from toolkit.formats.bundle.naming import data_file
from toolkit.formats.bundle.writer import BundleWriter, write_index

SHAPE = (1024, 2560)
NAMES = [f"net{i // 10}/layer{i:03d}/kernel" for i in range(100)]
CHOSEN = NAMES[77]

OURS = f"""
import sys, toolkit
toolkit.edit(sys.argv[1]).rename("net3", "backbone").reinit({CHOSEN!r}, "he_normal", seed=7).write(
    sys.argv[2], force=True)
"""
THEIRS = f"""
import sys, tensorflow as tf
v1 = tf.compat.v1
reader = tf.train.load_checkpoint(sys.argv[1])
with tf.Graph().as_default(), v1.Session() as session:
    names, feeds = [], {{}}
    for name in reader.get_variable_to_shape_map():
        value = reader.get_tensor(name)
        if name == {CHOSEN!r}:
            value = session.run(v1.initializers.he_normal(7)(value.shape, value.dtype))
        names.append(name.replace("net3/", "backbone/"))
        feeds[v1.placeholder(value.dtype)] = value
    session.run(tf.raw_ops.SaveV2(prefix=sys.argv[2], tensor_names=names,
                                  shape_and_slices=[""] * len(names), tensors=list(feeds)), feeds)
"""
THEIR_MEAN = """
import sys, numpy as np, tensorflow as tf
v1 = tf.compat.v1
*sources, out = sys.argv[1:]
values = {}
for source in sources:
    reader = tf.train.load_checkpoint(source)
    for name, shape in reader.get_variable_to_shape_map().items():
        values[name] = values.get(name, 0.0) + reader.get_tensor(name) / len(sources)
with tf.Graph().as_default(), v1.Session() as session:
    feeds = {v1.placeholder(value.dtype): value for value in values.values()}
    session.run(tf.raw_ops.SaveV2(prefix=out, tensor_names=list(values),
                                  shape_and_slices=[""] * len(values), tensors=list(feeds)), feeds)
"""


def big(prefix: str, seed: int) -> str:
    """Write 100 float32 variables of 1024 x 2560."""
    rng = np.random.default_rng(seed)
    with BundleWriter(prefix) as writer:
        for name in NAMES:
            writer.add(name, rng.standard_normal(SHAPE, np.float32))
        writer.finish()
    return prefix


def huge(prefix: str) -> str:
    """Write an index over a data file of 1 TB that is one hole: 99 variables of 10 GB, and one of 10 MB."""
    with BundleWriter(prefix + ".small") as writer:
        crc = writer.add("w", np.zeros(SHAPE, np.float32)).crc32c
        writer.finish()
    entries, offset = {}, 0
    for name in NAMES:
        shape = SHAPE if name == CHOSEN else (1000, *SHAPE)
        nbytes = int(np.prod(shape)) * 4
        entries[name.encode()] = Entry(as_dtype("float32"), shape, nbytes, 0, offset, crc)
        offset += nbytes
    write_index(prefix, entries, 1)
    with open(data_file(prefix, 0, 1), "wb") as file:
        file.truncate(offset)
    return prefix


def main() -> None:
    """Run each in turn and print what they took."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        parts = [big(f"{folder}/m{i}", i) for i in range(5)]
        python = [sys.executable, "-c"]
        commands = {
            "ours": [*python, OURS, parts[0], f"{folder}/ours"],
            "TensorFlow": [*python, THEIRS, parts[0], f"{folder}/theirs"],
        }
        with contextlib.suppress(OSError):  # a file system without such large files
            commands["ours, of 1 TB"] = [*python, OURS, huge(f"{folder}/huge"), f"{folder}/ours-huge"]
        show("a scope renamed and 1 of 100 variables reinitialized, of 1 GB", in_turn(commands))
        with open_checkpoint(f"{folder}/ours") as ours, open_checkpoint(f"{folder}/theirs") as theirs:
            assert ours.keys() == theirs.keys()
            assert all(ours[n].crc32c == theirs[n].crc32c for n in ours if n != CHOSEN)
        new = [p for p in Path(folder).glob("ours.*") if p.stat().st_nlink == 1]
        print(f"new bytes on the disk: {sum(p.stat().st_size for p in new):,}, of which values 10,485,760\n")
        for path in Path(folder).glob("*huge*"):
            os.unlink(path)
        commands = {
            "ours": [*python, "from toolkit.cli.app import program; program()", "average", *parts,
                     "-o", f"{folder}/mean", "--force", "-q"],
            "ours, --no-sync": [*python, "from toolkit.cli.app import program; program()", "average", *parts,
                                "-o", f"{folder}/mean", "--force", "-q", "--no-sync"],
            "TensorFlow": [*python, THEIR_MEAN, *parts, f"{folder}/theirs"],
        }  # fmt: skip
        show("the mean of five checkpoints of 1 GB", in_turn(commands, rounds=3))


def show(what: str, found: dict) -> None:
    """Print medians, and how many times faster than TensorFlow each is."""
    print(what)
    for name, run in found.items():
        faster = found["TensorFlow"].seconds / run.seconds
        print(f"  {name:16} {run.seconds:7.2f} s {run.peak:7.0f} MiB  {faster:5.1f} times as fast")


if __name__ == "__main__":
    main()

"""Reading a checkpoint from Python without TensorFlow: a mapping from names to lazy tensors."""

import sys
from pathlib import Path

import toolkit

ckpt = Path(__file__).parents[1] / "tests" / "data" / "valid" / "perceptron"

with toolkit.open_checkpoint(ckpt) as checkpoint:  # a directory: its latest
    print(f"{len(checkpoint)} variables, in {len(checkpoint.files())} files")

    kernel = checkpoint["head/kernel"]
    print(kernel.name, kernel.dtype, kernel.shape, kernel.nbytes, f"{kernel.crc32c:08x}")
    print(
        kernel.read().astype(float).round(3).tolist()
    )  # a read-only view of the mapped file, checksum compared

    summary = toolkit.inspect(checkpoint, ["head"])
    print([variable.name for variable in summary.by_kind["slot"]])

    try:
        checkpoint["head/kernels"]
    except KeyError as error:
        print(str(error).removeprefix(str(ckpt)))

print("TensorFlow was loaded:", "tensorflow" in sys.modules)

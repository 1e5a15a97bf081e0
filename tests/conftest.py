"""What tests share: the golden checkpoints, small bundles made on the spot, and the program itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings

from toolkit.cli.app import main
from toolkit.formats.bundle.table_builder import TableBuilder
from toolkit.formats.bundle.writer import BundleWriter

settings.register_profile("fixed", derandomize=True, deadline=None)  # a run is the same everywhere
settings.load_profile("fixed")

VALID = Path(__file__).parent / "data" / "valid"


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def ckpt(capsys, monkeypatch) -> Callable[..., Ran]:
    """Run `ckpt` with the given arguments in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["ckpt", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        captured = capsys.readouterr()
        return Ran(exit_info.value.code or 0, captured.out, captured.err)

    return run


def write_bundle(prefix: Path | str, content: Mapping[str, np.ndarray]) -> str:
    """Write a checkpoint of plain or string values and return its prefix."""
    with BundleWriter(str(prefix)) as writer:
        for name, values in content.items():
            writer.add(name, np.asarray(values))
        writer.finish()
    return str(prefix)


def write_table(path: Path | str, entries: Mapping[bytes, bytes]) -> None:
    """Write a table of these keys and values."""
    with open(path, "wb") as file:
        builder = TableBuilder(file)
        for key, value in sorted(entries.items()):
            builder.add(key, value)
        builder.finish()


@pytest.fixture
def trained(tmp_path) -> str:
    """A checkpoint like that of a network with Adam and moving averages after some steps."""
    rng = np.random.default_rng(7)
    content = {}
    for name, shape in {
        "conv1/kernel": (3, 3, 1, 4),
        "conv1/bias": (4,),
        "conv10/kernel": (3, 3, 1, 4),
        "head/kernel": (4, 5),
        "head/bias": (5,),
    }.items():
        for suffix in ("", "/Adam", "/Adam_1", "/ExponentialMovingAverage"):
            content[name + suffix] = rng.normal(size=shape).astype(np.float32)
    content["global_step"] = np.array(300, np.int64)
    content["beta1_power"] = np.array(0.5, np.float32)
    content["beta2_power"] = np.array(0.25, np.float32)
    (tmp_path / "run").mkdir()
    return write_bundle(tmp_path / "run" / "model.ckpt-300", content)


def names_in(folder: Path) -> list[str]:
    """Return what lies in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file under a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

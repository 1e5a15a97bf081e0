"""Any sequence of edits of a checkpoint of any format comes to what the same edits of a dict come to."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import edits
from tests.conftest import write_bundle
from tests.strategies import examples
from toolkit import CheckpointError, edit, export, open_checkpoint
from toolkit.formats.bundle.writer import BundleWriter


def source_of(format_: str, values: dict[str, np.ndarray], folder: Path) -> str:
    """Write a dict as a checkpoint, or a file of another format, and return its path."""
    if format_ == "shards":
        with BundleWriter(str(folder / "m"), num_shards=len(values)) as writer:
            for number, (name, value) in enumerate(values.items()):
                if number:
                    writer.next_shard()
                writer.add(name, value)
            writer.finish()
        return str(folder / "m")
    prefix = write_bundle(folder / "m", values)
    if format_ == "bundle":
        return prefix
    export(prefix, folder / f"x.{format_}")
    return str(folder / f"x.{format_}")


def both(path: str, held: edits.Held_by_name, number: int, draw):
    """Do the same edits of both; return what each comes to. What one refuses, the other must refuse."""
    edited = edit(path)
    for _ in range(number):
        step = draw(edits.one_edit(held))
        kind, *arguments = step
        try:
            expected = edits.after(held, step)
        except edits.CannotError:
            with pytest.raises(CheckpointError):
                getattr(edited, kind)(*arguments).plan().rehearse()
            continue
        if not expected:
            with pytest.raises(CheckpointError):
                getattr(edited, kind)(*arguments).plan()
            continue
        held, edited = expected, getattr(edited, kind)(*arguments)
    return edited, {name: each.value for name, each in held.items()}


@pytest.mark.parametrize("format_", ["bundle", "shards", "h5", "npz", "safetensors"])
def test_edits_come_to_the_same_as_those_of_a_dict(format_):
    @settings(
        max_examples=examples(60),
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(edits.contents(), st.integers(0, 8), st.sampled_from(["auto", "link", "copy"]), st.data())
    def check(held, number, mode, data):
        with tempfile.TemporaryDirectory() as folder:
            path = source_of(format_, {name: each.value for name, each in held.items()}, Path(folder))
            edited, expected = both(path, held, number, data.draw)
            edited.write(f"{folder}/out", data=mode, sync=False)
            with open_checkpoint(f"{folder}/out") as written:
                found = {name: variable.load() for name, variable in written.items()}
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
                assert found[name].tolist() == value.tolist()

    check()

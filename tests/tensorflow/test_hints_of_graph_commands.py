"""What the commands that build a model hint at, they have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import VALID
from tests.test_hints import OPTIONS

ROOT = Path(__file__).parents[2]
MODEL = f"{ROOT}/examples/perceptron.py:network"
PREFIX = str(VALID / "perceptron/model.ckpt-3")
FAILING = """
restore P --model M --rename dense1=x
restore P --model M --rename dense1/*=x
restore P --model M --rename nope=x
restore P --model M --rename dense1
restore P --model M --reinit nope
restore P --model M nope
restore P --model M --exclude nope
restore P --model M --copy head/kernel=dense1/kernel
restore P --model M --copy head
restore P --model M --ema require --rename head=other
restore O --model M
restore O --model M --on-shape overlap
restore P --model M:nope
restore P --model nope.py:f
restore P --model nope
restore nope --model M
init --model nope
init --model M --copy head/kernel=nope
import P --to-tf2 --model M
export P OUT.weights.h5 --layout keras3 --model M
export P OUT.h5 --layout keras3
"""


@pytest.mark.parametrize("line", FAILING.strip().splitlines())
def test_what_a_command_hints_at_it_has(tmp_path, ckpt, line, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "M": MODEL,
        "P": PREFIX,
        "O": str(VALID / "objects/model"),
        "M:nope": MODEL.replace("network", "nope"),
    }
    words = [given.get(word, word) for word in line.split()]
    if words[0] != "export":
        words += ["-o", "out"]
    ran = ckpt(*words)
    assert ran.code in (1, 2), ran
    hints = [text for text in ran.err.splitlines() if text.startswith("hint: ")]
    assert hints, ran
    shown = hints + [row for row in ran.out.splitlines() if row.startswith("cannot")]
    for text in shown:
        assert not re.search(r"\b[a-z_]+=(True|False|None)\b", text), text
        for option in re.findall(r"(?<![\w`-])(--[a-z][a-z0-9-]+)", re.sub(r"`[^`]*`", "", text)):
            assert option in OPTIONS[words[0]], text
    assert list(tmp_path.iterdir()) == []

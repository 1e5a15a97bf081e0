"""Tests that need TensorFlow, which is imported here once, quietly."""

import os
import warnings

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_terminal = os.dup(2)
with warnings.catch_warnings(), open(os.devnull, "w") as _nowhere:
    warnings.simplefilter("ignore")
    os.dup2(_nowhere.fileno(), 2)  # its native log begins before anyone can stop it
    try:
        tf = pytest.importorskip("tensorflow", reason="the tests of this folder ask TensorFlow itself")
    finally:
        os.dup2(_terminal, 2)
        os.close(_terminal)

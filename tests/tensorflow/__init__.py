"""Tests that need TensorFlow, which is imported here once, quietly."""

import os
import warnings

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tf = pytest.importorskip("tensorflow", reason="the tests of this folder ask TensorFlow itself")

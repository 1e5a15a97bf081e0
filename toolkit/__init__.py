"""A checkpoint toolkit for TensorFlow: what `ckpt` does, from Python. Nothing here prints.

Importing it loads neither TensorFlow nor h5py nor NumPy: each name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from toolkit.version import __version__

if TYPE_CHECKING:
    from toolkit.change.export import Exported as Exported
    from toolkit.change.export import export as export
    from toolkit.change.export import plan_export as plan_export
    from toolkit.change.importing import import_checkpoint as import_checkpoint
    from toolkit.change.importing import plan_import as plan_import
    from toolkit.change.reinit import plan_reinit as plan_reinit
    from toolkit.checkpoint import Checkpoint as Checkpoint
    from toolkit.checkpoint import Variable as Variable
    from toolkit.errors import CheckpointError as CheckpointError
    from toolkit.errors import ChecksumError as ChecksumError
    from toolkit.errors import FormatError as FormatError
    from toolkit.errors import MismatchError as MismatchError
    from toolkit.errors import ModelError as ModelError
    from toolkit.errors import PlanError as PlanError
    from toolkit.errors import PublishError as PublishError
    from toolkit.errors import ReadError as ReadError
    from toolkit.errors import TruncatedError as TruncatedError
    from toolkit.errors import UnsupportedError as UnsupportedError
    from toolkit.errors import UsageError as UsageError
    from toolkit.errors import VariableNotFoundError as VariableNotFoundError
    from toolkit.formats.opening import open_checkpoint as open_checkpoint
    from toolkit.graph.binding import bind as bind
    from toolkit.graph.hooks import RestoreHook as RestoreHook
    from toolkit.graph.initialize import initialize as initialize
    from toolkit.graph.initialize import plan_initialize as plan_initialize
    from toolkit.graph.keeper import CheckpointKeeper as CheckpointKeeper
    from toolkit.graph.keeper import Restored as Restored
    from toolkit.graph.restore import plan_restore as plan_restore
    from toolkit.graph.saving import save as save
    from toolkit.graph.variables import GraphVariable as GraphVariable
    from toolkit.graph.variables import list_variables as list_variables
    from toolkit.look.inspect import Summary as Summary
    from toolkit.look.inspect import inspect as inspect
    from toolkit.plan import Plan as Plan
    from toolkit.plan import Verdict as Verdict

_HOMES = {
    "Checkpoint": "toolkit.checkpoint",
    "CheckpointError": "toolkit.errors",
    "CheckpointKeeper": "toolkit.graph.keeper",
    "ChecksumError": "toolkit.errors",
    "Exported": "toolkit.change.export",
    "FormatError": "toolkit.errors",
    "GraphVariable": "toolkit.graph.variables",
    "MismatchError": "toolkit.errors",
    "ModelError": "toolkit.errors",
    "Plan": "toolkit.plan",
    "PlanError": "toolkit.errors",
    "PublishError": "toolkit.errors",
    "ReadError": "toolkit.errors",
    "RestoreHook": "toolkit.graph.hooks",
    "Restored": "toolkit.graph.keeper",
    "Summary": "toolkit.look.inspect",
    "TruncatedError": "toolkit.errors",
    "UnsupportedError": "toolkit.errors",
    "UsageError": "toolkit.errors",
    "Variable": "toolkit.checkpoint",
    "VariableNotFoundError": "toolkit.errors",
    "Verdict": "toolkit.plan",
    "bind": "toolkit.graph.binding",
    "export": "toolkit.change.export",
    "import_checkpoint": "toolkit.change.importing",
    "initialize": "toolkit.graph.initialize",
    "inspect": "toolkit.look.inspect",
    "list_variables": "toolkit.graph.variables",
    "open_checkpoint": "toolkit.formats.opening",
    "plan_export": "toolkit.change.export",
    "plan_import": "toolkit.change.importing",
    "plan_initialize": "toolkit.graph.initialize",
    "plan_reinit": "toolkit.change.reinit",
    "plan_restore": "toolkit.graph.restore",
    "save": "toolkit.graph.saving",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)

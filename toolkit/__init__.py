"""A checkpoint toolkit for TensorFlow: what `ckpt` does, from Python. Nothing here prints.

Importing it loads neither TensorFlow nor h5py nor NumPy, and no more does looking at what there is: a name's
module is loaded when the name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from toolkit.version import __version__

if TYPE_CHECKING:
    from toolkit.change.average import plan_average as plan_average
    from toolkit.change.directory import Found as Found
    from toolkit.change.edit import Edit as Edit
    from toolkit.change.edit import edit as edit
    from toolkit.change.export import Exported as Exported
    from toolkit.change.export import export as export
    from toolkit.change.export import plan_export as plan_export
    from toolkit.change.importing import import_checkpoint as import_checkpoint
    from toolkit.change.importing import plan_import as plan_import
    from toolkit.change.log import Logged as Logged
    from toolkit.change.log import latest as latest
    from toolkit.change.log import log as log
    from toolkit.change.merge import plan_merge as plan_merge
    from toolkit.change.prune import Pruning as Pruning
    from toolkit.change.prune import plan_prune as plan_prune
    from toolkit.change.reinit import plan_reinit as plan_reinit
    from toolkit.change.repair import Repair as Repair
    from toolkit.change.repair import plan_repair as plan_repair
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
    from toolkit.graph.listing import list_variables as list_variables
    from toolkit.graph.restore import plan_restore as plan_restore
    from toolkit.graph.saving import save as save
    from toolkit.graph.variables import GraphVariable as GraphVariable
    from toolkit.look.about import About as About
    from toolkit.look.inspect import Summary as Summary
    from toolkit.look.inspect import inspect as inspect
    from toolkit.metadata import Metadata as Metadata
    from toolkit.metadata import Optimizer as Optimizer
    from toolkit.plan import Advice as Advice
    from toolkit.plan import Plan as Plan
    from toolkit.plan import Verdict as Verdict
    from toolkit.roles import Role as Role

_HOMES = {
    "About": "toolkit.look.about",
    "Advice": "toolkit.plan",
    "Checkpoint": "toolkit.checkpoint",
    "CheckpointError": "toolkit.errors",
    "CheckpointKeeper": "toolkit.graph.keeper",
    "ChecksumError": "toolkit.errors",
    "Edit": "toolkit.change.edit",
    "Exported": "toolkit.change.export",
    "FormatError": "toolkit.errors",
    "Found": "toolkit.change.directory",
    "GraphVariable": "toolkit.graph.variables",
    "Logged": "toolkit.change.log",
    "Metadata": "toolkit.metadata",
    "MismatchError": "toolkit.errors",
    "ModelError": "toolkit.errors",
    "Optimizer": "toolkit.metadata",
    "Plan": "toolkit.plan",
    "PlanError": "toolkit.errors",
    "Pruning": "toolkit.change.prune",
    "PublishError": "toolkit.errors",
    "ReadError": "toolkit.errors",
    "Repair": "toolkit.change.repair",
    "RestoreHook": "toolkit.graph.hooks",
    "Restored": "toolkit.graph.keeper",
    "Role": "toolkit.roles",
    "Summary": "toolkit.look.inspect",
    "TruncatedError": "toolkit.errors",
    "UnsupportedError": "toolkit.errors",
    "UsageError": "toolkit.errors",
    "Variable": "toolkit.checkpoint",
    "VariableNotFoundError": "toolkit.errors",
    "Verdict": "toolkit.plan",
    "bind": "toolkit.graph.binding",
    "edit": "toolkit.change.edit",
    "export": "toolkit.change.export",
    "import_checkpoint": "toolkit.change.importing",
    "initialize": "toolkit.graph.initialize",
    "inspect": "toolkit.look.inspect",
    "latest": "toolkit.change.log",
    "list_variables": "toolkit.graph.listing",
    "log": "toolkit.change.log",
    "open_checkpoint": "toolkit.formats.opening",
    "plan_average": "toolkit.change.average",
    "plan_export": "toolkit.change.export",
    "plan_import": "toolkit.change.importing",
    "plan_initialize": "toolkit.graph.initialize",
    "plan_merge": "toolkit.change.merge",
    "plan_prune": "toolkit.change.prune",
    "plan_reinit": "toolkit.change.reinit",
    "plan_repair": "toolkit.change.repair",
    "plan_restore": "toolkit.graph.restore",
    "save": "toolkit.graph.saving",
}

_LIGHT = (
    *("toolkit.checkpoint", "toolkit.errors", "toolkit.formats.opening", "toolkit.graph.listing"),
    *("toolkit.change.directory", "toolkit.change.log", "toolkit.change.prune", "toolkit.change.repair"),
    *("toolkit.look.inspect", "toolkit.plan", "toolkit.roles"),
)
"""Modules that load neither TensorFlow nor NumPy. For what is in others there are stand-ins."""

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
    if home in _LIGHT:
        found = getattr(importlib.import_module(home), name)
    else:
        from toolkit.deferred import deferred

        found = deferred(name, home)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

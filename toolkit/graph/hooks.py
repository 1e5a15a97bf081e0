"""Plans in TensorFlow's own training loops: `MonitoredTrainingSession` and its hooks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from toolkit.graph.plan import GraphPlan


class RestoreHook(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """A hook that carries a plan out when training begins.

    It does so whenever a session is made whose global step is 0, or that has none: a training that was
    recovered from a checkpoint of its own goes on from there. `Scaffold(init_op=tf.no_op(),
    init_fn=plan.init_fn)` is for those who make their own Scaffold.

    Args:
        plan: Over the variables of the graph that is trained.
        verify: Whether to read back what was restored.
    """

    def __init__(self, plan: GraphPlan, *, verify: bool = False) -> None:
        self._plan = plan
        self._verify = verify

    def __repr__(self) -> str:
        return f"<RestoreHook: {self._plan.summary()}>"

    def begin(self) -> None:
        """Add to the graph what the plan needs, before it is finalized."""
        self._plan.check()
        self._plan.prepare()

    def after_create_session(self, session: tf.compat.v1.Session, coord: Any) -> None:
        """Carry the plan out in a new training."""
        step = tf.compat.v1.train.get_global_step(session.graph)
        if step is None or session.run(step) == 0:
            self._plan.apply(session, verify=self._verify)

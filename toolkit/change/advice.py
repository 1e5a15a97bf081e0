"""What matching a model with a checkpoint has shown besides verdicts: what to type, and what to beware of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from toolkit.change.proposals import Proposal
from toolkit.change.rules import Fate
from toolkit.plan import Action, Advice
from toolkit.roles import Role, is_beta_power
from toolkit.units import count

_NOT_RESTORED: dict[Action, str] = {
    "initialize": "start afresh",
    "keep": "keep the values that they were built with",
}
_ADAM_SLOT = re.compile(r"/Adam(_\d+)?\Z")


def advice(
    proposals: Sequence[Proposal], num_missing: int, fates: Mapping[str, Fate], weights: Iterable[str]
) -> Advice:
    """Return the renames to type together, and a remark if most weights are not restored.

    Args:
        proposals: Renames that find what is missing, in order.
        num_missing: How many variables are missing; slots, which follow theirs, are not counted.
        fates: What becomes of each variable.
        weights: Which of them are weights.
    """
    num_found = sum(len(proposal.found) for proposal in proposals)
    finds = f"{num_found} of {count(num_missing, 'missing variable')}"
    actions = [fates[name].action for name in weights]
    remarks = [
        f"{actions.count(action)} of {count(len(actions), 'weight')} {what}"
        for action, what in _NOT_RESTORED.items()
        if 2 * actions.count(action) > len(actions)
    ]
    return Advice(tuple(proposal.rule for proposal in proposals), finds, "".join(remarks))


def notes(advice: Advice, fates: Mapping[str, Fate], roles: Mapping[str, Role]) -> list[str]:
    """Return, in sentences, what else is good to know.

    Args:
        advice: Of the plan.
        fates: What becomes of each variable.
        roles: What each is for.
    """
    found = []
    if len(advice.renames) > 1:
        found.append(f"typed together, {advice.hint}")
    powers = [name for name, fate in fates.items() if is_beta_power(name) and fate.action in _NOT_RESTORED]
    slots = [
        name
        for name, fate in fates.items()
        if fate.action in ("restore", "cast") and roles[name].of is not None and _ADAM_SLOT.search(name)
    ]
    if powers and slots:
        # Adam divides its slots by 1 - beta ** t (tensorflow/python/training/adam.py)
        found.append(
            f"{count(len(slots), 'slot')} of Adam restored, but {' and '.join(powers[:2])} not: with the bias"
            " correction of a first step, its steps are too large; restore both, or neither:"
            " --reinit 're:/Adam(_\\d+)?$'"
        )
    return found

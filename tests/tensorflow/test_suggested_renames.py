"""Renames that a plan proposes for graphs: typed as they are printed, they undo what was changed, and nothing else."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from tests.conftest import write_bundle
from tests.tensorflow import tf
from tests.tensorflow.random_graphs import Layout, changed_layout, graph, random_layout, shapes_of
from toolkit import PlanError, plan_restore

v1 = tf.compat.v1
LAYERS = {
    f"{layer}/{leaf}": shape
    for layer in ("conv0", "conv1", "conv2")
    for leaf, shape in (("kernel", (4, 4)), ("bias", (4,)))
}


def written(path, layout: Layout) -> str:
    """A checkpoint of the layout's graph: every value is what its name says."""
    shapes = shapes_of(graph(layout))
    values = {n: np.zeros(s, np.int64 if n == "global_step" else np.float32) for n, s in shapes.items()}
    return write_bundle(path, values)


def typed(hint: str | None) -> list[str]:
    """The renames in a hint, as a shell reads them."""
    words = shlex.split(re.sub(r" finds? .*", "", hint or ""))
    return [rule for option, rule in zip(words[::2], words[1::2], strict=True) if option == "--rename"]


def taken(plan) -> dict[str, str]:
    """What the plan restores, and from which name."""
    return {
        verdict.name: verdict.source.partition("::")[2]
        for verdict in plan
        if verdict.action == "restore" and verdict.problem is None
    }


def followed(prefix, made) -> tuple[dict[str, str], list[int]]:
    """What is restored when proposals are typed until there are none, and how much at each turn."""
    renames: list[str] = []
    restored = []
    while True:
        plan = plan_restore(prefix, made, rename=renames)
        restored.append(len(taken(plan)))
        if not plan.advice.renames:
            return taken(plan), restored
        promised = int(re.match(r"\d+", plan.advice.finds)[0])
        with pytest.raises(PlanError) as caught:
            plan.check()
        pasted = typed(caught.value.hint.partition(";")[0])
        assert pasted == list(plan.advice.renames)
        renames += pasted
        after = plan_restore(prefix, made, rename=renames)
        assert len(taken(after)) >= len(taken(plan)) + promised, "less was found than was promised"
        assert taken(plan).items() <= taken(after).items(), "what was found is lost"


class TestScopeAroundAll:
    @pytest.fixture
    def prefix(self, tmp_path) -> str:
        return written(tmp_path / "m", Layout(LAYERS, "Adam"))

    @pytest.fixture
    def made(self):
        return graph(Layout({f"backbone/{name}": shape for name, shape in LAYERS.items()}, "Adam"))

    def test_the_powers_and_the_step_stay_where_they_are(self, prefix, made):
        plan = plan_restore(prefix, made)
        assert plan["beta1_power"].action == plan["global_step"].action == "restore"
        plan = plan_restore(prefix, made, rename=plan.advice.renames)
        assert plan.ok
        assert len(taken(plan)) == len(plan.verdicts)
        assert taken(plan)["beta1_power"] == "beta1_power"

    def test_no_hint_undoes_the_rename_that_was_typed(self, prefix, made):
        renames = [r"re:^(.*)$=backbone/\1"]  # which moves the powers away
        plan = plan_restore(prefix, made, rename=renames, on_missing="init")
        assert len(taken(plan)) == len(LAYERS) * 3
        plan = plan_restore(prefix, made, rename=[*renames, *typed(plan["beta1_power"].hint)])
        assert plan.ok
        assert len(taken(plan)) == len(plan.verdicts)

    def test_what_is_offered_to_each_variable_gives_all_when_it_is_typed_whole(self, prefix, made):
        plan = plan_restore(prefix, made)
        hints = {verdict.hint for verdict in plan if verdict.hint}
        assert len(hints) == 1
        assert plan_restore(prefix, made, rename=typed(hints.pop())).ok

    def test_a_restore_that_initializes_most_weights_says_so_last(self, prefix, made):
        plan = plan_restore(prefix, made, on_missing="init")
        assert str(plan).splitlines()[-1].endswith("; 6 of 6 weights start afresh")
        plan = plan_restore(prefix, made, rename=plan.advice.renames)
        assert "afresh" not in str(plan).splitlines()[-1]

    def test_slots_of_adam_beside_powers_that_start_afresh_are_noted(self, prefix, made):
        plan = plan_restore(prefix, made, rename=[r"re:^(.*)$=backbone/\1"], on_missing="init")
        (note,) = [note for note in plan.notes if "of Adam restored" in note]
        assert note.startswith("12 slots of Adam restored, but beta1_power and beta2_power not")
        pattern = shlex.split(note.partition("--reinit ")[2])[0]
        plan = plan_restore(
            prefix, made, rename=[r"re:^(.*)$=backbone/\1"], on_missing="init", reinit=[pattern]
        )
        assert not [note for note in plan.notes if "of Adam restored" in note]


def test_a_scope_around_and_a_scope_renamed_are_offered_so_that_both_work(tmp_path):
    prefix = written(tmp_path / "m", Layout({**LAYERS, "net/fc/kernel": (5, 5), "net/fc/bias": (5,)}, "none"))
    shapes = {f"body/{name}": shape for name, shape in LAYERS.items()}
    made = graph(Layout({**shapes, "body/trunk/fc/kernel": (5, 5), "body/trunk/fc/bias": (5,)}, "none"))
    plan = plan_restore(prefix, made)
    assert plan_restore(prefix, made, rename=plan.advice.renames).ok
    (note,) = [note for note in plan.notes if note.startswith("typed together")]
    assert "find 8 of 8 missing variables" in note
    assert plan_restore(prefix, made, rename=typed(plan["body/trunk/fc/kernel"].hint)).advice.renames == ()


def test_an_optimizer_in_another_scope_keeps_its_slots(tmp_path):
    prefix = written(tmp_path / "m", Layout(LAYERS, "Adam"))
    plan = plan_restore(prefix, graph(Layout(LAYERS, "Adam", "train")))
    assert taken(plan)["train/conv0/kernel/Adam_1"] == "conv0/kernel/Adam_1"
    assert plan["train/conv0/kernel/Adam_1"].reason == "slot Adam_1 of conv0/kernel"


@pytest.mark.parametrize("alike", [False, True], ids=["all shapes differ", "layers of one shape"])
@pytest.mark.parametrize("seeds", [range(25), range(25, 50)], ids=str)
def test_typing_what_is_proposed_undoes_the_changes(tmp_path, seeds, alike):
    for seed in seeds:
        layout = random_layout(seed, alike=alike)
        changed, origins = changed_layout(layout, seed)
        prefix = written(tmp_path / f"{seed}", layout)
        found, restored = followed(prefix, graph(changed))
        assert restored == sorted(restored), f"seed {seed}: less is restored with what is proposed"
        for name, source in found.items():
            assert origins.get(name, source) == source, f"seed {seed}: {name} is not {source}"
        if not alike:  # every variable that has its shape still is found, and its slots with it
            same = {name for name, shape in changed.shapes.items() if shape == layout.shapes[origins[name]]}
            assert same <= found.keys(), f"seed {seed}: {same - found.keys()} is not found"
            slots = [n for n in shapes_of(graph(changed)) if any(f"{name}/" in n for name in same)]
            assert set(slots) <= found.keys(), f"seed {seed}"

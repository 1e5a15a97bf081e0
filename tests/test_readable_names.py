"""A TensorFlow checkpoint that is made from a file of Keras's has the names that the model has, not the file's places."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_keras_files import (
    GROUPS,
    NET,
    TRAINED,
    WEIGHTS,
    legacy,
    optimizer,
    state,
    twice,
    write_archive,
)
from toolkit import edit, export, import_checkpoint, open_checkpoint, plan_average, plan_merge


@pytest.fixture
def trained(tmp_path) -> str:
    groups = {**GROUPS, "optimizer": state(twice(TRAINED))}
    return str(write_archive(tmp_path / "m.keras", groups, model=NET, trained_by=optimizer("Adam")))


def names(path) -> set[str]:
    with open_checkpoint(path) as checkpoint:
        return set(checkpoint)


def test_each_command_gives_them(trained, tmp_path):
    import_checkpoint(trained, tmp_path / "imported")
    edit(trained).strip_optimizer().write(tmp_path / "edited")
    plan_average(trained, trained).write(tmp_path / "mean")
    plan_merge(trained, trained).write(tmp_path / "merged")
    assert names(tmp_path / "edited") == WEIGHTS
    for name in ("imported", "mean", "merged"):
        assert names(tmp_path / name) > WEIGHTS
        assert "adam/hidden_kernel_momentum" in names(tmp_path / name)


def test_values_and_roles_are_those_of_the_file(trained, tmp_path):
    import_checkpoint(trained, tmp_path / "out")
    with open_checkpoint(trained) as before, open_checkpoint(tmp_path / "out") as after:
        paths, roles, told = before.paths(), before.roles(), after.roles()
        for key, variable in before.items():
            assert np.array_equal(after[paths[key]].read(), variable.read())
            of = roles[key].of
            assert told[paths[key]] == (roles[key].kind, paths[of] if of else None)


@pytest.mark.parametrize("ending", ["npz", "safetensors", "h5"])
def test_an_export_of_a_keras_file_comes_back_with_them(trained, tmp_path, ending):
    export(trained, tmp_path / f"x.{ending}")
    import_checkpoint(tmp_path / f"x.{ending}", tmp_path / "out")
    import_checkpoint(trained, tmp_path / "direct")
    assert names(tmp_path / "out") == names(tmp_path / "direct")


def test_places_in_the_file_may_still_be_typed(trained, tmp_path):
    edit(trained).drop("optimizer").rename("layers/dense", "first").write(tmp_path / "out")
    assert {"first/vars/0", "head/kernel"} <= names(tmp_path / "out")


def test_a_legacy_file_has_slots_that_tell_their_variables(tmp_path):
    path = legacy(tmp_path / "m.h5", "", counter="iterations")
    import_checkpoint(path, tmp_path / "out")
    with open_checkpoint(path) as before, open_checkpoint(tmp_path / "out") as after:
        kinds = [sorted(role.kind for role in each.roles().values()) for each in (before, after)]
        assert kinds[0] == kinds[1]
        assert "slot" in kinds[0]


def test_two_variables_of_one_readable_name_meet_when_files_are_merged(tmp_path):
    """They lie at different places: keys number layers, and say nothing of which is which."""
    for name, group, value in (
        ("a", "layers/dense", 1),
        ("b", "layers/dense_1", 1),
        ("c", "layers/dense", 2),
    ):
        values = [np.full((2, 2), value, "f")]
        write_archive(tmp_path / f"{name}.keras", {group: values}, names={group: "x"})
    plan_merge(tmp_path / "a.keras", tmp_path / "b.keras").write(tmp_path / "out")
    assert names(tmp_path / "out") == {"x/kernel"}
    differs = plan_merge(tmp_path / "b.keras", tmp_path / "c.keras")
    assert not differs.ok
    assert differs["x/kernel"].problem == f"{tmp_path}/c.keras has other values"

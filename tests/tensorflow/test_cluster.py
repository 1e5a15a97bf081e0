"""Sharded saves of a real cluster on this machine: two workers, and variables on two parameter servers."""

from __future__ import annotations

import socket

import pytest

from tests.conftest import names_in
from tests.tensorflow import tf
from tests.tensorflow.conftest import values_of
from toolkit import CheckpointKeeper, open_checkpoint, plan_restore, save

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def cluster():
    """The cluster's description, and its workers' addresses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    spec = tf.train.ClusterSpec({"ps": ports[:2], "worker": ports[2:]})
    servers = [
        tf.distribute.Server(spec, job_name=job, task_index=i) for job in ("ps", "worker") for i in range(2)
    ]
    return spec, [server.target for server in servers[2:]]


def build(spec):
    with v1.device(v1.train.replica_device_setter(cluster=spec)):
        for i in range(4):
            v1.get_variable(f"v{i}", [10, 4], initializer=v1.random_normal_initializer(), use_resource=True)
        with v1.variable_scope("part", partitioner=v1.fixed_size_partitioner(2)):
            v1.get_variable("w", [8, 4], initializer=v1.random_normal_initializer(), use_resource=True)
    assert {v.device for v in v1.global_variables()} == {"/job:ps/task:0", "/job:ps/task:1"}


def test_what_a_sharded_saver_saved_is_restored_by_another_worker(cluster, tmp_path):
    spec, workers = cluster
    with tf.Graph().as_default(), v1.Session(workers[0]) as session:
        build(spec)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(sharded=True).save(
            session, str(tmp_path / "m"), write_state=False, write_meta_graph=False
        )
        expected = values_of(session)
    assert names_in(tmp_path) == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]
    with tf.Graph().as_default(), v1.Session(workers[1]) as session:
        build(spec)
        for variable in v1.global_variables():
            session.run(variable.assign(tf.zeros_like(variable)))
        plan = plan_restore(tmp_path / "m")
        assert [verdict.name for verdict in plan.verdicts] == ["v0", "v1", "v2", "v3", "part/w"]
        plan.apply(session, verify=True)
        assert {n: v.tobytes() for n, v in values_of(session).items()} == {
            n: v.tobytes() for n, v in expected.items()
        }


def test_each_server_saves_its_own_variables(cluster, tmp_path):
    spec, workers = cluster
    with tf.Graph().as_default(), v1.Session(workers[0]) as session:
        build(spec)
        session.run(v1.global_variables_initializer())
        save(session, tmp_path / "m")
        assert {name for name in names_in(tmp_path) if ".data-" in name} == {
            "m.data-00000-of-00002", "m.data-00001-of-00002",
        }  # fmt: skip
        expected = values_of(session)
        save(session, tmp_path / "m", force=True)  # with other data files, so that no reader mixes them
        CheckpointKeeper(tmp_path / "kept").save(session, 1)
    for path in (tmp_path / "m", tmp_path / "kept/model.ckpt-1"):
        with open_checkpoint(path) as checkpoint:
            assert len(checkpoint["part/w"].slices) == 2
            for name, values in expected.items():
                if not name.startswith("part/"):
                    assert checkpoint[name].read().tobytes() == values.tobytes()
        with tf.Graph().as_default(), v1.Session(workers[1]) as session:
            build(spec)
            v1.train.Saver(sharded=True).restore(session, str(path))
            assert values_of(session)["part/w/part_1"].tobytes() == expected["part/w/part_1"].tobytes()

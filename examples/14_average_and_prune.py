"""The mean of a training's last checkpoints, and a directory kept small."""

import tempfile

import tensorflow as tf

import toolkit

v1 = tf.compat.v1

with tempfile.TemporaryDirectory() as folder:
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", [2], initializer=v1.zeros_initializer())
        step = v1.train.get_or_create_global_step()
        train = tf.group(w.assign_add([1.0, 2.0]), step.assign_add(100))
        saver = v1.train.Saver(max_to_keep=None)
        session.run(v1.global_variables_initializer())
        for _ in range(6):
            session.run(train)
            saver.save(session, f"{folder}/model", global_step=step)

    plan = toolkit.plan_average(folder, last=3)
    plan.write(f"{folder}/mean")
    for verdict in plan:
        print(f"{verdict.name}: {verdict.reason}")
    print(toolkit.open_checkpoint(f"{folder}/mean")["w"].read())

    pruning = toolkit.plan_prune(folder, keep=2, keep_every=300)
    pruning.apply()
    print([each.step for each in pruning.removed])
    for each in toolkit.log(folder):
        print(each.step, "latest" if each.latest else "")
    print(tf.train.latest_checkpoint(folder) == toolkit.latest(folder).path)

# SPDX-License-Identifier: Apache-2.0
"""A model converted by TF-TRT of TensorFlow 2.0 loads, runs natively at once, and on a rebuilt engine soon after."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import tensorflow as tf

import tfengine


def run_in_new_process(code, **environment):
    """Runs `code` in a fresh interpreter, where nothing is loaded yet; returns what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], text=True, capture_output=True, timeout=300,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment}, check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()


CALL = """
    import numpy as np
    import tensorflow as tf
    import tfengine

    model = tf.saved_model.load({directory!r})
    ones = tf.ones([4, 1, 1])

    def call():
        return model.signatures["serving_default"](input1=ones, input2=ones)["output_0"].numpy()

    def stats():
        (engine,) = [s for s in tfengine.engine_stats() if s.name == "TRTEngineOp_0"]
        return engine
"""


def test_runs_natively_first_and_on_a_rebuilt_engine_after_waiting(legacy_dir):
    lines = run_in_new_process(CALL.format(directory=str(legacy_dir)) + """
    print(np.unique(call()), stats().native_runs, stats().runs)
    print(tfengine.wait_for_engines(60), stats().state)
    print(np.unique(call()), stats().native_runs, stats().runs)
    """)
    assert lines == ["[5.] 1 0", "True ready", "[5.] 1 1"]


def test_import_order_does_not_matter(legacy_dir):
    lines = run_in_new_process(f"""
    import sys
    import tfengine
    assert "tensorflow" not in sys.modules
    import tensorflow as tf
    model = tf.saved_model.load({str(legacy_dir)!r})
    ones = tf.ones([4, 1, 1])
    print(model.signatures["serving_default"](input1=ones, input2=ones)["output_0"].numpy().ravel())
    """)
    assert lines == ["[5. 5. 5. 5.]"]


def test_disallowing_the_native_segment_waits_for_the_engine(legacy_dir):
    lines = run_in_new_process(
        CALL.format(directory=str(legacy_dir)) + """
    print(np.unique(call()), stats().native_runs, stats().runs)
    """, TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION="false")
    assert lines == ["[5.] 0 1"]


def test_disallowing_the_native_segment_fails_if_the_engine_fails(legacy_dir):
    lines = run_in_new_process(
        CALL.format(directory=str(legacy_dir)) + """
    from tfengine import _tensorflow
    with _tensorflow.failing_engines():
        try:
            call()
        except tf.errors.AbortedError as error:
            print("User disallowed engine native segment execution." in error.message)
    """, TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION="0")
    assert lines == ["True"]


def test_process_may_end_while_an_engine_is_being_built(legacy_dir):
    lines = run_in_new_process(CALL.format(directory=str(legacy_dir)) + """
    print(np.unique(call()))
    """)
    assert lines == ["[5.]"]


def test_other_batch_sizes_and_shapes_give_native_numbers(legacy_dir):
    model = tf.saved_model.load(str(legacy_dir))
    call = model.signatures["serving_default"]
    random = np.random.default_rng(3)
    for batch in (1, 7, 300):
        a, b = random.standard_normal((2, batch, 1, 1)).astype(np.float32)
        expected = a * (a + 1) + (a + 1) + b
        for _ in range(2):
            got = call(input1=tf.constant(a), input2=tf.constant(b))["output_0"].numpy()
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
            assert tfengine.wait_for_engines(60)


def test_legacy_model_can_be_saved_again(legacy_dir, tmp_path):
    model = tf.saved_model.load(str(legacy_dir))
    tf.saved_model.save(model, str(tmp_path / "again"), signatures=model.signatures)
    again = tf.saved_model.load(str(tmp_path / "again"))
    ones = tf.ones([4, 1, 1])
    assert again.signatures["serving_default"](input1=ones, input2=ones)["output_0"].numpy().ravel().tolist() == [5.0] * 4


def test_engines_of_one_name_do_not_collide(legacy_dir, tmp_path):
    """A second model whose engine is also called TRTEngineOp_0, with another constant in its segment."""
    other = tmp_path / "other"
    _copy_with_other_constant(legacy_dir, other, 1.0, 3.0)
    ones = tf.ones([4, 1, 1])
    results = []
    models = [tf.saved_model.load(str(directory)) for directory in (legacy_dir, other)]
    for _ in range(2):
        for model in models:
            results.append(model.signatures["serving_default"](input1=ones, input2=ones)["output_0"].numpy()[0, 0, 0])
        assert tfengine.wait_for_engines(60)
    # a * (a + v) + (a + v) + b with v = 1 and v = 3
    assert results == [5.0, 9.0, 5.0, 9.0]


def _copy_with_other_constant(source, target: pathlib.Path, old, new):
    import shutil

    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(source, target)
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((target / "saved_model.pb").read_bytes())
    changed = 0
    for function in model.meta_graphs[0].graph_def.library.function:
        if not function.signature.name.endswith("_native_segment"):
            continue
        for node in function.node_def:
            if node.op == "Const" and tf.make_ndarray(node.attr["value"].tensor).ravel().tolist() == [old]:
                value = tf.make_ndarray(node.attr["value"].tensor) * 0 + np.float32(new)
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
                changed += 1
    assert changed == 1
    (target / "saved_model.pb").write_bytes(model.SerializeToString())

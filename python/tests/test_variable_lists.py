# SPDX-License-Identifier: Apache-2.0
"""Python's loader gets a signature function in which one variable stands for all that a native segment reads."""

import gc
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import engines_of, original, save_small_model

import tfengine
from tfengine import _tensorflow


def logits(function, images):
    return function(image=tf.constant(images))["logits"].numpy()


def native_logits(function, images):
    with _tensorflow.failing_engines():
        return logits(function, images)


def variable(model, *shape):
    (found,) = [v for v in vars(model).values() if isinstance(v, tf.Variable) and v.shape == shape]
    return found


def test_a_signature_captures_one_variable_per_engine(converted_dir, small_dir):
    before, after = tf.saved_model.load(str(small_dir)), tf.saved_model.load(str(converted_dir))
    assert len(before.signatures["serving_default"].captured_inputs) == 3
    assert len(after.signatures["serving_default"].captured_inputs) == 1
    for name, function in before.signatures.items():
        light = after.signatures[name]
        assert light.structured_input_signature == function.structured_input_signature
        assert light.structured_outputs == function.structured_outputs


def test_native_segments_see_new_values_of_their_own_model(converted_dir, images):
    models = [tf.saved_model.load(str(converted_dir)) for _ in range(2)]
    want = original().classify(tf.constant(images))["logits"].numpy()
    first, second = (model.signatures["serving_default"] for model in models)
    dense = variable(models[0], 8, 5)
    dense.assign(dense * 2)
    np.testing.assert_allclose(native_logits(first, images), want * 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(native_logits(second, images), want, rtol=1e-5, atol=1e-6)


def test_a_signature_keeps_the_variables_it_needs(converted_dir, images):
    function = tf.saved_model.load(str(converted_dir)).signatures["serving_default"]
    gc.collect()
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(native_logits(function, images), want, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def saved_again(converted_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("again") / "model"
    model = tf.saved_model.load(str(converted_dir))
    tf.saved_model.save(model, str(directory), signatures=model.signatures)
    return directory


def test_native_segments_survive_saving_again(saved_again, images):
    model = tf.saved_model.load(str(saved_again))
    function = model.signatures["serving_default"]
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(logits(function, images), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(native_logits(function, images), want, rtol=1e-5, atol=1e-6)
    dense = variable(model, 8, 5)
    dense.assign(dense * 3)
    np.testing.assert_allclose(native_logits(function, images), want * 3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["converted_dir", "saved_again"])
def test_sessions_run_engines_and_native_segments(which, images, request):
    directory = request.getfixturevalue(which)
    want = original().classify(tf.constant(images))["logits"].numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
        signature = meta.signature_def["serving_default"]
        fetch, feed = signature.outputs["logits"].name, {signature.inputs["image"].name: images}
        np.testing.assert_allclose(session.run(fetch, feed), want, rtol=1e-4, atol=1e-5)
        assert tfengine.wait_for_engines(60)  # until then TensorFlow runs the segments
        np.testing.assert_allclose(session.run(fetch, feed), want, rtol=1e-4, atol=1e-5)
        with _tensorflow.failing_engines():
            np.testing.assert_allclose(session.run(fetch, feed), want, rtol=1e-5, atol=1e-6)
        assert sum(s.runs for s in engines_of(directory).values()) >= 1


def test_a_function_around_the_signature_can_be_saved(converted_dir, images, tmp_path):
    outer = tf.Module()
    outer.model = tf.saved_model.load(str(converted_dir))
    signature = outer.model.signatures["serving_default"]
    outer.serve = tf.function(
        lambda image: {"logits": signature(image=image)["logits"] + 1},
        input_signature=[tf.TensorSpec([None, None, None, 3], name="image")],
    )
    tf.saved_model.save(outer, str(tmp_path / "outer"))
    want = original().classify(tf.constant(images))["logits"].numpy() + 1
    loaded = tf.saved_model.load(str(tmp_path / "outer"))
    serve = loaded.serve
    np.testing.assert_allclose(serve(tf.constant(images))["logits"], want, rtol=1e-4, atol=1e-5)
    with _tensorflow.failing_engines():
        np.testing.assert_allclose(serve(tf.constant(images))["logits"], want, rtol=1e-5, atol=1e-5)


def test_a_converted_model_converts_again(tmp_path, images):
    tfengine.convert(save_small_model(tmp_path / "small"), tmp_path / "once", signatures=["mix"])
    tfengine.convert(tmp_path / "once", tmp_path / "twice", signatures=["serving_default"])
    model = tf.saved_model.load(str(tmp_path / "twice"))
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(logits(model.signatures["serving_default"], images), want, rtol=1e-4, atol=1e-5)
    a, b = tf.constant(images[0, :, :5, 0]), tf.constant(images[1, :, :5, 1])
    np.testing.assert_allclose(model.signatures["mix"](a=a, b=b)["mixed"], original().mix(a, b)["mixed"], rtol=1e-4, atol=1e-5)


STRATEGIES = {
    "mirrored": lambda: tf.distribute.MirroredStrategy(["CPU:0"]),
    "one device": lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
    "default": tf.distribute.get_strategy,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("which", ["converted_dir", "saved_again"])
def test_models_load_in_the_scope_of_a_strategy(which, strategy, images, request):
    directory = request.getfixturevalue(which)
    strategy = STRATEGIES[strategy]()
    with strategy.scope():
        model = tf.saved_model.load(str(directory))
        function = model.signatures["serving_default"]
        got = strategy.run(lambda: logits(function, images))
        native = strategy.run(lambda: native_logits(function, images))
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(native, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(native_logits(function, images), want, rtol=1e-5, atol=1e-6)


def test_models_of_a_strategy_can_be_saved(converted_dir, images, tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = tf.saved_model.load(str(converted_dir))
    tf.saved_model.save(model, str(tmp_path / "model"), signatures=model.signatures)
    function = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(native_logits(function, images), want, rtol=1e-5, atol=1e-6)


# A process has as many devices as it starts with.
TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
import tfengine
from tfengine import _tensorflow

device = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [device, device])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = tf.saved_model.load(sys.argv[1])
signature = model.signatures["serving_default"]
dense = next(v for v in vars(model).values() if isinstance(v, tf.Variable) and v.shape == (8, 5))
call = tf.function(lambda images: signature(image=images)["logits"])
images = np.load(sys.argv[2])


def run():
    return np.stack(strategy.experimental_local_results(strategy.run(call, [tf.constant(images)])))


results = {"first": run()}
tfengine.wait_for_engines()
results["engine"] = run()
runs = [(stats.runs, stats.state) for stats in tfengine.engine_stats() if stats.runs]
assert len(runs) == 2, runs
dense.values[1].assign(dense.values[1] * 2)
with _tensorflow.failing_engines():
    results["native"] = run()
np.savez(sys.argv[3], **results)
"""


def test_each_replica_has_its_own_variables(converted_dir, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    args = [str(converted_dir), str(tmp_path / "images.npy"), str(tmp_path / "results.npz")]
    run = subprocess.run([sys.executable, "-c", TWO_REPLICAS, *args], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    results = np.load(args[2])
    want = original().classify(tf.constant(images))["logits"].numpy()
    for name, factors in {"first": (1, 1), "engine": (1, 1), "native": (1, 2)}.items():
        assert len(results[name]) == 2
        for got, factor in zip(results[name], factors):
            np.testing.assert_allclose(got, want * factor, rtol=1e-4, atol=1e-5, err_msg=name)

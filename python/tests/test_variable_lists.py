# SPDX-License-Identifier: Apache-2.0
"""Python's loader gets a signature function in which one variable stands for all that a native segment reads."""

import gc

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


def test_engines_run_under_a_distribution_strategy(converted_dir, images):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = tf.saved_model.load(str(converted_dir))
        function = model.signatures["serving_default"]
        got = strategy.run(lambda: function(image=tf.constant(images))["logits"])
    want = original().classify(tf.constant(images))["logits"].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    with _tensorflow.failing_engines(), pytest.raises(tf.errors.FailedPreconditionError, match="strategy"):
        function(image=tf.constant(images))

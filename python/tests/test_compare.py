# SPDX-License-Identifier: Apache-2.0
"""tfengine.compare: what it finds between conversions of one model, and what it refuses."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfengine


def images(seed=0, batch=4):
    return {"image": np.random.default_rng(seed).standard_normal((batch, 12, 12, 3)).astype(np.float32)}


@pytest.fixture(scope="module")
def int8_dir(small_dir, converted_dir, tmp_path_factory):
    calibration = tfengine.Calibration.start()
    model = tfengine.Model(converted_dir)
    for seed in range(4):
        model.run(images(seed))
    calibration.stop()
    out = tmp_path_factory.mktemp("compare") / "int8"
    tfengine.convert(small_dir, out, precision="INT8", calibration=calibration, build_engines=False)
    return out


def test_int8_against_fp32(converted_dir, int8_dir):
    batches = [images(10), images(11, batch=2)]
    report = tfengine.compare(converted_dir, int8_dir, iter(batches))
    assert report.signature == "serving_default" and report.runs == 2
    assert [v.name for v in report.outputs] == ["logits", "probabilities"]
    logits = report.outputs[0]
    a, b = tfengine.Model(converted_dir), tfengine.Model(int8_dir)
    want, got = (np.concatenate([m.run(x)["logits"] for x in batches]) for m in (a, b))
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert logits.relative_rms == pytest.approx(error, rel=1e-3) and 0 < error < 0.1
    assert logits.snr_db == pytest.approx(-20 * np.log10(error), abs=0.01)
    assert logits.max_abs_error == pytest.approx(np.abs(got - want).max(), rel=1e-3)
    assert logits.rows == 6 and logits.top1_agreement == np.mean(want.argmax(1) == got.argmax(1))
    convolution = report.layers[0]
    assert convolution.op == "conv2d" and (convolution.precision_a, convolution.precision_b) == ("FP32", "INT8")
    assert report.first_below is None or report.first_below.snr_db < 30
    worst = report.worst(3)
    assert [v.snr_db for v in worst] == sorted(v.snr_db for v in report.layers)[:3]
    assert "first layer below" in report.text or "no layer is below" in report.text
    assert str(report) == report.text and convolution.name in report.text
    shown = json.loads(report.json)
    assert len(shown["layers"]) == len(report.layers) and shown["precision_b"] == "INT8"


def test_the_threshold_names_the_first_layer(converted_dir, int8_dir):
    report = tfengine.compare(converted_dir, int8_dir, images(), threshold_db=150)
    assert report.first_below.name == report.layers[0].name
    assert "first layer below 150 dB" in report.text


def test_a_model_equals_itself(converted_dir):
    report = tfengine.compare(converted_dir, converted_dir, images(), threshold_db=199)
    assert report.first_below is None
    assert all(v.relative_rms == 0 and v.snr_db == 200 for v in report.outputs + report.layers)


def test_another_signature(converted_dir, int8_dir):
    data = {name: np.ones((2, 5), np.float32) for name in "ab"}
    report = tfengine.compare(converted_dir, int8_dir, data, signature="mix")
    assert [v.name for v in report.outputs] == ["mixed"]


def test_discrete_outputs_are_compared_by_equality(tmp_path):
    class Net(tf.Module):
        def __init__(self):
            self.w = tf.Variable(tf.random.stateless_normal([8, 6], [1, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None, 8], name="x")])
        def __call__(self, x):
            scores = tf.nn.softmax(tf.nn.relu(x @ self.w))
            return {"class": tf.argmax(scores, 1), "scores": tf.reshape(scores, [-1, 2, 3])}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "m"), signatures=net.__call__)
    for precision in ("FP32", "BF16"):
        report = tfengine.convert(tmp_path / "m", tmp_path / precision, precision=precision, build_engines=False)
        assert report.converted_share == 1, report.text
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    report = tfengine.compare(tmp_path / "FP32", tmp_path / "BF16", {"x": x})
    chosen, scores = report.outputs
    assert chosen.discrete and 0.9 <= chosen.equal <= 1
    assert not scores.discrete and 30 < scores.snr_db < 200


def test_models_that_do_not_match(small_dir, converted_dir, tmp_path):
    from conftest import save_small_model

    save_small_model(tmp_path / "other", seed=1)
    tfengine.convert(tmp_path / "other", tmp_path / "other_weights", build_engines=False)
    with pytest.raises(tfengine.TfEngineError, match="one SavedModel.*engine TRTEngineOp"):
        tfengine.compare(converted_dir, tmp_path / "other_weights", images())
    tfengine.convert(small_dir, tmp_path / "native", signatures=["mix"], build_engines=False)
    with pytest.raises(tfengine.TfEngineError, match="needs TensorFlow"):
        tfengine.compare(converted_dir, tmp_path / "native", images())
    with pytest.raises(tfengine.TfEngineError, match="E-0101"):
        tfengine.compare(converted_dir, small_dir, images())
    with pytest.raises(tfengine.TfEngineError, match='no signature "predict"'):
        tfengine.compare(converted_dir, converted_dir, images(), signature="predict")


def test_data_that_does_not_fit(converted_dir):
    with pytest.raises(tfengine.TfEngineError, match="no batch"):
        tfengine.compare(converted_dir, converted_dir, [])
    with pytest.raises(tfengine.TfEngineError, match="image"):
        tfengine.compare(converted_dir, converted_dir, {"picture": np.zeros((1, 4, 4, 3), np.float32)})

    def broken():
        yield images()
        raise KeyError("my own error")

    with pytest.raises(KeyError, match="my own error"):
        tfengine.compare(converted_dir, converted_dir, broken())
    with pytest.raises(TypeError):
        tfengine.compare(converted_dir, converted_dir, [3])

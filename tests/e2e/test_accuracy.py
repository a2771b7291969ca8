# SPDX-License-Identifier: Apache-2.0
"""What reduced precision costs on real data, and calibration of every kind of model. The data sets come with scikit-learn;
accuracy is measured on samples that neither training nor calibration has seen."""

import dataclasses
import json

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf

import tfengine
from tfengine import trt_convert as trt


def batches(x, size=32):
    return [x[i : i + size] for i in range(0, len(x), size)]


def predict(model, x, signature="serving_default"):
    """Of a model with one input and one output, without TensorFlow."""
    (info,) = [s for s in model.signatures if s.name == signature]
    (output,) = info.outputs
    return np.concatenate([model.run({info.inputs[0].name: b}, signature)[output.name] for b in batches(x)])


def engines(report):
    """Builds of all engines, by signature."""
    return {s["name"]: [e["build"] for e in s["engines"]] for s in json.loads(report.json)["signatures"]}


def count(build, precision):
    return sum(layer["precision"] == precision for layer in build["layers"])


def relative_error(got, want):
    return float(np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want))


def convert_through_tftrt(source, out, mode, samples=None, method="mse"):
    converter = trt.TrtGraphConverterV2(str(source), precision_mode=mode)
    converter.calibration_method = method
    converter.convert(*([] if samples is None else [lambda: ((batch,) for batch in samples)]))
    converter.save(str(out))
    return converter.report


@dataclasses.dataclass
class Trained:
    source: object
    exact: object  # converted in FP32
    train_x: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    train_x, test_x, test_y = model_zoo.trained_digits(str(out / "model"), epochs=8)
    tfengine.convert(out / "model", out / "fp32", build_engines=False)
    return Trained(out / "model", out / "fp32", train_x, test_x, test_y)


def top1(directory, data):
    return 100 * np.mean(predict(tfengine.Model(directory), data.test_x).argmax(1) == data.test_y)


def test_digits_in_fp32_are_as_good_as_in_tensorflow(digits):
    native = tf.saved_model.load(str(digits.source)).signatures["serving_default"]
    (want,) = native(image=tf.constant(digits.test_x)).values()
    assert top1(digits.exact, digits) == 100 * np.mean(want.numpy().argmax(1) == digits.test_y)
    assert top1(digits.exact, digits) > 95


# Points of top-1 that may be lost; the signal-to-noise ratio in dB that every layer must have.
@pytest.mark.parametrize("mode, most, least_db", [("BF16", 0.1, 40), ("INT8", 0.5, 20)])
def test_digits_through_tftrt(digits, tmp_path, mode, most, least_db):
    samples = batches(digits.train_x[:512]) if mode == "INT8" else None
    report = convert_through_tftrt(digits.source, tmp_path / "out", mode, samples)
    (build,) = engines(report)["serving_default"]
    assert count(build, "int8" if mode == "INT8" else "half") == (4 if mode == "INT8" else 5)
    exact, reduced = top1(digits.exact, digits), top1(tmp_path / "out", digits)
    print(f"top-1: FP32 {exact:.2f} %, {mode} {reduced:.2f} %")
    assert exact - reduced <= most
    compared = tfengine.compare(digits.exact, tmp_path / "out", {"image": digits.test_x}, threshold_db=least_db)
    (output,) = compared.outputs
    assert output.relative_rms < 0.05 and compared.first_below is None, compared.text


@pytest.mark.parametrize("method", ["entropy", "minmax", "percentile", "mse"])
def test_digits_with_every_calibration_method(digits, tmp_path, method):
    report = convert_through_tftrt(digits.source, tmp_path / "out", "INT8", batches(digits.train_x[:512]), method)
    (build,) = engines(report)["serving_default"]
    assert count(build, "int8") == 4 and build["accuracy"]["raised"] == 0
    exact, reduced = top1(digits.exact, digits), top1(tmp_path / "out", digits)
    (output,) = tfengine.compare(digits.exact, tmp_path / "out", {"image": digits.test_x}).outputs
    print(f"{method}: top-1 FP32 {exact:.2f} %, INT8 {reduced:.2f} %, error {100 * output.relative_rms:.2f} %")
    assert exact - reduced <= 0.5
    assert output.relative_rms < 0.05


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory):
    """An MLP that predicts the progress of a disease from ten measurements; everything is standardised."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(2)
    x, y = load_diabetes(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.3, random_state=2)

    def standardise(values, of):
        return ((values - of.mean(0)) / of.std(0)).astype("float32")

    model = keras.Sequential(
        [keras.layers.Input((10,), name="x")]
        + [keras.layers.Dense(n, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)) for n in (64, 32)]
        + [keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    model.fit(standardise(train_x, train_x), standardise(train_y, train_y), epochs=25, batch_size=16, verbose=0)
    out = tmp_path_factory.mktemp("diabetes")
    model_zoo.export(model, str(out / "model"))
    tfengine.convert(out / "model", out / "fp32", build_engines=False)
    return Trained(
        out / "model", out / "fp32", standardise(train_x, train_x), standardise(test_x, train_x), standardise(test_y, train_y)
    )


def regression_quality(directory, data):
    """R² and the root mean square error, in standard deviations."""
    error = predict(tfengine.Model(directory), data.test_x)[:, 0] - data.test_y
    return 1 - np.sum(error**2) / np.sum((data.test_y - data.test_y.mean()) ** 2), np.sqrt(np.mean(error**2))


@pytest.mark.parametrize("mode, r2_drop, rmse_rise", [("BF16", 0.002, 0.002), ("INT8", 0.01, 0.01)])
def test_regression(diabetes, tmp_path, mode, r2_drop, rmse_rise):
    samples = batches(diabetes.train_x) if mode == "INT8" else None
    report = convert_through_tftrt(diabetes.source, tmp_path / "out", mode, samples)
    (build,) = engines(report)["serving_default"]
    assert count(build, "int8" if mode == "INT8" else "half") == 3
    (r2, rmse), (reduced_r2, reduced_rmse) = (regression_quality(d, diabetes) for d in (diabetes.exact, tmp_path / "out"))
    print(f"R²: FP32 {r2:.4f}, {mode} {reduced_r2:.4f}; RMSE: FP32 {rmse:.4f}, {mode} {reduced_rmse:.4f}")
    assert r2 > 0.35
    assert r2 - reduced_r2 <= r2_drop and reduced_rmse - rmse <= rmse_rise


# --- kinds of models -------------------------------------------------------------------------------------------


def test_tensorflow_1_calibrate(saved_models, tmp_path):
    source = saved_models("tf1_resource_variables")
    random = np.random.default_rng(0)
    with tf.Graph().as_default():
        converter = trt.TrtGraphConverter(input_saved_model_dir=str(source), precision_mode="INT8")
        converter.convert()
        graph_def = converter.calibrate(
            fetch_names=["scores:0"],
            num_runs=8,
            feed_dict_fn=lambda: {"x:0": random.standard_normal((8, 16, 16, 3)).astype(np.float32)},
        )
        converter.save(str(tmp_path / "out"))
    assert any(node.op == "TRTEngineOp" for node in graph_def.node)
    x = random.standard_normal((16, 16, 16, 3)).astype(np.float32)
    results = []
    for directory in (source, tmp_path / "out"):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
            results.append(session.run("logits:0", {"x:0": x}))
    want, got = results
    assert 1e-5 < relative_error(got, want) < 0.05  # reduced, but not far off
    reduced = tfengine.Model(tmp_path / "out")
    np.testing.assert_allclose(reduced.run({"x": x})["logits"], got, atol=1e-3 * np.abs(want).max())


def test_two_signatures_in_one_calibration(saved_models, tmp_path):
    source = saved_models("tf_module")
    random = np.random.default_rng(0)
    tfengine.convert(source, tmp_path / "fp32", build_engines=False)
    exact = tfengine.Model(tmp_path / "fp32")
    calibration = tfengine.Calibration.start()
    for _ in range(4):
        for signature in ("serving_default", "embed"):
            exact.run({"image": random.standard_normal((8, 32, 32, 3)).astype(np.float32)}, signature)
    calibration.stop()
    report = tfengine.convert(
        source, tmp_path / "int8", precision="INT8", calibration=calibration, build_engines=False
    )
    for signature, (build,) in engines(report).items():
        assert count(build, "int8") >= 1 and build["accuracy"]["within_budget"], signature
        data = {"image": random.standard_normal((8, 32, 32, 3)).astype(np.float32)}
        compared = tfengine.compare(tmp_path / "fp32", tmp_path / "int8", data, signature=signature)
        assert all(output.relative_rms < 0.1 for output in compared.outputs), compared.text


class NativeBetween(tf.Module):
    """Two engines with an op between them that stays in TensorFlow."""

    def __init__(self):
        random = np.random.default_rng(4)
        self.filters = tf.Variable(random.normal(0, 0.2, (3, 3, 3, 16)).astype(np.float32))
        self.filters2 = tf.Variable(random.normal(0, 0.1, (3, 3, 16, 16)).astype(np.float32))
        self.dense = tf.Variable(random.normal(0, 0.3, (16, 5)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 3], name="x")])
    def __call__(self, x):
        x = tf.nn.relu(tf.nn.conv2d(x, self.filters, 1, "SAME") + 0.1)
        x = tf.math.digamma(x + 1.0)
        x = tf.nn.relu(tf.nn.conv2d(x, self.filters2, 2, "SAME") + 0.1)
        return {"y": tf.matmul(tf.reduce_mean(x, [1, 2]), self.dense)}


def test_all_segments_of_a_mixed_model_calibrate_in_one_pass(tmp_path):
    module = NativeBetween()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    random = np.random.default_rng(0)
    samples = [random.standard_normal((4, 12, 12, 3)).astype(np.float32) for _ in range(8)]
    report = convert_through_tftrt(tmp_path / "model", tmp_path / "out", "INT8", samples)
    builds = engines(report)["serving_default"]
    assert len(builds) == 2
    for build in builds:
        assert count(build, "int8") >= 1 and build["accuracy"]["runs"] == 8
    x = random.standard_normal((16, 12, 12, 3)).astype(np.float32)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    got = loaded.signatures["serving_default"](x=tf.constant(x))["y"].numpy()
    assert 1e-5 < relative_error(got, module(tf.constant(x))["y"].numpy()) < 0.05


class EightBits(tf.Module):
    """Trained for quantization: every value that a product reads has its range in the graph."""

    def __init__(self):
        random = np.random.default_rng(5)
        self.filters = tf.Variable(random.normal(0, 0.2, (3, 3, 4, 16)).astype(np.float32))
        self.dense = tf.Variable(random.normal(0, 0.2, (16, 10)).astype(np.float32))
        self.limits = tf.Variable(np.abs(self.filters.numpy()).max((0, 1, 2)))

    @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 4], name="x")])
    def serve(self, x):
        x = tf.quantization.fake_quant_with_min_max_args(x, -3.0, 3.0)
        filters = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            self.filters, -self.limits, self.limits, narrow_range=True
        )
        x = tf.nn.relu(tf.nn.conv2d(x, filters, 1, "SAME"))
        x = tf.reduce_mean(tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 6.0), [1, 2])
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 2.0)
        dense = tf.quantization.fake_quant_with_min_max_vars(self.dense, -0.8, 0.8, narrow_range=True)
        return {"y": x @ dense}


def test_explicit_quantization_needs_no_calibration(tmp_path):
    module = EightBits()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    converter = trt.TrtGraphConverterV2(str(tmp_path / "model"), precision_mode="INT8", use_calibration=False)
    converter.convert()
    converter.save(str(tmp_path / "out"))
    (build,) = engines(converter.report)["serving_default"]
    assert count(build, "int8") == 2, build
    x = np.random.default_rng(0).standard_normal((32, 12, 12, 4)).astype(np.float32)
    want = module.serve(tf.constant(x))["y"].numpy()
    got = tfengine.Model(tmp_path / "out").run({"x": x})["y"]
    error = relative_error(got, want)
    print(f"error against the quantized graph: {100 * error:.4f} %")
    assert error < 0.01

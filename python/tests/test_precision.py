# SPDX-License-Identifier: Apache-2.0
"""Reduced precision through the API of TF-TRT: modes, calibration, what is reported, bad calibration data."""

import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import original

import tfengine
from tfengine import trt_convert as trt


def images(count, batch=4, size=12, seed=0):
    random = np.random.default_rng(seed)
    return [random.standard_normal((batch, size, size, 3)).astype(np.float32) for _ in range(count)]


def build_of(report, signature="serving_default"):
    """What the report says of the first engine of a signature."""
    (entry,) = [s for s in json.loads(report.json)["signatures"] if s["name"] == signature]
    return entry["engines"][0]["build"]


def precisions(report):
    return {layer["precision"] for layer in build_of(report)["layers"]}


def error(function, x, seed=0):
    """Root mean square error of the logits, relative to the logits."""
    want = original(seed).classify(tf.constant(x))["logits"].numpy()
    got = function(image=tf.constant(x))["logits"].numpy()
    assert got.dtype == np.float32
    return np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2))


@pytest.mark.parametrize("mode", ["FP16", "BF16", "bf16"])
def test_16_bit_modes_convert_and_stay_close(small_dir, tmp_path, mode):
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode=mode)
    function = converter.convert()
    assert error(function, images(1)[0]) < 0.02
    assert precisions(converter.report) <= {"half", "fp32"}
    converter.save(str(tmp_path / "out"))
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    assert error(loaded.signatures["serving_default"], images(1, size=9)[0]) < 0.02


def test_int8_calibrates_whole_graph_and_serves_other_shapes(small_dir, tmp_path):
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8", use_dynamic_shape=True)
    function = converter.convert(lambda: ({"image": x} for x in images(8)))
    assert "int8" in precisions(converter.report)
    accuracy = build_of(converter.report)["accuracy"]
    assert accuracy["runs"] == 8 and accuracy["within_budget"]
    assert all(output["relative_rms"] < 0.1 for output in accuracy["outputs"])
    for batch, size in [(1, 12), (3, 20)]:
        assert error(function, images(1, batch, size, seed=5)[0]) < 0.1
    converter.build(lambda: images(1))
    assert "int8" in precisions(converter.report)
    converter.save(str(tmp_path / "out"))
    model = tfengine.Model(str(tmp_path / "out"))
    x = images(1, seed=6)[0]
    want = original().classify(tf.constant(x))["logits"].numpy()
    np.testing.assert_allclose(model.run({"image": x}, "serving_default")["logits"], want, atol=0.1 * np.abs(want).max())


def test_a_saved_table_gives_the_same_engine(small_dir, tmp_path):
    calibration = tfengine.Calibration.start(method="minmax")
    tfengine.convert(small_dir, tmp_path / "exact", build_engines=False)
    model = tfengine.Model(str(tmp_path / "exact"))
    for x in images(4):
        model.run({"image": x}, "serving_default")
    calibration.stop()
    assert calibration.runs == 4
    table = json.loads(calibration.table()[0])
    assert table["method"] == "minmax"
    calibration.save(str(tmp_path / "table.json"))
    report = tfengine.convert(
        small_dir, tmp_path / "int8", precision="INT8", calibration_table=tmp_path / "table.json"
    )
    assert "int8" in precisions(report) and "accuracy" not in build_of(report)
    x = images(1)[0]
    got = tfengine.Model(str(tmp_path / "int8")).run({"image": x}, "serving_default")["logits"]
    want = model.run({"image": x}, "serving_default")["logits"]
    assert 0 < np.abs(got - want).max() < 0.1 * np.abs(want).max()


def test_the_guard_raises_layers_until_the_budget_holds(small_dir, tmp_path):
    calibration = tfengine.Calibration.start()
    tfengine.convert(small_dir, tmp_path / "exact", build_engines=False)
    model = tfengine.Model(str(tmp_path / "exact"))
    for x in images(4):
        model.run({"image": x}, "serving_default")
    calibration.stop()
    report = tfengine.convert(
        small_dir, tmp_path / "out", precision="INT8", calibration=calibration, max_error=1e-6, signatures=["serving_default"]
    )
    accuracy = build_of(report)["accuracy"]
    assert accuracy["raised"] > 0 and accuracy["within_budget"]
    assert any(layer["why"] == "raised for accuracy" for layer in build_of(report)["layers"])


def test_int8_without_data_says_so(small_dir, tmp_path):
    report = tfengine.convert(small_dir, tmp_path / "out", precision="INT8", signatures=["serving_default"])
    assert "int8" not in precisions(report)
    assert "no calibrated ranges" in report.text


def test_fp8_on_a_cpu_runs_in_the_next_more_exact_type(small_dir, tmp_path):
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode="FP8")
    function = converter.convert(lambda: ({"image": x} for x in images(4)))
    assert precisions(converter.report) <= {"half", "fp32"}
    assert "no FP8 products" in converter.report.text
    assert any(layer["why"] == "no fp8 products on this device" for layer in build_of(converter.report)["layers"])
    assert build_of(converter.report)["accuracy"]["within_budget"]
    assert error(function, images(1, seed=5)[0]) < 0.02
    converter.save(str(tmp_path / "out"))
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    assert error(loaded.signatures["serving_default"], images(1, size=9)[0]) < 0.02


def test_calibration_without_data_is_an_error(small_dir):
    with pytest.raises(RuntimeError, match="calibration saw no data"):
        trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8").convert(lambda: iter(()))


def test_the_method_of_calibration_is_checked(small_dir):
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8")
    converter.calibration_method = "best"
    with pytest.raises(tfengine.TfEngineError, match="entropy, minmax, percentile, mse"):
        converter.convert(lambda: iter([images(1)[0]]))


def test_one_calibration_at_a_time():
    first = tfengine.Calibration.start()
    with pytest.raises(tfengine.TfEngineError, match="another calibration"):
        tfengine.Calibration.start()
    first.stop()
    tfengine.Calibration.start().stop()


@pytest.mark.parametrize("item", [np.zeros((1, 4, 4, 5), np.float32), [np.zeros(3), np.zeros(3)], {"picture": np.zeros(3)}])
def test_calibration_data_of_the_wrong_form(small_dir, item):
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8")
    with pytest.raises(Exception) as raised:  # TensorFlow's own error for wrong shapes and names
        converter.convert(lambda: iter([item]))
    assert not isinstance(raised.value, tf.errors.InternalError)
    tfengine.Calibration.start().stop()  # the failed one has ended


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_degenerate_data_gives_notices_not_crashes(small_dir, value):
    x = images(1)[0]
    x[0] = value
    if value == 0:
        x[:] = 0
    converter = trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8")
    function = converter.convert(lambda: iter([x]))
    good = images(1, seed=3)[0]
    assert np.isfinite(function(image=tf.constant(good))["logits"].numpy()).all()


@pytest.mark.parametrize(
    "text, part", [("", "expected a calibration table"), ('{"format": 99}', "format"), ('{"format": 1, "engines": {"e": {"values": {"v": {"lo": 3}}}}}', "v")]
)
def test_bad_tables_are_refused(small_dir, tmp_path, text, part):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(tfengine.TfEngineError, match=part):
        tfengine.convert(small_dir, tmp_path / "out", precision="INT8", calibration_table=tmp_path / "table.json")
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_model_is_noticed(small_dir, tmp_path):
    (tmp_path / "table.json").write_text('{"format": 1, "engines": {"other": {"values": {"v": {"lo": 0, "hi": 1}}}}}')
    report = tfengine.convert(
        small_dir, tmp_path / "out", precision="INT8", calibration_table=tmp_path / "table.json"
    )
    assert "notice" in report.text and "int8" not in precisions(report)

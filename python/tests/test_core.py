# SPDX-License-Identifier: Apache-2.0
"""Running and explaining models without TensorFlow: Model, Engine, convert, explain, exceptions."""

import json
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import original

import tfengine
from tfengine import errors


def test_model_gives_the_numbers_of_tensorflow(converted_dir, images):
    model = tfengine.Model(converted_dir)
    signatures = {signature.name: signature for signature in model.signatures}
    assert set(signatures) == {"serving_default", "mix"}
    info = signatures["serving_default"]
    assert info.whole and info.reason == ""
    (image,) = info.inputs
    assert (image.name, image.dtype, image.shape) == ("image", "float32", (-1, -1, -1, 3))
    got = model.run({"image": images})
    for name, value in original().classify(tf.constant(images)).items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-4, atol=1e-5)


def test_inputs_may_be_lists_views_and_read_only_arrays(converted_dir):
    model = tfengine.Model(str(converted_dir))
    a = np.arange(20, dtype=np.float32).reshape(5, 4).T[:, ::-1]
    b = np.ones((4, 5), np.float32)
    b.flags.writeable = False
    expected = original().mix(tf.constant(a.copy()), tf.constant(b))["mixed"].numpy()
    np.testing.assert_allclose(model.run({"a": a, "b": b}, "mix")["mixed"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        model.run({"a": a.tolist(), "b": b.tolist()}, signature="mix")["mixed"], expected, rtol=1e-4, atol=1e-4)


def test_outputs_outlive_the_model(converted_dir, images):
    model = tfengine.Model(str(converted_dir))
    first = model.run({"image": images})["logits"]
    kept = first.copy()
    second = model.run({"image": images * 2})["logits"]
    del model
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("inputs", "signature", "error"),
    [
        ({"image": np.zeros((1, 4, 4, 3), np.float32)}, "nope", LookupError),
        ({}, "serving_default", ValueError),
        ({"image": np.zeros((1, 4, 4, 3), np.float32), "more": np.zeros(1)}, "serving_default", ValueError),
        ({"image": np.zeros((1, 4, 4, 3), np.float64)}, "serving_default", ValueError),
        ({"image": np.zeros((1, 4, 4, 4), np.float32)}, "serving_default", ValueError),
        ({"image": np.zeros((4, 4, 3), np.float32)}, "serving_default", ValueError),
        ({"image": np.array([["text"]])}, "serving_default", ValueError),
    ],
)
def test_wrong_calls_are_errors_and_the_model_stays_usable(converted_dir, images, inputs, signature, error):
    model = tfengine.Model(str(converted_dir))
    with pytest.raises(error) as raised:
        model.run(inputs, signature)
    assert isinstance(raised.value, tfengine.TfEngineError)
    assert raised.value.code > 0
    assert model.run({"image": images})["logits"].shape == (2, 5)


def test_engine_runs_describes_and_profiles(converted_dir, images):
    engine = tfengine.Model(str(converted_dir)).engine()
    engine.prepare([[1, 8, 8, 3]])
    outputs = engine.run([images])
    assert len(outputs) == len(engine.outputs) == 2
    assert json.loads(engine.describe())
    assert json.loads(engine.profile([images]))
    path = sorted(pathlib.Path(converted_dir, "assets").glob("trt-serialized-engine.*"))[0]
    assert tfengine.Engine(str(path), threads=1).inputs


def test_explain_tells_without_writing(small_dir):
    report = tfengine.explain(small_dir)
    assert report.engines >= 2
    assert 0 < report.converted_share <= 1
    assert json.loads(report.json)
    assert report.text == str(report)


def test_convert_reports_progress_and_can_be_interrupted(small_dir, tmp_path):
    seen = []
    tfengine.convert(small_dir, tmp_path / "a", progress=lambda stage, share: seen.append((stage, share)))
    assert seen and all(isinstance(stage, str) and 0 <= share <= 1 for stage, share in seen)

    def stop(stage, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfengine.convert(small_dir, tmp_path / "b", progress=stop)


def test_errors_are_built_in_exceptions_too(small_dir, tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        tfengine.Model(str(tmp_path / "missing"))
    assert raised.value.code == 101
    with pytest.raises(FileNotFoundError):
        tfengine.convert(tmp_path / "missing", tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        tfengine.convert(small_dir, tmp_path / "there")
    with pytest.raises(ValueError):
        tfengine.convert(small_dir, tmp_path / "out", minimum_segment_size=0)
    with pytest.raises(LookupError):
        tfengine.convert(small_dir, tmp_path / "out", signatures=["nope"])
    with pytest.raises(TypeError):
        tfengine.convert(small_dir, tmp_path / "out", no_such_option=1)


def test_exceptions_can_be_pickled():
    error = errors.from_status(12, 604, "E-0604 unimplemented: INT8")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.UnimplementedError and copy.code == 604 and str(copy) == str(error)


def test_works_without_tensorflow(converted_dir):
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import numpy as np, tfengine
model = tfengine.Model({str(converted_dir)!r})
print(model.run({{"image": np.zeros((1, 8, 8, 3), np.float32)}})["logits"].shape)
try:
    tfengine.engine_stats()
except tfengine.TfEngineError as error:
    print("install TensorFlow" in str(error))
"""
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=120, check=False)
    assert result.stdout.split("\n")[:2] == ["(1, 5)", "True"], result.stderr

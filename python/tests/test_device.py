# SPDX-License-Identifier: Apache-2.0
"""The device option, on machines without a GPU: what is refused, and that engines built for a GPU run on the CPU."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import tfengine
from tfengine import errors
from tfengine import trt_convert as trt

without_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")


@pytest.fixture(scope="module")
def for_cuda(small_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("device") / "cuda"
    report = tfengine.convert(small_dir, out, device="cuda", precision="FP16")
    assert report.engines >= 2
    return out


@without_gpu
def test_a_device_that_is_not_there(for_cuda, converted_dir, images):
    with pytest.raises(errors.FailedPreconditionError, match="libcuda") as raised:
        tfengine.Model(for_cuda, device="cuda").run({"image": images})
    assert raised.value.code == 607
    with pytest.raises(errors.FailedPreconditionError, match="libcuda"):
        tfengine.compare(converted_dir, for_cuda, {"image": images}, device="cuda", reference_device="cpu")


def test_a_device_that_means_nothing(converted_dir, small_dir, tmp_path, images):
    for device in ("gpu", "cuda:", "cuda:x", ""):
        with pytest.raises(errors.InvalidArgumentError, match="expected cpu, cuda or cuda:<index>"):
            tfengine.Model(converted_dir, device=device).run({"image": images})
    with pytest.raises(errors.InvalidArgumentError):
        tfengine.convert(small_dir, tmp_path / "out", device="gpu")


def test_engines_built_for_a_gpu_run_on_the_cpu(for_cuda, converted_dir, images):
    got = tfengine.Model(for_cuda).run({"image": images})
    want = tfengine.Model(converted_dir).run({"image": images})
    np.testing.assert_allclose(got["probabilities"], want["probabilities"], atol=2e-2)
    in_tensorflow = tf.saved_model.load(str(for_cuda)).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(in_tensorflow["probabilities"], got["probabilities"], atol=2e-2)


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_the_converter_for_a_gpu(small_dir, tmp_path, images, precision):
    converter = trt.TrtGraphConverterV2(input_saved_model_dir=small_dir, precision_mode=precision, device="cuda")
    function = converter.convert(calibration_input_fn=(lambda: [(images,)] * 2) if precision == "INT8" else None)
    converter.save(tmp_path / "out")
    want = tf.saved_model.load(str(small_dir)).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(function(image=tf.constant(images))["probabilities"], want["probabilities"], atol=5e-2)
    assert converter.report.engines >= 1


def test_the_converter_without_a_gpu_builds_for_the_cpu(small_dir):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow has a GPU")
    converter = trt.TrtGraphConverterV2(input_saved_model_dir=small_dir)
    converter.convert()
    assert converter._conversion.device == "cpu"

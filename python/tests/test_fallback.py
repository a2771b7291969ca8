# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to an engine, requests get the native segment's numbers."""

import pathlib
import zlib

import numpy as np
import pytest
import tensorflow as tf
from conftest import engines_of, original, save_small_model, total_runs

import tfengine
from tfengine import _tensorflow


def classify(model, images):
    return {k: v.numpy() for k, v in model.signatures["serving_default"](image=tf.constant(images)).items()}


def expect_native_numbers(got, images, exact=False, seed=0):
    for name, value in original(seed).classify(tf.constant(images)).items():
        if exact:
            np.testing.assert_allclose(got[name], value.numpy(), rtol=2e-6, atol=1e-6)
        else:
            np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-4, atol=1e-5)


def engine_files(directory):
    return sorted((pathlib.Path(directory) / "assets").glob("trt-serialized-engine.*"))


def test_engines_run_when_nothing_is_wrong(converted_dir, images):
    model = tf.saved_model.load(str(converted_dir))
    expect_native_numbers(classify(model, images), images)
    engines = engines_of(converted_dir)
    assert engines and all(e.state == "ready" for e in engines.values())
    assert sum(e.runs for e in engines.values()) >= 1


def test_every_engine_failing_gives_native_results(converted_dir, images):
    model = tf.saved_model.load(str(converted_dir))
    classify(model, images)
    with _tensorflow.failing_engines():
        runs, native = total_runs()
        expect_native_numbers(classify(model, images), images, exact=True)
        assert total_runs()[0] == runs and total_runs()[1] > native
    assert any("told to fail" in e.last_fallback_reason for e in tfengine.engine_stats())
    native = total_runs()[1]
    classify(model, images)
    assert total_runs()[1] == native


def test_disallowed_native_execution_is_an_error(converted_dir, images, monkeypatch):
    model = tf.saved_model.load(str(converted_dir))
    monkeypatch.setenv("TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION", "false")
    classify(model, images)
    with _tensorflow.failing_engines():
        with pytest.raises(tf.errors.AbortedError, match="User disallowed engine native segment execution."):
            classify(model, images)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (3, 2, 40, 3)])
def test_unusual_shapes_give_native_numbers(converted_dir, shape):
    model = tf.saved_model.load(str(converted_dir))
    images = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expect_native_numbers(classify(model, images), images)


def test_empty_batches_give_empty_results(converted_dir):
    model = tf.saved_model.load(str(converted_dir))
    assert model.signatures["mix"](a=tf.ones([0, 5]), b=tf.ones([0, 5]))["mixed"].shape == (0, 5)


def test_wrong_shapes_fail_as_they_do_natively(converted_dir):
    model = tf.saved_model.load(str(converted_dir))
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError, TypeError)):
        model.signatures["mix"](a=tf.ones([2, 5]), b=tf.ones([3, 5]))
    assert model.signatures["mix"](a=tf.ones([2, 5]), b=tf.ones([2, 5]))["mixed"].shape == (2, 5)


def damage_truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def damage_flip(file):
    data = bytearray(file.read_bytes())
    for i in range(64, len(data), 97):
        data[i] ^= 0x55
    file.write_bytes(data)


def damage_empty(file):
    file.write_bytes(b"")


def damage_foreign(file):
    file.write_bytes(b"\x7fELF" + bytes(5000))


def damage_remove(file):
    file.unlink()


@pytest.fixture
def seed(request):
    """A model of its own for a test, so that no other test has its engines."""
    return zlib.crc32(request.node.name.encode())


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_empty, damage_foreign, damage_remove])
def test_unusable_engine_files_are_rebuilt_behind_requests(seed, images, damage, tmp_path):
    tfengine.convert(save_small_model(tmp_path / "small", seed), tmp_path / "broken")
    files = engine_files(tmp_path / "broken")
    for file in files:
        damage(file)
    model = tf.saved_model.load(str(tmp_path / "broken"))
    expect_native_numbers(classify(model, images), images, exact=True, seed=seed)
    assert tfengine.wait_for_engines(120)
    expect_native_numbers(classify(model, images), images, seed=seed)
    (engine,) = own_engines(files)
    assert (engine.state, engine.source, engine.native_runs, engine.runs) == ("ready", "", 1, 1), engine


def test_runtime_builds_can_be_turned_off(seed, images, tmp_path):
    tfengine.convert(save_small_model(tmp_path / "small", seed), tmp_path / "fixed", allow_build_at_runtime=False)
    files = engine_files(tmp_path / "fixed")
    for file in files:
        file.unlink()
    model = tf.saved_model.load(str(tmp_path / "fixed"))
    for _ in range(2):
        expect_native_numbers(classify(model, images), images, exact=True, seed=seed)
        assert tfengine.wait_for_engines(60)
    (engine,) = own_engines(files)
    assert engine.error == "_allow_build_at_runtime is false" and engine.native_runs == 2


def own_engines(files):
    names = {file.name.split(".", 1)[1] for file in files}
    return [stats for stats in tfengine.engine_stats() if stats.name in names]

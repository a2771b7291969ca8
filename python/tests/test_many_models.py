# SPDX-License-Identifier: Apache-2.0
"""Several models, signatures, loads and threads in one process."""

import concurrent.futures
import gc
import os
import threading
import weakref

import numpy as np
import tensorflow as tf
from conftest import engines_of, original, save_small_model

import tfengine
from tfengine import _tensorflow


def classify(model, images):
    return model.signatures["serving_default"](image=tf.constant(images))["logits"].numpy()


def test_two_models_and_all_signatures_do_not_disturb_each_other(tmp_path, images):
    models, originals = [], []
    for seed in (1, 2):
        save_small_model(tmp_path / f"model{seed}", seed)
        tfengine.convert(tmp_path / f"model{seed}", tmp_path / f"converted{seed}")
        models.append(tf.saved_model.load(str(tmp_path / f"converted{seed}")))
        originals.append(original(seed))
    a, b = images[0, :, :5, 0], images[1, :, :5, 1]
    for _ in range(3):
        for model, reference in zip(models, originals):
            np.testing.assert_allclose(
                classify(model, images), reference.classify(tf.constant(images))["logits"], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                model.signatures["mix"](a=tf.constant(a), b=tf.constant(b))["mixed"],
                reference.mix(tf.constant(a), tf.constant(b))["mixed"], rtol=1e-4, atol=1e-5)


def test_a_model_loaded_twice_shares_engines_and_survives_the_loss_of_one(converted_dir, images):
    expected = original().classify(tf.constant(images))["logits"].numpy()
    first = tf.saved_model.load(str(converted_dir))
    second = tf.saved_model.load(str(converted_dir))
    np.testing.assert_allclose(classify(first, images), expected, rtol=1e-4, atol=1e-5)
    names = [e.name for e in tfengine.engine_stats() if e.source.startswith(f"{converted_dir}/")]
    assert len(names) == len(set(names))
    del first
    gc.collect()
    for _ in range(2):
        np.testing.assert_allclose(classify(second, images), expected, rtol=1e-4, atol=1e-5)
        assert tfengine.wait_for_engines(60)
    assert any(e.runs for e in engines_of(converted_dir).values())


def test_a_model_goes_with_its_memory(converted_dir, images):
    expected = original().classify(tf.constant(images))["logits"].numpy()
    for run in (0, 1, 2):
        model = tf.saved_model.load(str(converted_dir))
        handles = [weakref.ref(value.handle) for value in vars(model).values() if isinstance(value, tf.Variable)]
        assert len(handles) == 4
        if run > 0:
            np.testing.assert_allclose(classify(model, images), expected, rtol=1e-4, atol=1e-5)
        if run == 2:
            with _tensorflow.failing_engines():
                np.testing.assert_allclose(classify(model, images), expected, rtol=1e-5, atol=1e-6)
        signature = model.signatures["serving_default"]
        del model
        gc.collect()
        np.testing.assert_allclose(signature(image=tf.constant(images))["logits"], expected, rtol=1e-4, atol=1e-5)
        del signature
        gc.collect()
        assert not any(handle() is not None for handle in handles)
        assert not engines_of(converted_dir)


def test_a_loaded_model_can_be_saved_and_loaded_again(converted_dir, images, tmp_path):
    model = tf.saved_model.load(str(converted_dir))
    tf.saved_model.save(model, str(tmp_path / "again"), signatures=model.signatures)
    again = tf.saved_model.load(str(tmp_path / "again"))
    np.testing.assert_allclose(classify(again, images), classify(model, images), rtol=1e-6, atol=1e-6)
    engines = engines_of(tmp_path / "again")
    assert engines and all(e.state == "ready" for e in engines.values())


def test_threads_mix_engines_and_native_onednn_convolutions(converted_dir, images):
    model = tf.saved_model.load(str(converted_dir))
    expected = original().classify(tf.constant(images))["logits"].numpy()
    weights = tf.constant(np.random.default_rng(5).standard_normal((3, 3, 3, 16)).astype(np.float32))
    native = tf.nn.conv2d(images, weights, 1, "SAME").numpy()
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for _ in range(60):
            if number % 2:
                np.testing.assert_allclose(tf.nn.conv2d(images, weights, 1, "SAME"), native, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(classify(model, images), expected, rtol=1e-4, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result(timeout=300)
    assert sum(e.runs for e in engines_of(converted_dir).values()) >= 480


def test_threads_with_different_shapes(converted_dir):
    model = tf.saved_model.load(str(converted_dir))
    random = np.random.default_rng(9)
    batches = [random.standard_normal((n, 6 + n, 9, 3)).astype(np.float32) for n in range(1, 9)]
    expected = [original().classify(tf.constant(batch))["logits"].numpy() for batch in batches]

    def work(number):
        for step in range(40):
            i = (number + step) % len(batches)
            np.testing.assert_allclose(classify(model, batches[i]), expected[i], rtol=1e-4, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result(timeout=300)


def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_runs_do_not_leak_memory(converted_dir, images):
    model = tf.saved_model.load(str(converted_dir))
    for _ in range(500):
        classify(model, images)
    gc.collect()
    before = resident_kib()
    for _ in range(3000):
        classify(model, images)
    gc.collect()
    # An output alone is 40 bytes, an input 2.3 KiB: leaking either, or any context, would show.
    assert resident_kib() - before < 3000

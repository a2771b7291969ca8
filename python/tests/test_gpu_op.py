# SPDX-License-Identifier: Apache-2.0
"""The GPU kernels of the ops, on a fake device: a plugin gives TensorFlow two GPUs whose memory is host memory, and fake CUDA
libraries run kernels on the host (tests/gpu/fake). Each test is a process of its own. TensorFlow's CUDA kernels crash on such a
device: only segments of int32 operations, which it computes on the host, may run natively."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

import tfengine

FAKE = pathlib.Path(__file__).parents[2] / "build" / "fake_cuda"

pytestmark = pytest.mark.skipif(
    not (FAKE / "libcuda.so.1").exists() or not (FAKE / "libfake_tensorflow_device.so").exists(),
    reason="the fake device is not built",
)


class Model(tf.Module):
    """Of operations whose kernels need no shared memory; int32 in and out, and a variable."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(0)

        def weights(*shape):
            return tf.Variable(random.standard_normal(shape).astype(np.float32) * 0.2)

        self.filter, self.bias, self.dense, self.table = weights(3, 3, 3, 8), weights(8), weights(288, 16), weights(50, 16)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 12, 12, 3], tf.float32, name="image"), tf.TensorSpec([None], tf.int32, name="ids")]
    )
    def serve(self, image, ids):
        x = tf.nn.relu(tf.nn.conv2d(image, self.filter, 1, "SAME") + self.bias)
        x = tf.reshape(tf.nn.max_pool2d(x, 2, 2, "VALID"), [-1, 288]) @ self.dense
        return {"y": tf.nn.sigmoid(x) + tf.gather(self.table, ids), "ids_plus": ids * 2 + 1}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="ids")])
    def count(self, ids):
        return {"more": (ids - 3) * 5}

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.int32, name=name) for name in "ab"])
    def pair(self, a, b):
        both = a + b
        return {"sum": both * 3, "product": both * b - a}


HEAD = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import load_library
load_library.load_pluggable_device_library(sys.argv[1])
import tfengine

native_dir, converted_dir = sys.argv[2:4]
random = np.random.default_rng(1)

def inputs(batch):
    return {"image": random.standard_normal((batch, 12, 12, 3)).astype(np.float32),
            "ids": random.integers(0, 50, batch).astype(np.int32)}

with tf.device("/CPU:0"):
    reference = tf.saved_model.load(native_dir)

def check(function, data):
    with tf.device("/CPU:0"):
        want = reference.serve(**{k: tf.constant(v) for k, v in data.items()})
    got = function(**{k: tf.constant(v) for k, v in data.items()})
    np.testing.assert_allclose(got["y"].numpy(), want["y"].numpy(), atol=1e-5)
    np.testing.assert_array_equal(got["ids_plus"].numpy(), want["ids_plus"].numpy())
    return got

def stats():
    return sorted(tfengine.engine_stats(), key=lambda s: s.name)

assert len(tf.config.list_physical_devices("GPU")) == 2
"""


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("gpu_op")
    model = Model()
    tf.saved_model.save(model, str(root / "native"), signatures={"serving_default": model.serve, "count": model.count, "pair": model.pair})
    report = tfengine.convert(root / "native", root / "converted", minimum_segment_size=1, device="cuda", build_engines=False)
    assert report.engines == 4, report.text
    return root


@pytest.fixture
def run(directories):
    def check(body, **environment):
        process = subprocess.run(
            [sys.executable, "-c", HEAD + textwrap.dedent(body), str(FAKE / "libfake_tensorflow_device.so"),
             str(directories / "native"), str(directories / "converted")],
            env={**os.environ, "LD_LIBRARY_PATH": str(FAKE), "FAKE_CUDA_ANY_POINTER": "1", "CUDA_VISIBLE_DEVICES": "",
                 "HOME": str(directories), "XDG_CACHE_HOME": str(directories / "cache"), **environment},
            capture_output=True, text=True, timeout=300,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stderr

    return check


def test_engines_run_on_the_gpu(run):
    run("""
        model = tf.saved_model.load(converted_dir)
        function = model.signatures["serving_default"]
        assert [s.state for s in stats()] == ["ready"] * 4, stats()
        for batch in (3, 3, 3, 3, 1, 5, 3):
            got = check(function, inputs(batch))
            assert got["y"].device.endswith("GPU:0"), got["y"].device
        assert sorted((s.runs, s.native_runs) for s in stats()) == [(0, 0), (0, 0), (7, 0), (7, 0)], stats()
    """)


def test_the_second_gpu_and_the_cpu(run):
    run("""
        for device in ("/GPU:1", "/CPU:0"):
            with tf.device(device):
                model = tf.saved_model.load(converted_dir)
                function = model.signatures["serving_default"]
                check(function, inputs(4))  # on the CPU natively: the model's engines were loaded for a GPU
                assert tfengine.wait_for_engines(120)
                got = check(function, inputs(4))
                assert got["y"].device.endswith(device[1:]), got["y"].device
        assert sum(s.runs >= 1 for s in stats()) == 4, stats()
    """)


def test_engines_that_fail_leave_int32_to_the_native_segment(run):
    run("""
        model = tf.saved_model.load(converted_dir)
        count, ids = model.signatures["count"], tf.constant([1, 2, 40], tf.int32)
        np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
        assert sum(s.runs for s in stats()) == 1 and sum(s.native_runs for s in stats()) == 0, stats()
        with tfengine._tensorflow.failing_engines():
            for _ in range(3):
                np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
        assert sum(s.native_runs for s in stats()) == 3, stats()
        np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
    """)


def test_native_segments_with_int32_need_no_second_thread(run):
    """All arguments and results are int32, all threads of TensorFlow are taken, and copies are completed elsewhere."""
    run("""
        import threading
        model = tf.saved_model.load(converted_dir)
        pair = model.signatures["pair"]
        problems = []

        def work(seed):
            random = np.random.default_rng(seed)
            for _ in range(20):
                a, b = (random.integers(-99, 99, (7, 5)).astype(np.int32) for _ in range(2))
                got = pair(a=tf.constant(a), b=tf.constant(b))
                if not (np.array_equal(got["sum"], (a + b) * 3) and np.array_equal(got["product"], (a + b) * b - a)):
                    problems.append(seed)

        with tfengine._tensorflow.failing_engines():
            threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive(), "a native segment hangs"
        work(99)
        assert not problems, problems
        (used,) = [s for s in stats() if s.native_runs]
        assert (used.native_runs, used.runs) == (160, 20), stats()
    """, TF_NUM_INTEROP_THREADS="1")


def test_memory_is_tensorflows(run):
    run("""
        model = tf.saved_model.load(converted_dir)
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        function = model.signatures["serving_default"]
        check(function, inputs(64))
        after = tf.config.experimental.get_memory_info("GPU:0")["current"]
        assert after - before > 64 * 12 * 12 * 8 * 4, (before, after)  # activations are kept
    """, FAKE_CUDA_MEMORY="0")


def test_a_driver_without_the_libraries_is_explained(run, tmp_path):
    (tmp_path / "libcuda.so.1").symlink_to(FAKE / "libcuda.so.1")
    run("""
        model = tf.saved_model.load(converted_dir)
        for _ in range(2):
            got = model.signatures["count"](ids=tf.constant([1, 2, 40], tf.int32))
            np.testing.assert_array_equal(got["more"].numpy(), [-10, -5, 185])
            assert tfengine.wait_for_engines(120)
        used = [s for s in stats() if s.native_runs == 2 and s.runs == 0]
        assert len(used) == 1 and used[0].state == "failed" and used[0].error.startswith("E-060"), stats()
    """, LD_LIBRARY_PATH=str(tmp_path))


def test_without_tensorflow(run, tmp_path):
    run(f"""
        out = {str(tmp_path / "tuned")!r}
        report = tfengine.convert(native_dir, out, minimum_segment_size=1, device="cuda", precision="FP16",
                                  signatures=["serving_default"], build_shapes=[{{"image": [2, 12, 12, 3], "ids": [2]}}])
        assert "nothing was timed" not in report.text, report.text
        data = inputs(5)
        with tf.device("/CPU:0"):
            want = reference.serve(**{{k: tf.constant(v) for k, v in data.items()}})
        for device, tolerance in (("cuda", 1e-2), ("cuda:1", 1e-2), ("cpu", 3e-2)):
            model = tfengine.Model(out, device=device)
            for _ in range(2):
                got = model.run(data)
                np.testing.assert_allclose(got["y"], want["y"].numpy(), atol=tolerance)
                np.testing.assert_array_equal(got["ids_plus"], want["ids_plus"].numpy())
        found = tfengine.compare(converted_dir, out, data, signature="serving_default", device="cuda", reference_device="cpu")
        assert min(v.snr_db for v in found.outputs if not v.discrete) > 35, found.text
        try:
            tfengine.Model(out, device="cuda:7").run(data)
        except tfengine.errors.FailedPreconditionError as error:
            assert "this machine has 2 GPUs" in str(error), error
        else:
            raise AssertionError("there is no eighth GPU")
        calibration = tfengine.Calibration.start()
        tfengine.Model(converted_dir, device="cuda").run(data)
        calibration.stop()
        assert calibration.runs == 2
    """)


def test_memory_that_runs_out_without_tensorflow(run):
    run("""
        model = tfengine.Model(converted_dir, device="cuda")
        small, large = inputs(1), inputs(4096)
        want = model.run(small)["y"]
        for _ in range(2):
            try:
                model.run(large)
            except tfengine.errors.ResourceExhaustedError as error:
                assert error.code == 602, error
            else:
                raise AssertionError("there was enough memory")
            np.testing.assert_array_equal(model.run(small)["y"], want)
    """, FAKE_CUDA_MEMORY=str(4 << 20))


def test_a_device_that_is_lost_without_tensorflow(run, tmp_path):
    lost = tmp_path / "lost"
    run(f"""
        import pathlib
        lost = pathlib.Path({str(lost)!r})
        model, other = tfengine.Model(converted_dir, device="cuda"), tfengine.Model(converted_dir, device="cpu")
        data = inputs(3)
        want = model.run(data)["y"]
        lost.touch()
        for batch in (3, 3, 5):
            try:
                model.run(inputs(batch))
            except tfengine.errors.InternalError as error:
                assert error.code == 608 and "unspecified launch failure" in str(error), error
            else:
                raise AssertionError("there is no device")
        np.testing.assert_allclose(other.run(data)["y"], want, atol=1e-4)
        lost.unlink()
        for _ in range(3):
            np.testing.assert_array_equal(model.run(data)["y"], want)
    """, FAKE_CUDA_LOST=str(lost))


def test_a_device_that_is_lost_leaves_the_native_segment(run, tmp_path):
    lost = tmp_path / "lost"
    run(f"""
        import pathlib
        lost = pathlib.Path({str(lost)!r})
        model = tf.saved_model.load(converted_dir)
        count, ids = model.signatures["count"], tf.constant([1, 2, 40], tf.int32)
        np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
        lost.touch()
        for _ in range(3):
            np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
        (used,) = [s for s in stats() if s.native_runs]
        assert used.native_runs == 3 and "unspecified launch failure" in used.last_fallback_reason, stats()
        lost.unlink()
        np.testing.assert_array_equal(count(ids=ids)["more"].numpy(), [-10, -5, 185])
        assert sum(s.runs for s in stats()) == 2, stats()
    """, FAKE_CUDA_LOST=str(lost))


def test_candidates_are_timed_once(run):
    run("""
    import json
    timings = native_dir + "_timings"
    for name in "first", "second":
        report = tfengine.convert(native_dir, native_dir + "_" + name, minimum_segment_size=1, device="cuda", timing_cache=timings)
        assert report.engines == 4, report.text
        known = json.load(open(timings))
        if name == "first":
            once = known
    [layers] = known["times"].values()
    timed = [time for tactics in layers.values() for time in tactics.values() if time is not None]
    assert timed and all(time > 0 for time in timed), layers
    assert known == once
    for batch in 1, 32:  # without shapes to build for
        assert any(f"float32[{batch},288]" in layer for layer in layers), (batch, sorted(layers))
    assert not any("float32[8,288]" in layer for layer in layers)
    report = tfengine.convert(native_dir, native_dir + "_third", minimum_segment_size=1, device="cuda", signatures=["serving_default"],
                              timing_cache=timings + "_8", build_shapes=[{"image": [8, 12, 12, 3], "ids": [8]}])
    [layers] = json.load(open(timings + "_8"))["times"].values()
    assert any("float32[8,288]" in layer for layer in layers) and not any("float32[32,288]" in layer for layer in layers), sorted(layers)
    """)

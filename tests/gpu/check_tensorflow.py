# SPDX-License-Identifier: Apache-2.0
"""Checks of the TensorFlow op on a GPU, with a stock TensorFlow GPU wheel: results, placement, memory, fallbacks; and times.

    python tests/gpu/check_tensorflow.py --op-library libtfengine_tf.so --native DIR --converted DIR CHECK...

--native holds SavedModels, --converted their conversions under the same names. Each CHECK runs in a process of its own, named
after its function (`run:`, `cpu:`, ...) and the model: run:mnist:1,512 threads:mnist logical:mnist. Without a GPU, or with a
check that fails, the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ROUNDS = 30
# Of outputs against native TensorFlow, |error| / |output|: FP16 in some 50 layers, TF32 on both sides in FP32.
TOLERANCE = {"FP32": 5e-3, "FP16": 3e-2, "INT8": 2e-1, "FP8": 2e-1}


class Context:
    def __init__(self, arguments: argparse.Namespace) -> None:
        import numpy as np
        import tensorflow as tf

        self.tf, self.np = tf, np
        self.arguments = arguments
        tf.load_op_library(str(arguments.op_library.resolve()))
        self.library = ctypes.CDLL(str(arguments.op_library.resolve()))
        self.library.tfengine_tf_engine_stats.restype = ctypes.c_void_p
        self.library.tfengine_tf_free.argtypes = [ctypes.c_void_p]
        self.library.tfengine_tf_wait_for_engines.argtypes = [ctypes.c_double]
        self.models: list = []  # kept alive

    def stats(self) -> list[dict]:
        text = self.library.tfengine_tf_engine_stats()
        try:
            return json.loads(ctypes.string_at(text))
        finally:
            self.library.tfengine_tf_free(text)

    def load(self, kind: str, name: str, device: str | None = None):
        """The signature's function. `device`: where its variables are, and with them the engines that hold them."""
        directory = (self.arguments.native if kind == "native" else self.arguments.converted) / name
        with self.tf.device(device):
            model = self.tf.saved_model.load(str(directory))
        self.models.append(model)
        return model.signatures["serving_default"]

    def inputs(self, function, batch: int, seed: int = 0) -> dict:
        random = self.np.random.default_rng(seed)
        tensors = {}
        for name, spec in function.structured_input_signature[1].items():
            shape = [batch, *spec.shape.as_list()[1:]]
            if "mask" in name:
                value = self.np.ones(shape)
            elif spec.dtype.is_integer:
                value = random.integers(0, 1000, shape)
            else:
                value = random.standard_normal(shape)
            tensors[name] = self.tf.constant(value.astype(spec.dtype.as_numpy_dtype))
        return tensors

    def ready(self, function, inputs: dict) -> None:
        """Runs until the engines serve: those of a device that the model was not loaded on are made in the background."""
        function(**inputs)
        assert self.library.tfengine_tf_wait_for_engines(300.0), "an engine was not ready in five minutes"
        before = self.runs()
        function(**inputs)
        for s in self.stats():
            assert s["state"] in ("ready", "idle"), s
        assert self.runs() > before, f"no engine ran: {self.stats()}"

    def close(self, got: dict, want: dict, what: str) -> float:
        worst = 0.0
        tolerance = TOLERANCE[self.arguments.precision]
        for name in want:
            a, b = (self.np.asarray(v[name], self.np.float64) for v in (got, want))
            assert a.shape == b.shape, f"{what}: {name}: {a.shape} instead of {b.shape}"
            error = float(self.np.linalg.norm(a - b) / max(self.np.linalg.norm(b), 1e-30))
            assert error < tolerance, f"{what}: {name}: error {error:.2e}"
            worst = max(worst, error)
        return worst

    def runs(self) -> int:
        return sum(s["runs"] for s in self.stats())

    def fallbacks(self) -> int:
        return sum(s["native_runs"] for s in self.stats())


def timed(context: Context, call) -> tuple[float, float]:
    """Milliseconds per call: the median with a wait after each, and back to back. Inputs are on the device."""
    sync = context.tf.test.experimental.sync_devices
    for _ in range(5):
        call()
    sync()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        sync()
        times.append((time.perf_counter() - start) * 1e3)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        call()
    sync()
    return statistics.median(times), (time.perf_counter() - start) * 1e3 / ROUNDS


def check_run(context: Context, name: str, batches: str) -> None:
    """The numbers of the engine against native TensorFlow, and the times of TensorFlow, XLA and the engine."""
    tf = context.tf
    native, engine = context.load("native", name), context.load("converted", name)
    xla = tf.function(lambda **inputs: native(**inputs), jit_compile=True)
    for batch in map(int, batches.split(",")):
        inputs = context.inputs(native, batch)
        with tf.device("/GPU:0"):
            # int32 arguments of functions are host memory in TensorFlow; everything else lies on the GPU.
            inputs = {k: tf.identity(v) for k, v in inputs.items()}
        context.ready(engine, inputs)
        before = context.fallbacks()
        want = native(**inputs)
        error = context.close(engine(**inputs), want, f"{name} {batch}")
        for seed in (1, 2):
            other = context.inputs(native, batch, seed)
            context.close(engine(**other), native(**other), f"{name} {batch} seed {seed}")
        rows = {"native": timed(context, lambda: native(**inputs)), "tfengine": timed(context, lambda: engine(**inputs))}
        if not context.arguments.no_xla:
            try:
                rows["XLA"] = timed(context, lambda: xla(**inputs))
            except Exception as problem:  # not what is tested here
                print(f"XLA: {type(problem).__name__}: {str(problem).splitlines()[0]}")
        again = timed(context, lambda: engine(**inputs))
        rows["tfengine"] = min(rows["tfengine"], again)
        assert context.fallbacks() == before, f"TensorFlow ran the engine: {context.stats()}"
        text = "  ".join(f"{way} {ms:.3f} ({back:.3f})" for way, (ms, back) in rows.items())
        ratio = rows["native"][0] / rows["tfengine"][0]
        over_xla = f", {rows['XLA'][0] / rows['tfengine'][0]:.2f}x XLA" if "XLA" in rows else ""
        print(f"TIME {name} batch {batch}: ms per call (back to back): {text}: {ratio:.2f}x native{over_xla}; error {error:.1e}", flush=True)


def check_threads(context: Context, name: str) -> None:
    """Many threads call the same function with different inputs."""
    native, engine = context.load("native", name), context.load("converted", name)
    data = [context.inputs(native, 1 + i % 3, i) for i in range(8)]
    wanted = [native(**inputs) for inputs in data]
    context.ready(engine, data[0])
    problems: list[str] = []

    def work(i: int) -> None:
        try:
            for _ in range(20):
                context.close(engine(**data[i]), wanted[i], f"thread {i}")
        except Exception as problem:
            problems.append(str(problem))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


def check_fallback(context: Context, name: str) -> None:
    """Engines that fail: the native segment serves, on the GPU, with int32 in its place."""
    native, engine = context.load("native", name), context.load("converted", name)
    inputs = context.inputs(native, 2)
    want = native(**inputs)
    context.ready(engine, inputs)
    before = context.fallbacks()
    context.library.tfengine_tf_fail_engines(1)
    context.close(engine(**inputs), want, "native segment")
    context.library.tfengine_tf_fail_engines(0)
    assert context.fallbacks() > before
    context.close(engine(**inputs), want, "engine")


def check_cpu(context: Context, name: str) -> None:
    """The same model with its engines on the CPU."""
    native = context.load("native", name)
    inputs = context.inputs(native, 2)
    want = native(**inputs)
    for device in ("/CPU:0", "/GPU:0"):
        engine = context.load("converted", name, device)
        with context.tf.device(device):
            context.ready(engine, inputs)
            context.close(engine(**inputs), want, device)
        used = context.tf.config.experimental.get_memory_info("GPU:0")["current"]
        print(f"{device}: {used >> 20} MiB on the GPU;", [(s["state"], s["runs"], s["native_runs"]) for s in context.stats()])


def check_logical(context: Context, name: str) -> None:
    """Two logical devices of one GPU; the second is chosen, and its memory limit holds."""
    tf = context.tf
    gpu = tf.config.list_physical_devices("GPU")[0]
    limit = tf.config.LogicalDeviceConfiguration(memory_limit=3000)
    tf.config.set_logical_device_configuration(gpu, [limit, limit])
    native = context.load("native", name)
    inputs = context.inputs(native, 2)
    want = native(**inputs)
    for device in ("/GPU:1", "/GPU:0"):
        engine = context.load("converted", name, device)
        with tf.device(device):
            context.ready(engine, inputs)
            got = engine(**inputs)
        assert all(tensor.device.endswith(device[1:]) for tensor in got.values()), [t.device for t in got.values()]
        context.close(got, want, device)
        used = tf.config.experimental.get_memory_info(f"GPU:{device[-1]}")
        print(f"{device}: {used['peak'] >> 20} MiB at most")
        assert 0 < used["peak"] <= 3000 << 20
    states = [s for s in context.stats() if s["runs"]]
    assert len(states) >= 2, states


def check_memory(context: Context, name: str) -> None:
    """Too little memory for a large batch: TensorFlow's own error or its result, and the next call works."""
    tf = context.tf
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=700)])
    engine = context.load("converted", name)
    small = context.inputs(engine, 1)
    context.ready(engine, small)
    want = engine(**small)
    for _ in range(2):
        try:
            engine(**context.inputs(engine, 320))
            print("the large batch went well")
        except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as problem:
            print(f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}")
        context.close(engine(**small), want, "after a lack of memory")
    print("last reason:", [s["last_fallback_reason"][:200] for s in context.stats()])


def check_growth(context: Context, name: str) -> None:
    """Memory growth, while another process holds nearly all of the GPU."""
    tf = context.tf
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)
    engine = context.load("converted", name)
    small = context.inputs(engine, 1)
    context.ready(engine, small)
    want = engine(**small)
    hog = subprocess.Popen([sys.executable, "-c", _HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert hog.stdout is not None and hog.stdin is not None
        print("another process holds", hog.stdout.readline().strip(), "MiB")
        try:
            engine(**context.inputs(engine, 2048))
            print("the large batch went well")
        except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as problem:
            print(f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}")
        context.close(engine(**small), want, "on a full GPU")
    finally:
        hog.communicate("\n")
    context.close(engine(**context.inputs(engine, 64)), engine(**context.inputs(engine, 64)), "after that")
    print("last reason:", [s["last_fallback_reason"][:200] for s in context.stats()])


_HOG = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0 and cuda.cuCtxSetCurrent(context) == 0
held, piece = 0, 1 << 35
while piece >= 1 << 20:
    if cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(piece)) == 0:
        held += piece
    else:
        piece //= 2
print(held >> 20, flush=True)
sys.stdin.readline()
"""

CHECKS = {name[6:]: value for name, value in list(globals().items()) if name.startswith("check_")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op-library", type=pathlib.Path, required=True)
    parser.add_argument("--native", type=pathlib.Path, required=True)
    parser.add_argument("--converted", type=pathlib.Path, required=True)
    parser.add_argument("--precision", default="FP16", choices=TOLERANCE, help="of the converted models")
    parser.add_argument("--no-xla", action="store_true")
    parser.add_argument("--seconds", type=int, default=240, help="limit of one check")
    parser.add_argument("checks", nargs="+", metavar="CHECK")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if len(arguments.checks) == 1 and os.environ.get("TFENGINE_CHECK"):
        check, *rest = arguments.checks[0].split(":")
        CHECKS[check](Context(arguments), *rest)
        return 0
    failed = 0
    for check in arguments.checks:
        start = time.perf_counter()
        command = [sys.executable, __file__, *sys.argv[1 : len(sys.argv) - len(arguments.checks)], check]
        result = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            result = subprocess.run(
                command, env={**os.environ, "TFENGINE_CHECK": "1"}, timeout=arguments.seconds,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        good = result is not None and result.returncode == 0
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {check} ({time.perf_counter() - start:.1f} s)")
        if result is not None:
            lines = result.stdout.splitlines()
            shown = [line for line in lines if not line.startswith(("WARNING: All log", "I0000"))]
            print("\n".join("    " + line[:400] for line in shown[-(25 if not good else 12):]), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

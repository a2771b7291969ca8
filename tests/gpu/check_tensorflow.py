# SPDX-License-Identifier: Apache-2.0
"""Checks of the TensorFlow op on a GPU, with a stock TensorFlow GPU wheel: results, placement, memory, fallbacks; and times.

    python tests/gpu/check_tensorflow.py --op-library libtfengine_tf.so --tfengine build/tfengine --cache DIR \\
        --model DIR/resnet50:1,128 --model DIR/bert:1,8
    python tests/gpu/check_tensorflow.py --op-library libtfengine_tf.so --native DIR --converted DIR CHECK...

The first form converts SavedModels (the folder's name is the model's), times them and runs all checks in --budget seconds: those of
memory on the first model, of int32 inputs on one with "bert" in its name, the others on the last. What was not reached counts as
failed. Tactics and kernels that are in --cache already need no time. The second form runs single checks; --native holds SavedModels,
--converted their conversions under the same names. Each CHECK runs in a process of its own with a time limit, named after its function
(`run:`, `cpu:`, ...) and the model: run:mnist:1,512 threads:mnist logical:mnist. Without a GPU, or with a check that fails, the exit
code is 1.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
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


def row(name: str, batch: int, error: float, rows: dict) -> None:
    """What the table of the whole run is made of; a later line replaces an earlier one."""
    print("ROW", json.dumps({"model": name, "batch": batch, "error": error, **rows}), flush=True)


def check_run(context: Context, name: str, batches: str) -> None:
    """The numbers of the engine against native TensorFlow, and the times of TensorFlow, XLA and the engine."""
    tf = context.tf
    native, engine = context.load("native", name), context.load("converted", name)
    xla = tf.function(lambda **inputs: native(**inputs), jit_compile=True)
    found = {}
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
        rows = {"native": timed(context, lambda: native(**inputs))}
        rows["tfengine"] = min(timed(context, lambda: engine(**inputs)) for _ in range(2))
        assert context.fallbacks() == before, f"TensorFlow ran the engine: {context.stats()}"
        found[batch] = (inputs, error, rows)
        row(name, batch, error, rows)
    # Last, as compiling takes longest.
    for batch, (inputs, error, rows) in found.items():
        if context.arguments.no_xla:
            break
        try:
            rows["XLA"] = timed(context, lambda: xla(**inputs))
            row(name, batch, error, rows)
        except Exception as problem:  # not what is tested here
            print(f"XLA: {type(problem).__name__}: {str(problem).splitlines()[0]}")


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


@contextlib.contextmanager
def step(what: str):
    """Says how long a part of a check took, before anything that may hang."""
    print(what, end=" ", flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s", flush=True)


def check_fallback(context: Context, name: str) -> None:
    """Engines that fail: the native segment serves, on the GPU, with int32 in its place."""
    with step("load"):
        native, engine = context.load("native", name), context.load("converted", name)
        inputs = context.inputs(native, 2)
    with step("native"):
        want = native(**inputs)
    with step("engine"):
        context.ready(engine, inputs)
    before = context.fallbacks()
    context.library.tfengine_tf_fail_engines(1)
    for what in ("native segment, first call", "native segment, second call"):
        with step(what):
            context.close(engine(**inputs), want, what)
    context.library.tfengine_tf_fail_engines(0)
    assert context.fallbacks() > before
    context.close(engine(**inputs), want, "engine")


def check_second(context: Context, name: str) -> None:
    """The second of several GPUs."""
    tf = context.tf
    if len(tf.config.list_physical_devices("GPU")) < 2:
        print("there is one GPU only: not checked")
        return
    native = context.load("native", name)
    inputs = context.inputs(native, 2)
    want = native(**inputs)
    engine = context.load("converted", name, "/GPU:1")
    with tf.device("/GPU:1"):
        context.ready(engine, inputs)
        got = engine(**inputs)
        context.close(got, want, "/GPU:1")
        context.library.tfengine_tf_fail_engines(1)
        context.close(engine(**inputs), want, "/GPU:1, native segment")
    assert all(tensor.device.endswith("GPU:1") for tensor in got.values()), [t.device for t in got.values()]


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
    # Beside TensorFlow's copy of the weights and the engine's.
    weights = sum(file.stat().st_size for file in (context.arguments.converted / name / "variables").iterdir()) >> 20
    tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=600 + 2 * weights)])
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
    for gpu in tf.config.list_physical_devices("GPU"):
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


# Prints a signature's input shapes, with a batch size for the unknown first one, as `tfengine convert` takes them.
_SHAPES = """
import sys
from tensorflow.core.protobuf import saved_model_pb2
for argument in sys.argv[1:]:
    directory, batches = argument.rsplit(":", 1)
    model = saved_model_pb2.SavedModel.FromString(open(directory + "/saved_model.pb", "rb").read())
    inputs = model.meta_graphs[0].signature_def["serving_default"].inputs
    sizes = {k: [d.size for d in v.tensor_shape.dim] for k, v in inputs.items()}
    print(";".join(k + "=" + ",".join("x".join(map(str, [b, *d[1:]])) for b in batches.split(",")) for k, d in sizes.items()))
"""


def run_limited(command: list[str], seconds: float, environment: dict[str, str]) -> tuple[bool, list[str], float]:
    """Whether it went well, what it printed, and how long it took; it is killed when the time is over."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += f"\nended after {seconds:.0f} s"
    return process.returncode == 0, output.splitlines(), time.perf_counter() - start


def report(what: str, good: bool, lines: list[str], seconds: float) -> None:
    print(f"{'ok    ' if good else 'FAILED'} {what} ({seconds:.1f} s)")
    shown = [line for line in lines if not line.startswith(("WARNING: All log", "I0000", "ROW"))]
    print("\n".join("    " + line[:400] for line in shown[-(25 if not good else 8):]), flush=True)


def check_command(arguments: argparse.Namespace, check: str) -> list[str]:
    options = ["--op-library", str(arguments.op_library), "--native", str(arguments.native), "--converted", str(arguments.converted),
               "--precision", arguments.precision, *(["--no-xla"] if arguments.no_xla else [])]
    return [sys.executable, __file__, *options, check]


def rows_of(lines: list[str]) -> dict:
    """What row() printed; a later row of a model and batch replaces an earlier one."""
    found = [json.loads(line[4:]) for line in lines if line.startswith("ROW")]
    return {(row["model"], row["batch"]): row for row in found}


def table(rows: dict) -> None:
    def ms(times):
        return f"{times[0]:8.3f} ({times[1]:.3f})" if times else "-"

    print(f"{'model':<14}{'batch':>6}{'native':>20}{'XLA':>20}{'tfengine':>20}{'over native':>16}{'over XLA':>16}{'error':>9}")
    for (model, batch), r in rows.items():
        ratios = ["{:.2f} ({:.2f})".format(*(a / b for a, b in zip(r[way], r["tfengine"]))) if way in r else "-" for way in ("native", "XLA")]
        times = "".join(f"{ms(r.get(way)):>20}" for way in ("native", "XLA", "tfengine"))
        print(f"{model:<14}{batch:>6}{times}{ratios[0]:>16}{ratios[1]:>16}{r['error']:>9.0e}")
    print("ms per call with a wait after each, in brackets back to back", flush=True)


def run_all(arguments: argparse.Namespace, work: pathlib.Path) -> int:
    """Converts, times, then checks what engines do when something is different."""
    deadline = time.perf_counter() + arguments.budget
    environment = {"TFENGINE_CHECK": "1", "XDG_CACHE_HOME": str(arguments.cache.resolve())}
    arguments.native, arguments.converted = work / "native", work / "converted"
    arguments.native.mkdir()
    arguments.converted.mkdir()
    failed: list[str] = []

    def limited(what: str, command: list[str], seconds: float, **more: str) -> list[str]:
        seconds = min(seconds, deadline - time.perf_counter())
        if seconds < 1:
            good, lines, took = False, ["not reached in time"], 0.0
        else:
            good, lines, took = run_limited(command, seconds, {**environment, **more})
        if not good:
            failed.append(what)
        report(what, good, lines, took)
        return lines

    models = {pathlib.Path(model.rsplit(":", 1)[0]).name: model.rsplit(":", 1) for model in arguments.model}
    _, lines, _ = run_limited([sys.executable, "-c", _SHAPES, *arguments.model], 60, {"CUDA_VISIBLE_DEVICES": ""})
    shapes = dict(zip(models, [line for line in lines if "=" in line and "x" in line][-len(models):]))
    for name, (directory, _) in models.items():
        (arguments.native / name).symlink_to(pathlib.Path(directory).resolve())
        command = [str(arguments.tfengine.resolve()), "convert", str(arguments.native / name), str(arguments.converted / name), "--device", "cuda",
                   "--precision", arguments.precision, "--effort", arguments.effort,
                   "--timing-cache", str(arguments.cache / "timings")]
        limited(f"convert {name}", command + ["--build-shapes", shapes[name]], arguments.seconds)

    rows: dict = {}
    first, last = list(models)[0], list(models)[-1]
    integers = next((name for name in models if "bert" in name), last)
    for name, (_, batches) in models.items():
        # A third of the time is left to the other checks.
        left = deadline - time.perf_counter() - arguments.budget / 3
        rows |= rows_of(limited(f"run {name}", check_command(arguments, f"run:{name}:{batches}"), max(1.0, min(arguments.seconds, left))))
    table(rows)
    # Not timed, so several at once, but for the one that fills the GPU's memory.
    several = [f"fallback:{last}", f"fallback:{integers}", *(f"{kind}:{last}" for kind in ("threads", "second", "logical", "cpu"))]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(limited, check, check_command(arguments, check), arguments.seconds, TF_FORCE_GPU_ALLOW_GROWTH="true")
                   for check in dict.fromkeys(several)]
        concurrent.futures.wait(waiting)
    for check in (f"memory:{first}", f"growth:{first}"):
        limited(check, check_command(arguments, check), arguments.seconds)
    print("FAILED: " + ", ".join(failed) if failed else "all is well")
    return len(failed) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op-library", type=pathlib.Path, required=True)
    parser.add_argument("--native", type=pathlib.Path)
    parser.add_argument("--converted", type=pathlib.Path)
    parser.add_argument("--model", action="append", default=[], metavar="DIR:BATCHES", help="a SavedModel to convert and time")
    parser.add_argument("--tfengine", type=pathlib.Path, help="the program, to convert --model with")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("check_cache"), help="timings and kernels, read and extended")
    parser.add_argument("--effort", default="default")
    parser.add_argument("--precision", default="FP16", choices=TOLERANCE, help="of the converted models")
    parser.add_argument("--no-xla", action="store_true")
    parser.add_argument("--seconds", type=float, default=60, help="limit of one check")
    parser.add_argument("--budget", type=float, default=150, help="limit of all, with --model")
    parser.add_argument("checks", nargs="*", metavar="CHECK")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if len(arguments.checks) == 1 and os.environ.get("TFENGINE_CHECK"):
        check, *rest = arguments.checks[0].split(":")
        CHECKS[check](Context(arguments), *rest)
        return 0
    if arguments.model:
        if arguments.tfengine is None or arguments.checks:
            parser.error("--model needs --tfengine, and no CHECK")
        arguments.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            return run_all(arguments, pathlib.Path(work))
    if arguments.native is None or arguments.converted is None or not arguments.checks:
        parser.error("give --model, or --native, --converted and CHECKs")
    failed = 0
    rows: dict = {}
    for check in arguments.checks:
        good, lines, took = run_limited(check_command(arguments, check), arguments.seconds, {"TFENGINE_CHECK": "1"})
        failed += not good
        report(check, good, lines, took)
        rows |= rows_of(lines)
    if rows:
        table(rows)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

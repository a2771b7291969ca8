# SPDX-License-Identifier: Apache-2.0
"""Times one model natively, under XLA and with tfengine, inside and without TensorFlow.

    python -m tfengine.benchmark MODEL --batch 1,32 --threads 2

Every way to run the model is a process of its own, limited to the same number of CPUs. They take turns, so that a busy
machine disturbs all of them alike. Times are milliseconds per call: the minimum and the median over all rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Arrays = Mapping[str, Any]
Run = Callable[[Arrays], Arrays]

_ROUNDS = 5
_UNKNOWN_SPATIAL = 224  # for unknown sizes of rank-4 inputs
_UNKNOWN_LENGTH = 128  # for other unknown sizes but the first


# --- ways to run a model: each gives a function from arrays to arrays ---------------------------------------------


def _tensorflow_runner(directory: str, signature: str, threads: int, jit_compile: bool) -> Run:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = tf.saved_model.load(directory)
    function = model.signatures[signature]
    call = tf.function(lambda **inputs: function(**inputs), jit_compile=True) if jit_compile else function

    return functools.partial(_call_tensorflow, model, call)


def _call_tensorflow(model: Any, call: Any, inputs: Arrays) -> Arrays:
    """`model` is only kept alive: the variables belong to it, not to the function."""
    import tensorflow as tf

    outputs = call(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _native(directory: str, converted: str, signature: str, threads: int, device: str) -> Run:
    return _tensorflow_runner(directory, signature, threads, jit_compile=False)


def _xla(directory: str, converted: str, signature: str, threads: int, device: str) -> Run:
    return _tensorflow_runner(directory, signature, threads, jit_compile=True)


def _engine_in_tensorflow(directory: str, converted: str, signature: str, threads: int, device: str) -> Run:
    import tfengine  # noqa: F401  (makes TRTEngineOp known)

    return _tensorflow_runner(converted, signature, threads, jit_compile=False)


def _engine_alone(directory: str, converted: str, signature: str, threads: int, device: str) -> Run:
    import tfengine

    model = tfengine.Model(converted, threads=threads, device=device)
    return lambda inputs: model.run(inputs, signature)


@dataclasses.dataclass(frozen=True)
class Way:
    key: str
    title: str
    make: Callable[[str, str, str, int, str], Run]


WAYS = (
    Way("tensorflow", "TensorFlow", _native),
    Way("xla", "XLA", _xla),
    Way("tfengine_tf", "tfengine in TensorFlow", _engine_in_tensorflow),
    Way("tfengine", "tfengine alone", _engine_alone),
)


# --- worker processes ---------------------------------------------------------------------------------------------


def _limit_cpus(threads: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def _worker(pipe: Any, way: Way, directory: str, converted: str, signature: str, threads: int,
            device: str = "cpu") -> None:
    """Serves ("run", inputs) → outputs, ("time", inputs, seconds) → list of milliseconds, and ("quit",)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _limit_cpus(threads)
    try:
        run = way.make(directory, converted, signature, threads, device)
    except Exception as error:  # whatever a runtime throws is a result of the benchmark
        pipe.send(("failed", _describe(error)))
        return
    pipe.send(("ok", None))
    while True:
        try:
            command, *arguments = pipe.recv()
        except EOFError:
            return
        if command == "quit":
            return
        try:
            pipe.send(("ok", dict(run(*arguments)) if command == "run" else _time(run, *arguments)))
        except Exception as error:
            pipe.send(("failed", _describe(error)))


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _time(run: Run, inputs: Arrays, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run(inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return times


class Worker:
    """One way to run the model, in its own process."""

    def __init__(self, way: Way, *arguments: Any) -> None:
        self.way = way
        self.error = ""
        self._usable = True
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_worker, args=(other, way, *arguments), daemon=True)
        self._process.start()
        other.close()
        self._receive()
        self._usable = not self.error

    def call(self, *command: Any) -> Any:
        """The answer, or None and `error`."""
        if not self._usable:
            return None
        self.error = ""
        self._pipe.send(command)
        return self._receive()

    def _receive(self) -> Any:
        try:
            status, value = self._pipe.recv()
        except EOFError:
            self._usable = False
            status, value = "failed", "the process died"
        if status == "failed":
            self.error = value
            return None
        return value

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._pipe.send(("quit",))
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()


# --- inputs -------------------------------------------------------------------------------------------------------


def make_inputs(specs: Sequence[Any], batch: int, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Random inputs: floats normal, integers small and not negative, masks ones."""
    import numpy as np

    random = np.random.default_rng(0)
    inputs = {}
    for spec in specs:
        shape = _concrete_shape(spec, batch, shapes)
        dtype = np.dtype(spec.dtype)
        if "mask" in spec.name.lower():
            inputs[spec.name] = np.ones(shape, dtype)
        elif dtype.kind == "f":
            inputs[spec.name] = random.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            inputs[spec.name] = random.integers(0, 2, shape).astype(dtype)
        else:
            inputs[spec.name] = random.integers(0, 100, shape).astype(dtype)
    return inputs


def _concrete_shape(spec: Any, batch: int, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    if spec.name in shapes:
        return (batch, *shapes[spec.name])
    unknown = _UNKNOWN_SPATIAL if len(spec.shape) == 4 else _UNKNOWN_LENGTH
    sizes = [size if size >= 0 else unknown for size in spec.shape]
    if sizes and spec.shape[0] < 0:
        sizes[0] = batch
    return tuple(sizes)


def max_error(expected: Arrays, got: Arrays) -> float:
    """The largest difference of any output, relative to that output's largest magnitude."""
    import numpy as np

    worst = 0.0
    for name, reference in expected.items():
        reference = np.asarray(reference, np.float64)
        value = np.asarray(got[name], np.float64)
        if reference.shape != value.shape:
            return float("inf")
        if reference.size:
            scale = max(float(np.abs(reference).max()), 1e-30)
            worst = max(worst, float(np.abs(reference - value).max()) / scale)
    return worst


# --- the benchmark ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Cell:
    """One way at one batch size."""

    way: str
    batch: int
    min_ms: float | None = None
    median_ms: float | None = None
    runs: int = 0
    max_error: float | None = None  # against TensorFlow, relative
    error: str = ""


def measure(workers: Sequence[Worker], inputs: Arrays, batch: int, seconds: float) -> list[Cell]:
    """Interleaved rounds: every worker runs for a share of its `seconds`, then the next one, _ROUNDS times over."""
    cells = [Cell(worker.way.key, batch) for worker in workers]
    reference = None
    for worker, cell in zip(workers, cells):
        outputs = worker.call("run", inputs)
        worker.call("time", inputs, seconds / _ROUNDS)  # warm-up
        if outputs is not None and reference is None:
            reference = outputs
        elif outputs is not None:
            cell.max_error = max_error(reference, outputs)
    times: list[list[float]] = [[] for _ in workers]
    for _ in range(_ROUNDS):
        for worker, collected in zip(workers, times):
            collected += worker.call("time", inputs, seconds / _ROUNDS) or []
    for worker, cell, collected in zip(workers, cells, times):
        cell.error = worker.error
        cell.runs = len(collected)
        if collected and not worker.error:
            cell.min_ms, cell.median_ms = min(collected), statistics.median(collected)
    return cells


def format_table(cells: Sequence[Cell]) -> str:
    """A plain-text table; the factor compares medians with TensorFlow's."""
    titles = {way.key: way.title for way in WAYS}
    rows = [("batch", "", "min ms", "median ms", "x", "max error", "runs")]
    for cell in cells:
        native = next((c.median_ms for c in cells if c.batch == cell.batch and c.way == WAYS[0].key), None)
        if cell.median_ms is None:
            rows.append((str(cell.batch), titles[cell.way], "-", "-", "", "", cell.error.splitlines()[0][:100]))
            continue
        factor = f"{native / cell.median_ms:.2f}" if native else ""
        error = "" if cell.max_error is None else f"{cell.max_error:.1e}"
        rows.append(
            (str(cell.batch), titles[cell.way], f"{cell.min_ms:.3f}", f"{cell.median_ms:.3f}", factor, error,
             str(cell.runs))
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = []
    for row in rows:
        left = [row[0].rjust(widths[0]), row[1].ljust(widths[1])]
        lines.append("  ".join([*left, *(row[i].rjust(widths[i]) for i in range(2, 6)), row[6]]).rstrip())
    return "\n".join(lines)


@contextlib.contextmanager
def _converted(directory: pathlib.Path, batches: Sequence[int], arguments: argparse.Namespace) -> Iterator[str]:
    """A temporary conversion, tuned at the batch sizes."""
    import tfengine

    with tempfile.TemporaryDirectory(prefix="tfengine_benchmark_") as temporary:
        output = os.path.join(temporary, "converted")
        specs = signature_inputs(directory, arguments.signature)
        shapes = [
            {spec.name: list(_concrete_shape(spec, batch, arguments.shape)) for spec in specs} for batch in batches
        ]
        start = time.perf_counter()
        report = tfengine.convert(
            directory, output, build_shapes=shapes, threads=arguments.threads, device=arguments.device,
            precision=arguments.precision,
        )
        print(f"converted in {time.perf_counter() - start:.1f} s: {report.engines} engines, "
              f"{report.converted_share:.0%} of the compute nodes", file=sys.stderr)
        yield output


def signature_inputs(directory: pathlib.Path, signature: str) -> list[Any]:
    """The inputs of a signature as (name, dtype, shape), without loading the model into TensorFlow."""
    import tensorflow as tf

    from tfengine import _summary

    meta = _summary.read_meta_graph(directory, ["serve"])
    specs = []
    for name, info in sorted(_summary.find_signature(meta, signature, directory).inputs.items()):
        shape = tuple(dim.size for dim in info.tensor_shape.dim)
        specs.append(Input(name, tf.dtypes.as_dtype(info.dtype).as_numpy_dtype, shape))
    return specs


@dataclasses.dataclass(frozen=True)
class Input:
    name: str
    dtype: Any
    shape: tuple[int, ...]


def _shape(text: str) -> tuple[str, list[int]]:
    name, _, sizes = text.partition("=")
    if not name or not sizes:
        raise argparse.ArgumentTypeError(f"expected name=224,224,3, got '{text}'")
    return name, [int(size) for size in sizes.split(",")]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfengine.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="a SavedModel that was not converted")
    parser.add_argument("--batch", default="1", help="batch sizes, e.g. 1,32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all CPUs")
    parser.add_argument("--device", default="cpu",
                        help="cpu, cuda or cuda:<index>: of tfengine; TensorFlow takes the GPUs that it sees")
    parser.add_argument("--precision", default="FP32", help="of tfengine: FP32, FP16 or BF16")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured time per way and batch size")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--shape", type=_shape, action="append", default=[], metavar="NAME=SIZES",
                        help="sizes of an input after the batch, e.g. image=224,224,3")
    parser.add_argument("--json", type=pathlib.Path, help="also write the results here")
    parser.add_argument("--no-xla", action="store_true", help="leave XLA out")
    arguments = parser.parse_args(argv)
    arguments.shape = dict(arguments.shape)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = _parse(argv)
    batches = [int(batch) for batch in arguments.batch.split(",")]
    specs = signature_inputs(arguments.model, arguments.signature)
    cells: list[Cell] = []
    with _converted(arguments.model, batches, arguments) as converted, contextlib.ExitStack() as stack:
        workers = []
        for way in WAYS:
            if way.key == "xla" and arguments.no_xla:
                continue
            worker = Worker(
                way, str(arguments.model), converted, arguments.signature, arguments.threads, arguments.device
            )
            stack.callback(worker.close)
            workers.append(worker)
        for batch in batches:
            inputs = make_inputs(specs, batch, arguments.shape)
            cells += measure(workers, inputs, batch, arguments.seconds)
    print(f"{arguments.model}, {arguments.signature}, {arguments.threads} threads, tfengine {arguments.precision} on {arguments.device}")
    print(format_table(cells))
    if arguments.json:
        result = {
            "model": str(arguments.model),
            "signature": arguments.signature,
            "threads": arguments.threads,
            "device": arguments.device,
            "precision": arguments.precision,
            "results": [dataclasses.asdict(cell) for cell in cells],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

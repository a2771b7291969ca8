# SPDX-License-Identifier: Apache-2.0
"""tfengine: inference engines for TensorFlow SavedModels.

    import tfengine
    tfengine.convert("resnet50", "resnet50_fast")            # SavedModel in, SavedModel with engines out
    model = tfengine.Model("resnet50_fast")                  # run it without TensorFlow, or ...
    tf.saved_model.load("resnet50_fast")                     # ... in TensorFlow as before

`tfengine.trt_convert` has the API of TF-TRT: `from tfengine import trt_convert as trt`.
Importing tfengine makes TRTEngineOp known to TensorFlow, whichever of the two is imported first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Union

from tfengine import _core, _tensorflow, errors
from tfengine._core import Calibration, ComparedValue, CompareReport, ConvertReport, Engine, Model, SignatureInfo, TensorSpec, __version__
from tfengine._tensorflow import EngineStats, engine_stats, wait_for_engines
from tfengine.errors import TfEngineError

__all__ = [
    "Calibration",
    "CompareReport",
    "ComparedValue",
    "ConvertReport",
    "Engine",
    "EngineStats",
    "Model",
    "SignatureInfo",
    "TensorSpec",
    "TfEngineError",
    "__version__",
    "compare",
    "convert",
    "engine_stats",
    "errors",
    "explain",
    "wait_for_engines",
]

Path = Union[str, "os.PathLike[str]"]
Shapes = Mapping[str, Sequence[int]]


def _options(given: Mapping[str, object]) -> _core.ConvertOptions:
    options = _core.ConvertOptions()
    for name, value in given.items():
        setattr(options, name, value)
    return options


def convert(
    input_dir: Path,
    output_dir: Path,
    *,
    tags: Sequence[str] = ("serve",),
    signatures: Sequence[str] = (),
    precision: str = "FP32",
    device: str = "cpu",
    tf32: bool = False,
    minimum_segment_size: int = 3,
    max_engines: int = 0,
    excluded_ops: Sequence[str] = (),
    excluded_nodes: Sequence[str] = (),
    build_shapes: Sequence[Shapes] = (),
    effort: str = "default",
    build_engines: bool = True,
    allow_build_at_runtime: bool = True,
    maximum_cached_engines: int = 16,
    threads: int = 0,
    timing_cache: Path = "",
    calibration: Calibration | None = None,
    calibration_table: Path = "",
    max_error: float = 0.1,
    max_top1_drop: float | None = None,
    progress: Callable[[str, float], object] | None = None,
) -> ConvertReport:
    """Converts the SavedModel in `input_dir` and writes the result to `output_dir`, which must not exist.

    All signatures survive; those named in `signatures` (all, if empty) get engines where that is possible. Engines take
    any input shape; `build_shapes` (input name to shape) only says at which ones they are tuned, by default at batch 1,
    on GPUs also at 32.
    `effort`: how long to look for the fastest engine: "fast" (the best guesses only), "default" or "max" (every candidate,
    timed longer). `progress` is called with a stage name and the share done. Needs no TensorFlow.

    `device`: "cpu", "cuda" or "cuda:<index>": what precisions mean and what engines are timed for (with `tf32`, products of
    f32 on a GPU may round their operands to TF32). The result runs on other devices too; there engines take their first
    guesses. Without that GPU nothing is timed.

    `precision`: FP32; FP16 or BF16 (the 16-bit type that the machine is fast in); INT8; FP8 (E4M3 on GPUs of compute
    capability 8.9 and later, elsewhere as in BF16). INT8 and FP8 take their ranges from `calibration`, which observed the FP32 model in this process, or from `calibration_table`, the file that it saved. With
    the former, layers are raised to a higher precision until no output is further from FP32 than `max_error`
    (|error| / |output|) and no more than `max_top1_drop` of the rows of an output have another greatest element (default:
    0.01 for results of a softmax, no limit for others).
    """
    options = _options(
        {
            "tags": list(tags),
            "signatures": list(signatures),
            "precision": precision,
            "device": device,
            "tf32": tf32,
            "minimum_segment_size": minimum_segment_size,
            "max_engines": max_engines,
            "excluded_ops": list(excluded_ops),
            "excluded_nodes": list(excluded_nodes),
            "build_shapes": [{name: list(shape) for name, shape in shapes.items()} for shapes in build_shapes],
            "effort": effort,
            "build_engines": build_engines,
            "allow_build_at_runtime": allow_build_at_runtime,
            "maximum_cached_engines": maximum_cached_engines,
            "threads": threads,
            "timing_cache": os.fspath(timing_cache),
            "calibration": calibration,
            "calibration_table": os.fspath(calibration_table),
            "max_error": max_error,
            "max_top1_drop": -1.0 if max_top1_drop is None else max_top1_drop,
        }
    )
    return _core.convert(os.fspath(input_dir), os.fspath(output_dir), options, progress)


def explain(
    input_dir: Path,
    *,
    tags: Sequence[str] = ("serve",),
    signatures: Sequence[str] = (),
    precision: str = "FP32",
    device: str = "cpu",
    minimum_segment_size: int = 3,
    max_engines: int = 0,
    excluded_ops: Sequence[str] = (),
    excluded_nodes: Sequence[str] = (),
) -> ConvertReport:
    """What `convert` would do with each node, and why, without building anything."""
    options = _options(
        {
            "tags": list(tags),
            "signatures": list(signatures),
            "precision": precision,
            "device": device,
            "minimum_segment_size": minimum_segment_size,
            "max_engines": max_engines,
            "excluded_ops": list(excluded_ops),
            "excluded_nodes": list(excluded_nodes),
        }
    )
    return _core.explain(os.fspath(input_dir), options)


def compare(
    a: Path,
    b: Path,
    data: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    *,
    signature: str | None = None,
    threshold_db: float = 30.0,
    threads: int = 0,
    device: str = "cpu",
    reference_device: str = "",
    tf32: bool = False,
) -> CompareReport:
    """Runs `data` through two converted models and compares every value that both have.

    `a` and `b` are conversions of the same SavedModel, FP32 and INT8 say, that run without TensorFlow; `a` is the
    reference. `data`: one batch (input name to array) or any number of them. The report has the outputs, the layers in the
    order they are computed, the first whose signal-to-noise ratio is below `threshold_db`, and the worst ones. The values
    of one batch are kept in memory. Both run on `device`, `a` on `reference_device` if that is given: a model can be compared
    with itself on the CPU and a GPU.
    """
    batches = [data] if isinstance(data, Mapping) else data
    return _core.compare(
        os.fspath(a), os.fspath(b), (dict(batch) for batch in batches), signature or "", threshold_db, threads,
        device, reference_device, tf32
    )


_tensorflow.load_when_imported()

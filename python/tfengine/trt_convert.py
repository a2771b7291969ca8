# SPDX-License-Identifier: Apache-2.0
"""The API of TF-TRT: `from tfengine import trt_convert as trt` instead of `from tensorflow.python.compiler.tensorrt`.

    converter = trt.TrtGraphConverterV2(input_saved_model_dir="model")
    converter.convert()
    converter.build(input_fn)      # optional: tune the engines at the shapes that input_fn yields
    converter.save("model_trt")

INT8: TrtGraphConverterV2(..., precision_mode="INT8"), convert(calibration_input_fn); before that, the attribute
`calibration_method` can be set to minmax, percentile or mse.

What differs from TF-TRT: all signatures are converted and kept; one engine serves every shape, so that
`use_dynamic_shape`, `dynamic_shape_profile_strategy` and `maximum_cached_engines` need no thought; save() leaves the
engines usable in this process.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.platform import tf_logging as logging  # TF-TRT's logger

from tfengine import Calibration, _staging, _summary, _tensorflow
from tfengine import convert as _convert
from tfengine.errors import FailedPreconditionError, TfEngineError, UnimplementedError

DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES = sys.maxsize - 512

PROFILE_STRATEGY_RANGE = "Range"
PROFILE_STRATEGY_OPTIMAL = "Optimal"
PROFILE_STRATEGY_RANGE_OPTIMAL = "Range+Optimal"
PROFILE_STRATEGY_IMPLICIT_BATCH_MODE_COMPATIBLE = "ImplicitBatchModeCompatible"

_SERVE = "serve"
_DEFAULT_SIGNATURE = "serving_default"
_NO_ENGINES = 2**31 - 1  # a minimum segment size that no segment reaches


def supported_profile_strategies() -> list[str]:
    return [
        PROFILE_STRATEGY_RANGE,
        PROFILE_STRATEGY_OPTIMAL,
        PROFILE_STRATEGY_RANGE_OPTIMAL,
        PROFILE_STRATEGY_IMPLICIT_BATCH_MODE_COMPATIBLE,
    ]


class TrtPrecisionMode:
    """Names of the precision modes."""

    FP32 = "FP32"
    FP16 = "FP16"
    INT8 = "INT8"
    BF16 = "BF16"  # not in TF-TRT; on CPUs FP16 means the same
    FP8 = "FP8"  # not in TF-TRT: E4M3 on GPUs that have it, calibrated like INT8

    @staticmethod
    def supported_precision_modes() -> list[str]:
        precisions = [TrtPrecisionMode.FP32, TrtPrecisionMode.FP16, TrtPrecisionMode.INT8]
        return precisions + [precision.lower() for precision in precisions] + ["BF16", "bf16", "FP8", "fp8"]


def _is_calibrated(precision_mode: str) -> bool:
    return precision_mode.upper() in (TrtPrecisionMode.INT8, TrtPrecisionMode.FP8)


class TrtConversionParams(
    collections.namedtuple(
        "TrtConversionParams",
        [
            "max_workspace_size_bytes",
            "precision_mode",
            "minimum_segment_size",
            "maximum_cached_engines",
            "use_calibration",
            "allow_build_at_runtime",
        ],
    )
):
    """Parameters of a conversion.

    Fields:
      max_workspace_size_bytes: the most scratch memory an engine may use.
      precision_mode: one of TrtPrecisionMode.supported_precision_modes().
      minimum_segment_size: the fewest nodes an engine replaces; -1 converts nothing.
      maximum_cached_engines: input shapes whose buffer plans an engine keeps (it keeps 16 at least).
      use_calibration: INT8 and FP8 only: ranges come from calibration, not from the graph.
      allow_build_at_runtime: False runs the native segment where there is no prebuilt engine.
    """

    def __new__(
        cls,
        max_workspace_size_bytes=DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        precision_mode=TrtPrecisionMode.FP32,
        minimum_segment_size=3,
        maximum_cached_engines=1,
        use_calibration=True,
        allow_build_at_runtime=True,
    ):
        return super().__new__(
            cls,
            max_workspace_size_bytes,
            precision_mode,
            minimum_segment_size,
            maximum_cached_engines,
            use_calibration,
            allow_build_at_runtime,
        )


DEFAULT_TRT_CONVERSION_PARAMS = TrtConversionParams()


def _check_conversion_params(params: TrtConversionParams) -> None:
    supported = TrtPrecisionMode.supported_precision_modes()
    if params.precision_mode not in supported:
        raise ValueError(
            f"precision mode '{params.precision_mode}' is not supported.It should be one of {supported}"
        )
    if params.minimum_segment_size <= 0 and params.minimum_segment_size != -1:
        raise ValueError("minimum segment size should be positive or -1 (to disable main graph conversion).")


def _progress() -> Callable[[str, float], None] | None:
    """Shows the stage on the terminal, if there is one."""
    if not sys.stderr.isatty():
        return None

    def show(stage: str, fraction: float) -> None:
        end = "\n" if fraction >= 1 else ""
        print(f"\r\033[Ktfengine: {stage} {fraction:4.0%}", end=end, file=sys.stderr, flush=True)

    return show


def _device() -> str:
    """Where TensorFlow will place the engines."""
    return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"


def _environment_options() -> dict[str, Any]:
    """The TF_TRT_* variables that steer a conversion."""
    options: dict[str, Any] = {}
    denied = os.environ.get("TF_TRT_OP_DENYLIST", "")
    if denied:
        options["excluded_ops"] = [op.strip() for op in denied.split(",") if op.strip()]
    most = os.environ.get("TF_TRT_MAX_ALLOWED_ENGINES", "")
    if most:
        options["max_engines"] = max(int(most), 0)
    return options


def _fallbacks() -> int:
    return sum(engine.native_runs for engine in _tensorflow.engine_stats())


class _Workspace:
    """A temporary directory with converted models; removed with its owner."""

    def __init__(self) -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="tfengine_"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self._models = 0

    def next_model(self) -> pathlib.Path:
        self._models += 1
        return self.path / f"model_{self._models}"


class _Conversion:
    """What the converters of both API generations do alike: converting a directory into the workspace."""

    def __init__(self, input_dir: Any, tags: list[str], params: TrtConversionParams, device: str | None = None) -> None:
        self.input_dir = os.fspath(input_dir)
        self.tags = tags
        self.params = params
        self.device = _device() if device is None else device
        self.workspace = _Workspace()
        self.excluded_nodes: list[str] = []
        self.calibration: Calibration | None = None  # INT8, FP8: what was observed

    def run(self, **options: Any) -> tuple[pathlib.Path, Any]:
        """Converts; returns the directory of the result and the report."""
        minimum = self.params.minimum_segment_size
        directory = self.workspace.next_model()
        report = _convert(
            self.input_dir,
            directory,
            **{
                "tags": self.tags,
                "precision": self.params.precision_mode.upper(),
                "device": self.device,
                "tf32": self.device != "cpu" and tf.config.experimental.tensor_float_32_execution_enabled(),
                "minimum_segment_size": _NO_ENGINES if minimum == -1 else minimum,
                "maximum_cached_engines": self.params.maximum_cached_engines,
                "allow_build_at_runtime": self.params.allow_build_at_runtime,
                "excluded_nodes": self.excluded_nodes,
                "timing_cache": self.workspace.path / "timing_cache",
                "calibration": self.calibration,
                "progress": _progress(),
                **_environment_options(),
                **options,
            },
        )
        level = logging.WARN if os.environ.get("TF_TRT_SHOW_DETAILED_REPORT") else logging.INFO
        logging.log(level, "%s", report.text)
        return directory, report

    @contextlib.contextmanager
    def observed(self, method: str) -> Iterator[pathlib.Path]:
        """Gives the directory of the model in FP32; what runs on it inside the block calibrates run() from then on."""
        directory, _ = self.run(precision=TrtPrecisionMode.FP32, build_engines=False)
        calibration = Calibration.start(method=method)
        try:
            yield directory
        finally:
            calibration.stop()
            shutil.rmtree(directory, ignore_errors=True)
        if calibration.runs == 0:
            raise RuntimeError("calibration saw no data: the inputs were empty, or the signature has no engine")
        for notice in calibration.table()[1]:
            logging.warning("calibration: %s", notice)
        self.calibration = calibration


class TrtGraphConverterV2:
    """Converts a TensorFlow 2 SavedModel: convert(), optionally build(), then save()."""

    def __init__(
        self,
        input_saved_model_dir=None,
        input_saved_model_tags=None,
        input_saved_model_signature_key=None,
        use_dynamic_shape=None,
        dynamic_shape_profile_strategy=None,
        max_workspace_size_bytes=DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        precision_mode=TrtPrecisionMode.FP32,
        minimum_segment_size=3,
        maximum_cached_engines=1,
        use_calibration=True,
        allow_build_at_runtime=True,
        conversion_params=None,
        device=None,
    ):
        """Arguments are those of TF-TRT, and `device`.

        Args:
          input_saved_model_dir: the SavedModel to convert.
          input_saved_model_tags: its tags; default ["serve"].
          input_saved_model_signature_key: the signature that convert() returns and summary() shows; default
            "serving_default". All signatures are converted.
          use_dynamic_shape, dynamic_shape_profile_strategy: checked, and otherwise without effect: an engine serves
            every shape that the model takes.
          max_workspace_size_bytes, precision_mode, minimum_segment_size, maximum_cached_engines, use_calibration,
            allow_build_at_runtime: see TrtConversionParams.
          device: what the engines are built and tuned for: "cpu", "cuda" or "cuda:<index>"; default: "cuda" if TensorFlow
            has a GPU. The model runs on the other kind too. Tuning on a GPU uses memory that TensorFlow must leave free
            (tf.config.experimental.set_memory_growth).
          conversion_params: deprecated; a TrtConversionParams that replaces the individual arguments.

        Raises:
          ValueError: if an argument has an unsupported value.
          RuntimeError: if the TensorFlow op library is not available.
        """
        assert tf.executing_eagerly()
        if conversion_params is None:
            conversion_params = TrtConversionParams(
                max_workspace_size_bytes=max_workspace_size_bytes,
                precision_mode=precision_mode,
                minimum_segment_size=minimum_segment_size,
                maximum_cached_engines=maximum_cached_engines,
                use_calibration=use_calibration,
                allow_build_at_runtime=allow_build_at_runtime,
            )
        else:
            logging.warning("conversion_params is deprecated, use the individual converter arguments instead")
        _tensorflow.op_library()
        _check_conversion_params(conversion_params)

        self._conversion_params = conversion_params
        self._device = device
        self._input_saved_model_dir = input_saved_model_dir
        self._input_saved_model_tags = input_saved_model_tags or [_SERVE]
        self._input_saved_model_signature_key = input_saved_model_signature_key or _DEFAULT_SIGNATURE
        self.freeze = True
        # How the calibration of INT8 and FP8 chooses ranges: mse, minmax, percentile or entropy (the method of
        # TF-TRT, which loses more accuracy: docs/precision.md).
        self.calibration_method = "mse"
        self._need_calibration = _is_calibrated(conversion_params.precision_mode) and conversion_params.use_calibration
        self._use_dynamic_shape = bool(use_dynamic_shape)
        self._profile_strategy = self._checked_strategy(dynamic_shape_profile_strategy)
        if self._profile_strategy == PROFILE_STRATEGY_IMPLICIT_BATCH_MODE_COMPATIBLE:
            logging.warning("ImplicitBatchModeCompatible strategy is deprecated, use another strategy instead.")

        self._converted = False
        self._build_called_once = False
        self._converted_func = None
        self._conversion: _Conversion | None = None
        self._directory: pathlib.Path | None = None
        self._loaded = None
        self._report = None
        self._build_shapes: list[dict[str, list[int]]] = []

    @staticmethod
    def _checked_strategy(strategy: str | None) -> str:
        if strategy is None:
            return PROFILE_STRATEGY_RANGE
        for known in supported_profile_strategies():
            if strategy.lower() == known.lower():
                return known
        raise ValueError(
            f"profile_strategy '{strategy}' is not supported. It should be one of {supported_profile_strategies()}"
        )

    @property
    def report(self):
        """The ConvertReport: which nodes are inside engines, and why the others are not."""
        return self._report

    @property
    def _converted_graph_def(self):
        return self._converted_func.graph.as_graph_def(add_shapes=True)

    def convert(self, calibration_input_fn=None):
        """Converts the model and returns the ConcreteFunction of the chosen signature.

        Args:
          calibration_input_fn: INT8 or FP8 with calibration only: a generator function; each item is one set of inputs, as
            for build(). All engines are calibrated in one pass.

        Raises:
          ValueError: if calibration_input_fn is missing, or not needed.
          RuntimeError: if calibration_input_fn yields nothing, or an item does not fit the signature.
          TfEngineError: if the model cannot be read.
        """
        assert not self._converted
        if self._need_calibration and not calibration_input_fn:
            mode = self._conversion_params.precision_mode.upper()
            raise ValueError(f"Should specify calibration_input_fn because {mode} calibration is needed")
        if not self._need_calibration and calibration_input_fn:
            raise ValueError("Should not specify calibration_input_fn because INT8 calibration is not needed")
        if self._input_saved_model_dir is None:
            raise ValueError("input_saved_model_dir is None: TrtGraphConverterV2 needs a SavedModel to convert")
        meta = _summary.read_meta_graph(self._input_saved_model_dir, self._input_saved_model_tags)
        _summary.find_signature(meta, self._input_saved_model_signature_key, self._input_saved_model_dir)

        self._conversion = _Conversion(
            self._input_saved_model_dir, self._input_saved_model_tags, self._conversion_params, self._device
        )
        if calibration_input_fn:
            with self._conversion.observed(self.calibration_method) as directory:
                loaded = tf.saved_model.load(str(directory), tags=self._input_saved_model_tags)
                function = loaded.signatures[self._input_saved_model_signature_key]
                for item in calibration_input_fn():
                    inputs = self._named_tensors(item, function)
                    before = _fallbacks()
                    function(**inputs)
                    # Engines for a device other than the one the model was loaded on are made at their first request.
                    if _fallbacks() > before and _tensorflow.wait_for_engines():
                        function(**inputs)
        self._convert_and_load()
        self._converted = True
        return self._converted_func

    def _convert_and_load(self, **options: Any) -> None:
        assert self._conversion is not None
        directory, self._report = self._conversion.run(**options)
        self._converted_func = None
        self._loaded = tf.saved_model.load(str(directory), tags=self._input_saved_model_tags)
        self._converted_func = self._loaded.signatures[self._input_saved_model_signature_key]
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = directory

    def build(self, input_fn):
        """Runs the inputs that `input_fn` yields, then tunes the engines at their shapes.

        Args:
          input_fn: a generator function; each item is one set of inputs of the signature: an array, a list or tuple
            in the order of the input names, or a dict.

        Raises:
          NotImplementedError: build() was called before.
          RuntimeError: there is no input_fn, convert() was not called, or an input is not convertible.
        """
        if self._build_called_once:
            raise NotImplementedError(
                "build() is already called. It is not supported to call build() more than once."
            )
        if not input_fn:
            raise RuntimeError("input_fn is None. Method build() needs input_fn to be specified in order to build "
                               "TensorRT engines")
        if not self._converted:
            raise RuntimeError("Need to call convert() before build()")
        self._build_called_once = True

        by_shape: dict[tuple, dict[str, tf.Tensor]] = {}
        for item in input_fn():
            inputs = self._named_tensors(item, self._converted_func)
            shape_key = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items()))
            if shape_key not in by_shape:
                self._converted_func(**inputs)
                by_shape[shape_key] = inputs
        if not by_shape:
            raise RuntimeError("input_fn is empty: build() needs at least one set of inputs")
        self._build_shapes = [
            {name: tensor.shape.as_list() for name, tensor in inputs.items()} for inputs in by_shape.values()
        ]
        self._convert_and_load(build_shapes=self._build_shapes)
        for inputs in by_shape.values():
            self._converted_func(**inputs)

    @staticmethod
    def _named_tensors(item: Any, function: Any) -> dict[str, tf.Tensor]:
        names = list(function.structured_input_signature[1])
        keywords = getattr(function, "_arg_keywords", None) or names
        try:
            if isinstance(item, dict):
                return {name: tf.convert_to_tensor(value) for name, value in item.items()}
            values: Iterable[Any] = item if isinstance(item, (list, tuple)) else [item]
            tensors = [tf.convert_to_tensor(value) for value in values]
        except Exception as error:
            raise RuntimeError("Failed to convert input to tensor.") from error
        if len(tensors) != len(keywords):
            raise RuntimeError(f"expected {len(keywords)} inputs ({', '.join(keywords)}), got {len(tensors)}")
        return dict(zip(keywords, tensors))

    def save(self, output_saved_model_dir, save_gpu_specific_engines=True, options=None):
        """Writes the converted model; it appears complete or not at all.

        Args:
          output_saved_model_dir: a new path, an empty directory, or a SavedModel to replace.
          save_gpu_specific_engines: False leaves out what was chosen for this machine; the engines are then built
            where the model is loaded.
          options: tf.saved_model.SaveOptions; the model is then written by tf.saved_model.save.
        """
        assert self._converted
        assert self._conversion is not None and self._directory is not None
        with _staging.replaced_directory(output_saved_model_dir) as new:
            if options is not None:
                tf.saved_model.save(self._loaded, str(new), signatures=self._loaded.signatures, options=options)
            elif save_gpu_specific_engines:
                shutil.copytree(self._directory, new)
            else:
                portable, _ = self._conversion.run(build_engines=False)
                shutil.move(portable, new)

    def summary(self, line_length=160, detailed=True, print_fn=None):
        """Prints one row per engine of the chosen signature, and how much of it converted."""
        if not self._converted:
            raise RuntimeError(
                f"Impossible to call `{self.__class__.__name__}.summary()` before calling "
                f"{self.__class__.__name__}.convert()`."
            )
        if line_length < 160:
            raise ValueError(f"Invalid `line_length` value has been received: {line_length}. Minimum: 160.")
        meta = _summary.read_meta_graph(self._directory, self._input_saved_model_tags)
        _summary.print_summary(meta, self._input_saved_model_signature_key, line_length, detailed, print_fn or print)


class TrtGraphConverter:
    """The converter of TensorFlow 1: convert() gives a GraphDef, save() a SavedModel. For graph mode only."""

    def __init__(
        self,
        input_saved_model_dir=None,
        input_saved_model_tags=None,
        input_saved_model_signature_key=None,
        input_graph_def=None,
        nodes_denylist=None,
        max_batch_size=1,
        max_workspace_size_bytes=DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        precision_mode=TrtPrecisionMode.FP32,
        minimum_segment_size=3,
        is_dynamic_op=False,
        maximum_cached_engines=1,
        use_calibration=True,
    ):
        """Arguments are those of TF-TRT; `max_batch_size` and `is_dynamic_op` are checked, and otherwise without effect.

        Raises:
          RuntimeError: in eager mode.
          ValueError: if an argument has an unsupported value.
          NotImplementedError: for `input_graph_def`.
        """
        if tf.executing_eagerly():
            raise RuntimeError("Please use tf.experimental.tensorrt.Converter in TF 2.0.")
        if input_graph_def is not None and input_saved_model_dir is not None:
            raise ValueError("Can only specify one of input_graph_def and input_saved_model_dir")
        if input_graph_def is None and input_saved_model_dir is None:
            raise ValueError("Must specify one of input_graph_def and input_saved_model_dir")
        if input_graph_def is not None:
            raise UnimplementedError(
                "input_graph_def: tfengine converts SavedModels; save the graph with "
                "tf.compat.v1.saved_model.simple_save and pass input_saved_model_dir"
            )
        if not is_dynamic_op and not isinstance(max_batch_size, int):
            raise ValueError("max_batch_size has to be an integer for is_dynamic_op==False in TF1")
        params = TrtConversionParams(
            max_workspace_size_bytes=max_workspace_size_bytes,
            precision_mode=precision_mode,
            minimum_segment_size=minimum_segment_size,
            maximum_cached_engines=maximum_cached_engines,
            use_calibration=use_calibration,
        )
        _check_conversion_params(params)
        _tensorflow.op_library()
        self._tags = input_saved_model_tags or [_SERVE]
        self._signature_key = input_saved_model_signature_key or _DEFAULT_SIGNATURE
        self._conversion = _Conversion(input_saved_model_dir, self._tags, params)
        self._conversion.excluded_nodes = [
            (node if isinstance(node, str) else node.name).split(":")[0] for node in nodes_denylist or []
        ]
        self._directory: pathlib.Path | None = None
        self.calibration_method = "mse"  # as in TrtGraphConverterV2
        self._need_calibration = _is_calibrated(precision_mode) and use_calibration

    def convert(self):
        """Converts the model and returns its GraphDef; with engines in FP32 until calibrate(), if that is needed."""
        assert self._directory is None
        meta = _summary.read_meta_graph(self._conversion.input_dir, self._tags)
        _summary.find_signature(meta, self._signature_key, self._conversion.input_dir)
        self._directory, _ = self._conversion.run(
            **({"precision": TrtPrecisionMode.FP32} if self._need_calibration else {})
        )
        return _summary.read_meta_graph(self._directory, self._tags).graph_def

    def calibrate(self, fetch_names, num_runs, feed_dict_fn=None, input_map_fn=None):
        """Runs the graph `num_runs` times to calibrate the engines, and returns the GraphDef with INT8 or FP8 engines.

        Args:
          fetch_names: names of the tensors to fetch.
          num_runs: how often to run.
          feed_dict_fn: gives the feed_dict of a run, by tensor name.
          input_map_fn: not available; feed the inputs.
        """
        if not self._need_calibration:
            raise ValueError("calibrate() is for INT8 and FP8 with use_calibration")
        if self._directory is None:
            raise FailedPreconditionError("Need to call convert() before calibrate()")
        if (feed_dict_fn is None) == (input_map_fn is None):
            raise ValueError("Should specify one and only one of feed_dict_fn and input_map_fn.")
        if input_map_fn is not None:
            raise UnimplementedError("calibrate: input_map_fn is not available; give feed_dict_fn")
        with self._conversion.observed(self.calibration_method) as directory, tf.Graph().as_default() as graph:
            with tf.compat.v1.Session(graph=graph) as session:
                tf.compat.v1.saved_model.loader.load(session, self._tags, str(directory))
                fetches = [name if ":" in name else name + ":0" for name in fetch_names]
                for _ in range(num_runs):
                    session.run(fetches, feed_dict=feed_dict_fn())
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory, _ = self._conversion.run()
        return _summary.read_meta_graph(self._directory, self._tags).graph_def

    def save(self, output_saved_model_dir):
        """Writes the converted model."""
        if self._directory is None:
            raise FailedPreconditionError("Need to call convert() before save()")
        with _staging.replaced_directory(output_saved_model_dir) as new:
            shutil.copytree(self._directory, new)


def create_inference_graph(
    input_graph_def,
    outputs,
    max_batch_size=1,
    max_workspace_size_bytes=DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
    precision_mode=TrtPrecisionMode.FP32,
    minimum_segment_size=3,
    is_dynamic_op=False,
    maximum_cached_engines=1,
    input_saved_model_dir=None,
    input_saved_model_tags=None,
    input_saved_model_signature_key=None,
    output_saved_model_dir=None,
):
    """TensorFlow 1: converts the SavedModel `input_saved_model_dir`, saves it if asked to, and returns its GraphDef."""
    converter = TrtGraphConverter(
        input_saved_model_dir=input_saved_model_dir,
        input_saved_model_tags=input_saved_model_tags,
        input_saved_model_signature_key=input_saved_model_signature_key,
        input_graph_def=input_graph_def,
        nodes_denylist=outputs,
        max_batch_size=max_batch_size,
        max_workspace_size_bytes=max_workspace_size_bytes,
        precision_mode=precision_mode,
        minimum_segment_size=minimum_segment_size,
        is_dynamic_op=is_dynamic_op,
        maximum_cached_engines=maximum_cached_engines,
        use_calibration=False,
    )
    graph_def = converter.convert()
    if output_saved_model_dir:
        converter.save(output_saved_model_dir)
    return graph_def


def get_tensorrt_rewriter_config(conversion_params, is_dynamic_op=None, max_batch_size=None, is_v2=False,
                                 disable_non_trt_optimizers=False):
    """TF-TRT's conversion inside a running session. Not available: convert the SavedModel ahead of time."""
    raise UnimplementedError(
        "get_tensorrt_rewriter_config: tfengine converts SavedModels ahead of time, not graphs in a running session; "
        "use TrtGraphConverterV2"
    )


# The name under which TensorFlow exports TrtGraphConverterV2 and TrtConversionParams.
Converter = TrtGraphConverterV2
ConversionParams = TrtConversionParams

__all__ = [
    "ConversionParams",
    "Converter",
    "DEFAULT_TRT_CONVERSION_PARAMS",
    "DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES",
    "PROFILE_STRATEGY_IMPLICIT_BATCH_MODE_COMPATIBLE",
    "PROFILE_STRATEGY_OPTIMAL",
    "PROFILE_STRATEGY_RANGE",
    "PROFILE_STRATEGY_RANGE_OPTIMAL",
    "TfEngineError",
    "TrtConversionParams",
    "TrtGraphConverter",
    "TrtGraphConverterV2",
    "TrtPrecisionMode",
    "create_inference_graph",
    "get_tensorrt_rewriter_config",
    "supported_profile_strategies",
]

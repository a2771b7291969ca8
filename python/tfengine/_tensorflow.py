# SPDX-License-Identifier: Apache-2.0
"""The TensorFlow op library: loading it, and what it knows about engines."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.abc
import importlib.util
import json
import pathlib
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfengine import _build_info
from tfengine.errors import FailedPreconditionError

_LIBRARY = pathlib.Path(__file__).with_name("libtfengine_tf.so")
_GET_IT = (
    "install TensorFlow >= 2.18 first, then reinstall tfengine: "
    "pip install --force-reinstall --no-cache-dir --no-deps tfengine"
)

_lock = threading.RLock()
_library: ctypes.CDLL | None = None


@dataclass(frozen=True)
class EngineStats:
    """What one engine has done in this process."""

    name: str
    state: str  # "idle", "building", "ready" or "failed"
    source: str  # the engine file, or "" if it is built from the native segment
    runs: int  # requests served by the engine
    native_runs: int  # requests that TensorFlow served
    last_fallback_reason: str
    error: str  # why the build failed, or ""
    shapes: list[list[list[int]]]  # input shapes seen while they were collected


def op_library() -> ctypes.CDLL:
    """Loads the op library into TensorFlow, once, and returns it."""
    global _library
    with _lock:
        if _library is not None:
            return _library
        if not _LIBRARY.exists():
            raise FailedPreconditionError(
                f"tfengine was built without TensorFlow, so TRTEngineOp is not available; {_GET_IT}"
            )
        try:
            import tensorflow as tf
        except ImportError as error:
            raise FailedPreconditionError(f"TensorFlow cannot be imported ({error}); {_GET_IT}") from error
        built, present = _build_info.TENSORFLOW_VERSION, tf.__version__
        try:
            tf.load_op_library(str(_LIBRARY))
        except tf.errors.OpError as error:
            raise FailedPreconditionError(
                f"the op library was built for TensorFlow {built}, this is {present}, and they do not fit "
                f"together ({error.message}); {_GET_IT}"
            ) from error
        _allow_loading_in_strategies(tf)
        _let_go_of_functions(tf)
        library = ctypes.CDLL(str(_LIBRARY))
        library.tfengine_tf_engine_stats.restype = ctypes.c_void_p
        library.tfengine_tf_free.argtypes = [ctypes.c_void_p]
        library.tfengine_tf_wait_for_engines.argtypes = [ctypes.c_double]
        library.tfengine_tf_fail_engines.argtypes = [ctypes.c_int]
        _library = library
        return library


def _allow_loading_in_strategies(tf: Any) -> None:
    """Lets models be loaded in the scope of a distribution strategy.

    TensorFlow refuses to call a function there that captures variables with a copy per replica, which is how the variables of native
    segments are told to the op library. It is called once for the copies of each replica instead.
    """
    try:
        from tensorflow.python.distribute.distribute_utils import is_distributed_variable
        from tensorflow.python.distribute.values_util import is_saving_non_distributed
        from tensorflow.python.trackable.resource import RestoredResource

        add = RestoredResource._add_trackable_child
    except (ImportError, AttributeError):  # another TensorFlow: such scopes are an error then
        return

    def binds_variables(function: Any) -> bool:
        for concrete in getattr(function, "concrete_functions", ()):
            graph = concrete.graph.as_graph_def()
            bodies = [graph.node, *(f.node_def for f in graph.library.function)]  # calls it in a model that was saved again
            if any(node.op == "TfengineBindVariables" for body in bodies for node in body):
                return True
        return False

    def bind_each_replica(function: Any) -> Any:
        (concrete,) = function.concrete_functions
        captured = concrete.captured_inputs
        distributed = [v for v in captured if is_distributed_variable(v)]
        if not distributed or not tf.distribute.in_cross_replica_context() or is_saving_non_distributed():
            return function()
        replicas = range(len(distributed[0].values))
        return tf.group(
            *(concrete._call_flat([], [v.values[i].handle if is_distributed_variable(v) else v for v in captured]) for i in replicas)
        )

    def add_child(self: Any, name: str, value: Any) -> None:
        if name == "_initialize" and tf.distribute.in_cross_replica_context() and binds_variables(value):
            value = functools.partial(bind_each_replica, value)
        add(self, name, value)

    RestoredResource._add_trackable_child = add_child


def _let_go_of_functions(tf: Any) -> None:
    """Lets the memory of a loaded model go with the model.

    For the sake of TF-TRT, TensorFlow's loader puts every function with a TRTEngineOp into the thread's default graph too, where it
    stays for good, and with it all variables and engines of the model. Here functions hold those that they call.
    """
    try:
        from tensorflow.python.framework import ops
        from tensorflow.python.saved_model import function_deserialization

        load, _ = function_deserialization.load_function_def_library, ops.Graph._remove_function
    except (ImportError, AttributeError):  # another TensorFlow
        return

    @functools.wraps(load)
    def load_functions(*args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly():
            return load(*args, **kwargs)  # nodes of that graph will call them
        graph = ops.get_default_graph()
        present = set(graph._functions)
        functions = load(*args, **kwargs)
        for name in set(graph._functions) - present:
            graph._remove_function(name)
        return functions

    function_deserialization.load_function_def_library = load_functions


def engine_stats() -> list[EngineStats]:
    """Statistics of the engines that are loaded in TensorFlow, in this process."""
    library = op_library()
    text = library.tfengine_tf_engine_stats()
    try:
        rows: list[dict[str, Any]] = json.loads(ctypes.string_at(text))
    finally:
        library.tfengine_tf_free(text)
    return [EngineStats(**row) for row in rows]


def wait_for_engines(timeout: float | None = None) -> bool:
    """Waits until no engine is being built in the background; False after `timeout` seconds."""
    seconds = float("inf") if timeout is None else float(timeout)
    return bool(op_library().tfengine_tf_wait_for_engines(seconds))


@contextlib.contextmanager
def failing_engines() -> Iterator[None]:
    """For tests: every engine run fails inside this context, so that all segments run natively."""
    library = op_library()
    library.tfengine_tf_fail_engines(1)
    try:
        yield
    finally:
        library.tfengine_tf_fail_engines(0)


class _Loader(importlib.abc.Loader):
    """Executes a module as `loader` does, then loads the op library."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _try_loading()


class _Finder(importlib.abc.MetaPathFinder):
    """Loads the op library right after the first `import tensorflow`.

    So `import tfengine` itself stays fast and works without TensorFlow, and the order of the two imports is free.
    """

    def __init__(self) -> None:
        self._searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


def _try_loading() -> None:
    try:
        op_library()
    except FailedPreconditionError as error:
        warnings.warn(f"tfengine: {error}", RuntimeWarning, stacklevel=2)


def load_when_imported() -> None:
    """Loads the op library now if TensorFlow is imported already, else as soon as it is."""
    if "tensorflow" in sys.modules:
        _try_loading()
    else:
        sys.meta_path.insert(0, _Finder())

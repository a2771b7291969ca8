# SPDX-License-Identifier: Apache-2.0
"""The table that TrtGraphConverterV2.summary() prints, read from a converted SavedModel."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfengine.errors import NotFoundError

# Column, share of the line in percent.
_COLUMNS = (
    ("TRTEngineOP Name", 20),
    ("Device", 9),
    ("# Nodes", 5),
    ("# Inputs", 9),
    ("# Outputs", 9),
    ("Input DTypes", 12),
    ("Output Dtypes", 12),
    ("Input Shapes", 12),
    ("Output Shapes", 12),
)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def read_meta_graph(directory: str | os.PathLike[str], tags: Sequence[str]) -> Any:
    """The MetaGraphDef with exactly these tags."""
    from tensorflow.python.saved_model import loader_impl

    model = loader_impl.parse_saved_model(os.fspath(directory))
    for meta in model.meta_graphs:
        if set(meta.meta_info_def.tags) == set(tags):
            return meta
    present = [sorted(meta.meta_info_def.tags) for meta in model.meta_graphs]
    raise NotFoundError(f"{directory}: no MetaGraph has the tags {sorted(tags)}; present: {present}")


def find_signature(meta: Any, key: str, directory: object = "the SavedModel") -> Any:
    """The SignatureDef `key`."""
    if key not in meta.signature_def:
        present = sorted(k for k in meta.signature_def if not k.startswith("__saved_model_"))
        raise NotFoundError(f"{directory}: no signature '{key}'; present: {present}")
    return meta.signature_def[key]


def signature_nodes(meta: Any, key: str) -> list[Any]:
    """The nodes that compute a signature, with function calls replaced by the nodes of the function."""
    nodes = {node.name: node for node in meta.graph_def.node}
    pending = [info.name.split(":")[0] for info in find_signature(meta, key).outputs.values()]
    reached: dict[str, Any] = {}
    while pending:
        name = pending.pop()
        if name in nodes and name not in reached:
            reached[name] = nodes[name]
            pending += [source.lstrip("^").split(":")[0] for source in nodes[name].input]
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    return list(_expand(reached.values(), functions))


def _expand(nodes: Iterable[Any], functions: dict[str, Any]) -> Iterable[Any]:
    for node in nodes:
        called = functions.get(node.attr["f"].func.name) if node.op in _CALLS else None
        if called is None:
            yield node
        else:
            yield from _expand(called.node_def, functions)


def print_summary(
    meta: Any, key: str, line_length: int, detailed: bool, print_fn: Callable[[str], object]
) -> None:
    """Prints one row per engine of the signature, and how much of it converted."""
    segments = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = signature_nodes(meta, key)
    engines = sorted((node for node in nodes if node.op == "TRTEngineOp"), key=lambda node: node.name)
    stops = list(itertools.accumulate(line_length * share // 100 for _, share in _COLUMNS))

    print_fn(_row([name for name, _ in _COLUMNS], stops))
    print_fn("=" * line_length)
    converted = 0
    for index, node in enumerate(engines):
        segment = segments.get(node.attr["segment_func"].func.name)
        ops = collections.Counter(inner.op for inner in segment.node_def) if segment is not None else {}
        count = sum(ops.values())
        converted += count
        if index > 0:
            print_fn(f"\n{'-' * 40}\n")
        print_fn(_row([node.name, node.device.split("/")[-1], count, *_ports(node)], stops))
        if detailed:
            print_fn("")
            for op, times in sorted(ops.items()):
                print_fn(f"\t- {op}: {times}x")
    total = len(nodes) - len(engines) + converted
    share = converted / total * 100 if total else 0.0
    print_fn(f"\n{'=' * line_length}")
    print_fn(f"[*] Total number of TensorRT engines: {len(engines)}")
    print_fn(f"[*] % of OPs Converted: {share:.2f}% [{converted}/{total}]\n")


def _ports(node: Any) -> list[object]:
    import tensorflow as tf

    def dtypes(attr: str) -> list[str]:
        return [tf.dtypes.as_dtype(number).name for number in node.attr[attr].list.type]

    def shapes(attr: str) -> list[list[int]]:
        return [[dim.size for dim in shape.dim] for shape in node.attr[attr].list.shape]

    inputs, outputs = dtypes("InT"), dtypes("OutT")
    output_shapes = "_output_shapes" if "_output_shapes" in node.attr else "output_shapes"
    return [len(inputs), len(outputs), inputs, outputs, shapes("input_shapes"), shapes(output_shapes)]


def _row(fields: Sequence[object], stops: Sequence[int]) -> str:
    line = ""
    for field, stop in zip(fields, stops):
        line = f"{line} {field}" if line else str(field)
        line = line[: stop - 4] + " ..." if len(line) > stop else line.ljust(stop)
    return line

# SPDX-License-Identifier: Apache-2.0
"""Multiply-adds of a SavedModel: convolutions and matrix products, the work that a peak rate is about."""

import re

import numpy as np


def _sizes(tensor):
    return tensor.shape.as_list()


def _convolution(op):
    # filter: height, width, input channels of a group, output channels
    return np.prod(_sizes(op.outputs[0])) * np.prod(_sizes(op.inputs[1])[:-1])


def _depthwise(op):
    return np.prod(_sizes(op.outputs[0])) * np.prod(_sizes(op.inputs[1])[:2])


def _transposed(op):
    # filter: height, width, output channels, input channels; the last input is the image
    return np.prod(_sizes(op.inputs[2])) * np.prod(_sizes(op.inputs[1])[:-1])


def _product(op):
    attribute = "transpose_a" if op.type == "MatMul" else "adj_x"
    length = _sizes(op.inputs[0])[-2 if op.get_attr(attribute) else -1]
    return np.prod(_sizes(op.outputs[0])) * length


def _einsum(op):
    labels = {}
    for term, tensor in zip(re.split(",", op.get_attr("equation").decode().split("->")[0]), op.inputs):
        labels.update(zip(term, _sizes(tensor)))
    return np.prod(list(labels.values()))


_COUNTS = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "Einsum": _einsum,
}


def multiply_adds(saved_model, inputs):
    """For one call with these inputs; None if a size is not known before it runs."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    module = tf.saved_model.load(saved_model)
    function = module.signatures["serving_default"]
    specs = {name: tf.TensorSpec(array.shape, array.dtype) for name, array in inputs.items()}
    fixed = tf.function(lambda **arguments: function(**arguments)).get_concrete_function(**specs)
    graph = convert_variables_to_constants_v2(fixed, lower_control_flow=False, aggressive_inlining=True).graph
    try:
        return int(sum(_COUNTS[op.type](op) for op in graph.get_operations() if op.type in _COUNTS))
    except (TypeError, ValueError):
        return None

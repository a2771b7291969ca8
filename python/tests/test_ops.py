# SPDX-License-Identifier: Apache-2.0
"""The op definitions must be those of TF-TRT (TensorFlow 2.17): saved models leave out default values."""

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import op_def_registry

import tfengine

_IN = "list { type: DT_BOOL type: DT_INT8 type: DT_HALF type: DT_FLOAT type: DT_INT32 %s }"
_PRECISIONS = 'list { s: "FP32" s: "FP16" s: "INT8" }'

EXPECTED = f"""
op {{
  name: "TRTEngineOp"
  input_arg {{ name: "in_tensor" type_list_attr: "InT" }}
  output_arg {{ name: "out_tensor" type_list_attr: "OutT" }}
  attr {{ name: "serialized_segment" type: "string" }}
  attr {{ name: "segment_func" type: "func" default_value {{ func {{ }} }} }}
  attr {{ name: "InT" type: "list(type)" has_minimum: true minimum: 1
         allowed_values {{ {_IN % "type: DT_RESOURCE"} }} }}
  attr {{ name: "OutT" type: "list(type)" has_minimum: true minimum: 1 allowed_values {{ {_IN % ""} }} }}
  attr {{ name: "input_shapes" type: "list(shape)" default_value {{ list {{ }} }} }}
  attr {{ name: "output_shapes" type: "list(shape)" default_value {{ list {{ }} }} }}
  attr {{ name: "max_cached_engines_count" type: "int" default_value {{ i: 1 }} }}
  attr {{ name: "max_batch_size" type: "int" default_value {{ i: 1 }} }}
  attr {{ name: "workspace_size_bytes" type: "int" }}
  attr {{ name: "precision_mode" type: "string" allowed_values {{ {_PRECISIONS} }} }}
  attr {{ name: "calibration_data" type: "string" default_value {{ s: "" }} }}
  attr {{ name: "use_calibration" type: "bool" default_value {{ b: true }} }}
  attr {{ name: "segment_funcdef_name" type: "string" default_value {{ s: "" }} }}
  attr {{ name: "cached_engine_batches" type: "list(int)" default_value {{ list {{ }} }} has_minimum: true }}
  attr {{ name: "fixed_input_size" type: "bool" default_value {{ b: true }} }}
  attr {{ name: "static_engine" type: "bool" default_value {{ b: true }} }}
  attr {{ name: "profile_strategy" type: "string" default_value {{ s: "" }} }}
  attr {{ name: "use_explicit_precision" type: "bool" default_value {{ b: false }} }}
}}
op {{
  name: "CreateTRTResourceHandle"
  output_arg {{ name: "resource_handle" type: DT_RESOURCE }}
  attr {{ name: "resource_name" type: "string" }}
  is_stateful: true
}}
op {{
  name: "InitializeTRTResource"
  input_arg {{ name: "resource_handle" type: DT_RESOURCE }}
  input_arg {{ name: "filename" type: DT_STRING }}
  attr {{ name: "max_cached_engines_count" type: "int" default_value {{ i: 1 }} }}
  is_stateful: true
}}
op {{
  name: "SerializeTRTResource"
  input_arg {{ name: "resource_name" type: DT_STRING }}
  input_arg {{ name: "filename" type: DT_STRING }}
  attr {{ name: "delete_resource" type: "bool" default_value {{ b: false }} }}
  attr {{ name: "save_gpu_specific_engines" type: "bool" default_value {{ b: true }} }}
  is_stateful: true
}}
op {{
  name: "GetCalibrationDataOp"
  input_arg {{ name: "resource_name" type: DT_STRING }}
  output_arg {{ name: "serialized_resource" type: DT_STRING }}
  is_stateful: true
}}
"""


def _ops():
    return list(text_format.Parse(EXPECTED, op_def_pb2.OpList()).op)


@pytest.mark.parametrize("expected", _ops(), ids=lambda op: op.name)
def test_op_def_equals_the_original(expected):
    tfengine.engine_stats()
    registered = op_def_pb2.OpDef()
    registered.CopyFrom(op_def_registry.get(expected.name))
    registered.ClearField("summary")
    registered.ClearField("description")
    for arg in [*registered.input_arg, *registered.output_arg]:
        arg.ClearField("description")
    assert text_format.MessageToString(registered) == text_format.MessageToString(expected)


def _library():
    from tfengine import _tensorflow

    return tf.load_op_library(str(_tensorflow._LIBRARY))


def test_serializing_an_unknown_resource_is_not_found(tmp_path):
    with pytest.raises(tf.errors.NotFoundError):
        _library().serialize_trt_resource(resource_name="no_such_engine", filename=str(tmp_path / "engine"))


def test_calibration_data_is_unimplemented():
    with pytest.raises(tf.errors.UnimplementedError, match="calibration"):
        _library().get_calibration_data_op(resource_name="any")


def test_output_shapes_come_from_the_attribute():
    with tf.Graph().as_default():
        placeholder = tf.compat.v1.placeholder(tf.float32, [None, 3])
        outputs = _library().trt_engine_op(
            in_tensor=[placeholder], serialized_segment="", segment_func=_noop_function(), OutT=[tf.float32, tf.int32],
            output_shapes=[[None, 4]], workspace_size_bytes=1, precision_mode="FP32", static_engine=False)
        assert outputs[0].shape.as_list() == [None, 4]
        assert outputs[1].shape.rank is None


def _noop_function():
    return tf.function(lambda x: x, input_signature=[tf.TensorSpec([None, 3])]).get_concrete_function()

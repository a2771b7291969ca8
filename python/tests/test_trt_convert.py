# SPDX-License-Identifier: Apache-2.0
"""The API of TF-TRT: names, defaults, documented errors, the convert/build/save workflow."""

import inspect
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import engines_of, original

import tfengine
from tfengine import trt_convert as trt


def test_constructor_arguments_and_defaults_are_the_original_ones():
    parameters = inspect.signature(trt.TrtGraphConverterV2.__init__).parameters
    assert {name: p.default for name, p in parameters.items() if name != "self"} == {
        "input_saved_model_dir": None,
        "input_saved_model_tags": None,
        "input_saved_model_signature_key": None,
        "use_dynamic_shape": None,
        "dynamic_shape_profile_strategy": None,
        "max_workspace_size_bytes": trt.DEFAULT_TRT_MAX_WORKSPACE_SIZE_BYTES,
        "precision_mode": "FP32",
        "minimum_segment_size": 3,
        "maximum_cached_engines": 1,
        "use_calibration": True,
        "allow_build_at_runtime": True,
        "conversion_params": None,
        "device": None,  # not in TF-TRT
    }
    parameters = inspect.signature(trt.TrtGraphConverter.__init__).parameters
    assert list(parameters)[1:] == [
        "input_saved_model_dir", "input_saved_model_tags", "input_saved_model_signature_key", "input_graph_def",
        "nodes_denylist", "max_batch_size", "max_workspace_size_bytes", "precision_mode", "minimum_segment_size",
        "is_dynamic_op", "maximum_cached_engines", "use_calibration",
    ]
    assert parameters["max_batch_size"].default == 1 and parameters["is_dynamic_op"].default is False


def test_conversion_params_are_the_original_named_tuple():
    assert trt.DEFAULT_TRT_CONVERSION_PARAMS == (sys.maxsize - 512, "FP32", 3, 1, True, True)
    assert trt.TrtConversionParams._fields == (
        "max_workspace_size_bytes", "precision_mode", "minimum_segment_size", "maximum_cached_engines",
        "use_calibration", "allow_build_at_runtime",
    )
    assert trt.DEFAULT_TRT_CONVERSION_PARAMS._replace(precision_mode="FP16").precision_mode == "FP16"


def test_names_of_modes_and_strategies():
    assert trt.TrtPrecisionMode.supported_precision_modes() == [
        "FP32", "FP16", "INT8", "fp32", "fp16", "int8", "BF16", "bf16", "FP8", "fp8"
    ]
    assert trt.supported_profile_strategies() == ["Range", "Optimal", "Range+Optimal", "ImplicitBatchModeCompatible"]


# --- documented errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"precision_mode": "FP4"}, ValueError, "precision mode 'FP4' is not supported.It should be one of "),
        ({"minimum_segment_size": 0}, ValueError,
         "minimum segment size should be positive or -1 (to disable main graph conversion)."),
        ({"minimum_segment_size": -2}, ValueError,
         "minimum segment size should be positive or -1 (to disable main graph conversion)."),
        ({"dynamic_shape_profile_strategy": "best"}, ValueError,
         "profile_strategy 'best' is not supported. It should be one of "),
    ],
)
def test_constructor_errors(small_dir, arguments, error, message):
    with pytest.raises(error) as raised:
        trt.TrtGraphConverterV2(input_saved_model_dir=str(small_dir), **arguments)
    assert message in str(raised.value)


def test_constructor_needs_eager_mode(small_dir):
    with tf.Graph().as_default(), pytest.raises(AssertionError):
        trt.TrtGraphConverterV2(input_saved_model_dir=str(small_dir))


@pytest.mark.parametrize("strategy", ["range", "OPTIMAL", "Range+Optimal", "implicitbatchmodecompatible", None])
def test_strategies_are_compared_without_case(small_dir, strategy):
    trt.TrtGraphConverterV2(
        str(small_dir), use_dynamic_shape=True, dynamic_shape_profile_strategy=strategy, precision_mode="fp32"
    )


def test_calibration_input_fn_must_fit_the_mode(small_dir):
    with pytest.raises(ValueError, match="Should specify calibration_input_fn because INT8 calibration is needed"):
        trt.TrtGraphConverterV2(str(small_dir), precision_mode="INT8").convert()
    with pytest.raises(ValueError, match="because FP8 calibration is needed"):
        trt.TrtGraphConverterV2(str(small_dir), precision_mode="FP8").convert()
    with pytest.raises(ValueError, match="Should not specify calibration_input_fn because INT8 calibration is not needed"):
        trt.TrtGraphConverterV2(str(small_dir)).convert(lambda: [])


def test_wrong_order_of_calls(small_dir, tmp_path):
    converter = trt.TrtGraphConverterV2(str(small_dir))
    with pytest.raises(RuntimeError, match=r"Need to call convert\(\) before build\(\)"):
        converter.build(lambda: [])
    with pytest.raises(AssertionError):
        converter.save(str(tmp_path / "out"))
    with pytest.raises(RuntimeError) as raised:
        converter.summary()
    assert str(raised.value) == (
        "Impossible to call `TrtGraphConverterV2.summary()` before calling TrtGraphConverterV2.convert()`."
    )
    with pytest.raises(RuntimeError, match=r"input_fn is None. Method build\(\) needs input_fn "):
        converter.build(None)


def test_unknown_signature_tags_and_directory(small_dir, tmp_path):
    with pytest.raises(LookupError, match="no signature 'nope'; present: .*mix"):
        trt.TrtGraphConverterV2(str(small_dir), input_saved_model_signature_key="nope").convert()
    with pytest.raises(LookupError, match="no MetaGraph has the tags"):
        trt.TrtGraphConverterV2(str(small_dir), input_saved_model_tags=["train"]).convert()
    with pytest.raises(OSError):
        trt.TrtGraphConverterV2(str(tmp_path / "missing")).convert()


def test_v1_errors(small_dir):
    with pytest.raises(RuntimeError, match="Please use tf.experimental.tensorrt.Converter in TF 2.0."):
        trt.TrtGraphConverter(input_saved_model_dir=str(small_dir))
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="Must specify one of input_graph_def and input_saved_model_dir"):
            trt.TrtGraphConverter()
        with pytest.raises(ValueError, match="Can only specify one of input_graph_def and input_saved_model_dir"):
            trt.TrtGraphConverter(input_saved_model_dir=str(small_dir), input_graph_def=tf.compat.v1.GraphDef())
        with pytest.raises(NotImplementedError, match="input_saved_model_dir"):
            trt.TrtGraphConverter(input_graph_def=tf.compat.v1.GraphDef())
        with pytest.raises(ValueError, match="max_batch_size has to be an integer"):
            trt.TrtGraphConverter(input_saved_model_dir=str(small_dir), max_batch_size=None)
    with pytest.raises(NotImplementedError):
        trt.get_tensorrt_rewriter_config(trt.DEFAULT_TRT_CONVERSION_PARAMS)


# --- the workflow --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converter(small_dir):
    converter = trt.TrtGraphConverterV2(input_saved_model_dir=str(small_dir))
    converter.convert()
    return converter


def expect_close(got, expected):
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-5)


def test_convert_returns_the_function_of_the_signature(converter, images):
    function = converter._converted_func
    assert set(function.structured_outputs) == {"probabilities", "logits"}
    assert list(function.structured_input_signature[1]) == ["image"]
    expect_close(function(image=tf.constant(images)), original().classify(tf.constant(images)))
    with pytest.raises(AssertionError):
        converter.convert()


def test_save_before_build_keeps_all_signatures(converter, images, tmp_path):
    output = tmp_path / "saved"
    converter.save(str(output))
    model = tf.saved_model.load(str(output))
    assert set(model.signatures) == {"serving_default", "mix"}
    expect_close(model.signatures["serving_default"](image=tf.constant(images)), original().classify(tf.constant(images)))
    a, b = tf.constant(images[0, :, :5, 0]), tf.constant(images[1, :, :5, 1])
    expect_close(model.signatures["mix"](a=a, b=b), original().mix(a, b))
    engines = engines_of(output)
    assert sum(e.runs for e in engines.values()) >= 2 and not any(e.native_runs for e in engines.values())


def test_save_replaces_models_and_nothing_else(converter, tmp_path):
    converter.save(tmp_path / "model")
    converter.save(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    converter.save(tmp_path / "empty")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").write_text("mine")
    with pytest.raises(FileExistsError):
        converter.save(tmp_path / "notes")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "model", "notes"]


def test_save_without_engines_and_with_options(converter, images, tmp_path):
    converter.save(tmp_path / "portable", save_gpu_specific_engines=False)
    converter.save(tmp_path / "options", options=tf.saved_model.SaveOptions(function_aliases={}))
    for name in ("portable", "options"):
        model = tf.saved_model.load(str(tmp_path / name))
        expect_close(
            model.signatures["serving_default"](image=tf.constant(images)), original().classify(tf.constant(images))
        )


def test_summary_prints_a_row_per_engine(converter):
    lines = []
    converter.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert lines[0].startswith("TRTEngineOP Name")
    assert lines[1] == "=" * 160
    assert lines[2].startswith("TRTEngineOp_")
    assert 150 < len(lines[2]) <= 160
    assert "\t- Conv2D: 1x" in text
    assert "[*] Total number of TensorRT engines: 1" in text
    assert "[*] % of OPs Converted: " in text
    short = []
    converter.summary(detailed=False, line_length=200, print_fn=short.append)
    assert len(short) < len(lines) and len(short[0]) == 200
    with pytest.raises(ValueError, match="Invalid `line_length` value has been received: 100. Minimum: 160."):
        converter.summary(line_length=100)


@pytest.mark.parametrize("kind", ["array", "list", "tuple", "dict", "tensor"])
def test_build_takes_every_form_of_input(small_dir, images, kind, tmp_path):
    forms = {
        "array": images, "list": [images], "tuple": (images,), "dict": {"image": images}, "tensor": tf.constant(images),
    }
    converter = trt.TrtGraphConverterV2(str(small_dir), input_saved_model_signature_key="serving_default")
    converter.convert()

    def input_fn():
        yield forms[kind]
        yield forms[kind]

    converter.build(input_fn)
    with pytest.raises(NotImplementedError, match=r"build\(\) is already called."):
        converter.build(input_fn)
    converter.save(tmp_path / "built")
    model = tf.saved_model.load(str(tmp_path / "built"))
    expect_close(model.signatures["serving_default"](image=tf.constant(images)), original().classify(tf.constant(images)))


def test_build_orders_several_inputs_by_name(small_dir):
    converter = trt.TrtGraphConverterV2(str(small_dir), input_saved_model_signature_key="mix")
    converter.convert()
    a, b = np.ones((2, 5), np.float32), np.zeros((2, 5), np.float32)
    converter.build(lambda: iter([(a, b), {"a": a[:1], "b": b[:1]}]))
    assert converter._build_shapes == [{"a": [2, 5], "b": [2, 5]}, {"a": [1, 5], "b": [1, 5]}]
    assert converter._converted_func(a=a, b=b)["mixed"].shape == (2, 5)


@pytest.mark.parametrize("item", [[1, 2, 3], [object()]])
def test_build_refuses_unusable_inputs(small_dir, item):
    converter = trt.TrtGraphConverterV2(str(small_dir))
    converter.convert()
    with pytest.raises(RuntimeError):
        converter.build(lambda: iter([item]))


def test_minimum_segment_size_minus_one_converts_nothing(small_dir, images, tmp_path):
    converter = trt.TrtGraphConverterV2(str(small_dir), minimum_segment_size=-1)
    function = converter.convert()
    assert converter.report.engines == 0
    expect_close(function(image=tf.constant(images)), original().classify(tf.constant(images)))


def test_op_denylist_variable_keeps_ops_native(small_dir, monkeypatch):
    monkeypatch.setenv("TF_TRT_OP_DENYLIST", "Conv2D, Tanh")
    converter = trt.TrtGraphConverterV2(str(small_dir), minimum_segment_size=1)
    converter.convert()
    lines = []
    converter.summary(print_fn=lines.append)
    assert not any("Conv2D" in line for line in lines)


def test_failed_conversion_leaves_nothing_behind(small_dir, tmp_path):
    with pytest.raises(ValueError, match="FP12"):
        tfengine.convert(small_dir, tmp_path / "out", precision="FP12")
    assert not list(tmp_path.iterdir())


def test_v1_converter_converts_a_saved_model(tmp_path):
    source = tmp_path / "v1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], "x")
        w = tf.constant(np.arange(12, dtype=np.float32).reshape(4, 3))
        y = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, w), [1.0, 2.0, 3.0]), name="y")
        tf.compat.v1.saved_model.simple_save(session, str(source), {"x": x}, {"y": y})
        graph_def = trt.create_inference_graph(
            None, None, input_saved_model_dir=str(source), output_saved_model_dir=str(tmp_path / "out"),
            minimum_segment_size=2,
        )
        assert any(node.op == "TRTEngineOp" for node in graph_def.node)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "out"))
        got = session.run("y:0", {"x:0": np.ones((2, 4), np.float32)})
    np.testing.assert_allclose(got, [[19.0, 24.0, 29.0]] * 2)

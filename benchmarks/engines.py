# SPDX-License-Identifier: Apache-2.0
"""The engines compared: what each prepares once (converted models, kept on disk) and how each is called.

`artefacts` are made in a process of their own, in order, and kept; `load` returns the call that is timed: NumPy arrays
in (TensorFlow: tensors), NumPy arrays out, at the setting that suits the engine best at that precision.
"""

import json
import os
import pathlib
import shutil

import models
from jobs import Artefact, Engine, Loaded, fastest, match_input

# --- TensorFlow, XLA, tfengine in TensorFlow ----------------------------------------------------------------------


def load_tensorflow(job, directory, batch, jit_compile=False, mixed=False, setting=""):
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": mixed})
    model = tf.saved_model.load(directory)
    function = model.signatures["serving_default"]
    call = tf.function(lambda **inputs: function(**inputs), jit_compile=True) if jit_compile else function
    inputs = {name: tf.constant(array) for name, array in job.inputs(batch).items()}

    def run(keep_alive=model):  # the variables belong to the model, not to the function
        return {name: tensor.numpy() for name, tensor in call(**inputs).items()}

    return Loaded(run, dict, setting)


def start_tensorflow(threads):
    """Before anything else in a process that uses it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def tensorflow(job, precision, batch):
    start_tensorflow(job.threads)
    if precision == "fp32":
        return load_tensorflow(job, job.saved_model, batch)
    return load_tensorflow(job, job.saved_model, batch, mixed=True, setting="auto_mixed_precision_onednn_bfloat16")


def xla(job, precision, batch):
    start_tensorflow(job.threads)
    return load_tensorflow(job, job.saved_model, batch, jit_compile=True, setting="jit_compile")


def tfengine_in_tensorflow(job, precision, batch):
    start_tensorflow(job.threads)
    import tfengine  # noqa: F401  (makes TRTEngineOp known)

    return load_tensorflow(job, job.path(f"tfengine-{precision}", "model"), batch)


def freeze_batch(job, artefact):
    """The model with its batch size fixed: the converters of ONNX and LiteRT fold more and fail less then."""
    import tensorflow as tf

    module = tf.saved_model.load(job.saved_model)
    function = module.signatures["serving_default"]
    specs = {
        name: tf.TensorSpec(array.shape, array.dtype, name=name) for name, array in job.inputs(artefact.batch).items()
    }
    fixed = tf.function(lambda **inputs: function(**inputs)).get_concrete_function(**specs)
    tf.saved_model.save(module, job.path(artefact.name, "saved_model"), signatures=fixed)


def fixed_batch(batch):
    return Artefact(f"fixed-b{batch}", freeze_batch, ("tensorflow",), batch)


# --- tfengine -----------------------------------------------------------------------------------------------------


def convert_tfengine(job, artefact):
    import tfengine

    shapes = [
        {name: list(array.shape) for name, array in job.inputs(batch).items()}
        for batch in models.MODELS[job.model].batches
    ]
    options = {"precision": artefact.precision.upper(), "build_shapes": shapes, "threads": job.threads}
    if artefact.precision == "int8":
        exact = job.path(artefact.name, "exact")
        tfengine.convert(job.saved_model, exact, build_engines=False)
        model = tfengine.Model(exact, threads=job.threads)
        calibration = tfengine.Calibration.start()
        for sample in job.samples(1):
            model.run(sample, "serving_default")
        calibration.stop()
        del model
        shutil.rmtree(exact)
        # The peers have no accuracy guard; with random weights it would compare ties.
        options |= {"calibration": calibration, "max_error": 1e30, "max_top1_drop": 1.0}
    report = tfengine.convert(job.saved_model, job.path(artefact.name, "model"), **options)
    pathlib.Path(job.path(artefact.name, "report.json")).write_text(report.json)
    engines = [engine for signature in json.loads(report.json)["signatures"] for engine in signature["engines"]]
    layers = [layer["precision"] for engine in engines for layer in engine.get("build", {}).get("layers", [])]
    return {
        "engines": report.engines,
        "converted_share": report.converted_share,
        "layers": {precision: layers.count(precision) for precision in sorted(set(layers))},
    }


def tfengine_artefacts(precision, batch):
    return [Artefact(f"tfengine-{precision}", convert_tfengine, ("tfengine",), precision=precision)]


def tfengine_alone(job, precision, batch):
    import tfengine

    model = tfengine.Model(job.path(f"tfengine-{precision}", "model"), threads=job.threads)
    inputs = job.inputs(batch)
    return Loaded(lambda: model.run(inputs, "serving_default"), dict)


# --- OpenVINO -----------------------------------------------------------------------------------------------------


def openvino_inputs(model, arrays):
    return {port: match_input(port.get_names(), arrays) for port in model.inputs}


def convert_openvino(job, artefact):
    import openvino

    model = openvino.Core().read_model(job.saved_model)
    openvino.save_model(model, job.path(artefact.name, "model.xml"), compress_to_fp16=False)


def quantize_openvino(job, artefact):
    import nncf
    import openvino

    model = openvino.Core().read_model(job.path("openvino-fp32", "model.xml"))
    samples = [
        {port.get_any_name(): array for port, array in openvino_inputs(model, sample).items()}
        for sample in job.samples(1)
    ]
    transformer = models.MODELS[job.model].transformer
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    openvino.save_model(quantized, job.path(artefact.name, "model.xml"), compress_to_fp16=False)


def openvino_artefacts(precision, batch):
    exact = Artefact("openvino-fp32", convert_openvino, ("openvino",))
    return (
        [exact] if precision != "int8" else [exact, Artefact("openvino-int8", quantize_openvino, ("openvino", "nncf"))]
    )


def openvino(job, precision, batch):
    import openvino

    core = openvino.Core()
    arrays = job.inputs(batch)

    def compiled(hint):
        model = core.read_model(job.path("openvino-int8" if precision == "int8" else "openvino-fp32", "model.xml"))
        model.reshape({port: array.shape for port, array in openvino_inputs(model, arrays).items()})
        properties = {
            "INFERENCE_NUM_THREADS": job.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": hint,
        }
        program = core.compile_model(model, "CPU", properties)
        request = program.create_infer_request()
        ports = openvino_inputs(program, arrays)
        return Loaded(
            lambda: request.infer(ports, share_inputs=True, share_outputs=True),
            lambda outputs: {port.get_any_name(): array.copy() for port, array in outputs.items()},
            f"LATENCY, {hint}",
        )

    # What is left beside the int8 layers may run in either.
    hints = {"fp32": ["f32"], "bf16": ["bf16"], "int8": ["f32", "bf16"]}[precision]
    if len(hints) == 1:
        return compiled(hints[0])
    return fastest([lambda hint=hint: compiled(hint) for hint in hints])


# --- ONNX Runtime -------------------------------------------------------------------------------------------------


def convert_onnx(job, artefact):
    import onnx_export

    saved_model = job.path(f"fixed-b{artefact.batch}", "saved_model")
    onnx_export.export(saved_model, job.path(artefact.name, "model.onnx"))


def quantize_onnx(job, artefact):
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quant_pre_process, quantize_static

    exact = job.path(f"onnx-b{artefact.batch}", "model.onnx")
    names = [i.name for i in onnxruntime.InferenceSession(exact, providers=["CPUExecutionProvider"]).get_inputs()]

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.samples = job.samples(artefact.batch)

        def get_next(self):
            sample = next(self.samples, None)
            return sample and {name: match_input([name], sample) for name in names}

    prepared = job.path(artefact.name, "prepared.onnx")
    quant_pre_process(exact, prepared, skip_symbolic_shape=True)
    options = {"quant_format": QuantFormat.QDQ, "per_channel": True}
    try:
        quantize_static(prepared, job.path(artefact.name, "model.onnx"), Reader(), **options)
    except ValueError:  # its adjustment of scales for small biases fails on some graphs
        options["extra_options"] = {"QDQDisableWeightAdjustForInt32Bias": True}
        quantize_static(prepared, job.path(artefact.name, "model.onnx"), Reader(), **options)
    os.remove(prepared)


def onnx_artefacts(precision, batch):
    exact = [fixed_batch(batch), Artefact(f"onnx-b{batch}", convert_onnx, ("tf2onnx",), batch)]
    return (
        exact
        if precision == "fp32"
        else [*exact, Artefact(f"onnx-int8-b{batch}", quantize_onnx, ("tf2onnx", "onnxruntime"), batch)]
    )


def onnxruntime(job, precision, batch):
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    path = job.path(f"onnx-b{batch}" if precision == "fp32" else f"onnx-int8-b{batch}", "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    arrays = job.inputs(batch)
    inputs = {i.name: match_input([i.name], arrays) for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return Loaded(
        lambda: session.run(None, inputs), lambda outputs: dict(zip(names, outputs)), "QDQ" * (precision == "int8")
    )


# --- LiteRT -------------------------------------------------------------------------------------------------------


def convert_litert(job, artefact):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(job.path(f"fixed-b{artefact.batch}", "saved_model"))
    if artefact.precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: job.samples(artefact.batch)
    pathlib.Path(job.path(artefact.name, "model.tflite")).write_bytes(converter.convert())


def litert_artefacts(precision, batch):
    return [
        fixed_batch(batch),
        Artefact(f"litert-{precision}-b{batch}", convert_litert, ("tensorflow",), batch, precision),
    ]


def litert(job, precision, batch):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(job.path(f"litert-{precision}-b{batch}", "model.tflite"), num_threads=job.threads)
    interpreter.allocate_tensors()
    arrays = job.inputs(batch)
    inputs = [(detail["index"], match_input([detail["name"]], arrays)) for detail in interpreter.get_input_details()]
    outputs = [(detail["name"], detail["index"]) for detail in interpreter.get_output_details()]

    def run():
        for index, array in inputs:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in outputs}

    return Loaded(run, dict, "XNNPACK")


ENGINES = {
    engine.key: engine
    for engine in (
        Engine(
            "tfengine",
            "tfengine",
            ("tfengine",),
            ("fp32", "bf16", "int8"),
            tfengine_alone,
            tfengine_artefacts,
            peer=False,
        ),
        Engine(
            "tfengine_tf",
            "tfengine in TF",
            ("tensorflow",),
            ("fp32", "bf16", "int8"),
            tfengine_in_tensorflow,
            tfengine_artefacts,
            peer=False,
        ),
        Engine("openvino", "OpenVINO", ("openvino", "nncf"), ("fp32", "bf16", "int8"), openvino, openvino_artefacts),
        Engine(
            "onnxruntime",
            "ONNX Runtime",
            ("onnxruntime", "tf2onnx"),
            ("fp32", "int8"),
            onnxruntime,
            onnx_artefacts,
            linger=0.1,
        ),
        Engine("litert", "LiteRT", ("ai-edge-litert", "tensorflow"), ("fp32", "int8"), litert, litert_artefacts),
        Engine("xla", "XLA", ("tensorflow",), ("fp32",), xla),
        Engine("tensorflow", "TensorFlow", ("tensorflow",), ("fp32", "bf16"), tensorflow),
    )
}

# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: one line on stderr with the right number and hint, the right exit code, nothing half
written, no crash. Set TFENGINE_CLI to a sanitizer build to run the same under AddressSanitizer."""

import os
import pathlib
import random
import re
import shutil
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def expect_error(result, error_id, *parts, code=1):
    assert result.returncode == code, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if not re.match(r" *\d+% ", line)]
    assert len(lines) == 1, result.stderr
    assert re.match(rf"error: E-{error_id:04d} [a-z-]+: .", lines[0]), lines[0]
    for part in parts:
        assert str(part) in lines[0], lines[0]


@pytest.fixture(scope="session")
def tiny(saved_models):
    return saved_models("tiny")


@pytest.fixture(scope="session")
def converted(cli, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "tiny"
    cli.ok("convert", tiny, out)
    return out


@pytest.fixture
def copy(tiny, tmp_path):
    return pathlib.Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture
def refuses(cli, tmp_path):
    """convert fails with this error and leaves nothing behind; explain does not crash."""

    def check(model, error_id, *parts, flags=(), explain=True):
        before = set(tmp_path.rglob("*"))
        expect_error(cli("convert", model, tmp_path / "out", *flags), error_id, *parts)
        assert set(tmp_path.rglob("*")) == before
        if explain:
            expect_error(cli("explain", model, *flags), error_id, *parts)

    return check


# --- reading ---------------------------------------------------------------------------------------------------


def test_missing_directory(refuses, tmp_path):
    refuses(tmp_path / "nowhere", 101, "nowhere")


def test_directory_without_a_model(refuses, tmp_path):
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", 101, "saved_model.pb")


def test_unknown_tag_lists_those_present(refuses, tiny):
    refuses(tiny, 104, "train", "serve", flags=["--tags", "train"])


def test_unknown_signature_lists_those_present(refuses, tiny):
    refuses(tiny, 105, "predict", "serving_default", flags=["--signature", "predict"])


def test_empty_and_truncated_graph(refuses, copy):
    whole = (copy / "saved_model.pb").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 20):
        (copy / "saved_model.pb").write_bytes(whole[:size])
        refuses(copy, 103, "saved_model.pb")
    (copy / "saved_model.pb").write_bytes(b"")
    assert not list(copy.parent.glob("out*"))


@pytest.mark.parametrize("file", ["saved_model.pb", "variables.index", "variables.data-00000-of-00001"])
def test_flipped_bits_never_crash(cli, copy, tmp_path, file):
    """A flipped bit is an error or, where it hits a name or padding, another model; never a crash or a half result."""
    path = copy / file if file.endswith("pb") else copy / "variables" / file
    whole = path.read_bytes()
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(int(os.environ.get("TFENGINE_BIT_FLIPS", "25"))):
        at = rng.randrange(len(whole))
        flipped = bytes([whole[at] ^ (1 << rng.randrange(8))])
        path.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        result = cli("convert", copy, tmp_path / "out", "--no-build")
        assert result.returncode in (0, 1), f"byte {at}: exit code {result.returncode}\n{result.stderr}"
        if result.returncode:
            assert re.match(r"error: E-\d{4} [a-z-]+: [^\n]+\n$", result.stderr), f"byte {at}: {result.stderr}"
            assert not (tmp_path / "out").exists()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def test_wrong_checksum_of_a_variable(refuses, copy):
    path = copy / "variables" / "variables.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    refuses(copy, 106, "checksum")


def test_truncated_shard(refuses, copy):
    path = copy / "variables" / "variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:10])
    refuses(copy, 106, "variables.data-00000-of-00001")


def test_missing_shard(refuses, copy):
    (copy / "variables" / "variables.data-00000-of-00001").unlink()
    refuses(copy, 101, "variables.data-00000-of-00001")


def test_truncated_index(refuses, copy):
    path = copy / "variables" / "variables.index"
    path.write_bytes(path.read_bytes()[:-20])
    refuses(copy, 106, "variables.index")


def edit_graph(directory, edit):
    from tensorflow.core.protobuf import saved_model_pb2

    path = directory / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    edit(proto.meta_graphs[0].graph_def)
    path.write_bytes(proto.SerializeToString())


def test_recursive_functions(refuses, copy):
    def recurse(graph):
        by_name = {f.signature.name: f for f in graph.library.function}
        wrapper = next(f for n, f in by_name.items() if "signature_wrapper" in n)
        call = next(n for n in wrapper.node_def if "PartitionedCall" in n.op)
        call.attr["f"].func.name = wrapper.signature.name

    edit_graph(copy, recurse)
    refuses(copy, 202, "signature_wrapper")


def test_absurd_constant_allocates_nothing(cli, copy, tmp_path):
    """A constant that claims 2^160 elements: the node stays native or the model is refused."""

    def inflate(graph):
        for function in graph.library.function:
            for node in function.node_def:
                if node.op == "Const" and node.attr["dtype"].type == 1:
                    node.attr["value"].tensor.tensor_shape.Clear()
                    for _ in range(4):
                        node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 40)

    edit_graph(copy, inflate)
    result = cli("convert", copy, tmp_path / "out")
    assert result.returncode in (0, 1), result.stderr
    assert result.returncode == 0 or re.match(r"error: E-\d{4} ", result.stderr)


def test_complex_numbers_stay_native(cli, tmp_path):
    import tensorflow as tf

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.complex64, name="x")])
        def __call__(self, x):
            return {"y": tf.signal.ifft(tf.signal.fft(x) * 2.0)}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "model"), signatures={"serving_default": net.__call__})
    out = cli.ok("convert", tmp_path / "model", tmp_path / "out")
    assert "0 engines" in out
    expect_error(cli("run", tmp_path / "out", "--output", tmp_path / "r"), 604, "serving_default")


# --- options and outputs -----------------------------------------------------------------------------------------


def test_existing_output_is_left_alone(cli, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keep").write_text("me")
    expect_error(cli("convert", tiny, tmp_path / "out"), 701, "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "keep"]


def test_unwritable_output(cli, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    expect_error(cli("convert", tiny, tmp_path / "file" / "out"), 702)
    expect_error(cli("convert", tiny, "/proc/out"), 702, "/proc")


@pytest.mark.parametrize(
    "flags, part",
    [
        (["--precision", "FP12"], "FP12"),
        (["--device", "gpu"], "cpu"),
        (["--min-segment-size", "0"], "minimum"),
        (["--max-engines", "-1"], "max-engines"),
        (["--build-shapes", "x=1xfour"], "1xfour"),
        (["--build-shapes", "z=1x4"], "z"),
        (["--build-shapes", "x=1x4x4"], "x"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--threads", "many"], "threads"),
    ],
)
def test_bad_flags(cli, tiny, tmp_path, flags, part):
    expect_error(cli("convert", tiny, tmp_path / "out", *flags), 703, part, code=2)
    assert not list(tmp_path.iterdir())


def test_no_subcommand_and_unknown_subcommand(cli):
    expect_error(cli(), 703, "--help", code=2)
    expect_error(cli("transmogrify"), 703, code=2)


# --- converted models --------------------------------------------------------------------------------------------


def run(cli, model, tmp_path, **inputs):
    flags = []
    for name, value in inputs.items():
        np.save(tmp_path / f"{name}.npy", value)
        flags += ["--input", f"{name}={tmp_path / name}.npy"]
    return cli("run", model, *flags, "--output", tmp_path / "result")


def test_run_time_inputs_are_checked(cli, converted, tmp_path):
    good = np.ones((2, 4), np.float32)
    expect_error(run(cli, converted, tmp_path), 601, '"x"', "float32[-1,4]")
    expect_error(run(cli, converted, tmp_path, z=good), 601, '"x"')
    expect_error(run(cli, converted, tmp_path, x=good, z=good), 601, '"z"')
    expect_error(run(cli, converted, tmp_path, x=good.astype(np.float64)), 601, "float32[-1,4]", "float64[2,4]")
    expect_error(run(cli, converted, tmp_path, x=np.ones((2, 5), np.float32)), 601, "float32[2,5]")
    expect_error(run(cli, converted, tmp_path, x=np.ones(4, np.float32)), 601, "float32[4]")
    assert not (tmp_path / "result").exists()
    assert run(cli, converted, tmp_path, x=good).returncode == 0


def test_npy_files_are_checked(cli, converted, tmp_path):
    def attempt(path):
        return cli("run", converted, "--input", f"x={path}", "--output", tmp_path / "result")

    expect_error(attempt(tmp_path / "missing.npy"), 101, "missing.npy")
    (tmp_path / "text.npy").write_text("1 2 3")
    expect_error(attempt(tmp_path / "text.npy"), 704, "numpy.save")
    np.save(tmp_path / "fortran.npy", np.asfortranarray(np.ones((2, 4), np.float32)))
    expect_error(attempt(tmp_path / "fortran.npy"), 704, "ascontiguousarray")
    np.save(tmp_path / "objects.npy", np.array(["a", None], object))
    expect_error(attempt(tmp_path / "objects.npy"), 704, "numeric")
    np.save(tmp_path / "cut.npy", np.ones((2, 4), np.float32))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-4])
    expect_error(attempt(tmp_path / "cut.npy"), 704, "do not match")


def test_calibration_data_is_checked(cli, converted, tmp_path):
    def attempt(path, *flags):
        return cli("calibrate", converted, "--data", path, "--output", tmp_path / "table.json", *flags)

    good = tmp_path / "good.npy"
    np.save(good, np.ones((2, 4), np.float32))
    expect_error(attempt(tmp_path / "none.npz"), 101, "none.npz")
    expect_error(attempt(good, "--method", "best"), 703, "entropy, minmax", code=2)
    (tmp_path / "empty").mkdir()
    expect_error(attempt(tmp_path / "empty"), 703, "numpy.savez", code=2)
    (tmp_path / "text.npz").write_text("1 2 3")
    expect_error(attempt(tmp_path / "text.npz"), 704, "numpy.savez")
    np.savez_compressed(tmp_path / "compressed.npz", x=np.ones((2, 4), np.float32))
    expect_error(attempt(tmp_path / "compressed.npz"), 704, "compressed")
    np.savez(tmp_path / "names.npz", a=np.ones(3), b=np.ones(3))
    expect_error(attempt(tmp_path / "names.npz"), 601, '"x" float32[-1,4]', "a, b")
    np.savez(tmp_path / "type.npz", x=np.ones((2, 4)))
    expect_error(attempt(tmp_path / "type.npz"), 601, "float64[2,4]")
    np.save(tmp_path / "nan.npy", np.full((2, 4), np.nan, np.float32))
    expect_error(attempt(tmp_path / "nan.npy"), 505, "representative")
    np.save(tmp_path / "none.npy", np.ones((0, 4), np.float32))
    expect_error(attempt(tmp_path / "none.npy"), 505)
    assert not (tmp_path / "table.json").exists()
    assert attempt(good).returncode == 0
    expect_error(attempt(good), 701, "table.json")
    expect_error(
        cli("calibrate", converted, "--data", good, "--output", tmp_path / "no" / "table.json"), 702, "table.json"
    )


def test_calibration_flags_of_convert_are_checked(cli, tiny, tmp_path):
    data = tmp_path / "data.npy"
    np.save(data, np.ones((4, 4), np.float32))
    table = tmp_path / "table.json"

    def refuses(error_id, *parts, flags, precision="INT8", code=1):
        before = set(tmp_path.rglob("*"))
        result = cli("convert", tiny, tmp_path / "out", "--precision", precision, *flags)
        expect_error(result, error_id, *parts, code=code)
        assert set(tmp_path.rglob("*")) == before

    for precision in ("FP32", "BF16"):
        for flags in (["--calibrate", data], ["--calibration-table", table]):
            refuses(703, flags[0], "INT8 or FP8", precision, flags=flags, precision=precision, code=2)
    for flag in ("--calibration-method", "--calibration-percentile", "--max-error", "--max-top1-drop"):
        refuses(703, flag, "--calibrate", flags=[flag, "0.5"], code=2)
    refuses(703, "--calibration-table", flags=["--calibrate", data, "--calibration-table", table], code=2)
    refuses(703, "entropy, minmax", flags=["--calibrate", data, "--calibration-method", "best"], code=2)
    refuses(703, "percentile", flags=["--calibrate", data, "--calibration-percentile", "3"], code=2)
    refuses(703, "--max-error", flags=["--calibrate", data, "--max-error", "-1"], code=2)
    refuses(101, "nothing.npz", flags=["--calibrate", tmp_path / "nothing.npz"])
    refuses(101, "nothing.json", flags=["--calibration-table", tmp_path / "nothing.json"])
    refuses(105, "predict", flags=["--calibrate", data, "--calibration-signature", "predict"])
    np.save(tmp_path / "wide.npy", np.ones((4, 5), np.float32))
    refuses(601, "float32[4,5]", flags=["--calibrate", tmp_path / "wide.npy"])
    (tmp_path / "there").write_text("")
    refuses(701, "there", flags=["--calibrate", data, "--save-calibration-table", tmp_path / "there"])


def test_calibrating_a_model_that_needs_tensorflow(cli, saved_models, tmp_path):
    np.save(tmp_path / "x.npy", np.ones(1, np.float32))
    expect_error(
        cli("convert", saved_models("strings"), tmp_path / "out", "--precision", "INT8", "--calibrate", tmp_path / "x.npy"),
        604,
        "calibration_input_fn",
    )


def test_compare_checks_models_and_data(cli, converted, saved_models, tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, np.ones((2, 4), np.float32))
    cli.ok("compare", converted, converted, "--data", good)
    expect_error(cli("compare", converted, converted), 703, "--data", code=2)
    expect_error(cli("compare", converted, "--data", good), 703, "B", code=2)
    expect_error(cli("compare", converted, converted, "--data", tmp_path / "none.npz"), 101, "none.npz")
    expect_error(cli("compare", converted, converted, "--data", good, "--signature", "predict"), 105, "serving_default")
    np.save(tmp_path / "wide.npy", np.ones((2, 5), np.float32))
    expect_error(cli("compare", converted, converted, "--data", tmp_path / "wide.npy"), 601, "float32[2,5]")
    np.save(tmp_path / "none.npy", np.ones((0, 4), np.float32))
    expect_error(cli("compare", converted, converted, "--data", tmp_path / "none.npy"), 601, "no batch")
    cli.ok("convert", saved_models("digits"), tmp_path / "digits", "--no-build")
    expect_error(
        cli("compare", converted, tmp_path / "digits", "--data", good), 703, "one SavedModel", "inputs", code=2
    )
    cli.ok("convert", saved_models("tiny"), tmp_path / "native", "--no-build", "--min-segment-size", "-1")
    expect_error(cli("compare", converted, tmp_path / "native", "--data", good), 604, "needs TensorFlow")


def test_unknown_signature_of_a_converted_model(cli, converted, tmp_path):
    expect_error(
        cli("run", converted, "--signature", "predict", "--output", tmp_path / "r"), 105, "predict", "serving_default"
    )


def test_models_that_were_not_converted(cli, tiny, tmp_path):
    calibrate = ["calibrate", "--data", "x.npy", "--output", tmp_path / "t"]
    compare = ["compare", tiny, "--data", "x.npy"]
    for command in (["run", "--output", tmp_path / "r"], ["inspect"], ["bench"], calibrate, compare):
        expect_error(cli(command[0], tiny, *command[1:]), 101, "tfengine convert")
        expect_error(cli(command[0], tmp_path / "nowhere", *command[1:]), 101, "nowhere")


def engine_file(directory):
    (path,) = (directory / "assets").glob("trt-serialized-engine.*")
    return path


def test_truncated_and_foreign_engine_files(cli, converted, tmp_path):
    model = pathlib.Path(shutil.copytree(converted, tmp_path / "model"))
    path = engine_file(model)
    whole = path.read_bytes()
    path.unlink()  # may be a hard link
    for size in (0, 10, 63, 64, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        result = cli("inspect", model)
        assert re.match(r"error: E-050[12] ", result.stderr) and result.returncode == 1, f"{size}: {result.stderr}"
    path.write_bytes(b"not an engine" * 100)
    expect_error(cli("bench", model), 502, path.name)
    path.unlink()
    expect_error(cli("bench", model), 101, path.name)


def test_flipped_bits_in_an_engine_file_never_crash(cli, converted, tmp_path):
    model = pathlib.Path(shutil.copytree(converted, tmp_path / "model"))
    path = engine_file(model)
    whole = path.read_bytes()
    path.unlink()
    x = tmp_path / "x.npy"
    np.save(x, np.ones((1, 4), np.float32))
    rng = random.Random(7)
    for _ in range(int(os.environ.get("TFENGINE_BIT_FLIPS", "25"))):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        result = cli("run", model, "--input", f"x={x}", "--output", tmp_path / "r")
        assert result.returncode in (0, 1), f"byte {at}: {result.stderr}"


def test_malformed_manifest(cli, converted, tmp_path):
    model = pathlib.Path(shutil.copytree(converted, tmp_path / "model"))
    path = model / "assets.extra" / "tfengine.json"
    text = path.read_text()
    for broken in (
        "",
        "{}",
        text[:-20],
        text.replace('"version": 1', '"version": 99'),
        text.replace("assets/trt", "../trt"),
        text.replace('"engine": 0', '"engine": 5'),
        text.replace('"float32"', '"float33"'),
    ):
        assert broken != text
        path.write_text(broken)
        expect_error(cli("inspect", model), 503, "tfengine.json")


# --- documentation -----------------------------------------------------------------------------------------------


def test_every_error_is_documented():
    rows = re.findall(r"TFE_ERROR\((\d+), (\w+),", (ROOT / "src/base/error_list.inc").read_text())
    documented = re.findall(r"^### E-(\d{4})", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    assert [f"{int(number):04d}" for number, _ in rows] == documented


def test_unknown_device(cli, tiny, converted, tmp_path):
    expect_error(cli("convert", tiny, tmp_path / "out", "--device", "tpu"), 703, "tpu", "cuda", code=2)
    expect_error(cli("run", converted, "--device", "cuda:", "--output", tmp_path / "out"), 703, "cuda:", code=2)


def test_device_without_driver(cli, tiny, converted, tmp_path):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    expect_error(cli("bench", converted, "--device", "cuda"), 607, "libcuda.so.1")
    # Engine files for it are made all the same, without timings.
    report = cli.ok("convert", tiny, tmp_path / "out", "--device", "cuda")
    assert "nothing was timed" in report
    cli.ok("bench", tmp_path / "out", "--seconds", "0.1")


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Makes a directory with a libcuda.so.1 that does nothing: `init` is what cuInit returns, `version` the driver's."""
    functions = re.findall(r'TFE_CUDA\(\w+, "(cu\w+)"', (ROOT / "src/backends/cuda/api.h").read_text())
    functions = [name for name in functions if not name.startswith(("cudnn", "cublas"))]
    assert len(functions) > 30

    def make(init=0, version=13000, missing=""):
        directory = tmp_path_factory.mktemp("driver")
        source = directory / "driver.c"
        special = {
            "cuInit": f"int cuInit(unsigned f) {{ return {init}; }}",
            "cuDriverGetVersion": f"int cuDriverGetVersion(int* v) {{ *v = {version}; return 0; }}",
            "cuGetErrorName": 'int cuGetErrorName(int e, const char** s) { *s = "CUDA_ERROR_NO_DEVICE"; return 0; }',
            "cuGetErrorString": 'int cuGetErrorString(int e, const char** s) { *s = "no device"; return 0; }',
        }
        lines = [special.get(name, f"int {name}() {{ return 0; }}") for name in functions if name != missing]
        source.write_text("\n".join(lines) + "\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", directory / "libcuda.so.1", source], check=True)
        return directory

    return make


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    "what, parts",
    [
        ({"init": 100}, ["no usable GPU", "CUDA_ERROR_NO_DEVICE"]),
        ({"version": 11040}, ["supports CUDA 11.4", "12.0 or later"]),
        ({"missing": "cuGraphLaunch"}, ["no function cuGraphLaunch", "too old"]),
        ({}, ["NVRTC (libnvrtc.so) cannot be loaded", "nvidia-cuda-nvrtc"]),
    ],
)
def test_unusable_driver(cli, converted, driver, monkeypatch, what, parts):
    if not what and any(pathlib.Path(p).exists() for p in ("/usr/local/cuda/lib64/libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.12")):
        pytest.skip("NVRTC is installed")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver(**what)))
    expect_error(cli("bench", converted, "--device", "cuda"), 607, *parts)

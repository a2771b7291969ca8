# SPDX-License-Identifier: Apache-2.0
"""tfengine calibrate: tables from data files of every form."""

import ctypes
import json
import pathlib

import numpy as np
import pytest


@pytest.fixture(scope="module")
def model(cli, saved_models, tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrate") / "tiny"
    cli.ok("convert", saved_models("tiny"), out)
    return out


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)


def calibrate(cli, model, data, table, *flags):
    summary = json.loads(cli.ok("calibrate", model, "--data", data, "--output", table, "--json", *flags))
    return summary, json.loads(table.read_text())


def values(table):
    """By value name; the engine's only input is called x here."""
    (engine,) = table["engines"].values()
    return {"x" if name.startswith("input") else name: entry for name, entry in engine["values"].items()}


def test_ranges_of_the_inputs_are_those_of_the_data(cli, model, samples, tmp_path):
    np.savez(tmp_path / "data.npz", x=samples, label=np.arange(300))
    summary, table = calibrate(cli, model, tmp_path / "data.npz", tmp_path / "t.json", "--method", "minmax")
    assert table["format"] == 1 and table["samples"] == 300 and table["method"] == "minmax"
    assert any("label" in notice for notice in summary["notices"])
    x = values(table)["x"]
    assert np.float32(x["min"]) == np.float32(x["lo"]) == samples.min()
    assert np.float32(x["max"]) == np.float32(x["hi"]) == samples.max()
    assert x["count"] == samples.size
    for entry in values(table).values():
        assert entry["lo"] <= 0 <= entry["hi"]


def test_forms_of_data_and_batches_give_the_same_table(cli, model, samples, tmp_path):
    np.savez(tmp_path / "any.npz", samples)
    np.save(tmp_path / "all.npy", samples)
    many = tmp_path / "many"
    many.mkdir()
    for i, part in enumerate(np.split(samples, 10)):
        np.save(many / f"part{i}.npy", part)
    single = tmp_path / "single"
    single.mkdir()
    for i in range(300):
        np.save(single / f"{i:03}.npy", samples[i])
    tables = []
    for data in ("any.npz", "all.npy", "many", "single"):
        for batch in (1, 7, 1000):
            out = tmp_path / f"{data}.{batch}.json"
            tables.append(calibrate(cli, model, tmp_path / data, out, "--batch", batch)[1])
    reference = values(tables[0])
    for table in tables[1:]:
        assert table["samples"] == 300
        assert values(table).keys() == reference.keys()
        for name, entry in values(table).items():
            # Other batches may round sums in another order.
            for key in ("lo", "hi"):
                assert entry[key] == pytest.approx(reference[name][key], rel=0.02, abs=1e-6), name


def test_methods_and_limits(cli, model, samples, tmp_path):
    np.save(tmp_path / "x.npy", np.vstack([samples] * 20 + [np.full((1, 4), 1000, np.float32)]))
    hi = {}
    for method in ("entropy", "minmax", "percentile", "mse"):
        _, table = calibrate(cli, model, tmp_path / "x.npy", tmp_path / f"{method}.json", "--method", method,
                             "--percentile", "99")
        hi[method] = values(table)["x"]["hi"]
    assert hi["minmax"] == 1000
    assert hi["percentile"] < 5
    assert hi["entropy"] < 1000
    summary, _ = calibrate(cli, model, tmp_path / "x.npy", tmp_path / "few.json", "--samples", 50, "--batch", 10)
    assert summary["samples"] == 50


def test_doubtful_data_is_reported(cli, model, tmp_path):
    x = np.ones((3, 4), np.float32)
    x[1, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    summary, table = calibrate(cli, model, tmp_path / "x.npy", tmp_path / "t.json")
    assert values(table)["x"]["nan"] == 1
    assert any("1 NaN" in notice for notice in summary["notices"])
    assert any("only one batch" in notice for notice in summary["notices"])


def test_the_table_makes_int8_layers(cli, saved_models, tmp_path):
    digits = saved_models("digits")
    cli.ok("convert", digits, tmp_path / "fp32", "--no-build")
    x = np.random.default_rng(1).uniform(0, 1, (64, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    cli.ok("calibrate", tmp_path / "fp32", "--data", tmp_path / "x.npy", "--output", tmp_path / "t.json")
    results = []
    for name, flags in (("fp32", []), ("int8", ["--precision", "INT8", "--calibration-table", tmp_path / "t.json"])):
        if flags:
            assert "int8" in cli.ok("convert", digits, tmp_path / name, "--no-build", *flags)
        cli.ok("run", tmp_path / name, "--input", f"image={tmp_path / 'x.npy'}", "--output", tmp_path / f"out_{name}")
        (result,) = (tmp_path / f"out_{name}").glob("*.npy")
        results.append(np.load(result))
    exact, reduced = results
    error = np.linalg.norm(exact - reduced) / np.linalg.norm(exact)
    assert 0 < error < 0.05


def test_fp8_is_for_the_device_that_has_it(cli, saved_models, tmp_path):
    digits = saved_models("digits")
    x = np.random.default_rng(1).uniform(0, 1, (64, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    flags = ["--precision", "FP8", "--calibrate", tmp_path / "x.npy", "--no-build", "--signature", "serving_default"]
    text = cli.ok("convert", digits, tmp_path / "cpu", *flags)
    assert "no FP8 products" in text and " fp8, " not in text
    text = cli.ok("convert", digits, tmp_path / "cuda", *flags, "--device", "cuda:7")  # which is not there
    assert "4 fp8, " in text and "no FP8 products" not in text
    results = []
    for name in ("cpu", "cuda"):  # either file serves this CPU, in its next more exact type
        assert " FP8 " not in cli.ok("inspect", tmp_path / name)
        cli.ok("run", tmp_path / name, "--input", f"image={tmp_path / 'x.npy'}", "--output", tmp_path / f"out_{name}")
        (result,) = (tmp_path / f"out_{name}").glob("*.npy")
        results.append(np.load(result))
    np.testing.assert_array_equal(*results)


def test_convert_calibrates_in_one_go(cli, saved_models, tmp_path):
    digits = saved_models("digits")
    x = np.random.default_rng(1).uniform(0, 1, (64, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "x.npz", image=x, label=np.zeros(64))
    calibrate = ["--precision", "INT8", "--no-build", "--calibrate", tmp_path / "x.npz"]
    report = json.loads(
        cli.ok("convert", digits, tmp_path / "one", *calibrate, "--json", "--signature", "serving_default",
               "--save-calibration-table", tmp_path / "t.json", "--calibration-method", "mse")
    )
    build = report["signatures"][0]["engines"][0]["build"]
    assert build["accuracy"]["runs"] == 4 and build["accuracy"]["raised"] == 0 and not build["notices"]
    assert any("label" in notice for notice in report["calibration_notices"])
    table = json.loads((tmp_path / "t.json").read_text())
    assert table["samples"] == 64 and table["method"] == "mse"
    # The table alone gives the same engine.
    cli.ok("convert", digits, tmp_path / "two", "--precision", "INT8", "--no-build", "--calibration-table", tmp_path / "t.json")
    layers = []
    for name in ("one", "two"):
        shown = json.loads(cli.ok("inspect", tmp_path / name, "--json"))["engines"][0]["engine"]
        layers.append([(layer["op"], layer["precision"], layer["stored"]) for layer in shown["layers"]])
    assert layers[0] == layers[1]
    assert ("conv2d", "INT8", "u8") in layers[0]
    text = cli.ok("inspect", tmp_path / "one")
    assert "4 INT8" in text and "calibrated" in text and "moves elements" in text
    # A budget that INT8 cannot hold raises layers.
    text = cli.ok("convert", digits, tmp_path / "three", *calibrate, "--max-error", "1e-6")
    assert "run in a higher precision" in text

    text = cli.ok("compare", tmp_path / "one", tmp_path / "two", "--data", tmp_path / "x.npz")
    assert "no layer is below 30 dB" in text and "error 0 %" in text
    cli.ok("convert", digits, tmp_path / "exact", "--no-build")
    shown = json.loads(cli.ok("compare", tmp_path / "exact", tmp_path / "one", "--data", tmp_path / "x.npz", "--json"))
    (output,) = shown["outputs"]
    # The guard has measured the same.
    assert output["relative_rms"] == pytest.approx(build["accuracy"]["outputs"][0]["relative_rms"], rel=0.05)
    assert [layer["precision_b"] for layer in shown["layers"]].count("INT8") == 4


class COptions(ctypes.Structure):
    """tfengine_convert_options, as far as a program knows it that was compiled when calibration was added."""

    _fields_ = (
        [("struct_size", ctypes.c_size_t)]
        + [(name, ctypes.c_void_p) for name in ("tags", "signatures")]
        + [("precision", ctypes.c_char_p), ("device", ctypes.c_char_p)]
        + [("minimum_segment_size", ctypes.c_int), ("max_engines", ctypes.c_int)]
        + [("excluded_ops", ctypes.c_void_p), ("excluded_nodes", ctypes.c_void_p), ("build_shapes", ctypes.c_char_p)]
        + [("build_engines", ctypes.c_int), ("threads", ctypes.c_int), ("timing_cache", ctypes.c_char_p)]
        + [("progress", ctypes.c_void_p), ("progress_context", ctypes.c_void_p)]
        + [(name, ctypes.c_char_p) for name in ("calibration_data", "calibration_method", "calibration_table")]
        + [("max_error", ctypes.c_double), ("max_top1_drop", ctypes.c_double)]
    )


def test_c_interface_calibrates(saved_models, tmp_path):
    import tfengine

    library = ctypes.CDLL(str(pathlib.Path(tfengine.__file__).with_name("libtfengine.so")))
    library.tfengine_convert.restype = ctypes.c_void_p
    library.tfengine_report_json.restype = library.tfengine_error_message.restype = ctypes.c_char_p
    np.save(tmp_path / "x.npy", np.random.default_rng(1).uniform(0, 1, (64, 8, 8, 1)).astype(np.float32))

    def convert(out, **values):
        options = COptions()
        library.tfengine_convert_options_init_sized(ctypes.byref(options), ctypes.c_size_t(ctypes.sizeof(options)))
        options.precision, options.build_engines = b"INT8", 0
        for name, value in values.items():
            setattr(options, name, value)
        report = ctypes.c_void_p()
        error = library.tfengine_convert(
            str(saved_models("digits")).encode(), str(tmp_path / out).encode(), ctypes.byref(options), ctypes.byref(report)
        )
        assert not error, library.tfengine_error_message(ctypes.c_void_p(error))
        return json.loads(library.tfengine_report_json(report))["signatures"][0]["engines"][0]["build"]

    data = str(tmp_path / "x.npy").encode()
    build = convert("one", calibration_data=data, calibration_method=b"mse")
    assert build["accuracy"]["raised"] == 0 and build["accuracy"]["within_budget"]
    assert sum(layer["precision"] == "int8" for layer in build["layers"]) == 4
    assert convert("two", calibration_data=data, max_error=1e-6)["accuracy"]["raised"] > 0

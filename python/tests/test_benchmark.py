# SPDX-License-Identifier: Apache-2.0
import json

from tfengine import benchmark


def test_benchmark_prints_a_table_and_writes_json(small_dir, tmp_path, capsys):
    output = tmp_path / "result.json"
    arguments = [str(small_dir), "--batch", "1,2", "--threads", "1", "--seconds", "0.2", "--no-xla",
                 "--shape", "image=16,16,3", "--json", str(output)]
    assert benchmark.main(arguments) == 0
    table = capsys.readouterr().out
    assert "tfengine alone" in table and "XLA" not in table
    results = json.loads(output.read_text())["results"]
    assert [(r["way"], r["batch"]) for r in results] == [
        (way, batch) for batch in (1, 2) for way in ("tensorflow", "tfengine_tf", "tfengine")
    ]
    for result in results:
        assert result["error"] == "" and 0 < result["min_ms"] <= result["median_ms"]
        if result["way"] != "tensorflow":
            assert result["max_error"] < 1e-4


def test_inputs_are_random_by_type():
    specs = [
        benchmark.Input("ids", "int32", (-1, -1)),
        benchmark.Input("attention_mask", "int32", (-1, 7)),
        benchmark.Input("image", "float32", (-1, -1, -1, 3)),
        benchmark.Input("fixed", "float32", (4, 2)),
    ]
    inputs = benchmark.make_inputs(specs, 3, {"image": [8, 9, 3]})
    assert {name: value.shape for name, value in inputs.items()} == {
        "ids": (3, 128), "attention_mask": (3, 7), "image": (3, 8, 9, 3), "fixed": (4, 2),
    }
    assert inputs["ids"].min() >= 0 and inputs["ids"].max() > 0 and (inputs["attention_mask"] == 1).all()


def test_a_way_that_fails_is_reported(small_dir, tmp_path):
    worker = benchmark.Worker(benchmark.WAYS[3], str(small_dir), str(tmp_path / "missing"), "serving_default", 1)
    (cell,) = benchmark.measure([worker], {}, 1, 0.1)
    worker.close()
    assert "missing" in cell.error and cell.median_ms is None
    assert "FileMissingError" in benchmark.format_table([cell])

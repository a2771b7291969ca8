#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times tfengine against OpenVINO, ONNX Runtime, LiteRT, XLA and TensorFlow in one session, the engines taking turns.

Converted models are kept in the work directory: a second run only times. Without --quick, or with --out, the results
are written as peers.md, peers.json and peers.svg.
"""

import argparse
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import statistics
import sys
import time

import engines
import machine
import models
import plot
import report
import workers

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRECISIONS = ("fp32", "bf16", "int8")
HOPELESS = 4  # a peer this much slower than the fastest after two rounds takes no more turns
WRONG = 1e-2  # relative error of an fp32 engine that computes something else


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=" ".join(__doc__.splitlines()[2:]))

    def names(known):
        def parse(text):
            chosen = text.split(",")
            unknown = sorted(set(chosen) - set(known))
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
            return [name for name in known if name in chosen]

        return parse

    parser.add_argument("--models", type=names(list(models.MODELS)), help=f"default: all of {','.join(models.MODELS)}")
    parser.add_argument(
        "--precisions", type=names(PRECISIONS), default=list(PRECISIONS), help=f"of {','.join(PRECISIONS)}"
    )
    parser.add_argument("--peers", type=names(report.PEERS), default=report.PEERS, help=f"of {','.join(report.PEERS)}")
    parser.add_argument("--batches", help="only these batch sizes of the models, e.g. 1")
    parser.add_argument("--rounds", type=int, help="turns of every engine per cell (default 5)")
    parser.add_argument("--turn", type=float, help="seconds of one turn (default 0.7)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all CPUs")
    parser.add_argument(
        "--quick", action="store_true", help="two small models, batch 1, short turns; no files unless --out is given"
    )
    parser.add_argument("--prepare", action="store_true", help="only build and convert what is missing")
    parser.add_argument("--retry-failed", action="store_true", help="convert again what failed in an earlier run")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "out" / "benchmarks", help="models and conversions")
    parser.add_argument("--out", type=pathlib.Path, help="folder of peers.md, .json, .svg (default docs/benchmarks)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the results here")
    arguments = parser.parse_args()
    arguments.models = arguments.models or (["mnist", "mobilenetv2"] if arguments.quick else list(models.MODELS))
    if arguments.batches is not None:
        arguments.batches = [int(batch) for batch in arguments.batches.split(",")]
    elif arguments.quick:
        arguments.batches = [1]
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    arguments.turn = (0.05 if arguments.quick else 0.7) if arguments.turn is None else arguments.turn
    if arguments.out is None and not arguments.quick:
        arguments.out = ROOT / "docs" / "benchmarks"
    return arguments


def say(text):
    print(f"-- {text}", file=sys.stderr, flush=True)


def relative_error(reference, outputs):
    """Root mean square of the difference over that of the reference; the worst output."""
    import numpy as np

    worst = 0.0
    left = dict(outputs)
    for name, want in reference.items():
        alike = [key for key, value in left.items() if value.shape == want.shape]
        named = [key for key in left if key == name] or [key for key in alike if name in key] or alike
        if not named:
            return float("inf")
        got = np.asarray(left.pop(named[0]), np.float64)
        if got.shape != want.shape or not np.isfinite(got).all():
            return float("inf")
        want = want.astype(np.float64)
        worst = max(worst, float(np.sqrt(np.mean((got - want) ** 2) / max(np.mean(want**2), 1e-30))))
    return worst


@contextlib.contextmanager
def alone_in(folder):
    """Two comparisons would disturb each other's times, and replace each other's conversions."""
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for the comparison that is using {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Comparison:
    def __init__(self, arguments, store):
        self._arguments = arguments
        self._store = store
        self._pool = {}

    def engines_of(self, precision):
        chosen = [key for key, engine in engines.ENGINES.items() if not engine.peer or key in self._arguments.peers]
        return [key for key in chosen if precision in engines.ENGINES[key].precisions]

    def cells(self):
        """All (model, precision, batch) in the order in which they are measured."""
        return [
            (model, precision, batch)
            for model in self._arguments.models
            for precision in self._arguments.precisions
            for batch in models.MODELS[model].batches
            if self._arguments.batches is None or batch in self._arguments.batches
        ]

    def prepare(self):
        """Makes whatever is missing; failures show up again when the cell is measured."""
        for model, precision, batch in self.cells():
            try:
                self._store.model(model)
                self.reference(model, batch)
            except workers.Failed as error:
                say(f"{model}: {error}")
                continue
            for key in self.engines_of(precision):
                try:
                    self._artefacts(key, model, precision, batch)
                except workers.Failed:
                    pass

    def _artefacts(self, key, model, precision, batch):
        job = self._store.job(model)
        facts = None
        for artefact in engines.ENGINES[key].artefacts(precision, batch):
            facts = self._store.artefact(job, artefact)
        return facts

    def reference(self, model, batch):
        """What TensorFlow answers in fp32."""
        import numpy as np

        job = self._store.job(model)
        path = pathlib.Path(job.path("model", f"reference-b{batch}.npz"))
        if not path.exists():
            worker = workers.Worker(self._store.log(f"{model}-reference"), self._store.threads)
            try:
                worker.call("load", "tensorflow", job, "fp32", batch, timeout=600)
                np.savez(path, **worker.call("outputs", timeout=600))
            finally:
                worker.close()
        return dict(np.load(path))

    def measure(self, model, precision, batch):
        """One cell: every engine loads, then they take turns."""
        cell = {"model": model, "batch": batch, "precision": precision, "multiply_adds": None, "engines": {}}
        keys = self.engines_of(precision)
        try:
            cell["multiply_adds"] = self._store.model(model)["multiply_adds"]
            reference = self.reference(model, batch)
        except workers.Failed as error:
            cell["engines"] = {key: {"failed": str(error)} for key in keys}
            return cell
        for key in keys:
            try:
                cell["engines"][key] = self._load(key, model, precision, batch, reference)
            except workers.Failed as error:
                cell["engines"][key] = {"failed": str(error)}
        self._take_turns({key: result for key, result in cell["engines"].items() if "failed" not in result})
        for worker in self._pool.values():
            if worker.alive:
                worker.call("unload", timeout=60)
        return cell

    def _take_turns(self, running):
        """Fills in the results of the engines that are `running`."""
        for index in range(self._arguments.rounds):
            for key in list(running) if index % 2 == 0 else list(running)[::-1]:
                self._turn(key, running[key])
            running = {key: result for key, result in running.items() if "failed" not in result}
            fastest = min((result["min_ms"] for result in running.values()), default=0)
            if index > 0:
                running = {
                    key: result
                    for key, result in running.items()
                    if key not in report.PEERS or result["min_ms"] < HOPELESS * fastest
                }

    def _worker(self, key, model):
        worker = self._pool.get(key)
        if worker is None or not worker.alive:
            worker = self._pool[key] = workers.Worker(self._store.log(f"{model}-{key}"), self._store.threads)
        return worker

    def _load(self, key, model, precision, batch, reference):
        result = {"turns": []}
        facts = self._artefacts(key, model, precision, batch)
        if facts:
            result["conversion"] = facts
        worker = self._worker(key, model)
        result |= worker.call("load", key, self._store.job(model), precision, batch, timeout=900)
        result["error_vs_fp32"] = relative_error(reference, worker.call("outputs", timeout=300))
        limit = WRONG if precision == "fp32" else float("inf")
        if not result["error_vs_fp32"] < limit:
            raise workers.Failed(f"wrong result: relative error {result['error_vs_fp32']:.2g}")
        return result

    def _turn(self, key, result):
        turns = result["turns"]
        try:
            turns.append(self._pool[key].call("turn", self._arguments.turn, timeout=300 + self._arguments.turn))
        except workers.Failed as error:
            result["failed"] = str(error)
            return
        result["min_ms"] = min(turn["min_ms"] for turn in turns)
        result["median_ms"] = statistics.median(turn["median_ms"] for turn in turns)
        time.sleep(engines.ENGINES[key].linger)

    def close(self):
        for worker in self._pool.values():
            worker.close()
        self._pool = {}


def progress(done, total, start, cell):
    left = (time.perf_counter() - start) / done * (total - done)
    times = [f"{engines.ENGINES[key].title} {report.cell_text(result)}" for key, result in cell["engines"].items()]
    say(
        f"[{done}/{total}] {report.name(cell)}: {', '.join(times)} ms; ratio {report.factor(cell['ratio'])}; "
        f"{left / 60:.1f} min left"
    )


def write(results, arguments):
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "peers.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (arguments.out / "peers.svg").write_text(plot.svg(results), encoding="utf-8")
        (arguments.out / "peers.md").write_text(report.markdown(results, "peers.svg"), encoding="utf-8")
        say(f"wrote {arguments.out}/peers.md, peers.json, peers.svg")


def measure_all(comparison, peak):
    """The cells, as far as nobody interrupts."""
    cells, start, previous = [], time.perf_counter(), None
    plan = comparison.cells()
    try:
        for model, precision, batch in plan:
            if model != previous:
                comparison.close()
                peak.probe()
                previous = model
            cell = comparison.measure(model, precision, batch)
            report.judge(cell)
            cells.append(cell)
            progress(len(cells), len(plan), start, cell)
    except KeyboardInterrupt:
        say("stopped; the cells measured so far follow")
    peak.probe()
    for cell in cells:
        report.add_shares(cell, peak.best)
    return cells


def main():
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    store = workers.Store(arguments.work, arguments.threads, say, arguments.retry_failed)
    comparison = Comparison(arguments, store)
    with alone_in(arguments.work), contextlib.closing(comparison):
        comparison.prepare()
        if arguments.prepare:
            return 0
        peak = machine.Peak(arguments.work, arguments.threads)
        cells = measure_all(comparison, peak)
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(arguments.threads),
        "peak": peak.best,
        "settings": {"rounds": arguments.rounds, "turn": arguments.turn, "threads": arguments.threads},
        "summary": report.summarize(cells),
        "cells": cells,
    }
    print(report.text_summary(results))
    write(results, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

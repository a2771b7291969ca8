# SPDX-License-Identifier: Apache-2.0
"""Worker processes, one engine each: they sit blocked on a pipe but for the moments when it is their turn."""

import contextlib
import gc
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import time

import engines
import jobs
import models

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "NNCF_CI": "1",  # no telemetry
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class Failed(Exception):
    """What a worker could not do, in one line."""


def one_line(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"


def serve(pipe, log, threads):
    """Answers (function name of `Session`, arguments) with (True, result) or (False, reason)."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(ENVIRONMENT, OMP_NUM_THREADS=str(threads))
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    session = Session()
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(session, name)(*arguments)
        except Exception as error:  # whatever an engine throws is a result
            answer = False, one_line(error)
        pipe.send(answer)


class Session:
    """Inside a worker."""

    def __init__(self):
        self.loaded = None

    def build(self, job):
        """Builds the SavedModel and what the others need to know of it."""
        import count
        import tensorflow as tf

        models.build(job.model, job.saved_model)
        function = tf.saved_model.load(job.saved_model).signatures["serving_default"]
        facts = {"inputs": sorted(function.structured_input_signature[1]), "multiply_adds": None}
        path = pathlib.Path(job.path("model", "model.json"))
        path.write_text(json.dumps(facts))
        facts["multiply_adds"] = count.multiply_adds(job.saved_model, job.inputs(1))
        path.write_text(json.dumps(facts))
        return facts

    def make(self, job, artefact):
        return artefact.make(job, artefact)

    def load(self, engine, job, precision, batch):
        """Milliseconds of the first call, and the setting."""
        self.unload()
        loaded = engines.ENGINES[engine].load(job, precision, batch)
        start = time.perf_counter()
        loaded.call()
        first = time.perf_counter() - start
        self.loaded = loaded
        return {"first_ms": first * 1e3, "setting": loaded.setting}

    def unload(self):
        self.loaded = None
        gc.collect()

    def outputs(self):
        return dict(self.loaded.named(self.loaded.call()))

    def turn(self, seconds):
        """Minimum and median milliseconds, and the number of calls."""
        call, clock = self.loaded.call, time.perf_counter
        call()  # threads awake, caches filled
        times = []
        end = clock() + seconds
        while not times or clock() < end:
            start = clock()
            call()
            times.append(clock() - start)
        return {"min_ms": min(times) * 1e3, "median_ms": statistics.median(times) * 1e3, "calls": len(times)}


class Worker:
    """The parent's end."""

    def __init__(self, log, threads):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, str(log), threads), daemon=True)
        self._process.start()
        other.close()

    def call(self, name, *arguments, timeout):
        try:
            self._pipe.send((name, *arguments))
            if not self._pipe.poll(timeout):
                self._process.kill()
                self._process.join()
                raise Failed(f"{name} took more than {timeout:.0f} s")
            good, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            raise Failed(f"the process died in {name}, exit code {self._process.exitcode}") from None
        if not good:
            raise Failed(answer)
        return answer

    @property
    def alive(self):
        return self._process.is_alive()

    def close(self, wait=10):
        self._pipe.close()
        self._process.join(timeout=wait)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Store:
    """Artefacts on disk: made once per version of what makes them. A failure is remembered as well."""

    def __init__(self, folder, threads, say, retry_failed=False, timeout=1800):
        self.folder = pathlib.Path(folder)
        self.threads = threads
        self._say = say
        self._retry_failed = retry_failed
        self._timeout = timeout

    def job(self, model):
        return jobs.Job(model, str(self.folder / model), self.threads)

    def log(self, name):
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        return self.folder / "logs" / f"{name}.log"

    def model(self, name):
        """Facts of the SavedModel, which is built if need be."""
        job = self.job(name)
        return self._ensure(job, "model", self._model_stamp(name), "build", job)

    def artefact(self, job, artefact):
        stamp = {
            "model": self._model_stamp(job.model),
            "versions": {package: jobs.version(package) for package in artefact.packages},
        }
        if "tfengine" in artefact.packages:
            stamp["threads"] = self.threads
        return self._ensure(job, artefact.name, stamp, "make", job, artefact)

    @staticmethod
    def _model_stamp(name):
        return {
            "builder": models.fingerprint(name),
            "versions": {p: jobs.version(p) for p in ("tensorflow", "keras")},
        }

    def _ensure(self, job, name, stamp, method, *arguments):
        folder = pathlib.Path(job.path(name))
        record = folder / "stamp.json"
        known = json.loads(record.read_text()) if record.exists() else {}
        if known.get("stamp") == stamp and not (known["failed"] and self._retry_failed):
            if known["failed"]:
                raise Failed(known["failed"])
            return known["facts"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._say(f"{job.model}: making {name}")
        worker = Worker(self.log(f"{job.model}-{name}"), self.threads)
        start, facts, failed = time.perf_counter(), None, ""
        try:
            facts = worker.call(method, *arguments, timeout=self._timeout)
        except Failed as error:
            failed = str(error)
        finally:
            worker.close()
        seconds = round(time.perf_counter() - start, 1)
        record.write_text(json.dumps({"stamp": stamp, "facts": facts, "failed": failed, "seconds": seconds}, indent=1))
        if failed:
            self._say(f"{job.model}: {name} failed: {failed}")
            raise Failed(failed)
        return facts

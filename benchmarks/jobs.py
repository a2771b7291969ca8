# SPDX-License-Identifier: Apache-2.0
"""What an engine of the comparison is made of, and what all of them need."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import time
from typing import Callable

import models

CALIBRATION_SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Job:
    """One model on one machine setting."""

    model: str
    folder: str  # <work>/<model>: one folder per artefact
    threads: int

    def path(self, artefact, *parts):
        return os.path.join(self.folder, artefact, *parts)

    @property
    def saved_model(self):
        return self.path("model", "saved_model")

    @property
    def input_names(self):
        return json.loads(pathlib.Path(self.path("model", "model.json")).read_text())["inputs"]

    def inputs(self, batch, seed=0):
        return models.make_inputs(self.model, batch, seed, self.input_names)

    def samples(self, batch):
        """Calibration data; never the inputs that are timed."""
        for seed in range(max(1, CALIBRATION_SAMPLES // batch)):
            yield self.inputs(batch, 1000 + seed)


@dataclasses.dataclass(frozen=True)
class Artefact:
    name: str
    make: Callable  # (job, artefact) -> dict of facts worth keeping, or None
    packages: tuple  # distributions whose versions decide whether it is current
    batch: int = 0
    precision: str = "fp32"


@dataclasses.dataclass(frozen=True)
class Loaded:
    call: Callable  # () -> outputs
    named: Callable  # outputs -> dict of arrays
    setting: str = ""


@dataclasses.dataclass(frozen=True)
class Engine:
    key: str
    title: str
    packages: tuple  # distributions
    precisions: tuple
    load: Callable  # (job, precision, batch) -> Loaded
    artefacts: Callable = lambda precision, batch: []
    peer: bool = True
    linger: float = 0  # seconds for which its threads spin on after a call


def fastest(candidates, seconds=0.3):
    """The candidate, of several (setting, Loaded makers), whose shortest call is shortest."""
    best = None
    for make in candidates:
        loaded = make()
        loaded.call()
        times, end = [], time.perf_counter() + seconds
        while len(times) < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            loaded.call()
            times.append(time.perf_counter() - start)
        if best is None or min(times) < best[0]:
            best = min(times), loaded
    return best[1]


def match_input(names, arrays):
    """The array for an input of a converted model, whose name may have gained a prefix or a suffix."""
    for name, array in arrays.items():
        if name in names:
            return array
    for name, array in arrays.items():
        if any(name in other for other in names):
            return array
    raise KeyError(f"no input {sorted(names)} among {sorted(arrays)}")


def tfengine_library():
    spec = importlib.util.find_spec("tfengine")
    if spec is None:
        raise ModuleNotFoundError("no package tfengine: install it, or set PYTHONPATH to BUILD/python")
    return pathlib.Path(spec.submodule_search_locations[0]) / "libtfengine.so"


@functools.cache
def version(package):
    """Of a distribution, None if it is not installed; of tfengine the digest of its library too: it changes daily."""
    if package == "tfengine":
        from tfengine import __version__

        return f"{__version__} {hashlib.sha256(tfengine_library().read_bytes()).hexdigest()[:12]}"
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

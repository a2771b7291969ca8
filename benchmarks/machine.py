# SPDX-License-Identifier: Apache-2.0
"""What the numbers were measured on: CPU, instruction sets, versions, and the peak rates of its vector units."""

import json
import os
import pathlib
import platform
import subprocess

import engines
import jobs

_FLAGS = "avx2 fma avx512f avx512bw avx512_vnni avx_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16".split()


def describe(threads):
    packages = {package for engine in engines.ENGINES.values() for package in engine.packages}
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", "").split()
    family = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return {
        "cpu": f"{fields.get('model name', platform.machine())} ({family})",
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            **{package: jobs.version(package) for package in sorted(packages | {"keras", "numpy"})},
        },
    }


class Peak:
    """The probe, compiled once; `best` keeps the highest rates of all its runs, in 10^9 operations per second."""

    def __init__(self, folder, threads):
        self._program = pathlib.Path(folder) / "peak"
        self._threads = threads
        self.best = {"fp32": None, "bf16": None, "int8": None}
        source = pathlib.Path(__file__).with_name("peak.cc")
        command = [os.environ.get("CXX", "c++"), "-O2", "-pthread", str(source), "-o", str(self._program)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self._program = None  # no compiler, or not x86: no shares of a peak

    def probe(self):
        if self._program is None:
            return
        output = subprocess.run([self._program, str(self._threads)], check=True, capture_output=True).stdout
        for name, rate in json.loads(output).items():
            if rate:
                self.best[name] = max(rate, self.best[name] or 0)

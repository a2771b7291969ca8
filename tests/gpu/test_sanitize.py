# SPDX-License-Identifier: Apache-2.0
"""`scripts/gpu_tests --sanitize` with programs that stand for the driver, compute-sanitizer and, but for one test, gpu_test."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAKE = ROOT / "build" / "fake_cuda"
GPU_TEST = ROOT / "build" / "gpu_test"

# Leaves out its own options, runs the program, and says what it would have found in the second slice.
SANITIZER = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift 2; done
"$@"
code=$? found=0
[[ "$* " != *" 1/2 "* ]] || found=${FOUND:-0}
echo "========= ERROR SUMMARY: $found errors"
[[ $found == 0 ]] || exit 9
exit $code
"""
# 3 cases a slice; what the second slice does is the test's choice.
PROGRAM = """#!/usr/bin/env bash
echo "$@" >>"$LOG"
case "$* " in *" 1/2 "*) eval "${SECOND:-true}" ;; esac
echo "ops: 3 cases, 4 lowerings, 0 failed, 1.0 s${LEFT:-}"
"""


@pytest.fixture
def run(tmp_path):
    for name, text in {"nvidia-smi": "#!/bin/sh\n", "compute-sanitizer": SANITIZER, "gpu_test": PROGRAM}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(*args, program=tmp_path / "gpu_test", **variables):
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GPU_TEST": str(program), "XDG_CACHE_HOME": str(tmp_path)}
        command = [str(ROOT / "scripts" / "gpu_tests"), "--sanitize", "--slices", "2", *args]
        done = subprocess.run(
            command, env={**env, "LOG": str(tmp_path / "log"), **variables}, capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, done.stdout.split("== summary\n")[-1].splitlines(), done.stdout + done.stderr

    return start


def test_all_tools(run, tmp_path):
    code, lines, text = run()
    assert code == 0, text
    assert lines[0] == "memcheck: 6 cases, 8 lowerings, 0 findings"
    assert [line.split()[0] for line in lines[1:]] == ["initcheck"] + 5 * ["racecheck"]
    calls = (tmp_path / "log").read_text()
    assert calls.count("--slice 0/2") == calls.count("--slice 1/2") == len(lines)


@pytest.mark.parametrize(
    "second, line, shown",
    [
        ({"FOUND": "7"}, "6 cases, 8 lowerings, 7 findings, 1 of 2 slices FAILED", "exit code 9"),
        ({"SECOND": "echo 'ops: 1 cases, 1 lowerings, 1 failed, 1 s'; exit 1"}, "4 cases, 5 lowerings, 0 findings, 1 of 2 slices FAILED", "1 failed"),
        ({"SECOND": "LEFT=', 5 cases left'"}, "6 cases, 8 lowerings, 0 findings, did not finish: 5 cases left after 1 s", ""),
        ({"SECOND": "kill -9 $PPID; exit"}, "3 cases, 4 lowerings, 0 findings, did not finish: 1 of 2 slices were ended or broke off", "exit code 137"),
        ({"SECOND": "exit 0"}, "3 cases, 4 lowerings, 0 findings, did not finish: 1 of 2 slices were ended or broke off", "exit code 0"),
    ],
)
def test_what_goes_wrong_is_said(run, second, line, shown):
    code, lines, text = run("--tools", "memcheck", "--limit", "1", **second)
    assert code == 1 and lines[0] == f"memcheck: {line}", text
    assert shown in text


@pytest.mark.parametrize("args", [["--slices", "0"], ["--limit"], ["--tools", "nonsense"], ["--what"]])
def test_wrong_options(run, args):
    assert run(*args)[0] == 2


@pytest.mark.slow
@pytest.mark.skipif(not GPU_TEST.exists() or not (FAKE / "libcuda.so.1").exists(), reason="the fake device is not built")
def test_slices_are_all_cases(run):
    chosen = ["--filter", 'unary(%x) {kind="sqrt"|unary(%x) {kind="tanh"', "--tools", "memcheck"]
    device = {"LD_LIBRARY_PATH": str(FAKE)}
    counts = []
    for slices in ("1", "3"):
        code, lines, text = run(*chosen, "--slices", slices, program=GPU_TEST, **device)
        assert code == 0, text
        counts.append(int(re.search(r"(\d+) cases", lines[0])[1]))
    assert counts[0] == counts[1] >= 6

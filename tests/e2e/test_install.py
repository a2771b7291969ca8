# SPDX-License-Identifier: Apache-2.0
"""The installed C++ package: find_package(tfengine), the examples, and what the library exports."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TFENGINE_BUILD", ROOT / "build"))


def execute(*command, **kwargs):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **kwargs)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    if not (BUILD / "libtfengine.so").exists() or shutil.which("cmake") is None:
        pytest.skip(f"no library in {BUILD}")
    prefix, build = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("examples")
    execute("cmake", "--install", BUILD, "--prefix", prefix)
    execute("cmake", "-S", ROOT / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    execute("cmake", "--build", build)
    return build


def test_examples_convert_and_run(examples, saved_models, tmp_path):
    output = execute(examples / "convert_and_run", saved_models("digits"), tmp_path / "out")
    assert "output_0: float32[1,10]" in output
    assert "output_0: 40 bytes" in execute(examples / "run_model", tmp_path / "out")


def test_examples_report_errors(examples, tmp_path):
    for command in (["convert_and_run", tmp_path / "nowhere", tmp_path / "out"], ["run_model", tmp_path / "nowhere"]):
        result = subprocess.run([examples / command[0], *command[1:]], capture_output=True, text=True, check=False)
        assert result.returncode == 1 and result.stderr.startswith("E-0101 not-found: ")


def test_the_library_exports_its_interface_only():
    """What TensorFlow exports too (protobuf, absl, C++ templates of ours) must not be visible."""
    symbols = execute("nm", "-D", "--defined-only", "--demangle", BUILD / "libtfengine.so").splitlines()
    names = [line.split(maxsplit=2)[2] for line in symbols]
    foreign = [n for n in names if not re.match(r"((typeinfo|vtable|typeinfo name) for )?tfengine(::|_)", n)]
    assert not foreign, foreign[:10]
    assert any(n.startswith("tfengine_convert") for n in names)

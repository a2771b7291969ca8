# SPDX-License-Identifier: Apache-2.0
"""Shared by all Python tests: the command line program, and SavedModels that are made once per session."""

import os
import pathlib
import subprocess

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than about ten seconds")


class Cli:
    """Runs the `tfengine` program: $TFENGINE_CLI, or the one in build/."""

    def __init__(self):
        self.path = os.environ.get("TFENGINE_CLI", str(ROOT / "build" / "tfengine"))

    def __call__(self, *args, timeout=600):
        return subprocess.run(
            [self.path, *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False
        )

    def ok(self, *args, timeout=600):
        result = self(*args, timeout=timeout)
        assert result.returncode == 0, f"tfengine {' '.join(map(str, args))}\n{result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture(scope="session")
def cli():
    program = Cli()
    if not os.access(program.path, os.X_OK):
        pytest.skip(f"no {program.path}; build it or set TFENGINE_CLI")
    return program


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """saved_models(name) -> directory of that model of model_zoo.py, made on first use."""
    import model_zoo

    made = {}

    def get(name):
        if name not in made:
            directory = tmp_path_factory.mktemp("models") / name
            model_zoo.MODELS[name].make(str(directory))
            made[name] = directory
        return made[name]

    return get

# SPDX-License-Identifier: Apache-2.0
"""Writing a SavedModel directory so that it appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tfengine.errors import AlreadyExistsError


@contextlib.contextmanager
def replaced_directory(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a path to write a directory to, beside `path`; moves it to `path` if the block ends well.

    An empty directory or an older SavedModel at `path` is replaced; anything else is an AlreadyExistsError.
    """
    target = pathlib.Path(os.path.abspath(path))
    if os.path.lexists(target) and not _replaceable(target):
        raise AlreadyExistsError(
            f"{target}: expected a new path, an empty directory or a SavedModel to replace, found something else", 701
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield beside / "new"
        if target.exists():
            os.rename(target, beside / "old")
        os.rename(beside / "new", target)
    finally:
        if (beside / "old").exists() and not target.exists():
            os.rename(beside / "old", target)
        shutil.rmtree(beside, ignore_errors=True)


def _replaceable(path: pathlib.Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    return (path / "saved_model.pb").exists() or not any(path.iterdir())

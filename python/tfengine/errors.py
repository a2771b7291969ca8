# SPDX-License-Identifier: Apache-2.0
"""Exceptions: every error of the C++ library as the Python class it is closest to.

`TfEngineError` is the base of all of them. Each class also derives from a built-in, so that
`except FileNotFoundError` or `except NotImplementedError` works as expected.
"""

from __future__ import annotations

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "DataLossError",
    "FailedPreconditionError",
    "FileMissingError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "TfEngineError",
    "UnimplementedError",
]


class TfEngineError(Exception):
    """An error of tfengine. `code` is its number in docs/errors.md (0: none)."""

    def __init__(self, message: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message

    def __reduce__(self):
        return type(self), (self.message, self.code)


class InvalidArgumentError(TfEngineError, ValueError):
    """An argument, an input or a model is wrong."""


class NotFoundError(TfEngineError, LookupError):
    """Something asked for by name (a tag, a signature, a variable) is not there."""


class FileMissingError(NotFoundError, FileNotFoundError):
    """A file or a directory is not there."""


class AlreadyExistsError(TfEngineError, FileExistsError):
    """The output is there already."""


class PermissionDeniedError(TfEngineError, PermissionError):
    """A file cannot be read or written."""


class ResourceExhaustedError(TfEngineError, MemoryError):
    """Memory ran out."""


class FailedPreconditionError(TfEngineError, RuntimeError):
    """This cannot be done in this state, or with this model."""


class AbortedError(TfEngineError, RuntimeError):
    """The work was given up."""


class UnimplementedError(TfEngineError, NotImplementedError):
    """tfengine cannot do this (yet)."""


class DataLossError(TfEngineError, OSError):
    """A file is truncated or damaged."""


class InternalError(TfEngineError, RuntimeError):
    """A bug in tfengine."""


# By absl::StatusCode.
_BY_STATUS: dict[int, type[TfEngineError]] = {
    3: InvalidArgumentError,
    5: NotFoundError,
    6: AlreadyExistsError,
    7: PermissionDeniedError,
    8: ResourceExhaustedError,
    9: FailedPreconditionError,
    10: AbortedError,
    11: InvalidArgumentError,
    12: UnimplementedError,
    13: InternalError,
    15: DataLossError,
}
_FILE_MISSING = 101


def from_status(status: int, code: int, message: str) -> TfEngineError:
    """The exception for a C++ status. Called by the extension module."""
    if code == _FILE_MISSING:
        return FileMissingError(message, code)
    return _BY_STATUS.get(status, TfEngineError)(message, code)

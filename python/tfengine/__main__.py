# SPDX-License-Identifier: Apache-2.0
"""`python -m tfengine` and the console script `tfengine`: runs the command-line program."""

from __future__ import annotations

import os
import pathlib
import sys


def main() -> int:
    program = pathlib.Path(__file__).parent / "bin" / "tfengine"
    if not program.exists():
        print(f"tfengine: the command-line program was not installed ({program} is missing)", file=sys.stderr)
        return 1
    sys.stdout.flush()
    os.execv(program, [str(program), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

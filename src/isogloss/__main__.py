"""`python -m isogloss`: the command line, for launchers that start modules."""

from __future__ import annotations

import sys

from isogloss.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

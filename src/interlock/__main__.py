"""python -m interlock: the command line, as `interlock` is."""

from __future__ import annotations

import sys

from interlock.cli import main

if __name__ == "__main__":
    sys.exit(main())

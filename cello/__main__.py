"""``python -m cello``, and what the script ``cello`` calls."""

from __future__ import annotations

import sys

from .command.main import main

if __name__ == "__main__":
    sys.exit(main())

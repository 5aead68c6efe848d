"""``python -m scripts.tune``."""

from __future__ import annotations

import sys

from scripts.tune.search import main

if __name__ == "__main__":
    sys.exit(main())

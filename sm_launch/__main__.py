"""``python -m sm_launch``."""

import sys

from sm_launch.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""The labs' package as their notebooks import it."""

from __future__ import annotations

import sys
from pathlib import Path

LABS = Path(__file__).resolve().parents[2] / "labs"
if str(LABS) not in sys.path:
    sys.path.append(str(LABS))

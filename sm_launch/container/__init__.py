"""What runs inside of a job's container."""

from __future__ import annotations

# The files of this folder that every code channel carries.
CODE_FILES = ("entry.py", "instructions.py", "launchers.py", "artifact.py")

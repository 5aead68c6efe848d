"""For interpreters that a test starts with this folder in PYTHONPATH: MLflow is not there, as in most installations.

MONAI imports it wherever it is installed, which costs 2 s of CPU a process.
"""

import sys

sys.modules["mlflow"] = None

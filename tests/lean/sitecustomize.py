"""For interpreters that a test starts with this folder in PYTHONPATH: their imports of MONAI take a third less CPU.

MLflow is not there, as in most installations; MONAI imports it wherever it is. And garbage is collected less often,
since what imports leave is none.
"""

import gc
import sys

sys.modules["mlflow"] = None
gc.set_threshold(100_000)

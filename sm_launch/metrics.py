"""Regular expressions by which SageMaker reads figures off the log of a training."""

from __future__ import annotations

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"

# Each takes the line of this project's bundle, "epoch 3/30  loss 0.4123  Dice 0.7134 (TC ...", and the lines of MONAI's
# StatsHandler, "Epoch: 3/30, Iter: 1/8 -- train_loss: 0.4123" and "Epoch[3] Metrics -- val_mean_dice: 0.7134".
DEFAULT_METRICS = {
    "train_loss": rf"(?:train_loss: |  loss ){_NUMBER}",
    "val_mean_dice": rf"(?:val_mean_dice: |  Dice ){_NUMBER}",
}

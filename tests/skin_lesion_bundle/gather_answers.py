"""What one of several processes knows after a pass over five images: run as a program, it writes what it gathered."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "labs" / "skin_lesion_bundle"))

from skin_lesions.answers import Answers  # noqa: E402
from skin_lesions.distributed import validation_sampler  # noqa: E402

# The network hands its input on: logits that tell the image.
ITEMS = [{"image": torch.full((7,), float(n)), "label": n % 7, "name": f"ISIC_{n * '0'}{n}"} for n in range(5)]


def main(folder: str) -> None:
    """Evaluate twice, as a training does; the second pass must forget the first."""
    dist.init_process_group("gloo")
    dataset = Dataset(ITEMS)
    loader = DataLoader(dataset, batch_size=2, sampler=validation_sampler(dataset))
    answers = Answers()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"), val_data_loader=loader, network=torch.nn.Identity(), val_handlers=[answers]
    )
    evaluator.run(1)
    evaluator.run(2)
    names, logits, truth = answers.gathered()
    found = sorted(zip(names, logits.tolist(), truth.tolist(), strict=True))
    Path(folder, f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])

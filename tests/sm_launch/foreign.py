"""Bundles that know nothing of this project: one in the Model Zoo's manner, and MONAI's own template filled in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, init_bundle

UNET = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2],
}  # fmt: skip


def _write(bundle: Path, config: dict[str, Any], inputs: dict[str, Any], classes: dict[str, str]) -> Path:
    """Config, metadata and random weights that never come out the same label everywhere."""
    (bundle / "configs").mkdir(parents=True, exist_ok=True)
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    metadata = {
        "version": "0.1.0", "monai_version": "1.6.1", "task": "test",
        "network_data_format": {"inputs": {"image": inputs}, "outputs": {"pred": {"channel_def": classes}}},
    }  # fmt: skip
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(5)
    network = ConfigParser(config).get_parsed_content("network_def")
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


def zoo_bundle(bundle: Path) -> Path:
    """A segmentation bundle as the Model Zoo has them: a datalist by pattern in imagesTs, Invertd, SaveImaged."""
    config = {
        "imports": ["$import glob"],
        "bundle_root": "/workspace/bundle",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": UNET,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
                {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "dataset": {
            "_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 2,
        },
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                    "nearest_interp": False, "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_postfix": "trans"},
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
            "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@evaluator.run()"],
    }  # fmt: skip
    inputs = {"type": "image", "num_channels": 1, "spatial_shape": ["16*n", "16*n", "16*n"]}
    return _write(bundle, config, inputs, {"0": "background", "1": "organ", "2": "lesion"})


def template_bundle(bundle: Path) -> Path:
    """``monai.bundle init_bundle``'s template with a 2-D classifier of pictures in it; nothing else is changed."""
    init_bundle(str(bundle))
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    # The template asks os for the checkpoint without importing it.
    config["imports"].append("$import os")
    config["network_def"] = {
        "_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 3, "init_features": 4,
        "growth_rate": 4, "block_config": [1, 1],
    }  # fmt: skip
    config["postprocessing"]["transforms"] = config["postprocessing"]["transforms"][:1]
    inputs = {"type": "image", "num_channels": 3, "spatial_shape": ["*", "*"]}
    return _write(bundle, config, inputs, {"0": "nevus", "1": "melanoma", "2": "keratosis"})

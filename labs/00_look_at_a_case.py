# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Look at a case
#
# **After this lab you can**
# - read a scan's header: shape, voxel size, orientation, memory;
# - tell the four modalities apart, and say what each is good for;
# - say which label is which tissue, and prove it with the image itself;
# - turn labels into the regions WT, TC and ET, and give their volumes in ml;
# - move through a case with the viewer, by mouse or by keys.
#
# **Before you start** you need Python and a little NumPy; no MRI, no GPU, no account, no download.
# Two questions to think about; this lab answers them:
#
# <details><summary>A file says 240 x 240 x 155. How large is the head in it?</summary>
# That depends on the voxel size, which the header holds. At 1 mm it is 240 x 240 x 155 mm; at 2 mm it would be a giant.
# </details>
#
# <details><summary>A label map holds 0, 1, 2 and 3. Which number is the tumour that takes up contrast agent?</summary>
# The file does not say. Data sets number tissues differently, and a wrong guess trains a network without any error.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
CASE: int = 0  # which of the labelled cases to look at, counted from 0

# %%
import labkit
import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from labkit.checks import predict, reveal
from labkit.data import dataset, listed
from labkit.figures import show
from labkit.tables import table

# %% [markdown]
# ## 1 · A scan is an array and a header
#
# BraTS patients have four MRI scans of one head, put on one grid. The Medical Segmentation Decathlon keeps them in one
# NIfTI file with four channels. Before you read it:

# %%
raw_mb = predict("How many MB of memory does a BraTS case take, 240 x 240 x 155 voxels, 4 channels, 4 bytes?", 143, unit="MB")  # solution

# %%
reveal(raw_mb, 240 * 240 * 155 * 4 * 4 / 1e6, "One case is larger than most photo albums; 484 of them fill 69 GB of memory.")

# %% [markdown]
# The embedded data are a *phantom*: brains of the MNI atlas, warped and given four contrasts and a tumour by a program. They
# have the form of real data, and nothing measured on them means anything clinically.

# %%
dataset_dir = dataset(DATA)
case = listed(dataset_dir)[CASE]
scan = nib.load(case["image"][0])
table(
    [
        ["file", case["image"][0].split("/")[-1]],
        ["shape", " x ".join(map(str, scan.shape))],
        ["voxel size", " x ".join(f"{size:g}" for size in scan.header.get_zooms()[:3]) + " mm"],
        ["axes run towards", "".join(nib.aff2axcodes(scan.affine))],
        ["stored as", scan.get_data_dtype()],
    ],
    ["header", case["case"]],
)

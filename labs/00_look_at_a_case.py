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
# That depends on the voxel size, which the header holds. At 1 mm it is 240 x 240 x 155 mm; at 2 mm it would be a
# giant.
# </details>
#
# <details><summary>A label map holds 0, 1, 2 and 3. Which number is the tumour that takes up contrast agent?</summary>
# The file does not say. Data sets number tissues differently, and a wrong guess trains a network without any error.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
CASE: int = 0  # which of the labelled cases to look at, counted from 0; not every case has an enhancing part

# %%
import nibabel as nib
import numpy as np
from labkit.checks import predict, reveal
from labkit.data import dataset, label_scheme, listed, modality_images
from labkit.figures import show
from labkit.first_look import modalities_figure, takes_up_contrast, tissue_intensities, voxel_ml
from labkit.tables import table
from scripts.viewer import show_case

# %% [markdown]
# ## 1 · A scan is an array and a header
#
# A BraTS patient has four MRI scans of one head, laid on one grid. The Medical Segmentation Decathlon keeps them as
# the four channels of one NIfTI file: 240 x 240 x 155 voxels, 4 bytes each once they are floating-point numbers.
#
# **Predict** how much memory one such case takes. Write your guess where the dots are, then run the cell.

# %%
raw_mb = predict("How many MB does one BraTS case take in memory?", 143, unit="MB")  # solution

# %%
reveal(raw_mb, 240 * 240 * 155 * 4 * 4 / 1e6, "Voxels times channels times bytes. All 484 labelled cases take 69 GB.")

# %% [markdown]
# The file on disk is much smaller, as it is compressed and most of it is air. Lab 03 is about that difference.
#
# Now open one. The embedded data are a *phantom*: the MNI brain atlas, warped, given four contrasts and a tumour by a
# program. It has the form of real data, and nothing measured on it means anything clinically.

# %%
dataset_dir = dataset(DATA)
case = listed(dataset_dir)[CASE]
scan, label = nib.load(case["image"][0]), nib.load(case["label"])
table(
    [
        ["shape", " x ".join(map(str, scan.shape))],
        ["voxel size", " x ".join(f"{size:g}" for size in scan.header.get_zooms()[:3]) + " mm"],
        ["array axes run towards", ", ".join(nib.aff2axcodes(scan.affine))],
        ["stored as", scan.get_data_dtype()],
        ["label values", ", ".join(map(str, np.unique(np.asarray(label.dataobj))))],
    ],
    [case["case"], ""],
)

# %% [markdown]
# **What you saw.** The header says what the array alone cannot: the size of a voxel, and which way each axis runs
# (Right or Left, Anterior or Posterior, Superior or Inferior). The *affine*, a 4 x 4 matrix, holds both: it maps a
# voxel's indices to millimetres in the scanner. A program that drops it can mirror a patient and not notice.

# %%
print(np.round(scan.affine, 2))

# %% [markdown]
# ## 2 · Four modalities, four questions
#
# FLAIR suppresses free water, T1w shows anatomy, T1gd is T1w after a contrast agent (gadolinium) that leaks out where
# the tumour has broken the vessels' walls, T2w shows water of any kind.
#
# **Predict** before you look: around a tumour, tissue swells with water that is bound in it (*edema*). In which scan
# does edema stand out most against healthy brain?

# %%
edema_in = predict("Where does edema stand out most?", "FLAIR", choices=("FLAIR", "T1w", "T1gd", "T2w"))  # solution

# %% tags=["figure"]
scheme = label_scheme(dataset_dir)
scans = modality_images(case)
show(
    modalities_figure(scans, label, scheme, outlined=False),
    alt="The same axial slice in FLAIR, T1w, T1gd and T2w: the tumour is bright in FLAIR and T2w.",
)

# %% [markdown]
# Now measure it. Each number is a tissue's mean brightness divided by that of the brain outside the tumour: 1 is as
# bright as healthy tissue.

# %%
ratios = tissue_intensities(scans, label)
rows = [[value, *ratios[value].values()] for value in sorted(ratios)]
table(rows, ["label", *scans], f"brightness against healthy brain, {case['case']}")

# %%
edema = next(value for value, name in scheme.labels.items() if "edema" in name or "SNFH" in name)
brightest = max(ratios[edema], key=ratios[edema].get)
why = "FLAIR hides the free water of the ventricles, so what stays bright is bound water: edema."
if brightest != "FLAIR":
    why += f" In this case {brightest} is brighter still, but it may show the ventricles as bright as edema."
reveal(edema_in, brightest, why)

# %% [markdown]
# ## 3 · Which label is the ring that lights up?
#
# Here is the question that the whole project rests on. Below, the same slice with the labels outlined and numbered,
# not named. **Predict**: which number is the *enhancing tumour*, the part that takes up contrast
# agent? Use the table above: what changes between T1w and T1gd?

# %%
ring = predict("Which label takes it up?", takes_up_contrast(ratios), choices=tuple(sorted(ratios)))  # solution

# %% tags=["figure"]
show(
    modalities_figure(scans, label, scheme, outlined=True),
    alt="The slice with tissues outlined: the enhancing part is the bright one in T1gd, edema surrounds the core.",
)

# %%
measured = takes_up_contrast(ratios)
assert scheme.labels[measured].startswith("enhancing"), f"{case['case']} has no enhancing part; choose another CASE"
reveal(
    ring,
    measured,
    f"It is the label that grows brightest from T1w to T1gd. The data set calls it '{scheme.labels[measured]}'.",
)

# %% [markdown]
# **What you saw.** In the Decathlon, 1 is edema, 2 the non-enhancing and necrotic core, 3 the enhancing tumour. BraTS
# 2018 calls them 2, 1 and 4; BraTS 2023 calls them 2, 1 and 3. A published workshop took label 2 of the Decathlon for
# the enhancing tumour, and a well-known tutorial does so still. Both trained without an error, on the wrong tissue:
# the bright ring in the workshop's own picture has the colour of label 3. The bundle looks the numbers up in [one
# table](../bundle/scripts/labels.py) and refuses a value that is not in it.
#
# ## 4 · Labels become regions
#
# Radiologists judge three nested *regions*: the **w**hole **t**umour WT, the **t**umour **c**ore TC (what a surgeon
# takes out: everything but edema), and the **e**nhancing **t**umour ET.
#
# **Exercise.** Write the label ids of each region of *this* data set.

# %%
from labkit.first_look import check_regions

wt_ids = set(scheme.regions["WT"])  # solution
tc_ids = set(scheme.regions["TC"])  # solution
et_ids = set(scheme.regions["ET"])  # solution
check_regions(wt_ids, tc_ids, et_ids, scheme)

# %% [markdown]
# **Exercise.** How large is the tumour core, in millilitres? `voxel_ml(label)` is the volume of one voxel.

# %%
from labkit.first_look import check_volume

labels = np.asarray(label.dataobj)
core_ml = np.isin(labels, list(tc_ids)).sum() * voxel_ml(label)  # solution
check_volume(core_ml, label, tc_ids)

# %% [markdown]
# **Spot the bug.** This program reports tumour volumes. It is right for one hospital's scans and wrong for another's:
#
# ```python
# def tumour_ml(path):
#     labels = nib.load(path).get_fdata()
#     return (labels > 0).sum() / 1000  # 1000 cubic millimetres are a millilitre
# ```
#
# **Exercise.** By what factor is the true volume of *this* case larger than what it reports?

# %%
from labkit.first_look import check_error_factor

factor = float(np.prod(label.header.get_zooms()))  # solution
check_error_factor(factor, label)

# %% [markdown]
# **Predict** one thing more. Networks learn from voxels: what share of the *brain's* voxels is tumour here, in
# percent?

# %%
share = predict("What percentage of the brain is tumour?", 8, unit="%")  # solution

# %%
brain = scans["T1w"].get_fdata(dtype=np.float32) > 0
measured_share = 100 * (labels[brain] > 0).mean()
reveal(
    share,
    float(measured_share),
    f"Of the whole volume it is {100 * (labels > 0).mean():.1f} %. A network that answers 'healthy' everywhere is "
    "right nearly always, so accuracy is no score here: lab 02 uses Dice.",
)

# %% [markdown]
# ## 5 · Move through the case
#
# The viewer is one piece of HTML: it needs no server and no network, and works in the exported page as well. Click or
# drag to move the crosshair, turn the wheel to scroll, press 1 to 4 for the modalities; the viewer lists its other
# keys.
#
# Find the slice with the largest tumour, and look at the ring in T1gd and T1w by turns.

# %% tags=["figure"]
show_case(case["image"], label=case["label"], label_scheme=scheme.name, title=case["case"])

# %% [markdown]
# In a terminal, `python -m scripts.visualize` from `bundle/` writes the same viewer as a page, a picture or a GIF.
#
# ## What to take away
#
# - A header says how large a voxel is and which way the axes run; the array alone does not. A BraTS case takes 143
#   MB.
# - FLAIR shows edema, T1gd against T1w shows what takes up contrast agent, T2w shows water, T1w anatomy.
# - The image proves the labels: the tissue that lights up from T1w to T1gd is the enhancing tumour, whatever its
#   number.
# - WT, TC and ET are unions of labels, nested; a volume is voxels times the volume of one, which the affine holds.
# - The viewer shows all of it at once, with the values under the cursor.
#
# ## Left behind
#
# The phantom, about 30 MB in your user cache, which the other labs use. Lab 11 shows where it lies; deleting
# that folder does no harm.
#
# ## Go further
#
# - Menze et al. 2015, *The Multimodal Brain Tumor Image Segmentation Benchmark*,
#   [doi](https://doi.org/10.1109/TMI.2014.2377694)
# - The label table of every BraTS year: [labels.py](../bundle/scripts/labels.py); the layouts it reads: [the model
#   card](../bundle/docs/README.md)
# - NIfTI orientation, gently: [nibabel's tutorial](https://nipy.org/nibabel/coordinate_systems.html)

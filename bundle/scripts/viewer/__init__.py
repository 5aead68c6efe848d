"""Look at a case: three linked planes, its label map, a model's prediction and where the two differ.

    from scripts.viewer import show_case
    show_case("imagesTr/BRATS_001.nii.gz")                     # the last line of a notebook's cell
    show_case(case_folder, prediction="BRATS_001_seg.nii.gz").save("case.html")

The view is one HTML document without dependencies: it is alive in JupyterLab, in a notebook without a kernel once that
is trusted, and in an exported page without network. Where only pictures show, it is a montage. From a shell:
``python -m scripts.visualize``.
"""

from scripts.viewer.case_view import CaseView, check_suffix, show_case

__all__ = ["CaseView", "check_suffix", "show_case"]

"""The viewer alive in a real browser, offline: every control, every key, and what they change on the screen."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Watched, browser, opened
from PIL import Image
from scripts.files import write_json
from scripts.report import write_report
from scripts.viewer import show_case
from scripts.viewer.page import frame
from tiny import AFFINE, make_case, save

NAMES = ("FLAIR", "T1w", "T1gd", "T2w")
SHAPE = (40, 46, 34)
# The prediction misses a slab, invents a block and takes one tissue for another elsewhere.
INVENTED = np.s_[4:8, 20:26, 14:20]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


def arrays() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    image, label = make_case(0, SHAPE)
    prediction = label.copy()
    prediction[:, 30:] = 0
    prediction[INVENTED] = 1
    prediction[prediction == 2] = 3
    return dict(zip(NAMES, np.moveaxis(image, -1, 0), strict=True)), label, prediction


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, label, prediction = arrays()
    view = show_case(images, label, prediction, label_scheme="msd", affine=AFFINE, title="case")
    return view.save(tmp_path_factory.mktemp("pages") / "case.html")


@pytest.fixture
def viewer(chromium: Any, page_file: Path) -> Iterator[Viewer]:
    with opened(chromium, page_file) as watched:
        yield Viewer(watched)
        assert watched.messages == [], "the console is not silent"
        assert watched.requests == [], "the page asked for something"


class Viewer:
    """Hands and eyes on a page."""

    def __init__(self, watched: Watched, document: Any = None) -> None:
        self.page = watched.page
        self.document = document or watched.page
        self.document.wait_for_selector("main[data-ready]", state="attached")

    @property
    def state(self) -> dict[str, Any]:
        return self.document.evaluate("() => { viewer.redraw(); return viewer.state; }")

    def pixels(self, index: int = 0) -> np.ndarray:
        """A panel as it is drawn, (rows, columns, 3)."""
        self.document.evaluate("() => viewer.redraw()")
        shot = self.document.locator("canvas").nth(index).screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

    def click(self, name: str) -> None:
        self.document.get_by_role("button", name=name, exact=True).click()

    def press(self, key: str) -> None:
        self.document.locator("canvas").first.press(key)

    def set(self, **changes: Any) -> None:
        self.document.evaluate("(changes) => viewer.set(changes)", changes)

    def box(self, index: int = 0) -> dict[str, float]:
        return self.document.locator("canvas").nth(index).bounding_box()

    def point(self, index: int, across: float, down: float) -> tuple[float, float]:
        box = self.box(index)
        return box["x"] + across * box["width"], box["y"] + down * box["height"]


def share(picture: np.ndarray, colour: str, distance: int = 60) -> float:
    """Share of pixels near a colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return float((np.abs(picture - wanted).sum(axis=-1) < distance).mean())


def test_three_planes_are_drawn(viewer: Viewer) -> None:
    assert viewer.document.locator("canvas:visible").count() == 3
    for index in range(3):
        assert viewer.pixels(index).std() > 20
    state = viewer.state
    assert (state["modality"], state["plane"], state["show"], state["layout"]) == ("FLAIR", "axial", "truth", "planes")


def test_panels_have_the_proportions_of_the_patient(viewer: Viewer) -> None:
    """Voxels are 2 x 2 x 3 mm; all panels have one scale."""
    boxes = [viewer.box(index) for index in range(3)]
    axial, coronal, sagittal = boxes
    size = viewer.document.evaluate("() => viewer.shown.size")
    scale = axial["width"] / (2 * size[0])
    expected = [(2, 0, 2, 1), (2, 0, 3, 2), (2, 1, 3, 2)]
    for box, (wide, across, high, down) in zip((axial, coronal, sagittal), expected, strict=True):
        assert box["width"] == pytest.approx(wide * size[across] * scale, abs=1.5)
        assert box["height"] == pytest.approx(high * size[down] * scale, abs=1.5)


def test_a_click_moves_the_crosshair_in_all_planes(viewer: Viewer) -> None:
    before = [viewer.pixels(index) for index in range(3)]
    viewer.page.mouse.click(*viewer.point(0, 0.25, 0.3))
    state = viewer.state
    size = viewer.document.evaluate("() => viewer.shown.size")
    # The patient's right is on the left of the picture, the front at its top.
    assert state["voxel"][0] == pytest.approx(0.75 * size[0], abs=1) and state["mm"][0] > 0
    assert state["voxel"][1] == pytest.approx(0.7 * size[1], abs=1)
    after = [viewer.pixels(index) for index in range(3)]
    assert all(np.abs(a - b).mean() > 0.5 for a, b in zip(before, after, strict=True))


def test_a_drag_takes_the_crosshair_along(viewer: Viewer) -> None:
    viewer.page.mouse.move(*viewer.point(2, 0.3, 0.3))
    viewer.page.mouse.down()
    viewer.page.mouse.move(*viewer.point(2, 0.5, 0.5), steps=3)
    viewer.page.mouse.move(*viewer.point(2, 0.6, 0.7), steps=3)
    viewer.page.mouse.up()
    state, size = viewer.state, viewer.document.evaluate("() => viewer.shown.size")
    assert state["plane"] == "sagittal"
    assert state["voxel"][1:] == pytest.approx([0.4 * size[1], 0.3 * size[2]], abs=1.5)
    viewer.page.mouse.move(*viewer.point(2, 0.2, 0.2))
    assert viewer.state["voxel"] == state["voxel"], "the button is up"


def test_the_wheel_turns_slices_and_small_steps_add_up(viewer: Viewer) -> None:
    start = viewer.state["voxel"]
    viewer.page.mouse.move(*viewer.point(1, 0.5, 0.5))
    viewer.page.mouse.wheel(0, 120)
    state = viewer.state
    assert state["voxel"] == [start[0], start[1] - 1, start[2]] and state["plane"] == "coronal"
    for _ in range(10):
        viewer.page.mouse.wheel(0, -8)
    assert viewer.state["voxel"][1] == start[1] + 1


def test_a_right_drag_changes_window_and_level(viewer: Viewer) -> None:
    before, picture = viewer.state["windows"], viewer.pixels()
    viewer.page.mouse.move(*viewer.point(0, 0.4, 0.4))
    viewer.page.mouse.down(button="right")
    x, y = viewer.point(0, 0.4, 0.4)
    viewer.page.mouse.move(x + 60, y + 40, steps=4)
    viewer.page.mouse.up(button="right")
    after = viewer.state["windows"]
    assert after["FLAIR"]["window"] > before["FLAIR"]["window"] and after["FLAIR"]["level"] > before["FLAIR"]["level"]
    assert after["T1w"] == before["T1w"]
    assert viewer.pixels().mean() < picture.mean(), "a higher level is darker"
    viewer.press("r")
    assert viewer.state["windows"] == before


def test_sliders_change_window_level_opacity_and_slice(viewer: Viewer) -> None:
    start = viewer.state
    for name, path in (("window", ("windows", "FLAIR", "window")), ("level", ("windows", "FLAIR", "level"))):
        slider = viewer.document.get_by_role("slider", name=name)
        slider.focus()
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        assert viewer.state[path[0]][path[1]][path[2]] > start[path[0]][path[1]][path[2]], name
    viewer.click("Reset")
    assert viewer.state["windows"] == start["windows"]
    opacity = viewer.document.get_by_role("slider", name="opacity")
    opacity.press("Home")
    assert viewer.state["opacity"] == 0
    sagittal = viewer.document.get_by_role("slider", name="sagittal slice")
    sagittal.press("ArrowLeft")
    state = viewer.state
    assert state["voxel"][0] == start["voxel"][0] - 1 and state["plane"] == "sagittal"


@pytest.mark.parametrize("by", ["button", "key"])
def test_modalities(viewer: Viewer, by: str) -> None:
    seen = []
    for number, name in enumerate(NAMES, 1):
        viewer.click(name) if by == "button" else viewer.press(str(number))
        assert viewer.state["modality"] == name
        button = viewer.document.get_by_role("button", name=name, exact=True)
        assert button.get_attribute("aria-pressed") == "true"
        seen.append(viewer.pixels())
    assert all(np.abs(a - b).mean() > 1 for a, b in zip(seen, seen[1:], strict=False))


@pytest.mark.parametrize("by", ["button", "key"])
@pytest.mark.parametrize(
    "region, name, key, colour",
    [
        ("WT", "WT whole tumour", "w", "#56B4E9"),
        ("TC", "TC tumour core", "c", "#E69F00"),
        ("ET", "ET enhancing tumour", "g", "#CC79A7"),
    ],
)
def test_regions_go_and_come_back(viewer: Viewer, by: str, region: str, name: str, key: str, colour: str) -> None:
    viewer.set(style="fill", opacity=1, crosshair=False, voxel=viewer.document.evaluate("() => viewer.jump()"))
    whole = share(viewer.pixels(), colour)
    assert whole > 0.005
    toggle = (lambda: viewer.click(name)) if by == "button" else (lambda: viewer.press(key))
    toggle()
    assert viewer.state["regions"][region] is False
    assert share(viewer.pixels(), colour) < whole / 4
    toggle()
    assert share(viewer.pixels(), colour) == pytest.approx(whole, rel=0.05)


def test_regions_are_nested(viewer: Viewer) -> None:
    """Without the inner ones, the whole tumour is one area."""
    viewer.set(style="fill", opacity=1, crosshair=False)
    ring = share(viewer.pixels(), "#56B4E9")
    viewer.set(regions={"TC": False, "ET": False})
    assert share(viewer.pixels(), "#56B4E9") > 1.3 * ring


@pytest.mark.parametrize("by", ["button", "key"])
def test_truth_prediction_and_errors(viewer: Viewer, by: str) -> None:
    viewer.set(style="fill", opacity=1, crosshair=False)
    seen = {"truth": viewer.pixels()}
    for show, name in (("prediction", "Prediction"), ("errors", "Errors"), ("truth", "Truth")):
        viewer.click(name) if by == "button" else viewer.press("e")
        state = viewer.state
        assert state["show"] == state["shown"] == show
        assert viewer.document.locator("header strong").inner_text() == name
        assert viewer.document.locator(".legend").is_visible() == (show == "errors")
        picture = viewer.pixels()
        if show in seen:
            assert np.array_equal(picture, seen[show])
        seen[show] = picture
    assert not np.array_equal(seen["prediction"], seen["errors"])


def test_errors_have_the_colour_of_their_kind(viewer: Viewer) -> None:
    images, label, prediction = arrays()
    viewer.set(show="errors", style="fill", opacity=1, crosshair=False)
    both = (label > 0) & (prediction > 0) & (label != prediction)
    for mask, colour in (
        ((label > 0) & (prediction == 0), "#0072B2"),
        ((label == 0) & (prediction > 0), "#D55E00"),
        (both, "#F0E442"),
    ):
        index = int(mask.sum((0, 1)).argmax())
        viewer.set(mm=(AFFINE @ [20, 20, index, 1])[:3].tolist())
        brain = np.any([volume > 0 for volume in images.values()], axis=0) | (label > 0) | (prediction > 0)
        across, down = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2)))
        # The panel shows the box with a margin of 8 mm, 4 voxels, as far as the volume goes.
        width, height = (min(ends[-1] + 5, n) - max(ends[0] - 4, 0) for ends, n in ((across, 40), (down, 46)))
        expected = mask[:, :, index].sum() / (width * height)
        assert share(viewer.pixels(), colour) == pytest.approx(expected, rel=0.15)


def test_errors_are_those_of_the_regions_that_are_on(viewer: Viewer) -> None:
    """A necrotic core taken for enhancement is no error of the whole tumour."""
    viewer.set(show="errors", style="fill", opacity=1, crosshair=False)
    assert share(viewer.pixels(), "#F0E442") > 0.001
    viewer.set(regions={"TC": False, "ET": False})
    assert share(viewer.pixels(), "#F0E442") == 0


@pytest.mark.parametrize("by", ["button", "key"])
def test_blinking_shows_truth_and_prediction_in_turns(viewer: Viewer, by: str) -> None:
    viewer.click("Blink") if by == "button" else viewer.press(" ")
    seen = set()
    for _ in range(40):
        seen.add(viewer.state["shown"])
        if len(seen) == 2:
            break
        viewer.page.wait_for_timeout(50)
    assert seen == {"truth", "prediction"}
    viewer.click("Blink") if by == "button" else viewer.press(" ")
    assert viewer.state["blink"] is False and viewer.state["shown"] == "truth"


@pytest.mark.parametrize("by", ["button", "key"])
def test_jump_goes_to_the_slices_with_most_errors(viewer: Viewer, by: str) -> None:
    _, label, prediction = arrays()
    viewer.set(voxel=[0, 0, 0])
    viewer.click("Worst slice") if by == "button" else viewer.press("j")
    found = viewer.state["fileIndex"]
    wrong = label != prediction
    for axis in range(3):
        counts = wrong.sum(axis=tuple({0, 1, 2} - {axis}))
        assert counts[found[axis]] == counts.max()


def test_contour_and_fill_and_opacity(viewer: Viewer) -> None:
    # Less than full tints are mixed with the grey below, and no longer near their colour.
    viewer.set(crosshair=False, opacity=1)
    lines = viewer.pixels()
    viewer.press("f")
    assert viewer.state["style"] == "fill"
    tint = viewer.pixels()
    assert share(tint, "#56B4E9") > share(lines, "#56B4E9")
    viewer.click("Contour")
    assert np.array_equal(viewer.pixels(), lines)
    viewer.click("Fill")
    opacity = viewer.state["opacity"]
    for _ in range(4):
        viewer.press("-")
    assert viewer.state["opacity"] == pytest.approx(opacity - 0.4)
    assert share(viewer.pixels(), "#56B4E9") < share(tint, "#56B4E9")
    viewer.press("+")
    assert viewer.state["opacity"] == pytest.approx(opacity - 0.3)


def test_the_crosshair_goes(viewer: Viewer) -> None:
    crossed = viewer.pixels()
    viewer.press("x")
    plain = viewer.pixels()
    assert np.abs(crossed - plain).mean() > 0.3
    viewer.click("Crosshair")
    assert np.array_equal(viewer.pixels(), crossed)


def test_arrows_and_pages_move_the_crosshair(viewer: Viewer) -> None:
    start = viewer.state["voxel"]
    canvas = viewer.document.locator("canvas").first
    for key, axis, step in (
        ("ArrowRight", 0, -1), ("ArrowLeft", 0, 1), ("ArrowUp", 1, 1), ("ArrowDown", 1, -1), ("PageUp", 2, 1),
        ("PageDown", 2, -1), ("Shift+ArrowLeft", 0, 10), ("Shift+ArrowRight", 0, -10),
    ):  # fmt: skip
        before = viewer.state["voxel"]
        canvas.press(key)
        after = viewer.state["voxel"]
        assert [b - a for a, b in zip(before, after, strict=True)] == [step * (i == axis) for i in range(3)], key
    assert viewer.state["voxel"] == start
    sagittal = viewer.document.locator("canvas").nth(2)
    sagittal.press("PageUp")
    assert viewer.state["voxel"][0] == start[0] + 1 and viewer.state["plane"] == "sagittal"


def test_arrows_belong_to_the_panel_that_has_the_focus(viewer: Viewer) -> None:
    """The wheel over another one changes the plane, but not the focus."""
    viewer.document.locator("canvas").first.focus()
    viewer.page.mouse.move(*viewer.point(2, 0.5, 0.5))
    viewer.page.mouse.wheel(0, 120)
    before = viewer.state
    assert before["plane"] == "sagittal"
    viewer.page.keyboard.press("ArrowRight")
    after = viewer.state
    assert after["plane"] == "axial"
    assert [b - a for a, b in zip(before["voxel"], after["voxel"], strict=True)] == [-1, 0, 0]


def test_the_crosshair_stays_inside(viewer: Viewer) -> None:
    size = viewer.document.evaluate("() => viewer.shown.size")
    viewer.set(voxel=[-5, 1000, 3])
    assert viewer.state["voxel"] == [0, size[1] - 1, 3]
    viewer.press("ArrowRight")
    assert viewer.state["voxel"][0] == 0


@pytest.mark.parametrize("by", ["button", "key"])
def test_all_modalities_in_one_plane(viewer: Viewer, by: str) -> None:
    viewer.set(plane="coronal")
    toggle = (lambda: viewer.click("All modalities")) if by == "button" else (lambda: viewer.press("v"))
    toggle()
    assert viewer.state["layout"] == "modalities"
    assert viewer.document.locator("canvas:visible").count() == 4
    plane = "axial" if by == "key" else "coronal"  # The key was pressed on the axial panel.
    for index, name in enumerate(NAMES):
        text = viewer.document.locator("figcaption").nth(index).inner_text()
        assert name in text and plane in text
    pictures = [viewer.pixels(index) for index in range(4)]
    assert all(np.abs(pictures[0] - other).mean() > 1 for other in pictures[1:])
    toggle()
    assert viewer.state["layout"] == "planes"
    assert viewer.document.locator("canvas:visible").count() == 3


def test_values_and_tissue_under_the_cursor(viewer: Viewer) -> None:
    images, label, _ = arrays()
    viewer.page.mouse.move(*viewer.point(0, 0.5, 0.5))
    state = viewer.state
    text = viewer.document.locator(".readout").inner_text()
    at = [int(n) for n in text.split("[")[1].split("]")[0].split(",")]
    assert at[2] == state["fileIndex"][2] and at[:2] != state["fileIndex"][:2]
    for name, volume in images.items():
        shown = float(text.split(name)[1].split()[0])
        # JPEG and 254 steps between two percentiles.
        assert shown == pytest.approx(float(volume[tuple(at)]), rel=0.12, abs=40)
    tissue = {0: "background", 1: "1 edema", 2: "2 non-enhancing and necrotic core", 3: "3 enhancing tumour"}
    assert f"truth: {tissue[int(label[tuple(at)])]}" in text
    mm = (AFFINE @ [*at, 1])[:3]
    assert f"{'LR'[int(mm[0] >= 0)]}{abs(mm[0]):.1f} {'PA'[int(mm[1] >= 0)]}{abs(mm[1]):.1f}" in text
    viewer.page.mouse.move(5, 5)
    assert str(viewer.state["fileIndex"][0]) in viewer.document.locator(".readout").inner_text().split("[")[1]


def read_index(viewer: Viewer) -> list[int]:
    """The voxel that the readout names, in the file's order."""
    text = viewer.document.locator(".readout").inner_text()
    return [int(n) for n in text.split("[")[1].split("]")[0].split(",")]


@pytest.mark.parametrize("change", ["slice", "layout"])
def test_what_was_under_the_cursor_is_not_read_after_a_change(viewer: Viewer, change: str) -> None:
    """The mouse rests; what it points at is another voxel now, and the crosshair's is read."""
    viewer.document.locator("canvas").first.focus()
    viewer.page.mouse.move(*viewer.point(0, 0.3, 0.3))
    assert read_index(viewer) != viewer.state["fileIndex"]
    viewer.page.keyboard.press("PageUp" if change == "slice" else "v")
    assert viewer.state["fileIndex"] == read_index(viewer)


def test_scores_are_shown(viewer: Viewer) -> None:
    images, label, prediction = arrays()
    view = show_case(images, label, prediction, label_scheme="msd", affine=AFFINE)
    rows = [row.inner_text().split() for row in viewer.document.locator("tbody tr").all()]
    for region, truth, predicted, dice in rows:
        assert dice == f"{view.dice()[region]:.3f}"
        assert (truth, predicted) == tuple(f"{view.volumes_ml()[name][region]:.1f}" for name in ("truth", "prediction"))


def test_every_control_has_a_name_and_shows_the_focus(viewer: Viewer) -> None:
    found = viewer.document.evaluate(
        """() => [...document.querySelectorAll("button, input, canvas, textarea, summary")]
          .filter((one) => one.checkVisibility())
          .map((one) => one.getAttribute("aria-label") || one.textContent.trim())"""
    )
    assert len(found) > 20 and all(found)
    reached = set()
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        focus = viewer.document.evaluate(
            """() => {
              const one = document.activeElement;
              return [one.getAttribute("aria-label") || one.textContent.trim(), getComputedStyle(one).outlineStyle];
            }"""
        )
        if viewer.document.evaluate("() => document.activeElement !== document.body"):
            assert focus[1] == "solid", f"{focus[0]} shows no focus"
            reached.add(focus[0])
    assert reached == set(found), "not all can be reached by Tab"


def test_space_presses_the_button_that_has_the_focus(viewer: Viewer) -> None:
    viewer.document.get_by_role("button", name="T2w", exact=True).press(" ")
    state = viewer.state
    assert (state["modality"], state["blink"]) == ("T2w", False)


def test_the_view_as_code_opens_the_same_view(viewer: Viewer, chromium: Any, tmp_path: Path) -> None:
    viewer.set(plane="coronal", modality="T1gd", show="errors", style="fill", opacity=0.4, regions={"WT": False})
    viewer.set(voxel=[12, 20, 9], windows={"T1gd": {"window": 500, "level": 400}}, crosshair=False)
    before = viewer.state
    viewer.document.get_by_text("This view as code").click()
    code = viewer.document.get_by_label("this view as code").input_value()
    images, label, prediction = arrays()
    view = eval(  # what a user pastes
        f"show_case(images, label, prediction, label_scheme='msd', affine=AFFINE, {code})",
        {"show_case": show_case, "images": images, "label": label, "prediction": prediction, "AFFINE": AFFINE},
    )
    with opened(chromium, view.save(tmp_path / "again.html")) as watched:
        assert Viewer(watched).state == before


def test_copy_puts_the_code_where_it_can_be_pasted(viewer: Viewer) -> None:
    viewer.document.get_by_text("This view as code").click()
    viewer.click("Copy")
    field = viewer.document.get_by_label("this view as code")
    assert viewer.document.evaluate("() => getSelection().toString()") in ("", field.input_value())
    # The page is drawn with the next frame, which a busy machine keeps waiting for.
    viewer.document.get_by_role("button", name="Copied").wait_for(state="visible")
    viewer.press("x")
    viewer.document.get_by_role("button", name="Copy", exact=True).wait_for(state="visible")  # another view now


def test_the_code_keeps_small_windows_and_blinking(chromium: Any, tmp_path: Path) -> None:
    """Intensities from 0 to 0.01, as after a scaling, and ten modalities, of which one has no key."""
    images, label, prediction = arrays()
    small = {f"map {index}": images["T1gd"] / images["T1gd"].max() / 100 for index in range(10)}
    with opened(chromium, show_case(small, label, prediction, label_scheme="msd").save(tmp_path / "a.html")) as watched:
        viewer = Viewer(watched)
        assert viewer.document.get_by_role("button", name="map 8", exact=True).get_attribute("title") == "key 9"
        assert viewer.document.get_by_role("button", name="map 9", exact=True).get_attribute("title") == ""
        viewer.set(windows={"map 0": {"window": 0.00123456, "level": 0.0043}}, blink=True)
        assert viewer.state["blink"]
        code = viewer.document.get_by_label("this view as code").input_value()
        view = eval(code.removeprefix("view="))  # what a user pastes
    assert view["windows"] == {"map 0": {"window": 0.00123456, "level": 0.0043}}
    again = show_case(small, label, prediction, label_scheme="msd", view=view)
    with opened(chromium, again.save(tmp_path / "b.html")) as watched:
        viewer = Viewer(watched)
        assert viewer.state["blink"] and viewer.state["windows"]["map 0"] == view["windows"]["map 0"]
        assert watched.messages == []


def test_it_lives_in_a_sandboxed_frame(chromium: Any, tmp_path: Path) -> None:
    """As in a notebook and in an exported page: nothing but scripts is allowed there."""
    images, label, prediction = arrays()
    html = show_case(images, label, prediction, label_scheme="msd", title='"quoted" & <b>').to_html()
    file = tmp_path / "notebook.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><p>before</p>{frame(html, 'a case', 660)}", encoding="utf-8")
    with opened(chromium, file) as watched:
        element = watched.page.wait_for_selector("iframe")
        inside = Viewer(watched, element.content_frame())
        assert inside.document.locator("h1").inner_text() == '"quoted" & <b>'
        before = inside.pixels()
        inside.press("3")
        inside.page.mouse.click(*inside.point(0, 0.3, 0.3))
        assert inside.state["modality"] == "T1gd"
        assert np.abs(inside.pixels() - before).mean() > 1
        watched.page.mouse.wheel(0, 100)
        assert (watched.messages, watched.requests) == ([], [])


@pytest.mark.parametrize("width", [360, 620, 900, 1500])
@pytest.mark.parametrize("layout", ["planes", "modalities"])
def test_nothing_is_wider_than_the_window(chromium: Any, page_file: Path, width: int, layout: str) -> None:
    with opened(chromium, page_file, viewport={"width": width, "height": 700}) as watched:
        viewer = Viewer(watched)
        viewer.set(layout=layout)
        assert viewer.state["layout"] == layout
        assert viewer.document.evaluate("() => document.documentElement.scrollWidth") <= width
        boxes = [one.bounding_box() for one in viewer.document.locator("canvas:visible").all()]
        assert all(box["width"] > 60 for box in boxes)
        for index, one in enumerate(boxes):
            for other in boxes[index + 1 :]:
                apart = (
                    one["x"] + one["width"] <= other["x"]
                    or other["x"] + other["width"] <= one["x"]
                    or one["y"] + one["height"] <= other["y"]
                    or other["y"] + other["height"] <= one["y"]
                )
                assert apart, "panels overlap"


def test_dark_and_light(chromium: Any, page_file: Path) -> None:
    papers = []
    for scheme in ("light", "dark"):
        with opened(chromium, page_file, color_scheme=scheme) as watched:
            papers.append(Viewer(watched).document.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 255)", "rgb(23, 25, 27)"]


def test_images_alone_have_no_label_controls(chromium: Any, tmp_path: Path) -> None:
    images, label, _ = arrays()
    with opened(chromium, show_case({"CT": images["T1w"]}).save(tmp_path / "ct.html")) as watched:
        viewer = Viewer(watched)
        for key in ("e", " ", "j", "w", "f", "2"):
            viewer.press(key)
        assert viewer.document.get_by_role("button", name="Fill").count() == 0
        assert viewer.state["modality"] == "CT" and viewer.pixels().std() > 20
        assert watched.messages == []
    truth_only = show_case(images, label, label_scheme="msd").save(tmp_path / "truth.html")
    with opened(chromium, truth_only) as watched:
        viewer = Viewer(watched)
        viewer.set(voxel=[0, 0, 0])
        viewer.click("Largest tumour")
        found = viewer.state["fileIndex"]
        assert (label[:, :, found[2]] > 0).sum() == (label > 0).sum((0, 1)).max()
        viewer.press("e")
        assert viewer.state["show"] == "truth" and watched.messages == []


def test_it_lives_in_the_report_of_a_run(chromium: Any, tmp_path: Path) -> None:
    """Under the report's own policy, which the frame inherits."""
    images, label, prediction = arrays()
    files = {
        "image": [save(volume, tmp_path / f"{name}.nii.gz") for name, volume in images.items()],
        "truth": save(label, tmp_path / "truth.nii.gz"),
        "prediction": save(prediction, tmp_path / "prediction.nii.gz"),
    }
    row = {"case": "one", **files, "dice": {"TC": 0.5, "WT": 0.5, "ET": 0.5}}
    row |= {name: dict.fromkeys(("TC", "WT", "ET"), 1.0) for name in ("hd95_mm", "truth_ml", "prediction_ml")}
    write_json(tmp_path / "run" / "test" / "cases.json", [row])
    write_json(tmp_path / "run" / "test" / "summary.json", {"label_scheme": "msd"})
    with opened(chromium, write_report(tmp_path / "run")) as watched:
        watched.page.get_by_text("Look through all slices").click()
        inside = Viewer(watched, watched.page.wait_for_selector("iframe").content_frame())
        assert inside.document.locator("canvas:visible").count() == 3
        assert inside.pixels().std() > 20 and inside.box()["width"] > 150
        inside.press("e")
        assert inside.state["show"] == "prediction"
        assert (watched.messages, watched.requests) == ([], [])

/* What stands around the panels, and what mouse, wheel and keys do. Every control has a name and can be worked by
   keyboard; HELP lists the keys. */

const SHOWN = { truth: "Truth", prediction: "Prediction", errors: "Errors" };
const ERRORS = { missed: "missed (false negative)", false: "invented (false positive)", wrong: "wrong class" };
const WHEEL_NOTCH = 40, LINE_PIXELS = 33, PAGE_STEP = 1, LONG_STEP = 10, OPACITY_STEP = 0.1;
const COPY = "Copy", COPIED = "Copied";
/* Digits are keys of as many modalities. */
const MODALITY_KEYS = 9;
const REGION_KEYS = { WT: "w", TC: "c", ET: "g" };
const HELP = [
  ["click or drag", "move the crosshair"], ["wheel, PageUp, PageDown", "next or previous slice"],
  ["arrows", "move the crosshair by a voxel"], ["Shift + arrows", "by ten"], ["right drag", "window (across) and level (down)"],
  ["1 to 9", "modality"], ["w, c, g", "whole tumour, core, Gd-enhancing on or off"], ["e", "flip truth, prediction, errors"],
  ["space", "blink truth and prediction"], ["j", "jump to the worst slice, or the largest tumour"],
  ["f", "fill or contour"], ["- and +", "opacity"], ["r", "reset window and level"], ["x", "crosshair on or off"],
  ["v", "three planes, or every modality in the plane used last"],
];

/* element("button", {title: "x", onclick: f}, "text", child) */
function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in made && !name.includes("-")) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}


function swatch(colour) {
  const mark = element("span", { className: "swatch", "aria-hidden": "true" });
  mark.style.background = colour;
  return mark;
}

function group(name, ...children) {
  return element("div", { className: "group", role: "group", "aria-label": name },
    element("span", { className: "name", "aria-hidden": "true" }, name), ...children);
}

/* Fill the root; returns the parts that the viewer writes to. */
function buildControls(viewer, root) {
  const { shown } = viewer, buttons = {}, sliders = {}, outputs = {};
  const button = (text, title, onclick, ...before) =>
    element("button", { type: "button", title, onclick, "aria-pressed": "false" }, ...before, text);
  const slider = (name, oninput) => {
    outputs[name] = element("output");
    sliders[name] = element("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": name });
    sliders[name].addEventListener("input", () => oninput(Number(sliders[name].value)));
    return element("label", { className: "slider" }, `${name} `, sliders[name], outputs[name]);
  };
  const windowOf = () => viewer.values.windows[viewer.values.modality];
  const modalityButtons = Object.fromEntries(shown.modalities.map(({ name }, index) =>
    [name, button(name, index < MODALITY_KEYS ? `key ${index + 1}` : "", () => viewer.set({ modality: name }))]));
  const regionButtons = Object.fromEntries(shown.layers.map(({ key, name, colour }) => {
    const toggle = () => viewer.set({ regions: { [key]: !viewer.values.regions[key] } });
    const label = key === name ? name : `${key} ${name}`;
    return [key, button(label, REGION_KEYS[key] ? `key ${REGION_KEYS[key]}` : "", toggle, swatch(colour))];
  }));
  const showButtons = Object.fromEntries(viewer.shows.map((show) =>
    [show, button(SHOWN[show], "key e", () => viewer.set({ show, blink: false }))]));
  const choose = (style) => () => viewer.set({ style });
  buttons.contour = button("Contour", "key f", choose("contour"));
  buttons.fill = button("Fill", "key f", choose("fill"));
  buttons.crosshair = button("Crosshair", "key x", () => viewer.set({ crosshair: !viewer.values.crosshair }));
  buttons.layout = button("All modalities", "key v: every modality in the plane used last", () => toggleLayout(viewer));
  buttons.reset = element("button", { type: "button", title: "key r", onclick: () => viewer.resetWindow() }, "Reset");
  const pair = viewer.shows.length === 3;
  if (pair) {
    buttons.blink = button("Blink", "space: truth and prediction in turns",
      () => viewer.set({ blink: !viewer.values.blink }));
  }
  buttons.jump = element("button", { type: "button", title: "key j", onclick: () => viewer.jump() },
    pair ? "Worst slice" : "Largest tumour");
  const stage = element("div", { className: "stage" });
  const count = Math.max(shown.planes.length, shown.modalities.length);
  const frames = Array.from({ length: count }, () => {
    const canvas = element("canvas", { tabIndex: 0, role: "application" });
    const index = element("input", { type: "range", min: 0, step: 1, className: "index" });
    const caption = element("figcaption"), panel = new Panel(canvas);
    index.addEventListener("input", () => {
      const voxel = [...viewer.values.voxel];
      voxel[panel.plane.axis] = Number(index.value);
      viewer.set({ voxel, plane: panel.plane.name });
    });
    const frame = element("figure", {}, canvas, index, caption);
    stage.append(frame);
    return { frame, panel, slider: index, caption };
  });
  const mapName = element("strong"), readout = element("p", { className: "readout" });
  const errorLegend = element("p", { className: "legend" }, ...Object.entries(ERRORS).map(([kind, name]) =>
    element("span", {}, swatch(shown.errorColours[kind]), name)));
  const code = element("textarea", { readOnly: true, rows: 3, "aria-label": "this view as code", spellcheck: false });
  buttons.copy = element("button", { type: "button", onclick: () => copy(code, buttons.copy) }, COPY);
  const hasMaps = shown.maps.length > 0;
  root.replaceChildren(
    element("header", {}, element("h1", {}, shown.title || "Case"), mapName, errorLegend),
    stage,
    element("div", { className: "below" }, element("div", { className: "controls" },
      group("Modality", ...Object.values(modalityButtons), buttons.layout),
      ...(hasMaps ? [
        group("Regions", ...Object.values(regionButtons)),
        group("Show", ...Object.values(showButtons), ...(pair ? [buttons.blink] : []), buttons.jump),
      ] : []),
      group("Draw", ...(hasMaps ? [buttons.contour, buttons.fill] : []), buttons.crosshair,
        ...(hasMaps ? [slider("opacity", (opacity) => viewer.set({ opacity }))] : [])),
      group("Grey",
        slider("window", (value) => viewer.setWindow(viewer.values.modality, value, windowOf().level)),
        slider("level", (value) => viewer.setWindow(viewer.values.modality, windowOf().window, value)), buttons.reset)),
    element("div", { className: "facts" }, readout, ...(hasMaps ? [scoreTable(shown)] : []))),
    element("details", {}, element("summary", {}, "Keys"), element("dl", {},
      ...HELP.flatMap(([keys, what]) => [element("dt", {}, keys), element("dd", {}, what)])),
      element("p", {}, "Radiological display: the patient's right is on the left of axial and coronal slices. "
        + "Grey values are compressed for display; volumes and Dice are counted on the label maps as they are.")),
    element("details", {}, element("summary", {}, "This view as code"),
      element("p", {}, "Pass it to show_case to open the case as it is shown now. ", buttons.copy), code));
  if (!hasMaps) slider("opacity", () => {});
  return {
    stage, frames, buttons, sliders, outputs, modalityButtons, regionButtons, showButtons, mapName, readout, errorLegend,
    code,
  };
}

function scoreTable(shown) {
  const heads = ["Region", ...shown.maps.map((map) => `${map} (ml)`), ...(shown.maps.length === 2 ? ["Dice"] : [])];
  const rows = Object.keys(shown.volumesMl[shown.maps[0]]).map((region) => element("tr", {},
    element("th", { scope: "row" }, region),
    ...shown.maps.map((map) => element("td", {}, shown.volumesMl[map][region].toFixed(1))),
    ...(shown.maps.length === 2 ? [element("td", {}, shown.dice[region].toFixed(3))] : [])));
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((text) =>
    element("th", { scope: "col" }, text)))), element("tbody", {}, ...rows));
}

/* The clipboard's newer interface is closed to sandboxed frames. */
function copy(field, button) {
  field.select();
  button.textContent = document.execCommand("copy") ? COPIED : "Press Ctrl+C";
}

function toggleLayout(viewer) {
  viewer.set({ layout: viewer.values.layout === "planes" ? "modalities" : "planes" });
}

function listenToPanels(viewer) {
  let rolled = 0;
  for (const { panel } of viewer.frames) {
    const { canvas } = panel;
    let from = null;
    const aim = (event) =>
      viewer.set({ plane: panel.plane.name, voxel: panel.voxelAt(event.clientX, event.clientY, viewer.values.voxel) });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      event.preventDefault();
      const name = panel.modality.name;
      from = { x: event.clientX, y: event.clientY, name, button: event.button, ...viewer.values.windows[name] };
      if (event.button === 0) aim(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      viewer.hovered = panel.voxelAt(event.clientX, event.clientY, viewer.values.voxel);
      if (from && from.button === 0) {
        aim(event);
      } else if (from) {
        /* A drag over 200 pixels doubles the window or moves the level by as much as the window. */
        const { window, level } = from;
        viewer.setWindow(from.name, window * 2 ** ((event.clientX - from.x) / 200),
          level + (window * (event.clientY - from.y)) / 200);
      } else {
        viewer.read();
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
    canvas.addEventListener("pointerleave", () => { viewer.hovered = null; viewer.read(); });
    canvas.addEventListener("focus", () => viewer.set({ plane: panel.plane.name }));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      /* A notch of a mouse is one slice; the many small steps of a touchpad add up to one. */
      rolled += event.deltaY * (event.deltaMode ? LINE_PIXELS : 1);
      if (Math.abs(rolled) < WHEEL_NOTCH) return;
      viewer.set({ plane: panel.plane.name });
      viewer.move(panel.plane.axis, -Math.sign(rolled));
      viewer.hovered = panel.voxelAt(event.clientX, event.clientY, viewer.values.voxel);
      rolled = 0;
    }, { passive: false });
  }
}

function listenToKeys(viewer) {
  const { shown } = viewer;
  const toggle = (name) => viewer.set({ [name]: !viewer.values[name] });
  const fade = (step) => viewer.set({ opacity: Math.min(Math.max(viewer.values.opacity + step, 0), 1) });
  const across = (event, which, sign) => {
    const plane = shown.plane(viewer.values.plane);
    /* Columns and rows run against their axes: the right arrow goes to the patient's left. */
    viewer.move(plane[which], sign * (event.shiftKey ? LONG_STEP : 1));
  };
  const slice = (steps) => viewer.move(shown.plane(viewer.values.plane).axis, steps);
  const keys = {
    e: () => viewer.flip(), j: () => viewer.jump(), r: () => viewer.resetWindow(), x: () => toggle("crosshair"),
    f: () => viewer.set({ style: viewer.values.style === "fill" ? "contour" : "fill" }), v: () => toggleLayout(viewer),
    "-": () => fade(-OPACITY_STEP), "+": () => fade(OPACITY_STEP), "=": () => fade(OPACITY_STEP),
    " ": () => { if (viewer.buttons.blink) toggle("blink"); },
  };
  const canvasKeys = {
    ArrowLeft: (event) => across(event, "across", 1), ArrowRight: (event) => across(event, "across", -1),
    ArrowUp: (event) => across(event, "down", 1), ArrowDown: (event) => across(event, "down", -1),
    PageUp: () => slice(PAGE_STEP), PageDown: () => slice(-PAGE_STEP),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = event.target.closest("button, input, textarea, summary");
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    /* A control that has the focus keeps the keys that it needs itself. */
    let act = inside && key === " " ? null : keys[key] || (inside ? null : canvasKeys[key]);
    const region = shown.layers.find((layer) => REGION_KEYS[layer.key] === key);
    if (region) act = () => viewer.set({ regions: { [region.key]: !viewer.values.regions[region.key] } });
    const modality = /^[1-9]$/.test(key) && shown.modalities[Number(key) - 1];
    if (modality) act = () => viewer.set({ modality: modality.name });
    if (!act) return;
    event.preventDefault();
    /* The wheel over another panel changes the plane, but not the focus: keys belong to the panel that has it. */
    const focused = viewer.frames.find(({ panel }) => panel.canvas === event.target);
    if (focused && act === canvasKeys[key]) viewer.set({ plane: focused.panel.plane.name });
    act(event);
  });
}

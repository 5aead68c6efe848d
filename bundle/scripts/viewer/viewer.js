/* The viewer: its state, what of it is drawn when, and this view as code. Tests and the curious find it as
   window.viewer: ready, state, set(changes), redraw(). */

const BLINK_MS = 500, GAP = 10, FIGURES = 6;

/* A value as Python writes it. */
function python(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, entry]) => `${JSON.stringify(key)}: ${python(entry)}`).join(", ")}}`;
}

function figure(value) {
  return value === null ? "outside" : Number(value.toPrecision(3)).toString();
}

class Viewer {
  constructor(shown, view) {
    this.shown = shown;
    this.ready = false;
    this.hovered = null;
    this.phase = 0;
    this.values = {
      voxel: [...shown.start], plane: "axial", modality: shown.modalities[0].name, layout: "planes",
      show: shown.maps.length ? shown.maps[0] : "truth", blink: false, style: "contour", opacity: 0.6, crosshair: true,
      regions: Object.fromEntries(shown.layers.map(({ key }) => [key, true])),
      windows: Object.fromEntries(shown.modalities.map(({ name, window: [low, high] }) =>
        [name, { window: high - low, level: (low + high) / 2 }])),
    };
    this.initialWindows = structuredClone(this.values.windows);
    this.shows = shown.maps.length === 2 ? ["truth", "prediction", "errors"] : shown.maps;
    Object.assign(this, buildControls(this, document.getElementById("viewer")));
    listenToPanels(this);
    listenToKeys(this);
    this.set(view);
    this.redraw();
    new ResizeObserver(() => { this.fit = null; this.redraw(); }).observe(this.stage);
    window.addEventListener("resize", () => { this.fit = null; this.schedule(); });
    this.ready = true;
    document.getElementById("viewer").dataset.ready = "true";
  }

  /* A copy, with what follows from it. */
  get state() {
    const { voxel } = this.values;
    return {
      ...structuredClone(this.values), mm: this.shown.toMm(voxel), fileIndex: this.shown.toFileIndex(voxel),
      shown: this.visibleMap(), values: this.readings(voxel),
    };
  }

  /* Change part of the state; mm places the crosshair as voxel does. */
  set({ mm, ...changes }) {
    const next = { ...changes };
    for (const nested of ["regions", "windows"]) {
      if (next[nested]) next[nested] = { ...this.values[nested], ...next[nested] };
    }
    if (mm) next.voxel = this.shown.fromMm(mm);
    if (next.voxel) next.voxel = this.shown.clamp(next.voxel.map(Math.round));
    /* What was under the cursor is no longer there; the next move of the mouse tells what is. */
    if (next.voxel || "layout" in next) this.hovered = null;
    Object.assign(this.values, next);
    if ("blink" in next) this.beat();
    this.schedule();
  }

  /* Redraws asked for within a frame become one. */
  schedule() {
    if (!this.due) this.due = requestAnimationFrame(() => this.redraw());
  }

  visibleMap() {
    return this.values.blink ? ["truth", "prediction"][this.phase] : this.values.show;
  }

  beat() {
    clearInterval(this.timer);
    this.phase = 0;
    if (this.values.blink) this.timer = setInterval(() => { this.phase = 1 - this.phase; this.schedule(); }, BLINK_MS);
  }

  /* Draw everything now; returns the milliseconds that it took. */
  redraw() {
    const begun = performance.now();
    cancelAnimationFrame(this.due);
    this.due = 0;
    const { shown, values } = this;
    const four = values.layout === "modalities";
    const views = four
      ? shown.modalities.map((modality) => [shown.plane(values.plane), modality])
      : shown.planes.map((plane) => [plane, shown.modality(values.modality)]);
    /* Asking for a size makes the browser lay out the page: only where the size may have changed. */
    const fit = `${values.layout} ${four && values.plane}`;
    if (this.fit !== fit) {
      this.fit = fit;
      this.scale = this.scaleFor(views.map(([plane]) => plane), four);
    }
    const layers = shown.overlay(this.visibleMap(), values.regions);
    this.frames.forEach(({ frame, panel, slider, caption }, index) => {
      frame.hidden = index >= views.length;
      if (frame.hidden) return;
      const [plane, modality] = views[index];
      panel.place(plane, modality, this.scale);
      panel.draw(shown, values, layers);
      this.describe(panel, slider, caption, four);
      frame.classList.toggle("active", !four && plane.name === values.plane);
    });
    this.refresh();
    return performance.now() - begun;
  }

  /* One scale for all panels, so that lengths compare: as many in a row as fit well. */
  scaleFor(planes, four) {
    const width = this.stage.clientWidth, limit = Math.max(window.innerHeight - 250, 180);
    const widest = Math.max(...planes.map((plane) => plane.widthMm));
    const perRow = width >= 560 ? planes.length : four ? 2 : 1;
    const total = perRow === planes.length ? planes.reduce((sum, plane) => sum + plane.widthMm, 0) : perRow * widest;
    const tallest = Math.max(...planes.map((plane) => plane.heightMm));
    return Math.max(Math.min((width - perRow * GAP) / total, limit / tallest), 20 / widest);
  }

  describe(panel, slider, caption, four) {
    const { shown, values } = this, { plane, modality } = panel;
    const index = values.voxel[plane.axis], mm = shown.toMm(values.voxel)[plane.axis];
    const place = `${"LPI"[plane.axis]}${"RAS"[plane.axis]}`[Number(mm >= 0)] + ` ${Math.abs(mm).toFixed(0)} mm`;
    const text = `${plane.name} ${index + 1}/${shown.size[plane.axis]}, ${place}`;
    caption.textContent = four ? `${modality.name} · ${text}` : text;
    Object.assign(slider, { max: shown.size[plane.axis] - 1, value: index });
    slider.setAttribute("aria-label", `${plane.name} slice`);
    slider.setAttribute("aria-valuetext", text);
    panel.canvas.setAttribute("aria-label",
      `${modality.name}, ${text}. Arrow keys move the crosshair, Page Up and Page Down change the slice.`);
  }

  /* Everything the controls say. */
  refresh() {
    const { values, shown } = this, press = (button, on) => button.setAttribute("aria-pressed", String(Boolean(on)));
    for (const [name, button] of Object.entries(this.modalityButtons)) press(button, name === values.modality);
    for (const [key, button] of Object.entries(this.regionButtons)) press(button, values.regions[key]);
    for (const [name, button] of Object.entries(this.showButtons)) press(button, !values.blink && name === values.show);
    for (const name of ["fill", "contour"]) press(this.buttons[name], name === values.style);
    for (const name of ["blink", "crosshair"]) if (this.buttons[name]) press(this.buttons[name], values[name]);
    press(this.buttons.layout, values.layout === "modalities");
    const { scale: [low, high] } = shown.modality(values.modality), { window, level } = values.windows[values.modality];
    const span = high - low;
    Object.assign(this.sliders.opacity, { value: values.opacity });
    Object.assign(this.sliders.window, { min: span / 100, max: 2 * span, step: span / 200, value: window });
    Object.assign(this.sliders.level, { min: low, max: high, step: span / 200, value: level });
    this.outputs.opacity.textContent = `${Math.round(100 * values.opacity)} %`;
    this.outputs.window.textContent = figure(window);
    this.outputs.level.textContent = figure(level);
    this.errorLegend.hidden = this.visibleMap() !== "errors";
    this.mapName.textContent = shown.maps.length ? SHOWN[this.visibleMap()] : "no label map";
    this.read();
    const code = this.asCode();
    if (code !== this.code.value) {
      this.code.value = code;
      this.buttons.copy.textContent = COPY;
    }
  }

  readings(voxel) {
    return Object.fromEntries(this.shown.modalities.map((one) => [one.name, this.shown.intensity(one, voxel)]));
  }

  /* Position, values and labels under the cursor, or at the crosshair when the mouse is elsewhere. */
  read() {
    const { shown } = this, voxel = this.hovered || this.values.voxel;
    const mm = shown.toMm(voxel).map((value, axis) => ["LR", "PA", "IS"][axis][Number(value >= 0)] + Math.abs(value).toFixed(1));
    const values = Object.entries(this.readings(voxel)).map(([name, value]) => `${name} ${figure(value)}`);
    const labels = shown.maps.map((map) => {
      const id = shown.labelId(map, voxel);
      return `${map}: ${id ? `${id} ${shown.tissues[id]}` : "background"}`;
    });
    const place = `${mm.join(" ")} mm, voxel [${shown.toFileIndex(voxel).join(", ")}]`;
    this.readout.replaceChildren(...[[place], values, labels].map((texts) =>
      element("span", {}, ...texts.flatMap((text) => [element("b", {}, text), " "]))));
  }

  /* The slices with most of what is wrong, or of tumour where there is nothing to compare. */
  jump() {
    const { shown, values } = this;
    const found = shown.fullestSlices(shown.overlay(this.shows.at(-1), values.regions));
    if (found) this.set({ voxel: found });
    return found;
  }

  /* Along the axis of a plane, or across it: towards the patient's right, front and head where steps are positive. */
  move(axis, steps) {
    const voxel = [...this.values.voxel];
    voxel[axis] += steps;
    this.set({ voxel });
  }

  flip() {
    const { shows } = this;
    if (shows.length) this.set({ blink: false, show: shows[(shows.indexOf(this.values.show) + 1) % shows.length] });
  }

  resetWindow() {
    const { modality } = this.values;
    this.set({ windows: { [modality]: { ...this.initialWindows[modality] } } });
  }

  /* The modality whose window a panel's mouse changes. */
  setWindow(modality, window, level) {
    const [low, high] = this.shown.modality(modality).scale, span = high - low;
    this.set({ windows: { [modality]: {
      window: Math.min(Math.max(window, span / 100), 2 * span), level: Math.min(Math.max(level, low), high),
    } } });
  }

  asCode() {
    const { voxel, plane, modality, layout, show, style, opacity, crosshair, blink, regions, windows } = this.values;
    const round = (value) => Number(value.toFixed(2));
    /* Intensities may be fractions of 1 or tens of thousands. */
    const significant = (value) => Number(value.toPrecision(FIGURES));
    const changed = Object.entries(windows).filter(([name, { window, level }]) =>
      window !== this.initialWindows[name].window || level !== this.initialWindows[name].level);
    const view = {
      mm: this.shown.toMm(voxel).map(round), plane, modality, layout, show, style, opacity: round(opacity), crosshair,
      blink, regions,
      windows: Object.fromEntries(changed.map(([name, { window, level }]) =>
        [name, { window: significant(window), level: significant(level) }])),
    };
    return `view=${python(view)}`;
  }
}

async function start() {
  const packed = JSON.parse(document.getElementById("case").textContent);
  window.viewer = new Viewer(await Case.unpack(packed), packed.view);
}

window.viewer = { ready: false };
start().catch((error) => {
  document.getElementById("viewer").textContent = `This browser cannot show the case: ${error.message}`;
  throw error;
});

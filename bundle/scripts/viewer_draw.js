/* One panel: a slice in grey, the overlay as tints or outlines, the crosshair, and letters at the edges. */

const LINE_PIXELS_APART = 2;
const LETTER_COLOUR = "#d0d0d0", CROSSHAIR_COLOUR = "rgba(255,255,255,.75)", RIM_COLOUR = "rgba(0,0,0,.65)";

/* Grey of each byte under a window, as pixels of little-endian RGBA. */
function greys({ scale: [low, high] }, { window, level }) {
  const table = new Uint32Array(256).fill(0xff000000);
  for (let step = 1; step < 256; step++) {
    const intensity = low + ((step - 1) / STEPS) * (high - low);
    const share = (intensity - (level - window / 2)) / window;
    const grey = Math.round(255 * Math.min(Math.max(share, 0), 1));
    table[step] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

function pixel(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

class Panel {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.image = document.createElement("canvas");
    this.tint = document.createElement("canvas");
  }

  /* Give the panel a plane, a modality and pixels for each millimetre. */
  place(plane, modality, scale) {
    const ratio = window.devicePixelRatio || 1;
    this.plane = plane;
    this.modality = modality;
    this.canvas.style.width = `${Math.round(plane.widthMm * scale)}px`;
    this.canvas.style.height = `${Math.round(plane.heightMm * scale)}px`;
    const [width, height] = [plane.widthMm, plane.heightMm].map((mm) => Math.max(Math.round(mm * scale * ratio), 1));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    for (const sheet of [this.image, this.tint]) {
      if (sheet.width !== plane.columns || sheet.height !== plane.rows) {
        Object.assign(sheet, { width: plane.columns, height: plane.rows });
      }
    }
  }

  /* Voxel under a point of the window, on the slice that is shown. */
  voxelAt(clientX, clientY, voxel) {
    const box = this.canvas.getBoundingClientRect(), { columns, rows, across, down } = this.plane;
    const column = Math.floor(((clientX - box.left) / box.width) * columns);
    const row = Math.floor(((clientY - box.top) / box.height) * rows);
    const found = [...voxel];
    found[across] = columns - 1 - Math.min(Math.max(column, 0), columns - 1);
    found[down] = rows - 1 - Math.min(Math.max(row, 0), rows - 1);
    return found;
  }

  draw(shown, state, layers) {
    const { context, canvas, plane } = this;
    const codes = this.cut(shown, state, layers);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, 0, 0, canvas.width, canvas.height);
    if (state.style === "fill") {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = state.opacity;
      context.drawImage(this.tint, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
    } else {
      layers.forEach((layer, index) => this.outline(codes, layer, layers.slice(0, index), state.opacity));
    }
    if (state.crosshair) this.cross(state.voxel);
    this.letters(plane.edges);
  }

  /* Fill the image and tint sheets from the volumes; return the codes of the slice. */
  cut(shown, { voxel, windows }, layers) {
    const { columns, rows, axis, across, down } = this.plane;
    const table = greys(this.modality, windows[this.modality.name]);
    const tints = Uint32Array.from({ length: 256 }, (_, code) => {
      const last = layers.findLast(({ members }) => members[code]);
      return last ? pixel(last.colour) : 0;
    });
    const image = new Uint32Array(columns * rows), tint = new Uint32Array(columns * rows);
    const codes = new Uint8Array(columns * rows);
    const [stepAcross, stepDown] = [shown.strides[across], shown.strides[down]];
    const base = voxel[axis] * shown.strides[axis];
    for (let row = 0, to = 0; row < rows; row++) {
      let from = base + (rows - 1 - row) * stepDown + (columns - 1) * stepAcross;
      for (let column = 0; column < columns; column++, to++, from -= stepAcross) {
        image[to] = table[this.modality.volume[from]];
        codes[to] = shown.codes[from];
        tint[to] = tints[codes[to]];
      }
    }
    for (const [sheet, pixels] of [[this.image, image], [this.tint, tint]]) {
      const data = new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows);
      sheet.getContext("2d").putImageData(data, 0, 0);
    }
    return codes;
  }

  /* Lines along the voxel borders between what belongs to a layer and what does not. Where an outer layer ends at the
     same border, the line moves inwards, so that both are seen. */
  outline(codes, { colour, members }, outer, opacity) {
    const { context, canvas, plane: { columns, rows } } = this, ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    const code = (row, column) =>
      (row >= 0 && column >= 0 && row < rows && column < columns ? codes[row * columns + column] : 0);
    const shift = (here, there) => {
      const inwards = members[here] ? 1 : -1;
      const same = outer.filter((layer) => layer.members[here] !== layer.members[there]).length;
      return inwards * same * LINE_PIXELS_APART * ratio;
    };
    context.beginPath();
    for (let row = 0; row <= rows; row++) {
      for (let column = 0; column <= columns; column++) {
        const here = code(row, column), left = code(row, column - 1), above = code(row - 1, column);
        if (members[here] !== members[left]) {
          const x = column * width + shift(here, left);
          context.moveTo(x, row * height);
          context.lineTo(x, (row + 1) * height);
        }
        if (members[here] !== members[above]) {
          const y = row * height + shift(here, above);
          context.moveTo(column * width, y);
          context.lineTo((column + 1) * width, y);
        }
      }
    }
    context.lineCap = "round";
    context.globalAlpha = opacity;
    /* A dark rim keeps a light line visible on bright tissue. */
    for (const [stroke, thick] of [[RIM_COLOUR, 2.5], [colour, 1.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = thick * ratio;
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  cross(voxel) {
    const { context, canvas, plane } = this, gap = 8 * (window.devicePixelRatio || 1);
    const x = ((plane.columns - voxel[plane.across] - 0.5) / plane.columns) * canvas.width;
    const y = ((plane.rows - voxel[plane.down] - 0.5) / plane.rows) * canvas.height;
    context.strokeStyle = CROSSHAIR_COLOUR;
    context.lineWidth = window.devicePixelRatio || 1;
    context.beginPath();
    for (const [x1, y1, x2, y2] of [[0, y, x - gap, y], [x + gap, y, canvas.width, y], [x, 0, x, y - gap],
      [x, y + gap, x, canvas.height]]) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
  }

  /* Letters in the order left, right, top, bottom. */
  letters(edges) {
    const { context, canvas: { width, height } } = this, size = 13 * (window.devicePixelRatio || 1);
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = size / 4;
    context.strokeStyle = "#000";
    context.fillStyle = LETTER_COLOUR;
    const places = [[size * 0.7, height / 2], [width - size * 0.7, height / 2], [width / 2, size * 0.8],
      [width / 2, height - size * 0.8]];
    places.forEach(([x, y], index) => {
      context.strokeText(edges[index], x, y);
      context.fillText(edges[index], x, y);
    });
  }
}

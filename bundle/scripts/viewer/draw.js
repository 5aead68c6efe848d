/* One panel: a slice in grey, the overlay as tints or outlines, the crosshair, and letters at the edges. */

const LINE_PIXELS_APART = 2, LINE_WIDTH = 1.5, RIM_WIDTH = 3;
const LETTER_COLOUR = "#d0d0d0", CROSSHAIR_COLOUR = "rgba(255,255,255,.75)", RIM_COLOUR = "rgba(0,0,0,.6)";

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
    context.drawImage(this.image, 0, 0, canvas.width, canvas.height);
    if (state.style === "fill") {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = state.opacity;
      context.drawImage(this.tint, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
    } else {
      this.stroke(layers.map((layer, index) =>
        ({ colour: layer.colour, path: this.outline(codes, layer, layers.slice(0, index)) })), state.opacity);
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
  outline(codes, { members }, outer) {
    const { canvas, plane: { columns, rows } } = this, ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    const shift = (here, there) => {
      const inwards = members[here] ? 1 : -1;
      const same = outer.filter((layer) => layer.members[here] !== layer.members[there]).length;
      return inwards * same * LINE_PIXELS_APART * ratio;
    };
    const path = new Path2D();
    /* Code 0 is outside of everything: so is what lies beyond the edges. */
    for (let row = 0, at = 0; row <= rows; row++) {
      let left = 0;
      for (let column = 0; column <= columns; column++) {
        const inside = row < rows && column < columns;
        const here = inside ? codes[at] : 0;
        const above = row > 0 && column < columns ? codes[(row - 1) * columns + column] : 0;
        if (members[here] !== members[left]) {
          const x = column * width + shift(here, left);
          path.moveTo(x, row * height);
          path.lineTo(x, (row + 1) * height);
        }
        if (members[here] !== members[above]) {
          const y = row * height + shift(here, above);
          path.moveTo(column * width, y);
          path.lineTo((column + 1) * width, y);
        }
        left = here;
        if (inside) at++;
      }
    }
    return path;
  }

  /* Dark rims keep light lines visible on bright tissue; they come first, so that none covers a neighbour's line. */
  stroke(lines, opacity) {
    const { context } = this, ratio = window.devicePixelRatio || 1;
    context.lineCap = "round";
    /* Lines need less transparency than areas to be seen. */
    context.globalAlpha = Math.min(1.6 * opacity, 1);
    for (const [thick, stroke] of [[RIM_WIDTH, RIM_COLOUR], [LINE_WIDTH, null]]) {
      context.lineWidth = thick * ratio;
      for (const { colour, path } of lines) {
        context.strokeStyle = stroke || colour;
        context.stroke(path);
      }
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

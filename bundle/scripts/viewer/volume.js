/* A case in memory: unpacked from the page, its geometry, and what lies at a voxel.
   Volumes are byte arrays with the first axis (towards the patient's right) fastest. */
"use strict";

const LARGEST_ID = 7, PREDICTION_SHIFT = 3, INSIDE = 64, STEPS = 254;

function decodeBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* Tiles of a JPEG back to a volume; what is not brain is 0 again, which JPEG does not keep. */
async function unpackMosaic(jpeg, size, tiles, codes) {
  const blob = new Blob([decodeBase64(jpeg)], { type: "image/jpeg" });
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  picture.close();
  const [nx, ny, nz] = size;
  const volume = new Uint8Array(nx * ny * nz);
  let to = 0;
  for (let k = 0; k < nz; k++) {
    const left = (k % tiles.across) * tiles.width, top = Math.floor(k / tiles.across) * tiles.height;
    for (let j = 0; j < ny; j++) {
      let from = 4 * ((top + j) * canvas.width + left);
      for (let i = 0; i < nx; i++, to++, from += 4) {
        volume[to] = codes[to] & INSIDE ? Math.max(pixels[from], 1) : 0;
      }
    }
  }
  return volume;
}

class Case {
  static async unpack(packed) {
    const codes = await inflate(decodeBase64(packed.codes));
    const volumes = await Promise.all(
      packed.modalities.map((one) => unpackMosaic(one.jpeg, packed.size, packed.tiles, codes)));
    return new Case(packed, codes, volumes);
  }

  constructor(packed, codes, volumes) {
    this.title = packed.title;
    this.size = packed.size;
    this.spacing = packed.spacing;
    this.strides = [1, packed.size[0], packed.size[0] * packed.size[1]];
    this.affine = packed.affine;
    this.toFile = packed.toFile;
    this.codes = codes;
    this.maps = packed.maps;
    this.layers = packed.layers;
    this.tissues = packed.tissues;
    this.errorColours = packed.errorColours;
    this.volumesMl = packed.volumes_ml;
    this.dice = packed.dice;
    this.start = packed.start;
    this.modalities = packed.modalities.map(({ name, scale, window }, index) =>
      ({ name, scale, window, volume: volumes[index] }));
    /* Columns run along the first of the other two axes and rows along the second, both backwards: the radiological
       way, with the patient's right on the left. */
    this.planes = packed.planes.map(({ name, axis, edges }) => {
      const [across, down] = [0, 1, 2].filter((other) => other !== axis);
      return {
        name, axis, edges, across, down, columns: this.size[across], rows: this.size[down],
        widthMm: this.size[across] * this.spacing[across], heightMm: this.size[down] * this.spacing[down],
      };
    });
  }

  plane(name) { return this.planes.find((plane) => plane.name === name); }
  modality(name) { return this.modalities.find((modality) => modality.name === name); }
  offset(voxel) { return voxel[0] + voxel[1] * this.strides[1] + voxel[2] * this.strides[2]; }

  /* Point in millimetres, towards the patient's right, front and head. */
  toMm(voxel) { return multiply(this.affine, voxel); }
  toFileIndex(voxel) { return multiply(this.toFile, voxel).map(Math.round); }
  fromMm(mm) {
    const scaled = mm.map((value, row) => value - this.affine[row][3]);
    return this.clamp(solve(this.affine.map((row) => row.slice(0, 3)), scaled).map(Math.round));
  }
  clamp(voxel) { return voxel.map((index, axis) => Math.min(Math.max(index, 0), this.size[axis] - 1)); }

  intensity(modality, voxel) {
    const step = modality.volume[this.offset(voxel)], [low, high] = modality.scale;
    return step === 0 ? null : low + ((step - 1) / STEPS) * (high - low);
  }
  labelId(map, voxel) {
    const code = this.codes[this.offset(voxel)];
    return (map === "truth" ? code : code >> PREDICTION_SHIFT) & LARGEST_ID;
  }

  /* What is drawn over the image, outermost first: a colour and, for each code, whether it belongs. */
  overlay(show, regions) {
    const layers = this.layers.filter((layer) => regions[layer.key]);
    const innermost = (id) => layers.findLastIndex((layer) => layer.ids.includes(id));
    const members = (test) => Uint8Array.from({ length: 256 }, (_, code) =>
      Number(test(code & LARGEST_ID, (code >> PREDICTION_SHIFT) & LARGEST_ID)));
    if (show !== "errors") {
      return layers.map(({ colour, ids }) =>
        ({ colour, members: members((truth, prediction) => ids.includes(show === "truth" ? truth : prediction)) }));
    }
    const { missed, false: invented, wrong } = this.errorColours;
    const error = (kind) => members((truth, prediction) => {
      const [t, p] = [innermost(truth), innermost(prediction)];
      return t !== p && kind === (p < 0 ? "missed" : t < 0 ? "false" : "wrong");
    });
    return [
      { colour: missed, members: error("missed") },
      { colour: invented, members: error("false") },
      { colour: wrong, members: error("wrong") },
    ];
  }

  /* For each axis the index whose slice holds most voxels of the overlay; null where there are none. */
  fullestSlices(layers) {
    const counts = this.size.map((length) => new Uint32Array(length));
    const wanted = Uint8Array.from({ length: 256 }, (_, code) => Number(layers.some(({ members }) => members[code])));
    const [nx, ny, nz] = this.size;
    for (let k = 0, at = 0; k < nz; k++) {
      for (let j = 0; j < ny; j++) {
        for (let i = 0; i < nx; i++, at++) {
          if (wanted[this.codes[at]]) { counts[0][i]++; counts[1][j]++; counts[2][k]++; }
        }
      }
    }
    return counts[0].some((count) => count) ? counts.map((list) => list.indexOf(Math.max(...list))) : null;
  }
}

function multiply(matrix, [x, y, z]) {
  return matrix.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
}

/* Cramer's rule for three unknowns. */
function solve(m, right) {
  const determinant = ([a, b, c]) => a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
    + a[2] * (b[0] * c[1] - b[1] * c[0]);
  const whole = determinant(m);
  return [0, 1, 2].map((column) =>
    determinant(m.map((row, r) => row.map((value, c) => (c === column ? right[r] : value)))) / whole);
}

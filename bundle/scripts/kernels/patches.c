/* One patch out of a stored volume in one pass: crop, flips, rotation, scaling and intensity, without a temporary.

   A volume is int16 fixed point with the channels of a voxel side by side, [H][W][D][C]; its label map is uint8
   [H][W][D]. A patch is float32 of the same order, which PyTorch calls channels_last_3d. What lies outside of the
   volume counts as 0, the blank around the brain. Every voxel v of channel c is written as v * gain[c] + offset[c].

   scripts/gather.py holds the same in PyTorch and is the reference; tests hold the two together. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* A body with a constant number of channels is unrolled and vectorised; four is BraTS, one is CT. */
#define FOR_CHANNELS(channels, body)    \
    switch (channels) {                 \
        case 4: body(4); break;         \
        case 1: body(1); break;         \
        default: body(channels); break; \
    }

INLINE void blank(float *restrict out, int64_t voxels, const float *offset, int channels) {
    for (int64_t k = 0; k < voxels; ++k)
        for (int c = 0; c < channels; ++c) out[k * channels + c] = offset[c];
}

INLINE void copy_row(const int16_t *restrict in, int64_t step, int64_t voxels, const float *gain, const float *offset,
                     float *restrict out, int channels) {
    for (int64_t k = 0; k < voxels; ++k)
        for (int c = 0; c < channels; ++c) out[k * channels + c] = in[k * step + c] * gain[c] + offset[c];
}

/* Axis-aligned patch. start: volume index of the patch's lowest corner, may be negative; flip: mirror that axis. */
void crop_patch(const int16_t *image, const uint8_t *label, const int64_t shape[3], int channels,
                const int64_t start[3], const int32_t flip[3], const float *gain, const float *offset,
                const int64_t size[3], float *out, uint8_t *out_label) {
    /* [first, last): the part of a patch row, in patch order, that lies inside the volume. */
    const int64_t before = start[2] < 0 ? -start[2] : 0;
    const int64_t over = start[2] + size[2] - shape[2];
    const int64_t after = over > 0 ? over : 0;
    int64_t first = flip[2] ? after : before;
    int64_t last = size[2] - (flip[2] ? before : after);
    if (last < first) first = last = size[2];
    for (int64_t i = 0; i < size[0]; ++i) {
        const int64_t h = start[0] + (flip[0] ? size[0] - 1 - i : i);
        for (int64_t j = 0; j < size[1]; ++j) {
            const int64_t w = start[1] + (flip[1] ? size[1] - 1 - j : j);
            const int64_t row = (i * size[1] + j) * size[2];
            const int inside = h >= 0 && h < shape[0] && w >= 0 && w < shape[1];
            const int64_t begin = inside ? first : size[2], end = inside ? last : size[2];
            const int64_t d = start[2] + (flip[2] ? size[2] - 1 - begin : begin);
            const int64_t at = inside && begin < end ? (h * shape[1] + w) * shape[2] + d : 0;
#define ROW(n)                                                                                                 \
    blank(out + row * (n), begin, offset, n);                                                                  \
    if (flip[2])                                                                                               \
        copy_row(image + at * (n), -(n), end - begin, gain, offset, out + (row + begin) * (n), n);             \
    else                                                                                                       \
        copy_row(image + at * (n), n, end - begin, gain, offset, out + (row + begin) * (n), n);                \
    blank(out + (row + end) * (n), size[2] - end, offset, n)
            FOR_CHANNELS(channels, ROW)
#undef ROW
            memset(out_label + row, 0, begin);
            if (flip[2])
                for (int64_t k = begin; k < end; ++k) out_label[row + k] = label[at - (k - begin)];
            else
                memcpy(out_label + row + begin, label + at, end - begin);
            memset(out_label + row + end, 0, size[2] - end);
        }
    }
}

/* Eight neighbours' worth of four channels fit into vectors; the two neighbours along z are one run in memory. */
typedef int16_t short8 __attribute__((vector_size(16), aligned(2)));
typedef int32_t int8 __attribute__((vector_size(32)));
typedef float float8 __attribute__((vector_size(32)));
typedef float float4 __attribute__((vector_size(16), aligned(4)));

INLINE float8 two_voxels(const int16_t *p) {
    return __builtin_convertvector(__builtin_convertvector(*(const short8 *)p, int8), float8);
}

/* Trilinear value of all channels at (x, y, z), whose eight neighbours must all exist. */
INLINE void inner_voxel(const int16_t *restrict image, const int64_t shape[3], float x, float y, float z,
                        const float *gain, const float *offset, float *restrict out, int channels) {
    const int32_t ix = (int32_t)x, iy = (int32_t)y, iz = (int32_t)z;
    const float fx = x - ix, fy = y - iy, fz = z - iz;
    const int64_t next_y = shape[2] * channels, next_x = shape[1] * next_y;
    const int16_t *p00 = image + ix * next_x + iy * next_y + iz * channels, *p01 = p00 + next_y;
    const int16_t *p10 = p00 + next_x, *p11 = p10 + next_y;
    if (channels == 4) {
        float8 v0 = two_voxels(p00), v1 = two_voxels(p10);
        v0 += fy * (two_voxels(p01) - v0);
        v1 += fy * (two_voxels(p11) - v1);
        v0 += fx * (v1 - v0);
        float4 value = {v0[0], v0[1], v0[2], v0[3]};
        const float4 next = {v0[4], v0[5], v0[6], v0[7]};
        value += fz * (next - value);
        *(float4 *)out = value * *(const float4 *)gain + *(const float4 *)offset;
        return;
    }
    for (int c = 0; c < channels; ++c) {
        const float v00 = p00[c] + fz * (p00[channels + c] - p00[c]);
        const float v01 = p01[c] + fz * (p01[channels + c] - p01[c]);
        const float v10 = p10[c] + fz * (p10[channels + c] - p10[c]);
        const float v11 = p11[c] + fz * (p11[channels + c] - p11[c]);
        const float v0 = v00 + fy * (v01 - v00), v1 = v10 + fy * (v11 - v10);
        out[c] = (v0 + fx * (v1 - v0)) * gain[c] + offset[c];
    }
}

/* The same at the volume's border: neighbours outside of it count as 0. */
INLINE void border_voxel(const int16_t *restrict image, const int64_t shape[3], float x, float y, float z,
                         const float *gain, const float *offset, float *restrict out, int channels) {
    const int64_t low[3] = {(int64_t)floorf(x), (int64_t)floorf(y), (int64_t)floorf(z)};
    const float part[3] = {x - low[0], y - low[1], z - low[2]};
    for (int c = 0; c < channels; ++c) out[c] = 0;
    for (int corner = 0; corner < 8; ++corner) {
        float weight = 1;
        int64_t at = 0;
        for (int axis = 0; axis < 3; ++axis) {
            const int up = (corner >> axis) & 1;
            const int64_t index = low[axis] + up;
            weight *= index < 0 || index >= shape[axis] ? 0 : up ? part[axis] : 1 - part[axis];
            at = at * shape[axis] + index;
        }
        if (weight == 0) continue;
        for (int c = 0; c < channels; ++c) out[c] += weight * image[at * channels + c];
    }
    for (int c = 0; c < channels; ++c) out[c] = out[c] * gain[c] + offset[c];
}

/* Narrow [*first, *last) to the k with low <= origin + k * step <= high. */
static void clip(float origin, float step, float low, float high, int64_t *first, int64_t *last) {
    /* An axis of one voxel has no inside: low is above high there. */
    if (low > high || (fabsf(step) < 1e-6f && (origin < low || origin > high))) {
        *last = *first;
        return;
    }
    if (fabsf(step) < 1e-6f) return;
    const float a = (low - origin) / step, b = (high - origin) / step;
    const float begin = ceilf(fminf(a, b)), end = floorf(fmaxf(a, b)) + 1;
    if (begin > *first) *first = begin > *last ? *last : (int64_t)begin;
    if (end < *last) *last = end < *first ? *first : (int64_t)end;
}

/* Patch whose voxel (i, j, k) lies at origin + matrix (i, j, k) in the volume: any rotation, scaling and flip. */
void affine_patch(const int16_t *image, const uint8_t *label, const int64_t shape[3], int channels,
                  const float origin[3], const float matrix[9], const float *gain, const float *offset,
                  const int64_t size[3], float *out, uint8_t *out_label) {
    const float sx = matrix[2], sy = matrix[5], sz = matrix[8];
    for (int64_t i = 0; i < size[0]; ++i)
        for (int64_t j = 0; j < size[1]; ++j) {
            const float x0 = origin[0] + matrix[0] * i + matrix[1] * j;
            const float y0 = origin[1] + matrix[3] * i + matrix[4] * j;
            const float z0 = origin[2] + matrix[6] * i + matrix[7] * j;
            const float begin[3] = {x0, y0, z0}, step[3] = {sx, sy, sz};
            /* [near, far): where the volume is touched at all; [first, last) inside of it: no border checks needed.
               The slack of 1e-3 voxel absorbs the rounding of origin + k * step. */
            int64_t near = 0, far = size[2], first, last;
            for (int axis = 0; axis < 3; ++axis) clip(begin[axis], step[axis], -1, shape[axis], &near, &far);
            first = near;
            last = far;
            for (int axis = 0; axis < 3; ++axis)
                clip(begin[axis], step[axis], 1e-3f, shape[axis] - 1 - 1e-3f, &first, &last);
            const int64_t row = (i * size[1] + j) * size[2];
#define ROW(n)                                                                                                     \
    blank(out + row * (n), near, offset, n);                                                                       \
    for (int64_t k = near; k < first; ++k)                                                                         \
        border_voxel(image, shape, x0 + sx * k, y0 + sy * k, z0 + sz * k, gain, offset, out + (row + k) * (n), n); \
    for (int64_t k = first; k < last; ++k)                                                                         \
        inner_voxel(image, shape, x0 + sx * k, y0 + sy * k, z0 + sz * k, gain, offset, out + (row + k) * (n), n);  \
    for (int64_t k = last; k < far; ++k)                                                                           \
        border_voxel(image, shape, x0 + sx * k, y0 + sy * k, z0 + sz * k, gain, offset, out + (row + k) * (n), n); \
    blank(out + (row + far) * (n), size[2] - far, offset, n)
            FOR_CHANNELS(channels, ROW)
#undef ROW
            memset(out_label + row, 0, size[2]);
            for (int64_t k = near; k < far; ++k) {
                const int64_t h = lrintf(x0 + sx * k), w = lrintf(y0 + sy * k), d = lrintf(z0 + sz * k);
                if (h >= 0 && h < shape[0] && w >= 0 && w < shape[1] && d >= 0 && d < shape[2])
                    out_label[row + k] = label[(h * shape[1] + w) * shape[2] + d];
            }
        }
}

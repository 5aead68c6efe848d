/* Changes of a patch's intensities in place: noise, blur, low resolution, and what is done to each value by itself.

   A patch is float32, [H][W][D][C]. A block of values, a few voxels of all channels, is one run in memory, so the loops
   over it are vectorised whatever the number of channels; what belongs to a channel is repeated along the block.

   scripts/intensity_torch.py holds the same in PyTorch and is the reference; tests hold the two together. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* scripts/intensity_compiled.py hands on no patch of more channels. */
#define MOST_CHANNELS 16
#define BLOCK_VOXELS 64
#define MOST_VALUES (MOST_CHANNELS * BLOCK_VOXELS)

INLINE float from_bits(int32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE int32_t to_bits(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* log2 of a positive normal number to 2e-7: m in [sqrt(1/2), sqrt(2)), then the polynomial of Cephes' logf (Moshier),
   even and odd powers by themselves, so that fewer steps wait for one another. */
INLINE float log2_of(float x) {
    const int32_t bits = to_bits(x), exponent = (bits - 0x3f3504f3) >> 23;
    const float m = from_bits(bits - (int32_t)((uint32_t)exponent << 23)) - 1, q = m * m;
    const float even = 3.3333331174e-1f
        + q * (2.0000714765e-1f + q * (1.4249322787e-1f + q * (1.1676998740e-1f + q * 7.0376836292e-2f)));
    const float odd = 2.4999993993e-1f + q * (1.6668057665e-1f + q * (1.2420140846e-1f + q * 1.1514610310e-1f));
    return (float)exponent + 1.442695041f * (m - 0.5f * q + m * q * (even - m * odd)); /* 1 / ln 2 */
}

/* 2^x to 2e-7 for x of at most 127: the nearest whole power, then the polynomial of Cephes' exp2f, likewise. */
INLINE float exp2_of(float x) {
    const float held = x < -126 ? -126 : x, whole = floorf(held + 0.5f), rest = held - whole, q = rest * rest;
    const float even = 6.931472028550421e-1f + q * (5.550332471162809e-2f + q * 1.339887440266574e-3f);
    const float odd = 2.402264791363012e-1f + q * (9.618437357674640e-3f + q * 1.535336188319500e-4f);
    return from_bits(((int32_t)whole + 127) << 23) * (1 + rest * (even + rest * odd));
}

static void repeat(const float *values, int channels, float *out) {
    for (int k = 0; k < BLOCK_VOXELS * channels; ++k) out[k] = values[k % channels];
}

/* Sums of the values at each place of a block and of their squares. In double precision throughout: a patch may hold
   two million blank voxels of one value and a few others, and what single precision rounds off that value's square,
   each time the same, is then more than the variance. */
struct moments {
    double sum[MOST_VALUES], squares[MOST_VALUES];
};

INLINE void add_values(struct moments *restrict moments, const float *restrict values, int count) {
    for (int k = 0; k < count; ++k) {
        const double x = values[k];
        moments->sum[k] += x;
        moments->squares[k] += x * x;
    }
}

/* The deviation is that of a sample, n - 1. */
static void finish(const struct moments *moments, int64_t voxels, int channels, float *mean, float *deviation) {
    for (int c = 0; c < channels; ++c) {
        double sum = 0, squares = 0;
        for (int k = c; k < BLOCK_VOXELS * channels; k += channels) {
            sum += moments->sum[k];
            squares += moments->squares[k];
        }
        const double spread = squares - sum * sum / voxels;
        mean[c] = (float)(sum / voxels);
        deviation[c] = spread > 0 && voxels > 1 ? (float)sqrt(spread / (voxels - 1)) : 0;
    }
}

/* Mean, standard deviation, lowest and highest value of each channel. */
void channel_statistics(const float *patch, int64_t voxels, int channels, float *mean, float *deviation, float *low,
                        float *high) {
    const int block = BLOCK_VOXELS * channels;
    const int64_t count = voxels * channels;
    float lowest[MOST_VALUES], highest[MOST_VALUES];
    struct moments moments = {{0}, {0}};
    repeat(patch, channels, lowest);
    repeat(patch, channels, highest);
    for (int64_t at = 0; at < count; at += block) {
        const int n = count - at < block ? (int)(count - at) : block;
        for (int k = 0; k < n; ++k) {
            const float x = patch[at + k];
            lowest[k] = x < lowest[k] ? x : lowest[k];
            highest[k] = x > highest[k] ? x : highest[k];
        }
        add_values(&moments, patch + at, n);
    }
    finish(&moments, voxels, channels, mean, deviation);
    for (int c = 0; c < channels; ++c) {
        low[c] = lowest[c];
        high[c] = highest[c];
        for (int k = c; k < block; k += channels) {
            low[c] = lowest[k] < low[c] ? lowest[k] : low[c];
            high[c] = highest[k] > high[c] ? highest[k] : high[c];
        }
    }
}

/* Every value v of channel c becomes v * gain[c] + offset[c], held between low[c] and high[c]. */
void scale_channels(float *patch, int64_t voxels, int channels, const float *gain, const float *offset,
                    const float *low, const float *high) {
    const int block = BLOCK_VOXELS * channels;
    const int64_t count = voxels * channels;
    float a[MOST_VALUES], b[MOST_VALUES], least[MOST_VALUES], most[MOST_VALUES];
    repeat(gain, channels, a);
    repeat(offset, channels, b);
    repeat(low, channels, least);
    repeat(high, channels, most);
    for (int64_t at = 0; at < count; at += block) {
        const int n = count - at < block ? (int)(count - at) : block;
        for (int k = 0; k < n; ++k) {
            const float x = patch[at + k] * a[k] + b[k], held = x < least[k] ? least[k] : x;
            patch[at + k] = held > most[k] ? most[k] : held;
        }
    }
}

/* Every value v of channel c becomes (v * gain[c] + offset[c]) ^ gamma[c], the base held between 0 and 1; mean and
   deviation are those of the new values. */
void raise_channels(float *patch, int64_t voxels, int channels, const float *gain, const float *offset,
                    const float *gamma, float *mean, float *deviation) {
    const int block = BLOCK_VOXELS * channels;
    const int64_t count = voxels * channels;
    float a[MOST_VALUES], b[MOST_VALUES], power[MOST_VALUES];
    struct moments moments = {{0}, {0}};
    repeat(gain, channels, a);
    repeat(offset, channels, b);
    repeat(gamma, channels, power);
    for (int64_t at = 0; at < count; at += block) {
        const int n = count - at < block ? (int)(count - at) : block;
        for (int k = 0; k < n; ++k) {
            const float x = patch[at + k] * a[k] + b[k], base = x < 1e-30f ? 1e-30f : x > 1 ? 1 : x;
            patch[at + k] = exp2_of(power[k] * log2_of(base));
        }
        add_values(&moments, patch + at, n);
    }
    finish(&moments, voxels, channels, mean, deviation);
}

/* The k-th output of the generator that starts from seed; Steele, Lea & Flood 2014, SplitMix64 with its default gamma. */
INLINE uint64_t splitmix64(uint64_t seed, uint64_t k) {
    uint64_t z = seed + (k + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Add normal noise. Values 2k and 2k + 1 get the pair that Box and Muller make of the k-th output of splitmix64: its
   upper 23 bits are the radius, its lower 24 the angle. */
#define PAIRS 64
void add_noise(float *patch, int64_t count, uint64_t seed, float deviation) {
    const int64_t pairs = (count + 1) / 2;
    for (int64_t begin = 0; begin < pairs; begin += PAIRS) {
        const int n = pairs - begin < PAIRS ? (int)(pairs - begin) : PAIRS;
        int32_t upper[PAIRS], lower[PAIRS];
        float noise[2 * PAIRS];
        for (int k = 0; k < PAIRS; ++k) {
            const uint64_t z = splitmix64(seed, (uint64_t)(begin + k));
            upper[k] = (int32_t)(z >> 41);
            lower[k] = (int32_t)(z & 0xffffff);
        }
        for (int k = 0; k < PAIRS; ++k) {
            const float share = ((float)upper[k] + 0.5f) * 0x1p-23f, turn = (float)lower[k] * 0x1p-24f;
            const float radius = deviation * sqrtf(-1.386294361f * log2_of(share)); /* 2 ln 2 */
            /* The angle as quarter turns and a rest of at most an eighth turn. */
            const int32_t quarters = (int32_t)(turn * 4 + 0.5f);
            const float x = 6.283185307f * (turn - (float)quarters * 0.25f), q = x * x;
            const float s =
                x * (1 - q * (1 / 6.0f - q * (1 / 120.0f - q * (1 / 5040.0f - q * (1 / 362880.0f)))));
            const float c = 1 - q * (1 / 2.0f - q * (1 / 24.0f - q * (1 / 720.0f - q * (1 / 40320.0f))));
            const float cosine = quarters & 1 ? -s : c, sine = quarters & 1 ? c : s;
            const float side = quarters & 2 ? -radius : radius;
            noise[2 * k] = side * cosine;
            noise[2 * k + 1] = side * sine;
        }
        const int64_t at = 2 * begin, values = count - at < 2 * n ? count - at : 2 * n;
        for (int64_t k = 0; k < values; ++k) patch[at + k] += noise[k];
    }
}

/* Index of what a mirror at the middle of the first and the last voxel shows: ... 2 1 | 0 1 2 ... */
INLINE int64_t mirrored(int64_t index, int64_t n) {
    if (n == 1) return 0;
    while (index < 0 || index >= n) index = index < 0 ? -index : 2 * (n - 1) - index;
    return index;
}

/* out[k] = weights[0][k] * rows[radius][k] + the sum over t of weights[t][k] * (rows[radius - t][k] + ...[+ t][k]). */
INLINE void weigh(const float *const *rows, const float *restrict weights, int radius, int64_t n, float *restrict out) {
    const float *middle = rows[radius];
    for (int64_t k = 0; k < n; ++k) {
        float value = weights[k] * middle[k];
        for (int t = 1; t <= radius; ++t) value += weights[t * n + k] * (rows[radius - t][k] + rows[radius + t][k]);
        out[k] = value;
    }
}

/* A constant radius is unrolled, and the loop around it vectorised. */
static void weigh_rows(const float *const *rows, const float *weights, int radius, int64_t n, float *out) {
    switch (radius) {
        case 1: weigh(rows, weights, 1, n, out); break;
        case 2: weigh(rows, weights, 2, n, out); break;
        case 3: weigh(rows, weights, 3, n, out); break;
        default: weigh(rows, weights, radius, n, out); break;
    }
}

/* Symmetric separable filter of every channel, mirrored at the border.

   weights: [3][radius + 1][channels], of each axis, from the middle outwards.
   scratch: floats, (2 radius + 2) planes of H, 3 (radius + 1) + 1 rows of D, and 2 radius voxels. */
#define MOST_RADIUS 16
void blur_channels(float *patch, const int64_t size[3], int channels, const float *weights, int radius,
                   float *scratch) {
    const int64_t row = size[2] * channels, plane = size[1] * row;
    const int planes = 2 * radius + 1;
    float *ring = scratch, *along_d = ring + planes * plane, *padded = along_d + plane;
    float *spread = padded + row + 2 * radius * channels;
    const float *rows[2 * MOST_RADIUS + 1];
    for (int64_t t = 0; t < 3 * (radius + 1); ++t)
        for (int64_t k = 0; k < row; ++k) spread[t * row + k] = weights[t * channels + k % channels];
    const float *of_axis[3] = {spread, spread + (radius + 1) * row, spread + 2 * (radius + 1) * row};
    for (int64_t i = 0; i < size[0] + radius; ++i) {
        if (i < size[0]) {
            for (int64_t j = 0; j < size[1]; ++j) {
                const float *in = patch + i * plane + j * row;
                memcpy(padded + radius * channels, in, row * sizeof(float));
                for (int t = 1; t <= radius; ++t) {
                    memcpy(padded + (radius - t) * channels, in + mirrored(-t, size[2]) * channels,
                           channels * sizeof(float));
                    memcpy(padded + (radius + size[2] - 1 + t) * channels,
                           in + mirrored(size[2] - 1 + t, size[2]) * channels, channels * sizeof(float));
                }
                for (int t = 0; t < planes; ++t) rows[t] = padded + t * channels;
                weigh_rows(rows, of_axis[2], radius, row, along_d + j * row);
            }
            for (int64_t j = 0; j < size[1]; ++j) {
                for (int t = 0; t < planes; ++t) rows[t] = along_d + mirrored(j + t - radius, size[1]) * row;
                weigh_rows(rows, of_axis[1], radius, row, ring + i % planes * plane + j * row);
            }
        }
        const int64_t done = i - radius;
        if (done < 0) continue;
        for (int64_t j = 0; j < size[1]; ++j) {
            for (int t = 0; t < planes; ++t)
                rows[t] = ring + mirrored(done + t - radius, size[0]) % planes * plane + j * row;
            weigh_rows(rows, of_axis[0], radius, row, patch + done * plane + j * row);
        }
    }
}

/* One channel is sampled by nearest neighbour on a coarser grid, then linearly back.

   down: the voxel that each coarse one shows, of the three axes one after the other.
   up, share: the coarse voxel below each voxel, and how far it lies towards the next, likewise.
   scratch: floats, the coarse volume, one plane and one row of it. */
void coarsen_channel(float *patch, const int64_t size[3], int channels, int channel, const int64_t coarse[3],
                     const int32_t *down, const int32_t *up, const float *share, float *scratch) {
    const int32_t *down_w = down + coarse[0], *down_d = down_w + coarse[1];
    const int32_t *up_w = up + size[0], *up_d = up_w + size[1];
    const float *share_w = share + size[0], *share_d = share_w + size[1];
    const int64_t plane = coarse[1] * coarse[2];
    float *volume = scratch, *between = volume + coarse[0] * plane, *line = between + plane;
    for (int64_t i = 0; i < coarse[0]; ++i)
        for (int64_t j = 0; j < coarse[1]; ++j) {
            const float *in = patch + (down[i] * size[1] + down_w[j]) * size[2] * channels + channel;
            for (int64_t k = 0; k < coarse[2]; ++k)
                volume[i * plane + j * coarse[2] + k] = in[(int64_t)down_d[k] * channels];
        }
    for (int64_t i = 0; i < size[0]; ++i) {
        const float *low = volume + up[i] * plane, *high = up[i] + 1 < coarse[0] ? low + plane : low;
        for (int64_t k = 0; k < plane; ++k) between[k] = low[k] + share[i] * (high[k] - low[k]);
        for (int64_t j = 0; j < size[1]; ++j) {
            const float *left = between + up_w[j] * coarse[2];
            const float *right = up_w[j] + 1 < coarse[1] ? left + coarse[2] : left;
            for (int64_t k = 0; k < coarse[2]; ++k) line[k] = left[k] + share_w[j] * (right[k] - left[k]);
            /* One more, so that the last voxel has a next one. */
            line[coarse[2]] = line[coarse[2] - 1];
            float *out = patch + (i * size[1] + j) * size[2] * channels + channel;
            for (int64_t k = 0; k < size[2]; ++k) {
                const float a = line[up_d[k]];
                out[k * channels] = a + share_d[k] * (line[up_d[k] + 1] - a);
            }
        }
    }
}

INLINE void find_blank_voxels(const float *restrict patch, int64_t voxels, int channels, const float *value,
                              uint8_t *restrict blank) {
    for (int64_t v = 0; v < voxels; ++v) {
        int same = 1;
        for (int c = 0; c < channels; ++c) same &= patch[v * channels + c] == value[c];
        blank[v] = (uint8_t)same;
    }
}

/* blank[voxel] = 1 where every channel has its value of blank_value, else 0. */
void find_blank(const float *patch, int64_t voxels, int channels, const float *blank_value, uint8_t *blank) {
    /* A constant number of channels is vectorised; four is BraTS. */
    if (channels == 4)
        find_blank_voxels(patch, voxels, 4, blank_value, blank);
    else
        find_blank_voxels(patch, voxels, channels, blank_value, blank);
}

/* Give those voxels blank_value again. */
void restore_blank(float *patch, int64_t voxels, int channels, const float *blank_value, const uint8_t *blank) {
    for (int64_t begin = 0; begin < voxels; begin += 8) {
        const int n = voxels - begin < 8 ? (int)(voxels - begin) : 8;
        uint64_t any = 0;
        memcpy(&any, blank + begin, n);
        if (!any) continue;
        for (int64_t v = begin; v < begin + n; ++v)
            if (blank[v]) memcpy(patch + v * channels, blank_value, channels * sizeof(float));
    }
}

// Attention of a few rows of one sequence over its pages and the noisy rows beside them, by online softmax
// (Milakov and Gimelshein 2018), 32 keys at a time. Scores and mixes are the products of product.h: keys and values are kept in
// the order in which it reads its weights.
#pragma once

#include <algorithm>

#include "product.h"

namespace palimpsest {

constexpr int64_t kKeys = 32;       // keys of one step: a page
constexpr int64_t kMostHead = 256;  // largest head
constexpr float kNothing = -1e30f;

// Queries of one key head, kTile at most, in the order they are packed: their state over the steps so far.
struct Mix {
    half query[kTile][kMostHead];  // scaled to units of log 2
    float sum[kTile][kMostHead];
    float peak[kTile], mass[kTile];
    int64_t count, limit[kTile];
};

// Where 32 keys and values of one head lie, in the order of weights: keys [D / 2][32][2], values [D / 32][16][2][16][2],
// that is pairs along D and pairs of neighbouring keys. A page has all its key heads, then all its value heads.
struct Keys {
    half *keys, *values;

    Keys(half* page, int64_t heads, int64_t head, int64_t size)
        : keys(page + head * size * kKeys), values(page + (heads + head) * size * kKeys) {}

    void put(int64_t t, const half* key, const half* value, int64_t size) const {
        for (int64_t d = 0; d < size; d += 2) std::memcpy(keys + (d / 2 * kKeys + t) * 2, key + d, 2 * sizeof *key);
        for (int64_t d = 0; d < size; ++d)
            values[d / kColumns * kColumns * kKeys + t / 2 * 2 * kColumns + d % kColumns * 2 + t % 2] = value[d];
    }
};

// Let `mix` see 32 keys of which the first is number `first` of its kind; query i sees those below `mix.limit[i]`.
inline void see(Mix& mix, const Keys& from, int64_t first, int64_t size) {
    alignas(64) half weights[kTile][kKeys];
    product<Bfloat16>(mix.count, mix.query[0], kMostHead, from.keys, size, kKeys, [&](int i, int64_t, __m512 a, __m512 b) {
        const int64_t seen = std::clamp<int64_t>(mix.limit[i] - first, 0, kKeys);
        const uint32_t mask = (uint32_t)((1ull << seen) - 1);
        const __mmask16 low = (__mmask16)mask, high = (__mmask16)(mask >> kLanes);
        const __m512 hidden = _mm512_set1_ps(kNothing);
        const __m512 higher = _mm512_max_ps(_mm512_mask_mov_ps(hidden, low, a), _mm512_mask_mov_ps(hidden, high, b));
        const float peak = std::max(_mm512_reduce_max_ps(higher), mix.peak[i]);
        const __m512 shift = _mm512_set1_ps(peak);
        a = _mm512_maskz_mov_ps(low, power_of_two(_mm512_sub_ps(a, shift)));
        b = _mm512_maskz_mov_ps(high, power_of_two(_mm512_sub_ps(b, shift)));
        narrow(weights[i], a);
        narrow(weights[i] + kLanes, b);
        const float shrink = _mm512_cvtss_f32(power_of_two(_mm512_set1_ps(mix.peak[i] - peak)));
        mix.mass[i] = mix.mass[i] * shrink + _mm512_reduce_add_ps(_mm512_add_ps(a, b));
        mix.peak[i] = peak;
        for (int64_t d = 0; d < size; d += kLanes)
            _mm512_storeu_ps(mix.sum[i] + d, _mm512_mul_ps(_mm512_loadu_ps(mix.sum[i] + d), _mm512_set1_ps(shrink)));
    });
    product<Bfloat16>(mix.count, weights[0], kKeys, from.values, kKeys, size, [&](int i, int64_t d, __m512 a, __m512 b) {
        float* to = mix.sum[i] + d;
        _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), a));
        _mm512_storeu_ps(to + kLanes, _mm512_add_ps(_mm512_loadu_ps(to + kLanes), b));
    });
}

}  // namespace palimpsest

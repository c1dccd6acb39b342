// Attention of a few rows of one sequence over its pages and the noisy rows beside them, by online softmax
// (Milakov and Gimelshein 2018), a span of pages at a time. Scores and mixes are the products of product.h: keys and values are
// kept in the order in which it reads its weights.
#pragma once

#include <algorithm>

#include "product.h"

namespace palimpsest {

constexpr int64_t kKeys = 32;       // keys of a page
constexpr int64_t kSpan = 16;       // pages of one step
constexpr int64_t kMostHead = 256;  // largest head
constexpr float kNothing = -1e30f;
constexpr int64_t kNowhere = -(1 << 20);  // where noisy rows are: below every limit

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

    Keys() = default;
    Keys(half* page, int64_t heads, int64_t head, int64_t size)
        : keys(page + head * size * kKeys), values(page + (heads + head) * size * kKeys) {}

    void put(int64_t t, const half* key, const half* value, int64_t size) const {
        put_key(t, key, size);
        for (int64_t d = 0; d < size; ++d)
            values[d / kColumns * kColumns * kKeys + t / 2 * 2 * kColumns + d % kColumns * 2 + t % 2] = value[d];
    }

    // Two neighbours, `stride` apart, of which the first has an even place: their values go by whole vectors.
    void put_two(int64_t t, const half* key, const half* value, int64_t stride, int64_t size) const {
        put_key(t, key, size);
        put_key(t + 1, key + stride, size);
        for (int64_t d = 0; d < size; d += kLanes) put_values(t, d, lanes(value + d), lanes(value + stride + d));
    }

    // All of the page at once: `count` keys and values, `stride` apart, then zeros: a hidden key has weight zero, but zero times
    // what an earlier, broken pass left there may not be zero.
    void fill(int64_t count, const half* key, const half* value, int64_t stride, int64_t size) const;

  private:
    void put_key(int64_t t, const half* key, int64_t size) const {
        for (int64_t d = 0; d < size; d += 2) std::memcpy(keys + (d / 2 * kKeys + t) * 2, key + d, 2 * sizeof *key);
    }

    void put_values(int64_t t, int64_t d, __m512i first, __m512i second) const {
        half* to = values + d / kColumns * kColumns * kKeys + t * kColumns + d % kColumns * 2;
        _mm512_storeu_si512(to, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
    }

    static __m512i lanes(const half* from) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)); }
};

// A 16 x 16 matrix of 32-bit numbers turned over its diagonal: in each round neighbours at a distance swap what lies off it.
inline void transpose(__m512i (&rows)[kLanes]) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 4
    for (int apart = 1; apart < kLanes; apart *= 2) {
        const __m512i across = _mm512_xor_si512(lane, _mm512_set1_epi32(apart));
        const __mmask16 upper = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(apart));
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            if (i & apart) continue;
            const __m512i low = rows[i], high = rows[i + apart];
            rows[i] = _mm512_mask_permutexvar_epi32(low, upper, across, high);
            rows[i + apart] = _mm512_mask_permutexvar_epi32(high, (__mmask16)~upper, across, low);
        }
    }
}

inline void Keys::fill(int64_t count, const half* key, const half* value, int64_t stride, int64_t size) const {
    const __m512i zero = _mm512_setzero_si512();
    for (int64_t first = 0; first < kKeys; first += kLanes)
        for (int64_t d = 0; d < size; d += kColumns) {
            __m512i rows[kLanes];
#pragma GCC unroll 16
            for (int t = 0; t < kLanes; ++t)
                rows[t] = first + t < count ? _mm512_loadu_si512(key + (first + t) * stride + d) : zero;
            transpose(rows);
#pragma GCC unroll 16
            for (int t = 0; t < kLanes; ++t) _mm512_storeu_si512(keys + ((d / 2 + t) * kKeys + first) * 2, rows[t]);
        }
    const auto one = [&](int64_t t, int64_t d) { return t < count ? lanes(value + t * stride + d) : zero; };
    for (int64_t d = 0; d < size; d += kLanes)
        for (int64_t t = 0; t < kKeys; t += 2) put_values(t, d, one(t, d), one(t + 1, d));
}

// Scores, then weights, of the keys of a span.
constexpr int64_t kWidth = (kSpan + 1) * kKeys;
struct Scores {
    float score[kTile][kWidth];
    half weight[kTile][kWidth];
    __m512 top[kTile];
};

// Let `mix` see a span: `clean` pages whose first key is number `first`, of which query i sees the keys below `mix.limit[i]`,
// then, if there are any, a page of `near` noisy rows, of which it sees all. A span begins at the same key for every row, so a
// row's bits do not depend on who is beside it.
inline void see(Mix& mix, const Keys* pages, int64_t first, int64_t clean, int64_t near, int64_t size, Scores& with) {
    const int64_t count = clean + (near > 0);
    const __m512 hidden = _mm512_set1_ps(kNothing);
    for (int i = 0; i < mix.count; ++i) with.top[i] = hidden;
    for (int64_t page = 0; page < count; ++page)
        product<Bfloat16>(mix.count, mix.query[0], kMostHead, pages[page].keys, size, kKeys,
                          [&, most = page < clean ? kKeys : near, from = page < clean ? first + page * kKeys : kNowhere](
                              int i, int64_t, __m512 a, __m512 b) {
                              const uint32_t mask = (uint32_t)((1ull << std::clamp<int64_t>(mix.limit[i] - from, 0, most)) - 1);
                              a = _mm512_mask_mov_ps(hidden, (__mmask16)mask, a);
                              b = _mm512_mask_mov_ps(hidden, (__mmask16)(mask >> kLanes), b);
                              with.top[i] = _mm512_max_ps(with.top[i], _mm512_max_ps(a, b));
                              float* to = with.score[i] + page * kKeys;
                              _mm512_storeu_ps(to, a);
                              _mm512_storeu_ps(to + kLanes, b);
                          });
    for (int i = 0; i < mix.count; ++i) {
        const float peak = std::max(_mm512_reduce_max_ps(with.top[i]), mix.peak[i]);
        const __m512 shift = _mm512_set1_ps(peak == kNothing ? 0.0f : peak);
        __m512 mass = _mm512_setzero_ps();
        for (int64_t key = 0; key < count * kKeys; key += kLanes) {
            const __m512 weight = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(with.score[i] + key), shift));
            narrow(with.weight[i] + key, weight);
            mass = _mm512_add_ps(mass, weight);
        }
        const __m512 shrink = power_of_two(_mm512_set1_ps(mix.peak[i] - peak));
        mix.mass[i] = mix.mass[i] * _mm512_cvtss_f32(shrink) + _mm512_reduce_add_ps(mass);
        mix.peak[i] = peak;
        for (int64_t d = 0; d < size; d += kLanes)
            _mm512_storeu_ps(mix.sum[i] + d, _mm512_mul_ps(_mm512_loadu_ps(mix.sum[i] + d), shrink));
    }
    for (int64_t page = 0; page < count; ++page)
        product<Bfloat16>(mix.count, with.weight[0] + page * kKeys, kWidth, pages[page].values, kKeys, size,
                          [&](int i, int64_t d, __m512 a, __m512 b) {
                              float* to = mix.sum[i] + d;
                              _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), a));
                              _mm512_storeu_ps(to + kLanes, _mm512_add_ps(_mm512_loadu_ps(to + kLanes), b));
                          });
}

}  // namespace palimpsest

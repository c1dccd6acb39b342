// Where keys and values lie: a page is two weights in the order of product.h for each key head, so that scores and mixes are
// products like any other. Keys are columns of the first, over the head; values are rows of the second, over the page.
#pragma once

#include "product.h"

namespace palimpsest {

constexpr int64_t kKeys = 32;       // keys of a page
constexpr int64_t kMostHead = 256;  // largest head

// One head of a page, which has all its key heads, then all its value heads.
struct Keys {
    number *keys, *values;

    Keys() = default;
    Keys(number* page, int64_t heads, int64_t head, int64_t size)
        : keys(page + head * size * kKeys), values(page + (heads + head) * size * kKeys) {}

    void put(int64_t t, const number* key, const number* value, int64_t size) const {
        put_key(t, key, size);
        for (int64_t d = 0; d < size; ++d) values[place(d, t, kKeys)] = value[d];
    }

    // Two neighbours, `stride` apart, of which the first has an even place.
    void put_two(int64_t t, const number* key, const number* value, int64_t stride, int64_t size) const;

    // All of the page at once: `count` keys and values, `stride` apart, then zeros: a hidden key has weight zero, but zero times
    // what an earlier, broken pass left there may not be zero.
    void fill(int64_t count, const number* key, const number* value, int64_t stride, int64_t size) const;

  private:
    // Of the number for column n and input k of a weight that is `depth` deep.
    static int64_t place(int64_t n, int64_t k, int64_t depth) {
        constexpr int64_t step = Numbers::step;
        return ((n / kColumns * depth + k / step * step) * kColumns + n % kColumns * step) + k % step;
    }

    void put_key(int64_t t, const number* key, int64_t size) const {
        constexpr int64_t step = Numbers::step;
        for (int64_t d = 0; d < size; d += step) std::memcpy(keys + place(t, d, size), key + d, step * sizeof *key);
    }

#ifdef __AVX512BF16__
    void put_values(int64_t t, int64_t d, __m512i first, __m512i second) const {
        _mm512_storeu_si512(values + place(d, t, kKeys), _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
    }

    static __m512i widened(const number* from) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)); }
#endif
};

#ifdef __AVX512BF16__

inline void Keys::put_two(int64_t t, const number* key, const number* value, int64_t stride, int64_t size) const {
    put_key(t, key, size);
    put_key(t + 1, key + stride, size);
    for (int64_t d = 0; d < size; d += kLanes) put_values(t, d, widened(value + d), widened(value + stride + d));
}

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

inline void Keys::fill(int64_t count, const number* key, const number* value, int64_t stride, int64_t size) const {
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
    const auto one = [&](int64_t t, int64_t d) { return t < count ? widened(value + t * stride + d) : zero; };
    for (int64_t d = 0; d < size; d += kLanes)
        for (int64_t t = 0; t < kKeys; t += 2) put_values(t, d, one(t, d), one(t + 1, d));
}

#else

inline void Keys::put_two(int64_t t, const number* key, const number* value, int64_t stride, int64_t size) const {
    put(t, key, value, size);
    put(t + 1, key + stride, value + stride, size);
}

inline void Keys::fill(int64_t count, const number* key, const number* value, int64_t stride, int64_t size) const {
    static constexpr number kZeros[kMostHead] = {};
    for (int64_t t = 0; t < count; ++t) put(t, key + t * stride, value + t * stride, size);
    for (int64_t t = count; t < kKeys; ++t) put(t, kZeros, kZeros, size);
}

#endif

}  // namespace palimpsest

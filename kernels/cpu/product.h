// Products of few rows with a weight that was laid out for them.
//
// A weight [N, K] is stored as [N / 32][K / step][2][16][step], step 2 for bfloat16 and 1 for float32: for one column pair
// of blocks, everything in the order in which it is read. A row's sum runs over K in order whatever the number of rows, so
// the bits of a row depend on that row and the weight alone.
#pragma once

#include "lanes.h"

namespace palimpsest {

constexpr int kTile = 8;      // rows that share one reading of a weight: 16 accumulators of 32 registers
constexpr int kColumns = 32;  // columns of one reading

struct Bfloat16 {
    using value = half;
    static constexpr int64_t step = 2;
    static __m512 add(__m512 sum, const half* x, const half* w) {
        int32_t pair;
        std::memcpy(&pair, x, sizeof pair);
        return _mm512_dpbf16_ps(sum, bits(_mm512_set1_epi32(pair)), bits(_mm512_loadu_si512(w)));
    }
};

struct Float32 {
    using value = float;
    static constexpr int64_t step = 1;
    static __m512 add(__m512 sum, const float* x, const float* w) {
        return _mm512_fmadd_ps(_mm512_set1_ps(*x), _mm512_loadu_ps(w), sum);
    }
};

template <class Kind, int M, class Store>
inline void product_of(const typename Kind::value* x, int64_t stride, const typename Kind::value* w, int64_t k, int64_t n,
                       Store&& store) {
    for (int64_t column = 0; column < n; column += kColumns) {
        __m512 sums[M][2];
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[m][0] = sums[m][1] = _mm512_setzero_ps();
        for (int64_t i = 0; i < k; i += Kind::step, w += kColumns * Kind::step)
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) {
                sums[m][0] = Kind::add(sums[m][0], x + m * stride + i, w);
                sums[m][1] = Kind::add(sums[m][1], x + m * stride + i, w + kLanes * Kind::step);
            }
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) store(m, column, sums[m][0], sums[m][1]);
    }
}

// x [rows, K] with `rows` at most kTile, times w [N, K] transposed; `store(row, column, first 16, next 16)` gets the results.
template <class Kind, class Store>
inline void product(int64_t rows, const typename Kind::value* x, int64_t stride, const typename Kind::value* w, int64_t k,
                    int64_t n, Store&& store) {
    switch (rows) {
        case 1: return product_of<Kind, 1>(x, stride, w, k, n, store);
        case 2: return product_of<Kind, 2>(x, stride, w, k, n, store);
        case 3: return product_of<Kind, 3>(x, stride, w, k, n, store);
        case 4: return product_of<Kind, 4>(x, stride, w, k, n, store);
        case 5: return product_of<Kind, 5>(x, stride, w, k, n, store);
        case 6: return product_of<Kind, 6>(x, stride, w, k, n, store);
        case 7: return product_of<Kind, 7>(x, stride, w, k, n, store);
        default: return product_of<Kind, 8>(x, stride, w, k, n, store);
    }
}

}  // namespace palimpsest

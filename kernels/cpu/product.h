// Products of few rows with a weight that was laid out for them.
//
// A weight [N, K] is stored as [N / columns][K / step][columns][step], step 2 for bfloat16 and 1 for float32: for one reading,
// everything in the order in which it is read. A row's sum runs over K in order whatever the number of rows, so the bits of a
// row depend on that row and the weight alone.
#pragma once

#include "lanes.h"

namespace palimpsest {

constexpr int kColumns = 2 * kLanes;  // columns of one reading

struct Float32 {
    using value = float;
    static constexpr int64_t step = 1;
    static lanes add(lanes sum, const float* x, const float* w) { return fma(every(*x), load(w), sum); }
};

#ifdef __AVX512F__
constexpr int kTile = 8;  // rows that share one reading of a weight: 16 accumulators of 32 registers
#else
constexpr int kTile = 6;  // 12 accumulators of 16 registers
#endif

#ifdef __AVX512BF16__
constexpr int kRows = kTile;
struct Bfloat16 {
    using value = number;
    static constexpr int64_t step = 2;
    static lanes add(lanes sum, const number* x, const number* w) {
        int32_t pair;
        std::memcpy(&pair, x, sizeof pair);
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_loadu_si512(w));
    }
};
using Numbers = Bfloat16;
#else
constexpr int kRows = 2 * kTile;  // rows that share what one reading has brought near: a weight is far when it is twice as long
using Numbers = Float32;
#endif

// A function of its own: as part of a large one its loop spills registers, and a lone row takes half as long again.
template <class Kind, int M, class Store>
[[gnu::noinline]] void product_of(const typename Kind::value* x, int64_t stride, const typename Kind::value* w, int64_t k,
                                  int64_t n, Store&& store) {
    for (int64_t column = 0; column < n; column += kColumns) {
        lanes sums[M][2];
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[m][0] = sums[m][1] = every(0.0f);
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

// Of kTile rows at most.
template <class Kind, int M = kTile, class Store>
inline void few(int64_t rows, const typename Kind::value* x, int64_t stride, const typename Kind::value* w, int64_t k, int64_t n,
                Store&& store) {
    if constexpr (M > 1)
        if (rows < M) return few<Kind, M - 1>(rows, x, stride, w, k, n, store);
    product_of<Kind, M>(x, stride, w, k, n, store);
}

// x [rows, K] with `rows` at most kRows, times w [N, K] transposed; `store(row, column, first lanes, next lanes)` gets them.
template <class Kind, class Store>
inline void product(int64_t rows, const typename Kind::value* x, int64_t stride, const typename Kind::value* w, int64_t k,
                    int64_t n, Store&& store) {
    if (kRows == kTile || rows <= kTile) return few<Kind>(rows, x, stride, w, k, n, store);
    const int64_t half = rows / 2;
    for (int64_t column = 0; column < n; column += kColumns, w += k * kColumns) {
        few<Kind>(half, x, stride, w, k, kColumns, [&](int m, int64_t, lanes a, lanes b) { store(m, column, a, b); });
        few<Kind>(rows - half, x + half * stride, stride, w, k, kColumns,
                  [&](int m, int64_t, lanes a, lanes b) { store(m + (int)half, column, a, b); });
    }
}

}  // namespace palimpsest

// Vectors, of sixteen float32 where the build has AVX-512, else of eight, as AVX2 has them; and what numbers are kept in:
// bfloat16 where the build has that too, else float32. This is the only place that names instructions, but for pairs of
// bfloat16 (product.h, pages.h). Sums and products are the compiler's own operators, each with a rounding of its own; `fma` is
// the one that has one for both. What is added up across a vector is added up in sixteens (`Sum`), so how wide vectors are
// changes no bit.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace palimpsest {

#ifdef __AVX512F__

constexpr int kLanes = 16;
using lanes = __m512;
using mask = __mmask16;

inline lanes load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, lanes x) { _mm512_storeu_ps(to, x); }
inline lanes every(float x) { return _mm512_set1_ps(x); }
inline lanes fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
inline lanes greatest(lanes a, lanes b) { return _mm512_max_ps(a, b); }
inline lanes magnitude(lanes x) { return _mm512_abs_ps(x); }
inline lanes rounded(lanes x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline lanes raised(lanes power) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(power), _mm512_set1_epi32(127)), 23));
}
inline float highest_of(lanes x) { return _mm512_reduce_max_ps(x); }
inline lanes select(mask which, lanes yes, lanes no) { return _mm512_mask_mov_ps(no, which, yes); }
inline mask negative(lanes x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ); }
inline mask equal(lanes a, lanes b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline mask below(int64_t count) { return (mask)((1u << std::clamp<int64_t>(count, 0, kLanes)) - 1); }
inline uint32_t bits(mask which) { return which; }

#else

constexpr int kLanes = 8;
using lanes = __m256;
using mask = __m256;  // all bits of a lane, or none

inline lanes load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, lanes x) { _mm256_storeu_ps(to, x); }
inline lanes every(float x) { return _mm256_set1_ps(x); }
inline lanes fma(lanes a, lanes b, lanes c) { return _mm256_fmadd_ps(a, b, c); }
inline lanes greatest(lanes a, lanes b) { return _mm256_max_ps(a, b); }
inline lanes magnitude(lanes x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline lanes rounded(lanes x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline lanes raised(lanes power) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127)), 23));
}
inline float highest_of(lanes x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
inline lanes select(mask which, lanes yes, lanes no) { return _mm256_blendv_ps(no, yes, which); }
inline mask negative(lanes x) { return _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ); }
inline mask equal(lanes a, lanes b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
inline mask below(int64_t count) {
    const __m256i most = _mm256_set1_epi32((int32_t)std::clamp<int64_t>(count, 0, kLanes));
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(most, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
}
inline uint32_t bits(mask which) { return (uint32_t)_mm256_movemask_ps(which); }

#endif

#ifdef __AVX512BF16__
using number = uint16_t;  // the bits of a bfloat16
inline lanes load(const number* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}
inline void store(number* to, lanes x) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x)); }
#else
using number = float;
#endif

// Sixteen partial sums of values that come in order, vector by vector, sixteen or a multiple of it in all.
class Sum {
#ifdef __AVX512F__
    lanes parts = every(0.0f);
    __m256 halves() const { return _mm512_castps512_ps256(parts) + _mm512_extractf32x8_ps(parts, 1); }

  public:
    void add(lanes x) { parts = parts + x; }
    void add_square(lanes x) { parts = fma(x, x, parts); }
#else
    lanes parts = every(0.0f), others = every(0.0f);  // the next vector goes to the first
    __m256 halves() const { return parts + others; }

  public:
    void add(lanes x) { parts = std::exchange(others, parts + x); }
    void add_square(lanes x) { parts = std::exchange(others, fma(x, x, parts)); }
#endif
    float whole() const {
        const __m256 eight = halves();
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        four = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
    }
};

// 2^x for x <= 0, relative error below 3e-7: a polynomial on [-1/2, 1/2], then the exponent. Very negative x give 0.
inline lanes power_of_two(lanes given) {
    const lanes x = greatest(every(-127.0f), given);  // below, and there, the power is zero
    const lanes whole = rounded(x), part = x - whole;
    lanes y = every(1.5403530e-4f);  // ln(2)^k / k!, k = 6 .. 0
    for (float factor : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        y = fma(y, part, every(factor));
    return y * raised(whole);
}

// x / (1 + e^-x); both branches keep the exponent of the power at or below zero.
inline lanes silu(lanes x) {
    const lanes small = power_of_two(magnitude(x) * every(-1.44269504f));
    return select(negative(x), x * small, x) / (every(1.0f) + small);
}

// to = x / sqrt(mean(x^2) + eps) * weight over `size` values, as numbers or as float32 (Zhang and Sennrich 2019).
template <class To>
inline void rms_norm(To* to, const float* x, const float* weight, int64_t size, float eps) {
    Sum squares;
    for (int64_t i = 0; i < size; i += kLanes) squares.add_square(load(x + i));
    const lanes scale = every(1.0f / __builtin_sqrtf(squares.whole() / (float)size + eps));
    for (int64_t i = 0; i < size; i += kLanes) store(to + i, load(x + i) * scale * load(weight + i));
}

}  // namespace palimpsest

// Vectors of sixteen: conversions, powers of two, and sums over a row.
#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace palimpsest {

constexpr int kLanes = 16;
using half = uint16_t;  // the bits of a bfloat16

inline __m512bh bits(__m512i x) { return (__m512bh)x; }

inline __m512 widen(const half* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}

inline void narrow(half* to, __m512 x) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x)); }

// 2^x for x <= 0, relative error below 3e-7: a polynomial on [-1/2, 1/2], then the exponent. Very negative x give 0.
inline __m512 power_of_two(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(1.5403530e-4f);  // ln(2)^k / k!, k = 6 .. 0
    for (float factor : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(factor));
    return _mm512_scalef_ps(y, whole);
}

// x / (1 + e^-x); both branches keep the exponent of the power at or below zero.
inline __m512 silu(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 small = power_of_two(_mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(-1.44269504f)));
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 top = _mm512_mask_mul_ps(x, negative, x, small);
    return _mm512_div_ps(top, _mm512_add_ps(one, small));
}

// to = x / sqrt(mean(x^2) + eps) * weight over `size` values, as bfloat16 or float32 (Zhang and Sennrich 2019).
template <class To>
inline void rms_norm(To* to, const float* x, const float* weight, int64_t size, float eps) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += kLanes) {
        const __m512 part = _mm512_loadu_ps(x + i);
        sum = _mm512_fmadd_ps(part, part, sum);
    }
    const float mean = _mm512_reduce_add_ps(sum) / (float)size;
    const __m512 scale = _mm512_set1_ps(1.0f / __builtin_sqrtf(mean + eps));
    for (int64_t i = 0; i < size; i += kLanes) {
        const __m512 y = _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), _mm512_loadu_ps(weight + i));
        if constexpr (sizeof(To) == sizeof(half)) narrow(to + i, y);
        else _mm512_storeu_ps(to + i, y);
    }
}

}  // namespace palimpsest

// What a row of logits comes to: the greedy pick, and where its log-probabilities begin.
#pragma once

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace palimpsest {

// `best` is the first of the highest logits, `never` apart; x - peak - mass is the log-probability of a logit x.
struct Outcome {
    int32_t best;
    float logprob, peak, mass;
};

// Of `size` logits, a whole number of vectors. If one is no number or infinitely high, the log-probability is no number.
inline Outcome outcome(const float* x, int64_t size, int64_t never) {
    const auto others = [never](int64_t i) { return (__mmask16)~((never - i) >> 4 ? 0u : 1u << (never - i)); };
    __m512 top = _mm512_set1_ps(-__builtin_inff());
    for (int64_t i = 0; i < size; i += kLanes) top = _mm512_mask_max_ps(top, others(i), top, _mm512_loadu_ps(x + i));
    const float highest = _mm512_reduce_max_ps(top), peak = std::max(highest, x[never]);
    const __m512 from = _mm512_set1_ps(peak), unit = _mm512_set1_ps(1.44269504f);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += kLanes)
        sum = _mm512_add_ps(sum, power_of_two(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), from), unit)));
    const float mass = std::log(_mm512_reduce_add_ps(sum));
    for (int64_t i = 0; i < size; i += kLanes) {
        const __mmask16 found = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), _mm512_set1_ps(highest), _CMP_EQ_OQ) & others(i);
        if (found) return {(int32_t)i + __builtin_ctz(found), highest - peak - mass, peak, mass};
    }
    return {0, mass, peak, mass};  // nothing equals the highest: there was no number, and the mass is none either
}

}  // namespace palimpsest

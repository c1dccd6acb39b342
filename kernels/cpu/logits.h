// What a row of logits comes to: the greedy pick, and where its log-probabilities begin.
#pragma once

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
    const lanes nothing = every(__builtin_nanf(""));  // is no highest, and equals none
    const auto candidates = [=](int64_t i) {
        const lanes found = load(x + i);
        if (never < i || never >= i + kLanes) return found;
        return select(below(never - i), found, select(below(never - i + 1), nothing, found));
    };
    lanes top = every(-__builtin_inff());
    for (int64_t i = 0; i < size; i += kLanes) top = greatest(candidates(i), top);
    const float highest = highest_of(top), peak = std::max(highest, x[never]);
    const lanes from = every(peak), unit = every(1.44269504f);
    Sum sum;
    for (int64_t i = 0; i < size; i += kLanes) sum.add(power_of_two((load(x + i) - from) * unit));
    const float mass = std::log(sum.whole());
    for (int64_t i = 0; i < size; i += kLanes) {
        const uint32_t found = bits(equal(candidates(i), every(highest)));
        if (found) return {(int32_t)i + __builtin_ctz(found), highest - peak - mass, peak, mass};
    }
    return {0, mass, peak, mass};  // nothing equals the highest: there was no number, and the mass is none either
}

}  // namespace palimpsest

// Attention of a few rows of one sequence over its pages and the noisy rows beside them, by online softmax
// (Milakov and Gimelshein 2018), a span of pages at a time. Scores and mixes are the products of product.h: keys and values are
// kept in the order in which it reads its weights.
#pragma once

#include "pages.h"

namespace palimpsest {

constexpr int64_t kSpan = 16;  // pages of one step
constexpr float kNothing = -1e30f;
constexpr int64_t kNowhere = -(1 << 20);  // where noisy rows are: below every limit

// Queries of one key head, kTile at most, in the order they are packed: their state over the steps so far.
struct Mix {
    number query[kTile][kMostHead];  // scaled to units of log 2
    float sum[kTile][kMostHead];
    float peak[kTile], mass[kTile];
    int64_t count, limit[kTile];
};

// Scores, then weights, of the keys of a span.
constexpr int64_t kWidth = (kSpan + 1) * kKeys;
struct Scores {
    float score[kTile][kWidth];
    number weight[kTile][kWidth];
    lanes top[kTile];
};

// Let `mix` see a span: `clean` pages whose first key is number `first`, of which query i sees the keys below `mix.limit[i]`,
// then, if there are any, a page of `near` noisy rows, of which it sees all. A span begins at the same key for every row, so a
// row's bits do not depend on who is beside it.
inline void see(Mix& mix, const Keys* pages, int64_t first, int64_t clean, int64_t near, int64_t size, Scores& with) {
    const int64_t count = clean + (near > 0);
    const lanes hidden = every(kNothing);
    for (int i = 0; i < mix.count; ++i) with.top[i] = hidden;
    for (int64_t page = 0; page < count; ++page)
        product<Numbers>(mix.count, mix.query[0], kMostHead, pages[page].keys, size, kKeys,
                          [&, most = page < clean ? kKeys : near, from = page < clean ? first + page * kKeys : kNowhere](
                              int i, int64_t key, lanes a, lanes b) {
                              const int64_t seen = std::min(mix.limit[i] - from, most) - key;
                              a = select(below(seen), a, hidden);
                              b = select(below(seen - kLanes), b, hidden);
                              with.top[i] = greatest(with.top[i], greatest(a, b));
                              float* to = with.score[i] + page * kKeys + key;
                              store(to, a);
                              store(to + kLanes, b);
                          });
    for (int i = 0; i < mix.count; ++i) {
        const float peak = std::max(highest_of(with.top[i]), mix.peak[i]);
        const lanes shift = every(peak == kNothing ? 0.0f : peak);
        Sum mass;
        for (int64_t key = 0; key < count * kKeys; key += kLanes) {
            const lanes weight = power_of_two(load(with.score[i] + key) - shift);
            store(with.weight[i] + key, weight);
            mass.add(weight);
        }
        const lanes shrink = power_of_two(every(mix.peak[i] - peak));
        mix.mass[i] = mix.mass[i] * shrink[0] + mass.whole();
        mix.peak[i] = peak;
        for (int64_t d = 0; d < size; d += kLanes) store(mix.sum[i] + d, load(mix.sum[i] + d) * shrink);
    }
    for (int64_t page = 0; page < count; ++page)
        product<Numbers>(mix.count, with.weight[0] + page * kKeys, kWidth, pages[page].values, kKeys, size,
                          [&](int i, int64_t d, lanes a, lanes b) {
                              float* to = mix.sum[i] + d;
                              store(to, load(to) + a);
                              store(to + kLanes, load(to + kLanes) + b);
                          });
}

}  // namespace palimpsest

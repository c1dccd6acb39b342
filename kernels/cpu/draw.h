// Which token is drawn of a row: the highest of score / temperature plus the keyed Gumbel noise that kernels/noise.py defines.
// Loops over kCounters are plain, so that the compiler makes vectors of them; each step of a sum or product is rounded.
#pragma once

#include <cstdint>

#include "lanes.h"

namespace palimpsest {

constexpr int kCounters = 64, kTokens = 4 * kCounters;  // what is turned at once; a counter gives the words of four tokens

struct Words {
    uint32_t of[4][kCounters];
};

// Philox 4x32-10 (Salmon et al. 2011) of the counters (first + i, position low, position high, 0).
inline void philox(Words& words, uint32_t first, uint64_t position, uint64_t key) {
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    uint32_t(&c)[4][kCounters] = words.of;
    for (int i = 0; i < kCounters; ++i) {
        c[0][i] = first + (uint32_t)i, c[1][i] = (uint32_t)position, c[2][i] = (uint32_t)(position >> 32), c[3][i] = 0;
    }
    for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u)
        for (int i = 0; i < kCounters; ++i) {
            const uint64_t one = (uint64_t)c[0][i] * 0xD2511F53u, two = (uint64_t)c[2][i] * 0xCD9E8D57u;
            c[0][i] = (uint32_t)(two >> 32) ^ c[1][i] ^ low, c[1][i] = (uint32_t)two;
            c[2][i] = (uint32_t)(one >> 32) ^ c[3][i] ^ high, c[3][i] = (uint32_t)one;
        }
}

// ln x of a normal x > 0, within two units of its last place: x is 2^k m with m within a root of 2 of 1, and
// ln m is 2 atanh((m - 1) / (m + 1)), of which twelve terms are taken.
inline double natural_log(double x) {
    constexpr uint64_t kOne = 0x3FF0000000000000u, kRootOfHalf = 0x3FE6A09E667F3BCDu;  // bits of 1 and of 2^(-1/2)
    constexpr double kLog2 = 6.93147180369123816490e-01, kLog2Rest = 1.90821492927058770002e-10;  // ln 2 in two parts
    const uint64_t bits = __builtin_bit_cast(uint64_t, x), power = (bits + (kOne - kRootOfHalf)) >> 52;
    const double m = __builtin_bit_cast(double, bits - ((power - 1023) << 52));
    const double k = __builtin_bit_cast(double, power | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);  // 2^52
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double y = 1.0 / 23.0;
    for (double term : {1.0 / 21.0, 1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0,
                        1.0 / 3.0})
        y = y * z + term;
    return k * kLog2 + (k * kLog2Rest + (2.0 * s + 2.0 * s * (z * y)));
}

// Standard Gumbel noise of a word: -ln(-ln u) with u = (word + 1/2) / 2^32.
inline float gumbel(uint32_t word) {
    const double above = (double)(int32_t)(word ^ 0x80000000u) + 2147483648.5;  // word + 1/2: vectors convert signed words alone
    return (float)-natural_log(-natural_log(above * (1.0 / 4294967296.0)));
}

// The first of the highest of `size` scores, `never` apart: of the scores alone at temperature 0, else with noise.
// If one is no number, or if all are infinitely low, an arbitrary one.
inline int64_t drawn(const float* scores, int64_t size, float temperature, uint64_t key, uint64_t position, int64_t never) {
    alignas(64) float value[kTokens];
    Words words;
    float best = -__builtin_inff();
    int64_t found = 0;
    for (int64_t first = 0; first < size; first += kTokens) {
        const int64_t count = std::min<int64_t>(kTokens, size - first);
        if (temperature > 0) {
            philox(words, (uint32_t)(first / 4), position, key);
            for (int word = 0; word < 4; ++word)
                for (int i = 0; i < kCounters; ++i) value[4 * i + word] = gumbel(words.of[word][i]);
            for (int64_t i = 0; i < count; ++i) value[i] = scores[first + i] / temperature + value[i];
        } else {
            std::memcpy(value, scores + first, (size_t)count * sizeof(float));
        }
        std::fill(value + count, value + kTokens, -__builtin_inff());
        if (first <= never && never < first + count) value[never - first] = -__builtin_inff();
        lanes top = every(-__builtin_inff());
        for (int i = 0; i < kTokens; i += kLanes) top = greatest(load(value + i), top);
        const float highest = highest_of(top);
        if (highest > best) {
            best = highest;
            found = first + (std::find(value, value + count, highest) - value);
        }
    }
    return found;
}

}  // namespace palimpsest

// Attention for training, forward and backward, where every query sees at most two runs of keys of its own row.
//
// Rows lie one behind the other without padding, and not every key's place asks: a row has as many queries as it has.
// A thread owns one key head of one row with all the queries that share it, so nothing is added up across threads and the bits
// do not depend on how many there are. Queries go in tiles of kRows; only the keys that some query of a tile sees are touched,
// the same for the backward pass, which makes the weights again from their logarithmic mass (Dao et al. 2022).
// The code is plain vectors of the compiler's, so it runs with AVX2 as well as with AVX-512. Structures mirror spans.py.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int kLanes = 16, kRows = 8;
#else
constexpr int kLanes = 8, kRows = 6;
#endif
constexpr int64_t kStep = 2 * kLanes;  // keys, or numbers of a head, that a loop takes at once
constexpr int64_t kChunk = 32;         // keys that lie together
constexpr int64_t kWidest = 256;       // numbers of the widest head; spans.py knows it
constexpr float kNothing = -1e30f, kUnseen = 1e30f;

typedef float lanes __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int32_t whole __attribute__((vector_size(kLanes * 4), aligned(4)));

inline lanes load(const float* from) { return *(const lanes*)from; }
inline void store(float* to, lanes x) { *(lanes*)to = x; }
inline lanes every(float x) { return lanes{} + x; }

template <class Fold>
inline float folded(lanes x, Fold fold) {
    whole own;
    for (int i = 0; i < kLanes; ++i) own[i] = i;
    for (int half = kLanes / 2; half; half /= 2) x = fold(x, __builtin_shuffle(x, own ^ half));
    return x[0];
}

// 2^x for x <= 0, relative error below 3e-7; 0 below -126, so that nothing small slows what it is multiplied with.
inline lanes power_of_two(lanes x) {
    const lanes magic = every(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const lanes turned = x + magic;
    const lanes part = x - (turned - magic);
    lanes y = every(1.5403530e-4f);
    for (float factor : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        y = y * part + factor;
    return x < -126.0f ? lanes{} : (lanes)((whole)y + (((whole)turned - (whole)magic) << 23));
}

struct Call {
    int64_t rows, longest, queries, keys, head, threads;
    float scale;
    const int64_t *asking, *places;    // [b + 1], [b + 1]: where the queries, and the keys, of each row begin and end
    const float *query, *key, *value;  // [q, Hq, D], [n, Hk, D], [n, Hk, D]
    const int32_t* spans;              // [q, 4]
    float *out, *mass;                 // [q, Hq, D], [q, Hq] in units of log 2
    const float* out_grad;
    float *query_grad, *key_grad, *value_grad;
};

// The chunks of kChunk keys that a tile of queries touches: one or two runs of them that do not meet.
struct Touched {
    int64_t runs[2][2];
    int count = 0;

    Touched(const int32_t (*spans)[4]) {
        for (int side = 0; side < 4; side += 2) {
            int64_t first = INT64_MAX, end = 0;
            for (int r = 0; r < kRows; ++r)
                if (spans[r][side] < spans[r][side + 1]) {
                    first = std::min<int64_t>(first, spans[r][side]);
                    end = std::max<int64_t>(end, spans[r][side + 1]);
                }
            if (first >= end) continue;
            runs[count][0] = first / kChunk * kChunk, runs[count++][1] = (end + kChunk - 1) / kChunk * kChunk;
        }
        if (count == 2 && runs[0][0] < runs[1][1] && runs[1][0] < runs[0][1]) {
            runs[0][0] = std::min(runs[0][0], runs[1][0]), runs[0][1] = std::max(runs[0][1], runs[1][1]);
            count = 1;
        }
    }

    template <class Work>
    void each(Work work) const {
        for (int i = 0; i < count; ++i)
            for (int64_t j = runs[i][0]; j < runs[i][1]; j += kChunk) work(j);
    }
};

// What a tile has over one chunk lies as [kRows][kChunk], a tile of heads as [kRows][kWidest], and a chunk of keys turned as
// [head][kChunk]: in the loops below all offsets between rows are known when they are compiled.

// to[r][j] = rows[r] . across[:, j]
inline void products(float* to, const float* rows, const float* across, int64_t head) {
    for (int64_t j = 0; j < kChunk; j += kStep) {
        lanes sum[kRows][2] = {};
        for (int64_t d = 0; d < head; ++d) {
            const lanes a = load(across + d * kChunk + j), b = load(across + d * kChunk + j + kLanes);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) sum[r][0] += rows[r * kWidest + d] * a, sum[r][1] += rows[r * kWidest + d] * b;
        }
        for (int r = 0; r < kRows; ++r) {
            store(to + r * kChunk + j, sum[r][0]);
            store(to + r * kChunk + j + kLanes, sum[r][1]);
        }
    }
}

// to[r] += sum over j of weights[r][j] * each[j]
inline void mixes(float* to, const float* weights, const float* each, int64_t head) {
    for (int64_t d = 0; d < head; d += kStep, to += kStep, each += kStep) {
        lanes sum[kRows][2];
        for (int r = 0; r < kRows; ++r) sum[r][0] = load(to + r * kWidest), sum[r][1] = load(to + r * kWidest + kLanes);
        for (int64_t j = 0; j < kChunk; ++j) {
            const lanes a = load(each + j * head), b = load(each + j * head + kLanes);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) sum[r][0] += weights[r * kChunk + j] * a, sum[r][1] += weights[r * kChunk + j] * b;
        }
        for (int r = 0; r < kRows; ++r) store(to + r * kWidest, sum[r][0]), store(to + r * kWidest + kLanes, sum[r][1]);
    }
}

// to[j] += sum over r of weights[r][j] * rows[r]
inline void spreads(float* to, const float* weights, const float* rows, int64_t head) {
    for (int64_t d = 0; d < head; d += kStep, to += kStep, rows += kStep) {
        lanes own[kRows][2];
        for (int r = 0; r < kRows; ++r) own[r][0] = load(rows + r * kWidest), own[r][1] = load(rows + r * kWidest + kLanes);
        for (int64_t j = 0; j < kChunk; ++j) {
            lanes a = load(to + j * head), b = load(to + j * head + kLanes);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) a += weights[r * kChunk + j] * own[r][0], b += weights[r * kChunk + j] * own[r][1];
            store(to + j * head, a), store(to + j * head + kLanes, b);
        }
    }
}

// Numbers that begin on a line of the cache, as vectors that are written and read again at once should.
class Room {
    struct alignas(64) Line {
        float numbers[16];
    };
    std::vector<Line> lines;

public:
    explicit Room(int64_t count) : lines(count / 16 + 1) {}  // never none: `at(0)` is asked for where there is no key
    float* at(int64_t i) { return &lines[0].numbers[0] + i; }
    const float* at(int64_t i) const { return &lines[0].numbers[0] + i; }
    void clear() { std::memset((void*)at(0), 0, lines.size() * sizeof(Line)); }
};

// What one thread works in, for one key head of one row.
struct Desk {
    int64_t head, width;  // keys in whole chunks
    int64_t places = 0, begin = 0, asked = 0;  // keys of the row, its first query, and how many it has
    Room keys, values, keys_across, values_across, key_sums, value_sums, scores;
    alignas(64) float query[kRows * kWidest], slope[kRows * kWidest], sums[kRows * kWidest];
    int32_t spans[kRows][4];
    float shift[kRows];

    Desk(const Call& call)
        : head(call.head), width((call.longest + kChunk - 1) / kChunk * kChunk), keys(width * head), values(width * head),
          keys_across(width * head), values_across(width * head), key_sums(width * head), value_sums(width * head),
          scores(kRows * width) {}

    void open(const Call& call, int64_t row, int64_t key_head) {
        places = call.places[row + 1] - call.places[row];
        begin = call.asking[row], asked = call.asking[row + 1] - begin;
        for (int64_t j = 0; j < places; ++j) {
            const int64_t from = ((call.places[row] + j) * call.keys + key_head) * head;
            std::memcpy(keys.at(j * head), call.key + from, head * sizeof(float));
            std::memcpy(values.at(j * head), call.value + from, head * sizeof(float));
        }
        for (int64_t first = 0; first < places; first += kChunk)
            for (int64_t d = 0; d < head; ++d)
                for (int64_t j = 0; j < kChunk; ++j) {
                    *keys_across.at(first * head + d * kChunk + j) = *keys.at((first + j) * head + d);
                    *values_across.at(first * head + d * kChunk + j) = *values.at((first + j) * head + d);
                }
    }

    void put(float* tile, int r, const float* from, float scale) const {
        for (int64_t d = 0; d < head; ++d) tile[r * kWidest + d] = from[d] * scale;
    }

    void clear(float* tile, int count) const {
        for (int r = count; r < kRows; ++r) std::fill(tile + r * kWidest, tile + r * kWidest + head, 0.0f);
    }

    int64_t place(const Call& call, int64_t query_head, int64_t query) const {
        return ((begin + query) * call.queries + query_head) * head;
    }

    // The next tile's part of [q, Hq, D] is fetched meanwhile: its rows lie too far apart for the processor to foresee them.
    __attribute__((always_inline)) void foresee(const Call& call, const float* given, int64_t query_head, int64_t first) const {
        for (int64_t query = first + kRows; query < std::min(first + 2 * kRows, asked); ++query)
            for (int64_t d = 0; d < head; d += 16) __builtin_prefetch(given + place(call, query_head, query) + d);
    }

    // Queries `first` to `first + kRows` of one head, in units of log 2; behind the end they are nothing and see nothing.
    int seat(const Call& call, int64_t query_head, int64_t first) {
        const int count = (int)std::min<int64_t>(kRows, asked - first);
        clear(query, count), clear(slope, count), clear(sums, 0);
        foresee(call, call.query, query_head, first);
        std::memset(spans, 0, sizeof spans);
        for (int r = 0; r < count; ++r) {
            const int32_t* given = call.spans + (begin + first + r) * 4;
            for (int i = 0; i < 4; ++i) spans[r][i] = (int32_t)std::clamp<int64_t>(given[i], 0, places);
            put(query, r, call.query + place(call, query_head, first + r), call.scale * 1.44269504f);
        }
        return count;
    }

    // Scores over a chunk; what a query does not see is kNothing.
    void score(float* to, int64_t j) const {
        products(to, query, keys_across.at(j * head), head);
        for (int r = 0; r < kRows; ++r) {
            const int32_t* own = spans[r];
            if ((own[0] <= j && j + kChunk <= own[1]) || (own[2] <= j && j + kChunk <= own[3])) continue;
            for (int64_t i = 0; i < kChunk; i += kLanes) {
                whole at;
                for (int lane = 0; lane < kLanes; ++lane) at[lane] = (int32_t)(j + i + lane);
                const whole seen = ((at >= own[0]) & (at < own[1])) | ((at >= own[2]) & (at < own[3]));
                float* here = to + r * kChunk + i;
                store(here, seen ? load(here) : every(kNothing));
            }
        }
    }

    // The weights 2^(score - shift) of a chunk, which are added to `sum`.
    void weigh(float* to, const float* scored, lanes (&sum)[kRows]) const {
        for (int r = 0; r < kRows; ++r)
            for (int64_t i = r * kChunk; i < (r + 1) * kChunk; i += kLanes) {
                const lanes y = power_of_two(load(scored + i) - shift[r]);
                store(to + i, y);
                sum[r] += y;
            }
    }
};

void forward(const Call& call, Desk& desk, int64_t query_head) {
    const int64_t head = call.head;
    for (int64_t first = 0; first < desk.asked; first += kRows) {
        const int count = desk.seat(call, query_head, first);
        const Touched touched(desk.spans);
        lanes top[kRows], sum[kRows] = {};
        for (auto& each : top) each = every(kNothing);
        touched.each([&](int64_t j) {
            float* chunk = desk.scores.at(j * kRows);
            desk.score(chunk, j);
            for (int r = 0; r < kRows; ++r)
                for (int64_t i = 0; i < kChunk; i += kLanes) {
                    const lanes x = load(chunk + r * kChunk + i);
                    top[r] = x > top[r] ? x : top[r];
                }
        });
        for (int r = 0; r < kRows; ++r) {
            desk.shift[r] = folded(top[r], [](lanes a, lanes b) { return a > b ? a : b; });
            if (desk.shift[r] == kNothing) desk.shift[r] = kUnseen;
        }
        touched.each([&](int64_t j) {
            alignas(64) float weights[kRows * kChunk];
            desk.weigh(weights, desk.scores.at(j * kRows), sum);
            mixes(desk.sums, weights, desk.values.at(j * head), head);
        });
        for (int r = 0; r < count; ++r) {
            const bool blind = desk.shift[r] == kUnseen;
            const float mass = folded(sum[r], [](lanes a, lanes b) { return a + b; });
            const float share = blind ? 0.0f : 1.0f / mass;
            float* to = call.out + desk.place(call, query_head, first + r);
            for (int64_t d = 0; d < head; ++d) to[d] = desk.sums[r * kWidest + d] * share;
            call.mass[(desk.begin + first + r) * call.queries + query_head] = blind ? kUnseen : desk.shift[r] + std::log2(mass);
        }
    }
}

void backward(const Call& call, Desk& desk, int64_t query_head) {
    const int64_t head = call.head;
    for (int64_t first = 0; first < desk.asked; first += kRows) {
        const int count = desk.seat(call, query_head, first);
        desk.foresee(call, call.out, query_head, first), desk.foresee(call, call.out_grad, query_head, first);
        float pull[kRows] = {};  // sum over a head of out * its gradient
        std::fill(desk.shift, desk.shift + kRows, kUnseen);
        for (int r = 0; r < count; ++r) {
            const int64_t at = desk.place(call, query_head, first + r);
            desk.put(desk.slope, r, call.out_grad + at, 1.0f);
            for (int64_t d = 0; d < head; ++d) pull[r] += call.out[at + d] * call.out_grad[at + d];
            desk.shift[r] = call.mass[(desk.begin + first + r) * call.queries + query_head];
        }
        Touched(desk.spans).each([&](int64_t j) {
            alignas(64) float weights[kRows * kChunk], slopes[kRows * kChunk];
            lanes unused[kRows] = {};
            desk.score(weights, j);
            desk.weigh(weights, weights, unused);
            spreads(desk.value_sums.at(j * head), weights, desk.slope, head);
            products(slopes, desk.slope, desk.values_across.at(j * head), head);
            for (int r = 0; r < kRows; ++r)
                for (int64_t i = 0; i < kChunk; i += kLanes) {
                    float* at = slopes + r * kChunk + i;
                    store(at, load(weights + r * kChunk + i) * (load(at) - pull[r]));
                }
            mixes(desk.sums, slopes, desk.keys.at(j * head), head);
            spreads(desk.key_sums.at(j * head), slopes, desk.query, head);
        });
        for (int r = 0; r < count; ++r) {
            float* to = call.query_grad + desk.place(call, query_head, first + r);
            for (int64_t d = 0; d < head; ++d) to[d] = desk.sums[r * kWidest + d] * call.scale;
        }
    }
}

// Every key head of every row, by whichever thread is free.
template <class Work>
void owned(const Call& call, Work work) {
#pragma omp parallel num_threads(call.threads)
    {
        Desk desk(call);
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < call.rows * call.keys; ++item) {
            desk.open(call, item / call.keys, item % call.keys);
            work(desk, item / call.keys, item % call.keys);
        }
    }
}

}  // namespace

extern "C" void palimpsest_spans_forward(const Call* call) {
    const int64_t folds = call->queries / call->keys;
    owned(*call, [&](Desk& desk, int64_t, int64_t key_head) {
        for (int64_t fold = 0; fold < folds; ++fold) forward(*call, desk, key_head * folds + fold);
    });
}

extern "C" void palimpsest_spans_backward(const Call* call) {
    const int64_t folds = call->queries / call->keys, head = call->head;
    owned(*call, [&](Desk& desk, int64_t row, int64_t key_head) {
        desk.key_sums.clear(), desk.value_sums.clear();
        for (int64_t fold = 0; fold < folds; ++fold) backward(*call, desk, key_head * folds + fold);
        for (int64_t j = 0; j < desk.places; ++j) {
            const int64_t at = ((call->places[row] + j) * call->keys + key_head) * head;
            for (int64_t d = 0; d < head; ++d) call->key_grad[at + d] = *desk.key_sums.at(j * head + d) * 0.69314718f;  // ln 2
            std::memcpy(call->value_grad + at, desk.value_sums.at(j * head), head * sizeof(float));
        }
    });
}

// Attention for training, forward and backward, where every query sees at most two runs of keys of its own row.
//
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
constexpr float kNothing = -1e30f, kUnseen = 1e30f;

typedef float lanes __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int32_t whole __attribute__((vector_size(kLanes * 4), aligned(4)));

inline lanes load(const float* from) { return *(const lanes*)from; }
inline void store(float* to, lanes x) { *(lanes*)to = x; }
inline lanes every(float x) { return lanes{} + x; }

// 2^x for x <= 0, relative error below 3e-7; 0 below -126, so that nothing small slows what it is multiplied with.
inline lanes power_of_two(lanes given) {
    const lanes x = given < -126.0f ? every(-126.0f) : given;
    const lanes magic = every(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const lanes turned = x + magic;
    const lanes part = x - (turned - magic);
    lanes y = every(1.5403530e-4f);
    for (float factor : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        y = y * part + factor;
    return given < -126.0f ? lanes{} : (lanes)((whole)y + (((whole)turned - (whole)magic) << 23));
}

struct Call {
    int64_t rows, places, queries, keys, head, threads;
    float scale;
    const float *query, *key, *value;  // [b, n, Hq, D], [b, n, Hk, D]
    const int32_t* spans;              // [b, n, 4]
    float *out, *mass;                 // [b, n, Hq, D], [b, Hq, n] in units of log 2
    const float* out_grad;
    float *query_grad, *key_grad, *value_grad;
};

struct Run {
    int64_t first, end;
};

// The keys that a tile of queries touches: one or two runs in whole steps that do not meet.
struct Touched {
    Run runs[2];
    int count = 0;

    Touched(const int32_t (*spans)[4]) {
        for (int side = 0; side < 4; side += 2) {
            Run run{INT64_MAX, 0};
            for (int r = 0; r < kRows; ++r)
                if (spans[r][side] < spans[r][side + 1]) {
                    run.first = std::min<int64_t>(run.first, spans[r][side]);
                    run.end = std::max<int64_t>(run.end, spans[r][side + 1]);
                }
            if (run.first >= run.end) continue;
            runs[count++] = {run.first / kStep * kStep, (run.end + kStep - 1) / kStep * kStep};
        }
        if (count == 2 && runs[0].first < runs[1].end && runs[1].first < runs[0].end) {
            runs[0] = {std::min(runs[0].first, runs[1].first), std::max(runs[0].end, runs[1].end)};
            count = 1;
        }
    }

    template <class Work>
    void each(Work work) const {
        for (int i = 0; i < count; ++i) work(runs[i].first, runs[i].end);
    }
};

// sum[r] += from[r * stride] * {a, b}
inline void add(lanes (&sum)[kRows][2], const float* from, int64_t stride, lanes a, lanes b) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
        const float x = from[r * stride];
        sum[r][0] += x * a;
        sum[r][1] += x * b;
    }
}

// to[r][j] = rows[r] . across[:, j]
inline void products(float* to, const float* rows, const float* across, Run run, int64_t width, int64_t head) {
    for (int64_t j = run.first; j < run.end; j += kStep) {
        lanes sum[kRows][2] = {};
        for (int64_t d = 0; d < head; ++d) {
            add(sum, rows + d, head, load(across + d * width + j), load(across + d * width + j + kLanes));
        }
        for (int r = 0; r < kRows; ++r) {
            store(to + r * width + j, sum[r][0]);
            store(to + r * width + j + kLanes, sum[r][1]);
        }
    }
}

// to[r] += sum over j of weights[r][j] * each[j]
inline void mixes(float* to, const float* weights, const float* each, Run run, int64_t width, int64_t head) {
    for (int64_t d = 0; d < head; d += kStep) {
        lanes sum[kRows][2];
        for (int r = 0; r < kRows; ++r) sum[r][0] = load(to + r * head + d), sum[r][1] = load(to + r * head + d + kLanes);
        for (int64_t j = run.first; j < run.end; ++j) {
            add(sum, weights + j, width, load(each + j * head + d), load(each + j * head + d + kLanes));
        }
        for (int r = 0; r < kRows; ++r) store(to + r * head + d, sum[r][0]), store(to + r * head + d + kLanes, sum[r][1]);
    }
}

// to[j] += sum over r of weights[r][j] * rows[r]
inline void spreads(float* to, const float* weights, const float* rows, Run run, int64_t width, int64_t head) {
    for (int64_t d = 0; d < head; d += kStep) {
        lanes own[kRows][2];
        for (int r = 0; r < kRows; ++r) own[r][0] = load(rows + r * head + d), own[r][1] = load(rows + r * head + d + kLanes);
        for (int64_t j = run.first; j < run.end; ++j) {
            lanes a = load(to + j * head + d), b = load(to + j * head + d + kLanes);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const float x = weights[r * width + j];
                a += x * own[r][0];
                b += x * own[r][1];
            }
            store(to + j * head + d, a);
            store(to + j * head + d + kLanes, b);
        }
    }
}

// What one thread works in, for one key head of one row.
struct Desk {
    int64_t width, head;  // keys in whole steps
    std::vector<float> keys, values, keys_across, values_across, key_sums, value_sums, scores, slopes;
    std::vector<float> query, out, out_grad, query_sums;
    int32_t spans[kRows][4];
    float mass[kRows], shift[kRows];

    Desk(const Call& call) : width((call.places + kStep - 1) / kStep * kStep), head(call.head) {
        for (auto* all : {&keys, &values, &keys_across, &values_across, &key_sums, &value_sums}) all->resize(width * head);
        scores.resize(kRows * width), slopes.resize(kRows * width);
        for (auto* tile : {&query, &out, &out_grad, &query_sums}) tile->resize(kRows * head);
    }

    void open(const Call& call, int64_t row, int64_t key_head) {
        for (int64_t j = 0; j < call.places; ++j) {
            const int64_t at = ((row * call.places + j) * call.keys + key_head) * head;
            std::memcpy(&keys[j * head], call.key + at, head * sizeof(float));
            std::memcpy(&values[j * head], call.value + at, head * sizeof(float));
            for (int64_t d = 0; d < head; ++d) {
                keys_across[d * width + j] = keys[j * head + d];
                values_across[d * width + j] = values[j * head + d];
            }
        }
    }

    // Queries `first` to `first + kRows` of one head, scaled; behind the end they are nothing and see nothing.
    int64_t seat(const Call& call, int64_t row, int64_t query_head, int64_t first, float scale) {
        const int64_t count = std::min<int64_t>(kRows, call.places - first);
        std::fill(query.begin(), query.end(), 0.0f);
        std::memset(spans, 0, sizeof spans);
        for (int64_t r = 0; r < count; ++r) {
            const int32_t* given = call.spans + (row * call.places + first + r) * 4;
            for (int i = 0; i < 4; ++i) spans[r][i] = (int32_t)std::clamp<int64_t>(given[i], 0, call.places);
            const float* from = call.query + ((row * call.places + first + r) * call.queries + query_head) * head;
            for (int64_t d = 0; d < head; ++d) query[r * head + d] = from[d] * scale;
        }
        return count;
    }

    // Scores over what is touched; what a query does not see is kNothing.
    void score(const Touched& touched) {
        touched.each([&](int64_t first, int64_t end) {
            products(scores.data(), query.data(), keys_across.data(), {first, end}, width, head);
            for (int r = 0; r < kRows; ++r) {
                float* own = &scores[r * width];
                int64_t hidden = first;
                for (int side = 0; side < 4; side += 2) {
                    const int64_t from = std::clamp<int64_t>(spans[r][side], first, end);
                    const int64_t until = std::clamp<int64_t>(spans[r][side + 1], first, end);
                    if (from >= until) continue;
                    if (from > hidden) std::fill(own + hidden, own + from, kNothing);
                    hidden = std::max(hidden, until);
                }
                std::fill(own + hidden, own + end, kNothing);
            }
        });
    }

    // scores become 2^(score - shift), their sums are returned in `mass`.
    void weigh(const Touched& touched) {
        for (int r = 0; r < kRows; ++r) {
            lanes sum = {};
            touched.each([&](int64_t first, int64_t end) {
                for (int64_t j = first; j < end; j += kLanes) {
                    const lanes y = power_of_two(load(&scores[r * width + j]) - shift[r]);
                    store(&scores[r * width + j], y);
                    sum += y;
                }
            });
            mass[r] = 0.0f;
            for (int i = 0; i < kLanes; ++i) mass[r] += sum[i];
        }
    }

    void peaks(const Touched& touched) {
        for (int r = 0; r < kRows; ++r) {
            lanes top = every(kNothing);
            touched.each([&](int64_t first, int64_t end) {
                for (int64_t j = first; j < end; j += kLanes) {
                    const lanes x = load(&scores[r * width + j]);
                    top = x > top ? x : top;
                }
            });
            shift[r] = kNothing;
            for (int i = 0; i < kLanes; ++i) shift[r] = std::max(shift[r], top[i]);
            if (shift[r] == kNothing) shift[r] = kUnseen;
        }
    }
};

void forward(const Call& call, Desk& desk, int64_t row, int64_t query_head) {
    const int64_t head = call.head;
    for (int64_t first = 0; first < call.places; first += kRows) {
        const int64_t count = desk.seat(call, row, query_head, first, call.scale * 1.44269504f);
        const Touched touched(desk.spans);
        desk.score(touched);
        desk.peaks(touched);
        desk.weigh(touched);
        std::fill(desk.out.begin(), desk.out.end(), 0.0f);
        touched.each([&](int64_t from, int64_t end) {
            mixes(desk.out.data(), desk.scores.data(), desk.values.data(), {from, end}, desk.width, head);
        });
        for (int64_t r = 0; r < count; ++r) {
            const bool blind = desk.shift[r] == kUnseen;
            const float share = blind ? 0.0f : 1.0f / desk.mass[r];
            float* to = call.out + ((row * call.places + first + r) * call.queries + query_head) * head;
            for (int64_t d = 0; d < head; ++d) to[d] = desk.out[r * head + d] * share;
            const float mass = blind ? kUnseen : desk.shift[r] + std::log2(desk.mass[r]);
            call.mass[(row * call.queries + query_head) * call.places + first + r] = mass;
        }
    }
}

void backward(const Call& call, Desk& desk, int64_t row, int64_t query_head) {
    const int64_t head = call.head, width = desk.width;
    for (int64_t first = 0; first < call.places; first += kRows) {
        const int64_t count = desk.seat(call, row, query_head, first, call.scale * 1.44269504f);
        const Touched touched(desk.spans);
        desk.score(touched);
        float pull[kRows] = {};  // sum over a head of out * its gradient
        std::fill(desk.out_grad.begin(), desk.out_grad.end(), 0.0f);
        std::fill(desk.shift, desk.shift + kRows, kUnseen);
        for (int64_t r = 0; r < count; ++r) {
            const int64_t at = ((row * call.places + first + r) * call.queries + query_head) * head;
            std::memcpy(&desk.out_grad[r * head], call.out_grad + at, head * sizeof(float));
            for (int64_t d = 0; d < head; ++d) pull[r] += call.out[at + d] * call.out_grad[at + d];
            desk.shift[r] = call.mass[(row * call.queries + query_head) * call.places + first + r];
        }
        desk.weigh(touched);
        std::fill(desk.query_sums.begin(), desk.query_sums.end(), 0.0f);
        for (auto& x : desk.query) x *= 0.69314718f;  // back to units of e for what goes to the keys
        touched.each([&](int64_t from, int64_t end) {
            const Run run{from, end};
            spreads(desk.value_sums.data(), desk.scores.data(), desk.out_grad.data(), run, width, head);
            products(desk.slopes.data(), desk.out_grad.data(), desk.values_across.data(), run, width, head);
            for (int r = 0; r < kRows; ++r)
                for (int64_t j = from; j < end; j += kLanes) {
                    float* at = &desk.slopes[r * width + j];
                    store(at, load(&desk.scores[r * width + j]) * (load(at) - pull[r]));
                }
            mixes(desk.query_sums.data(), desk.slopes.data(), desk.keys.data(), run, width, head);
            spreads(desk.key_sums.data(), desk.slopes.data(), desk.query.data(), run, width, head);
        });
        for (int64_t r = 0; r < count; ++r) {
            float* to = call.query_grad + ((row * call.places + first + r) * call.queries + query_head) * head;
            for (int64_t d = 0; d < head; ++d) to[d] = desk.query_sums[r * head + d] * call.scale;
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
    owned(*call, [&](Desk& desk, int64_t row, int64_t key_head) {
        for (int64_t fold = 0; fold < folds; ++fold) forward(*call, desk, row, key_head * folds + fold);
    });
}

extern "C" void palimpsest_spans_backward(const Call* call) {
    const int64_t folds = call->queries / call->keys, head = call->head;
    owned(*call, [&](Desk& desk, int64_t row, int64_t key_head) {
        std::fill(desk.key_sums.begin(), desk.key_sums.end(), 0.0f);
        std::fill(desk.value_sums.begin(), desk.value_sums.end(), 0.0f);
        for (int64_t fold = 0; fold < folds; ++fold) backward(*call, desk, row, key_head * folds + fold);
        for (int64_t j = 0; j < call->places; ++j) {
            const int64_t at = ((row * call->places + j) * call->keys + key_head) * head;
            std::memcpy(call->key_grad + at, &desk.key_sums[j * head], head * sizeof(float));
            std::memcpy(call->value_grad + at, &desk.value_sums[j * head], head * sizeof(float));
        }
    });
}

// One pass of the network over packed rows of any number of sequences, in one call.
//
// Rows are cut into tiles of at most kRows, of which a thread does one at a time: everything but attention is a row's own
// affair, so tiles meet once per layer, when all keys and values of the pass are in place. Behind the last layer's, only rows
// whose logits are wanted go on. The structures mirror forward.py.
#include <algorithm>

#include "attention.h"
#include "draw.h"
#include "hands.h"
#include "logits.h"

namespace palimpsest {

struct Layer {
    const float *input_norm, *post_norm;
    const number *qkv, *out, *drafting, *gate_up, *down;  // `drafting` is `out` with the drafter LoRA in it, or null
};

struct Network {
    int64_t hidden, queries, keys, head, inner, vocabulary, layers;
    float eps;
    const number* embedding;  // [V, H]
    const float* norm;
    const float* vocabulary_weight;
    const float* turns;  // [positions, D]: cosines, then sines, of half a head
    const float* scales; // [positions]: of queries, softmax's own included
    const Layer* layer;

    int64_t pair() const { return 2 * keys * head; }
};

// Neighbouring sequences of one shape, as plan.py packs them.
struct Group {
    int64_t start, count, size, clean, group_size, sequence;
};

// Neighbouring rows that are computed together.
struct Tile {
    int64_t first, rows;
};

struct Pass {
    int64_t rows, wanted_rows, table_width, page_stride, layer_stride, threads, never;
    const int64_t *token, *position, *limit, *slot, *wanted, *tables;
    const Group* group;
    const bool* gate;  // [rows], or null
    number* pages;     // [layers, pages], each as pages.h has it
    float* logits;     // [W, V]
    Outcome* outcome;  // [W]; `never` is not to be picked
};

// Rows to draw from; `picked` gets one id of each.
struct Draw {
    int64_t rows, size, threads, never;
    const float *scores, *temperature;  // [rows, size], [rows]
    const int64_t *key, *position;      // [rows] of the noise
    int64_t* picked;                    // [rows]
};

// What outlives a phase of a pass, per row.
struct Room {
    float* x;                   // [rows, H]
    number *query, *fresh[2];   // [rows, Hq D]; keys, then values, [rows, 2 Hk D], for even and odd layers
    static size_t bytes(const Network& net, int64_t rows) {
        return (size_t)rows * (sizeof(float) * net.hidden + sizeof(number) * (net.queries * net.head + 2 * net.pair())) + 256;
    }
    Room(const Network& net, int64_t rows, void* memory) {
        x = (float*)memory;
        query = (number*)(x + rows * net.hidden);
        fresh[0] = query + rows * net.queries * net.head;
        fresh[1] = fresh[0] + rows * net.pair();
    }
};

// Buffers of one tile; sizes are bounded by forward.py.
constexpr int64_t kMostWidth = 1 << 15, kMostFolds = 16;
struct Desk {
    number narrow[kRows * kMostWidth];
    float wide[kRows * kMostWidth];
    number beside[2 * kMostHead * kKeys];  // a group's noisy rows of one head, 32 at most, as a page of one head would have them
    Mix mix[kRows * kMostFolds / kTile];
    Keys pages[kSpan + 1];
    Scores scores;
};

struct Run {
    const Network& net;
    const Pass& pass;
    Room room;

    static auto keep(float* to, int64_t width) {
        return [to, width](int m, int64_t n, lanes a, lanes b) {
            store(to + m * width + n, a);
            store(to + m * width + n + kLanes, b);
        };
    }

    auto add_to_rows(int64_t first) const {
        float* x = room.x + first * net.hidden;
        return [x, width = net.hidden](int m, int64_t n, lanes a, lanes b) {
            float* to = x + m * width + n;
            store(to, load(to) + a);
            store(to + kLanes, load(to + kLanes) + b);
        };
    }

    void embed(int64_t first, int64_t rows) const {
        for (int64_t row = first; row < first + rows; ++row) {
            const number* from = net.embedding + pass.token[row] * net.hidden;
            for (int64_t i = 0; i < net.hidden; i += kLanes) store(room.x + row * net.hidden + i, load(from + i));
        }
    }

    void normed(number* to, const float* weight, int64_t first, int64_t rows) const {
        for (int64_t m = 0; m < rows; ++m)
            rms_norm(to + m * net.hidden, room.x + (first + m) * net.hidden, weight, net.hidden, net.eps);
    }

    // Rotate-half of one head, times `scale`.
    void turn(number* to, const float* from, int64_t position, float scale) const {
        const int64_t middle = net.head / 2;
        const float* cosine = net.turns + position * net.head;
        const lanes by = every(scale);
        for (int64_t d = 0; d < middle; d += kLanes) {
            const lanes a = load(from + d), b = load(from + middle + d);
            const lanes c = load(cosine + d), s = load(cosine + middle + d);
            store(to + d, by * fma(a, c, -(b * s)));
            store(to + middle + d, by * fma(b, c, a * s));
        }
    }

    // Queries, keys and values of a tile.
    void project(const Layer& layer, int64_t index, int64_t first, int64_t rows, Desk& desk) const {
        const int64_t size = net.head, heads = net.queries + 2 * net.keys, width = heads * size;
        normed(desk.narrow, layer.input_norm, first, rows);
        product<Numbers>(rows, desk.narrow, net.hidden, layer.qkv, net.hidden, width, keep(desk.wide, width));
        for (int64_t m = 0; m < rows; ++m) {
            const int64_t row = first + m, position = pass.position[row];
            const float* from = desk.wide + m * width;
            number *query = room.query + row * net.queries * size, *fresh = room.fresh[index % 2] + row * net.pair();
            for (int64_t h = 0; h < net.queries; ++h) turn(query + h * size, from + h * size, position, net.scales[position]);
            from += net.queries * size;
            for (int64_t h = 0; h < net.keys; ++h) turn(fresh + h * size, from + h * size, position, 1.0f);
            for (int64_t d = net.keys * size; d < net.pair(); d += kLanes) store(fresh + d, load(from + d));
        }
        for (int64_t row = first, count; row < first + rows; row += count) count = commit(index, row, first + rows);
    }

    // Clean rows' keys and values go to their pages: those of `row`, and of the next where both fit one reading; their number.
    int64_t commit(int64_t index, int64_t row, int64_t end) const {
        const int64_t slot = pass.slot[row], size = net.head, place = slot % kKeys;
        if (slot < 0) return 1;
        const bool two = place % 2 == 0 && row + 1 < end && pass.slot[row + 1] == slot + 1;
        const number *key = room.fresh[index % 2] + row * net.pair(), *value = key + net.keys * size;
        for (int64_t h = 0; h < net.keys; ++h, key += size, value += size) {
            const Keys to(page(index, slot / kKeys), net.keys, h, size);
            if (two) to.put_two(place, key, value, net.pair(), size);
            else to.put(place, key, value, size);
        }
        return two ? 2 : 1;
    }

    // What comes after a tile's keys and values are known everywhere: attention, its projection, the feed-forward.
    void mix(const Layer& layer, int64_t index, int64_t first, int64_t rows, Desk& desk) const {
        const int64_t width = net.queries * net.head;
        for (int64_t row = first; row < first + rows;) row += attend(index, row, first, first + rows, desk);
        for (int64_t some, done = 0; done < rows; done += some) {
            const bool drafting = drafts(layer, first + done);
            for (some = 1; done + some < rows && drafts(layer, first + done + some) == drafting;) ++some;
            product<Numbers>(some, desk.narrow + done * width, width, drafting ? layer.drafting : layer.out, width, net.hidden,
                              add_to_rows(first + done));
        }
        normed(desk.narrow, layer.post_norm, first, rows);
        number* opened = (number*)desk.wide;
        product<Numbers>(rows, desk.narrow, net.hidden, layer.gate_up, net.hidden, 2 * net.inner,
                          [&](int m, int64_t n, lanes gate, lanes up) {
                              store(opened + m * net.inner + n / 2, silu(gate) * up);
                          });
        product<Numbers>(rows, opened, net.inner, layer.down, net.inner, net.hidden, add_to_rows(first));
    }

    bool drafts(const Layer& layer, int64_t row) const { return layer.drafting && pass.gate && pass.gate[row]; }

    // The rows from `row` on, up to `end` at most, that see the same pages and the same noisy rows.
    struct Scope {
        int64_t count, near, near_count;
        const int64_t* table;
    };

    Scope scope(int64_t row, int64_t end) const {
        const Group* group = pass.group;
        while (row >= group->start + group->count * group->size) ++group;
        const int64_t inside = (row - group->start) % group->size, sequence = (row - group->start) / group->size;
        const int64_t clean_end = row - inside + group->clean;
        const int64_t* table = pass.tables + (group->sequence + sequence) * pass.table_width;
        if (inside < group->clean) return {std::min(clean_end, end) - row, 0, 0, table};
        const int64_t near = clean_end + (inside - group->clean) / group->group_size * group->group_size;
        return {std::min(near + group->group_size, end) - row, near, group->group_size, table};
    }

    // Attention of the rows of one scope, [rows, Hq D], where the tile's `first` row begins the desk; their number.
    int64_t attend(int64_t index, int64_t row, int64_t first, int64_t end, Desk& desk) const {
        const Scope scope = this->scope(row, end);
        number* to = desk.narrow + (row - first) * net.queries * net.head;
        const int64_t size = net.head, queries = scope.count * (net.queries / net.keys);
        const int64_t furthest = *std::max_element(pass.limit + row, pass.limit + row + scope.count);
        for (int64_t head = 0; head < net.keys; ++head) {
            gather(desk.mix, row, head, queries);
            int64_t key = 0;
            do {
                const int64_t clean = std::min(kSpan, (furthest - key + kKeys - 1) / kKeys);
                const int64_t near = key + kSpan * kKeys < furthest ? 0 : scope.near_count;
                for (int64_t i = 0; i < clean; ++i)
                    desk.pages[i] = Keys(page(index, scope.table[key / kKeys + i]), net.keys, head, size);
                if (near) desk.pages[clean] = beside(index, head, scope.near, near, desk);
                for (int64_t i = 0; i < queries; i += kTile)
                    see(desk.mix[i / kTile], desk.pages, key, clean, near, size, desk.scores);
                key += kSpan * kKeys;
            } while (key < furthest);
            settle(to, desk.mix, head, queries);
        }
        return scope.count;
    }

    number* page(int64_t index, int64_t at) const {
        return pass.pages + index * pass.layer_stride + at * pass.page_stride;
    }

    // Noisy rows' keys and values of one head, laid out like a page.
    Keys beside(int64_t index, int64_t head, int64_t row, int64_t count, Desk& desk) const {
        const int64_t size = net.head;
        const Keys keys(desk.beside, 1, 0, size);
        const number* from = room.fresh[index % 2] + row * net.pair() + head * size;
        keys.fill(count, from, from + net.keys * size, net.pair(), size);
        return keys;
    }

    // Fresh states for the queries of one key head.
    void gather(Mix* mixes, int64_t row, int64_t head, int64_t queries) const {
        const int64_t size = net.head, folds = net.queries / net.keys;
        for (int64_t i = 0; i < queries; ++i) {
            Mix& mix = mixes[i / kTile];
            const int64_t at = i % kTile, own = row + i / folds;
            mix.count = std::min<int64_t>(kTile, queries - i / kTile * kTile);
            mix.limit[at] = pass.limit[own];
            mix.peak[at] = kNothing;
            mix.mass[at] = 0.0f;
            std::memset(mix.sum[at], 0, (size_t)size * sizeof(float));
            const number* query = room.query + (own * net.queries + head * folds + i % folds) * size;
            std::memcpy(mix.query[at], query, (size_t)size * sizeof *query);
        }
    }

    // What the queries of one key head have seen, each in its place of its row.
    void settle(number* to, const Mix* mixes, int64_t head, int64_t queries) const {
        const int64_t size = net.head, folds = net.queries / net.keys;
        for (int64_t i = 0; i < queries; ++i) {
            const Mix& mix = mixes[i / kTile];
            const lanes share = every(1.0f / mix.mass[i % kTile]);
            number* own = to + ((i / folds) * net.queries + head * folds + i % folds) * size;
            for (int64_t d = 0; d < size; d += kLanes) store(own + d, load(mix.sum[i % kTile] + d) * share);
        }
    }

    // Which of the wanted rows are the tile's.
    Tile wanted(int64_t first, int64_t rows) const {
        const int64_t *stop = pass.wanted + pass.wanted_rows, *from = std::lower_bound(pass.wanted, stop, first);
        return {from - pass.wanted, std::lower_bound(from, stop, first + rows) - from};
    }

    // From the tile's first wanted row to its last.
    Tile heard(int64_t first, int64_t rows) const {
        const Tile own = wanted(first, rows);
        if (!own.rows) return {first, 0};
        const int64_t* from = pass.wanted + own.first;
        return {*from, from[own.rows - 1] + 1 - *from};
    }

    // Logits of the tile's wanted rows, and what they come to.
    void speak(int64_t first, int64_t rows, Desk& desk) const {
        const auto [own, count] = wanted(first, rows);
        const int64_t* from = pass.wanted + own;
        if (!count) return;
        for (int64_t m = 0; m < count; ++m)
            rms_norm(desk.wide + m * net.hidden, room.x + from[m] * net.hidden, net.norm, net.hidden, net.eps);
        product<Float32>(count, desk.wide, net.hidden, net.vocabulary_weight, net.hidden, net.vocabulary,
                         keep(pass.logits + own * net.vocabulary, net.vocabulary));
        for (int64_t at = own; at < own + count; ++at)
            pass.outcome[at] = outcome(pass.logits + at * net.vocabulary, net.vocabulary, pass.never);
    }
};

}  // namespace palimpsest

extern "C" int64_t palimpsest_lanes() { return palimpsest::kLanes; }

extern "C" size_t palimpsest_room(const palimpsest::Network* net, int64_t rows) { return palimpsest::Room::bytes(*net, rows); }

extern "C" void palimpsest_forward(const palimpsest::Network* net, const palimpsest::Pass* pass, void* memory) {
    using namespace palimpsest;
    const Run run{*net, *pass, Room(*net, pass->rows, memory)};
    const auto shares = [](int64_t all, int64_t parts) { return (all + parts - 1) / parts; };
    const int64_t each = shares(pass->rows, pass->threads * kRows);  // tiles of a thread
    const int64_t tiles = std::min(pass->threads * each, pass->rows);
    // Before layer `index`, behind the one before it: what a row needs of others is in place whenever all tiles have come here.
    for (int64_t index = 0; index <= net->layers; ++index)
        hands().share(pass->threads, tiles, [&, index](int64_t tile) {
            static thread_local Desk desk;
            const int64_t first = tile * pass->rows / tiles, rows = (tile + 1) * pass->rows / tiles - first;
            const bool ends = index == net->layers;
            const Tile own = ends ? run.heard(first, rows) : Tile{first, rows};
            if (index == 0) run.embed(first, rows);
            else if (own.rows) run.mix(net->layer[index - 1], index - 1, own.first, own.rows, desk);
            if (ends) run.speak(first, rows, desk);
            else run.project(net->layer[index], index, first, rows, desk);
        });
}

extern "C" void palimpsest_draw(const palimpsest::Draw* draw) {
    using namespace palimpsest;
    hands().share(draw->threads, draw->rows, [&](int64_t row) {
        draw->picked[row] = drawn(draw->scores + row * draw->size, draw->size, draw->temperature[row], (uint64_t)draw->key[row],
                                  (uint64_t)draw->position[row], draw->never);
    });
}

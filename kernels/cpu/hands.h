// Threads that help: each takes a piece of what is to be done whenever it comes to it, and whoever shares the work is one of
// them.
//
// A pass shares its rows a few times. On a machine that has other things to do a helper may stand still at any moment, so
// nobody waits for helpers: only for pieces that somebody is in the middle of. Helpers run where nobody else wants to
// (SCHED_IDLE): what an answer still needs beside the pass, its records and their database, takes their processor at once and
// not the pass's.
#pragma once

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>

namespace palimpsest {

class Hands {
    using Clock = std::chrono::steady_clock;
    static constexpr auto kAwake = std::chrono::microseconds(500);  // a helper looks out for so long, then it sleeps
    static constexpr int kPatience = 2000;                          // looks before whoever waits for a piece sleeps

    std::atomic<uint64_t> offer_{0};  // number of the sharing, above; pieces that nobody has taken, in the lower half
    std::atomic<uint32_t> open_{0};   // pieces that are not done
    void (*act_)(void*, int64_t) = nullptr;
    void* with_ = nullptr;
    std::mutex busy_;
    int64_t helpers_ = 0;

    static uint32_t left(uint64_t offer) { return (uint32_t)offer; }

    // Do a piece, if there is one. What is to be done stands still from an offer until its last piece is done, so whoever has
    // taken a piece may read it.
    bool take() {
        for (uint64_t seen = offer_.load(); left(seen);)
            if (offer_.compare_exchange_weak(seen, seen - 1)) {
                act_(with_, left(seen) - 1);
                if (open_.fetch_sub(1) == 1) open_.notify_one();
                return true;
            }
        return false;
    }

    void help() {
        const sched_param any{};
        pthread_setschedparam(pthread_self(), SCHED_IDLE, &any);  // a system that refuses gets a helper like any other thread
        for (Clock::time_point last = Clock::now();;) {
            const uint64_t seen = offer_.load();
            if (take()) last = Clock::now();
            else if (left(seen) == 0 && Clock::now() - last > kAwake) offer_.wait(seen), last = Clock::now();
            else _mm_pause();
        }
    }

    // One more helper; false where the system has no thread left to give, and then there are fewer.
    bool hire() {
        try {
            std::thread(&Hands::help, this).detach();
        } catch (const std::system_error&) {
            return false;
        }
        ++helpers_;
        return true;
    }

  public:
    // Have `act(piece)` done for every piece below `pieces`, by this thread and `threads` - 1 helpers at most. A thread whose
    // helpers are somebody else's just now does it alone.
    template <class Act>
    void share(int64_t threads, int64_t pieces, Act&& act) {
        const auto one = [](void* with, int64_t piece) { (*(std::remove_reference_t<Act>*)with)(piece); };
        std::unique_lock own(busy_, std::defer_lock);
        if (threads < 2 || pieces < 2 || !own.try_lock()) {
            for (int64_t piece = pieces; piece-- > 0;) one(&act, piece);
            return;
        }
        while (helpers_ < threads - 1 && hire()) {}
        with_ = &act;
        act_ = one;
        open_ = (uint32_t)pieces;
        offer_ = ((offer_ >> 32) + 1) << 32 | (uint64_t)pieces;
        offer_.notify_all();
        while (take()) {}
        for (int looks = 0; const uint32_t open = open_; ++looks)
            if (looks < kPatience) _mm_pause();
            else open_.wait(open);
    }
};

// Those of this process; they end with it, and nothing that they look at is taken from under them before that.
inline Hands& hands() {
    static Hands* const all = new Hands;
    return *all;
}

}  // namespace palimpsest

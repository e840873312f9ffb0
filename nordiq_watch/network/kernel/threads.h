// Spreads the blocks of a call over threads.

#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "dispatch.h"

namespace nordiq {

// Floats per register that a call gets: what it asks for, and no more than the processor has; 0 asks for all.
inline int64_t chosen_lanes(int64_t wanted) {
    const int64_t best = widest();
    return wanted > 0 && wanted < best ? wanted : best;
}

// Calls run(next) in as many threads as there are blocks, `most` at most; each takes its blocks from `next`. 0 = done,
// 1 = one of them was false: not enough memory. Never throws: the calling thread computes the blocks for which no other
// thread could be started.
template <typename Run>
int run_threads(int64_t most, int64_t blocks, const Run &run) {
    const int64_t helpers = (most < blocks ? most : blocks) - 1;
    std::atomic<int64_t> next{0};
    std::atomic<bool> whole{true};
    auto work = [&] {
        if (!run(next)) whole = false;
    };
    std::vector<std::thread> threads;
    try {
        for (int64_t i = 0; i < helpers; ++i) threads.emplace_back(work);
    } catch (...) {
    }
    work();
    for (auto &thread : threads) thread.join();
    return whole ? 0 : 1;
}

}  // namespace nordiq

// The C interface of the kernel, called from native.py with ctypes; kernels.inc, compiled once for each width of vector
// registers, has the computation. A call takes the widest registers that this processor has.

#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <thread>
#include <vector>

#include "layout.h"
#include "structs.h"

#ifdef __has_feature  // clang
#if __has_feature(address_sanitizer)
#define NORDIQ_GUARDED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define NORDIQ_GUARDED 1
#endif
#ifdef NORDIQ_GUARDED
#include <sanitizer/asan_interface.h>
#define NORDIQ_FORBID(memory, bytes) ASAN_POISON_MEMORY_REGION(memory, bytes)
#else
#define NORDIQ_GUARDED 0
#define NORDIQ_FORBID(memory, bytes)
#endif

namespace nordiq {
constexpr int GROUP = 6;               // steps that go through the network together
constexpr int GUARD = NORDIQ_GUARDED;  // vectors between two pieces of scratch memory
}  // namespace nordiq

#if defined(__x86_64__) && defined(__GNUC__)
#define NORDIQ_DISPATCH 1
#define NORDIQ_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define NORDIQ_BEGIN(features) \
    NORDIQ_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define NORDIQ_END NORDIQ_PRAGMA(clang attribute pop)
#else
#define NORDIQ_BEGIN(features) NORDIQ_PRAGMA(GCC push_options) NORDIQ_PRAGMA(GCC target(features))
#define NORDIQ_END NORDIQ_PRAGMA(GCC pop_options)
#endif
NORDIQ_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define LANES 16
#include "kernels.inc"
#undef LANES
NORDIQ_END
NORDIQ_BEGIN("avx2,fma")
#define LANES 8
#include "kernels.inc"
#undef LANES
NORDIQ_END
#endif
#define LANES 4
#include "kernels.inc"
#undef LANES

namespace nordiq {
namespace {

int64_t widest() {
#ifdef NORDIQ_DISPATCH
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}

using RunBlocks = bool (*)(const Network &, const Call &, std::atomic<int64_t> &);

RunBlocks kernel_of([[maybe_unused]] int64_t lanes) {
#ifdef NORDIQ_DISPATCH
    if (lanes == 16) return lanes16::run_blocks;
    if (lanes == 8) return lanes8::run_blocks;
#endif
    return lanes4::run_blocks;
}

}  // namespace
}  // namespace nordiq

extern "C" int nordiq_version() { return nordiq::VERSION; }
extern "C" int64_t nordiq_pack() { return nordiq::PACK; }
extern "C" const nordiq::Field *nordiq_layout() { return nordiq::LAYOUT; }
extern "C" int64_t nordiq_lanes() { return nordiq::widest(); }

// 0 = done, 1 = not enough memory. Never throws: the calling thread computes the blocks for which no other thread could
// be started.
extern "C" int nordiq_forward(const nordiq::Network *network, const nordiq::Call *call) {
    const int64_t best = nordiq::widest();
    const int64_t lanes = call->lanes > 0 && call->lanes < best ? call->lanes : best;
    const nordiq::RunBlocks run_blocks = nordiq::kernel_of(lanes);
    const int64_t blocks = (call->servers + lanes - 1) / lanes;
    const int64_t helpers = (call->threads < blocks ? call->threads : blocks) - 1;
    std::atomic<int64_t> next{0};
    std::atomic<bool> whole{true};
    auto run = [&] {
        if (!run_blocks(*network, *call, next)) whole = false;
    };
    std::vector<std::thread> threads;
    try {
        for (int64_t i = 0; i < helpers; ++i) threads.emplace_back(run);
    } catch (...) {
    }
    run();
    for (auto &thread : threads) thread.join();
    return whole ? 0 : 1;
}

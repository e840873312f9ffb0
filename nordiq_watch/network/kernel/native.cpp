// The C interface of the kernel, called from native.py with ctypes; kernels.inc, compiled once for each width of vector
// registers, has the computation. A call takes the widest registers that this processor has.

#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "dispatch.h"
#include "layout.h"
#include "structs.h"
#include "threads.h"

namespace nordiq {
constexpr int GROUP = 6;  // steps that go through the network together
}  // namespace nordiq

#define NORDIQ_CODE "kernels.inc"
#include "widths.inc"

namespace nordiq {
namespace {

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

// 0 = done, 1 = not enough memory. Never throws.
extern "C" int nordiq_forward(const nordiq::Network *network, const nordiq::Call *call) {
    const int64_t lanes = nordiq::chosen_lanes(call->lanes), blocks = (call->servers + lanes - 1) / lanes;
    const nordiq::RunBlocks run_blocks = nordiq::kernel_of(lanes);
    return nordiq::run_threads(call->threads, blocks,
                               [&](std::atomic<int64_t> &next) { return run_blocks(*network, *call, next); });
}

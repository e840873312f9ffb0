// The C interface of what is forecast beside the network, called from terms/native_terms.py with ctypes; terms.inc,
// compiled once for each width of vector registers, has the computation.

#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>

#include "../dispatch.h"
#include "../threads.h"
#include "layout.h"

#define NORDIQ_CODE "terms/terms.inc"
#include "../widths.inc"

namespace nordiq {
namespace {

using RunTerms = bool (*)(const Terms &, const TermsCall &, std::atomic<int64_t> &);

RunTerms terms_kernel_of([[maybe_unused]] int64_t lanes) {
#ifdef NORDIQ_DISPATCH
    if (lanes == 16) return terms16::run_blocks;
    if (lanes == 8) return terms8::run_blocks;
#endif
    return terms4::run_blocks;
}

}  // namespace
}  // namespace nordiq

extern "C" int nordiq_terms_version() { return nordiq::TERMS_VERSION; }
extern "C" const nordiq::Field *nordiq_terms_layout() { return nordiq::TERMS_LAYOUT; }

// 0 = done, 1 = not enough memory. Never throws.
extern "C" int nordiq_terms(const nordiq::Terms *terms, const nordiq::TermsCall *call) {
    const int64_t lanes = nordiq::chosen_lanes(call->lanes), blocks = (call->windows + lanes - 1) / lanes;
    const nordiq::RunTerms run_blocks = nordiq::terms_kernel_of(lanes);
    return nordiq::run_threads(call->threads, blocks,
                               [&](std::atomic<int64_t> &next) { return run_blocks(*terms, *call, next); });
}

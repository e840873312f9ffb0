// The C interface of the training step, called from native_training.py with ctypes; steps.inc, compiled once for each
// width of vector registers, has the computation.

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "../dispatch.h"
#include "../threads.h"
#include "labels.h"
#include "layout.h"
#include "state.h"

#define NORDIQ_CODE "training/steps.inc"
#include "../widths.inc"

namespace nordiq {
namespace {

using Phase = void (*)(TrainingState &, const TrainingBatch &, size_t);

struct Phases {
    Phase tables, blocks, tables_backward;
};

Phases phases_of([[maybe_unused]] int64_t lanes) {
#ifdef NORDIQ_DISPATCH
    if (lanes == 16) return {steps16::run_tables, steps16::run_blocks, steps16::run_tables_backward};
    if (lanes == 8) return {steps8::run_tables, steps8::run_blocks, steps8::run_tables_backward};
#endif
    return {steps4::run_tables, steps4::run_blocks, steps4::run_tables_backward};
}

// While it lives, this thread takes numbers below 1e-38 for 0: gradients come down to them, and a processor needs a
// hundred times as long for them as for others.
class FlushToZero {
  public:
#ifdef __SSE__
    FlushToZero() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040); }
    ~FlushToZero() { _mm_setcsr(before); }

  private:
    const unsigned before;
#endif
};

// Runs the phase for each thread's number. What no thread could be started for, the calling thread computes. Throws
// std::bad_alloc if any of them had too little memory.
void run_phase(Phase phase, TrainingState &state, const TrainingBatch &batch) {
    std::atomic<bool> whole{true};
    auto run = [&](size_t number) {
        [[maybe_unused]] const FlushToZero flush;
        try {
            phase(state, batch, number);
        } catch (...) {
            whole = false;
        }
    };
    std::vector<std::thread> threads;
    size_t next = 1;
    try {
        for (; next < state.threads.size(); ++next) threads.emplace_back(run, next);
    } catch (...) {
    }
    run(0);
    for (; next < state.threads.size(); ++next) run(next);
    for (auto &thread : threads) thread.join();
    if (!whole) throw std::bad_alloc();
}

}  // namespace
}  // namespace nordiq

extern "C" int nordiq_training_version() { return nordiq::TRAINING_VERSION; }
extern "C" const nordiq::Field *nordiq_training_layout() { return nordiq::TRAINING_LAYOUT; }

// What a network needs from one batch to the next, to be freed; null if there is not enough memory. The arrays to which
// `network` points must outlive it.
extern "C" void *nordiq_training_begin(const nordiq::TrainedNetwork *network) {
    try {
        return new nordiq::TrainingState(*network);
    } catch (...) {
        return nullptr;
    }
}

extern "C" void nordiq_training_end(void *state) { delete static_cast<nordiq::TrainingState *>(state); }

// Writes the batch's loss and gradients. 0 = done, 1 = not enough memory. Never throws.
extern "C" int nordiq_training_step(void *state_of, nordiq::TrainingBatch *batch) {
    nordiq::TrainingState &state = *static_cast<nordiq::TrainingState *>(state_of);
    const int64_t lanes = nordiq::chosen_lanes(batch->lanes);
    const int64_t blocks = (batch->windows + lanes - 1) / lanes;
    const nordiq::Phases phases = nordiq::phases_of(lanes);
    try {
        state.prepare(*batch, size_t(batch->threads < blocks ? batch->threads : blocks));
        for (const nordiq::Phase phase : {phases.tables, phases.blocks, phases.tables_backward})
            nordiq::run_phase(phase, state, *batch);
        state.finish(*batch);
    } catch (...) {
        return 1;
    }
    return 0;
}

// The structs that native_terms.py fills in and passes by pointer; terms/library.py mirrors them. Add a field here, in
// layout.h and there.

#pragma once

#include <cstdint>

#include "../structs.h"

namespace nordiq {

// Raised by one, here and in terms/library.py, when something changes that no size or offset shows.
constexpr int TERMS_VERSION = 1;

// What the members read is made in past.inc and rows.inc; terms/linear.py and terms/row_inputs.py say the same in
// Python.
constexpr int64_t OF_EACH = 6;         // inputs of a linear map from each target
constexpr int64_t TIME_OF_DAY = 2;     // and from the time of day
constexpr int64_t WINDOW_INPUTS = 31;  // of a row network
constexpr int64_t OWN_FACTS = 27;      // of these, the ones about the target itself
constexpr int64_t DAILY_INPUTS = 5;    // inputs of a step that lie a day back

// horizon · quantiles outputs; slots + targets · OF_EACH + TIME_OF_DAY inputs.
struct LinearTerm {
    const float *floor;  // [targets]; null in a model without this member
    const Dense *maps;   // [targets]
};

// A step's first values are those of its window, of its place in the horizon (TermsCall.steps) and of the day before,
// added up: `hidden` values that go on, as many inside the first layer (none without layers), and its direct way to the
// quantiles.
struct RowsTerm {
    int64_t hidden, layers, daily;           // daily: DAILY_INPUTS, or 0 where the past is shorter than a day
    const float *floor;                      // [targets]; null in a model without this member
    const float *window_mean, *window_rate;  // [targets][WINDOW_INPUTS]; a rate is 1 / scale
    const float *step_mean, *step_rate;      // [targets][daily]
    const Dense *window, *step;              // [targets]
    const Dense *inner;                      // [targets][layers - 1]: of all layers but the first
    const Dense *gate;                       // [targets][layers]
    const Dense *output;                     // [targets]: from the last hidden values
};

struct Terms {
    int64_t targets, horizon, quantiles, slots, day, median;  // day: slots in 24 hours
    LinearTerm linear;
    RowsTerm rows;
    const float *network_weight, *linear_weight, *rows_weight;  // [targets][horizon]: the blend
    const float *calibration;                                   // [targets][horizon][quantiles], or null
};

// One call. A window counts up to its length; what stands behind is never read.
struct TermsCall {
    int64_t windows, encoder, metrics;
    const int64_t *lengths;    // [windows], 1 to encoder
    const float *values;       // [windows][encoder][metrics], targets first
    const float *time_of_day;  // [TIME_OF_DAY], at the newest slot
    const float *steps;        // [targets][horizon][first values]
    const float *network;      // [windows][targets][horizon][quantiles]
    float *out;                // the same
    int64_t threads, lanes;    // lanes: 0 = as many as this processor has
};

// Values with which a row network's step begins.
inline int64_t first_values(const Terms &terms) {
    return (terms.rows.layers ? 2 : 1) * terms.rows.hidden + terms.quantiles;
}

}  // namespace nordiq

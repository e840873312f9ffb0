// The structs that native.py fills in and passes by pointer. native.py mirrors them with ctypes; nordiq_layout() lists
// their sizes and offsets, which are compared when the library is loaded. Add a field here, in layout.h and in
// native.py.

#pragma once

#include <cstdint>

namespace nordiq {

// Raised by one, here and in native.py, when something changes that no size or offset shows: what a field means, the
// order of numbers in an array.
constexpr int VERSION = 4;
constexpr int PACK = 8;  // outputs that stand together in a packed weight

inline int64_t packed(int64_t outputs) { return (outputs + PACK - 1) / PACK * PACK; }

// y = weight x + bias. weight: [outputs / PACK][inputs][PACK], the last pack padded with zeros; bias: [outputs].
struct Dense {
    const float *weight, *bias;
    int64_t outputs, inputs;
};

struct LayerNorm {
    const float *gain, *offset;
};

// y = norm(glu(dense x) + skip)
struct GateAddNorm {
    Dense dense;
    LayerNorm norm;
};

// Gated residual network of one size throughout: y = gate(elu(first x + context), skip = x).
struct GRN {
    Dense first;
    GateAddNorm gate;
};

// Variable selection network over time. Variables stand in the order own reals, shared reals, categoricals; shared
// reals are the same for all servers. Letters and the three numbers of the variance are those of folds.Numbers.
struct VSN {
    int64_t own, shared, categoricals, variables, width, flat;
    const int32_t *real_columns;         // [own + shared]: columns of an input's row
    const int32_t *categorical_columns;  // [categoricals]
    const int64_t *classes;              // [categoricals]: how many codes each has
    const float *a, *c;                  // [own][width]
    const float *u, *d;                  // [own][hidden]
    const float *bend, *middle, *least;  // [own]
    const float *residual_offset;        // [own][hidden]
    const float *gain, *offset;          // [own][hidden]
    const float *matrix;                 // [own], each packed as Dense's weight: 2 hidden outputs, width inputs
    const float *bias;                   // [own][2 hidden]
    const float *const *tables;          // [categoricals] → [classes][hidden + flat + variables]
    Dense first, skip;                   // from the reals: flat and variables outputs
    int64_t skip_resampled;              // is the skip connection normalised?
    LayerNorm skip_norm;
    GateAddNorm gate;  // 2 variables outputs, flat inputs
};

struct Network {
    int64_t hidden, layers, heads, head, causal;
    VSN encoder, decoder;
    const Dense *encoder_input, *encoder_state, *decoder_input, *decoder_state;  // LSTM, [layers]
    GateAddNorm post_lstm;
    GRN enrichment;
    Dense queries, keys, values;
    GateAddNorm post_attention;
    GRN feed_forward;
    GateAddNorm pre_output;
    Dense output;
};

// One call. An encoder's row counts from its first step up to its length; what stands behind is never read.
struct Call {
    int64_t servers, encoder, horizon, reals, categoricals;
    const int64_t *lengths;                                  // [servers], 1 to encoder
    const float *past, *future;                              // [servers][steps][reals]
    const int64_t *past_categoricals, *future_categoricals;  // [servers][steps][categoricals]
    const float *past_shared, *future_shared;                // [steps][shared][hidden]: vectors of the shared reals
    const float *past_context, *future_context;              // [servers][flat]
    const float *begin_hidden, *begin_cell, *enrichment;     // [servers][hidden]
    float *out;                                              // [servers][horizon][outputs]
    int64_t threads, lanes;                                  // lanes: 0 = as many as this processor has
};

}  // namespace nordiq

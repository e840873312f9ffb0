// Every field of structs.h with its offset and size, for native.py to compare with its mirror of them.

#pragma once

#include <cstddef>

#include "structs.h"

namespace nordiq {

// A field of a struct; a struct as a whole has no field's name, and the table ends with a struct of no name.
struct Field {
    const char *structure, *name;
    int64_t offset, size;
};

#define WHOLE(structure) {#structure, nullptr, 0, int64_t(sizeof(structure))}
#define FIELD(structure, name) {#structure, #name, int64_t(offsetof(structure, name)), int64_t(sizeof(structure::name))}

constexpr Field LAYOUT[] = {
    WHOLE(Dense),
    FIELD(Dense, weight),
    FIELD(Dense, bias),
    FIELD(Dense, outputs),
    FIELD(Dense, inputs),
    WHOLE(LayerNorm),
    FIELD(LayerNorm, gain),
    FIELD(LayerNorm, offset),
    WHOLE(GateAddNorm),
    FIELD(GateAddNorm, dense),
    FIELD(GateAddNorm, norm),
    WHOLE(GRN),
    FIELD(GRN, first),
    FIELD(GRN, gate),
    WHOLE(VSN),
    FIELD(VSN, own),
    FIELD(VSN, shared),
    FIELD(VSN, categoricals),
    FIELD(VSN, variables),
    FIELD(VSN, width),
    FIELD(VSN, flat),
    FIELD(VSN, real_columns),
    FIELD(VSN, categorical_columns),
    FIELD(VSN, classes),
    FIELD(VSN, a),
    FIELD(VSN, c),
    FIELD(VSN, u),
    FIELD(VSN, d),
    FIELD(VSN, bend),
    FIELD(VSN, middle),
    FIELD(VSN, least),
    FIELD(VSN, residual_offset),
    FIELD(VSN, gain),
    FIELD(VSN, offset),
    FIELD(VSN, matrix),
    FIELD(VSN, bias),
    FIELD(VSN, tables),
    FIELD(VSN, first),
    FIELD(VSN, skip),
    FIELD(VSN, skip_resampled),
    FIELD(VSN, skip_norm),
    FIELD(VSN, gate),
    WHOLE(Network),
    FIELD(Network, hidden),
    FIELD(Network, layers),
    FIELD(Network, heads),
    FIELD(Network, head),
    FIELD(Network, causal),
    FIELD(Network, encoder),
    FIELD(Network, decoder),
    FIELD(Network, encoder_input),
    FIELD(Network, encoder_state),
    FIELD(Network, decoder_input),
    FIELD(Network, decoder_state),
    FIELD(Network, post_lstm),
    FIELD(Network, enrichment),
    FIELD(Network, queries),
    FIELD(Network, keys),
    FIELD(Network, values),
    FIELD(Network, post_attention),
    FIELD(Network, feed_forward),
    FIELD(Network, pre_output),
    FIELD(Network, output),
    WHOLE(Call),
    FIELD(Call, servers),
    FIELD(Call, encoder),
    FIELD(Call, horizon),
    FIELD(Call, reals),
    FIELD(Call, categoricals),
    FIELD(Call, lengths),
    FIELD(Call, past),
    FIELD(Call, future),
    FIELD(Call, past_categoricals),
    FIELD(Call, future_categoricals),
    FIELD(Call, past_shared),
    FIELD(Call, future_shared),
    FIELD(Call, past_context),
    FIELD(Call, future_context),
    FIELD(Call, begin_hidden),
    FIELD(Call, begin_cell),
    FIELD(Call, enrichment),
    FIELD(Call, out),
    FIELD(Call, threads),
    FIELD(Call, lanes),
    {nullptr, nullptr, 0, 0},
};

#undef WHOLE
#undef FIELD

}  // namespace nordiq

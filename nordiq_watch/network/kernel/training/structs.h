// The structs that native_training.py fills in and passes by pointer: where each layer's parameters lie in one array of
// all parameters, and one batch. nordiq_training_layout() lists their sizes and offsets, which are compared at load.

#pragma once

#include <cstdint>

namespace nordiq {

// Raised by one, here and in native_training.py, when something changes that no size or offset shows.
constexpr int TRAINING_VERSION = 2;

// y = weight x + bias. weight: [outputs][inputs], bias: [outputs], both offsets into the parameters; bias -1: none.
struct Linear {
    int64_t weight, bias, outputs, inputs;
};

// Layer normalisation; offsets of [size]. gain -1: none, its input is its output.
struct Norm {
    int64_t gain, offset;
};

// y = norm(glu(linear drop(x)) + skip). linear: an index into TrainedNetwork.linears, as in all structs below; dropout:
// 0 where x is never dropped.
struct Gate {
    int64_t linear, dropout;
    Norm norm;
};

// Gated residual network: y = gate(second elu(first x + context c), skip). context -1: none.
struct Residual {
    int64_t first, context, second;
    Gate gate;
};

// y = norm(2 sigmoid(mask) * (rule x)), to another size by linear interpolation. rule: offset into the constants,
// [outputs][inputs]. linear: 2 sigmoid(mask) * rule, whose weight is derived in each step. mask -1: y = rule x.
struct Resample {
    int64_t mask, rule, linear;
    Norm norm;
};

// An input of a variable selection. A real: embedded as scale * x + shift, [width] both. A label: rows [width] of
// table.
struct Variable {
    int64_t column, width, block;  // block: where its embedding begins among those of all variables
    int64_t scale, shift;          // -1 for a label
    int64_t table, classes;        // -1 for a real
    int64_t derived;               // where a real's derived parameters begin: Slopes in derive.h
    Residual network;              // of a real
    Resample resample;             // of its skip connection; of a label, all there is
};

// Variable selection network. weighting and skip count with two variables or more.
struct Selection {
    int64_t count;
    const Variable *variables;
    Residual weighting;
    Resample skip;
};

// Both are indices of linears, with 4 hidden outputs in torch's order: input, forget, cell, output.
struct Recurrent {
    int64_t input, state;
};

struct TrainedNetwork {
    int64_t hidden, layers, heads, head, causal, targets, outputs;
    int64_t parameters, derived;  // sizes; the derived parameters stand behind the others
    int64_t linear_count;
    const Linear *linears;
    const float *constants;
    Selection statics, encoder, decoder;
    Residual contexts[4];  // of the static vector: for selection, initial state, initial cell, enrichment
    const Recurrent *encoder_lstm, *decoder_lstm;
    Gate post_lstm;
    Residual enrichment;
    const int64_t *queries, *keys;  // [heads]
    int64_t values, merge;          // merge: from the heads' mean to hidden
    Gate post_attention;
    Residual feed_forward;
    Gate pre_output;
    const int64_t *output;  // [targets]
};

// One batch. An encoder's row counts from its first step up to its length; what stands behind has no effect.
struct TrainingBatch {
    int64_t windows, encoder, horizon, reals, categoricals;
    const int64_t *lengths;                                  // [windows], 1 to encoder
    const float *past, *future;                              // [windows][steps][reals]
    const int64_t *past_categoricals, *future_categoricals;  // [windows][steps][categoricals]
    const float *truth;                                      // [targets][windows][horizon], in the targets' units
    const float *scales;                                     // [targets][windows][2]: center, scale
    const int64_t *rectified;                                // [targets]: are negative forecasts cut off at 0?
    const int64_t *quantile_counts;                          // [targets]
    const float *quantiles;                                  // [outputs], those of each target side by side
    const float *weights;                                    // [targets][horizon]: of the loss
    const float *parameters;                                 // [parameters]
    float *gradients;                                        // [parameters], overwritten
    double loss;                                             // written
    double dropout;                                          // share of activations set to 0, below 1
    int64_t seed;                                            // of the dropout
    int64_t threads, lanes;                                  // lanes: 0 = as many as this processor has
};

}  // namespace nordiq

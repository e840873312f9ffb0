// The folded Temporal Fusion Transformer (see folds.py and folded.py) for the CPU.
//
// Servers stand side by side in the lanes of vector registers: a block is as many servers as a register has floats, and
// every operation below is one for all of them, so any size of network works and nothing is summed across lanes. All
// encoders of a block end at the same step; a shorter one begins later, and until then its lanes keep the state that
// they began with. Time goes in groups of a few steps through the whole network, so that what lies between two layers
// stays in the cache; only the attention's keys and values are kept for all steps.
//
// This file includes itself once for each width of registers, compiled for the processors that have it; nordiq_forward
// takes the widest that this processor can run. Plain C ABI: native.py calls it with ctypes and mirrors the structs.

#ifndef LANES

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

extern "C" {

// y = weight x + bias. weight: [outputs / 8][inputs][8], the last eight filled up with zeros; bias: [outputs].
struct Dense {
    const float *weight, *bias;
    int64_t outputs, inputs;
};

struct Norm {
    const float *gain, *offset;
};

struct Gate {
    Dense dense;
    Norm norm;
};

struct Residual {
    Dense first;
    Gate gate;
};

// Variable selection; variables in the order own numbers, shared numbers, labels.
struct Selection {
    int64_t own, shared, labels, variables, width, flat;
    const float *a, *c;                     // [own][width]
    const float *u, *d;                     // [own][hidden]
    const int32_t *resampled;               // [own]
    const float *residual_gain, *residual_offset, *gain, *offset;  // [own][hidden]
    const float *matrix;                    // [own], each packed as Dense's weight, 2 hidden from width
    const float *bias;                      // [own][2 hidden]
    const float *const *tables;             // [labels] → [classes][hidden + flat + variables]
    Dense first, skip;                      // flat and variables, from the numbers
    int64_t skip_resampled;
    Norm skip_norm;
    Gate gate;                              // 2 variables from flat
};

struct Network {
    int64_t hidden, layers, heads, head, causal;
    Selection encoder, decoder;
    const Dense *encoder_input, *encoder_state, *decoder_input, *decoder_state;  // [layers]; biases are in the input's
    Gate post_lstm;
    Residual enrichment;
    Dense queries, keys, values;
    Gate post_attention;
    Residual feed_forward;
    Gate pre_output;
    Dense output;
};

// One call. Rows of servers; an encoder's row counts up to its length, from the left.
struct Call {
    int64_t servers, encoder, horizon;
    const int64_t *lengths;                              // [servers], 1 to encoder
    const float *past, *future;                          // [servers][steps][own + shared]
    const int64_t *past_labels, *future_labels;          // [servers][steps][labels]
    const float *past_shared, *future_shared;            // [steps][shared][hidden]: their vectors
    const float *past_context, *future_context;          // [servers][flat]
    const float *begin_hidden, *begin_cell, *enrichment; // [servers][hidden]
    float *out;                                          // [servers][horizon][outputs]
    int64_t threads, lanes;                              // lanes: 0 = as many as this processor has
};
}

namespace {
constexpr int PACK = 8;   // outputs that stand together in a packed weight
constexpr int GROUP = 6;  // steps that go through the network together

inline int64_t packed(int64_t outputs) { return (outputs + PACK - 1) / PACK * PACK; }
}  // namespace

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NORDIQ_DISPATCH 1
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define LANES 16
#include "native.cpp"
#undef LANES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LANES 8
#include "native.cpp"
#undef LANES
#pragma GCC pop_options
#endif
#define LANES 4
#include "native.cpp"
#undef LANES

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

using Block = bool (*)(const Network &, const Call &, std::atomic<int64_t> &);

Block block_of([[maybe_unused]] int64_t lanes) {
#ifdef NORDIQ_DISPATCH
    if (lanes == 16) return lanes16::work;
    if (lanes == 8) return lanes8::work;
#endif
    return lanes4::work;
}
}  // namespace

extern "C" int64_t nordiq_lanes() { return widest(); }

// 0 = done, 1 = not enough memory. Never throws: what a thread cannot do, the calling one does.
extern "C" int nordiq_forward(const Network *network, const Call *call) {
    const int64_t best = widest();
    const int64_t lanes = call->lanes > 0 && call->lanes < best ? call->lanes : best;
    const Block work = block_of(lanes);
    const int64_t blocks = (call->servers + lanes - 1) / lanes;
    const int64_t helpers = (call->threads < blocks ? call->threads : blocks) - 1;
    std::atomic<int64_t> next{0};
    std::atomic<bool> whole{true};
    auto run = [&] {
        if (!work(*network, *call, next)) whole = false;
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

#else  // LANES: the code itself, once for each width

#define NORDIQ_JOIN_(a, b) a##b
#define NORDIQ_JOIN(a, b) NORDIQ_JOIN_(a, b)
#define INLINE inline __attribute__((always_inline))

namespace NORDIQ_JOIN(lanes, LANES) {

typedef float Floats __attribute__((vector_size(LANES * 4), aligned(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4), aligned(LANES * 4)));

constexpr int TILE = LANES >= 16 ? 8 : 4;  // outputs held in registers at once, for three steps

INLINE Floats all(float x) { return x - Floats{}; }

// e^x to about 1 ulp between -87 and 88, and constant beyond: Cody and Waite's reduction, then Taylor to degree 6.
INLINE Floats exponential(Floats x) {
    x = x < -87.0f ? all(-87.0f) : x;
    x = x > 88.0f ? all(88.0f) : x;
    const float magic = 12582912.0f;  // adding and taking it away rounds to a whole number
    Floats n = (x * 1.44269504088896f + magic) - magic;
    Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats y = all(1.0f / 720);
    y = y * r + 1.0f / 120;
    y = y * r + 1.0f / 24;
    y = y * r + 1.0f / 6;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    Floats scale;
    std::memcpy(&scale, &power, sizeof scale);
    return y * scale;
}

INLINE Floats sigmoid(Floats x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE Floats hyperbolic(Floats x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }
INLINE Floats elu(Floats x) { return x > 0.0f ? x : exponential(x) - 1.0f; }

INLINE Floats reciprocal_root(Floats x) {
    Floats y;
    for (int i = 0; i < LANES; ++i) y[i] = 1.0f / std::sqrt(x[i]);
    return y;
}

// y = (x - mean) / deviation * gain + offset, over `size` rows. In place if y is x.
INLINE void normalise(const float *gain, const float *offset, int64_t size, const Floats *x, Floats *y) {
    Floats sum = all(0), squares = all(0);
    for (int64_t i = 0; i < size; ++i) sum += x[i];
    const Floats mean = sum / float(size);
    for (int64_t i = 0; i < size; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const Floats scale = reciprocal_root(squares / float(size) + 1e-5f);
    for (int64_t i = 0; i < size; ++i) y[i] = (x[i] - mean) * scale * gain[i] + offset[i];
}

template <int OUTPUTS, int STEPS>
INLINE void tile(const float *weight, const Floats *const *x, int64_t inputs, Floats (&sums)[OUTPUTS][STEPS]) {
    for (int64_t k = 0; k < inputs; ++k) {
        Floats in[STEPS];
        for (int s = 0; s < STEPS; ++s) in[s] = x[s][k];
        for (int o = 0; o < OUTPUTS; ++o) {
            const Floats w = all(weight[o / PACK * PACK * inputs + k * PACK + o % PACK]);
            for (int s = 0; s < STEPS; ++s) sums[o][s] += w * in[s];
        }
    }
}

// OUTPUTS of them from `first` on, of which there may be only `count`.
template <int OUTPUTS, int STEPS>
INLINE void multiply_tile(const float *weight, const float *bias, int64_t first, int64_t count, int64_t inputs,
                          const Floats *const *x, Floats *const *y, bool onto) {
    Floats sums[OUTPUTS][STEPS];
    for (int o = 0; o < OUTPUTS; ++o)
        for (int s = 0; s < STEPS; ++s)
            sums[o][s] = o >= count ? all(0) : onto ? y[s][first + o] : all(bias[first + o]);
    tile<OUTPUTS, STEPS>(weight + first / PACK * PACK * inputs + first % PACK, x, inputs, sums);
    for (int o = 0; o < OUTPUTS && o < count; ++o)
        for (int s = 0; s < STEPS; ++s) y[s][first + o] = sums[o][s];
}

// y[s] = weight x[s] + bias for STEPS steps; with `onto`, y[s] += weight x[s].
template <int STEPS>
INLINE void multiply(const float *weight, const float *bias, int64_t outputs, int64_t inputs, const Floats *const *x,
                     Floats *const *y, bool onto) {
    constexpr int WIDE = STEPS == 1 ? 2 * TILE : TILE;  // a single step would leave registers empty
    int64_t first = 0;
    for (; first + WIDE <= outputs; first += WIDE)
        multiply_tile<WIDE, STEPS>(weight, bias, first, WIDE, inputs, x, y, onto);
    for (; first < outputs; first += TILE)
        multiply_tile<TILE, STEPS>(weight, bias, first, outputs - first, inputs, x, y, onto);
}

// Steps stand `in_stride` and `out_stride` vectors apart.
void dense(const float *weight, const float *bias, int64_t outputs, int64_t inputs, const Floats *x, int64_t in_stride,
           Floats *y, int64_t out_stride, int64_t steps, bool onto = false) {
    int64_t s = 0;
    for (; s + 3 <= steps; s += 3) {
        const Floats *in[3] = {x + s * in_stride, x + (s + 1) * in_stride, x + (s + 2) * in_stride};
        Floats *out[3] = {y + s * out_stride, y + (s + 1) * out_stride, y + (s + 2) * out_stride};
        multiply<3>(weight, bias, outputs, inputs, in, out, onto);
    }
    for (; s < steps; ++s) {
        const Floats *in[1] = {x + s * in_stride};
        Floats *out[1] = {y + s * out_stride};
        multiply<1>(weight, bias, outputs, inputs, in, out, onto);
    }
}

INLINE void dense(const Dense &layer, const Floats *x, Floats *y, int64_t steps) {
    dense(layer.weight, layer.bias, layer.outputs, layer.inputs, x, layer.inputs, y, layer.outputs, steps);
}

// y = norm(glu(gated) + skip). gated: 2 size, skip and y: size.
INLINE void close_gate(const Norm &norm, int64_t size, const Floats *gated, const Floats *skip, Floats *y) {
    for (int64_t i = 0; i < size; ++i) y[i] = gated[i] * sigmoid(gated[size + i]) + skip[i];
    normalise(norm.gain, norm.offset, size, y, y);
}

void pass_gate(const Gate &gate, const Floats *x, const Floats *skip, Floats *y, Floats *gated, int64_t steps) {
    const int64_t size = gate.dense.outputs / 2;
    dense(gate.dense, x, gated, steps);
    for (int64_t s = 0; s < steps; ++s)
        close_gate(gate.norm, size, gated + s * 2 * size, skip + s * size, y + s * size);
}

// context: [size] or none. inside: scratch of steps · size.
void pass_residual(const Residual &residual, const Floats *x, const Floats *context, Floats *y, Floats *inside,
                   Floats *gated, int64_t steps) {
    const int64_t size = residual.first.outputs;
    dense(residual.first, x, inside, steps);
    for (int64_t s = 0; s < steps; ++s)
        for (int64_t i = 0; i < size; ++i)
            inside[s * size + i] = elu(context ? inside[s * size + i] + context[i] : inside[s * size + i]);
    pass_gate(residual.gate, inside, x, y, gated, steps);
}

// Memory of one thread, for one block of servers after the other.
struct Scratch {
    Floats *numbers, *weights, *flat, *skips, *inside, *gated, *vectors, *rows;
    Floats *selected, *layer, *gates, *state, *cell, *begin_hidden, *begin_cell;
    Floats *temporal, *enriched, *keys, *values, *future_temporal, *future_enriched;
    Floats *past_context, *future_context, *enrichment, *queries, *odds, *shares, *attended, *fed, *output;
    int64_t starts[LANES];   // the step at which each lane begins
    int64_t begin, complete; // the first step at which any lane, and at which every lane has begun
    int64_t servers[LANES];  // the row of each lane; lanes beyond the last server repeat it
    int64_t count;

    bool allocate(const Network &network, const Call &call) {
        const int64_t h = network.hidden, steps = call.encoder + call.horizon;
        const Selection *both[2] = {&network.encoder, &network.decoder};
        int64_t numbers_size = 1, variables = 1, flat_size = 1, width = 1, row = 1;
        for (const Selection *one : both) {
            numbers_size = larger(numbers_size, one->own + one->shared);
            variables = larger(variables, one->variables);
            flat_size = larger(flat_size, one->flat);
            width = larger(width, one->width);
            row = larger(row, one->labels * (h + one->flat + one->variables));
        }
        const int64_t deep = network.heads * network.head;
        const int64_t gated_size = larger(2 * h, 2 * variables);
        struct Wish {
            Floats **where;
            int64_t size;
        } wishes[] = {
            {&numbers, GROUP * numbers_size}, {&weights, GROUP * variables}, {&flat, GROUP * flat_size},
            {&skips, GROUP * larger(h, variables)}, {&inside, GROUP * larger(h, width)}, {&gated, GROUP * gated_size},
            {&vectors, GROUP * larger(h, variables)}, {&rows, GROUP * row}, {&selected, GROUP * h},
            {&layer, GROUP * h}, {&gates, GROUP * 4 * h}, {&state, network.layers * h}, {&cell, network.layers * h},
            {&begin_hidden, h}, {&begin_cell, h}, {&temporal, GROUP * h}, {&enriched, GROUP * h},
            {&keys, steps * deep}, {&values, steps * network.head}, {&future_temporal, call.horizon * h},
            {&future_enriched, call.horizon * h}, {&past_context, flat_size}, {&future_context, flat_size},
            {&enrichment, h}, {&queries, GROUP * deep}, {&odds, GROUP * steps}, {&shares, GROUP * steps},
            {&attended, GROUP * h}, {&fed, GROUP * h}, {&output, GROUP * network.output.outputs},
        };
        int64_t total = 0;
        for (const Wish &wish : wishes) total += wish.size;
        memory = static_cast<Floats *>(std::aligned_alloc(sizeof(Floats), size_t(total) * sizeof(Floats)));
        if (!memory) return false;
        Floats *next = memory;
        for (const Wish &wish : wishes) {
            *wish.where = next;
            next += wish.size;
        }
        return true;
    }

    ~Scratch() { std::free(memory); }

  private:
    Floats *memory = nullptr;
    static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
};

INLINE Ints begun_at(const Scratch &scratch, int64_t step) {
    Ints begun;
    for (int lane = 0; lane < LANES; ++lane) begun[lane] = step >= scratch.starts[lane] ? -1 : 0;
    return begun;
}

// rows of [servers][size] into lanes
INLINE void gather(const float *from, int64_t size, const Scratch &scratch, Floats *to) {
    for (int64_t i = 0; i < size; ++i)
        for (int lane = 0; lane < LANES; ++lane) to[i][lane] = from[scratch.servers[lane] * size + i];
}

// The column of a lane's step in its row: rows stand on the left, blocks on the right. Before its start: any.
INLINE int64_t column_of(const Scratch &scratch, int lane, int64_t step, bool past) {
    if (!past) return step;
    const int64_t column = step - scratch.starts[lane];
    return column < 0 ? 0 : column;
}

// A label's rows of a group's steps, [steps][row]. Most labels never change: then one copy serves for the next step.
void gather_labels(const Selection &selection, const int64_t *codes, int64_t total, int64_t first, int64_t steps,
                   bool past, int64_t hidden, Scratch &scratch) {
    const int64_t row = hidden + selection.flat + selection.variables;
    for (int64_t label = 0; label < selection.labels; ++label) {
        int64_t before[LANES] = {};
        for (int64_t s = 0; s < steps; ++s) {
            Floats *to = scratch.rows + (label * GROUP + s) * row;
            int64_t now[LANES];
            bool same = s > 0;
            for (int lane = 0; lane < LANES; ++lane) {
                const int64_t column = column_of(scratch, lane, first + s, past);
                now[lane] = codes[(scratch.servers[lane] * total + column) * selection.labels + label];
                same = same && now[lane] == before[lane];
            }
            if (same) {
                std::memcpy(static_cast<void *>(to), to - row, size_t(row) * sizeof(Floats));
            } else {
                for (int lane = 0; lane < LANES; ++lane) {
                    const float *from = selection.tables[label] + now[lane] * row;
                    for (int64_t i = 0; i < row; ++i) to[i][lane] = from[i];
                }
            }
            std::memcpy(before, now, sizeof now);
        }
    }
}

void weigh(const Selection &selection, const Floats *context, int64_t hidden, int64_t steps, Scratch &scratch) {
    const int64_t variables = selection.variables, flat = selection.flat, row = hidden + flat + variables;
    if (variables == 1) {
        for (int64_t s = 0; s < steps; ++s) scratch.weights[s] = all(1.0f);
        return;
    }
    dense(selection.first, scratch.numbers, scratch.flat, steps);
    dense(selection.skip, scratch.numbers, scratch.skips, steps);
    for (int64_t s = 0; s < steps; ++s) {
        Floats *inside = scratch.flat + s * flat, *skip = scratch.skips + s * variables;
        for (int64_t i = 0; i < flat; ++i) inside[i] += context[i];
        for (int64_t label = 0; label < selection.labels; ++label) {
            const Floats *from = scratch.rows + (label * GROUP + s) * row + hidden;
            for (int64_t i = 0; i < flat; ++i) inside[i] += from[i];
            for (int64_t i = 0; i < variables; ++i) skip[i] += from[flat + i];
        }
        for (int64_t i = 0; i < flat; ++i) inside[i] = elu(inside[i]);
        if (selection.skip_resampled)
            normalise(selection.skip_norm.gain, selection.skip_norm.offset, variables, skip, skip);
    }
    pass_gate(selection.gate, scratch.flat, scratch.skips, scratch.weights, scratch.gated, steps);
    for (int64_t s = 0; s < steps; ++s) {
        Floats *weights = scratch.weights + s * variables, most = weights[0], sum = all(0);
        for (int64_t i = 1; i < variables; ++i) most = weights[i] > most ? weights[i] : most;
        for (int64_t i = 0; i < variables; ++i) sum += weights[i] = exponential(weights[i] - most);
        for (int64_t i = 0; i < variables; ++i) weights[i] /= sum;
    }
}

void add_number(const Selection &selection, int64_t index, int64_t hidden, int64_t steps, Scratch &scratch) {
    const int64_t width = selection.width, numbers = selection.own + selection.shared;
    const float *a = selection.a + index * width, *c = selection.c + index * width;
    const float *u = selection.u + index * hidden, *d = selection.d + index * hidden;
    const float *matrix = selection.matrix + index * packed(2 * hidden) * width;
    const Norm residual{selection.residual_gain + index * hidden, selection.residual_offset + index * hidden};
    const Norm norm{selection.gain + index * hidden, selection.offset + index * hidden};
    for (int64_t s = 0; s < steps; ++s) {
        const Floats x = scratch.numbers[s * numbers + index];
        for (int64_t i = 0; i < width; ++i) scratch.inside[s * width + i] = elu(a[i] * x + c[i]);
    }
    dense(matrix, selection.bias + index * 2 * hidden, 2 * hidden, width, scratch.inside, width, scratch.gated,
          2 * hidden, steps);
    for (int64_t s = 0; s < steps; ++s) {
        const Floats x = scratch.numbers[s * numbers + index];
        Floats *skip = scratch.skips, *vector = scratch.vectors;
        for (int64_t i = 0; i < hidden; ++i) skip[i] = u[i] * x + d[i];
        if (selection.resampled[index]) normalise(residual.gain, residual.offset, hidden, skip, skip);
        close_gate(norm, hidden, scratch.gated + s * 2 * hidden, skip, vector);
        const Floats weight = scratch.weights[s * selection.variables + index];
        Floats *selected = scratch.selected + s * hidden;
        for (int64_t i = 0; i < hidden; ++i) selected[i] += weight * vector[i];
    }
}

// scratch.selected: the variables' vectors of a group's steps, added up with their weights.
void select(const Selection &selection, const Call &call, const Floats *context, int64_t hidden, int64_t first,
            int64_t steps, bool past, Scratch &scratch) {
    const int64_t numbers = selection.own + selection.shared, total = past ? call.encoder : call.horizon;
    const float *values = past ? call.past : call.future;
    for (int64_t s = 0; s < steps; ++s)
        for (int lane = 0; lane < LANES; ++lane) {
            const int64_t column = column_of(scratch, lane, first + s, past);
            const float *from = values + (scratch.servers[lane] * total + column) * numbers;
            for (int64_t i = 0; i < numbers; ++i) scratch.numbers[s * numbers + i][lane] = from[i];
        }
    for (int64_t i = 0; i < steps * hidden; ++i) scratch.selected[i] = all(0);
    if (!selection.variables) return;
    gather_labels(selection, past ? call.past_labels : call.future_labels, total, first, steps, past, hidden, scratch);
    weigh(selection, context, hidden, steps, scratch);
    for (int64_t index = 0; index < selection.own; ++index) add_number(selection, index, hidden, steps, scratch);
    const float *vectors = past ? call.past_shared : call.future_shared;
    const int64_t row = hidden + selection.flat + selection.variables;
    for (int64_t s = 0; s < steps; ++s) {
        Floats *selected = scratch.selected + s * hidden;
        const Floats *weights = scratch.weights + s * selection.variables + selection.own;
        for (int64_t index = 0; index < selection.shared; ++index) {
            const float *vector = vectors + ((first + s) * selection.shared + index) * hidden;
            for (int64_t i = 0; i < hidden; ++i) selected[i] += weights[index] * vector[i];
        }
        for (int64_t label = 0; label < selection.labels; ++label) {
            const Floats *vector = scratch.rows + (label * GROUP + s) * row;
            for (int64_t i = 0; i < hidden; ++i) selected[i] += weights[selection.shared + label] * vector[i];
        }
    }
}

// One LSTM layer over a group's steps, in place. Lanes that have not begun keep the state that they began with.
void remember(const Dense &input, const Dense &recurrent, int64_t hidden, int64_t first, int64_t steps, bool past,
              Floats *state, Floats *cell, Floats *layer, Scratch &scratch) {
    dense(input, layer, scratch.gates, steps);
    for (int64_t s = 0; s < steps; ++s) {
        Floats *gates = scratch.gates + s * 4 * hidden;  // input, forget, candidate, output
        dense(recurrent.weight, nullptr, 4 * hidden, hidden, state, hidden, gates, 4 * hidden, 1, true);
        const Ints begun = past ? begun_at(scratch, first + s) : Ints{} - 1;
        for (int64_t i = 0; i < hidden; ++i) {
            const Floats kept = sigmoid(gates[hidden + i]) * cell[i];
            const Floats next = kept + sigmoid(gates[i]) * hyperbolic(gates[2 * hidden + i]);
            const Floats said = sigmoid(gates[3 * hidden + i]) * hyperbolic(next);
            cell[i] = begun ? next : cell[i];
            state[i] = begun ? said : state[i];
            layer[s * hidden + i] = said;
        }
    }
}

// What a group's queries see, [steps][head] into scratch.attended: the sum of all heads' attention times the values.
void attend(const Network &network, const Call &call, int64_t first, int64_t steps, Scratch &scratch) {
    const int64_t head = network.head, deep = network.heads * head, total = call.encoder + call.horizon;
    const int64_t seen_by_last = network.causal ? call.encoder + first + steps - 1 : total;
    for (int64_t i = 0; i < steps * total; ++i) scratch.shares[i] = all(0);
    for (int64_t h = 0; h < network.heads; ++h) {
        const Floats *keys = scratch.keys + h * total * head;
        Floats most[GROUP], sums[GROUP];
        for (int64_t s = 0; s < steps; ++s) most[s] = all(-1e30f), sums[s] = all(0);
        for (int64_t k = scratch.begin; k < seen_by_last; ++k) {
            const Ints begun = k < scratch.complete ? begun_at(scratch, k) : Ints{} - 1;
            Floats score[GROUP];
            for (int s = 0; s < GROUP; ++s) score[s] = all(0);
            for (int64_t i = 0; i < head; ++i) {
                const Floats key = keys[k * head + i];
                for (int s = 0; s < GROUP; ++s) score[s] += scratch.queries[s * deep + h * head + i] * key;
            }
            for (int64_t s = 0; s < steps; ++s) {
                if (network.causal && k >= call.encoder + first + s) score[s] = all(-1e30f);
                score[s] = begun ? score[s] : all(-1e30f);
                scratch.odds[s * total + k] = score[s];
                most[s] = score[s] > most[s] ? score[s] : most[s];
            }
        }
        for (int64_t s = 0; s < steps; ++s) {
            Floats *odds = scratch.odds + s * total, *shares = scratch.shares + s * total;
            for (int64_t k = scratch.begin; k < seen_by_last; ++k) sums[s] += odds[k] = exponential(odds[k] - most[s]);
            const Floats scale = 1.0f / sums[s];
            for (int64_t k = scratch.begin; k < seen_by_last; ++k) shares[k] += odds[k] * scale;
        }
    }
    for (int64_t s = 0; s < steps; ++s)
        for (int64_t i = 0; i < head; ++i) {
            Floats sum = all(0);
            for (int64_t k = scratch.begin; k < seen_by_last; ++k)
                sum += scratch.shares[s * total + k] * scratch.values[k * head + i];
            scratch.attended[s * head + i] = sum;
        }
}

// A group's steps from the inputs to keys and values; those of the horizon are kept for their queries.
void read_steps(const Network &network, const Call &call, int64_t first, int64_t steps, bool past, Scratch &scratch) {
    const int64_t hidden = network.hidden, total = call.encoder + call.horizon;
    const int64_t at = past ? first : call.encoder + first;
    const Floats *context = past ? scratch.past_context : scratch.future_context;
    select(past ? network.encoder : network.decoder, call, context, hidden, first, steps, past, scratch);
    std::memcpy(static_cast<void *>(scratch.layer), scratch.selected, size_t(steps * hidden) * sizeof(Floats));
    const Dense *input = past ? network.encoder_input : network.decoder_input;
    const Dense *recurrent = past ? network.encoder_state : network.decoder_state;
    for (int64_t l = 0; l < network.layers; ++l)
        remember(input[l], recurrent[l], hidden, first, steps, past, scratch.state + l * hidden,
                 scratch.cell + l * hidden, scratch.layer, scratch);
    Floats *temporal = past ? scratch.temporal : scratch.future_temporal + first * hidden;
    Floats *enriched = past ? scratch.enriched : scratch.future_enriched + first * hidden;
    pass_gate(network.post_lstm, scratch.layer, scratch.selected, temporal, scratch.gated, steps);
    pass_residual(network.enrichment, temporal, scratch.enrichment, enriched, scratch.inside, scratch.gated, steps);
    for (int64_t h = 0; h < network.heads; ++h)
        dense(network.keys.weight + h * packed(network.head) * hidden, network.keys.bias + h * network.head, network.head,
              hidden, enriched, hidden, scratch.keys + (h * total + at) * network.head, network.head, steps);
    dense(network.values.weight, network.values.bias, network.head, hidden, enriched, hidden,
          scratch.values + at * network.head, network.head, steps);
}

// A group's steps of the horizon from their queries to the quantiles.
void answer_steps(const Network &network, const Call &call, int64_t first, int64_t steps, Scratch &scratch) {
    const int64_t hidden = network.hidden, outputs = network.output.outputs;
    const Floats *enriched = scratch.future_enriched + first * hidden;
    dense(network.queries, enriched, scratch.queries, steps);
    attend(network, call, first, steps, scratch);
    pass_gate(network.post_attention, scratch.attended, enriched, scratch.layer, scratch.gated, steps);
    pass_residual(network.feed_forward, scratch.layer, nullptr, scratch.fed, scratch.inside, scratch.gated, steps);
    pass_gate(network.pre_output, scratch.fed, scratch.future_temporal + first * hidden, scratch.layer, scratch.gated,
              steps);
    dense(network.output, scratch.layer, scratch.output, steps);
    for (int64_t s = 0; s < steps; ++s)
        for (int64_t lane = 0; lane < scratch.count; ++lane) {
            float *to = call.out + (scratch.servers[lane] * call.horizon + first + s) * outputs;
            for (int64_t i = 0; i < outputs; ++i) to[i] = scratch.output[s * outputs + i][lane];
        }
}

void forecast_block(const Network &network, const Call &call, int64_t block, Scratch &scratch) {
    const int64_t hidden = network.hidden, left = call.servers - block * LANES;
    scratch.count = left < LANES ? left : LANES;
    scratch.begin = call.encoder, scratch.complete = 0;
    for (int lane = 0; lane < LANES; ++lane) {
        scratch.servers[lane] = block * LANES + (lane < scratch.count ? lane : scratch.count - 1);
        scratch.starts[lane] = call.encoder - call.lengths[scratch.servers[lane]];
        if (scratch.starts[lane] < scratch.begin) scratch.begin = scratch.starts[lane];
        if (scratch.starts[lane] > scratch.complete) scratch.complete = scratch.starts[lane];
    }
    gather(call.past_context, network.encoder.flat, scratch, scratch.past_context);
    gather(call.future_context, network.decoder.flat, scratch, scratch.future_context);
    gather(call.enrichment, hidden, scratch, scratch.enrichment);
    for (int64_t l = 0; l < network.layers; ++l) {
        gather(call.begin_hidden, hidden, scratch, scratch.state + l * hidden);
        gather(call.begin_cell, hidden, scratch, scratch.cell + l * hidden);
    }
    for (int64_t first = scratch.begin; first < call.encoder; first += GROUP)
        read_steps(network, call, first, call.encoder - first < GROUP ? call.encoder - first : GROUP, true, scratch);
    for (int64_t first = 0; first < call.horizon; first += GROUP)
        read_steps(network, call, first, call.horizon - first < GROUP ? call.horizon - first : GROUP, false, scratch);
    for (int64_t first = 0; first < call.horizon; first += GROUP)
        answer_steps(network, call, first, call.horizon - first < GROUP ? call.horizon - first : GROUP, scratch);
}

// One thread: takes blocks until there are none left. False if there is no memory to work in.
bool work(const Network &network, const Call &call, std::atomic<int64_t> &next) {
    Scratch scratch;
    if (!scratch.allocate(network, call)) return false;
    const int64_t blocks = (call.servers + LANES - 1) / LANES;
    for (int64_t block = next++; block < blocks; block = next++) forecast_block(network, call, block, scratch);
    return true;
}

}  // namespace lanes…

#undef INLINE
#undef NORDIQ_JOIN
#undef NORDIQ_JOIN_
#endif

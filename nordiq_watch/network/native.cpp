// The folded Temporal Fusion Transformer (see folds.py and folded.py) for the CPU.
//
// Servers stand side by side in the lanes of vector registers: a block is as many servers as a register has floats, and
// every operation below is one for all of them, so any size of network works and nothing is summed across lanes. All
// encoders of a block end at the same step; a shorter one begins later, and until then its lanes keep the state that
// they began with. Time goes in groups of a few steps through the whole network, so that what lies between two layers
// stays in the cache; only the attention's keys and values are kept for all steps.
//
// The last block may have only a few servers. Then each has several lanes, and each of these reads another segment of a
// group's time. Only the LSTM goes from step to step: there a server's lanes take turns.
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
    const int32_t *columns, *label_columns;  // [own + shared], [labels]: where they stand in an input's row
    const float *a, *c;                      // [own][width]
    const float *u, *d;                      // [own][hidden]
    const float *bend, *middle, *least;      // [own]
    const float *residual_offset, *gain, *offset;  // [own][hidden]
    const float *matrix;                     // [own], each packed as Dense's weight, 2 hidden from width
    const float *bias;                       // [own][2 hidden]
    const float *const *tables;              // [labels] → [classes][hidden + flat + variables]
    Dense first, skip;                       // flat and variables, from the numbers
    int64_t skip_resampled;
    Norm skip_norm;
    Gate gate;                              // 2 variables from flat
};

struct Network {
    int64_t hidden, layers, heads, head, causal;
    Selection encoder, decoder;
    const Dense *encoder_input, *encoder_state, *decoder_input, *decoder_state;  // [layers]
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
    int64_t servers, encoder, horizon, numbers, labels;
    const int64_t *lengths;                              // [servers], 1 to encoder
    const float *past, *future;                          // [servers][steps][numbers]
    const int64_t *past_labels, *future_labels;          // [servers][steps][labels]
    const float *past_shared, *future_shared;            // [steps][shared][hidden]: their vectors
    const float *past_context, *future_context;          // [servers][flat]
    const float *begin_hidden, *begin_cell, *enrichment; // [servers][hidden]
    float *out;                                          // [servers][horizon][outputs]
    int64_t threads, lanes;                              // lanes: 0 = as many as this processor has
};
}

namespace {
constexpr int VERSION = 3;  // of what native.py and this file tell each other: raised by one in both with every change
constexpr int PACK = 8;     // outputs that stand together in a packed weight
constexpr int GROUP = 6;    // steps that go through the network together

inline int64_t packed(int64_t outputs) { return (outputs + PACK - 1) / PACK * PACK; }
}  // namespace

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
#include "native.cpp"
#undef LANES
NORDIQ_END
NORDIQ_BEGIN("avx2,fma")
#define LANES 8
#include "native.cpp"
#undef LANES
NORDIQ_END
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

extern "C" int nordiq_version() { return VERSION; }
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

// e^x with a relative error of about (1 + |x| / 8) ulp for x from -87 to 88; constant below, anything above. As 2^(n + r),
// where of the polynomials of degree 5 in r that are 1 at 0 it is the one with the least relative error (1e-7).
INLINE Floats exponential(Floats x) {
    x = x < -87.0f ? all(-87.0f) : x;
    const float log2e = 1.44269504f, magic = 12582912.0f + 127;  // magic leaves n in the last bits, as an exponent
    const Floats shifted = x * log2e + magic, r = x * log2e - (shifted - magic);
    Floats y = all(0.001326469989f);
    y = y * r + 0.009671533937f;
    y = y * r + 0.05550734001f;
    y = y * r + 0.2402224176f;
    y = y * r + 0.6931469774f;
    y = y * r + 1.0f;
    Ints bits;
    std::memcpy(&bits, &shifted, sizeof shifted);
    bits <<= 23;
    Floats power;
    std::memcpy(&power, &bits, sizeof bits);
    return y * power;
}

INLINE Floats sigmoid(Floats x) {
    x = x < -88.0f ? all(-88.0f) : x;
    return 1.0f / (1.0f + exponential(-x));
}
INLINE Floats hyperbolic(Floats x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }
INLINE Floats elu(Floats x) { return x > 0.0f ? x : exponential(x) - 1.0f; }

// Each lane takes what the lane `from` has.
INLINE Floats pick(Floats x, Ints from) {
#ifdef __clang__
    Floats y;
    for (int i = 0; i < LANES; ++i) y[i] = x[from[i]];
    return y;
#else
    return __builtin_shuffle(x, from);
#endif
}

INLINE Floats reciprocal_root(Floats x) {
    Floats y;
    for (int i = 0; i < LANES; ++i) y[i] = 1.0f / std::sqrt(x[i]);
    return y;
}

// Four sums at once: one alone would wait for itself at every row.
INLINE Floats mean_of(int64_t size, const Floats *x) {
    Floats sums[4] = {};
    int64_t i = 0;
    for (; i + 4 <= size; i += 4)
        for (int j = 0; j < 4; ++j) sums[j] += x[i + j];
    for (; i < size; ++i) sums[0] += x[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) / float(size);
}

// 1 / deviation
INLINE Floats scale_of(int64_t size, const Floats *x, Floats mean) {
    Floats sums[4] = {};
    int64_t i = 0;
    for (; i + 4 <= size; i += 4)
        for (int j = 0; j < 4; ++j) sums[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (; i < size; ++i) sums[0] += (x[i] - mean) * (x[i] - mean);
    return reciprocal_root(((sums[0] + sums[1]) + (sums[2] + sums[3])) / float(size) + 1e-5f);
}

// In place: (x - mean) / deviation * gain + offset, over `size` rows.
INLINE void normalise(const Norm &norm, int64_t size, Floats *x) {
    const Floats mean = mean_of(size, x), scale = scale_of(size, x, mean);
    for (int64_t i = 0; i < size; ++i) x[i] = (x[i] - mean) * scale * norm.gain[i] + norm.offset[i];
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
                          const Floats *const *x, Floats *const *y) {
    Floats sums[OUTPUTS][STEPS];
    for (int o = 0; o < OUTPUTS; ++o)
        for (int s = 0; s < STEPS; ++s) sums[o][s] = all(o < count ? bias[first + o] : 0);
    tile<OUTPUTS, STEPS>(weight + first / PACK * PACK * inputs + first % PACK, x, inputs, sums);
    for (int o = 0; o < OUTPUTS && o < count; ++o)
        for (int s = 0; s < STEPS; ++s) y[s][first + o] = sums[o][s];
}

// y[s] = weight x[s] + bias for STEPS steps.
template <int STEPS>
INLINE void multiply(const float *weight, const float *bias, int64_t outputs, int64_t inputs, const Floats *const *x,
                     Floats *const *y) {
    constexpr int WIDE = STEPS == 1 ? 2 * TILE : TILE;  // a single step would leave registers empty
    int64_t first = 0;
    for (; first + WIDE <= outputs; first += WIDE)
        multiply_tile<WIDE, STEPS>(weight, bias, first, WIDE, inputs, x, y);
    for (; first < outputs; first += TILE)
        multiply_tile<TILE, STEPS>(weight, bias, first, outputs - first, inputs, x, y);
}

// Steps stand `in_stride` and `out_stride` vectors apart.
void dense(const float *weight, const float *bias, int64_t outputs, int64_t inputs, const Floats *x, int64_t in_stride,
           Floats *y, int64_t out_stride, int64_t steps) {
    int64_t s = 0;
    for (; s + 3 <= steps; s += 3) {
        const Floats *in[3] = {x + s * in_stride, x + (s + 1) * in_stride, x + (s + 2) * in_stride};
        Floats *out[3] = {y + s * out_stride, y + (s + 1) * out_stride, y + (s + 2) * out_stride};
        multiply<3>(weight, bias, outputs, inputs, in, out);
    }
    for (; s < steps; ++s) {
        const Floats *in[1] = {x + s * in_stride};
        Floats *out[1] = {y + s * out_stride};
        multiply<1>(weight, bias, outputs, inputs, in, out);
    }
}

INLINE void dense(const Dense &layer, const Floats *x, Floats *y, int64_t steps) {
    dense(layer.weight, layer.bias, layer.outputs, layer.inputs, x, layer.inputs, y, layer.outputs, steps);
}

// y = norm(glu(gated) + skip). gated: 2 size, skip and y: size.
INLINE void close_gate(const Norm &norm, int64_t size, const Floats *gated, const Floats *skip, Floats *y) {
    for (int64_t i = 0; i < size; ++i) y[i] = gated[i] * sigmoid(gated[size + i]) + skip[i];
    normalise(norm, size, y);
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
    Floats *numbers, *weights, *flat, *skips, *inside, *gated, *vector, *labels;
    Floats *selected, *layer, *gates, *recurrent, *state, *cell, *temporal, *enriched, *fresh, *keys, *values;
    Floats *future_temporal, *future_enriched, *past_context, *future_context, *enrichment;
    Floats *queries, *odds, *shares, *attended, *fed, *output;
    int64_t servers[LANES];   // the row of each lane's server
    int64_t segments;         // lanes of one server, side by side
    Ints segment, leader;     // which of its server's lanes each one is, and the first of them
    Ints start;               // the step at which each lane's server begins
    int64_t begin, complete;  // the first step at which any server, and at which every server has begun

    bool allocate(const Network &network, const Call &call) {
        const int64_t h = network.hidden, steps = call.encoder + call.horizon, deep = network.heads * network.head;
        const Selection *both[2] = {&network.encoder, &network.decoder};
        int64_t numbers_size = 1, variables = 1, flat_size = 1, width = 1, row = 1;
        for (const Selection *one : both) {
            numbers_size = larger(numbers_size, one->own + one->shared);
            variables = larger(variables, one->variables);
            flat_size = larger(flat_size, one->flat);
            width = larger(width, one->width);
            row = larger(row, one->labels * (h + one->flat + one->variables));
        }
        struct Wish {
            Floats **where;
            int64_t size;
        } wishes[] = {
            {&numbers, GROUP * numbers_size}, {&weights, GROUP * variables}, {&flat, GROUP * flat_size},
            {&skips, GROUP * variables}, {&inside, GROUP * larger(h, width)},
            {&gated, GROUP * 2 * larger(h, variables)}, {&vector, h}, {&labels, GROUP * row},
            {&selected, GROUP * h}, {&layer, GROUP * h}, {&gates, GROUP * 4 * h},
            {&recurrent, 4 * h}, {&state, network.layers * h}, {&cell, network.layers * h}, {&temporal, GROUP * h},
            {&enriched, GROUP * h}, {&fresh, GROUP * deep}, {&keys, steps * deep}, {&values, steps * network.head},
            {&future_temporal, call.horizon * h}, {&future_enriched, call.horizon * h}, {&past_context, flat_size},
            {&future_context, flat_size}, {&enrichment, h}, {&queries, GROUP * deep}, {&odds, GROUP * steps},
            {&shares, GROUP * steps}, {&attended, GROUP * network.head}, {&fed, GROUP * h},
            {&output, GROUP * network.output.outputs},
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

// Steps that go through the network together: each lane has `rows` of them, a server's lanes one after the other.
struct Group {
    bool past;
    int64_t first, rows, end;  // steps; those from the end on are computed for nothing

    int64_t step_of(int64_t segment, int64_t row) const { return first + segment * rows + row; }
};

Group group_at(bool past, int64_t first, int64_t end, const Scratch &scratch) {
    const int64_t left = (end - first + scratch.segments - 1) / scratch.segments;
    return {past, first, left < GROUP ? left : GROUP, end};
}

// rows of [servers][size] into lanes
INLINE void gather(const float *from, int64_t size, const Scratch &scratch, Floats *to) {
    for (int64_t i = 0; i < size; ++i)
        for (int lane = 0; lane < LANES; ++lane) to[i][lane] = from[scratch.servers[lane] * size + i];
}

// From lanes with steps of their own to what all lanes of a server read, step after step: [steps][size], from `to` on.
void spread(const Floats *from, int64_t size, int64_t stride, const Group &group, const Scratch &scratch, Floats *to) {
    for (int64_t segment = 0; segment < scratch.segments; ++segment)
        for (int64_t row = 0; row < group.rows && group.step_of(segment, row) < group.end; ++row)
            for (int64_t i = 0; i < size; ++i)
                to[group.step_of(segment, row) * size + i] =
                    pick(from[row * stride + i], scratch.leader + int32_t(segment));
}

// Which of its server's steps, from the left, a lane reads in a row. Before its start, and from the end on: any.
INLINE int64_t place_of(const Scratch &scratch, const Group &group, int lane, int64_t row) {
    int64_t step = group.step_of(scratch.segment[lane], row);
    if (step >= group.end) step = group.end - 1;
    if (group.past) step -= scratch.start[lane];
    return step < 0 ? 0 : step;
}

// A label's rows of a group's steps, [rows][row]. Most labels never change: then one copy serves for the next step.
void gather_labels(const Selection &selection, const Call &call, const Group &group, int64_t hidden, Scratch &scratch) {
    const int64_t *codes = group.past ? call.past_labels : call.future_labels;
    const int64_t size = hidden + selection.flat + selection.variables;
    for (int64_t label = 0; label < selection.labels; ++label) {
        int64_t before[LANES] = {};
        for (int64_t row = 0; row < group.rows; ++row) {
            Floats *to = scratch.labels + (label * GROUP + row) * size;
            int64_t now[LANES];
            bool same = row > 0;
            for (int lane = 0; lane < LANES; ++lane) {
                const int64_t place = place_of(scratch, group, lane, row);
                const int64_t at = scratch.servers[lane] * group.end + place;
                now[lane] = codes[at * call.labels + selection.label_columns[label]];
                same = same && now[lane] == before[lane];
            }
            if (same) {
                std::memcpy(static_cast<void *>(to), to - size, size_t(size) * sizeof(Floats));
            } else {
                for (int lane = 0; lane < LANES; ++lane) {
                    const float *from = selection.tables[label] + now[lane] * size;
                    for (int64_t i = 0; i < size; ++i) to[i][lane] = from[i];
                }
            }
            std::memcpy(before, now, sizeof now);
        }
    }
}

// scratch.weights: [rows][variables], positive, together 1.
void weigh(const Selection &selection, const Floats *context, int64_t hidden, int64_t rows, Scratch &scratch) {
    const int64_t variables = selection.variables, flat = selection.flat, size = hidden + flat + variables;
    if (variables == 1) {
        for (int64_t row = 0; row < rows; ++row) scratch.weights[row] = all(1.0f);
        return;
    }
    dense(selection.first, scratch.numbers, scratch.flat, rows);
    dense(selection.skip, scratch.numbers, scratch.skips, rows);
    for (int64_t row = 0; row < rows; ++row) {
        Floats *inside = scratch.flat + row * flat, *skip = scratch.skips + row * variables;
        for (int64_t i = 0; i < flat; ++i) inside[i] += context[i];
        for (int64_t label = 0; label < selection.labels; ++label) {
            const Floats *from = scratch.labels + (label * GROUP + row) * size + hidden;
            for (int64_t i = 0; i < flat; ++i) inside[i] += from[i];
            for (int64_t i = 0; i < variables; ++i) skip[i] += from[flat + i];
        }
        for (int64_t i = 0; i < flat; ++i) inside[i] = elu(inside[i]);
        if (selection.skip_resampled) normalise(selection.skip_norm, variables, skip);
    }
    pass_gate(selection.gate, scratch.flat, scratch.skips, scratch.weights, scratch.gated, rows);
    for (int64_t row = 0; row < rows; ++row) {
        Floats *weights = scratch.weights + row * variables, most = weights[0], sum = all(0);
        for (int64_t i = 1; i < variables; ++i) most = weights[i] > most ? weights[i] : most;
        for (int64_t i = 0; i < variables; ++i) sum += weights[i] = exponential(weights[i] - most);
        for (int64_t i = 0; i < variables; ++i) weights[i] /= sum;
    }
}

// A number's vector (folds.Numbers), times its weight, onto scratch.selected.
void add_number(const Selection &selection, int64_t index, int64_t hidden, int64_t rows, Scratch &scratch) {
    const int64_t width = selection.width, numbers = selection.own + selection.shared;
    const float *a = selection.a + index * width, *c = selection.c + index * width;
    const float *u = selection.u + index * hidden, *d = selection.d + index * hidden;
    const float *residual_offset = selection.residual_offset + index * hidden;
    const float *gain = selection.gain + index * hidden, *offset = selection.offset + index * hidden;
    for (int64_t row = 0; row < rows; ++row) {
        const Floats x = scratch.numbers[row * numbers + index];
        for (int64_t i = 0; i < width; ++i) scratch.inside[row * width + i] = elu(a[i] * x + c[i]);
    }
    dense(selection.matrix + index * packed(2 * hidden) * width, selection.bias + index * 2 * hidden, 2 * hidden, width,
          scratch.inside, width, scratch.gated, 2 * hidden, rows);
    for (int64_t row = 0; row < rows; ++row) {
        const Floats x = scratch.numbers[row * numbers + index], apart = x - selection.middle[index];
        const Floats shrink = reciprocal_root(selection.bend[index] * apart * apart + selection.least[index]);
        const Floats weight = scratch.weights[row * selection.variables + index];
        const Floats *gated = scratch.gated + row * 2 * hidden;
        Floats *vector = scratch.vector, *selected = scratch.selected + row * hidden;
        for (int64_t i = 0; i < hidden; ++i)
            vector[i] = gated[i] * sigmoid(gated[hidden + i]) + (u[i] * x + d[i]) * shrink + residual_offset[i];
        const Floats mean = mean_of(hidden, vector), scale = scale_of(hidden, vector, mean) * weight;
        for (int64_t i = 0; i < hidden; ++i) selected[i] += (vector[i] - mean) * scale * gain[i] + weight * offset[i];
    }
}

// scratch.selected: the variables' vectors of a group's steps, added up with their weights.
void select(const Selection &selection, const Call &call, const Floats *context, int64_t hidden, const Group &group,
            Scratch &scratch) {
    const int64_t numbers = selection.own + selection.shared;
    const float *values = group.past ? call.past : call.future;
    for (int64_t row = 0; row < group.rows; ++row)
        for (int lane = 0; lane < LANES; ++lane) {
            const int64_t place = place_of(scratch, group, lane, row);
            const float *from = values + (scratch.servers[lane] * group.end + place) * call.numbers;
            for (int64_t i = 0; i < numbers; ++i)
                scratch.numbers[row * numbers + i][lane] = from[selection.columns[i]];
        }
    for (int64_t i = 0; i < group.rows * hidden; ++i) scratch.selected[i] = all(0);
    if (!selection.variables) return;
    gather_labels(selection, call, group, hidden, scratch);
    weigh(selection, context, hidden, group.rows, scratch);
    for (int64_t index = 0; index < selection.own; ++index) add_number(selection, index, hidden, group.rows, scratch);
    const float *vectors = group.past ? call.past_shared : call.future_shared;
    const int64_t size = hidden + selection.flat + selection.variables;
    for (int64_t row = 0; row < group.rows; ++row) {
        Floats *selected = scratch.selected + row * hidden;
        const Floats *weights = scratch.weights + row * selection.variables + selection.own;
        for (int64_t segment = 0; segment < scratch.segments; ++segment) {
            const int64_t step = group.step_of(segment, row);
            if (step >= group.end) break;
            for (int64_t index = 0; index < selection.shared; ++index) {
                const float *vector = vectors + (step * selection.shared + index) * hidden;
                const Floats weight = scratch.segment == int32_t(segment) ? weights[index] : all(0);
                for (int64_t i = 0; i < hidden; ++i) selected[i] += weight * vector[i];
            }
        }
        for (int64_t label = 0; label < selection.labels; ++label) {
            const Floats *vector = scratch.labels + (label * GROUP + row) * size;
            for (int64_t i = 0; i < hidden; ++i) selected[i] += weights[selection.shared + label] * vector[i];
        }
    }
}

// One LSTM layer over a group's steps, in place. A server's lanes take turns, and each hands over to all of them; until
// the server has begun they keep the state that they began with.
void remember(const Dense &input, const Dense &recurrent, int64_t hidden, const Group &group, Floats *state,
              Floats *cell, Floats *layer, Scratch &scratch) {
    dense(input, layer, scratch.gates, group.rows);
    for (int64_t segment = 0; segment < scratch.segments; ++segment) {
        const Ints turn = scratch.segment == int32_t(segment);
        for (int64_t row = 0; row < group.rows && group.step_of(segment, row) < group.end; ++row) {
            dense(recurrent, state, scratch.recurrent, 1);
            const Floats *in = scratch.gates + row * 4 * hidden, *back = scratch.recurrent;
            const Ints begun = group.past ? scratch.start <= int32_t(group.step_of(segment, row)) : Ints{} - 1;
            for (int64_t i = 0; i < hidden; ++i) {
                const Floats enter = sigmoid(in[i] + back[i]), forget = sigmoid(in[hidden + i] + back[hidden + i]);
                const Floats candidate = hyperbolic(in[2 * hidden + i] + back[2 * hidden + i]);
                const Floats leave = sigmoid(in[3 * hidden + i] + back[3 * hidden + i]);
                const Floats next = forget * cell[i] + enter * candidate, said = leave * hyperbolic(next);
                cell[i] = begun ? next : cell[i];
                state[i] = begun ? said : state[i];
                layer[row * hidden + i] = turn ? said : layer[row * hidden + i];
            }
        }
        for (int64_t i = 0; i < hidden; ++i) {
            state[i] = pick(state[i], scratch.leader + int32_t(segment));
            cell[i] = pick(cell[i], scratch.leader + int32_t(segment));
        }
    }
}

// What a group's queries see, [rows][head] into scratch.attended: the sum of all heads' attention times the values.
void attend(const Network &network, const Call &call, const Group &group, Scratch &scratch) {
    const int64_t head = network.head, deep = network.heads * head, total = call.encoder + call.horizon;
    const int64_t seen_by_first = network.causal ? call.encoder + group.first : total;
    int64_t seen_by_last = seen_by_first + (network.causal ? scratch.segments * group.rows - 1 : 0);
    if (seen_by_last > total) seen_by_last = total;
    Ints ends[GROUP];  // of what each lane's step sees
    for (int64_t s = 0; s < GROUP; ++s) {
        ends[s] = Ints{} + int32_t(seen_by_first);
        if (network.causal) ends[s] += scratch.segment * int32_t(group.rows) + int32_t(s);
    }
    for (int64_t i = 0; i < GROUP * total; ++i) scratch.shares[i] = all(0);
    for (int64_t h = 0; h < network.heads; ++h) {
        const Floats *keys = scratch.keys + h * total * head;
        Floats most[GROUP];
        for (int s = 0; s < GROUP; ++s) most[s] = all(-1e30f);
        for (int64_t k = scratch.begin; k < seen_by_last; ++k) {
            Floats score[GROUP];
            for (int s = 0; s < GROUP; ++s) score[s] = all(0);
            for (int64_t i = 0; i < head; ++i) {
                const Floats key = keys[k * head + i];
                for (int s = 0; s < GROUP; ++s) score[s] += scratch.queries[s * deep + h * head + i] * key;
            }
            if (k < scratch.complete || k >= seen_by_first)  // some lane does not see it
                for (int s = 0; s < GROUP; ++s) {
                    const Ints seen = (scratch.start <= int32_t(k)) & (ends[s] > int32_t(k));
                    score[s] = seen ? score[s] : all(-1e30f);
                }
            for (int s = 0; s < GROUP; ++s) {
                scratch.odds[s * total + k] = score[s];
                most[s] = score[s] > most[s] ? score[s] : most[s];
            }
        }
        for (int64_t s = 0; s < group.rows; ++s) {
            Floats *odds = scratch.odds + s * total, *shares = scratch.shares + s * total, sum = all(0);
            for (int64_t k = scratch.begin; k < seen_by_last; ++k) sum += odds[k] = exponential(odds[k] - most[s]);
            const Floats scale = 1.0f / sum;
            for (int64_t k = scratch.begin; k < seen_by_last; ++k) shares[k] += odds[k] * scale;
        }
    }
    for (int64_t i = 0; i < head; ++i) {
        Floats sums[GROUP] = {};
        for (int64_t k = scratch.begin; k < seen_by_last; ++k)
            for (int s = 0; s < GROUP; ++s) sums[s] += scratch.shares[s * total + k] * scratch.values[k * head + i];
        for (int64_t s = 0; s < group.rows; ++s) scratch.attended[s * head + i] = sums[s];
    }
}

// A group's steps from the inputs to keys and values; those of the horizon are kept for their queries.
void read_group(const Network &network, const Call &call, const Group &group, Scratch &scratch) {
    const int64_t hidden = network.hidden, head = network.head, total = call.encoder + call.horizon;
    const bool past = group.past;
    const Dense *input = past ? network.encoder_input : network.decoder_input;
    const Dense *recurrent = past ? network.encoder_state : network.decoder_state;
    select(past ? network.encoder : network.decoder, call, past ? scratch.past_context : scratch.future_context, hidden,
           group, scratch);
    std::memcpy(static_cast<void *>(scratch.layer), scratch.selected, size_t(group.rows * hidden) * sizeof(Floats));
    for (int64_t l = 0; l < network.layers; ++l)
        remember(input[l], recurrent[l], hidden, group, scratch.state + l * hidden, scratch.cell + l * hidden,
                 scratch.layer, scratch);
    const int64_t kept = group.first / scratch.segments * hidden;
    Floats *temporal = past ? scratch.temporal : scratch.future_temporal + kept;
    Floats *enriched = past ? scratch.enriched : scratch.future_enriched + kept;
    pass_gate(network.post_lstm, scratch.layer, scratch.selected, temporal, scratch.gated, group.rows);
    pass_residual(network.enrichment, temporal, scratch.enrichment, enriched, scratch.inside, scratch.gated,
                  group.rows);
    const int64_t at = past ? 0 : call.encoder;
    dense(network.keys, enriched, scratch.fresh, group.rows);
    for (int64_t h = 0; h < network.heads; ++h)
        spread(scratch.fresh + h * head, head, network.heads * head, group, scratch,
               scratch.keys + (h * total + at) * head);
    dense(network.values, enriched, scratch.fresh, group.rows);
    spread(scratch.fresh, head, head, group, scratch, scratch.values + at * head);
}

// A group's steps of the horizon from their queries to the quantiles.
void answer_group(const Network &network, const Call &call, const Group &group, Scratch &scratch) {
    const int64_t hidden = network.hidden, outputs = network.output.outputs, rows = group.rows;
    const int64_t kept = group.first / scratch.segments * hidden;
    const Floats *temporal = scratch.future_temporal + kept, *enriched = scratch.future_enriched + kept;
    dense(network.queries, enriched, scratch.queries, rows);
    attend(network, call, group, scratch);
    pass_gate(network.post_attention, scratch.attended, enriched, scratch.layer, scratch.gated, rows);
    pass_residual(network.feed_forward, scratch.layer, nullptr, scratch.fed, scratch.inside, scratch.gated, rows);
    pass_gate(network.pre_output, scratch.fed, temporal, scratch.layer, scratch.gated, rows);
    dense(network.output, scratch.layer, scratch.output, rows);
    for (int64_t row = 0; row < rows; ++row)
        for (int lane = 0; lane < LANES; ++lane) {
            const int64_t step = group.step_of(scratch.segment[lane], row);
            if (step >= group.end) continue;
            float *to = call.out + (scratch.servers[lane] * call.horizon + step) * outputs;
            for (int64_t i = 0; i < outputs; ++i) to[i] = scratch.output[row * outputs + i][lane];
        }
}

// Which server and which part of its time each lane has. Lanes that are left over repeat some of the last server.
void share_lanes(const Call &call, int64_t block, Scratch &scratch) {
    const int64_t left = call.servers - block * LANES, count = left < LANES ? left : LANES;
    scratch.segments = LANES / count;
    scratch.begin = call.encoder, scratch.complete = 0;
    for (int64_t lane = 0; lane < LANES; ++lane) {
        const int64_t own = lane / scratch.segments, server = own < count ? own : count - 1;
        const int64_t start = call.encoder - call.lengths[block * LANES + server];
        scratch.servers[lane] = block * LANES + server;
        scratch.segment[lane] = int32_t(lane % scratch.segments);
        scratch.leader[lane] = int32_t(server * scratch.segments);
        scratch.start[lane] = int32_t(start);
        if (start < scratch.begin) scratch.begin = start;
        if (start > scratch.complete) scratch.complete = start;
    }
}

void forecast_block(const Network &network, const Call &call, int64_t block, Scratch &scratch) {
    const int64_t hidden = network.hidden;
    share_lanes(call, block, scratch);
    gather(call.past_context, network.encoder.flat, scratch, scratch.past_context);
    gather(call.future_context, network.decoder.flat, scratch, scratch.future_context);
    gather(call.enrichment, hidden, scratch, scratch.enrichment);
    for (int64_t l = 0; l < network.layers; ++l) {
        gather(call.begin_hidden, hidden, scratch, scratch.state + l * hidden);
        gather(call.begin_cell, hidden, scratch, scratch.cell + l * hidden);
    }
    const int64_t stride = GROUP * scratch.segments;
    for (int64_t first = scratch.begin; first < call.encoder; first += stride)
        read_group(network, call, group_at(true, first, call.encoder, scratch), scratch);
    for (int64_t first = 0; first < call.horizon; first += stride)
        read_group(network, call, group_at(false, first, call.horizon, scratch), scratch);
    for (int64_t first = 0; first < call.horizon; first += stride)
        answer_group(network, call, group_at(false, first, call.horizon, scratch), scratch);
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

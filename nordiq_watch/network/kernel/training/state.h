// What is kept from one batch to the next: packed weights, tables, the memory of the threads. Fresh memory costs a page
// fault every 4 KB, so it is not given back.

#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "../structs.h"
#include "derive.h"
#include "tables.h"

namespace nordiq {

// A weight as `tile` reads it: [outputs / PACK][inputs][PACK].
struct Packed {
    const float *weight;
    int64_t outputs, inputs;
};

// All weights, and for the way back all of them transposed.
class PackedWeights {
  public:
    const float *parameters = nullptr;

    explicit PackedWeights(const TrainedNetwork &of) : network(of) {
        int64_t size = 0;
        for (int64_t i = 0; i < network.linear_count; ++i) {
            const Linear &linear = network.linears[i];
            places.push_back(size);
            size += packed(linear.outputs) * linear.inputs;
            places.push_back(size);
            size += packed(linear.inputs) * linear.outputs;
        }
        values.resize(size_t(size));
    }

    void pack(const float *from) {
        parameters = from;
        for (int64_t i = 0; i < network.linear_count; ++i) {
            const Linear &linear = network.linears[i];
            const float *weight = from + linear.weight;
            float *to = values.data() + places[size_t(2 * i)], *back = values.data() + places[size_t(2 * i + 1)];
            for (int64_t o = 0; o < linear.outputs; ++o)
                for (int64_t k = 0; k < linear.inputs; ++k) {
                    to[o / PACK * PACK * linear.inputs + k * PACK + o % PACK] = weight[o * linear.inputs + k];
                    back[k / PACK * PACK * linear.outputs + o * PACK + k % PACK] = weight[o * linear.inputs + k];
                }
        }
    }

    Packed forward(int64_t i) const {
        return {values.data() + places[size_t(2 * i)], network.linears[i].outputs, network.linears[i].inputs};
    }
    Packed backward(int64_t i) const {
        return {values.data() + places[size_t(2 * i + 1)], network.linears[i].inputs, network.linears[i].outputs};
    }

  private:
    const TrainedNetwork &network;
    std::vector<int64_t> places;  // of each linear, forward and backward
    std::vector<float> values;
};

// One thread's memory, which only grows.
class Memory {
  public:
    Memory() = default;
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
    ~Memory() { std::free(data); }

    // At least `bytes`, zero where new, in huge pages where Linux has them: a block's arrays have more small ones than
    // the processor remembers the places of. Throws std::bad_alloc.
    void *reserve(size_t bytes) {
        constexpr size_t page = size_t(1) << 21;
        bytes = (bytes + page - 1) / page * page;
        if (bytes > size) {
            std::free(data);
            size = 0;
            data = std::aligned_alloc(page, bytes);
            if (!data) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
            madvise(data, bytes, MADV_HUGEPAGE);  // advice: without it, all is as before but slower
#endif
            std::memset(data, 0, bytes);
            size = bytes;
        }
        return data;
    }

  private:
    void *data = nullptr;
    size_t size = 0;
};

struct ThreadState {
    Memory memory;
    std::vector<float> gradients;  // of all parameters, the derived ones too
    double loss = 0;
};

struct TrainingState {
    TrainedNetwork network;
    PackedWeights weights;
    std::vector<float> parameters;
    SelectionPlan plans[3] = {};  // statics, encoder, decoder
    std::vector<ThreadState> threads;
    double dropout = 0;
    int64_t seed = 0;

    explicit TrainingState(const TrainedNetwork &of) : network(of), weights(network) {}

    void prepare(const TrainingBatch &batch, size_t thread_count) {
        parameters.assign(size_t(network.parameters + network.derived), 0.0f);
        std::memcpy(parameters.data(), batch.parameters, size_t(network.parameters) * sizeof(float));
        derive(network, parameters.data());
        weights.pack(parameters.data());
        dropout = batch.dropout, seed = batch.seed;
        if (threads.size() != thread_count) threads = std::vector<ThreadState>(thread_count);
        for (ThreadState &thread : threads) {
            thread.gradients.assign(parameters.size(), 0.0f);
            thread.loss = 0;
        }
        plan(plans[0], network.statics, batch, true, true);
        plan(plans[1], network.encoder, batch, true, false);
        plan(plans[2], network.decoder, batch, false, false);
    }

    // Adds up what the threads have collected.
    void finish(TrainingBatch &batch) {
        std::vector<float> &sum = threads[0].gradients;
        batch.loss = threads[0].loss;
        for (size_t i = 1; i < threads.size(); ++i) {
            for (size_t k = 0; k < sum.size(); ++k) sum[k] += threads[i].gradients[k];
            batch.loss += threads[i].loss;
        }
        derive_backward(network, parameters.data(), sum.data());
        std::memcpy(batch.gradients, sum.data(), size_t(network.parameters) * sizeof(float));
    }

  private:
    void plan(SelectionPlan &plan, const Selection &selection, const TrainingBatch &batch, bool past, bool once) {
        const int64_t length = past ? batch.encoder : batch.horizon;
        plan.selection = &selection;
        plan.reals = past ? batch.past : batch.future;
        plan.codes = past ? batch.past_categoricals : batch.future_categoricals;
        plan.steps = once ? 1 : length;
        plan.real_stride = length * batch.reals, plan.code_stride = length * batch.categoricals;
        plan.real_count = batch.reals, plan.code_count = batch.categoricals;
        const bool weighted = selection.count > 1;
        plan.flat = weighted ? network.linears[selection.weighting.second].outputs : 0;
        plan.scores = weighted ? selection.count : 0;
        const int64_t row = network.hidden + plan.flat + plan.scores;
        plan.row = (row + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
        plan.divide(batch.windows);
        for (const int64_t number : plan.tabled) {
            Table &table = plan.tables[size_t(number)];
            table.rows.assign(size_t(table.entries() * plan.row), 0.0f);
            table.gradients.resize(threads.size());
            for (auto &part : table.gradients) part.assign(table.rows.size(), 0.0f);
        }
        add_bases(plan);
    }

    // The bias of the weighting's first layer, and the shifts of the reals that have no table.
    void add_bases(SelectionPlan &plan) {
        plan.flat_base.assign(size_t(plan.flat), 0.0f), plan.score_base.assign(size_t(plan.scores), 0.0f);
        if (!plan.flat) return;
        const int64_t bias = network.linears[plan.selection->weighting.first].bias;
        for (int64_t i = 0; i < plan.flat; ++i) plan.flat_base[size_t(i)] = parameters[size_t(bias + i)];
        for (const int64_t number : plan.own) {
            const Slopes slopes(network, *plan.selection, plan.selection->variables[number]);
            for (int64_t i = 0; i < plan.flat; ++i)
                plan.flat_base[size_t(i)] += parameters[size_t(slopes.flat.shift + i)];
            for (int64_t i = 0; i < plan.scores; ++i)
                plan.score_base[size_t(i)] += parameters[size_t(slopes.score.shift + i)];
        }
    }
};

}  // namespace nordiq

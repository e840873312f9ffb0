// Parameters that follow from others, and their gradients' way back. A real x is embedded as scale * x + shift, and the
// embedding enters linear maps only: so each of these is slope * x + shift with a slope and shift derived once a step.

#pragma once

#include <cmath>
#include <cstdint>

#include "structs.h"

namespace nordiq {

// Offsets of the slope and shift of one linear map of a real, [size] both.
struct Affine {
    int64_t slope, shift, size;
};

// The linear maps of a real: to its own network's first layer and skip connection, to the first layer and the skip
// connection of the weighting.
struct Slopes {
    Affine inside, skip, flat, score;

    Slopes(const TrainedNetwork &network, const Selection &selection, const Variable &variable) {
        const bool weighted = selection.count > 1;
        int64_t next = variable.derived;
        auto take = [&next](int64_t size) {
            const Affine affine = {next, next + size, size};
            next += 2 * size;
            return affine;
        };
        inside = take(network.linears[variable.network.second].outputs);
        skip = take(network.hidden);
        flat = take(weighted ? network.linears[selection.weighting.second].outputs : 0);
        score = take(weighted ? selection.count : 0);
    }
};

// Calls visit(selection, variable) for all of the network.
template <typename Visit>
void each_variable(const TrainedNetwork &network, Visit visit) {
    for (const Selection *selection : {&network.statics, &network.encoder, &network.decoder})
        for (int64_t i = 0; i < selection->count; ++i) visit(*selection, selection->variables[i]);
}

// Calls visit(weight, columns, affine) for each linear map of a real: the offset and row length of its matrix.
template <typename Visit>
void each_map(const TrainedNetwork &network, const Selection &selection, const Variable &variable, Visit visit) {
    const Slopes slopes(network, selection, variable);
    visit(network.linears[variable.network.first].weight, variable.width, slopes.inside);
    visit(network.linears[variable.resample.linear].weight, variable.width, slopes.skip);
    if (selection.count < 2) return;
    const Linear &flat = network.linears[selection.weighting.first], &score = network.linears[selection.skip.linear];
    visit(flat.weight + variable.block, flat.inputs, slopes.flat);
    visit(score.weight + variable.block, score.inputs, slopes.score);
}

inline float opening(float mask) { return 2.0f / (1.0f + std::exp(-mask)); }

inline void scale_rule(const TrainedNetwork &network, const Resample &resample, float *parameters) {
    const Linear &linear = network.linears[resample.linear];
    const float *rule = network.constants + resample.rule;
    for (int64_t i = 0; i < linear.outputs; ++i) {
        const float open = resample.mask < 0 ? 1.0f : opening(parameters[resample.mask + i]);
        for (int64_t j = 0; j < linear.inputs; ++j)
            parameters[linear.weight + i * linear.inputs + j] = open * rule[i * linear.inputs + j];
    }
}

inline void scale_rule_backward(const TrainedNetwork &network, const Resample &resample, const float *parameters,
                                float *gradients) {
    if (resample.mask < 0) return;
    const Linear &linear = network.linears[resample.linear];
    const float *rule = network.constants + resample.rule;
    for (int64_t i = 0; i < linear.outputs; ++i) {
        const float open = opening(parameters[resample.mask + i]);
        float sum = 0;
        for (int64_t j = 0; j < linear.inputs; ++j)
            sum += gradients[linear.weight + i * linear.inputs + j] * rule[i * linear.inputs + j];
        gradients[resample.mask + i] += sum * open * (1.0f - open / 2);
    }
}

// Fills in the derived parameters, which stand behind the network's own.
inline void derive(const TrainedNetwork &network, float *parameters) {
    each_variable(network, [&](const Selection &selection, const Variable &variable) {
        if (&variable == selection.variables && selection.count > 1) scale_rule(network, selection.skip, parameters);
        scale_rule(network, variable.resample, parameters);
        if (variable.table >= 0) return;
        const float *scale = parameters + variable.scale, *shift = parameters + variable.shift;
        each_map(network, selection, variable, [&](int64_t weight, int64_t columns, const Affine &affine) {
            for (int64_t i = 0; i < affine.size; ++i) {
                float slope = 0, offset = 0;
                for (int64_t j = 0; j < variable.width; ++j) {
                    slope += parameters[weight + i * columns + j] * scale[j];
                    offset += parameters[weight + i * columns + j] * shift[j];
                }
                parameters[affine.slope + i] = slope, parameters[affine.shift + i] = offset;
            }
        });
        const Slopes slopes(network, selection, variable);
        const float *bias = parameters + network.linears[variable.network.first].bias;
        for (int64_t i = 0; i < slopes.inside.size; ++i) parameters[slopes.inside.shift + i] += bias[i];
    });
}

// Adds to the gradients of the network's own parameters what those of the derived ones are for them.
inline void derive_backward(const TrainedNetwork &network, const float *parameters, float *gradients) {
    each_variable(network, [&](const Selection &selection, const Variable &variable) {
        if (variable.table >= 0) return;
        const float *scale = parameters + variable.scale, *shift = parameters + variable.shift;
        each_map(network, selection, variable, [&](int64_t weight, int64_t columns, const Affine &affine) {
            for (int64_t i = 0; i < affine.size; ++i) {
                const float slope = gradients[affine.slope + i], offset = gradients[affine.shift + i];
                for (int64_t j = 0; j < variable.width; ++j) {
                    const int64_t at = weight + i * columns + j;
                    gradients[at] += slope * scale[j] + offset * shift[j];
                    gradients[variable.scale + j] += slope * parameters[at];
                    gradients[variable.shift + j] += offset * parameters[at];
                }
            }
        });
        const Slopes slopes(network, selection, variable);
        float *bias = gradients + network.linears[variable.network.first].bias;
        for (int64_t i = 0; i < slopes.inside.size; ++i) bias[i] += gradients[slopes.inside.shift + i];
    });
    each_variable(network, [&](const Selection &selection, const Variable &variable) {
        scale_rule_backward(network, variable.resample, parameters, gradients);
        if (&variable == selection.variables && selection.count > 1)
            scale_rule_backward(network, selection.skip, parameters, gradients);
    });
}

}  // namespace nordiq

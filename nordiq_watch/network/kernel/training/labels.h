// A label's row of its table, forward and backward, in double precision: layer normalisation takes out a vector's
// scale, so that most of an embedding's gradient cancels out.

#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "state.h"

namespace nordiq {

class LabelRow {
  public:
    LabelRow(const TrainingState &of, const SelectionPlan &of_plan, const Variable &of_variable, int64_t code)
        : state(of), plan(of_plan), variable(of_variable), place(variable.table + code * variable.width),
          embedding(of.parameters.data() + place), normal(size_t(of.network.hidden)) {
        const Linear &linear = state.network.linears[variable.resample.linear];
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < linear.outputs; ++i) {
            normal[size_t(i)] = times_embedding(linear.weight + i * linear.inputs);
            mean += normal[size_t(i)] / double(linear.outputs);
        }
        for (double &x : normal) variance += (x - mean) * (x - mean) / double(linear.outputs);
        scale = 1 / std::sqrt(variance + 1e-5);
        for (double &x : normal) x = (x - mean) * scale;
    }

    void write(float *row) const {
        const int64_t hidden = state.network.hidden;
        const float *parameters = state.parameters.data();
        const Norm &norm = variable.resample.norm;
        for (int64_t i = 0; i < hidden; ++i)
            row[i] = float(normal[size_t(i)] * parameters[norm.gain + i] + parameters[norm.offset + i]);
        for (int64_t i = 0; i < plan.flat; ++i) row[hidden + i] = float(times_embedding(flat_weight(i)));
        for (int64_t i = 0; i < plan.scores; ++i) row[hidden + plan.flat + i] = float(times_embedding(score_weight(i)));
    }

    // From the gradient of the row to those of all parameters behind it, which are added.
    void backward(const std::vector<double> &drow, float *gradients) const {
        std::vector<double> dembedding(size_t(variable.width), 0.0);
        const int64_t hidden = state.network.hidden;
        const Linear &linear = state.network.linears[variable.resample.linear];
        const std::vector<double> dskip = normalise_backward(drow, gradients);
        for (int64_t i = 0; i < hidden; ++i)
            weight_backward(linear.weight + i * linear.inputs, dskip[size_t(i)], dembedding, gradients);
        for (int64_t i = 0; i < plan.flat; ++i)
            weight_backward(flat_weight(i), drow[size_t(hidden + i)], dembedding, gradients);
        for (int64_t i = 0; i < plan.scores; ++i)
            weight_backward(score_weight(i), drow[size_t(hidden + plan.flat + i)], dembedding, gradients);
        for (int64_t j = 0; j < variable.width; ++j) gradients[place + j] += float(dembedding[size_t(j)]);
    }

  private:
    const TrainingState &state;
    const SelectionPlan &plan;
    const Variable &variable;
    const int64_t place;
    const float *embedding;
    std::vector<double> normal;  // [hidden], the embedding resampled and normalised
    double scale;                // 1 / the deviation before

    // Where the row `output` of a matrix begins, at this variable's columns.
    int64_t flat_weight(int64_t output) const {
        const Linear &linear = state.network.linears[plan.selection->weighting.first];
        return linear.weight + output * linear.inputs + variable.block;
    }
    int64_t score_weight(int64_t output) const {
        const Linear &linear = state.network.linears[plan.selection->skip.linear];
        return linear.weight + output * linear.inputs + variable.block;
    }

    double times_embedding(int64_t weight) const {
        double sum = 0;
        for (int64_t j = 0; j < variable.width; ++j)
            sum += double(state.parameters[size_t(weight + j)]) * double(embedding[j]);
        return sum;
    }

    void weight_backward(int64_t weight, double d, std::vector<double> &dembedding, float *gradients) const {
        for (int64_t j = 0; j < variable.width; ++j) {
            gradients[weight + j] += float(d * double(embedding[j]));
            dembedding[size_t(j)] += d * double(state.parameters[size_t(weight + j)]);
        }
    }

    // The gradient of the norm's input, [hidden].
    std::vector<double> normalise_backward(const std::vector<double> &drow, float *gradients) const {
        const Norm &norm = variable.resample.norm;
        std::vector<double> d(normal.size());
        double mean = 0, slope = 0;
        for (size_t i = 0; i < d.size(); ++i) {
            gradients[norm.gain + int64_t(i)] += float(drow[i] * normal[i]);
            gradients[norm.offset + int64_t(i)] += float(drow[i]);
            d[i] = drow[i] * double(state.parameters[size_t(norm.gain) + i]);
            mean += d[i] / double(d.size()), slope += d[i] * normal[i] / double(d.size());
        }
        for (size_t i = 0; i < d.size(); ++i) d[i] = scale * (d[i] - mean - normal[i] * slope);
        return d;
    }
};

}  // namespace nordiq

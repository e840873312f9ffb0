// Inputs with few distinct values in a batch: labels, the calendar, the step's distance. What the network makes of such
// a value is computed once and looked up for each window and step.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "structs.h"

namespace nordiq {

constexpr int64_t ROW_MULTIPLE = 16;  // floats: rows of a table are whole vectors at any width of registers
constexpr int64_t WORTH = 6;          // a real has a table if each of its values stands this often in the batch

// The distinct values of one variable, and what the network makes of each: `row` floats with the vector [hidden], its
// part of the weighting's first layer [flat] and of the weighting's skip connection [scores].
struct Table {
    std::vector<int64_t> codes;                 // a label's code, a real's bits
    std::vector<int32_t> index;                 // [windows][steps] → entry
    std::vector<float> rows;                    // [entries][row]
    std::vector<std::vector<float>> gradients;  // the same for each thread

    int64_t entries() const { return int64_t(codes.size()); }
};

// Finds the distinct ones of values [count], which read(i) gives. False, with an undefined table, if there are more
// than `most`.
template <typename Read>
bool index_values(int64_t count, int64_t most, Read read, Table &table) {
    uint64_t slots = 16;
    while (slots < uint64_t(2 * most)) slots *= 2;
    std::vector<int32_t> found(slots, -1);
    table.codes.clear();
    table.index.resize(size_t(count));
    for (int64_t i = 0; i < count; ++i) {
        const int64_t code = read(i);
        uint64_t slot = (uint64_t(code) * 0x9E3779B97F4A7C15u >> 20) & (slots - 1);
        while (found[slot] >= 0 && table.codes[size_t(found[slot])] != code) slot = (slot + 1) & (slots - 1);
        if (found[slot] < 0) {
            if (table.entries() == most) return false;
            found[slot] = int32_t(table.entries());
            table.codes.push_back(code);
        }
        table.index[size_t(i)] = found[slot];
    }
    return true;
}

// What one batch makes of a variable selection: which variables have tables, and which reals are computed per window.
struct SelectionPlan {
    const Selection *selection;
    const float *reals;    // [windows] rows, row_length apart, each [steps][real_count]
    const int64_t *codes;  // likewise, code_count
    int64_t steps, real_stride, code_stride, real_count, code_count, flat, scores, row;
    std::vector<int64_t> own, tabled;          // numbers of variables
    std::vector<Table> tables;                 // of all variables; those of `own` are empty
    std::vector<float> flat_base, score_base;  // of the weighting: what does not depend on inputs

    float value(int64_t window, int64_t step, int64_t column) const {
        return reals[window * real_stride + step * real_count + column];
    }

    bool make_table(const Variable &variable, int64_t windows, Table &table) const {
        const int64_t count = windows * steps;
        if (variable.table >= 0)
            return index_values(
                count, count,
                [&](int64_t i) { return codes[i / steps * code_stride + i % steps * code_count + variable.column]; },
                table);
        return index_values(
            count, count / WORTH,
            [&](int64_t i) {
                int32_t bits;
                const float x = value(i / steps, i % steps, variable.column);
                std::memcpy(&bits, &x, sizeof bits);
                return int64_t(bits);
            },
            table);
    }

    void divide(int64_t windows) {
        own.clear(), tabled.clear();
        tables.resize(size_t(selection->count));
        for (int64_t i = 0; i < selection->count; ++i)
            (make_table(selection->variables[i], windows, tables[size_t(i)]) ? tabled : own).push_back(i);
    }
};

inline float bits_as_float(int64_t code) {
    const int32_t bits = int32_t(code);
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

}  // namespace nordiq

// Every field of structs.h with its offset and size, for terms/library.py to compare with its mirror of them.

#pragma once

#include "../fields.h"
#include "structs.h"

namespace nordiq {

constexpr Field TERMS_LAYOUT[] = {
    WHOLE(LinearTerm),
    FIELD(LinearTerm, floor),
    FIELD(LinearTerm, maps),
    WHOLE(RowsTerm),
    FIELD(RowsTerm, hidden),
    FIELD(RowsTerm, layers),
    FIELD(RowsTerm, daily),
    FIELD(RowsTerm, floor),
    FIELD(RowsTerm, window_mean),
    FIELD(RowsTerm, window_rate),
    FIELD(RowsTerm, step_mean),
    FIELD(RowsTerm, step_rate),
    FIELD(RowsTerm, window),
    FIELD(RowsTerm, step),
    FIELD(RowsTerm, inner),
    FIELD(RowsTerm, gate),
    FIELD(RowsTerm, output),
    WHOLE(Terms),
    FIELD(Terms, targets),
    FIELD(Terms, horizon),
    FIELD(Terms, quantiles),
    FIELD(Terms, slots),
    FIELD(Terms, day),
    FIELD(Terms, median),
    FIELD(Terms, linear),
    FIELD(Terms, rows),
    FIELD(Terms, network_weight),
    FIELD(Terms, linear_weight),
    FIELD(Terms, rows_weight),
    FIELD(Terms, calibration),
    WHOLE(TermsCall),
    FIELD(TermsCall, windows),
    FIELD(TermsCall, encoder),
    FIELD(TermsCall, metrics),
    FIELD(TermsCall, lengths),
    FIELD(TermsCall, values),
    FIELD(TermsCall, time_of_day),
    FIELD(TermsCall, steps),
    FIELD(TermsCall, network),
    FIELD(TermsCall, out),
    FIELD(TermsCall, threads),
    FIELD(TermsCall, lanes),
    {nullptr, nullptr, 0, 0},
};

}  // namespace nordiq

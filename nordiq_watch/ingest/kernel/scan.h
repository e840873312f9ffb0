// What the scanner is given and what it fills in; ingest/feed_scanner.py mirrors the struct.
#pragma once

#include <cstdint>

extern "C" {

// n rows at most `capacity`, m metrics. The caller owns all memory.
struct Scan {
    // Given.
    const char *body;
    int64_t length;
    const char *fields;            // names one after the other: timestamp, server_name, status, profile, the metrics
    const int64_t *field_lengths;  // (4 + m)
    int64_t metrics;
    const double *bounds;  // (4, m): the least and the most kept, the least and the most accepted
    int64_t capacity;
    // Filled in.
    double *values;          // (n, m): as sent, NaN where not measured
    float *kept;             // (n, m): the same, within the least and the most kept
    int64_t *clips;          // (n, 2): values of the row below the least kept, and above the most
    int64_t *stamp_codes;    // (n): which of `stamps`
    int64_t *status_codes;   // (n): which of `statuses`, -1 for none
    int64_t *profile_codes;  // (n): which of `profiles`, -1 for none
    int64_t *stamps;         // (n, 2): begin and end in the body of each different token
    int64_t *statuses;       // (n, 2)
    int64_t *profiles;       // (n, 2)
    char *names;             // the server of each row, with a line feed between them; as long as the body
    int64_t different_stamps;
    int64_t different_statuses;
    int64_t different_profiles;
    int64_t names_length;
    int64_t faults;  // values out of range, and rows with nothing measured
};

int64_t nordiq_scan_version();
int64_t nordiq_scan_size();

// The rows of the body; -1 if it is of another form, -2 if it has more than `capacity`. What was filled in means
// nothing then.
int64_t nordiq_scan(Scan *scan);
}

// Reads a plain body of the feed into columns: `{"records": [{"timestamp": …, "server_name": …, METRIC: number, …},
// …]}`.
//
// It reads what collectors nearly always send, and says of any other body that it is of another form: ingest/rows.py
// reads that one, and names what is wrong with it. So no error is worded here, and what is accepted here has to be what
// that reader would have made of it; tests/ingest/test_feed_scanner.py compares the two.
#include "cursor.h"
#include "scan.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>
#include <vector>

namespace {

constexpr int64_t kVersion = 2;  // raised with every change of Scan or of what it means
constexpr int64_t kOtherForm = -1, kNoRoom = -2;

enum Own { kTimestamp, kServerName, kStatus, kProfile, kOwnFields };

// Different tokens by the order in which they came, and the code of each. A tree: no sender can choose tokens that make
// it slow.
class Tokens {
  public:
    explicit Tokens(const char *body) : body_(body) {}

    int64_t encode(std::string_view token) {
        if (token != last_) {  // no token is empty: texts have their quotes
            last_ = token;
            last_code_ = codes_.emplace(token, static_cast<int64_t>(codes_.size())).first->second;
        }
        return last_code_;
    }

    // Begin and end of each in the body. Returns how many there are.
    int64_t write(int64_t *spans) const {
        for (const auto &[token, code] : codes_) {
            spans[2 * code] = token.data() - body_;
            spans[2 * code + 1] = token.data() - body_ + static_cast<int64_t>(token.size());
        }
        return static_cast<int64_t>(codes_.size());
    }

  private:
    const char *body_;
    std::map<std::string_view, int64_t> codes_;
    std::string_view last_;
    int64_t last_code_ = -1;
};

class Reader {
  public:
    explicit Reader(Scan *scan)
        : scan_(scan), cursor_(scan->body, scan->body + scan->length), stamps_(scan->body), statuses_(scan->body),
          profiles_(scan->body), name_(scan->names), seen_(kOwnFields + scan->metrics, -1) {
        const char *field = scan->fields;
        for (int64_t number = 0; number < kOwnFields + scan->metrics; ++number) {
            fields_.emplace_back(field, static_cast<size_t>(scan->field_lengths[number]));
            field += scan->field_lengths[number];
        }
    }

    int64_t read() {
        std::string_view key;
        if (!(cursor_.take('{') && cursor_.take_text(&key) && key == "records" && cursor_.take(':'))) return kOtherForm;
        if (!cursor_.take('[')) return kOtherForm;
        do {
            if (rows_ == scan_->capacity) return kNoRoom;
            if (!read_record()) return kOtherForm;
            ++rows_;
        } while (cursor_.take(','));
        if (!(cursor_.take(']') && cursor_.take('}'))) return kOtherForm;
        cursor_.skip_blanks();
        if (!cursor_.is_at_end()) return kOtherForm;
        scan_->different_stamps = stamps_.write(scan_->stamps);
        scan_->different_statuses = statuses_.write(scan_->statuses);
        scan_->different_profiles = profiles_.write(scan_->profiles);
        scan_->names_length = name_ - scan_->names;
        return rows_;
    }

  private:
    bool read_record() {
        double *values = scan_->values + rows_ * scan_->metrics;
        for (int64_t metric = 0; metric < scan_->metrics; ++metric) {
            values[metric] = std::numeric_limits<double>::quiet_NaN();
        }
        scan_->status_codes[rows_] = scan_->profile_codes[rows_] = -1;
        if (!cursor_.take('{')) return false;
        size_t position = 0;
        do {
            const int64_t field = take_key(position++);
            if (field < 0 || seen_[field] == rows_ || !cursor_.take(':') || !read_value(field, values)) return false;
            seen_[field] = rows_;
        } while (cursor_.take(','));
        if (!cursor_.take('}') || seen_[kTimestamp] != rows_ || seen_[kServerName] != rows_) return false;
        keep_values(values);
        return true;
    }

    // The number of the next field, -1 for an unknown one. Records of one sender have their fields in the same order.
    int64_t take_key(size_t position) {
        if (position < order_.size() && cursor_.take_expected(fields_[order_[position]])) return order_[position];
        std::string_view key;
        if (!cursor_.take_text(&key)) return -1;
        for (size_t number = 0; number < fields_.size(); ++number) {
            if (fields_[number] != key) continue;
            if (position >= order_.size()) order_.resize(position + 1);
            return order_[position] = static_cast<int64_t>(number);
        }
        return -1;
    }

    bool read_value(int64_t field, double *values) {
        cursor_.skip_blanks();
        std::string_view text;
        switch (field) {
        case kTimestamp:
            if (!cursor_.take_token(&text)) return false;
            scan_->stamp_codes[rows_] = stamps_.encode(text);
            return true;
        case kServerName:
            if (!cursor_.take_text(&text)) return false;
            if (rows_) *name_++ = '\n';  // which no text has without an escape
            std::memcpy(name_, text.data(), text.size());
            name_ += text.size();
            return true;
        case kStatus:
            return read_label(&statuses_, scan_->status_codes);
        case kProfile:
            return read_label(&profiles_, scan_->profile_codes);
        default:
            return cursor_.take_null() || cursor_.take_number(&values[field - kOwnFields]);
        }
    }

    bool read_label(Tokens *labels, int64_t *codes) {
        if (cursor_.take_null()) return true;
        std::string_view token;
        if (!cursor_.is_next('"') || !cursor_.take_token(&token)) return false;
        codes[rows_] = labels->encode(token);
        return true;
    }

    // Single precision, what is a little outside as the nearer end; counts what is further out and rows with nothing.
    void keep_values(const double *values) {
        float *kept = scan_->kept + rows_ * scan_->metrics;
        const double *low = scan_->bounds, *high = low + scan_->metrics;
        const double *least = high + scan_->metrics, *most = least + scan_->metrics;
        int64_t below = 0, above = 0, measured = 0;
        for (int64_t metric = 0; metric < scan_->metrics; ++metric) {
            const double value = values[metric];
            scan_->faults += value < least[metric] || value > most[metric];
            below += value < low[metric];
            above += value > high[metric];
            measured += !std::isnan(value);
            kept[metric] = static_cast<float>(value > high[metric]  ? high[metric]
                                              : value < low[metric] ? low[metric]
                                                                    : value);
        }
        scan_->clips[2 * rows_] = below;
        scan_->clips[2 * rows_ + 1] = above;
        scan_->faults += measured == 0;
    }

    Scan *scan_;
    Cursor cursor_;
    Tokens stamps_, statuses_, profiles_;
    char *name_;
    int64_t rows_ = 0;
    std::vector<int64_t> seen_;   // field → the last row that had it
    std::vector<int64_t> order_;  // position → the field that the last record had there
    std::vector<std::string_view> fields_;
};

}  // namespace

extern "C" {

int64_t nordiq_scan_version() { return kVersion; }

int64_t nordiq_scan_size() { return sizeof(Scan); }

int64_t nordiq_scan(Scan *scan) { return Reader(scan).read(); }
}

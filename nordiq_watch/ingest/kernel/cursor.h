// Reads the parts of JSON, one after the other.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace {

constexpr uint64_t kExactMantissa = uint64_t{1} << 53;
constexpr int kMostDigits = 18;  // of a mantissa in 64 bits
constexpr double kTens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The position in the body. Every method that returns bool says false for another form.
class Cursor {
  public:
    Cursor(const char *at, const char *end) : at_(at), end_(end) {}

    const char *at() const { return at_; }
    bool is_at_end() const { return at_ == end_; }

    void skip_blanks() {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    }

    // Of a character that is expected, with blanks before it.
    bool take(char expected) {
        skip_blanks();
        if (at_ == end_ || *at_ != expected) return false;
        ++at_;
        return true;
    }

    bool is_next(char expected) {
        skip_blanks();
        return at_ != end_ && *at_ == expected;
    }

    bool take_null() {
        if (end_ - at_ < 4 || std::memcmp(at_, "null", 4) != 0) return false;
        at_ += 4;
        return true;
    }

    // A text without escapes; `text` is what stands between its quotes. Whether that is UTF-8 is left to the caller.
    bool take_text(std::string_view *text) {
        if (!take('"')) return false;
        const char *begin = at_;
        while (at_ != end_ && *at_ != '"') {
            if (static_cast<unsigned char>(*at_) < 0x20 || *at_ == '\\') return false;
            ++at_;
        }
        if (at_ == end_) return false;
        *text = {begin, static_cast<size_t>(at_ - begin)};
        ++at_;
        return true;
    }

    // This very text, if it is the next.
    bool take_expected(std::string_view text) {
        skip_blanks();
        const size_t length = text.size() + 2;
        if (static_cast<size_t>(end_ - at_) < length || *at_ != '"' || at_[length - 1] != '"') return false;
        if (std::memcmp(at_ + 1, text.data(), text.size()) != 0) return false;
        at_ += length;
        return true;
    }

    // A text or a number as it stands there.
    bool take_token(std::string_view *token) {
        skip_blanks();
        const char *begin = at_;
        std::string_view text;
        double number;
        if (at_ == end_ || !(*at_ == '"' ? take_text(&text) : take_number(&number))) return false;
        *token = {begin, static_cast<size_t>(at_ - begin)};
        return true;
    }

    // Correctly rounded. Not for a number beyond a double, nor for a negative zero.
    bool take_number(double *number) {
        const char *begin = at_;
        const bool is_negative = at_ != end_ && *at_ == '-';
        if (is_negative) ++at_;
        if (at_ == end_ || !is_digit(*at_)) return false;
        const char *first = at_;
        uint64_t mantissa = 0;
        take_digits(&mantissa);
        if (*first == '0' && at_ - first > 1) return false;
        int64_t digits = at_ - first, exponent = 0;
        if (at_ != end_ && *at_ == '.') {
            const char *fraction = ++at_;
            take_digits(&mantissa);
            if (at_ == fraction) return false;
            digits += at_ - fraction;
            exponent = fraction - at_;
        }
        if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) return take_rare(begin, number, /*with_exponent=*/true);
        if (digits > kMostDigits || mantissa > kExactMantissa || exponent < -22) return take_rare(begin, number, false);
        if (is_negative && mantissa == 0) return false;
        const double exact = static_cast<double>(mantissa) / kTens[-exponent];  // both exact, so one rounding
        *number = is_negative ? -exact : exact;
        return true;
    }

  private:
    // The mantissa overflows with more than kMostDigits digits; it is not used then.
    void take_digits(uint64_t *mantissa) {
        for (; at_ != end_ && is_digit(*at_); ++at_) *mantissa = *mantissa * 10 + static_cast<uint64_t>(*at_ - '0');
    }

    // A number that was seen up to its exponent, and is longer than two doubles hold exactly.
    bool take_rare(const char *begin, double *number, bool with_exponent) {
        if (with_exponent) {
            ++at_;
            if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
            const char *power = at_;
            while (at_ != end_ && is_digit(*at_)) ++at_;
            if (at_ == power) return false;
        }
        const auto [after, error] = std::from_chars(begin, at_, *number);
        return error == std::errc() && after == at_ && !(*number == 0 && *begin == '-');
    }

    const char *at_;
    const char *end_;
};

}  // namespace

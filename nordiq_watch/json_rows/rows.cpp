// Rows of arrays as JSON, by a list of steps. `program.py` has the steps, `plain.py` the same in Python.
//
// The numbers are written as orjson writes them: in as few digits as tell a number apart from its neighbours, with a
// point or an exponent, and null for what is not finite.

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

enum Kind : int64_t { LITERAL, WORDS, FLOATS, DOUBLES, FLOAT_LISTS, COMMA, WHEN };

struct Step {
    int64_t kind;
    const char *data;     // LITERAL, WORDS: text; numbers: the first row's; WHEN: bytes, 0 for no
    int64_t row;          // bytes from one row to the next
    int64_t count;        // LITERAL: bytes; FLOAT_LISTS: numbers in a row; WHEN: steps that are skipped where it is not
    int64_t element;      // FLOAT_LISTS: bytes from one number to the next
    const int64_t *ends;  // WORDS: where each word ends in `data`
    const int64_t *codes;  // WORDS: which word stands in each row
};

template <typename T>
T load(const char *place) {
    T value;
    std::memcpy(&value, place, sizeof value);
    return value;
}

char *copy(char *out, const char *text, int64_t length) {
    std::memcpy(out, text, static_cast<size_t>(length));
    return out + length;
}

constexpr float SCALE = 1e4F;
constexpr float BELOW =
    1024.0F;  // up to here floats are closer to each other than 1e-4: four decimals are the shortest

struct Digits {
    char text[4];
    int32_t length;
};

// Text of the numbers in front of the point, and of those behind it, without the zeros at their end.
struct Tables {
    Digits whole[1024];
    Digits decimals[10000];

    Tables() {
        for (int number = 0; number < 1024; ++number)
            whole[number].length = static_cast<int32_t>(
                std::to_chars(whole[number].text, whole[number].text + 4, number).ptr - whole[number].text);
        for (int number = 0; number < 10000; ++number) {
            Digits &mine = decimals[number];
            for (int at = 3, rest = number; at >= 0; --at, rest /= 10)
                mine.text[at] = static_cast<char>('0' + rest % 10);
            mine.length = 4;
            while (mine.length > 1 && mine.text[mine.length - 1] == '0') --mine.length;
        }
    }
};

const Tables TABLES;

// Numbers of at most four decimals, which nearly all are. Null where `value` is not one of them.
char *write_rounded(char *out, float value) {
    const float size = std::fabs(value);
    if (!(size < BELOW)) return nullptr;
    const auto digits = static_cast<uint32_t>(size * SCALE + 0.5F);
    if (static_cast<float>(digits) / SCALE != size) return nullptr;
    *out = '-';
    out += std::signbit(value) ? 1 : 0;
    const Digits &whole = TABLES.whole[digits / 10000];
    std::memcpy(out, whole.text, 4);
    out += whole.length;
    *out++ = '.';
    const Digits &decimals = TABLES.decimals[digits % 10000];
    std::memcpy(out, decimals.text, 4);
    return out + decimals.length;
}

// Any finite number. From so many digits in front of the point on it has an exponent: `most`; and below 10^`least`.
template <typename T>
char *write_any(char *out, T value, int most, int least) {
    if (std::signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    if (value == 0) return copy(out, "0.0", 3);
    char text[40];
    const char *end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
    char digits[24];
    int count = 0;
    const char *next = text;
    for (; *next != 'e'; ++next)
        if (*next != '.') digits[count++] = *next;
    int exponent = 0;
    std::from_chars(next[1] == '+' ? next + 2 : next + 1, end, exponent);
    const int point = exponent + 1;  // digits in front of the decimal point
    if (point > most || point < least) {
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            out = copy(out, digits + 1, count - 1);
        }
        *out++ = 'e';
        if (exponent > 0) *out++ = '+';
        return std::to_chars(out, out + 5, exponent).ptr;
    }
    if (point <= 0) {
        out = copy(out, "0.", 2);
        for (int zero = point; zero < 0; ++zero) *out++ = '0';
        return copy(out, digits, count);
    }
    if (count > point) {
        out = copy(out, digits, point);
        *out++ = '.';
        return copy(out, digits + point, count - point);
    }
    out = copy(out, digits, count);
    for (int zero = count; zero < point; ++zero) *out++ = '0';
    return copy(out, ".0", 2);
}

char *write_float(char *out, float value) {
    if (!std::isfinite(value)) return copy(out, "null", 4);
    if (char *end = write_rounded(out, value)) return end;
    return write_any(out, value, 13, -5);
}

char *write_double(char *out, double value) {
    if (!std::isfinite(value)) return copy(out, "null", 4);
    return write_any(out, value, 16, -4);
}

char *write_list(char *out, const char *first, const Step &step) {
    *out++ = '[';
    for (int64_t number = 0; number < step.count; ++number) {
        if (number != 0) *out++ = ',';
        out = write_float(out, load<float>(first + number * step.element));
    }
    *out++ = ']';
    return out;
}

char *write_word(char *out, const Step &step, int64_t row) {
    const int64_t code = step.codes[row];
    const int64_t begin = code == 0 ? 0 : step.ends[code - 1];
    return copy(out, step.data + begin, step.ends[code] - begin);
}

char *write_row(char *out, const char *begin, const Step *steps, int64_t count, int64_t row) {
    for (int64_t at = 0; at < count; ++at) {
        const Step &step = steps[at];
        const char *mine = step.data + row * step.row;
        switch (step.kind) {
        case LITERAL:
            out = copy(out, step.data, step.count);
            break;
        case WORDS:
            out = write_word(out, step, row);
            break;
        case FLOATS:
            out = write_float(out, load<float>(mine));
            break;
        case DOUBLES:
            out = write_double(out, load<double>(mine));
            break;
        case FLOAT_LISTS:
            out = write_list(out, mine, step);
            break;
        case COMMA:
            if (out != begin && out[-1] != '{') *out++ = ',';
            break;
        case WHEN:
            if (*mine == 0) at += step.count;
            break;
        default:
            break;
        }
    }
    return out;
}

}  // namespace

extern "C" {

int64_t nordiq_rows_version() { return 1; }

int64_t nordiq_rows_step_bytes() { return sizeof(Step); }

// Writes `rows` rows to `out`, which has room for them, and where each of them ends to `ends`. Returns the bytes.
int64_t nordiq_write_rows(const Step *steps, int64_t count, int64_t rows, char *out, int64_t *ends) {
    char *next = out;
    for (int64_t row = 0; row < rows; ++row) {
        next = write_row(next, out, steps, count, row);
        ends[row] = next - out;
    }
    return next - out;
}
}

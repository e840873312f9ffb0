// Descriptions of structs that Python mirrors: every field with its offset and size.

#pragma once

#include <cstddef>
#include <cstdint>

#define WHOLE(structure) {#structure, nullptr, 0, int64_t(sizeof(structure))}
#define FIELD(structure, name) {#structure, #name, int64_t(offsetof(structure, name)), int64_t(sizeof(structure::name))}

namespace nordiq {

// A field of a struct; a struct as a whole has no field's name, and the table ends with a struct of no name.
struct Field {
    const char *structure, *name;
    int64_t offset, size;
};

}  // namespace nordiq

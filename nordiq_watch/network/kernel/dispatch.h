// Code for several widths of vector registers in one file: what stands between NORDIQ_BEGIN and NORDIQ_END may use the
// instructions named there, and runs only where widest() says that the processor has them. In a build with
// AddressSanitizer, NORDIQ_FORBID makes a read or write of some memory an error, and NORDIQ_ALLOW takes that back.

#pragma once

#include <cstdint>

#ifdef __has_feature  // clang
#if __has_feature(address_sanitizer)
#define NORDIQ_GUARDED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define NORDIQ_GUARDED 1
#endif
#ifdef NORDIQ_GUARDED
#include <sanitizer/asan_interface.h>
#define NORDIQ_FORBID(memory, bytes) ASAN_POISON_MEMORY_REGION(memory, bytes)
#define NORDIQ_ALLOW(memory, bytes) ASAN_UNPOISON_MEMORY_REGION(memory, bytes)
#else
#define NORDIQ_GUARDED 0
#define NORDIQ_FORBID(memory, bytes) ((void)(memory))
#define NORDIQ_ALLOW(memory, bytes) ((void)(memory))
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define NORDIQ_DISPATCH 1
#define NORDIQ_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define NORDIQ_BEGIN(features) \
    NORDIQ_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define NORDIQ_END NORDIQ_PRAGMA(clang attribute pop)
#else
#define NORDIQ_BEGIN(features) NORDIQ_PRAGMA(GCC push_options) NORDIQ_PRAGMA(GCC target(features))
#define NORDIQ_END NORDIQ_PRAGMA(GCC pop_options)
#endif
#define NORDIQ_BEGIN_16 NORDIQ_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define NORDIQ_BEGIN_8 NORDIQ_BEGIN("avx2,fma")
#endif

namespace nordiq {

constexpr int GUARD = NORDIQ_GUARDED;  // vectors between two pieces of scratch memory

// Floats in this processor's widest registers.
inline int64_t widest() {
#ifdef NORDIQ_DISPATCH
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}

}  // namespace nordiq

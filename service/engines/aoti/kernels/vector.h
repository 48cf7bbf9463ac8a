// A vector of as many float32 as a register of the processor holds, in the compiler's own extension:
// AVX2 and AVX-512 are one source. SGE_LANES overrides the width, which the tests use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sge {

#if defined(SGE_LANES)
constexpr int kLanes = SGE_LANES;
#elif defined(__AVX512F__)
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
typedef float UnalignedVector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));

#define SGE_INLINE inline __attribute__((always_inline))
// Loops over registers: their indices must be constants, or the registers become memory.
#define SGE_UNROLL _Pragma("GCC unroll 16")

SGE_INLINE Vector load(const float* from) { return *reinterpret_cast<const UnalignedVector*>(from); }
SGE_INLINE void store(float* to, Vector value) { *reinterpret_cast<UnalignedVector*>(to) = value; }
SGE_INLINE Vector broadcast(float value) { return value - Vector{}; }
// What is no number stays none.
SGE_INLINE Vector relu(Vector value) { return Vector{} > value ? Vector{} : value; }

}  // namespace sge

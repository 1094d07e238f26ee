// Atomics on the types that CUDA has them for. One fiber runs at a time, so they are plain.
#pragma once

#define QUERN_ATOMIC(name, type, expression)               \
  inline type name(type* at, type value) {                 \
    const type old = *at;                                  \
    *at = expression;                                      \
    return old;                                            \
  }
#define QUERN_ATOMIC_CAS(type)                                    \
  inline type atomicCAS(type* at, type expected, type value) {    \
    const type old = *at;                                         \
    if (old == expected) *at = value;                             \
    return old;                                                   \
  }
QUERN_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
QUERN_ATOMIC(atomicAdd, unsigned, old + value)
QUERN_ATOMIC(atomicAdd, unsigned long long, old + value)
QUERN_ATOMIC(atomicAdd, float, old + value)
QUERN_ATOMIC(atomicAdd, double, old + value)
QUERN_ATOMIC(atomicSub, int, static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(value)))
QUERN_ATOMIC(atomicSub, unsigned, old - value)
QUERN_ATOMIC(atomicExch, int, value)
QUERN_ATOMIC(atomicExch, unsigned, value)
QUERN_ATOMIC(atomicExch, unsigned long long, value)
QUERN_ATOMIC(atomicExch, float, value)
QUERN_ATOMIC(atomicMin, int, old < value ? old : value)
QUERN_ATOMIC(atomicMin, unsigned, old < value ? old : value)
QUERN_ATOMIC(atomicMin, long long, old < value ? old : value)
QUERN_ATOMIC(atomicMin, unsigned long long, old < value ? old : value)
QUERN_ATOMIC(atomicMax, int, old > value ? old : value)
QUERN_ATOMIC(atomicMax, unsigned, old > value ? old : value)
QUERN_ATOMIC(atomicMax, long long, old > value ? old : value)
QUERN_ATOMIC(atomicMax, unsigned long long, old > value ? old : value)
QUERN_ATOMIC(atomicAnd, int, old & value)
QUERN_ATOMIC(atomicAnd, unsigned, old & value)
QUERN_ATOMIC(atomicAnd, unsigned long long, old & value)
QUERN_ATOMIC(atomicOr, int, old | value)
QUERN_ATOMIC(atomicOr, unsigned, old | value)
QUERN_ATOMIC(atomicOr, unsigned long long, old | value)
QUERN_ATOMIC(atomicXor, int, old ^ value)
QUERN_ATOMIC(atomicXor, unsigned, old ^ value)
QUERN_ATOMIC(atomicXor, unsigned long long, old ^ value)
QUERN_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
QUERN_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1u)
QUERN_ATOMIC_CAS(int)
QUERN_ATOMIC_CAS(unsigned)
QUERN_ATOMIC_CAS(unsigned long long)
QUERN_ATOMIC_CAS(unsigned short)
#undef QUERN_ATOMIC
#undef QUERN_ATOMIC_CAS

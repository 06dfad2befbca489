/* Compiles a file of loops once for every instruction set, of which the best that the processor has is chosen at run
   time: with LOOPS defined as the name of that file, this one includes it with SET and ATTRIBUTES defined. */
#include <stddef.h>

/* Microsoft's compiler knows C99's word only where it is asked for C11. */
#if defined(_MSC_VER) && !defined(__clang__)
#define restrict __restrict
#endif

/* A short loop that is unrolled whole is no longer seen by the vectoriser. */
#if defined(__GNUC__)
#define NOT_UNROLLED _Pragma("GCC unroll 1")
#else
#define NOT_UNROLLED
#endif

#define JOINED(name, set) name##_##set
#define EXPANDED(name, set) JOINED(name, set)
#define IN_SET(name) EXPANDED(name, SET)

#define SET baseline
#define ATTRIBUTES
#include LOOPS
#undef SET
#undef ATTRIBUTES

#if defined(__GNUC__) && defined(__x86_64__)

#define SET avx2
#define ATTRIBUTES __attribute__((target("avx2,fma")))
#include LOOPS
#undef SET
#undef ATTRIBUTES

#define SET avx512
#define ATTRIBUTES __attribute__((target("avx512f,avx512dq,fma,prefer-vector-width=512")))
#include LOOPS
#undef SET
#undef ATTRIBUTES

#define BEST(name)                                                                                                     \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? name##_avx512                           \
     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")       ? name##_avx2                             \
                                                                             : name##_baseline)
#else
#define BEST(name) name##_baseline
#endif

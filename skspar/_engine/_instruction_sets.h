/* Compiles a file of loops once for every instruction set, of which the best that the processor has is chosen at run
   time: with LOOPS defined as the name of that file, this one includes it with SET, ATTRIBUTES and REGISTER, the numbers
   that a register holds, defined. */
#include <stddef.h>

/* Microsoft's compiler knows C99's word only where it is asked for C11. */
#if defined(_MSC_VER) && !defined(__clang__)
#define restrict __restrict
#endif

/* A short loop that is unrolled whole is no longer seen by the vectoriser. */
#if defined(__GNUC__)
#define NOT_UNROLLED _Pragma("GCC unroll 1")
#define UNROLLED _Pragma("GCC unroll 8")
#else
#define NOT_UNROLLED
#endif

/* What is used twice is read once: compilers take both operands from memory. */
#if defined(__GNUC__) && defined(__x86_64__)
#define KEEP(x) __asm__("" : "+x"(x))
#elif defined(__GNUC__) && defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x)
#endif

#define JOINED(name, set) name##_##set
#define EXPANDED(name, set) JOINED(name, set)
#define IN_SET(name) EXPANDED(name, SET)

#define SET baseline
#define ATTRIBUTES
#define REGISTER 2
#include LOOPS
#undef SET
#undef ATTRIBUTES
#undef REGISTER

#if defined(__GNUC__) && defined(__x86_64__)

#define SET avx2
#define ATTRIBUTES __attribute__((target("avx2,fma")))
#define REGISTER 4
#include LOOPS
#undef SET
#undef ATTRIBUTES
#undef REGISTER

#define SET avx512
#define ATTRIBUTES __attribute__((target("avx512f,avx512dq,fma,prefer-vector-width=512")))
#define REGISTER 8
#include LOOPS
#undef SET
#undef ATTRIBUTES
#undef REGISTER

#define BEST(name)                                                                                                     \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? name##_avx512                           \
     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")       ? name##_avx2                             \
                                                                             : name##_baseline)
#else
#define BEST(name) name##_baseline
#endif

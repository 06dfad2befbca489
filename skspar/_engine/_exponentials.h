/* Exponentials of numbers that are not positive, in several instruction sets. */
#ifndef SET

#define LOOPS "_exponentials.h"
#include "_instruction_sets.h"

#define exponentials BEST(exponentials)

#else

#include "_exponential.h"

/* x = exp(x) for x <= 0. Below -708 the result is that at -708, 3e-308; NaN stays NaN. */
ATTRIBUTES
static void IN_SET(exponentials)(double *restrict x, ptrdiff_t n)
{
    /* two loops, or else compilers see branches */
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = x[i] < -708.0 ? -708.0 : x[i];
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = IN_SET(exponential)(x[i]);
}

#endif

/* Exponentials of numbers that are not positive, in several instruction sets. */
#ifndef SET

#include <stdint.h>
#include <string.h>

#define LOOPS "_exponentials.h"
#include "_instruction_sets.h"

#define exponentials BEST(exponentials)

#else

/* x = exp(x) for x <= 0: 2^k exp(f), f at most log(2) / 2 from zero, by Taylor's polynomial, whose remainder is below
   2^-57. Below -708 the result is that at -708, 3e-308; NaN stays NaN. */
ATTRIBUTES
static void IN_SET(exponentials)(double *restrict x, ptrdiff_t n)
{
    /* adding it leaves the nearest integer in the last bits */
    const double rounder = 6755399441055744.0;
    /* two loops, or else compilers see branches */
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = x[i] < -708.0 ? -708.0 : x[i];
    for (ptrdiff_t i = 0; i < n; i++) {
        const double a = x[i], k = a * 1.4426950408889634 + rounder, whole = k - rounder;
        const double f = (a - whole * 6.93147180369123816490e-01) - whole * 1.90821492927058770002e-10;
        double e = 1.0 / 6227020800;
        e = e * f + 1.0 / 479001600;
        e = e * f + 1.0 / 39916800;
        e = e * f + 1.0 / 3628800;
        e = e * f + 1.0 / 362880;
        e = e * f + 1.0 / 40320;
        e = e * f + 1.0 / 5040;
        e = e * f + 1.0 / 720;
        e = e * f + 1.0 / 120;
        e = e * f + 1.0 / 24;
        e = e * f + 1.0 / 6;
        e = e * f + 0.5;
        e = e * f + 1.0;
        e = e * f + 1.0;
        uint64_t bits, exponent;
        memcpy(&bits, &e, sizeof bits);
        memcpy(&exponent, &k, sizeof exponent);
        bits += exponent << 52;
        memcpy(&e, &bits, sizeof e);
        x[i] = e;
    }
}

#endif

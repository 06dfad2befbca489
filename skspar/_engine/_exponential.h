/* exp(a) for -708 <= a <= 0, in the instruction set of the loops that include it: 2^k exp(f), f at most log(2) / 2 from
   zero, by Taylor's polynomial, whose remainder is below 2^-57. NaN stays NaN. */
#include <stdint.h>
#include <string.h>

ATTRIBUTES
static inline double IN_SET(exponential)(double a)
{
    /* adding it leaves the nearest integer in the last bits */
    const double rounder = 6755399441055744.0;
    const double k = a * 1.4426950408889634 + rounder, whole = k - rounder;
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
    return e;
}

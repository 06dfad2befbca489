/* The inner loops of the Bregman iterations, in several instruction sets.

   Sums are taken in an order that does not depend on the set, so the versions differ by fused multiply-adds. */
#ifndef SET

#include <math.h>

/* Partial sums of a reduction. */
enum { LANES = 16 };

#undef LOOPS
#define LOOPS "_bregman_loops.h"
#include "_instruction_sets.h"

#define dots BEST(dots)
#define both_products BEST(both_products)
#define relax BEST(relax)
#define add BEST(add)
#define move_and_shrink BEST(move_and_shrink)
#define distance BEST(distance)
#define logistic BEST(logistic)

#else

#if defined(__GNUC__)
/* A register, in whose place memory may stand that begins anywhere. */
typedef double IN_SET(numbers) __attribute__((vector_size(8 * REGISTER)));
typedef double IN_SET(anywhere) __attribute__((vector_size(8 * REGISTER), aligned(8), may_alias));
#define AT(pointer) (*(IN_SET(anywhere) *)(pointer))
/* Registers of eight numbers, and as many columns at once as their sums leave room for. */
#define PARTS (8 / REGISTER)
#define COLUMNS (REGISTER == 8 ? 8 : 4)

/* The sum of eight partial sums. */
ATTRIBUTES
static inline double IN_SET(total)(const IN_SET(numbers) *sums)
{
    double s[8];
    UNROLLED
    for (int part = 0; part < PARTS; part++)
        AT(s + part * REGISTER) = sums[part];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}
#endif

/* out[j] = M[:, j]'x. */
ATTRIBUTES
static void IN_SET(dots)(double *restrict out, const double *restrict M, ptrdiff_t lead, ptrdiff_t rows,
                         const double *restrict x, ptrdiff_t columns)
{
    ptrdiff_t j = 0;
#if defined(__GNUC__)
    for (; j + COLUMNS <= columns; j += COLUMNS) {
        const double *column = M + j * lead;
        IN_SET(numbers) sums[COLUMNS][PARTS] = {{{0}}};
        ptrdiff_t i = 0;
        for (; i + 8 <= rows; i += 8) {
            UNROLLED
            for (int part = 0; part < PARTS; part++) {
                const ptrdiff_t at = i + part * REGISTER;
                const IN_SET(numbers) some = AT(x + at);
                UNROLLED
                for (int k = 0; k < COLUMNS; k++)
                    sums[k][part] += AT(column + k * lead + at) * some;
            }
        }
        UNROLLED
        for (int k = 0; k < COLUMNS; k++) {
            double total = IN_SET(total)(sums[k]);
            for (ptrdiff_t t = i; t < rows; t++)
                total += column[k * lead + t] * x[t];
            out[j + k] = total;
        }
    }
#endif
    for (; j < columns; j++) {
        const double *c = M + j * lead;
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        ptrdiff_t i = 0;
        for (; i + 4 <= rows; i += 4) {
            s0 += c[i] * x[i];
            s1 += c[i + 1] * x[i + 1];
            s2 += c[i + 2] * x[i + 2];
            s3 += c[i + 3] * x[i + 3];
        }
        for (; i < rows; i++)
            s0 += c[i] * x[i];
        out[j] = (s0 + s2) + (s1 + s3);
    }
}

/* out += scale M g and seen = M'o in one pass over M, which may not stay in the nearest cache. */
ATTRIBUTES
static void IN_SET(both_products)(double *restrict out, double *restrict seen, const double *restrict M,
                                  ptrdiff_t lead, ptrdiff_t rows, const double *restrict g, double scale,
                                  const double *restrict o, ptrdiff_t columns)
{
    ptrdiff_t j = 0;
#if defined(__GNUC__)
    for (; j + COLUMNS <= columns; j += COLUMNS) {
        const double *column = M + j * lead;
        IN_SET(numbers) sums[COLUMNS][PARTS] = {{{0}}};
        double x[COLUMNS];
        UNROLLED
        for (int k = 0; k < COLUMNS; k++)
            x[k] = scale * g[j + k];
        ptrdiff_t i = 0;
        for (; i + 8 <= rows; i += 8) {
            UNROLLED
            for (int part = 0; part < PARTS; part++) {
                const ptrdiff_t at = i + part * REGISTER;
                const IN_SET(numbers) some = AT(o + at);
                IN_SET(numbers) even = AT(out + at), odd = {0};
                UNROLLED
                for (int k = 0; k < COLUMNS; k += 2) {
                    IN_SET(numbers) first = AT(column + k * lead + at), second = AT(column + (k + 1) * lead + at);
                    KEEP(first);
                    KEEP(second);
                    sums[k][part] += first * some;
                    sums[k + 1][part] += second * some;
                    even += x[k] * first;
                    odd += x[k + 1] * second;
                }
                AT(out + at) = even + odd;
            }
        }
        UNROLLED
        for (int k = 0; k < COLUMNS; k++) {
            double total = IN_SET(total)(sums[k]);
            for (ptrdiff_t t = i; t < rows; t++) {
                total += column[k * lead + t] * o[t];
                out[t] += x[k] * column[k * lead + t];
            }
            seen[j + k] = total;
        }
    }
#endif
    for (; j < columns; j++) {
        const double *c = M + j * lead, x = scale * g[j];
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        ptrdiff_t i = 0;
        for (; i + 4 <= rows; i += 4) {
            s0 += c[i] * o[i];
            s1 += c[i + 1] * o[i + 1];
            s2 += c[i + 2] * o[i + 2];
            s3 += c[i + 3] * o[i + 3];
        }
        for (; i < rows; i++)
            s0 += c[i] * o[i];
        for (i = 0; i < rows; i++)
            out[i] += x * c[i];
        seen[j] = (s0 + s2) + (s1 + s3);
    }
}

#undef AT
#undef PARTS
#undef COLUMNS

/* a -= quick (values a - pull) + slow a. */
ATTRIBUTES
static void IN_SET(relax)(double *restrict a, const double *restrict values, const double *restrict pull, double quick,
                          double slow, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] -= quick * (values[i] * a[i] - pull[i]) + slow * a[i];
}

ATTRIBUTES
static void IN_SET(add)(double *restrict out, const double *restrict x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] += x[i];
}

/* z += delta * gradient;  g = kappa (z - z clipped to [-1, 1]). */
ATTRIBUTES
static void IN_SET(move_and_shrink)(double *restrict z, double *restrict g, const double *restrict gradient,
                                    double delta, double kappa, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const double x = z[j] + delta * gradient[j];
        const double low = x < -1.0 ? -1.0 : x;
        z[j] = x;
        g[j] = kappa * (x - (low > 1.0 ? 1.0 : low));
    }
}

/* sum_i w[i] (a[i] - b[i]) (c[i] - d[i]); no w means ones. */
ATTRIBUTES
static double IN_SET(distance)(const double *restrict w, const double *restrict a, const double *restrict b,
                               const double *restrict c, const double *restrict d, ptrdiff_t n)
{
    double sums[LANES] = {0}, total = 0;
    ptrdiff_t i = 0;
    if (w)
        for (; i + LANES <= n; i += LANES)
            NOT_UNROLLED
            for (ptrdiff_t t = 0; t < LANES; t++)
                sums[t] += w[i + t] * (a[i + t] - b[i + t]) * (c[i + t] - d[i + t]);
    else
        for (; i + LANES <= n; i += LANES)
            NOT_UNROLLED
            for (ptrdiff_t t = 0; t < LANES; t++)
                sums[t] += (a[i + t] - b[i + t]) * (c[i + t] - d[i + t]);
    for (; i < n; i++)
        sums[0] += (w ? w[i] : 1.0) * (a[i] - b[i]) * (c[i] - d[i]);
    for (ptrdiff_t t = 0; t < LANES; t++)
        total += sums[t];
    return total;
}

#include "_exponential.h"

/* prob = 1 / (1 + exp(-(shift + eta)));  r = v (y - prob);  the sums of r and of v prob (1 - prob).

   The exponential is of minus the absolute value. NaN stays NaN. */
ATTRIBUTES
static void IN_SET(logistic)(const double *restrict eta, const double *restrict y, const double *restrict v,
                             double shift, double *restrict prob, double *restrict r, double *sums, ptrdiff_t n)
{
    double s[LANES] = {0}, h[LANES] = {0};
    /* three loops, or else compilers see branches */
    for (ptrdiff_t i = 0; i < n; i++) {
        const double size = fabs(shift + eta[i]);
        prob[i] = size > 708.0 ? -708.0 : -size;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        prob[i] = IN_SET(exponential)(prob[i]);
    for (ptrdiff_t i = 0; i < n; i++) {
        const double e = prob[i], top = shift + eta[i] >= 0.0 ? 1.0 : e;
        prob[i] = top / (1.0 + e);
        r[i] = v[i] * (y[i] - prob[i]);
    }
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < LANES; t++) {
            s[t] += r[i + t];
            h[t] += v[i + t] * prob[i + t] * (1.0 - prob[i + t]);
        }
    for (; i < n; i++) {
        s[0] += r[i];
        h[0] += v[i] * prob[i] * (1.0 - prob[i]);
    }
    sums[0] = sums[1] = 0.0;
    for (ptrdiff_t t = 0; t < LANES; t++) {
        sums[0] += s[t];
        sums[1] += h[t];
    }
}

#endif

/* The inner loops of matching pursuit, for float and for double, in several instruction sets.

   No sum is reassociated beyond the four terms that are written out, so the versions differ by fused multiply-adds. */
#ifndef SET

/* Atoms that are worked on together: their sums stay in registers or the nearest cache. */
enum { TILE = 256, LANES = 32 };

#define LOOPS "_pursuit_loops.h"
#include "_instruction_sets.h"

#define update_float BEST(update_float)
#define update_double BEST(update_double)
#define largest_float BEST(largest_float)
#define largest_double BEST(largest_double)
#define reductions_float BEST(reductions_float)
#define reductions_double BEST(reductions_double)

#elif !defined(REAL)

#define REAL float
#include "_pursuit_loops.h"
#undef REAL
#define REAL double
#include "_pursuit_loops.h"
#undef REAL

#else

#define NAMED(name) IN_SET(EXPANDED(name, REAL))

/* image = (gram - sum_i w[i] images[i]) * scale;  scores -= step * image;  left -= image^2 unless left is NULL.
   images has k rows of length n, of which image may be the next. */
ATTRIBUTES
static void NAMED(update)(REAL *restrict scores, REAL *restrict left, REAL *restrict image, const REAL *restrict gram,
                          const REAL *restrict images, const REAL *restrict w, ptrdiff_t k, REAL scale, REAL step,
                          ptrdiff_t n)
{
    REAL sums[TILE];
    for (ptrdiff_t start = 0; start < n; start += TILE) {
        const ptrdiff_t size = n - start < TILE ? n - start : TILE;
        const REAL *r0 = images + start;
        ptrdiff_t i = 0;
        for (ptrdiff_t t = 0; t < size; t++)
            sums[t] = gram[start + t];
        for (; i + 4 <= k; i += 4, r0 += 4 * n) {
            const REAL w0 = w[i], w1 = w[i + 1], w2 = w[i + 2], w3 = w[i + 3];
            const REAL *r1 = r0 + n, *r2 = r0 + 2 * n, *r3 = r0 + 3 * n;
            for (ptrdiff_t t = 0; t < size; t++)
                sums[t] -= w0 * r0[t] + w1 * r1[t] + w2 * r2[t] + w3 * r3[t];
        }
        for (; i < k; i++, r0 += n) {
            const REAL w0 = w[i];
            for (ptrdiff_t t = 0; t < size; t++)
                sums[t] -= w0 * r0[t];
        }
        for (ptrdiff_t t = 0; t < size; t++)
            sums[t] *= scale;
        for (ptrdiff_t t = 0; t < size; t++)
            image[start + t] = sums[t];
        for (ptrdiff_t t = 0; t < size; t++)
            scores[start + t] -= step * sums[t];
        if (left)
            for (ptrdiff_t t = 0; t < size; t++)
                left[start + t] -= sums[t] * sums[t];
    }
}

/* Place of the largest |values|, the first of equals; a NaN never wins. */
ATTRIBUTES
static ptrdiff_t NAMED(largest)(const REAL *restrict values, ptrdiff_t n)
{
    REAL best[LANES] = {0}, most = 0;
    ptrdiff_t start = 0;
    for (; start + LANES <= n; start += LANES) {
        const REAL *restrict v = values + start;
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < LANES; t++) {
            const REAL value = v[t] < 0 ? -v[t] : v[t];
            best[t] = value > best[t] ? value : best[t];
        }
    }
    for (; start < n; start++) {
        const REAL value = values[start] < 0 ? -values[start] : values[start];
        best[0] = value > best[0] ? value : best[0];
    }
    for (ptrdiff_t width = LANES / 2; width >= 8; width /= 2)
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < width; t++)
            best[t] = best[t + width] > best[t] ? best[t + width] : best[t];
    for (ptrdiff_t t = 0; t < 8; t++)
        most = best[t] > most ? best[t] : most;
    for (start = 0; start + LANES <= n; start += LANES) {
        const REAL *restrict v = values + start;
        int found = 0;
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < LANES; t++)
            found |= (v[t] == most) | (v[t] == -most);
        if (found)
            break;
    }
    for (; start < n; start++)
        if (values[start] == most || values[start] == -most)
            return start;
    return 0;
}

/* values = scores^2 / left, with left at least as large as its rounding errors. */
ATTRIBUTES
static void NAMED(reductions)(REAL *restrict values, const REAL *restrict scores, const REAL *restrict left, REAL least,
                              ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < n; j++)
        values[j] = scores[j] * scores[j] / (left[j] > least ? left[j] : least);
}

#endif

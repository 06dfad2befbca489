/* Adding up columns of a matrix, in several instruction sets. */
#ifndef SET

/* Rows whose sums stay in the nearest cache. */
enum { ROWS = 1024 };

#undef LOOPS
#define LOOPS "_add_columns.h"
#include "_instruction_sets.h"

#define add_columns BEST(add_columns)

#else

/* out += scale * sum_i x[i] M[:, which[i]], the first columns of M where ``which`` is NULL. */
ATTRIBUTES
static void IN_SET(add_columns)(double *restrict out, const double *restrict M, ptrdiff_t lead, ptrdiff_t rows,
                                const ptrdiff_t *restrict which, const double *restrict x, double scale,
                                ptrdiff_t columns)
{
#define COLUMN(k) (M + start + (which ? which[k] : (k)) * lead)
    for (ptrdiff_t start = 0; start < rows; start += ROWS) {
        const ptrdiff_t size = rows - start < ROWS ? rows - start : ROWS;
        double *restrict o = out + start;
        ptrdiff_t i = 0;
        for (; i + 8 <= columns; i += 8) {
            const double x0 = scale * x[i], x1 = scale * x[i + 1], x2 = scale * x[i + 2], x3 = scale * x[i + 3];
            const double x4 = scale * x[i + 4], x5 = scale * x[i + 5], x6 = scale * x[i + 6], x7 = scale * x[i + 7];
            const double *c0 = COLUMN(i), *c1 = COLUMN(i + 1), *c2 = COLUMN(i + 2), *c3 = COLUMN(i + 3);
            const double *c4 = COLUMN(i + 4), *c5 = COLUMN(i + 5), *c6 = COLUMN(i + 6), *c7 = COLUMN(i + 7);
            for (ptrdiff_t t = 0; t < size; t++)
                o[t] += (x0 * c0[t] + x1 * c1[t] + x2 * c2[t] + x3 * c3[t])
                        + (x4 * c4[t] + x5 * c5[t] + x6 * c6[t] + x7 * c7[t]);
        }
        for (; i + 2 <= columns; i += 2) {
            const double x0 = scale * x[i], x1 = scale * x[i + 1];
            const double *c0 = COLUMN(i), *c1 = COLUMN(i + 1);
            for (ptrdiff_t t = 0; t < size; t++)
                o[t] += x0 * c0[t] + x1 * c1[t];
        }
        for (; i < columns; i++) {
            const double x0 = scale * x[i];
            const double *c0 = COLUMN(i);
            for (ptrdiff_t t = 0; t < size; t++)
                o[t] += x0 * c0[t];
        }
    }
#undef COLUMN
}

#endif

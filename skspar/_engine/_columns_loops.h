/* Products of the columns of a matrix with a few vectors, in several instruction sets.

   BLAS copies a matrix into another order before it multiplies, which costs more than a product with a few vectors. */
#ifndef SET

#include <string.h>

/* Vectors and columns whose sums are formed at once: what there are registers for. */
enum { VECTORS = 6 };
#define COLUMNS_baseline 2
#define COLUMNS_avx2 2
#define COLUMNS_avx512 4

#undef LOOPS
#define LOOPS "_columns_loops.h"
#include "_instruction_sets.h"

#define add_correlations BEST(add_correlations)

#else

#define PANEL IN_SET(COLUMNS)
#if defined(__GNUC__)
#define WIDTH REGISTER
typedef double IN_SET(numbers) __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias));
#define INLINE ATTRIBUTES __attribute__((always_inline))
#else
#define WIDTH 1
typedef double IN_SET(numbers);
#define INLINE
#endif

/* The sums of some columns and vectors; both numbers are known when this is compiled. */
INLINE
static inline void IN_SET(panel)(const double *const *restrict X, ptrdiff_t rows, const int columns,
                                 const double *restrict R, ptrdiff_t length, const int count, double *restrict out,
                                 ptrdiff_t stride)
{
    IN_SET(numbers) sums[PANEL][VECTORS], x[PANEL];
    ptrdiff_t i = 0;
    memset(sums, 0, sizeof sums);
    for (; i + WIDTH <= rows; i += WIDTH) {
        for (int a = 0; a < columns; a++)
            x[a] = *(const IN_SET(numbers) *)(X[a] + i);
        for (int c = 0; c < count; c++) {
            const IN_SET(numbers) r = *(const IN_SET(numbers) *)(R + c * length + i);
            for (int a = 0; a < columns; a++)
                sums[a][c] += x[a] * r;
        }
    }
    for (int a = 0; a < columns; a++)
        for (int c = 0; c < count; c++) {
            double parts[WIDTH];
            memcpy(parts, &sums[a][c], sizeof parts);
            for (int w = WIDTH / 2; w > 0; w /= 2)
                for (int k = 0; k < w; k++)
                    parts[k] += parts[k + w];
            for (ptrdiff_t k = i; k < rows; k++)
                parts[0] += X[a][k] * R[c * length + k];
            out[c * stride + a] += parts[0];
        }
}

/* out[j, c] += X[:, which[j]]'R[:, c], the first columns of X where ``which`` is NULL; columns of X, R and out begin
   ``lead``, ``length`` and ``stride`` apart. */
ATTRIBUTES
static void IN_SET(add_correlations)(const double *restrict X, ptrdiff_t lead, ptrdiff_t rows,
                                     const ptrdiff_t *restrict which, ptrdiff_t columns, const double *restrict R,
                                     ptrdiff_t length, ptrdiff_t vectors, double *restrict out, ptrdiff_t stride)
{
    const ptrdiff_t blocks = (vectors + VECTORS - 1) / VECTORS;
    for (ptrdiff_t j = 0, some; j < columns; j += some) {
        const double *from[PANEL];
        some = columns - j < PANEL ? 1 : PANEL;
        for (ptrdiff_t a = 0; a < some; a++)
            from[a] = X + (which ? which[j + a] : j + a) * lead;
        for (ptrdiff_t k = 0; k < blocks; k++) {
            const ptrdiff_t c = k * vectors / blocks;
            const double *r = R + c * length;
            double *to = out + c * stride + j;
#define CASE(count)                                                                                                    \
    case count:                                                                                                        \
        if (some == 1)                                                                                                 \
            IN_SET(panel)(from, rows, 1, r, length, count, to, stride);                                                \
        else                                                                                                           \
            IN_SET(panel)(from, rows, PANEL, r, length, count, to, stride);                                            \
        break;
            switch ((k + 1) * vectors / blocks - c) {
                CASE(1)
                CASE(2)
                CASE(3)
                CASE(4)
                CASE(5)
                CASE(6)
            }
#undef CASE
        }
    }
}

#undef PANEL
#undef WIDTH
#undef INLINE
#endif

/* Classes given features and labels, for a block of rows whose entries of each class lie together, in several
   instruction sets. */
#ifndef SET

#define LOOPS "_label_loops.h"
#include "_instruction_sets.h"

#define label_block BEST(label_block)
#define label_gradient BEST(label_gradient)
#define label_sum BEST(label_sum)

#else

#include "_exponential.h"

/* ``part`` holds logits and receives probabilities p, softmax over classes, ``posterior`` p[j] given[label, j], and
   ``joint`` the latter's sums over j. Classes begin ``stride`` apart; it pays that equal labels lie together. NaN stays
   NaN. */
ATTRIBUTES
static void IN_SET(label_block)(double *restrict part, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes,
                                const double *restrict given, const ptrdiff_t *restrict labels,
                                double *restrict posterior, double *restrict joint, double *restrict total)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        joint[i] = part[i];
        total[i] = 0.0;
    }
    for (ptrdiff_t j = 1; j < classes; j++)
        for (ptrdiff_t i = 0; i < rows; i++)
            joint[i] = part[j * stride + i] > joint[i] ? part[j * stride + i] : joint[i];
    for (ptrdiff_t j = 0; j < classes; j++) {
        double *restrict p = part + j * stride;
        /* two loops, or else compilers see branches */
        for (ptrdiff_t i = 0; i < rows; i++) {
            const double x = p[i] - joint[i];
            p[i] = x < -708.0 ? -708.0 : x;
        }
        for (ptrdiff_t i = 0; i < rows; i++) {
            p[i] = IN_SET(exponential)(p[i]);
            total[i] += p[i];
        }
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        total[i] = 1.0 / total[i];
        joint[i] = 0.0;
    }
    for (ptrdiff_t start = 0, stop = 0; start < rows; start = stop) {
        const double *restrict chances = given + labels[start] * classes;
        while (stop < rows && labels[stop] == labels[start])
            stop++;
        for (ptrdiff_t j = 0; j < classes; j++) {
            double *restrict p = part + j * stride, *restrict q = posterior + j * stride;
            for (ptrdiff_t i = start; i < stop; i++) {
                p[i] *= total[i];
                q[i] = p[i] * chances[j];
                joint[i] += q[i];
            }
        }
    }
}

/* The sum of products. */
ATTRIBUTES
static double IN_SET(label_sum)(const double *restrict a, const double *restrict b, ptrdiff_t rows)
{
    double sums[8] = {0}, total = 0.0;
    ptrdiff_t i = 0;
    for (; i + 8 <= rows; i += 8)
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < 8; t++)
            sums[t] += a[i + t] * b[i + t];
    for (; i < rows; i++)
        total += a[i] * b[i];
    for (ptrdiff_t t = 0; t < 8; t++)
        total += sums[t];
    return total;
}

/* What follows from a class's probabilities p, in ``part``: ``weights`` counts (2 p (1 - p) + least), if there are any;
   ``posterior``, multiplied by ``scale``; and in the place of p counts (posterior - p), whose sum is returned. */
ATTRIBUTES
static double IN_SET(label_gradient)(double *restrict part, double *restrict posterior, const double *restrict scale,
                                     const double *restrict counts, double *restrict weights, double least,
                                     ptrdiff_t rows)
{
    double sums[8] = {0}, total = 0.0;
    ptrdiff_t i = 0;
    if (weights)
        for (ptrdiff_t t = 0; t < rows; t++)
            weights[t] = counts[t] * (2.0 * part[t] * (1.0 - part[t]) + least);
    for (ptrdiff_t t = 0; t < rows; t++) {
        posterior[t] *= scale[t];
        part[t] = counts[t] * (posterior[t] - part[t]);
    }
    for (; i + 8 <= rows; i += 8)
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < 8; t++)
            sums[t] += part[i + t];
    for (; i < rows; i++)
        total += part[i];
    for (ptrdiff_t t = 0; t < 8; t++)
        total += sums[t];
    return total;
}

#endif

# cython: freethreading_compatible = True
"""The likelihood of labels that may be wrong, in single passes over the rows."""
import numpy as np

from libc.math cimport log
from scipy.linalg.cython_blas cimport dgemm

cdef extern from "_label_loops.h" nogil:
    void label_block(
        double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const Py_ssize_t *, double *, double *, double *
    )
    double label_gradient(double *, double *, const double *, const double *, double *, double, Py_ssize_t)

cdef enum:
    BLOCK = 256
# Probabilities that are but the floor of the exponential.
cdef double TINY = 1e-300
# Of rows whose class is certain: keeps steps bounded.
cdef double LEAST_CURVATURE = 0.005


def label_pass(
    const double[:, ::1] F,
    const double[:, ::1] tilt,
    const double[::1] offset,
    const double[:, ::1] transition,
    const Py_ssize_t[::1] labels,
    const double[::1] counts,
    double[:, ::1] posterior,
    double[:, ::1] probabilities,
    double[:, :, ::1] curvature,
):
    """Class probabilities ``p = softmax(F tilt + offset)`` and the posterior of the true class given the label.

    Both are written (``probabilities`` may have no rows, then it is not). To ``curvature`` is added, class by class,
    ``sum_i counts_i 2 p_ic (1 - p_ic) z_i z_i'``, z = (1, f), or where it has but one block the largest of a row's; it
    may have none. Twice a diagonal of ``diag(p) - p p'`` bounds the matrix itself (Gershgorin).

    Returns the log likelihood of the labels, ``sum_i counts_i log (p_i' T)[label_i]``, its gradient in the offset and
    in the tilt, and how many rows of each class are expected to have each label.
    """
    cdef Py_ssize_t n = F.shape[0], c = F.shape[1], block, start, size, i, j, q, row, blocks = curvature.shape[0], k
    cdef Py_ssize_t side = c + 1, pairs = side * (side + 1) // 2 if blocks > 1 else side
    cdef int c_ = <int> c, rows, side_ = <int> side, pairs_ = <int> pairs, blocks_ = <int> blocks, stride = BLOCK
    cdef double one = 1.0, loglik = 0.0, weight, together = 1.0, counted = 1.0
    cdef bint keep = probabilities.shape[0] > 0
    given_ = np.ascontiguousarray(np.asarray(transition).T)
    offset_gradient, tilt_gradient, expected = np.zeros(c), np.zeros((c, c)), np.zeros((c, c))
    # the entries of a class lie together
    scratch = np.empty((2, c, BLOCK))
    lifted, paired = np.empty((side if blocks else 0, BLOCK)), np.empty((pairs if blocks else 0, BLOCK))
    weights, sums = np.empty((blocks, BLOCK)), np.zeros((blocks if blocks > 1 else 0, pairs))
    cdef const double[:, ::1] given = given_
    cdef double[::1] b = offset_gradient, joint = np.empty(BLOCK), some = np.empty(BLOCK)
    cdef double[:, ::1] D = tilt_gradient, N = expected, part = scratch[0], post = scratch[1], z = lifted, zz = paired
    cdef double[:, ::1] w = weights, packed = sums
    if c == 0:
        return 0.0, offset_gradient, tilt_gradient, expected
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            for j in range(c):
                for i in range(size):
                    part[j, i] = offset[j]
            dgemm("T", "T", &rows, &c_, &c_, &one, <double *> &F[start, 0], &c_, <double *> &tilt[0, 0], &c_, &one,
                  &part[0, 0], &stride)
            label_block(
                &part[0, 0], BLOCK, size, c, &given[0, 0], &labels[start], &post[0, 0], &joint[0], &some[0]
            )
            for i in range(size):
                if joint[i] > TINY:
                    some[i] = 1.0 / joint[i]
                else:
                    # a label that no class gives, of a class whose probability underflowed: it is believed
                    for j in range(c):
                        post[j, i] = 0.0
                    post[labels[start + i], i] = some[i] = 1.0
                    joint[i] = TINY
                # the logarithm of a product, as long as rows count as much and it does not underflow
                if counts[start + i] != counted or together < 1e-6:
                    loglik += counted * log(together)
                    counted, together = counts[start + i], 1.0
                together *= joint[i]
            if blocks == 1:
                for i in range(size):
                    weight = 0.0
                    for j in range(c):
                        weight = max(weight, 2.0 * part[j, i] * (1.0 - part[j, i]))
                    w[0, i] = counts[start + i] * (weight + LEAST_CURVATURE)
            if keep:
                for i in range(size):
                    for j in range(c):
                        probabilities[start + i, j] = part[j, i]
            for j in range(c):
                b[j] += label_gradient(
                    &part[j, 0], &post[j, 0], &some[0], &counts[start], &w[j, 0] if blocks > 1 else NULL,
                    LEAST_CURVATURE, size,
                )
            for i in range(size):
                row = start + i
                for j in range(c):
                    posterior[row, j] = post[j, i]
                for j in range(c):
                    N[labels[row], j] += counts[row] * posterior[row, j]
            # row by row: tilt_gradient (c x c) += F' part
            dgemm("T", "T", &c_, &c_, &rows, &one, &part[0, 0], &stride, <double *> &F[start, 0], &c_, &one, &D[0, 0],
                  &c_)
            if blocks:
                for i in range(size):
                    z[0, i] = 1.0
                    for j in range(c):
                        z[j + 1, i] = F[start + i, j]
            if blocks == 1:
                for j in range(side):
                    for i in range(size):
                        zz[j, i] = w[0, i] * z[j, i]
                dgemm("T", "N", &side_, &side_, &rows, &one, &zz[0, 0], &stride, &z[0, 0], &stride, &one,
                      &curvature[0, 0, 0], &side_)
            elif blocks:
                # the products of every two entries, which all classes weight
                q = 0
                for j in range(side):
                    for k in range(j + 1):
                        for i in range(size):
                            zz[q, i] = z[j, i] * z[k, i]
                        q += 1
                dgemm("T", "N", &pairs_, &blocks_, &rows, &one, &zz[0, 0], &stride, &w[0, 0], &stride, &one,
                      &packed[0, 0], &pairs_)
        loglik += counted * log(together)
        if blocks > 1:
            for i in range(blocks):
                q = 0
                for j in range(side):
                    for k in range(j + 1):
                        curvature[i, j, k] += packed[i, q]
                        if k < j:
                            curvature[i, k, j] += packed[i, q]
                        q += 1
    return loglik, offset_gradient, tilt_gradient, expected.T

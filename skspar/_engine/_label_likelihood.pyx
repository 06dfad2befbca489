# cython: freethreading_compatible = True
"""The likelihood of labels that may be wrong, in single passes over the rows."""
import numpy as np

from libc.math cimport log
from scipy.linalg.cython_blas cimport dgemm

cdef extern from "_exponentials.h" nogil:
    void exponentials(double *x, ptrdiff_t n)

cdef Py_ssize_t BLOCK = 256
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
    cdef Py_ssize_t n = F.shape[0], c = F.shape[1], block, start, size, i, j, row, blocks = curvature.shape[0], k
    cdef int c_ = <int> c, rows, side = <int> c + 1
    cdef double one = 1.0, top, total, joint, loglik = 0.0, weight
    cdef bint keep = probabilities.shape[0] > 0
    given_ = np.ascontiguousarray(np.asarray(transition).T)
    offset_gradient, tilt_gradient, expected = np.zeros(c), np.zeros((c, c)), np.zeros((c, c))
    scratch = np.empty((BLOCK, c))
    lifted, scaled = (np.empty((BLOCK if blocks else 0, c + 1)) for _ in range(2))
    weights = np.empty((blocks, BLOCK))
    cdef const double[:, ::1] given = given_
    cdef double[::1] b = offset_gradient
    cdef double[:, ::1] D = tilt_gradient, N = expected, part = scratch, z = lifted, wz = scaled, w = weights
    if c == 0:
        return 0.0, offset_gradient, tilt_gradient, expected
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            for i in range(size):
                for j in range(c):
                    part[i, j] = offset[j]
            dgemm("N", "N", &c_, &rows, &c_, &one, <double *> &tilt[0, 0], &c_, <double *> &F[start, 0], &c_, &one,
                  &part[0, 0], &c_)
            for i in range(size):
                top = part[i, 0]
                for j in range(1, c):
                    top = max(top, part[i, j])
                for j in range(c):
                    part[i, j] -= top
            exponentials(&part[0, 0], size * c)
            for i in range(size):
                row = start + i
                total = 0.0
                for j in range(c):
                    total += part[i, j]
                total = 1.0 / total
                joint = 0.0
                for j in range(c):
                    part[i, j] *= total
                    posterior[row, j] = part[i, j] * given[labels[row], j]
                    joint += posterior[row, j]
                if joint > TINY:
                    total = 1.0 / joint
                    for j in range(c):
                        posterior[row, j] *= total
                else:
                    # a label that no class gives, of a class whose probability underflowed: it is believed
                    joint = TINY
                    for j in range(c):
                        posterior[row, j] = 0.0
                    posterior[row, labels[row]] = 1.0
                loglik += counts[row] * log(joint)
                for k in range(blocks):
                    weight = 2.0 * part[i, k] * (1.0 - part[i, k])
                    if blocks == 1:
                        for j in range(1, c):
                            weight = max(weight, 2.0 * part[i, j] * (1.0 - part[i, j]))
                    w[k, i] = counts[row] * (weight + LEAST_CURVATURE)
                for j in range(c):
                    if keep:
                        probabilities[row, j] = part[i, j]
                    N[labels[row], j] += counts[row] * posterior[row, j]
                    part[i, j] = counts[row] * (posterior[row, j] - part[i, j])
                    b[j] += part[i, j]
            # row by row: tilt_gradient (c x c) += F' part
            dgemm("N", "T", &c_, &c_, &rows, &one, &part[0, 0], &c_, <double *> &F[start, 0], &c_, &one, &D[0, 0], &c_)
            if blocks:
                for i in range(size):
                    z[i, 0] = 1.0
                    for j in range(c):
                        z[i, j + 1] = F[start + i, j]
            for k in range(blocks):
                for i in range(size):
                    for j in range(side):
                        wz[i, j] = w[k, i] * z[i, j]
                dgemm("N", "T", &side, &side, &rows, &one, &wz[0, 0], &side, &z[0, 0], &side, &one,
                      &curvature[k, 0, 0], &side)
    return loglik, offset_gradient, tilt_gradient, expected.T

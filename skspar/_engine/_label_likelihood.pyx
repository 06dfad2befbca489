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


def label_pass(
    const double[:, ::1] F,
    const double[:, ::1] tilt,
    const double[::1] offset,
    const double[:, ::1] transition,
    const Py_ssize_t[::1] labels,
    const double[::1] counts,
    double[:, ::1] posterior,
    double[:, ::1] probabilities,
):
    """Class probabilities ``p = softmax(F tilt + offset)`` and the posterior of the true class given the label.

    Both are written (``probabilities`` may have no rows, then it is not). Returns the log likelihood of the labels,
    ``sum_i counts_i log (p_i' T)[label_i]``, its gradient in the offset and in the tilt, and for a common factor a of
    all logits the product of that with the fit, ``sum_i f_i'(posterior_i - p_i)``, and its curvature.
    """
    cdef Py_ssize_t n = F.shape[0], c = F.shape[1], block, start, size, i, j, row
    cdef int c_ = <int> c, rows
    cdef double one = 1.0, top, total, joint, loglik = 0.0, mean, second, slope = 0.0, curvature = 0.0
    cdef bint keep = probabilities.shape[0] > 0
    given_ = np.ascontiguousarray(np.asarray(transition).T)
    offset_gradient, tilt_gradient = np.zeros(c), np.zeros((c, c))
    scratch = np.empty((BLOCK, c))
    cdef const double[:, ::1] given = given_
    cdef double[::1] b = offset_gradient
    cdef double[:, ::1] D = tilt_gradient, part = scratch
    if c == 0:
        return 0.0, offset_gradient, tilt_gradient, 0.0, 0.0
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
                mean = 0.0
                second = 0.0
                for j in range(c):
                    mean += part[i, j] * F[row, j]
                    second += part[i, j] * F[row, j] * F[row, j]
                curvature += counts[row] * (second - mean * mean)
                for j in range(c):
                    if keep:
                        probabilities[row, j] = part[i, j]
                    part[i, j] = counts[row] * (posterior[row, j] - part[i, j])
                    b[j] += part[i, j]
                    slope += part[i, j] * F[row, j]
            # row by row: tilt_gradient (c x c) += F' part
            dgemm("N", "T", &c_, &c_, &rows, &one, &part[0, 0], &c_, <double *> &F[start, 0], &c_, &one, &D[0, 0], &c_)
    return loglik, offset_gradient, tilt_gradient, slope, curvature

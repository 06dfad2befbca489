# cython: freethreading_compatible = True
"""The likelihood of labels that may be wrong, its gradient and curvature, in single passes over the rows."""
import numpy as np

from libc.math cimport isfinite, log
from libc.string cimport memcpy, memset
from scipy.linalg.cython_blas cimport dgemm
from scipy.linalg.cython_lapack cimport dpotrf, dpotri

cdef extern from "_label_loops.h" nogil:
    void label_block(
        double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const Py_ssize_t *, double *, double *, double *
    )
    double label_gradient(double *, double *, const double *, const double *, double *, double, Py_ssize_t)
    double label_sum(const double *, const double *, Py_ssize_t)

# Probabilities that are but the floor of the exponential.
cdef double TINY = 1e-300
# Of rows whose class is certain: keeps steps bounded.
cdef double LEAST_CURVATURE = 0.005


cdef class LabelPass:
    """Sums over rows: the log likelihood, its gradient and curvature, and expected counts.

    ``curvature`` (blocks, c + 1, c + 1) has a block for each class, one for all, or none.
    """

    def __cinit__(self, Py_ssize_t c, double[:, :, ::1] curvature):
        self.c, self.side, self.curvature, self.blocks = c, c + 1, curvature, curvature.shape[0]
        pairs = self.side * (self.side + 1) // 2 if self.blocks > 1 else self.side
        self.given, self.tilt_gradient, self.counted = np.empty((c, c)), np.empty((c, c)), np.empty((c, c))
        self.offset_gradient, self.joint, self.some = np.empty(c), np.empty(BLOCK), np.empty(BLOCK)
        self.part = np.empty((c, BLOCK))
        self.lifted = np.ones((self.side if self.blocks else 0, BLOCK))
        self.paired = np.empty((pairs if self.blocks else 0, BLOCK))
        self.weights = np.empty((self.blocks, BLOCK))
        self.packed = np.empty((self.blocks if self.blocks > 1 else 0, pairs))

    cdef void start(self, const double[:, ::1] transition, bint curved, bint counts) noexcept nogil:
        cdef Py_ssize_t i, j, c = self.c
        self.loglik, self.counts = 0.0, counts
        for i in range(c):
            for j in range(c):
                self.given[i, j] = transition[j, i]
                self.tilt_gradient[i, j] = self.counted[i, j] = 0.0
            self.offset_gradient[i] = 0.0
        if curved and self.blocks:
            memset(&self.curvature[0, 0, 0], 0, self.blocks * self.side * self.side * sizeof(double))
            if self.blocks > 1:
                memset(&self.packed[0, 0], 0, self.blocks * self.packed.shape[1] * sizeof(double))

    cdef void add(
        self, const double *f, Py_ssize_t size, const double[:, ::1] tilt, const double[::1] offset,
        const Py_ssize_t *labels, const double *counts, double *post, double *probabilities, bint curved
    ) noexcept nogil:
        """Add a block of rows with fits f; ``post`` and, unless it is NULL, ``probabilities`` are written."""
        cdef Py_ssize_t c = self.c, side = self.side, i, j, k, q, blocks = self.blocks if curved else 0
        cdef int c_ = <int> c, rows = <int> size, side_ = <int> side, stride = BLOCK, blocks_ = <int> blocks, pairs
        cdef double one = 1.0
        cdef double *part = &self.part[0, 0]
        for j in range(c):
            for i in range(size):
                part[j * BLOCK + i] = offset[j]
        dgemm("N", "T", &rows, &c_, &c_, &one, <double *> f, &stride, <double *> &tilt[0, 0], &c_, &one, part, &stride)
        self._judge(part, size, labels, counts, post, probabilities, &self.weights[0, 0] if blocks else NULL)
        # row by row: tilt_gradient (c x c) += F' part
        dgemm("T", "N", &c_, &c_, &rows, &one, part, &stride, <double *> f, &stride, &one, &self.tilt_gradient[0, 0],
              &c_)
        if blocks == 0:
            return
        for j in range(c):
            for i in range(size):
                self.lifted[j + 1, i] = f[j * BLOCK + i]
        if blocks == 1:
            for j in range(side):
                for i in range(size):
                    self.paired[j, i] = self.weights[0, i] * self.lifted[j, i]
            dgemm("T", "N", &side_, &side_, &rows, &one, &self.paired[0, 0], &stride, &self.lifted[0, 0], &stride, &one,
                  &self.curvature[0, 0, 0], &side_)
            return
        # the products of every two entries, which all classes weight
        q = 0
        for j in range(side):
            for k in range(j + 1):
                for i in range(size):
                    self.paired[q, i] = self.lifted[j, i] * self.lifted[k, i]
                q += 1
        pairs = <int> q
        dgemm("T", "N", &pairs, &blocks_, &rows, &one, &self.paired[0, 0], &stride, &self.weights[0, 0], &stride, &one,
              &self.packed[0, 0], &pairs)

    cdef void _judge(
        self, double *part, Py_ssize_t size, const Py_ssize_t *labels, const double *counts, double *post,
        double *probabilities, double *weights,
    ) noexcept nogil:
        """From logits, in ``part``: what `label_gradient` leaves there, and the posterior."""
        cdef Py_ssize_t c = self.c, i, j, first
        cdef double weight, together = 1.0, counted = 1.0
        cdef double *joint = &self.joint[0]
        cdef double *some = &self.some[0]
        cdef bint apart = weights != NULL and self.blocks > 1
        label_block(part, BLOCK, size, c, &self.given[0, 0], labels, post, joint, some)
        if probabilities != NULL:
            for j in range(c):
                memcpy(probabilities + j * BLOCK, part + j * BLOCK, size * sizeof(double))
        for i in range(size):
            if joint[i] > TINY:
                some[i] = 1.0 / joint[i]
            else:
                # a label that no class gives, of a class whose probability underflowed: it is believed
                for j in range(c):
                    post[j * BLOCK + i] = 0.0
                post[labels[i] * BLOCK + i] = some[i] = 1.0
                joint[i] = TINY
            # the logarithm of a product, as long as rows count as much and it does not underflow
            if counts[i] != counted or together < 1e-6:
                self.loglik += counted * log(together)
                counted, together = counts[i], 1.0
            together *= joint[i]
        self.loglik += counted * log(together)
        if weights != NULL and not apart:
            for i in range(size):
                weight = 0.0
                for j in range(c):
                    weight = max(weight, 2.0 * part[j * BLOCK + i] * (1.0 - part[j * BLOCK + i]))
                weights[i] = counts[i] * (weight + LEAST_CURVATURE)
        for j in range(c):
            self.offset_gradient[j] += label_gradient(
                part + j * BLOCK, post + j * BLOCK, some, counts, weights + j * BLOCK if apart else NULL,
                LEAST_CURVATURE, size,
            )
        i = 0
        while self.counts and i < size:
            first, i = i, i + 1
            while i < size and labels[i] == labels[first]:
                i += 1
            for j in range(c):
                self.counted[labels[first], j] += label_sum(counts + first, post + j * BLOCK + first, i - first)

    cdef void finish(self) noexcept nogil:
        """The curvature from its packed pairs."""
        cdef Py_ssize_t i, j, k, q
        if self.blocks > 1:
            for i in range(self.blocks):
                q = 0
                for j in range(self.side):
                    for k in range(j + 1):
                        self.curvature[i, j, k] = self.curvature[i, k, j] = self.packed[i, q]
                        q += 1

    cdef void read_gradient(self, double[:, ::1] gradient) noexcept nogil:
        """That in b and D, (c, c + 1), a row for each class."""
        cdef Py_ssize_t i, j
        for j in range(self.c):
            gradient[j, 0] = self.offset_gradient[j]
            for i in range(self.c):
                gradient[j, 1 + i] = self.tilt_gradient[i, j]

    cdef told(self):
        return (
            self.loglik, np.array(self.offset_gradient), np.array(self.tilt_gradient), np.array(self.counted.T)
        )


cdef class CurvatureBound:
    """The inverse of a bound of the curvature in b and D, class by class, the penalty included.

    The penalty is ``offset_ridge ||b||^2 / 2 + ridge ||D - a I||^2 / 2`` with the a that is best; the curvature of the
    likelihood has a block (c + 1, c + 1) for each class, or one for all.
    """

    def __init__(self, Py_ssize_t c, Py_ssize_t blocks, double ridge, double offset_ridge):
        self.c, self.blocks, self.ridge, self.offset_ridge = c, blocks, ridge, offset_ridge
        self.inverses, self.free = np.zeros((blocks, c + 1, c + 1)), np.zeros((c, c + 1))

    cdef int take(self, const double[:, :, ::1] curvature) noexcept nogil:
        """Hold the inverse of what the curvature and the penalty add up to; not zero if something is not finite."""
        cdef Py_ssize_t c = self.c, side = c + 1, i, j, k
        cdef int side_ = <int> side, info = 0
        cdef double share = self.ridge / c, trace = 0.0
        cdef double *M
        for k in range(self.blocks):
            M = &self.inverses[k, 0, 0]
            memcpy(M, &curvature[k, 0, 0], side * side * sizeof(double))
            M[0] += self.offset_ridge
            for j in range(1, side):
                M[j * side + j] += self.ridge
            dpotrf("U", &side_, M, &side_, &info)
            if info == 0:
                dpotri("U", &side_, M, &side_, &info)
            if info:
                return info
            # Fortran's upper triangle is the lower one here
            for i in range(side):
                for j in range(i):
                    M[j * side + i] = M[i * side + j]
        # the penalty leaves a free, a direction that all blocks share (Sherman & Morrison)
        for j in range(c):
            for i in range(side):
                self.free[j, i] = self.inverses[j if self.blocks > 1 else 0, 1 + j, i]
            trace += self.free[j, 1 + j]
        self.free_factor = share / (1.0 - share * trace)
        # not every LAPACK tells of NaN
        return not isfinite(self.free_factor)

    cdef void divide(self, const double[:, ::1] gradient, double[:, ::1] step) noexcept nogil:
        """A step from a gradient, both (c, c + 1), a row for each class."""
        cdef Py_ssize_t c = self.c, side = c + 1, i, j, k
        cdef const double *M
        cdef double trace = 0.0, value
        for j in range(c):
            M = &self.inverses[j if self.blocks > 1 else 0, 0, 0]
            for i in range(side):
                step[j, i] = 0.0
            for k in range(side):
                value = gradient[j, k]
                for i in range(side):
                    step[j, i] += value * M[k * side + i]
            trace += step[j, 1 + j]
        for j in range(c):
            for i in range(side):
                step[j, i] += self.free_factor * trace * self.free[j, i]

    cdef double penalise(
        self, const double[::1] offset, const double[:, ::1] tilt, double[:, ::1] gradient
    ) noexcept nogil:
        """The penalty; its gradient is subtracted from that of the likelihood, (c, c + 1)."""
        cdef Py_ssize_t c = self.c, i, j
        cdef double mean = 0.0, value = 0.0, unlike
        for j in range(c):
            mean += tilt[j, j] / c
        for j in range(c):
            value += 0.5 * self.offset_ridge * offset[j] * offset[j]
            gradient[j, 0] -= self.offset_ridge * offset[j]
            for i in range(c):
                unlike = tilt[i, j] - (mean if i == j else 0.0)
                value += 0.5 * self.ridge * unlike * unlike
                gradient[j, 1 + i] -= self.ridge * unlike
        return value

    def penalty(self, offset, tilt):
        """Its value, and its gradient in the offset and the tilt, (c + 1, c)."""
        gradient = np.zeros((self.c, self.c + 1))
        value = self.penalise(offset, np.ascontiguousarray(tilt), gradient)
        return value, -gradient.T

    def inverse(self, curvature):
        """The function that divides a gradient (c + 1, c) by the bound."""
        if self.take(curvature):
            raise FloatingPointError("the curvature is not finite")

        def divided(gradient):
            step = np.empty((self.c, self.c + 1))
            self.divide(np.ascontiguousarray(gradient.T), step)
            return step.T

        return divided


cdef class PackedRows:
    """Coordinates, labels, counts and weights of rows, by label, in blocks in which each column lies together.

    Attributes
    ----------
    order : ndarray of shape (n,)
        Which row comes first, second, ...
    """

    def __init__(self, const double[:, ::1] Q, labels, Py_ssize_t n_classes, counts, weights):
        cdef Py_ssize_t b, i, j
        order = np.argsort(labels, kind="stable").astype(np.intp, copy=False)
        self.order, self.labels, self.counts, self.weights = order, labels[order], counts[order], weights[order]
        self.n, self.k, self.c = Q.shape[0], Q.shape[1], n_classes
        self.n_blocks = (self.n + BLOCK - 1) // BLOCK
        self.total = np.sum(counts)
        self.Q = np.empty((self.n_blocks, self.k, BLOCK))
        with nogil:
            for b in range(self.n_blocks):
                for j in range(self.k):
                    for i in range(self.length(b)):
                        self.Q[b, j, i] = Q[self.order[b * BLOCK + i], j]

    cdef Py_ssize_t length(self, Py_ssize_t b) noexcept nogil:
        return min(BLOCK, self.n - b * BLOCK)

    cdef void fit(self, Py_ssize_t b, const double[:, ::1] coef, double *f) noexcept nogil:
        """Q coef, for a block."""
        cdef int c = <int> self.c, k = <int> self.k, stride = BLOCK, size = <int> self.length(b)
        cdef double one = 1.0, zero = 0.0
        dgemm("N", "T", &size, &c, &k, &one, &self.Q[b, 0, 0], &stride, <double *> &coef[0, 0], &c, &zero, f, &stride)

    cdef void project(
        self, Py_ssize_t b, const double *targets, double[:, ::1] spare, double[:, ::1] coef
    ) noexcept nogil:
        """Add a block's part of ``Q'(weights targets)``; spare has room for targets."""
        cdef int c = <int> self.c, k = <int> self.k, stride = BLOCK, size = <int> self.length(b)
        cdef Py_ssize_t i, j
        cdef double one = 1.0
        for j in range(c):
            for i in range(size):
                spare[j, i] = self.weights[b * BLOCK + i] * targets[j * BLOCK + i]
        dgemm("T", "N", &c, &k, &size, &one, &spare[0, 0], &stride, &self.Q[b, 0, 0], &stride, &one, &coef[0, 0], &c)

    cdef unpacked(self, const double[:, :, ::1] blocks):
        """Blocks (n_blocks, c, BLOCK) as an array (n, c)."""
        cdef Py_ssize_t b, i, j
        whole = np.empty((self.n, self.c))
        cdef double[:, ::1] out = whole
        with nogil:
            for b in range(self.n_blocks):
                for i in range(self.length(b)):
                    for j in range(self.c):
                        out[self.order[b * BLOCK + i], j] = blocks[b, j, i]
        return whole


def label_pass(
    const double[:, ::1] F,
    const double[:, ::1] tilt,
    const double[::1] offset,
    const double[:, ::1] transition,
    labels,
    counts,
    double[:, ::1] posterior,
    double[:, ::1] probabilities,
    double[:, :, ::1] curvature,
):
    """Class probabilities ``p = softmax(F tilt + offset)`` and the posterior of the true class given the label.

    Both are written (``probabilities`` may have no rows, then it is not), and to ``curvature``, class by class,
    ``sum_i counts_i 2 p_ic (1 - p_ic) z_i z_i'``, z = (1, f), or where it has but one block the largest of a row's; it
    may have none. Twice a diagonal of ``diag(p) - p p'`` bounds the matrix itself (Gershgorin).

    Returns the log likelihood of the labels, ``sum_i counts_i log (p_i' T)[label_i]``, its gradient in the offset and
    in the tilt, and how many rows of each class are expected to have each label.
    """
    cdef Py_ssize_t c = F.shape[1], b, i, j, row
    cdef bint keep = probabilities.shape[0] > 0, curved = curvature.shape[0] > 0
    cdef LabelPass sums = LabelPass(c, curvature)
    if c == 0:
        return sums.told()
    cdef PackedRows rows = PackedRows(F, labels, c, counts, counts)
    cdef double[:, ::1] post = np.empty((c, BLOCK)), p = np.empty((c, BLOCK))
    with nogil:
        sums.start(transition, curved, True)
        for b in range(rows.n_blocks):
            sums.add(
                &rows.Q[b, 0, 0], rows.length(b), tilt, offset, &rows.labels[b * BLOCK], &rows.counts[b * BLOCK],
                &post[0, 0], &p[0, 0] if keep else NULL, curved,
            )
            for i in range(rows.length(b)):
                row = rows.order[b * BLOCK + i]
                for j in range(c):
                    posterior[row, j] = post[j, i]
                    if keep:
                        probabilities[row, j] = p[j, i]
        if curved:
            sums.finish()
    return sums.told()

# cython: freethreading_compatible = True
"""The likelihood of labels that may be wrong, in single passes over the rows, and the steps that climb it."""
import numpy as np
from scipy import special

from libc.math cimport INFINITY, exp, fabs, isfinite, log
from libc.string cimport memcpy, memset
from scipy.linalg.cython_blas cimport dgemm
from scipy.linalg.cython_lapack cimport dpotrf, dpotri
from scipy.special.cython_special cimport gammaln

cdef extern from "_label_loops.h" nogil:
    void label_block(
        double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const Py_ssize_t *, double *, double *, double *
    )
    double label_gradient(double *, double *, const double *, const double *, double *, double, Py_ssize_t)
    double label_sum(const double *, const double *, Py_ssize_t)

# Rows of a block, whose entries of a column lie together; moves L-BFGS remembers, and what they did to the gradient.
cdef enum:
    BLOCK = 512
    MEMORY = 20
# Probabilities that are but the floor of the exponential.
cdef double TINY = 1e-300
# Of rows whose class is certain: keeps steps bounded.
cdef double LEAST_CURVATURE = 0.005
# Least rate, and least share of right labels, of which the likelihood of counts is taken.
cdef double SMALL = 1e-6
# Gains of so many squared lengths of a gradient, in units of the bound, are not to be hoped for.
cdef double HOPE = 6.0


cdef class _Pass:
    """Sums over rows: the log likelihood, its gradient and curvature, and expected counts.

    ``curvature`` (blocks, c + 1, c + 1) has a block for each class, one for all, or none.
    """

    cdef Py_ssize_t c, side, blocks
    cdef bint counts
    cdef double loglik
    cdef double[:, ::1] given, part, tilt_gradient, counted, lifted, paired, weights, packed
    cdef double[::1] joint, some, offset_gradient
    cdef double[:, :, ::1] curvature

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

    cdef readonly Py_ssize_t c, blocks
    cdef readonly double ridge, offset_ridge
    cdef double free_factor
    cdef double[:, :, ::1] inverses
    cdef double[:, ::1] free

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

    cdef readonly Py_ssize_t n, k, c, n_blocks
    cdef const Py_ssize_t[::1] order
    cdef readonly double total
    cdef double[:, :, ::1] Q
    cdef const Py_ssize_t[::1] labels
    cdef const double[::1] counts, weights

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
    cdef _Pass sums = _Pass(c, curvature)
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


cdef class TransitionSteps:
    """Labels and their noise, on the way: the steps that `noise_transition` describes.

    Parameters
    ----------
    rows : PackedRows
    coef : ndarray of shape (k, c)
        B.
    offset, tilt, transition : ndarray
        b, D and T.
    rate : float
        Share of wrong labels.
    bound : CurvatureBound
        Of these steps alone: what it holds is replaced.
    concentrations : ndarray
        Of which the likelihood of the transition counts tells.
    trusting : int
        Steps in which B and T stay as they are.
    bounded_at : sequence of int
        Steps before which the curvature is bounded anew, and in any case before the first one taken.

    Attributes
    ----------
    n_steps : int
        Steps taken, or as if taken.
    freedom : float
        Entries of T that were free, each counted as far as it was not shrunk.
    change : float
        By how much the latest step changed the probabilities of a row's classes, on the mean: half the sum.
    """

    cdef readonly double rate, freedom, change
    cdef public Py_ssize_t n_steps
    cdef PackedRows rows
    cdef _Pass sums
    cdef CurvatureBound bound
    cdef Py_ssize_t trusting, now
    cdef bint fit_is_old, unbounded
    cdef const unsigned char[::1] bounded_at
    cdef const double[:, ::1] concentrations
    # B, and the class probabilities it was fitted to, now and in the next step
    cdef double[:, :, ::1] coefs
    cdef double[:, :, :, ::1] values
    cdef double[:, :, ::1] f
    cdef double[::1] b, wrong, total
    cdef double[:, ::1] D, T, spare, gradient, step, chances

    def __init__(
        self, PackedRows rows, coef, offset, tilt, transition, double rate, CurvatureBound bound, concentrations,
        Py_ssize_t trusting, bounded_at,
    ):
        cdef Py_ssize_t c = rows.c, i
        self.rows, self.bound, self.trusting, self.rate, self.freedom = rows, bound, trusting, rate, 0.0
        self.n_steps, self.now, self.fit_is_old, self.unbounded = 0, 0, True, True
        self.change = INFINITY
        # zeros: not every BLAS ignores a NaN that it is told to scale by zero
        self.coefs, self.f = np.empty((2, rows.k, c)), np.zeros((rows.n_blocks, c, BLOCK))
        np.asarray(self.coefs)[0] = coef
        self.values = np.zeros((2, rows.n_blocks, c, BLOCK))
        for i in range(rows.n):
            self.values[0, i // BLOCK, rows.labels[i], i % BLOCK] = 1.0
        self.b, self.D, self.T = np.array(offset), np.array(tilt), np.array(transition)
        a = concentrations / max(1, c - 1)
        self.concentrations = np.column_stack([concentrations, special.gammaln(concentrations), a, special.gammaln(a)])
        again = np.zeros(max(bounded_at) + 1, dtype=np.uint8)
        again[list(bounded_at)] = 1
        self.bounded_at = again
        self.sums = _Pass(c, np.empty((bound.blocks, c + 1, c + 1)))
        self.spare, self.gradient, self.step = np.empty((c, BLOCK)), np.empty((c, c + 1)), np.empty((c, c + 1))
        self.chances, self.wrong, self.total = np.empty((c + 1, len(concentrations))), np.empty(c), np.empty(c)

    @property
    def coef(self):
        return np.array(self.coefs[self.now])

    @property
    def offset(self):
        return np.array(self.b)

    @property
    def tilt(self):
        return np.array(self.D)

    @property
    def transition(self):
        return np.array(self.T)

    @property
    def targets(self):
        return self.rows.unpacked(self.values[self.now])

    @property
    def posterior(self):
        with nogil:
            self._scan(False, False)
        return self.rows.unpacked(self.values[1 - self.now])

    def proceed(self, Py_ssize_t n_steps, double settled=0.0):
        """Take steps, at most so many and until one changes less than ``settled`` of a row's class."""
        cdef Py_ssize_t _step
        cdef int failed = 0
        with nogil:
            for _step in range(n_steps):
                failed = self._take_step()
                if failed or self.change < settled:
                    break
        if failed:
            raise FloatingPointError("the curvature is not finite")

    def renew_fit(self):
        """Fit B to the posterior, all else as it is."""
        with nogil:
            self._scan(True, False)
            self._turn()

    def score(self, const double[::1] leverage):
        """The log likelihood of each label by the fit of the others to the targets."""
        cdef Py_ssize_t b, i, j
        cdef double[:, ::1] f = np.empty((self.rows.c, BLOCK)), posterior = np.empty((self.rows.c, BLOCK))
        cdef double[::1] stretch = np.empty(BLOCK)
        cdef const Py_ssize_t *row
        with nogil:
            self.sums.start(self.T, False, False)
            for b in range(self.rows.n_blocks):
                self._fit(b)
                row = &self.rows.order[b * BLOCK]
                for i in range(self.rows.length(b)):
                    stretch[i] = 1.0 / (1.0 - leverage[row[i]])
                for j in range(self.rows.c):
                    for i in range(self.rows.length(b)):
                        f[j, i] = self.values[self.now, b, j, i]
                        f[j, i] -= stretch[i] * (f[j, i] - self.f[b, j, i])
                self.sums.add(
                    &f[0, 0], self.rows.length(b), self.D, self.b, &self.rows.labels[b * BLOCK],
                    &self.rows.counts[b * BLOCK], &posterior[0, 0], NULL, False,
                )
            self.fit_is_old = False
        return self.sums.loglik

    cdef void _fit(self, Py_ssize_t b) noexcept nogil:
        if self.fit_is_old:
            self.rows.fit(b, self.coefs[self.now], &self.f[b, 0, 0])

    cdef void _scan(self, bint project, bint curved) noexcept nogil:
        """A pass over the rows: the posterior, and B for it."""
        cdef Py_ssize_t b, next = 1 - self.now
        cdef double moved = 0.0
        self.sums.start(self.T, curved, project)
        if project:
            memset(&self.coefs[next, 0, 0], 0, self.rows.k * self.rows.c * sizeof(double))
        for b in range(self.rows.n_blocks):
            self._fit(b)
            self.sums.add(
                &self.f[b, 0, 0], self.rows.length(b), self.D, self.b, &self.rows.labels[b * BLOCK],
                &self.rows.counts[b * BLOCK], &self.values[next, b, 0, 0], NULL, curved,
            )
            if project:
                self.rows.project(b, &self.values[next, b, 0, 0], self.spare, self.coefs[next])
                moved += self._moved(b)
        if project:
            self.change = 0.5 * moved / self.rows.total
        self.fit_is_old = False
        if curved:
            self.sums.finish()

    cdef double _moved(self, Py_ssize_t b) noexcept nogil:
        """How far the posterior of a block is from the targets."""
        cdef Py_ssize_t i, j
        cdef double total = 0.0
        cdef const double *counts = &self.rows.counts[b * BLOCK]
        for j in range(self.rows.c):
            for i in range(self.rows.length(b)):
                total += counts[i] * fabs(self.values[0, b, j, i] - self.values[1, b, j, i])
        return total

    cdef void _turn(self) noexcept nogil:
        self.now = 1 - self.now
        self.fit_is_old = True

    cdef int _take_step(self) noexcept nogil:
        cdef bint project = self.n_steps >= self.trusting
        cdef bint curved = self.unbounded or (self.n_steps < self.bounded_at.shape[0] and self.bounded_at[self.n_steps])
        cdef Py_ssize_t c = self.rows.c, i, j
        self._scan(project, curved)
        if curved:
            if self.bound.take(self.sums.curvature):
                return 1
            self.unbounded = False
        self.sums.read_gradient(self.gradient)
        self.bound.penalise(self.b, self.D, self.gradient)
        self.bound.divide(self.gradient, self.step)
        for j in range(c):
            self.b[j] += self.step[j, 0]
            for i in range(c):
                self.D[i, j] += self.step[j, 1 + i]
        if project:
            self._update_transition()
            self._turn()
        self.n_steps += 1
        return 0

    cdef void _update_transition(self) noexcept nogil:
        """T from expected counts (empirical Bayes).

        A class's rate is shrunk towards that of all as far as these agree, and the split of its wrong labels towards an
        even one as far as it is even: noise may confuse two classes, and be even elsewhere. How far is a mean over
        concentrations, weighted by their likelihood.
        """
        cdef Py_ssize_t c = self.rows.c, m = self.concentrations.shape[0], i, j, d
        cdef double mass = 0.0, count = 0.0, rate, e, a, s, value, scaled, added
        cdef const double[:, ::1] N = self.sums.counted
        for j in range(c):
            self.wrong[j] = self.total[j] = 0.0
            for d in range(c):
                self.total[j] += N[d, j]
                if d != j:
                    self.wrong[j] += N[d, j]
            mass += self.wrong[j]
            count += self.total[j]
        self.rate = mass / count
        e = min(max(self.rate, SMALL), 1.0 - SMALL)
        # how alike the classes' rates are: beta-binomial likelihood
        for i in range(m):
            s = self.concentrations[i, 0]
            value = c * (self.concentrations[i, 1] - gammaln(s * e) - gammaln(s * (1.0 - e)))
            for j in range(c):
                value += gammaln(self.wrong[j] + s * e) + gammaln(self.total[j] - self.wrong[j] + s * (1.0 - e))
                value -= gammaln(self.total[j] + s)
            self.chances[c, i] = value
        _weigh(&self.chances[c, 0], m)
        # and how evenly a class's wrong labels fall on the others: Dirichlet-multinomial likelihood
        for j in range(c):
            for i in range(m):
                s, a = self.concentrations[i, 0], self.concentrations[i, 2]
                value = self.concentrations[i, 1] - gammaln(s + self.wrong[j])
                for d in range(c if c > 2 else 0):
                    if d != j:
                        value += gammaln(N[d, j] + a) - self.concentrations[i, 3]
                self.chances[j, i] = value
            _weigh(&self.chances[j, 0], m)
        self.freedom = 0.0
        for j in range(c):
            rate = scaled = added = 0.0
            for i in range(m):
                s, a = self.concentrations[i, 0], self.concentrations[i, 2]
                rate += self.chances[c, i] * (self.wrong[j] + s * e) / (self.total[j] + s)
                self.freedom += self.chances[c, i] * self.total[j] / (self.total[j] + s)
                scaled += self.chances[j, i] / (self.wrong[j] + s)
                added += self.chances[j, i] * a / (self.wrong[j] + s)
                if c > 2:
                    self.freedom += (c - 2) * self.chances[j, i] * self.wrong[j] / (self.wrong[j] + s)
            for d in range(c):
                self.T[j, d] = rate * (scaled * N[d, j] + added if c > 2 else 1.0)
            self.T[j, j] = 1.0 - rate
            own_largest(self.T[j], j)


cpdef void own_largest(double[::1] chances, Py_ssize_t own) noexcept nogil:
    """Pool chances until none is above a class's own: else classes may change places, each under the other's name.

    The likeliest under p_d <= p_own, for counts in proportion to the chances given.
    """
    cdef Py_ssize_t c = chances.shape[0], d, pooled = 0, before = -1
    cdef double level = chances[own], together
    while pooled != before:
        before, pooled, together = pooled, 0, chances[own]
        for d in range(c):
            if d != own and chances[d] > level:
                together += chances[d]
                pooled += 1
        if pooled > 0:
            level = max(level, together / (pooled + 1))
    if pooled > 0:
        for d in range(c):
            if d == own or chances[d] > level:
                chances[d] = level


cdef void _weigh(double *values, Py_ssize_t n) noexcept nogil:
    """Shares of likelihoods, from their logarithms."""
    cdef double largest = values[0], total = 0.0
    cdef Py_ssize_t i
    for i in range(1, n):
        largest = max(largest, values[i])
    for i in range(n):
        values[i] = exp(values[i] - largest)
        total += values[i]
    for i in range(n):
        values[i] /= total


cdef class KnownNoise:
    """The likeliest b and D for fits F that stay as they are, the noise being known: L-BFGS from the bound's inverse.

    What it learns of the curvature serves other noise, too.

    Parameters
    ----------
    F : ndarray of shape (n, c)
    labels, counts : ndarray of shape (n,)
    bound : CurvatureBound
        Of these maximisations alone. What it holds is replaced.
    """

    cdef PackedRows rows
    cdef CurvatureBound bound
    cdef _Pass sums
    cdef Py_ssize_t n_pairs, newest
    cdef bint unbounded
    cdef double scale
    cdef double[::1] b, rho, first
    cdef double[:, ::1] D, T, post, point, gradient, old_point, old_gradient, direction, part
    cdef double[:, :, ::1] moves, changes

    def __init__(self, F, labels, counts, CurvatureBound bound):
        cdef Py_ssize_t c = F.shape[1]
        self.rows = PackedRows(F, labels, c, counts, counts)
        self.bound, self.sums = bound, _Pass(c, np.empty((bound.blocks, c + 1, c + 1)))
        self.n_pairs = self.newest = 0
        self.unbounded, self.scale = True, 1.0
        self.b, self.rho, self.first, self.D = np.empty(c), np.empty(MEMORY), np.empty(MEMORY), np.empty((c, c))
        self.post = np.empty((c, BLOCK))
        self.point, self.gradient, self.old_point, self.old_gradient, self.direction, self.part = (
            np.empty((c, c + 1)) for _ in range(6)
        )
        self.moves, self.changes = np.empty((MEMORY, c, c + 1)), np.empty((MEMORY, c, c + 1))

    def maximise(self, offset, tilt, transition, double tol, Py_ssize_t max_iter, double wanted=-INFINITY):
        """Climb until the gradient, in units of the bound, is at most tol long, or hope to reach ``wanted`` is lost.

        Returns the penalised log likelihood, the offset, the tilt, and how many rows of each class are expected to have
        each label.
        """
        cdef double value
        self.point = np.ascontiguousarray(np.column_stack([offset, np.transpose(tilt)]))
        self.T = np.ascontiguousarray(transition)
        with nogil:
            value = self._climb(tol * tol, max_iter, wanted)
        point = np.array(self.point)
        return value, point[:, 0].copy(), point[:, 1:].T.copy(), np.array(self.sums.counted.T)

    cdef double _value(self, bint curved) noexcept nogil:
        cdef Py_ssize_t c = self.rows.c, block, i, j
        for j in range(c):
            self.b[j] = self.point[j, 0]
            for i in range(c):
                self.D[i, j] = self.point[j, 1 + i]
        self.sums.start(self.T, curved, True)
        for block in range(self.rows.n_blocks):
            self.sums.add(
                &self.rows.Q[block, 0, 0], self.rows.length(block), self.D, self.b, &self.rows.labels[block * BLOCK],
                &self.rows.counts[block * BLOCK], &self.post[0, 0], NULL, curved,
            )
        if curved:
            self.sums.finish()
        self.sums.read_gradient(self.gradient)
        return self.sums.loglik - self.bound.penalise(self.b, self.D, self.gradient)

    cdef double _climb(self, double tol, Py_ssize_t max_iter, double wanted) noexcept nogil:
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], _iteration, _halving, i
        cdef double value = self._value(self.unbounded), before, along, length, step
        cdef double *point = &self.point[0, 0]
        cdef double *old = &self.old_point[0, 0]
        cdef double *direction = &self.direction[0, 0]
        if self.unbounded:
            # what is not finite shows in the value
            self.bound.take(self.sums.curvature)
            self.unbounded = False
        for _iteration in range(max_iter):
            self.bound.divide(self.gradient, self.part)
            length = _dot(self.gradient, self.part)
            if not length > tol or value + HOPE * length < wanted:
                break
            self._direct()
            along = _dot(self.gradient, self.direction)
            if not along > 0.0:
                self.n_pairs = 0
                self.scale = 1.0
                memcpy(direction, &self.part[0, 0], size * sizeof(double))
                along = length
            before, step = value, 1.0
            memcpy(old, point, size * sizeof(double))
            memcpy(&self.old_gradient[0, 0], &self.gradient[0, 0], size * sizeof(double))
            for _halving in range(30):
                for i in range(size):
                    point[i] = old[i] + step * direction[i]
                value = self._value(False)
                if value >= before + 1e-4 * step * along:
                    break
                step *= 0.5
            else:
                # what is left to gain is lost in rounding
                break
            self._learn()
        return value

    cdef void _direct(self) noexcept nogil:
        """The gradient, divided by what is known of the curvature (Nocedal 1980)."""
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], k, i, at
        cdef double factor
        cdef double *direction = &self.direction[0, 0]
        memcpy(&self.part[0, 0], &self.gradient[0, 0], size * sizeof(double))
        for k in range(self.n_pairs):
            at = (self.newest - k + MEMORY) % MEMORY
            self.first[at] = self.rho[at] * _dot(self.moves[at], self.part)
            for i in range(size):
                (&self.part[0, 0])[i] -= self.first[at] * (&self.changes[at, 0, 0])[i]
        self.bound.divide(self.part, self.direction)
        for i in range(size):
            direction[i] *= self.scale
        for k in range(self.n_pairs - 1, -1, -1):
            at = (self.newest - k + MEMORY) % MEMORY
            factor = self.first[at] - self.rho[at] * _dot(self.changes[at], self.direction)
            for i in range(size):
                direction[i] += factor * (&self.moves[at, 0, 0])[i]

    cdef void _learn(self) noexcept nogil:
        """Remember the latest move and how it changed the gradient."""
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], i, at = (self.newest + 1) % MEMORY
        cdef double curved
        for i in range(size):
            (&self.moves[at, 0, 0])[i] = (&self.point[0, 0])[i] - (&self.old_point[0, 0])[i]
            (&self.changes[at, 0, 0])[i] = (&self.old_gradient[0, 0])[i] - (&self.gradient[0, 0])[i]
        curved = _dot(self.moves[at], self.changes[at])
        self.bound.divide(self.changes[at], self.part)
        if curved > 1e-10 * _dot(self.changes[at], self.part):
            self.scale = curved / _dot(self.changes[at], self.part)
            self.rho[at] = 1.0 / curved
            self.newest = at
            self.n_pairs = min(self.n_pairs + 1, MEMORY)


cdef double _dot(const double[:, ::1] a, const double[:, ::1] b) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i, j
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
    return total

# cython: freethreading_compatible = True
"""The steps by which class probabilities and label noise are found, which `noise_transition` describes."""
import numpy as np
from scipy import special

from libc.math cimport INFINITY, exp, fabs
from libc.string cimport memset
from scipy.special.cython_special cimport gammaln

from ._label_likelihood cimport BLOCK, CurvatureBound, LabelPass, PackedRows

# Least rate, and least share of right labels, of which the likelihood of counts is taken.
cdef double SMALL = 1e-6


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
    cdef LabelPass sums
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
        self.sums = LabelPass(c, np.empty((bound.blocks, c + 1, c + 1)))
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

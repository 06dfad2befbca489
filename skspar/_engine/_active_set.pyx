# cython: freethreading_compatible = True
"""The Lasso on a Gram matrix, solved exactly by an active-set method with an updated Cholesky factor."""
import numpy as np

from libc.math cimport fabs, hypot, sqrt
from scipy.linalg.cython_blas cimport dcopy, ddot, dsyrk, dtrsm, dtrsv

cdef int ONE = 1
cdef double UNIT = 1.0, MINUS = -1.0
# Features that join the factor together.
cdef int BLOCK = 48

cdef enum:
    # columns of the factor that are rotated at once
    SIDE_BY_SIDE = 8
    # how often in a solution several features may be dropped at once, and which part of the support they are at most
    LEAPS = 4
    TURNING = 10

cdef class LassoActiveSet:
    """Minimise ``b'Gb / 2 - q'b + sum_j penalty_j |b_j|`` over a growing set of features.

    On a fixed support S with signs s the optimum solves ``G_SS b_S = q_S - penalty_S s``. A step towards that
    solution stops where a first coefficient changes sign; that coefficient leaves, and so on until a full step is
    possible; then the features that violate optimality enter. The objective decreases at every step (feature-sign
    search, Lee, Battle, Raina & Ng 2007), and the Cholesky factor of G_SS is updated, never computed again: columns
    are appended when features enter, and rotated away when they leave.

    Coefficients, support and factor survive between calls, so consecutive penalties of a path cost a few updates.
    """

    cdef double[::1, :] G
    cdef double[::1, :] factor
    cdef double[::1, :] entering, corner
    cdef double[::1] q, b, gradient, step, rhs, candidate
    cdef Py_ssize_t[::1] support, position
    cdef signed char[::1] sign
    cdef Py_ssize_t size, active
    cdef bint positive

    def __init__(self, bint positive=False):
        self.positive = positive
        self.size = 0
        self.active = 0
        self.factor = np.zeros((0, 0), order="F")
        self.entering = np.zeros((0, 0), order="F")
        self.corner = np.zeros((BLOCK, BLOCK), order="F")
        self.b = np.zeros(0)

    def attach(self, double[::1, :] G, double[::1] q):
        """Point at a Gram matrix and linear term that contain the earlier ones as leading part."""
        cdef Py_ssize_t size = q.shape[0], old = self.size
        self.G = G
        self.q = q
        if size == old:
            return
        b = np.zeros(size)
        position = np.full(size, -1, dtype=np.intp)
        support = np.empty(size, dtype=np.intp)
        sign = np.zeros(size, dtype=np.int8)
        if old:
            b[:old] = self.b
            position[:old] = self.position
            support[:self.active] = self.support[:self.active]
            sign[:old] = self.sign
        self.b, self.position, self.support, self.sign = b, position, support, sign
        self.gradient = np.zeros(size)
        self.step = np.empty(size)
        self.rhs = np.empty(size)
        self.candidate = np.empty(size)
        self.size = size

    @property
    def coefficients(self):
        return np.asarray(self.b).copy()

    @property
    def residual_gradient(self):
        """``q - G b`` at the current coefficients."""
        return np.asarray(self.gradient).copy()

    def start_from(self, const double[::1] b):
        """Take b as the current point; features that depend linearly on earlier ones start at zero."""
        cdef Py_ssize_t j
        self.active = 0
        for j in range(self.size):
            self.b[j] = 0.0
            self.position[j] = -1
            self.sign[j] = 0
        for j in range(self.size):
            if b[j] != 0.0 and not (self.positive and b[j] < 0.0):
                self._reserve()
                if self._append(j):
                    self.b[j] = b[j]
                    self.sign[j] = 1 if b[j] > 0.0 else -1

    cdef int _reserve(self) except -1:
        """Room for one more column of the factor."""
        cdef Py_ssize_t capacity = self.factor.shape[0]
        if self.active < capacity:
            return 0
        bigger = np.zeros((max(32, 2 * capacity),) * 2, order="F")
        bigger[:capacity, :capacity] = self.factor
        self.factor = bigger
        return 0

    cdef bint _append(self, Py_ssize_t j) noexcept nogil:
        """Extend the factor by feature j; False where j depends linearly on the support.

        Leaves ``R'^-1 G_Sj`` in ``rhs``.
        """
        cdef int k = <int> self.active, lead = <int> self.factor.shape[0]
        cdef Py_ssize_t i
        cdef double pivot, diagonal = self.G[j, j]
        for i in range(k):
            self.rhs[i] = self.G[self.support[i], j]
        if k:
            dtrsv("U", "T", "N", &k, &self.factor[0, 0], &lead, &self.rhs[0], &ONE)
            pivot = diagonal - ddot(&k, &self.rhs[0], &ONE, &self.rhs[0], &ONE)
        else:
            pivot = diagonal
        # the Gram matrix carries rounding errors of a few hundred units in the last place
        if not pivot > 1e-13 * diagonal:
            return False
        if k:
            dcopy(&k, &self.rhs[0], &ONE, &self.factor[0, k], &ONE)
        self.factor[k, k] = sqrt(pivot)
        self.support[k] = j
        self.position[j] = k
        self.active += 1
        return True

    cdef Py_ssize_t _append_block(self, const Py_ssize_t[::1] features) except -1:
        """Extend the factor by several features at once, passing over those that depend on earlier ones.

        Returns how many joined. Their signs are those of the gradient.
        """
        cdef int k = <int> self.active, count = <int> features.shape[0], lead, room, block = BLOCK
        cdef Py_ssize_t a, c, i, j, place, joined = 0
        cdef double pivot, value
        while self.factor.shape[0] < k + count:
            self.active = self.factor.shape[0]
            self._reserve()
        self.active = k
        if self.entering.shape[0] < self.factor.shape[0]:
            self.entering = np.empty((self.factor.shape[0], BLOCK), order="F")
        lead, room = <int> self.factor.shape[0], <int> self.entering.shape[0]
        with nogil:
            for a in range(count):
                for i in range(k):
                    self.entering[i, a] = self.G[self.support[i], features[a]]
                for c in range(a, count):
                    self.corner[c, a] = self.G[features[c], features[a]]
            if k:
                dtrsm(
                    "L", "U", "T", "N", &k, &count, &UNIT, &self.factor[0, 0], &lead, &self.entering[0, 0], &room
                )
                dsyrk(
                    "L", "T", &count, &k, &MINUS, &self.entering[0, 0], &room, &UNIT, &self.corner[0, 0], &block
                )
            # Cholesky of what is left, column after column; corner[a, :joined] are the entries among the new ones
            for a in range(count):
                j = features[a]
                # columns of corner hold G below the diagonal until they are reached; step collects the new row
                for c in range(joined):
                    self.step[c] = self.corner[a, c]
                pivot = self.corner[a, a]
                for c in range(joined):
                    value = self.step[c]
                    for i in range(c):
                        value -= self.step[i] * self.factor[k + i, k + c]
                    value /= self.factor[k + c, k + c]
                    self.step[c] = value
                    pivot -= value * value
                if not pivot > 1e-13 * self.G[j, j]:
                    continue
                place = k + joined
                for i in range(k):
                    self.factor[i, place] = self.entering[i, a]
                for c in range(joined):
                    self.factor[k + c, place] = self.step[c]
                self.factor[place, place] = sqrt(pivot)
                # from here on column ``joined`` of the corner is that of this feature
                for c in range(a + 1, count):
                    self.corner[c, joined] = self.corner[c, a]
                self.support[place] = j
                self.position[j] = place
                self.sign[j] = 1 if self.gradient[j] > 0.0 else -1
                joined += 1
            self.active = k + joined
        return joined

    cdef void _delete(self, Py_ssize_t place) noexcept nogil:
        """Remove the feature at ``place`` of the support: shift the factor's columns, rotate the rows back."""
        cdef Py_ssize_t last = self.active - 1, lead = self.factor.shape[0], first, count, c, r, t
        cdef Py_ssize_t j = self.support[place]
        cdef double cosine, sine, x, y, length
        # rotation r mixes rows r and r + 1; step and candidate hold the cosines and sines, each found at its column.
        # A column waits for itself in every rotation, so several take the earlier ones side by side; of each ``rest``
        # is the row that the next rotation takes
        cdef double rest[SIDE_BY_SIDE]
        cdef double *old
        cdef double *new
        first = place
        while first < last:
            count = min(<Py_ssize_t> SIDE_BY_SIDE, last - first)
            new = &self.factor[0, first]
            old = new + lead
            for t in range(count):
                self.support[first + t] = self.support[first + t + 1]
                self.position[self.support[first + t]] = first + t
                for r in range(place):
                    new[t * lead + r] = old[t * lead + r]
                rest[t] = old[t * lead + place]
            if count == SIDE_BY_SIDE:
                for r in range(place, first):
                    cosine, sine = self.step[r], self.candidate[r]
                    for t in range(SIDE_BY_SIDE):
                        y = old[t * lead + r + 1]
                        new[t * lead + r] = cosine * rest[t] + sine * y
                        rest[t] = cosine * y - sine * rest[t]
            else:
                for t in range(count):
                    for r in range(place, first):
                        y = old[t * lead + r + 1]
                        new[t * lead + r] = self.step[r] * rest[t] + self.candidate[r] * y
                        rest[t] = self.step[r] * y - self.candidate[r] * rest[t]
            for t in range(count):
                c = first + t
                x = rest[t]
                for r in range(first, c):
                    y = old[t * lead + r + 1]
                    new[t * lead + r] = self.step[r] * x + self.candidate[r] * y
                    x = self.step[r] * y - self.candidate[r] * x
                y = old[t * lead + c + 1]
                length = hypot(x, y)
                self.step[c] = x / length
                self.candidate[c] = y / length
                new[t * lead + c] = length
                new[t * lead + c + 1] = 0.0
            first += count
        self.position[j] = -1
        self.b[j] = 0.0
        self.sign[j] = 0
        self.active -= 1

    cdef void _solve(self, double *x) noexcept nogil:
        """x <- G_SS^-1 x."""
        cdef int k = <int> self.active, lead = <int> self.factor.shape[0]
        dtrsv("U", "T", "N", &k, &self.factor[0, 0], &lead, x, &ONE)
        dtrsv("U", "N", "N", &k, &self.factor[0, 0], &lead, x, &ONE)

    cdef void _update_gradient(self) noexcept nogil:
        """gradient = q - G b, from the columns of the support; always afresh, so errors do not add up."""
        cdef Py_ssize_t i = 0, r, m = self.size, k = self.active
        cdef double b0, b1, b2, b3
        cdef const double *g0
        cdef const double *g1
        cdef const double *g2
        cdef const double *g3
        cdef double *gradient
        if m == 0:
            return
        gradient = &self.gradient[0]
        for r in range(m):
            gradient[r] = self.q[r]
        # four columns at a time: the gradient is loaded and stored less often
        while i + 4 <= k:
            g0, b0 = &self.G[0, self.support[i]], self.b[self.support[i]]
            g1, b1 = &self.G[0, self.support[i + 1]], self.b[self.support[i + 1]]
            g2, b2 = &self.G[0, self.support[i + 2]], self.b[self.support[i + 2]]
            g3, b3 = &self.G[0, self.support[i + 3]], self.b[self.support[i + 3]]
            for r in range(m):
                gradient[r] -= b0 * g0[r] + b1 * g1[r] + b2 * g2[r] + b3 * g3[r]
            i += 4
        while i < k:
            g0, b0 = &self.G[0, self.support[i]], self.b[self.support[i]]
            for r in range(m):
                gradient[r] -= b0 * g0[r]
            i += 1

    cdef bint _move(self, int *leaps) noexcept nogil:
        """Go from b_S towards ``candidate``; at the first change of sign stop, drop that feature, return True.

        As long as ``leaps`` lasts, all features that would change sign, if not too many, are dropped together and the
        others wait: the objective need not fall, but nearly always these are the ones, and each would take a system of
        its own. Features at zero that would leave it the wrong way are dropped together, all but the first where there
        is no other at zero: alone, that one would have gone the right way.
        """
        cdef Py_ssize_t i, j, blocking = -1, wrong = 0, at_zero = 0, first = -1, turning = 0
        cdef double fraction = 1.0, t, target
        for i in range(self.active):
            j = self.support[i]
            if self.b[j] == 0.0:
                at_zero += 1
                if self.candidate[i] * self.sign[j] <= 0.0:
                    wrong += 1
                    if first < 0:
                        first = i
        if wrong > 1:
            for i in range(self.active - 1, -1, -1):
                j = self.support[i]
                if self.b[j] == 0.0 and self.candidate[i] * self.sign[j] <= 0.0 and (i != first or wrong < at_zero):
                    self.rhs[i] = 1.0
                else:
                    self.rhs[i] = 0.0
            self._delete_marked()
            return True
        for i in range(self.active):
            j = self.support[i]
            target = self.candidate[i]
            self.rhs[i] = 0.0
            if target * self.sign[j] <= 0.0:
                turning += 1
                self.rhs[i] = 1.0
                t = self.b[j] / (self.b[j] - target) if self.b[j] != 0.0 else 0.0
                if blocking < 0 or t < fraction:
                    fraction = t
                    blocking = i
        if blocking < 0:
            for i in range(self.active):
                self.b[self.support[i]] = self.candidate[i]
            return False
        if turning > 1 and leaps[0] > 0 and TURNING * turning < self.active:
            leaps[0] -= 1
            self._delete_marked()
            return True
        for i in range(self.active):
            j = self.support[i]
            self.b[j] += fraction * (self.candidate[i] - self.b[j])
        self._delete(blocking)
        return True

    cdef void _delete_marked(self) noexcept nogil:
        """Remove the features marked in ``rhs``; from the end, as deletion moves what stands behind."""
        cdef Py_ssize_t i
        for i in range(self.active - 1, -1, -1):
            if self.rhs[i] == 1.0:
                self._delete(i)

    cdef bint _exchange(self, Py_ssize_t j, signed char sign) noexcept nogil:
        """Let the dependent feature j in at the price of one that it replaces.

        Along ``b_j += t sign, b_S -= t sign G_SS^-1 G_Sj`` the fit does not change and the penalty falls, until a
        coefficient of the support reaches zero.
        """
        cdef Py_ssize_t i, other, blocking = -1
        cdef int k = <int> self.active, lead = <int> self.factor.shape[0]
        cdef double reach = 0.0, t
        if k == 0:
            return False
        for i in range(k):
            self.step[i] = self.rhs[i]
        dtrsv("U", "N", "N", &k, &self.factor[0, 0], &lead, &self.step[0], &ONE)
        for i in range(k):
            other = self.support[i]
            if self.step[i] * sign * self.sign[other] > 1e-12:
                t = self.b[other] / (self.step[i] * sign)
                if blocking < 0 or t < reach:
                    reach = t
                    blocking = i
        if blocking < 0:
            return False
        for i in range(k):
            self.b[self.support[i]] -= reach * sign * self.step[i]
        self._delete(blocking)
        if not self._append(j):
            return False
        self.sign[j] = sign
        self.b[j] = sign * reach
        return True

    def solve(self, const double[::1] penalty, double tol, int max_iter):
        """Solve for the given penalties (one a feature, positive).

        Optimal means ``|gradient_j| <= penalty_j (1 + tol)`` off the support and equality to the same relative
        accuracy on it. Returns the number of linear systems solved, and whether this was reached.
        """
        cdef Py_ssize_t i, j, entered
        cdef int iteration = 0, refinements = 0, rounds = 0, leaps = LEAPS
        cdef double error, floor, slope
        cdef bint settled
        scale = np.abs(self.q).max(initial=0.0)
        floor = 1e-15 * scale
        for i in range(self.active):
            self.candidate[i] = self.b[self.support[i]]
        while iteration < max_iter:
            iteration += 1
            with nogil:
                if self.active:
                    if refinements == 0:
                        for i in range(self.active):
                            j = self.support[i]
                            self.candidate[i] = self.q[j] - penalty[j] * self.sign[j]
                        self._solve(&self.candidate[0])
                    else:
                        for i in range(self.active):
                            j = self.support[i]
                            self.candidate[i] = self.gradient[j] - penalty[j] * self.sign[j]
                        self._solve(&self.candidate[0])
                        for i in range(self.active):
                            self.candidate[i] += self.b[self.support[i]]
                    if self._move(&leaps):
                        refinements = 0
                        settled = False
                    else:
                        settled = True
                else:
                    settled = True
                error = 0.0
                if settled:
                    self._update_gradient()
                    for i in range(self.active):
                        j = self.support[i]
                        error = max(error, fabs(self.gradient[j] - penalty[j] * self.sign[j]) / penalty[j])
            if not settled:
                continue
            if error > tol and refinements < 3:
                refinements += 1
                continue
            refinements = 0
            violating = self._violating(penalty, tol, floor)
            if len(violating) == 0:
                return iteration, error <= max(tol, 1e-9)
            # entering one at a time cannot cycle; many at once is faster while it works
            rounds += 1
            if rounds > 30:
                violating = violating[:1]
            entered = 0
            if len(violating) > 1:
                for j in range(0, len(violating), BLOCK):
                    entered += self._append_block(violating[j:j + BLOCK])
            if entered == 0:
                for j in violating:
                    self._reserve()
                    slope = self.gradient[j]
                    if self._append(j):
                        self.sign[j] = 1 if slope > 0.0 else -1
                        entered += 1
                    elif entered == 0 and self._exchange(j, 1 if slope > 0.0 else -1):
                        entered += 1
                        break
            if entered == 0:
                return iteration, False
        self._update_gradient()
        return iteration, False

    cdef object _violating(self, const double[::1] penalty, double tol, double floor):
        """Features off the support whose gradient exceeds the penalty, worst first."""
        cdef Py_ssize_t j, count = 0
        cdef double slope
        found = np.empty(self.size, dtype=np.intp)
        excess = np.empty(self.size)
        cdef Py_ssize_t[::1] found_ = found
        cdef double[::1] excess_ = excess
        with nogil:
            for j in range(self.size):
                if self.position[j] >= 0:
                    continue
                slope = self.gradient[j] if self.positive else fabs(self.gradient[j])
                if slope > penalty[j] * (1.0 + tol) + floor:
                    found_[count] = j
                    excess_[count] = slope / penalty[j]
                    count += 1
        order = np.argsort(-excess[:count], kind="stable")
        return found[:count][order]

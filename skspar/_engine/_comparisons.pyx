# cython: freethreading_compatible = True
"""Passes over paired comparisons: row k of pair p is ``y_k = s_first(p) - s_second(p) + bias + gamma_k + noise``.

Rows are sorted by pair, those of pair p are ``start[p]`` to ``start[p + 1]``, so that scores are looked up once a pair
and everything that the normal equations need is summed a pair at a time.
"""
from libc.math cimport fabs


def huber_pass(
    const Py_ssize_t[::1] start, const int[::1] first, const int[::1] second, const double[::1] y,
    const double[::1] w, const double[::1] s, double bias, double threshold, double[::1] weight, double[::1] pull,
    double[::1] clipped
):
    """Huber's loss at given scores, and sums over the rows within the threshold and those outside.

    ``weight`` (overwritten) sums w over the rows within, for each pair. ``pull`` and ``clipped`` (added to) sum
    ``w r z`` over the rows within and ``w sign(r) z`` over the others, z being 1 for the first item, -1 for the second,
    and 1 for the bias, which comes last.
    """
    cdef Py_ssize_t p, k, n_pairs = first.shape[0], n = s.shape[0]
    cdef double d, r, inside, total, signs, loss = 0.0
    with nogil:
        for p in range(n_pairs):
            d = s[first[p]] - s[second[p]] + bias
            inside = total = signs = 0.0
            for k in range(start[p], start[p + 1]):
                r = y[k] - d
                if fabs(r) <= threshold:
                    inside += w[k]
                    total += w[k] * r
                    loss += 0.5 * w[k] * r * r
                else:
                    signs += w[k] if r > 0.0 else -w[k]
                    loss += w[k] * threshold * (fabs(r) - 0.5 * threshold)
            weight[p] = inside
            pull[first[p]] += total
            pull[second[p]] -= total
            pull[n] += total
            clipped[first[p]] += signs
            clipped[second[p]] -= signs
            clipped[n] += signs
    return loss


def fill_laplacian(const int[::1] first, const int[::1] second, const double[::1] weight, double[::1, :] H):
    """Add the Laplacian of weighted pairs to the lower triangle of H."""
    cdef Py_ssize_t p
    cdef int i, j
    with nogil:
        for p in range(first.shape[0]):
            i, j = first[p], second[p]
            H[i, i] += weight[p]
            H[j, j] += weight[p]
            if i > j:
                H[i, j] -= weight[p]
            else:
                H[j, i] -= weight[p]


def laplacian_multiply(
    const int[::1] first, const int[::1] second, const double[::1] weight, const double[::1] x, double bias,
    double[::1] out
):
    """Add ``Z'WZ (x, bias)`` to ``out``, whose last entry is the bias's."""
    cdef Py_ssize_t p, n = x.shape[0]
    cdef double d
    with nogil:
        for p in range(first.shape[0]):
            d = weight[p] * (x[first[p]] - x[second[p]] + bias)
            out[first[p]] += d
            out[second[p]] -= d
            out[n] += d


def dual_pass(
    const Py_ssize_t[::1] start, const int[::1] first, const int[::1] second, const double[::1] y,
    const double[::1] w, const double[::1] s, double bias, const double[::1] t, double t_bias, double threshold
):
    """What the dual needs of ``u = psi(r) - z't``: ``sum w u r``, ``sum w u^2`` and ``max |u|`` over weighted rows."""
    cdef Py_ssize_t p, k, n_pairs = first.shape[0]
    cdef double d, e, r, u, linear = 0.0, square = 0.0, largest = 0.0
    with nogil:
        for p in range(n_pairs):
            d = s[first[p]] - s[second[p]] + bias
            e = t[first[p]] - t[second[p]] + t_bias
            for k in range(start[p], start[p + 1]):
                if w[k] <= 0.0:
                    continue
                r = y[k] - d
                u = min(max(r, -threshold), threshold) - e
                linear += w[k] * u * r
                square += w[k] * u * u
                largest = max(largest, fabs(u))
    return linear, square, largest


cdef inline double _hermite(double t, double a, double da, double b, double db) noexcept nogil:
    """The cubic on [0, 1] with these values and slopes at the ends."""
    cdef double u = 1.0 - t
    return a * u * u * (1.0 + 2.0 * t) + da * t * u * u + b * t * t * (3.0 - 2.0 * t) - db * t * t * u


cdef inline double _crossing(
    double r1, double dr1, double r2, double dr2, double upper, double lower
) noexcept nogil:
    """Where ``|r| = threshold`` first, as the threshold falls from ``upper`` to ``lower`` and r follows a cubic.

    r2, at ``lower``, is outside. Slopes are those in t, the place in the interval. Illinois' false position.
    """
    cdef double sign = 1.0 if r2 > 0.0 else -1.0
    cdef double left = 0.0, right = 1.0, at_left = sign * r1 - upper, at_right = sign * r2 - lower, t, at, width
    cdef int _k, side = 0
    if at_left >= 0.0:
        return upper
    width = upper - lower
    for _k in range(60):
        if at_right <= 0.0:
            break
        t = (left * at_right - right * at_left) / (at_right - at_left)
        if not left < t < right:
            t = 0.5 * (left + right)
        at = sign * _hermite(t, r1, dr1, r2, dr2) - (upper - t * width)
        if fabs(at) <= 1e-15 * upper:
            return upper - t * width
        if at >= 0.0:
            right, at_right = t, at
            if side == 1:
                at_left *= 0.5
            side = 1
        else:
            left, at_left = t, at
            if side == -1:
                at_right *= 0.5
            side = -1
        if right - left <= 1e-12:
            break
    return upper - right * width


def comparisons_enter(
    const Py_ssize_t[::1] start, const int[::1] first, const int[::1] second, const double[::1] y,
    const double[::1] w, const double[::1] s1, const double[::1] ds1, double bias1, double dbias1, double upper,
    const double[::1] s2, const double[::1] ds2, double bias2, double dbias2, double lower, double[::1] entry
):
    """Note where rows enter, as the threshold falls from ``upper`` to ``lower``; ``entry`` is negative until then.

    Scores and their derivatives in the threshold are given at both ends. Returns the number of rows still inside, and
    their weight.
    """
    cdef Py_ssize_t p, k, n_pairs = first.shape[0], left = 0
    cdef double weight = 0.0
    cdef int i, j
    cdef double d1, dd1, d2, dd2, h = lower - upper
    with nogil:
        for p in range(n_pairs):
            i, j = first[p], second[p]
            d1, dd1 = s1[i] - s1[j] + bias1, ds1[i] - ds1[j] + dbias1
            d2, dd2 = s2[i] - s2[j] + bias2, ds2[i] - ds2[j] + dbias2
            for k in range(start[p], start[p + 1]):
                if entry[k] >= 0.0:
                    continue
                if fabs(y[k] - d2) >= lower:
                    entry[k] = _crossing(y[k] - d1, -dd1 * h, y[k] - d2, -dd2 * h, upper, lower)
                else:
                    left += 1
                    weight += w[k]
    return left, weight


def values_enter(
    const double[::1] w, const double[::1] v1, const double[::1] dv1, double upper, const double[::1] v2,
    const double[::1] dv2, double lower, double[::1] entry
):
    """The same for units whose value and derivative are given at both ends."""
    cdef Py_ssize_t k, left = 0
    cdef double weight = 0.0
    cdef double h = lower - upper
    with nogil:
        for k in range(v1.shape[0]):
            if entry[k] >= 0.0:
                continue
            if v2[k] >= lower:
                entry[k] = _crossing(v1[k], dv1[k] * h, v2[k], dv2[k] * h, upper, lower)
            else:
                left += 1
                weight += w[k]
    return left, weight


def stays_to_zero(
    const Py_ssize_t[::1] start, const int[::1] first, const int[::1] second, const double[::1] y,
    const double[::1] w, const double[::1] s, const double[::1] ds, double bias, double dbias, double threshold,
    double tolerance
):
    """Whether going on in a straight line to threshold zero, no row that has weight changes sides."""
    cdef Py_ssize_t p, k, n_pairs = first.shape[0]
    cdef double d, e, r, r0
    cdef bint stays = True
    with nogil:
        for p in range(n_pairs):
            d = s[first[p]] - s[second[p]] + bias
            e = ds[first[p]] - ds[second[p]] + dbias
            for k in range(start[p], start[p + 1]):
                if w[k] <= 0.0:
                    continue
                r = y[k] - d
                r0 = r + threshold * e
                if fabs(r) <= threshold:
                    # within at both ends of a line, and the threshold is one too
                    if fabs(r0) > tolerance:
                        stays = False
                        break
                elif (r0 < -tolerance) if r > 0.0 else (r0 > tolerance):
                    stays = False
                    break
            if not stays:
                break
    return stays

# cython: freethreading_compatible = True
"""Kernels of the Lasso on some columns of a CSC matrix: coordinate descent and Newton's method without a Gram matrix.

The columns are seen scaled and projected: with Q orthonormal in the metric V = diag(v) (the intercept and the
unpenalised columns) and ``h_j = Q' V x_j``, column j is ``V^1/2 (x_j - Q h_j)``. The projected column is never formed:
kept are the entries of ``V^1/2 x_j``, and of the residual ``V^1/2 (R - Q w)`` its two parts, ``V^1/2 R`` and w.
"""
import numpy as np

from cython cimport floating
from libc.math cimport fabs
from libc.string cimport memcpy, memset

ctypedef fused index_t:
    int
    long long


def gather(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] root,
    const double[:, ::1] h,
    Py_ssize_t first,
    double[::1] out_data,
    int[::1] out_rows,
    Py_ssize_t[::1] out_ptr,
    double[::1] squares,
):
    """Write ``root x_j`` of some columns one after the other, from place ``first`` on, and their squared norms.

    Rows of weight zero are left out.
    """
    cdef Py_ssize_t a, i, end = out_ptr[first]
    cdef index_t k
    cdef double total, plain, x
    with nogil:
        for a in range(columns.shape[0]):
            plain = 0.0
            for k in range(indptr[columns[a]], indptr[columns[a] + 1]):
                x = data[k] * root[indices[k]]
                if root[indices[k]] == 0.0:
                    continue
                out_data[end] = x
                out_rows[end] = <int> indices[k]
                end += 1
                plain += x * x
            total = plain
            for i in range(h.shape[1]):
                total -= h[a, i] * h[a, i]
            # a column within the span of Q leaves rounding errors only
            squares[first + a] = total if total > 1e-14 * plain else 0.0
            out_ptr[first + a + 1] = end


cdef enum:
    # columns with at least as many entries count as equally long
    LENGTHS = 64


cdef struct Columns:
    Py_ssize_t count
    double *data
    int *rows
    Py_ssize_t *ptr
    # h_j, one after the other
    double *h
    Py_ssize_t width


cdef struct Residual:
    double *weighted
    double *w
    Py_ssize_t n


cdef inline double _product(const Columns *X, Py_ssize_t a, const Residual *r) noexcept nogil:
    """``x_a' r``."""
    cdef Py_ssize_t k = X.ptr[a], end = X.ptr[a + 1], i
    cdef const double *weighted = r.weighted
    cdef double even = 0.0, odd = 0.0
    while k + 1 < end:
        even += X.data[k] * weighted[X.rows[k]]
        odd += X.data[k + 1] * weighted[X.rows[k + 1]]
        k += 2
    if k < end:
        even += X.data[k] * weighted[X.rows[k]]
    for i in range(X.width):
        odd -= X.h[a * X.width + i] * r.w[i]
    return even + odd


cdef inline void _add(const Columns *X, Py_ssize_t a, double scale, Residual *r) noexcept nogil:
    """``r += scale x_a``."""
    cdef Py_ssize_t k, i
    cdef double *weighted = r.weighted
    for k in range(X.ptr[a], X.ptr[a + 1]):
        weighted[X.rows[k]] += scale * X.data[k]
    for i in range(X.width):
        r.w[i] += scale * X.h[a * X.width + i]


cdef void _image(const Columns *X, const double *b, double sign, Residual *r) noexcept nogil:
    """``r += sign X b``."""
    cdef Py_ssize_t a
    for a in range(X.count):
        if b[a] != 0.0:
            _add(X, a, sign * b[a], r)


cdef double _epoch(
    const Columns *X, const double *squares, const double *bounds, const double *offset, bint positive,
    double *b, Residual *r
) noexcept nogil:
    """An epoch of coordinate descent; returns the largest change of a gradient by a step, relative to its bound."""
    cdef Py_ssize_t a
    cdef double z, new, step, largest = 0.0
    for a in range(X.count):
        if squares[a] == 0.0:
            continue
        z = offset[a] + squares[a] * b[a] + _product(X, a, r)
        if z > bounds[a]:
            new = (z - bounds[a]) / squares[a]
        elif z < -bounds[a] and not positive:
            new = (z + bounds[a]) / squares[a]
        else:
            new = 0.0
        step = new - b[a]
        if step == 0.0:
            continue
        b[a] = new
        largest = max(largest, fabs(step) * squares[a] / bounds[a])
        _add(X, a, -step, r)
    return largest


cdef void _select(const Columns *X, const double *b, Columns *out, Py_ssize_t *on, Py_ssize_t *starts) noexcept nogil:
    """Copy the columns with a nonzero coefficient, and note which they are.

    Short ones come first: a loop over entries whose length has just been seen costs half of one that ends by surprise.
    """
    cdef Py_ssize_t a, o, size, count = 0, end = 0
    memset(starts, 0, (LENGTHS + 1) * sizeof(Py_ssize_t))
    for a in range(X.count):
        if b[a] != 0.0:
            starts[min(X.ptr[a + 1] - X.ptr[a], LENGTHS - 1) + 1] += 1
            count += 1
    for o in range(LENGTHS):
        starts[o + 1] += starts[o]
    for a in range(X.count):
        if b[a] != 0.0:
            size = min(X.ptr[a + 1] - X.ptr[a], LENGTHS - 1)
            on[starts[size]] = a
            starts[size] += 1
    out.count, out.width = count, X.width
    out.ptr[0] = 0
    for o in range(count):
        a = on[o]
        size = X.ptr[a + 1] - X.ptr[a]
        memcpy(&out.data[end], &X.data[X.ptr[a]], size * sizeof(double))
        memcpy(&out.rows[end], &X.rows[X.ptr[a]], size * sizeof(int))
        memcpy(&out.h[o * X.width], &X.h[a * X.width], X.width * sizeof(double))
        end += size
        out.ptr[o + 1] = end


cdef inline void _clear(Residual *r, Py_ssize_t width) noexcept nogil:
    memset(r.weighted, 0, r.n * sizeof(double))
    memset(r.w, 0, width * sizeof(double))


cdef inline double _inner(const Residual *r, const Residual *s, Py_ssize_t width) noexcept nogil:
    """Inner product of two residuals; that of the parts within Q is taken off."""
    cdef Py_ssize_t i
    cdef double even = 0.0, odd = 0.0
    for i in range(0, r.n - 1, 2):
        even += r.weighted[i] * s.weighted[i]
        odd += r.weighted[i + 1] * s.weighted[i + 1]
    if r.n % 2:
        even += r.weighted[r.n - 1] * s.weighted[r.n - 1]
    for i in range(width):
        odd -= r.w[i] * s.w[i]
    return even + odd


cdef inline void _add_multiple(Residual *r, double scale, const Residual *s, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(r.n):
        r.weighted[i] += scale * s.weighted[i]
    for i in range(width):
        r.w[i] += scale * s.w[i]


cdef struct Vectors:
    # one number for each column of the support
    double *slope
    double *left
    double *move
    double *direction
    double *along
    double *inverse
    double *bound
    double *kept


cdef double _cut(
    const Columns *S, const Py_ssize_t *on, const double *b, const Residual *moved, Vectors *v, Residual *image,
    double *reach
) noexcept nogil:
    """What the objective loses by the step ``move``, whose image is ``moved``, if coefficients that would change sign
    stop at zero; that step's image goes to ``image``. ``reach`` is the share of the step until the first does, two if
    none."""
    cdef Py_ssize_t a
    cdef double gain = 0.0, step, new
    memcpy(image.weighted, moved.weighted, moved.n * sizeof(double))
    memcpy(image.w, moved.w, S.width * sizeof(double))
    reach[0] = 2.0
    for a in range(S.count):
        step = v.move[a]
        new = b[on[a]] + step
        if new * b[on[a]] <= 0.0:
            reach[0] = min(reach[0], fabs(b[on[a]] / step))
            _add(S, a, -new, image)
            step -= new
        gain += v.slope[a] * step
    # signs do not change, so the penalty is linear
    return gain - 0.5 * _inner(image, image, S.width)


cdef int _newton(
    const Columns *S, const Py_ssize_t *on, const double *squares, const double *bounds, const double *offset,
    double tol, double share, int limit, double *b, Residual *r, Residual *image, Residual *moved, Residual *kept,
    Vectors *v
) noexcept nogil:
    """Newton's step on the support by conjugate gradients, ended where no gradient is off by more than ``tol``, or
    ``share`` of what was the most, of its bound; returns how many products with the Gram matrix it took.

    Coefficients that would change sign stop at zero while the others take the whole step. On the way to the solution
    of a badly conditioned system that soon raises the objective: then the step ends where it last did not.
    """
    cdef Py_ssize_t a, j, s = S.count
    cdef int count = 0, check = 4
    cdef double value = 0.0, previous, bend, length, size, worst = 0.0, reach = 2.0, gain, best = 0.0, new
    cdef bint ended = False
    for a in range(s):
        j = on[a]
        v.bound[a] = bounds[j]
        v.inverse[a] = 1.0 / squares[j]
        v.slope[a] = offset[j] + _product(S, a, r) - (bounds[j] if b[j] > 0.0 else -bounds[j])
        v.left[a] = v.slope[a]
        v.move[a] = 0.0
        v.direction[a] = v.inverse[a] * v.left[a]
        value += v.left[a] * v.direction[a]
        worst = max(worst, fabs(v.left[a]) / v.bound[a])
    tol = max(tol, share * worst)
    _clear(moved, S.width)
    if worst <= tol:
        return 0
    while not ended:
        _clear(image, S.width)
        _image(S, v.direction, 1.0, image)
        bend = 0.0
        for a in range(s):
            v.along[a] = _product(S, a, image)
            bend += v.direction[a] * v.along[a]
        count += 1
        if bend > 0.0:
            length = value / bend
            _add_multiple(moved, length, image, S.width)
            previous, value, worst = value, 0.0, 0.0
            for a in range(s):
                v.move[a] += length * v.direction[a]
                v.left[a] -= length * v.along[a]
                value += v.left[a] * v.inverse[a] * v.left[a]
                worst = max(worst, fabs(v.left[a]) / v.bound[a])
            size = value / previous
            for a in range(s):
                v.direction[a] = v.inverse[a] * v.left[a] + size * v.direction[a]
        ended = not bend > 0.0 or worst <= tol or count >= limit
        if not ended and count < check:
            continue
        check = count + (count + 1) / 2
        gain = _cut(S, on, b, moved, v, image, &reach)
        if gain <= best:
            break
        best = gain
        for a in range(s):
            new = b[on[a]] + v.move[a]
            v.kept[a] = new if new * b[on[a]] > 0.0 else 0.0
        memcpy(kept.weighted, image.weighted, r.n * sizeof(double))
        memcpy(kept.w, image.w, S.width * sizeof(double))
    if best > 0.0:
        for a in range(s):
            b[on[a]] = v.kept[a]
        _add_multiple(r, -1.0, kept, S.width)
    elif 0.0 < reach <= 1.0:
        # together until the first reaches zero
        _add_multiple(r, -reach, moved, S.width)
        for a in range(s):
            j = on[a]
            new = b[j] + reach * v.move[a]
            if (b[j] + v.move[a]) * b[j] <= 0.0 and fabs(b[j]) <= reach * fabs(v.move[a]) * (1.0 + 1e-12):
                _add(S, a, new, r)
                new = 0.0
            b[j] = new
    return count


cdef double _violation(
    const Columns *X, const double *squares, const double *bounds, const double *offset, bint positive,
    const double *b, const Residual *r, double *loss
) noexcept nogil:
    """Largest violation of optimality, relative to the bounds; ``loss`` is what the gradients on the support take
    from the penalty."""
    cdef Py_ssize_t a
    cdef double gradient, off, worst = 0.0
    loss[0] = 0.0
    for a in range(X.count):
        if squares[a] == 0.0:
            continue
        gradient = offset[a] + _product(X, a, r)
        if b[a] == 0.0:
            off = (gradient if positive else fabs(gradient)) - bounds[a]
        else:
            off = gradient - (bounds[a] if b[a] > 0.0 else -bounds[a])
            loss[0] -= b[a] * off
            off = fabs(off)
        worst = max(worst, off / bounds[a])
    return worst


def minimise(
    double[::1] data,
    int[::1] rows,
    Py_ssize_t[::1] ptr,
    double[:, ::1] h,
    double[::1] some_data,
    int[::1] some_rows,
    const double[::1] y,
    const double[::1] squares,
    const double[::1] bounds,
    const double[::1] offset,
    bint positive,
    int n_targets,
    double penalty,
    double gap,
    int max_iter,
    double[::1] b,
):
    """Minimise from b, in place; returns the number of epochs and products with the Gram matrix.

    ``gap`` is the duality gap allowed, ``penalty`` what the other targets add to the penalty, times alpha.
    ``some_data`` and ``some_rows`` are room for a copy of the columns.
    """
    cdef Py_ssize_t m = b.shape[0], n = y.shape[0], width = h.shape[1], a
    cdef Columns X, S
    cdef Residual r, image, moved, kept
    cdef Vectors v
    cdef double[:, ::1] per_row = np.zeros((4, n + width))
    cdef double[:, ::1] per_column = np.empty((8, m + 1))
    cdef double[:, ::1] some_h = np.empty((m + 1, width + 1))
    cdef Py_ssize_t[::1] some_ptr = np.empty(m + 1, dtype=np.intp)
    cdef Py_ssize_t[::1] on = np.empty(m + 1, dtype=np.intp)
    cdef Py_ssize_t[::1] starts = np.empty(LENGTHS + 1, dtype=np.intp)
    cdef int iteration = 0, stalled = 0
    cdef double total, tol, largest, violation, loss = 0.0, best = 1e300, strict = 1.0, square
    if m == 0:
        return 0
    X.count, X.width = m, width
    X.data, X.rows, X.ptr = &data[0], &rows[0], &ptr[0]
    X.h = &h[0, 0] if width else NULL
    S.data, S.rows, S.ptr = &some_data[0], &some_rows[0], &some_ptr[0]
    S.h = &some_h[0, 0]
    r.weighted, r.w, r.n = &per_row[0, 0], &per_row[0, n], n
    image.weighted, image.w, image.n = &per_row[1, 0], &per_row[1, n], n
    moved.weighted, moved.w, moved.n = &per_row[2, 0], &per_row[2, n], n
    kept.weighted, kept.w, kept.n = &per_row[3, 0], &per_row[3, n], n
    v.slope, v.left, v.move = &per_column[0, 0], &per_column[1, 0], &per_column[2, 0]
    v.direction, v.along = &per_column[3, 0], &per_column[4, 0]
    v.inverse, v.bound, v.kept = &per_column[5, 0], &per_column[6, 0], &per_column[7, 0]
    with nogil:
        memcpy(r.weighted, &y[0], n * sizeof(double))
        _image(&X, &b[0], -1.0, &r)
        while iteration < max_iter:
            largest = _epoch(&X, &squares[0], &bounds[0], &offset[0], positive, &b[0], &r)
            iteration += 1
            total = penalty
            for a in range(m):
                total += bounds[a] * fabs(b[a])
            tol = strict * min(1e-3, gap / (total + 1e-300))
            if largest <= tol:
                violation = _violation(&X, &squares[0], &bounds[0], &offset[0], positive, &b[0], &r, &loss)
                square = _inner(&r, &r, width)
                if violation * total + n_targets * (fabs(loss) + 0.5 * violation * violation * square) <= gap:
                    break
                strict *= 0.5
            # at rounding level nothing improves any more
            stalled = stalled + 1 if largest > 0.9 * best else 0
            best = min(best, largest)
            if stalled >= 20 and best <= 1e-6:
                break
            _select(&X, &b[0], &S, &on[0], &starts[0])
            iteration += _newton(
                &S, &on[0], &squares[0], &bounds[0], &offset[0], 0.3 * tol, 0.1, min(400, max_iter - iteration),
                &b[0], &r, &image, &moved, &kept, &v,
            )
    return iteration


def gradients(
    double[::1] data,
    int[::1] rows,
    Py_ssize_t[::1] ptr,
    double[:, ::1] h,
    const double[::1] y,
    const double[::1] b,
):
    """``X' (y - X b)``."""
    cdef Py_ssize_t n = y.shape[0], width = h.shape[1], a
    cdef Columns X
    cdef Residual r
    cdef double[::1] residual = np.zeros(n + width)
    out = np.empty(b.shape[0])
    cdef double[::1] out_ = out
    if b.shape[0] == 0:
        return out
    X.count, X.width = b.shape[0], width
    X.data, X.rows, X.ptr = &data[0], &rows[0], &ptr[0]
    X.h = &h[0, 0] if width else NULL
    r.weighted, r.w, r.n = &residual[0], &residual[n], n
    with nogil:
        memcpy(r.weighted, &y[0], n * sizeof(double))
        _image(&X, &b[0], -1.0, &r)
        for a in range(X.count):
            out_[a] = _product(&X, a, &r)
    return out

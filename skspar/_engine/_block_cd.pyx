# cython: freethreading_compatible = True
"""Block coordinate descent for group penalties, from a Gram matrix or from rows."""
import numpy as np

from cython cimport floating
from libc.math cimport fabs, sqrt
from libc.string cimport memcpy
from scipy.linalg.cython_blas cimport dgemm, dgemv, sgemv

cdef enum:
    # features whose steps change a gradient, or a residual, together: one pass over it in place of one for each
    STEPS_AT_ONCE = 16
    ROWS_AT_ONCE = 8

cdef double UNIT = 1.0, MINUS = -1.0, NONE = 0.0
cdef int ONE = 1


cdef double _secular_root(
    const double *z2, const double *eigenvalues, Py_ssize_t d, double bound, double guess
) noexcept nogil:
    """The norm x > 0 of the block: ``sum_i z2_i / (eigenvalue_i x + bound)^2 = 1``, given ``sum z2 > bound^2``.

    Newton's iteration on ``1 / sqrt(sum) - 1``, which is nearly linear in x and concave (More & Sorensen 1983), from
    a point left of the root after the first step at the latest.
    """
    cdef double x = guess, total, slope, t, value, change
    cdef Py_ssize_t i
    cdef int _sweep
    for _sweep in range(60):
        total = 0.0
        slope = 0.0
        for i in range(d):
            t = eigenvalues[i] * x + bound
            value = z2[i] / (t * t)
            total += value
            slope += value * eigenvalues[i] / t
        if slope <= 0.0:
            return x
        # f(x) = total^-1/2 - 1, f'(x) = total^-3/2 slope
        change = (sqrt(total) - 1.0) * total / slope
        if x + change <= 0.0:
            x *= 0.1
            continue
        x += change
        if fabs(change) <= 1e-15 * x:
            break
    return x


cdef void _exact_block(
    const double *z, const double *vectors, const double *eigenvalues, Py_ssize_t d, Py_ssize_t width,
    double bound, double guess, double *rotated, double *squares, double *out
) noexcept nogil:
    """Minimise ``tr(b'Hb)/2 - tr(z'b) + bound ||b||_F`` for ``H = vectors diag(eigenvalues) vectors'``."""
    cdef Py_ssize_t i, k, t
    cdef double value, norm
    for i in range(d):
        squares[i] = 0.0
        for t in range(width):
            value = 0.0
            for k in range(d):
                value += vectors[i * d + k] * z[k * width + t]
            rotated[i * width + t] = value
            squares[i] += value * value
    norm = _secular_root(squares, eigenvalues, d, bound, guess)
    for i in range(d):
        value = norm / (eigenvalues[i] * norm + bound)
        for t in range(width):
            rotated[i * width + t] *= value
    for k in range(d):
        for t in range(width):
            out[k * width + t] = 0.0
        for i in range(d):
            value = vectors[i * d + k]
            for t in range(width):
                out[k * width + t] += value * rotated[i * width + t]


cdef double _soft_norm(const double *z, Py_ssize_t size, double l1, bint positive, double *out) noexcept nogil:
    """out = soft(z, l1) (its positive part where coefficients are), returns the norm."""
    cdef Py_ssize_t i
    cdef double value, total = 0.0
    for i in range(size):
        value = fabs(z[i]) - l1
        if value <= 0.0 or (positive and z[i] < 0.0):
            out[i] = 0.0
        else:
            out[i] = value if z[i] > 0.0 else -value
            total += value * value
    return sqrt(total)


cdef void _minimise_block(
    const double *z, const double *block, const double *vectors, const double *eigenvalues, const double *old,
    int d, int width, double group_bound, double entry_bound, bint positive, double *new, double *work, double *local
) noexcept nogil:
    """new = argmin ``tr(b'Hb)/2 - tr(z'b) + group_bound ||b||_F + entry_bound ||b||_1``, H = block.

    Without the last term and signs the minimiser is exact, from the eigen-decomposition of H; otherwise proximal
    gradient steps from ``old`` until they settle, which a cycle may leave to the next. ``work`` and ``local`` are
    scratch of the block's size.
    """
    cdef Py_ssize_t i, k, t
    cdef int _inner
    cdef double value, factor, change, magnitude, norm, lipschitz = eigenvalues[d - 1]
    value = _soft_norm(z, d * width, entry_bound, positive, new)
    if value <= group_bound or lipschitz <= 0.0:
        for k in range(d * width):
            new[k] = 0.0
        return
    if d == 1:
        factor = (1.0 - group_bound / value) / lipschitz
        for k in range(width):
            new[k] *= factor
        return
    if entry_bound == 0.0 and not positive:
        norm = 0.0
        for k in range(d * width):
            norm += old[k] * old[k]
        norm = sqrt(norm)
        if norm == 0.0:
            norm = (value - group_bound) / lipschitz
        _exact_block(z, vectors, eigenvalues, d, width, group_bound, norm, work, local, new)
        return
    for k in range(d * width):
        new[k] = old[k]
    for _inner in range(20):
        for k in range(d):
            for t in range(width):
                value = z[k * width + t]
                for i in range(d):
                    value -= block[i * d + k] * new[i * width + t]
                local[k * width + t] = new[k * width + t] + value / lipschitz
        value = _soft_norm(local, d * width, entry_bound / lipschitz, positive, work)
        factor = 0.0
        if value * lipschitz > group_bound:
            factor = 1.0 - group_bound / (lipschitz * value)
        change = 0.0
        magnitude = 0.0
        for k in range(d * width):
            value = factor * work[k]
            change = max(change, fabs(value - new[k]))
            magnitude = max(magnitude, fabs(value))
            new[k] = value
        if change <= 1e-14 * magnitude:
            break


cdef bint _take_step(double *b, const double *new, double *step, Py_ssize_t size) noexcept nogil:
    """b = new, step = the difference; returns whether there is one."""
    cdef Py_ssize_t k
    cdef bint moved = False
    for k in range(size):
        step[k] = new[k] - b[k]
        if step[k] != 0.0:
            moved = True
            b[k] = new[k]
    return moved


cdef void _subtract_steps(
    const double *steps, const double *columns, double *out, int width, int rows, int count
) noexcept nogil:
    """``out -= columns' steps`` for matrices whose rows lie one after another."""
    dgemm(
        "N", "T", &width, &rows, &count, &MINUS, <double *> steps, &width, <double *> columns, &rows, &UNIT, out, &width
    )


def block_descent(
    const double[::1, :] G,
    double[:, ::1] B,
    double[:, ::1] gradient,
    const Py_ssize_t[::1] ptr,
    const Py_ssize_t[::1] order,
    const double[::1] group_bound,
    double entry_bound,
    const double[::1] eigenvalues,
    const double[::1] vectors,
    const double[::1] blocks,
    const Py_ssize_t[::1] block_ptr,
    bint positive,
    int sweeps,
):
    """``sweeps`` cycles of block minimisation over the groups in ``order``, on a Gram matrix.

    Minimises ``tr(B'GB)/2 - tr(q'B) + sum_g group_bound_g ||B_g||_F + entry_bound ||B_g||_1`` in place, with
    ``gradient = q - G B`` kept up to date. ``blocks`` are the diagonal blocks of G, with their eigen-decompositions.
    """
    cdef int m = <int> B.shape[0], width = <int> B.shape[1], d, lead = <int> G.shape[0], _sweep, waiting = 0
    cdef Py_ssize_t a, g, i, k, t, j, largest = 1
    cdef double value
    for g in range(ptr.shape[0] - 1):
        largest = max(largest, ptr[g + 1] - ptr[g])
    # steps that the gradient lacks, and their columns of G
    cdef bint delayed = width > 1 and largest == 1
    cdef double[:, ::1] steps = np.empty((STEPS_AT_ONCE if delayed else 0, width))
    cdef double[:, ::1] columns = np.empty((STEPS_AT_ONCE if delayed else 0, m))
    cdef double[::1] z = np.zeros(largest * width)
    cdef double[::1] new = np.empty(largest * width)
    cdef double[::1] work = np.empty(largest * width)
    cdef double[::1] local = np.empty(largest * width)
    with nogil:
        for _sweep in range(sweeps):
            for a in range(order.shape[0]):
                g = order[a]
                j = ptr[g]
                d = <int> (ptr[g + 1] - j)
                # the linear term of the block's own problem
                for k in range(d):
                    for t in range(width):
                        value = gradient[j + k, t]
                        for i in range(d):
                            value += blocks[block_ptr[g] + i * d + k] * B[j + i, t]
                        z[k * width + t] = value
                for i in range(waiting):
                    value = columns[i, j]
                    for t in range(width):
                        z[t] -= value * steps[i, t]
                _minimise_block(
                    &z[0], &blocks[block_ptr[g]], &vectors[block_ptr[g]], &eigenvalues[j], &B[j, 0], d, width,
                    group_bound[g], entry_bound, positive, &new[0], &work[0], &local[0]
                )
                if not _take_step(&B[j, 0], &new[0], &work[0], d * width):
                    continue
                if delayed:
                    memcpy(&steps[waiting, 0], &work[0], width * sizeof(double))
                    memcpy(&columns[waiting, 0], &G[0, j], m * sizeof(double))
                    waiting += 1
                    if waiting == STEPS_AT_ONCE:
                        _subtract_steps(&steps[0, 0], &columns[0, 0], &gradient[0, 0], width, m, waiting)
                        waiting = 0
                else:
                    # gradient' -= step' G_g' (row-major arrays are transposed Fortran ones)
                    dgemm(
                        "N", "T", &width, &m, &d, &MINUS, &work[0], &width, <double *> &G[0, j], &lead, &UNIT,
                        &gradient[0, 0], &width
                    )
        if waiting:
            _subtract_steps(&steps[0, 0], &columns[0, 0], &gradient[0, 0], width, m, waiting)


def block_descent_on_rows(
    const double[::1, :] A,
    double[:, ::1] B,
    double[:, ::1] residual,
    const double[:, ::1] offset,
    const Py_ssize_t[::1] ptr,
    const Py_ssize_t[::1] order,
    const double[::1] group_bound,
    double entry_bound,
    const double[::1] eigenvalues,
    const double[::1] vectors,
    const double[::1] blocks,
    const Py_ssize_t[::1] block_ptr,
    bint positive,
    int sweeps,
):
    """The same cycles with ``G = A'A``, from rows: ``residual = Y - A B`` is kept up to date.

    ``offset`` is added to ``A' residual`` to give the gradient.
    """
    cdef int n = <int> A.shape[0], width = <int> B.shape[1], d, _sweep
    cdef Py_ssize_t a, g, i, k, t, j, largest = 1
    cdef double value
    for g in range(ptr.shape[0] - 1):
        largest = max(largest, ptr[g + 1] - ptr[g])
    if width > 1 and largest == 1:
        _single_descent_on_rows(
            A, B, residual, offset, order, group_bound, entry_bound, eigenvalues, vectors, blocks, positive, sweeps
        )
        return
    cdef double[::1] z = np.zeros(largest * width)
    cdef double[::1] new = np.empty(largest * width)
    cdef double[::1] work = np.empty(largest * width)
    cdef double[::1] local = np.empty(largest * width)
    with nogil:
        for _sweep in range(sweeps):
            for a in range(order.shape[0]):
                g = order[a]
                j = ptr[g]
                d = <int> (ptr[g + 1] - j)
                if width == 1:
                    dgemv(
                        "T", &n, &d, &UNIT, <double *> &A[0, j], &n, &residual[0, 0], &ONE, &NONE, &z[0], &ONE
                    )
                else:
                    dgemm(
                        "N", "N", &width, &d, &n, &UNIT, &residual[0, 0], &width, <double *> &A[0, j], &n, &NONE,
                        &z[0], &width
                    )
                for k in range(d):
                    for t in range(width):
                        value = offset[j + k, t]
                        for i in range(d):
                            value += blocks[block_ptr[g] + i * d + k] * B[j + i, t]
                        z[k * width + t] += value
                _minimise_block(
                    &z[0], &blocks[block_ptr[g]], &vectors[block_ptr[g]], &eigenvalues[j], &B[j, 0], d, width,
                    group_bound[g], entry_bound, positive, &new[0], &work[0], &local[0]
                )
                if _take_step(&B[j, 0], &new[0], &work[0], d * width):
                    if width == 1:
                        dgemv(
                            "N", &n, &d, &MINUS, <double *> &A[0, j], &n, &work[0], &ONE, &UNIT, &residual[0, 0],
                            &ONE
                        )
                    else:
                        dgemm(
                            "N", "T", &width, &n, &d, &MINUS, &work[0], &width, <double *> &A[0, j], &n, &UNIT,
                            &residual[0, 0], &width
                        )


cdef _single_descent_on_rows(
    const double[::1, :] A, double[:, ::1] B, double[:, ::1] residual, const double[:, ::1] offset,
    const Py_ssize_t[::1] order, const double[::1] group_bound, double entry_bound, const double[::1] eigenvalues,
    const double[::1] vectors, const double[::1] blocks, bint positive, int sweeps,
):
    """The same for groups of one feature and several targets, a few features at a time.

    Their Gram matrix tells what the steps of those before mean for the next one.
    """
    cdef int n = <int> A.shape[0], width = <int> B.shape[1], count, _sweep
    cdef Py_ssize_t start, a, i, j, t
    cdef double value
    cdef bint moved
    cdef double[:, ::1] columns = np.empty((ROWS_AT_ONCE, n)), z = np.empty((ROWS_AT_ONCE, width))
    cdef double[:, ::1] steps = np.empty((ROWS_AT_ONCE, width)), gram = np.empty((ROWS_AT_ONCE, ROWS_AT_ONCE))
    cdef int side = ROWS_AT_ONCE
    cdef double[::1] new = np.empty(width), work = np.empty(width), local = np.empty(width)
    with nogil:
        for _sweep in range(sweeps):
            for start in range((order.shape[0] + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE):
                start = start * ROWS_AT_ONCE
                count = <int> min(ROWS_AT_ONCE, order.shape[0] - start)
                for a in range(count):
                    memcpy(&columns[a, 0], &A[0, order[start + a]], n * sizeof(double))
                dgemm("T", "N", &count, &count, &n, &UNIT, &columns[0, 0], &n, &columns[0, 0], &n, &NONE, &gram[0, 0],
                      &side)
                dgemm("N", "N", &width, &count, &n, &UNIT, &residual[0, 0], &width, &columns[0, 0], &n, &NONE, &z[0, 0],
                      &width)
                moved = False
                for a in range(count):
                    j = order[start + a]
                    for t in range(width):
                        z[a, t] += offset[j, t] + blocks[j] * B[j, t]
                    for i in range(a):
                        value = gram[a, i]
                        for t in range(width):
                            z[a, t] -= value * steps[i, t]
                    _minimise_block(
                        &z[a, 0], &blocks[j], &vectors[j], &eigenvalues[j], &B[j, 0], 1, width, group_bound[j],
                        entry_bound, positive, &new[0], &work[0], &local[0]
                    )
                    if _take_step(&B[j, 0], &new[0], &steps[a, 0], width):
                        moved = True
                if moved:
                    _subtract_steps(&steps[0, 0], &columns[0, 0], &residual[0, 0], width, n, count)


def subtract_gram_product(
    const double[::1, :] G,
    const Py_ssize_t[::1] ptr,
    const Py_ssize_t[::1] groups,
    const double[:, ::1] move,
    double[:, ::1] gradient,
):
    """``gradient -= G[:, J] move``, J the features of some groups; their columns of G are read in place."""
    cdef int m = <int> gradient.shape[0], width = <int> gradient.shape[1], d, lead = <int> G.shape[0]
    cdef Py_ssize_t a, g, start = 0
    with nogil:
        for a in range(groups.shape[0]):
            g = groups[a]
            d = <int> (ptr[g + 1] - ptr[g])
            dgemm(
                "N", "T", &width, &m, &d, &MINUS, <double *> &move[start, 0], &width,
                <double *> &G[0, ptr[g]], &lead, &UNIT, &gradient[0, 0], &width
            )
            start += d


def principal_submatrix(const double[::1, :] G, const Py_ssize_t[::1] places):
    """``G[places, places]``, for increasing runs of places faster than fancy indexing."""
    cdef Py_ssize_t d = places.shape[0], i, j
    out = np.empty((d, d), order="F")
    cdef double[::1, :] out_ = out
    cdef const double *column
    with nogil:
        for j in range(d):
            column = &G[0, places[j]]
            for i in range(d):
                out_[i, j] = column[places[i]]
    return out


def scaled_columns(const double[::1, :] A, const double[::1] scale, dtype):
    """The columns of A, each times its scale, in float32 or float64."""
    out = np.empty((A.shape[0], A.shape[1]), dtype=dtype, order="F")
    if dtype == np.float32:
        _scale_columns[float](A, scale, out)
    else:
        _scale_columns[double](A, scale, out)
    return out


cdef _scale_columns(const double[::1, :] A, const double[::1] scale, floating[::1, :] out):
    cdef Py_ssize_t i, j, n = A.shape[0]
    cdef double factor
    with nogil:
        for j in range(A.shape[1]):
            factor = scale[j]
            for i in range(n):
                out[i, j] = <floating> (factor * A[i, j])


def group_combinations(const floating[::1, :] A, const floating[::1] weights, const Py_ssize_t[::1] starts):
    """``A_g w_g`` for groups of consecutive columns: a column for each group."""
    cdef int n = <int> A.shape[0], size
    cdef Py_ssize_t k = starts.shape[0], g, stop
    cdef floating one = 1.0, zero = 0.0
    out = np.zeros((n, k), dtype=np.float32 if floating is float else np.float64, order="F")
    cdef floating[::1, :] out_ = out
    with nogil:
        for g in range(k):
            stop = starts[g + 1] if g + 1 < k else A.shape[1]
            size = <int> (stop - starts[g])
            if floating is float:
                sgemv(
                    "N", &n, &size, &one, <float *> &A[0, starts[g]], &n, <float *> &weights[starts[g]], &ONE, &zero,
                    &out_[0, g], &ONE
                )
            else:
                dgemv(
                    "N", &n, &size, &one, <double *> &A[0, starts[g]], &n, <double *> &weights[starts[g]], &ONE, &zero,
                    &out_[0, g], &ONE
                )
    return out

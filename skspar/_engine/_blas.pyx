# cython: freethreading_compatible = True
"""Matrix products by the BLAS that SciPy carries, the one that the kernels and factorisations use.

NumPy carries another, with threads of its own. Threads of one library wait for work by spinning, so products that
alternate between the two libraries hold each other up (measured: ten times slower on two cores).
"""
import numpy as np

from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk, ssyrk
from scipy.linalg.cython_lapack cimport dsyevd


def _fitting(M):
    """M, or a copy whose columns or rows are contiguous."""
    M = np.asarray(M, dtype=np.float64)
    if M.ndim == 1:
        M = M[:, None]
    rows, columns = M.strides
    if columns == 8 and (M.shape[0] <= 1 or rows >= 8 * max(1, M.shape[1])):
        return M
    if rows == 8 and (M.shape[1] <= 1 or columns >= 8 * max(1, M.shape[0])):
        return M
    return np.asfortranarray(M)


cdef int _leading(Py_ssize_t stride, Py_ssize_t length, Py_ssize_t count) noexcept nogil:
    """Distance of consecutive vectors of ``length``; any that is allowed where there is only one vector."""
    cdef Py_ssize_t least = max(1, length)
    return <int> (least if count <= 1 else max(least, stride // 8))


def product(A, B, out=None, double scale=1.0, double keep=0.0):
    """``keep * out + scale * A B`` for float64 matrices of any layout; B may be a vector.

    A given ``out`` is changed in place; its rows or columns must be contiguous. A new one has contiguous columns.
    """
    A = _fitting(A)
    vector = np.ndim(B) == 1
    B = _fitting(B)
    if A.shape[1] != B.shape[0]:
        raise ValueError(f"shapes {A.shape} and {B.shape} do not match")
    if out is None:
        # zeros, not whatever was there: not every BLAS ignores a NaN that it is told to scale by zero
        out = np.zeros((A.shape[0], B.shape[1]), order="F")
        keep = 0.0
    elif out.shape != (A.shape[0], B.shape[1]) or out.dtype != np.float64 or (out.size and 8 not in out.strides):
        raise ValueError(f"out has shape {out.shape} and strides {out.strides}")
    if out.size == 0:
        pass
    elif A.shape[1] == 0:
        out *= keep
    else:
        _product(A, B, out, scale, keep)
    return out[:, 0] if vector else out


cdef void _multiply(
    const double *a, bint a_rows, int lda, const double *b, bint b_rows, int ldb, double *c, int ldc,
    int m, int n, int k, double scale, double keep
) noexcept nogil:
    """c (column-major) = keep c + scale a b; ``a_rows`` tells that a is stored row by row."""
    cdef int one = 1, inc
    if n == 1:
        inc = ldb if b_rows else 1
        if a_rows:
            dgemv("T", &k, &m, &scale, <double *> a, &lda, <double *> b, &inc, &keep, c, &one)
        else:
            dgemv("N", &m, &k, &scale, <double *> a, &lda, <double *> b, &inc, &keep, c, &one)
        return
    dgemm(
        "T" if a_rows else "N", "T" if b_rows else "N", &m, &n, &k, &scale, <double *> a, &lda, <double *> b, &ldb,
        &keep, c, &ldc
    )


cdef _product(const double[:, :] A, const double[:, :] B, double[:, :] out, double scale, double keep):
    cdef int m = <int> A.shape[0], k = <int> A.shape[1], n = <int> B.shape[1]
    # a row-major matrix is a transposed column-major one; a single column is both
    cdef bint a_rows = A.strides[1] == 8 and (A.strides[0] != 8 or k > 1), c_rows
    cdef bint b_rows = B.strides[1] == 8 and (B.strides[0] != 8 or n > 1)
    cdef int lda, ldb, ldc
    lda = _leading(A.strides[0], k, m) if a_rows else _leading(A.strides[1], m, k)
    ldb = _leading(B.strides[0], n, k) if b_rows else _leading(B.strides[1], k, n)
    c_rows = out.strides[1] == 8 and (out.strides[0] != 8 or n > 1)
    ldc = _leading(out.strides[0], n, m) if c_rows else _leading(out.strides[1], m, n)
    with nogil:
        if c_rows:
            # out' = B' A'
            _multiply(&B[0, 0], not b_rows, ldb, &A[0, 0], not a_rows, lda, &out[0, 0], ldc, n, m, k, scale, keep)
        else:
            _multiply(&A[0, 0], a_rows, lda, &B[0, 0], b_rows, ldb, &out[0, 0], ldc, m, n, k, scale, keep)


def zeros_to_add_to(shape):
    """Zeros in columns, each page of them written.

    Memory that the system promises to be zero costs two page faults where it is read before it is written; with two
    threads at it that took longer than the product (measured: 14 ms in place of 3 for 2 MB).
    """
    out = np.empty(shape, order="F")
    out.fill(0.0)
    return out


def self_product(A, out=None):
    """``A'A``, symmetric to the last bit; added to the lower triangle of ``out`` alone where that is given.

    The columns of ``out`` must be contiguous.
    """
    A = _fitting(A)
    if out is not None:
        if out.shape != (A.shape[1], A.shape[1]) or (out.size and out.strides[0] != 8):
            raise ValueError(f"out has shape {out.shape} and strides {out.strides}")
        if A.size:
            _self_product(A, out, 1.0)
        return out
    total = np.zeros((A.shape[1], A.shape[1]), order="F")
    if A.size:
        _self_product(A, total, 0.0)
    return symmetric(total)


def single_self_product(float[::1, :] A, float[::1, :] out):
    """Add ``A'A``, in single precision, to the lower triangle of ``out``."""
    cdef int n = <int> A.shape[0], p = <int> A.shape[1]
    cdef float one = 1.0
    if out.shape[0] != p or out.shape[1] != p:
        raise ValueError(f"out has shape {out.shape[0], out.shape[1]}")
    if n == 0 or p == 0:
        return
    with nogil:
        ssyrk("L", "T", &p, &n, &one, &A[0, 0], &n, &one, &out[0, 0], &p)


def symmetric(lower):
    """Mirror the lower triangle of a square matrix, in place."""
    above = np.triu_indices(len(lower), 1) if len(lower) < 64 else None
    if above is not None:
        lower[above] = lower.T[above]
    else:
        half = len(lower) // 2
        lower[:half, half:] = lower[half:, :half].T
        symmetric(lower[:half, :half])
        symmetric(lower[half:, half:])
    return lower


cdef _self_product(const double[:, :] A, double[:, :] out, double keep):
    cdef int n = <int> A.shape[0], p = <int> A.shape[1], lead, lead_out = _leading(out.strides[1], p, p)
    cdef bint rows = A.strides[1] == 8 and (A.strides[0] != 8 or p > 1)
    cdef double one = 1.0
    lead = _leading(A.strides[0], p, n) if rows else _leading(A.strides[1], n, p)
    with nogil:
        if rows:
            dsyrk("L", "N", &p, &n, &one, <double *> &A[0, 0], &lead, &keep, &out[0, 0], &lead_out)
        else:
            dsyrk("L", "T", &p, &n, &one, <double *> &A[0, 0], &lead, &keep, &out[0, 0], &lead_out)


def eigenbasis(A):
    """Eigenvalues, increasing, and eigenvectors of a finite symmetric matrix, without the GIL."""
    cdef int n = <int> len(A), info, some = -1, few = -1
    values, vectors = np.empty(n), np.array(A, dtype=np.float64, order="F")
    if n <= 1:
        # old SciPy gives LAPACK too little memory for a single number
        return vectors.ravel(), np.ones((n, n), order="F")
    cdef double[::1] values_ = values, work = np.empty(1)
    cdef double[::1, :] vectors_ = vectors
    cdef int[::1] more = np.empty(1, dtype=np.intc)
    dsyevd("V", "L", &n, &vectors_[0, 0], &n, &values_[0], &work[0], &some, &more[0], &few, &info)
    some, few = <int> work[0], more[0]
    work, more = np.empty(some), np.empty(few, dtype=np.intc)
    with nogil:
        dsyevd("V", "L", &n, &vectors_[0, 0], &n, &values_[0], &work[0], &some, &more[0], &few, &info)
    if info != 0:
        raise np.linalg.LinAlgError(f"dsyevd did not converge ({info})")
    return values, vectors

"""What other kernels need of the passes over labels."""

# Rows of a block, whose entries of a column lie together.
cdef enum:
    BLOCK = 512


cdef class LabelPass:
    cdef Py_ssize_t c, side, blocks
    cdef bint counts
    cdef double loglik
    cdef double[:, ::1] given, part, tilt_gradient, counted, lifted, paired, weights, packed
    cdef double[::1] joint, some, offset_gradient
    cdef double[:, :, ::1] curvature

    cdef void start(self, const double[:, ::1] transition, bint curved, bint counts) noexcept nogil
    cdef void add(
        self, const double *f, Py_ssize_t size, const double[:, ::1] tilt, const double[::1] offset,
        const Py_ssize_t *labels, const double *counts, double *post, double *probabilities, bint curved
    ) noexcept nogil
    cdef void _judge(
        self, double *part, Py_ssize_t size, const Py_ssize_t *labels, const double *counts, double *post,
        double *probabilities, double *weights,
    ) noexcept nogil
    cdef void finish(self) noexcept nogil
    cdef void read_gradient(self, double[:, ::1] gradient) noexcept nogil
    cdef told(self)


cdef class CurvatureBound:
    cdef readonly Py_ssize_t c, blocks
    cdef readonly double ridge, offset_ridge
    cdef double free_factor
    cdef double[:, :, ::1] inverses
    cdef double[:, ::1] free

    cdef int take(self, const double[:, :, ::1] curvature) noexcept nogil
    cdef void divide(self, const double[:, ::1] gradient, double[:, ::1] step) noexcept nogil
    cdef double penalise(
        self, const double[::1] offset, const double[:, ::1] tilt, double[:, ::1] gradient
    ) noexcept nogil


cdef class PackedRows:
    cdef readonly Py_ssize_t n, k, c, n_blocks
    cdef const Py_ssize_t[::1] order
    cdef readonly double total
    cdef double[:, :, ::1] Q
    cdef const Py_ssize_t[::1] labels
    cdef const double[::1] counts, weights

    cdef Py_ssize_t length(self, Py_ssize_t b) noexcept nogil
    cdef void fit(self, Py_ssize_t b, const double[:, ::1] coef, double *f) noexcept nogil
    cdef void project(
        self, Py_ssize_t b, const double *targets, double[:, ::1] spare, double[:, ::1] coef
    ) noexcept nogil
    cdef unpacked(self, const double[:, :, ::1] blocks)

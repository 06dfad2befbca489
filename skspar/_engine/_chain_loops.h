/* Steps of the split recursion for the differences of neighbours in a chain, in several instruction sets.

   Eight stretches of the chain lie side by side: row j has the j-th entry of each, so that an entry's neighbours are in
   the rows before and after, and all that is done is done for eight at once. HALO more rows at either end are those
   that follow in the neighbouring stretches; a step makes the outermost of them wrong. */
#ifndef SET

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STRETCHES = 8, HALO = 8 };

typedef struct {
    double *b;
    double *z;
    /* b = keep b + constant + rate (gap - gap before) + side (b before) + (side after) (b after) */
    const double *keep;
    const double *constant;
    const double *side;
    /* bits set for the edges that there are, and for those that have not entered */
    const uint64_t *edges;
    uint64_t *outside;
    /* whether any edge is missing in the rows that end here, as many as there are steps at once */
    const unsigned char *gappy;
    ptrdiff_t *first;
    /* where b and z are noted after the step ``note`` (from 0) of those done at once */
    double *noted_b;
    double *noted_z;
    double rate;
    double kappa;
    ptrdiff_t rows;
} chain;

/* Note the step at which edges of a row enter. */
static void chain_entries(const double *g, uint64_t *outside, ptrdiff_t *first, ptrdiff_t count, ptrdiff_t step)
{
    for (ptrdiff_t t = 0; t < count; t++)
        if (outside[t] && g[t] != 0.0) {
            outside[t] = 0;
            first[t] = step;
        }
}

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
/* Entries in a register, and steps in a pass, as many as there are registers for what they hold. */
#define LANES_avx2 4
#define LANES_avx512 8
#define STEPS_avx2 4
#define STEPS_avx512 8

/* Of a row and the row before, what is needed until the row after comes. */
typedef struct {
    __m256d b, z, moved;
} held_avx2;
typedef struct {
    __m512d b, z, moved;
} held_avx512;
#endif

#define LOOPS "_chain_loops.h"
#include "_instruction_sets.h"

#define chain_steps BEST(chain_steps)
#define chain_record BEST(chain_record)
#define segment_means_of BEST(segment_means_of)

#else

/* One step of all rows. */
ATTRIBUTES
static void IN_SET(chain_step)(const chain *restrict c, ptrdiff_t k)
{
    double gap[STRETCHES] = {0}, before[STRETCHES] = {0}, g[STRETCHES];
    const double rate = c->rate, kappa = c->kappa;
    for (ptrdiff_t j = 0; j + 1 < c->rows; j++) {
        double *restrict b = c->b + j * STRETCHES, *restrict z = c->z + j * STRETCHES;
        const double *restrict keep = c->keep + j * STRETCHES, *restrict constant = c->constant + j * STRETCHES;
        const double *restrict side = c->side ? c->side + j * STRETCHES : NULL;
        const uint64_t *restrict edges = c->edges + j * STRETCHES, *restrict outside = c->outside + j * STRETCHES;
        uint64_t found = 0;
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < STRETCHES; t++) {
            const double low = z[t] < -kappa ? -kappa : z[t];
            uint64_t bits;
            g[t] = z[t] - (low > kappa ? kappa : low);
            memcpy(&bits, g + t, sizeof bits);
            found |= bits & outside[t];
        }
        NOT_UNROLLED
        for (ptrdiff_t t = 0; t < STRETCHES; t++) {
            double d = (b[STRETCHES + t] - b[t]) - g[t], moved = keep[t] * b[t] + constant[t];
            d = edges[t] ? d : 0.0;
            z[t] += rate * d;
            if (side)
                moved += side[t] * before[t] + side[STRETCHES + t] * b[STRETCHES + t];
            before[t] = b[t];
            b[t] = moved + rate * (d - gap[t]);
            gap[t] = d;
        }
        if (found)
            chain_entries(g, c->outside + j * STRETCHES, c->first + j * STRETCHES, STRETCHES, k);
    }
}

#if IN_SET(LANES)

#if IN_SET(LANES) == 8
#define ROW __m512d
#define LOAD(p) _mm512_load_pd(p)
#define STORE(p, x) _mm512_store_pd(p, x)
#define ALL(x) _mm512_set1_pd(x)
#define CLIPPED(z, kappa) _mm512_range_pd(z, kappa, 2)
#define MASKED(x, bits) _mm512_and_pd(x, LOAD((const double *)(bits)))
#define JOINED_BITS(all, x, bits)                                                                                      \
    _mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_castpd_si512(all), _mm512_castpd_si512(x),                    \
                                                  _mm512_load_si512((const void *)(bits)), 0xF8))
#define ANY(x) _mm512_test_epi64_mask(_mm512_castpd_si512(x), _mm512_castpd_si512(x))
#else
#define ROW __m256d
#define LOAD(p) _mm256_load_pd(p)
#define STORE(p, x) _mm256_store_pd(p, x)
#define ALL(x) _mm256_set1_pd(x)
#define CLIPPED(z, kappa) _mm256_max_pd(-(kappa), _mm256_min_pd(kappa, z))
#define MASKED(x, bits) _mm256_and_pd(x, LOAD((const double *)(bits)))
#define JOINED_BITS(all, x, bits) _mm256_or_pd(all, MASKED(x, bits))
#define ANY(x) (!_mm256_testz_si256(_mm256_castpd_si256(x), _mm256_castpd_si256(x)))
#endif
#define HELD IN_SET(held)

/* Note what has entered: ``g`` has the entries of the row ``at`` in the step, and those of the rows before in the steps
   after. */
ATTRIBUTES __attribute__((noinline, cold))
static void IN_SET(chain_found)(const chain *c, const double *g, ptrdiff_t at, ptrdiff_t step)
{
    for (int s = 0; s < IN_SET(STEPS); s++, at -= STRETCHES)
        chain_entries(g + s * IN_SET(LANES), c->outside + at, c->first + at, IN_SET(LANES), step + s);
}

/* What a row is made of; ``at`` entries on, another row's. */
typedef struct {
    const double *keep, *constant, *side;
    const uint64_t *edges, *outside;
} IN_SET(given);

/* A step of the row ``at``, of which ``h`` holds b, z, and b after the step but for the gap to the row after: b of that
   row, and z that goes with it, give way to b and z of the row after the step. ``entered`` collects what enters.

   The next stage waits for b, so b takes the shortest way: one product, to what is known before b is. */
ATTRIBUTES __attribute__((always_inline))
static inline ROW IN_SET(chain_stage)(IN_SET(given) r, HELD *h, ROW *b, ROW *z, ROW *entered, ROW rate, ROW kappa,
                                      ptrdiff_t at, int gappy, int tridiagonal)
{
    const ROW g = h->z - CLIPPED(h->z, kappa), target = h->b + g;
    *entered = JOINED_BITS(*entered, g, r.outside + at);
    if (gappy)
        rate = MASKED(rate, r.edges + at);
    const ROW gap = *b - target;
    ROW moved = h->moved - rate * target;
    if (tridiagonal)
        moved += LOAD(r.side + at + STRETCHES) * *b;
    moved += rate * *b;
    const ROW dual = h->z + rate * gap;
    h->moved = (LOAD(r.keep + at + STRETCHES) * *b + LOAD(r.constant + at + STRETCHES)) - rate * gap;
    if (tridiagonal)
        h->moved += LOAD(r.side + at + STRETCHES) * h->b;
    h->b = *b;
    h->z = *z;
    *b = moved;
    *z = dual;
    return g;
}

#define STAGE_(s)                                                                                                      \
    if (s < IN_SET(STEPS)) {                                                                                           \
        STORE(g + s * IN_SET(LANES),                                                                                   \
              IN_SET(chain_stage)(r, &h##s, &b, &z, &entered, rate, kappa, -s * STRETCHES, gappy, tridiagonal));       \
        if (note == s) {                                                                                               \
            STORE(c->noted_b + at - s * STRETCHES, b);                                                                 \
            STORE(c->noted_z + at - s * STRETCHES, z);                                                                 \
        }                                                                                                              \
    }
#define STAGES STAGE_(0) STAGE_(1) STAGE_(2) STAGE_(3) STAGE_(4) STAGE_(5) STAGE_(6) STAGE_(7)

/* STEPS steps in one pass: as soon as a row has taken a step, the row before takes the next. */
ATTRIBUTES __attribute__((always_inline))
static inline void IN_SET(chain_pass)(const chain *c, ptrdiff_t k, int note, int tridiagonal)
{
    const ROW rate = ALL(c->rate), kappa = ALL(c->kappa), zero = ALL(0.0);
    const ptrdiff_t rows = c->rows;
    double g[IN_SET(STEPS) * IN_SET(LANES)] __attribute__((aligned(64)));
    for (int half = 0; half < STRETCHES; half += IN_SET(LANES)) {
        const HELD none = {zero, zero, zero};
        HELD h0 = none, h1 = none, h2 = none, h3 = none, h4 = none, h5 = none, h6 = none, h7 = none;
        /* without side entries, which are then not read, there is no such memory */
        const double *side = c->side ? c->side : c->keep;
        IN_SET(given) r = {c->keep + half, c->constant + half, side + half, c->edges + half, c->outside + half};
        double *nodes = c->b + half, *duals = c->z + half;
        h0.b = LOAD(nodes);
        h0.z = LOAD(duals);
        for (ptrdiff_t j = 0; j + 1 < rows; j++) {
            const ptrdiff_t at = j * STRETCHES + half;
            ROW b = LOAD(nodes + STRETCHES), z = LOAD(duals + STRETCHES), entered = zero;
            if (c->gappy[j]) {
                const int gappy = 1;
                STAGES
            } else {
                const int gappy = 0;
                STAGES
            }
            STORE(nodes - (IN_SET(STEPS) - 1) * STRETCHES, b);
            STORE(duals - (IN_SET(STEPS) - 1) * STRETCHES, z);
            if (__builtin_expect(ANY(entered), 0))
                IN_SET(chain_found)(c, g, at, k);
            nodes += STRETCHES, duals += STRETCHES, r.keep += STRETCHES, r.constant += STRETCHES;
            r.side += STRETCHES, r.edges += STRETCHES, r.outside += STRETCHES;
        }
        (void)h0, (void)h1, (void)h2, (void)h3, (void)h4, (void)h5, (void)h6, (void)h7;
    }
}
#undef ROW
#undef LOAD
#undef STORE
#undef ALL
#undef CLIPPED
#undef MASKED
#undef ANY
#undef JOINED_BITS
#undef HELD
#undef STAGE_
#undef STAGES
#endif

/* HALO steps from the k-th on, or one. */
ATTRIBUTES
static void IN_SET(chain_steps)(const chain *c, ptrdiff_t k, int one, int note)
{
    if (one) {
        IN_SET(chain_step)(c, k);
        return;
    }
#if IN_SET(LANES)
    for (int s = 0; s < HALO; s += IN_SET(STEPS))
        if (c->side)
            IN_SET(chain_pass)(c, k + s, note - s, 1);
        else if (note >= s && note < s + IN_SET(STEPS))
            IN_SET(chain_pass)(c, k + s, note - s, 0);
        else
            IN_SET(chain_pass)(c, k + s, -1, 0);
#else
    for (int s = 0; s < HALO; s++) {
        IN_SET(chain_step)(c, k + s);
        if (s == note) {
            memcpy(c->noted_b, c->b, c->rows * STRETCHES * sizeof(double));
            memcpy(c->noted_z, c->z, c->rows * STRETCHES * sizeof(double));
        }
    }
#endif
}

/* unit (x less x clipped to [-kappa, kappa]), of stretches of a length in rows: ``size`` entries from one on. Returns
   the sum of all stretches, which is finite only if they are. */
ATTRIBUTES
static double IN_SET(chain_record)(const double *restrict rows, ptrdiff_t length, double kappa, double unit,
                                   double *restrict out, ptrdiff_t from, ptrdiff_t size)
{
    double some[8 * STRETCHES], sums[STRETCHES] = {0}, sum = 0.0;
    for (ptrdiff_t j = 0; j < length; j += 8) {
        const ptrdiff_t count = length - j < 8 ? length - j : 8;
        const double *restrict x = rows + j * STRETCHES;
        for (ptrdiff_t i = 0; i < count * STRETCHES; i++) {
            const double low = x[i] < -kappa ? -kappa : x[i];
            some[i] = unit * (x[i] - (low > kappa ? kappa : low));
        }
        for (ptrdiff_t i = 0; i < count; i++)
            for (ptrdiff_t t = 0; t < STRETCHES; t++)
                sums[t] += some[i * STRETCHES + t];
        for (ptrdiff_t t = 0; t < STRETCHES; t++) {
            const ptrdiff_t place = t * length + j - from;
            if (count == 8 && place >= 0 && place + 8 <= size)
                for (int i = 0; i < 8; i++)
                    out[place + i] = some[i * STRETCHES + t];
            else
                for (ptrdiff_t i = place < 0 ? -place : 0; i < count && place + i < size; i++)
                    out[place + i] = some[i * STRETCHES + t];
        }
    }
    for (ptrdiff_t t = 0; t < STRETCHES; t++)
        sum += sums[t];
    return sum;
}

/* Means of four vectors of a stride between the places where breaks are not zero; ``out`` is no input.

   Without jumps, as nobody foresees the breaks, and four at once, as each waits for its sums. */
ATTRIBUTES
static void IN_SET(segment_means_of)(const double *const *values, const double *const *breaks, double *const *out,
                                     ptrdiff_t size, ptrdiff_t stride)
{
    double sums[4], counts[4] = {1.0, 1.0, 1.0, 1.0}, means[4];
    for (int r = 0; r < 4; r++)
        out[r][0] = sums[r] = values[r][0];
    for (ptrdiff_t i = stride; i < size * stride; i += stride)
        for (int r = 0; r < 4; r++) {
            const double joined = breaks[r][i - stride] == 0.0;
            sums[r] = values[r][i] + joined * sums[r];
            counts[r] = 1.0 + joined * counts[r];
            out[r][i] = sums[r] / counts[r];
        }
    for (int r = 0; r < 4; r++)
        means[r] = out[r][(size - 1) * stride];
    for (ptrdiff_t i = (size - 2) * stride; i >= 0; i -= stride)
        for (int r = 0; r < 4; r++) {
            uint64_t ends = -(uint64_t)(breaks[r][i] != 0.0), mean, here;
            memcpy(&mean, means + r, sizeof mean);
            memcpy(&here, out[r] + i, sizeof here);
            mean = (here & ends) | (mean & ~ends);
            memcpy(means + r, &mean, sizeof mean);
            out[r][i] = means[r];
        }
}

#endif

/* Superpositions side by side, one in each lane of a vector: rotations from moments, and one pass over the points
   that scores a motion and gathers the moments of the points it brings together.

   The vectors are those of gcc and clang, as wide as the processor's: eight lanes with AVX, else four. */

#ifndef TM_LANES_H
#define TM_LANES_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef float vf_loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in an array */
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef int32_t vi_loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef double vd __attribute__((vector_size(8 * LANES)));
#define INLINE static inline __attribute__((always_inline))

INLINE vf all(float a) { return (vf){0} + a; }
INLINE vi all_int(int32_t a) { return (vi){0} + a; }
INLINE vf load(const float *at) { return *(const vf_loose *)at; }
INLINE void store(float *at, vf a) { *(vf_loose *)at = a; }
INLINE vi load_mask(const int32_t *at) { return *(const vi_loose *)at; }
INLINE vf where(vi mask, vf a) { return (vf)(mask & (vi)a); } /* a, or 0 */
INLINE vf pick(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE int any(vi mask)
{
    int result = 0;
    for (int l = 0; l < LANES; l++) result |= mask[l];
    return result;
}
INLINE vf larger(vf a, vf b) { return pick(a > b, a, b); }

/* x -> r x + t. */
typedef struct {
    float r[9][LANES], t[3][LANES];
} Motions;

/* Sums over a set of pairs of points: how many, x, y and x y^T. */
enum { COUNT = 0, SUM_X = 1, SUM_Y = 4, SUM_XY = 7, MOMENTS = 16 };
typedef struct {
    float sum[MOMENTS][LANES];
} Moments;

#define TO_DOUBLE(a) __builtin_convertvector(a, vd)
#define TO_SINGLE(a) __builtin_convertvector(a, vf)

/* Below: (s1 + s2)(s2 + s3)(s3 + s1) of the singular values, norm 1, of points on a line; and the squared covariance, Å^4,
   of points that are one. Well above rounding, well below that of any three residues of a protein. */
#define VAGUE 1e-4f
#define ONE_POINT 1e-2f

/* Where points lie on a line, the rotation is free about it: the shortest that takes the line of x to that of y, as in
   superposition.py. b is the transposed covariance. */
static void turn_line(const double *b, double *turn)
{
    double a[9], u[3], v[3], size;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) a[3 * i + j] = b[i] * b[j] + b[3 + i] * b[3 + j] + b[6 + i] * b[6 + j];
    for (int k = 0; k < 6; k++) { /* powers of b^T b leave the direction of the largest singular value */
        double square[9], trace = 1e-300;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                square[3 * i + j] = a[3 * i] * a[j] + a[3 * i + 1] * a[3 + j] + a[3 * i + 2] * a[6 + j];
        for (int i = 0; i < 3; i++) trace += square[4 * i];
        for (int i = 0; i < 9; i++) a[i] = square[i] / trace;
    }
    int widest = a[4] > a[0] ? 1 : 0;
    if (a[8] > a[4 * widest]) widest = 2;
    for (int i = 0; i < 3; i++) u[i] = a[3 * i + widest];
    for (int i = 0; i < 3; i++) v[i] = b[3 * i] * u[0] + b[3 * i + 1] * u[1] + b[3 * i + 2] * u[2];
    size = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]) + 1e-300;
    for (int i = 0; i < 3; i++) u[i] /= size;
    size = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) + 1e-300;
    for (int i = 0; i < 3; i++) v[i] /= size;
    double c = 1 + u[0] * v[0] + u[1] * v[1] + u[2] * v[2], half[3]; /* two reflections: by u + v, and along u */
    if (c < 1e-6) { /* half a turn, about any axis across the line: 2 p p^T - 1 */
        int least = fabs(u[1]) < fabs(u[0]) ? 1 : 0;
        if (fabs(u[2]) < fabs(u[least])) least = 2;
        size = sqrt(1 - u[least] * u[least]);
        for (int i = 0; i < 3; i++) half[i] = ((i == least) - u[least] * u[i]) / size;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) turn[3 * i + j] = 2 * half[i] * half[j] - (i == j);
        return;
    }
    for (int i = 0; i < 3; i++) half[i] = u[i] + v[i];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) turn[3 * i + j] = (i == j) - half[i] * half[j] / c + 2 * v[i] * u[j];
}

/* Rotations that maximise sum y . R x (Markley 1993, eq. 16; Newton's method for the root as Theobald 2005), and shifts
   that put centre on centre; points that are one only shift. In double: the root of a flat set is nearly double, and
   single precision would lose the rotation about its long axis. */
static void superpose(const Moments *m, Motions *motion)
{
    vd b[9], square[9], cof[9], cx[3], cy[3], size = {0}, det = {0}, quartic = {0};
    vd n = TO_DOUBLE(larger(load(m->sum[COUNT]), all(1)));
    for (int i = 0; i < 3; i++) {
        cx[i] = TO_DOUBLE(load(m->sum[SUM_X + i])) / n;
        cy[i] = TO_DOUBLE(load(m->sum[SUM_Y + i]));
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            vd c = TO_DOUBLE(load(m->sum[SUM_XY + 3 * i + j])) - cx[i] * cy[j];
            b[3 * j + i] = c;
            size += c * c;
        }
    vf spread;
    spread = TO_SINGLE(size);
    for (int l = 0; l < LANES; l++) size[l] = 1 / sqrt(size[l] + 1e-30);
    for (int i = 0; i < 9; i++) b[i] *= size;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            vd s = b[i] * b[j] + b[3 + i] * b[3 + j] + b[6 + i] * b[6 + j];
            square[3 * i + j] = s;
            quartic += s * s;
            int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
            cof[3 * i + j] = b[3 * i1 + j1] * b[3 * i2 + j2] - b[3 * i1 + j2] * b[3 * i2 + j1];
        }
    for (int j = 0; j < 3; j++) det += b[j] * cof[j];
    vd v = {0}, linear = 8 * det, constant = 2 * quartic - 1;
    v += 1.7320508075688772;
    for (int k = 0; k < 30; k++) {
        vd v2 = v * v, slope = 4 * v * (v2 - 1) - linear;
        vd step = ((v2 - 2) * v2 - linear * v + constant) / (slope + 1e-12);
        v -= step;
        double most = 0;
        for (int l = 0; l < LANES; l++) most = step[l] > most ? step[l] : most;
        if (most < 1e-8) break;
    }
    vd kappa = (v * v - 1) / 2, zeta = kappa * v - det, scale = 1 / (zeta + 1e-30);
    vf turn[9], flat;
    flat = TO_SINGLE(zeta);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            vd cube = b[3 * i] * square[j] + b[3 * i + 1] * square[3 + j] + b[3 * i + 2] * square[6 + j];
            turn[3 * i + j] = TO_SINGLE(((kappa + 1) * b[3 * i + j] + v * cof[3 * i + j] - cube) * scale);
        }
    vi vague = (flat < VAGUE) | (spread < ONE_POINT);
    if (any(vague))
        for (int l = 0; l < LANES; l++) {
            if (!vague[l]) continue;
            double one[9] = {0}, line[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
            for (int k = 0; k < 9; k++) one[k] = b[k][l];
            if (spread[l] >= ONE_POINT) turn_line(one, line);
            for (int k = 0; k < 9; k++) turn[k][l] = (float)line[k];
        }
    for (int k = 0; k < 9; k++) store(motion->r[k], turn[k]);
    for (int i = 0; i < 3; i++) {
        vd shift = cy[i] / n;
        for (int j = 0; j < 3; j++) shift -= TO_DOUBLE(turn[3 * i + j]) * cx[j];
        store(motion->t[i], TO_SINGLE(shift));
    }
}

/* The pairs of points of a pass: a column for each lane with its own mask, or, with no mask, one
   column for all. Coordinate c of row k is at c * pitch + k, in vectors or in floats. */
typedef struct {
    const float *x, *y;
    const int32_t *mask;
    int n, pitch;
} Rows;

/* What counts: pairs within sqrt(cut) go into the moments, those within sqrt(limit) into the scores
   sum 1 / (1 + d^2 / d0^2), where scale = 1 / d0^2. */
typedef struct {
    float cut[LANES], limit, scale[2];
} Rule;

/* Squared distances of row k after a motion. */
INLINE vf apart(const Rows *rows, int k, const vf *r, const vf *t, const int one_column, vf *x, vf *y)
{
    const int pitch = rows->pitch;
    vf d = {0};
    for (int c = 0; c < 3; c++)
        if (one_column) {
            x[c] = all(rows->x[c * pitch + k]);
            y[c] = all(rows->y[c * pitch + k]);
        } else {
            x[c] = load(rows->x + (size_t)(c * pitch + k) * LANES);
            y[c] = load(rows->y + (size_t)(c * pitch + k) * LANES);
        }
    for (int c = 0; c < 3; c++) {
        vf step = r[3 * c] * x[0] + (r[3 * c + 1] * x[1] + (r[3 * c + 2] * x[2] + (t[c] - y[c])));
        d += step * step;
    }
    return d;
}

INLINE void pass(const Rows *rows, const Motions *motion, const Rule *rule, const int scores, const int one_column,
                 Moments *moments, float (*score)[LANES])
{
    vf r[9], t[3];
    for (int k = 0; k < 9; k++) r[k] = load(motion->r[k]);
    for (int k = 0; k < 3; k++) t[k] = load(motion->t[k]);
    const vf cut = load(rule->cut), limit = all(rule->limit), scale0 = all(rule->scale[0]), scale1 = all(rule->scale[1]);
    vf sum[MOMENTS] = {{0}}, score0 = {0}, score1 = {0};
    for (int k = 0; k < rows->n; k++) {
        vf x[3], y[3], d = apart(rows, k, r, t, one_column, x, y);
        vi counted = d <= limit, near = d < cut;
        if (!one_column) counted &= load_mask(rows->mask + k * LANES), near &= load_mask(rows->mask + k * LANES);
        score0 += where(counted, 1 / (1 + d * scale0));
        if (scores == 2) score1 += where(counted, 1 / (1 + d * scale1));
        sum[COUNT] += where(near, all(1));
        /* both are masked: rows that do not count hold anything, and 0 times a NaN would be one */
        for (int e = 0; e < 3; e++) {
            y[e] = where(near, y[e]);
            sum[SUM_Y + e] += y[e];
        }
        for (int c = 0; c < 3; c++) {
            x[c] = where(near, x[c]);
            sum[SUM_X + c] += x[c];
            for (int e = 0; e < 3; e++) sum[SUM_XY + 3 * c + e] += x[c] * y[e];
        }
    }
    for (int s = 0; s < MOMENTS; s++) store(moments->sum[s], sum[s]);
    store(score[0], score0);
    if (scores == 2) store(score[1], score1);
}

static void pass_shared(const Rows *rows, const Motions *motion, const Rule *rule, Moments *moments, float (*score)[LANES])
{
    pass(rows, motion, rule, 1, 1, moments, score);
}

static void pass_shared_twice(const Rows *rows, const Motions *motion, const Rule *rule, Moments *moments, float (*score)[LANES])
{
    pass(rows, motion, rule, 2, 1, moments, score);
}

static void pass_separate(const Rows *rows, const Motions *motion, const Rule *rule, Moments *moments, float (*score)[LANES])
{
    pass(rows, motion, rule, 1, 0, moments, score);
}

/* The third smallest of the squared distances of each column. */
static void third_nearest(const Rows *rows, const Motions *motion, float *third)
{
    vf r[9], t[3], low[3] = {all(1e30f), all(1e30f), all(1e30f)};
    for (int k = 0; k < 9; k++) r[k] = load(motion->r[k]);
    for (int k = 0; k < 3; k++) t[k] = load(motion->t[k]);
    for (int k = 0; k < rows->n; k++) {
        vf x[3], y[3], d = pick(load_mask(rows->mask + k * LANES), apart(rows, k, r, t, 0, x, y), all(1e30f));
        for (int e = 0; e < 3; e++) {
            vf high = larger(low[e], d);
            low[e] = pick(low[e] < d, low[e], d);
            d = high;
        }
    }
    store(third, low[2]);
}

/* Moments of all rows, each column its own. */
static void gather_moments(const Rows *rows, Moments *moments)
{
    vf sum[MOMENTS] = {{0}};
    for (int k = 0; k < rows->n; k++) {
        vi mask = load_mask(rows->mask + k * LANES);
        sum[COUNT] += where(mask, all(1));
        vf y[3];
        for (int e = 0; e < 3; e++) y[e] = where(mask, load(rows->y + (size_t)(e * rows->pitch + k) * LANES));
        for (int c = 0; c < 3; c++) {
            vf x = where(mask, load(rows->x + (size_t)(c * rows->pitch + k) * LANES));
            sum[SUM_X + c] += x;
            sum[SUM_Y + c] += y[c];
            for (int e = 0; e < 3; e++) sum[SUM_XY + 3 * c + e] += x * y[e];
        }
    }
    for (int s = 0; s < MOMENTS; s++) store(moments->sum[s], sum[s]);
}

#endif

/* The inner loops of the TM-score search, pair by pair: what tm_pairs.py does in numpy, some ten times quicker.

   Compiled on first use by tm_native.py. Arrays of points are (3, n) float32, Å, one trace after the other; names and
   formulas are those of alignment.py and superposition.py. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NEWTON 30

/* Rotation (row-major 3x3) that maximises sum y . R x for m = sum x y^T, and its overlap in *best. Returns 0 where it
   is ill-determined (points on a line). Markley 1993, eq. 16; Theobald 2005 for the root. */
static int rotation(const double m[3][3], double turn[3][3], double *best)
{
    double b[3][3], square[3][3], cof[3][3], size = 0, det = 0, quartic = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) size += m[i][j] * m[i][j];
    size = sqrt(size);
    if (best) *best = 0;
    if (size < 1e-20) return 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) b[i][j] = m[j][i] / size;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            square[i][j] = b[0][i] * b[0][j] + b[1][i] * b[1][j] + b[2][i] * b[2][j];
            quartic += square[i][j] * square[i][j];
            int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
            cof[i][j] = b[i1][j1] * b[i2][j2] - b[i1][j2] * b[i2][j1];
        }
    for (int j = 0; j < 3; j++) det += b[0][j] * cof[0][j];
    double v = sqrt(3.0), constant = 2 * quartic - 1, linear = 8 * det;
    for (int k = 0; k < LONGEST_NEWTON; k++) {
        double v2 = v * v, slope = 4 * v * (v2 - 1) - linear;
        double step = slope > 1e-7 ? ((v2 - 2) * v2 - linear * v + constant) / slope : 0;
        if (step > 0) v -= step < 1 ? step : 1;
        if (step < 1e-9) break;
    }
    if (best) *best = v * size;
    double kappa = (v * v - 1) / 2, zeta = kappa * v - det;
    if (!turn) return 1;
    if (!(zeta > 1e-5)) return 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double cube = b[i][0] * square[0][j] + b[i][1] * square[1][j] + b[i][2] * square[2][j];
            turn[i][j] = ((kappa + 1) * b[i][j] + v * cof[i][j] - cube) / zeta;
        }
    return 1;
}

/* Weighted superposition of n points; motion = 9 of the rotation, 3 of the shift; untouched where ill-determined. */
static void superpose(int n, const float *x, const float *y, const float *w, int pitch, float *motion)
{
    float total = 0, cx[3] = {0, 0, 0}, cy[3] = {0, 0, 0};
    for (int k = 0; k < n; k++) total += w[k];
    if (total < 1e-12f) return;
    for (int i = 0; i < 3; i++) {
        float sx = 0, sy = 0;
        for (int k = 0; k < n; k++) {
            sx += w[k] * x[i * pitch + k];
            sy += w[k] * y[i * pitch + k];
        }
        cx[i] = sx / total;
        cy[i] = sy / total;
    }
    double m[3][3], turn[3][3];
    for (int i = 0; i < 3; i++) {
        const float *a = x + i * pitch, *b0 = y, *b1 = y + pitch, *b2 = y + 2 * pitch;
        float s0 = 0, s1 = 0, s2 = 0;
        for (int k = 0; k < n; k++) {
            float wx = w[k] * (a[k] - cx[i]);
            s0 += wx * (b0[k] - cy[0]);
            s1 += wx * (b1[k] - cy[1]);
            s2 += wx * (b2[k] - cy[2]);
        }
        m[i][0] = s0, m[i][1] = s1, m[i][2] = s2;
    }
    if (!rotation(m, turn, NULL)) return;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) motion[3 * i + j] = (float)turn[i][j];
        motion[9 + i] = (float)(cy[i] - turn[i][0] * cx[0] - turn[i][1] * cx[1] - turn[i][2] * cx[2]);
    }
}

/* values[k] = w[k] / (1 + d^2 / d0^2) and square[k] = d^2 after the motion. */
static void terms(int n, const float *x, const float *y, int pitch, const float *motion, float scale, const float *w,
                  float *values, float *square)
{
    const float *r = motion, *t = motion + 9;
    const float *x0 = x, *x1 = x + pitch, *x2 = x + 2 * pitch, *y0 = y, *y1 = y + pitch, *y2 = y + 2 * pitch;
    for (int k = 0; k < n; k++) {
        float a = r[0] * x0[k] + r[1] * x1[k] + r[2] * x2[k] + t[0] - y0[k];
        float b = r[3] * x0[k] + r[4] * x1[k] + r[5] * x2[k] + t[1] - y1[k];
        float c = r[6] * x0[k] + r[7] * x1[k] + r[8] * x2[k] + t[2] - y2[k];
        float d = a * a + b * b + c * c;
        square[k] = d;
        values[k] = w[k] / (1 + d * scale);
    }
}

/* Reweighted least squares; w holds ones (or zeros). Returns the TM sum; within reach only if reach > 0. */
static double refine(int n, const float *x, const float *y, int pitch, float *motion, int from_motion, float d0,
                     float reach, int steps, const float *w, float *values, float *square)
{
    float scale = 1 / (d0 * d0);
    if (from_motion)
        terms(n, x, y, pitch, motion, scale, w, values, square);
    else
        memcpy(values, w, n * sizeof(float));
    for (int s = 0; s < steps; s++) {
        for (int k = 0; k < n; k++) values[k] *= values[k];
        superpose(n, x, y, values, pitch, motion);
        terms(n, x, y, pitch, motion, scale, w, values, square);
    }
    float limit = reach > 0 ? reach * reach : 1e30f, sum = 0;
    for (int k = 0; k < n; k++) sum += square[k] <= limit ? values[k] : 0;
    return sum;
}

typedef struct {
    float *xs, *ys, *ones, *values, *square, *row, *value, *matched, *best, *running;
    uint8_t *walk;
    int pitch;
} Scratch;

enum { ENDS_HERE = 1, ENDS_LEFT = 2, GOES_ON = 4 };

static int make_scratch(Scratch *s, int la, int lb)
{
    int n = la > lb ? la : lb;
    s->pitch = n;
    float *block = calloc((size_t)18 * (n + 2), sizeof(float));
    s->walk = malloc((size_t)la * lb);
    if (!block || !s->walk) {
        free(block);
        free(s->walk);
        return 0;
    }
    s->xs = block, s->ys = s->xs + 3 * n, s->ones = s->ys + 3 * n, s->values = s->ones + n, s->square = s->values + n;
    s->row = s->square + n, s->value = s->row + n, s->matched = s->value + n + 2, s->best = s->matched + n,
    s->running = s->best + n;
    return 1;
}

static void drop_scratch(Scratch *s)
{
    free(s->xs);
    free(s->walk);
}

/* Dynamic programming as in alignment.py; scores by distance after the motion, and by equal states. Writes partner and
   gathers the aligned points into xs, ys; returns how many. distance = 0 aligns the states alone. */
static int align(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy,
                 const float *motion, float d0, float gap, float alike, int distance, Scratch *s, int32_t *partner)
{
    float scale = 1 / (d0 * d0), share = 1 - alike;
    float *value = s->value, *best = s->best, *row = s->row, *matched = s->matched;
    memset(value, 0, (lb + 1) * sizeof(float));
    memset(best, 0, lb * sizeof(float));
    for (int i = 0; i < la; i++) {
        if (distance) {
            const float *r = motion, *t = motion + 9;
            float p[3];
            for (int c = 0; c < 3; c++)
                p[c] = r[3 * c] * x[i] + r[3 * c + 1] * x[la + i] + r[3 * c + 2] * x[2 * la + i] + t[c];
            for (int j = 0; j < lb; j++) {
                float a = p[0] - y[j], b = p[1] - y[lb + j], c = p[2] - y[2 * lb + j];
                row[j] = share / (1 + (a * a + b * b + c * c) * scale);
            }
            if (alike > 0)
                for (int j = 0; j < lb; j++) row[j] += sx[i] == sy[j] ? alike : 0;
        } else
            for (int j = 0; j < lb; j++) row[j] = sx[i] == sy[j];
        for (int j = 0; j < lb; j++) matched[j] = row[j] + value[j];
        uint8_t *walk = s->walk + (size_t)i * lb;
        float *running = s->running + 1; /* running[-1] is 0 */
        for (int j = 0; j < lb; j++) running[j] = matched[j] > running[j - 1] ? matched[j] : running[j - 1];
        for (int j = 0; j < lb; j++) {
            float m = matched[j], r = running[j], above = best[j], top = r > above ? r : above, ended = top + gap;
            walk[j] = (uint8_t)((r > above) * ENDS_HERE | (m <= running[j - 1]) * ENDS_LEFT | (m >= ended) * GOES_ON);
            best[j] = top;
            float next = m > ended ? m : ended;
            matched[j] = next > 0 ? next : 0;
        }
        memcpy(value + 1, matched, lb * sizeof(float));
    }
    int n = 0, j = lb - 1, must = 0;
    for (int i = 0; i < la; i++) partner[i] = -1;
    for (int i = la - 1; i >= 0 && j >= 0; i--) {
        const uint8_t *walk = s->walk + (size_t)i * lb;
        if (!must) {
            if (!(walk[j] & ENDS_HERE)) continue;
            while (walk[j] & ENDS_LEFT) j--;
        }
        partner[i] = j--;
        must = i > 0 && j >= 0 && gap < 0 && walk[j - lb] & GOES_ON;
    }
    for (int i = 0; i < la; i++)
        if (partner[i] >= 0) {
            for (int c = 0; c < 3; c++) {
                s->xs[c * s->pitch + n] = x[c * la + i];
                s->ys[c * s->pitch + n] = y[c * lb + partner[i]];
            }
            n++;
        }
    for (int k = 0; k < n; k++) s->ones[k] = 1;
    return n;
}

typedef struct {
    float motion[12];
    double score;
    int32_t *partner;
} Trial;

/* One round: align, refine; into *result. */
static void round_of(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, float d0,
                     float reach, float gap, float alike, int distance, int steps, Scratch *s, const float *motion,
                     Trial *result)
{
    int n = align(x, la, y, lb, sx, sy, motion, d0, gap, alike, distance, s, result->partner);
    if (motion != result->motion) memcpy(result->motion, motion, sizeof result->motion);
    int follow = distance && alike == 0;
    result->score = refine(n, s->xs, s->ys, s->pitch, result->motion, follow, d0, reach, steps, s->ones, s->values,
                           s->square);
}

static void copy_trial(Trial *to, const Trial *from, int la)
{
    memcpy(to->motion, from->motion, sizeof to->motion);
    to->score = from->score;
    memcpy(to->partner, from->partner, la * sizeof(int32_t));
}

/* Rounds at each gap cost until nothing gets better. */
static void improve(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, float d0,
                    float reach, const float *gaps, int n_gaps, int rounds, Scratch *s, Trial *best, Trial *spare)
{
    for (int g = 0; g < n_gaps; g++)
        for (int k = 0; k < rounds; k++) {
            round_of(x, la, y, lb, sx, sy, d0, reach, gaps[g], 0, 1, 3, s, best->motion, spare);
            if (spare->score <= best->score + 1e-4) break;
            copy_trial(best, spare, la);
        }
}

/* What tm.py decides; the same numbers steer the numpy search. */
typedef struct {
    int32_t threads, pieces[2], kept[2], stride_x, stride_y, tried, thinning, heat, finalists, rounds, final_steps, n_gaps;
    float gaps[2];
    float state_gap;
} Plan;

typedef struct {
    float score;
    float motion[12];
} Start;

static int by_score(const void *a, const void *b)
{
    float x = ((const Start *)a)->score, y = ((const Start *)b)->score;
    return x > y ? -1 : x < y;
}

/* The best gapless alignments of all offsets at which half of the shorter chain overlaps; one of each hill. */
static int threading(const float *x, int la, const float *y, int lb, float d0, const Plan *plan, Scratch *s,
                     Start *starts)
{
    int shorter = la < lb ? la : lb, least = shorter / 2 > 5 ? shorter / 2 : 5, n_offsets = la + lb - 1, found = 0;
    Start *all = malloc((size_t)n_offsets * sizeof(Start));
    if (!all) return 0;
    for (int o = 0; o < n_offsets; o++) {
        int offset = o - la + 1, first = offset < 0 ? -offset : 0, last = la < lb - offset ? la : lb - offset, n = 0;
        all[o].score = -1;
        if (last - first < least) continue;
        for (int i = first; i < last; i += plan->thinning, n++)
            for (int c = 0; c < 3; c++) {
                s->xs[c * s->pitch + n] = x[c * la + i];
                s->ys[c * s->pitch + n] = y[c * lb + i + offset];
            }
        for (int k = 0; k < n; k++) s->ones[k] = 1;
        memset(all[o].motion, 0, sizeof all[o].motion);
        all[o].score = (float)refine(n, s->xs, s->ys, s->pitch, all[o].motion, 0, d0, 0, 3, s->ones, s->values,
                                     s->square);
    }
    for (int o = 0; o < n_offsets; o++) {
        float left = o ? all[o - 1].score : -1, right = o + 1 < n_offsets ? all[o + 1].score : -1;
        if (all[o].score > 0 && all[o].score >= left && all[o].score >= right) all[found++] = all[o];
    }
    qsort(all, found, sizeof(Start), by_score);
    int n = found < plan->threads ? found : plan->threads;
    memcpy(starts, all, n * sizeof(Start));
    free(all);
    return n;
}

/* Pieces that fit each other and bring most of the rest of x near to any residue of y. */
static int pieces(const float *x, int la, const float *y, int lb, float d0, const Plan *plan, int size, int kept,
                  Start *starts)
{
    size = size < la ? size : la;
    size = size < lb ? size : lb;
    int nx = (la - size) / plan->stride_x + 1, ny = (lb - size) / plan->stride_y + 1;
    int tried = plan->tried < nx * ny ? plan->tried : nx * ny;
    Start *all = malloc((size_t)nx * ny * sizeof(Start));
    float *norm = malloc((size_t)4 * (nx + ny) * sizeof(float)); /* of each piece: squared size and centre */
    if (!all || !norm) {
        free(all);
        free(norm);
        return 0;
    }
    for (int k = 0; k < nx + ny; k++) {
        const float *p = k < nx ? x + k * plan->stride_x : y + (k - nx) * plan->stride_y;
        int pitch = k < nx ? la : lb;
        norm[4 * k] = 0;
        for (int c = 0; c < 3; c++) {
            float mean = 0, square = 0;
            for (int i = 0; i < size; i++) mean += p[c * pitch + i];
            mean /= size;
            for (int i = 0; i < size; i++) {
                float d = p[c * pitch + i] - mean;
                square += d * d;
            }
            norm[4 * k] += square;
            norm[4 * k + 1 + c] = mean;
        }
    }
    double turn[3][3], m[3][3], overlap;
    for (int a = 0; a < nx; a++)
        for (int b = 0; b < ny; b++) {
            const float *mx = norm + 4 * a, *my = norm + 4 * (nx + b);
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                    const float *p = x + i * la + a * plan->stride_x, *q = y + j * lb + b * plan->stride_y;
                    float sum = 0;
                    for (int k = 0; k < size; k++) sum += p[k] * q[k];
                    m[i][j] = sum - size * mx[1 + i] * my[1 + j];
                }
            rotation(m, NULL, &overlap);
            Start *start = all + a * ny + b;
            start->score = (float)(2 * overlap) - mx[0] - my[0];
            for (int i = 0; i < 9; i++) start->motion[i] = (float)m[i / 3][i % 3];
            for (int c = 0; c < 3; c++) start->motion[9 + c] = 0;
            start->motion[9] = (float)a, start->motion[10] = (float)b;
        }
    qsort(all, nx * ny, sizeof(Start), by_score);
    float scale = 1 / (d0 * d0);
    for (int k = 0; k < tried; k++) {
        int a = (int)all[k].motion[9], b = (int)all[k].motion[10];
        const float *mx = norm + 4 * a, *my = norm + 4 * (nx + b);
        for (int i = 0; i < 9; i++) m[i / 3][i % 3] = all[k].motion[i];
        float *r = all[k].motion;
        all[k].score = 0;
        if (!rotation(m, turn, NULL)) continue;
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) r[3 * i + j] = (float)turn[i][j];
            r[9 + i] = (float)(my[1 + i] - turn[i][0] * mx[1] - turn[i][1] * mx[2] - turn[i][2] * mx[3]);
        }
        for (int i = 0; i < la; i += plan->thinning) {
            float p[3], nearest = 1e30f;
            for (int c = 0; c < 3; c++)
                p[c] = r[3 * c] * x[i] + r[3 * c + 1] * x[la + i] + r[3 * c + 2] * x[2 * la + i] + r[9 + c];
            for (int j = 0; j < lb; j++) {
                float u = p[0] - y[j], v = p[1] - y[lb + j], w = p[2] - y[2 * lb + j], d = u * u + v * v + w * w;
                nearest = d < nearest ? d : nearest;
            }
            all[k].score += 1 / (1 + nearest * scale);
        }
    }
    qsort(all, tried, sizeof(Start), by_score);
    int n = tried < kept ? tried : kept;
    memcpy(starts, all, n * sizeof(Start));
    free(all);
    free(norm);
    return n;
}

/* Moves the `keep` best of n trials to the front, those that ended alike once. */
static int keep_best(Trial *trials, int n, int keep)
{
    int kept = 0;
    for (int k = 0; k < keep && k < n; k++) {
        int best = -1;
        for (int t = kept; t < n; t++) {
            int again = 0;
            for (int e = 0; e < kept; e++) again |= fabs(trials[e].score - trials[t].score) < 1e-4;
            if (!again && (best < 0 || trials[t].score > trials[best].score)) best = t;
        }
        if (best < 0) break;
        Trial swap = trials[kept];
        trials[kept] = trials[best];
        trials[best] = swap;
        kept++;
    }
    return kept;
}

/* The search over one pair. result: TM by la with d0_x, by lb with d0_y, and the number of aligned residues.
   Returns 0 when memory is short. */
int tm_search(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, float d0,
              float reach, float d0_x, float d0_y, const Plan *plan, double *result)
{
    Scratch s;
    if (!make_scratch(&s, la, lb)) return 0;
    int most = 3 + plan->threads + plan->kept[0] + plan->kept[1], n = 0;
    Trial *trials = calloc(most, sizeof(Trial));
    int32_t *partners = malloc((size_t)most * la * sizeof(int32_t));
    Start *starts = malloc((size_t)most * sizeof(Start));
    int enough = trials && partners && starts;
    if (enough) {
        for (int t = 0; t < most; t++) trials[t].partner = partners + (size_t)t * la;
        Trial *spare = trials + most - 1, swap;
        /* secondary structure, then structure and distance half and half */
        round_of(x, la, y, lb, sx, sy, d0, reach, plan->state_gap, 0, 0, 4, &s, spare->motion, spare);
        memcpy(starts[0].motion, spare->motion, sizeof spare->motion);
        round_of(x, la, y, lb, sx, sy, d0, reach, plan->state_gap, 0.5f, 1, 3, &s, spare->motion, spare);
        memcpy(starts[1].motion, spare->motion, sizeof spare->motion);
        int n_starts = 2;
        n_starts += threading(x, la, y, lb, d0, plan, &s, starts + n_starts);
        for (int k = 0; k < 2; k++)
            if (plan->kept[k])
                n_starts += pieces(x, la, y, lb, d0, plan, plan->pieces[k], plan->kept[k], starts + n_starts);
        for (int k = 0; k < n_starts; k++)
            round_of(x, la, y, lb, sx, sy, d0, reach, plan->gaps[0], 0, 1, 3, &s, starts[k].motion, trials + n++);
        n = keep_best(trials, n, plan->heat);
        for (int k = 0; k < n; k++) {
            swap = trials[most - 1];
            improve(x, la, y, lb, sx, sy, d0, reach, plan->gaps, 1, 1, &s, trials + k, &swap);
        }
        n = keep_best(trials, n, plan->finalists);
        for (int k = 0; k < n; k++) {
            swap = trials[most - 1];
            improve(x, la, y, lb, sx, sy, d0, reach, plan->gaps, plan->n_gaps, plan->rounds, &s, trials + k, &swap);
        }
        keep_best(trials, n, 1);
        /* the final alignment: what is within reach, by each length's own scale */
        int aligned = 0;
        const float *r = trials[0].motion;
        for (int i = 0; i < la; i++) {
            int j = trials[0].partner[i];
            if (j < 0) continue;
            float d = 0;
            for (int c = 0; c < 3; c++) {
                float u = r[3 * c] * x[i] + r[3 * c + 1] * x[la + i] + r[3 * c + 2] * x[2 * la + i] + r[9 + c];
                d += (u - y[c * lb + j]) * (u - y[c * lb + j]);
            }
            if (d > reach * reach) continue;
            for (int c = 0; c < 3; c++) {
                s.xs[c * s.pitch + aligned] = x[c * la + i];
                s.ys[c * s.pitch + aligned] = y[c * lb + j];
            }
            aligned++;
        }
        for (int k = 0; k < aligned; k++) s.ones[k] = 1;
        for (int side = 0; side < 2; side++) {
            float motion[12];
            memcpy(motion, r, sizeof motion);
            double sum = refine(aligned, s.xs, s.ys, s.pitch, motion, 1, side ? d0_y : d0_x, 0, plan->final_steps,
                                s.ones, s.values, s.square);
            result[side] = sum / (side ? lb : la);
        }
        result[2] = aligned;
    }
    free(trials);
    free(partners);
    free(starts);
    drop_scratch(&s);
    return enough;
}

/* Alignments from which the search starts: gapless threading, superposed pieces, secondary structure beside distance.

   What TM-align calls initial alignments 1, 3, 4 and 5 (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005; the numbers
   are its program's). Each leaves its alignment in `scratch`. */

#include "tm_align.h"
#include "tm_score.h"

enum { MOST_NODES = 320 }; /* the full plan makes 254 at most, a prefilter before it 9 */

/* How much of the search is done; the numbers of tm_plan.py. */
typedef struct {
    int32_t threading, structure, pieces, mixed, fragment; /* starts: how many, 0 or 1; 2 of structure */
    int32_t step;        /* between the offsets of gapless threading */
    int32_t jump;        /* times TM-align's, between pieces */
    int32_t long_run, short_run; /* rounds of alignment and superposition at each gap cost, at most */
    int32_t final_stride; /* between the pieces of the final superposition */
} Plan;

/* An alignment with its score and the motion that gave it; next: where alignment after that motion leads. */
typedef struct {
    int32_t *partner;
    uint64_t key;
    double score;
    float motion[12];
    int next[2];
} Node;

typedef struct {
    int la, lb, n_nodes, best;
    float d0, d_search, reach;
    const Plan *plan;
    Table table;
    Aligned pairs;
    Rows columns; /* an alignment in each lane */
    int32_t *mask; /* that of the columns */
    int32_t *scratch;
    int32_t *pieces;         /* the alignment that pieces gave, for the jump they were taken at; 0: not yet */
    int pieces_found, pieces_jump;
    Seen *seen;
    Node *nodes;
} Search;

/* In double precision, then rounded: cbrtf and powf differ between C libraries in the last bit. */
static float scale_of(int length) { return (float)(1.24 * cbrt(length - 15.0) - 1.8); }

/* Scales of the search: d0 is enlarged by 0.8 Å, for a smoother landscape. */
static void set_scales(Search *s)
{
    int shorter = s->la < s->lb ? s->la : s->lb;
    s->d0 = (shorter <= 19 ? 0.168f : scale_of(shorter)) + 0.8f;
    s->d_search = fminf(fmaxf(s->d0, 4.5f), 8.0f);
    s->reach = (float)(1.5 * pow(shorter, 0.3) + 3.5);
}

static void gather(const Search *s, const int32_t *partner, Aligned *pairs)
{
    const Table *t = &s->table;
    int n = 0;
    for (int i = 0; i < s->la; i++)
        if (partner[i] >= 0) {
            for (int c = 0; c < 3; c++) {
                pairs->x[c * pairs->pitch + n] = t->x[PAD + c * t->pitch_x + i];
                pairs->y[c * pairs->pitch + n] = t->y[PAD + c * t->pitch_y + s->lb - 1 - partner[i]];
            }
            n++;
        }
    pairs->n = n;
}

/* The best gapless alignment of residues first_x.. of x with first_y.. of y, `least` overlapping at least: in scratch.
   Neighbouring offsets together, offset = residue of x less residue of y. Of equals the last. */
static void thread(Search *s, int first_x, int n_x, int first_y, int n_y, int least, float *best)
{
    const Table *t = &s->table;
    int step = s->plan->step, best_offset = 0, found = 0;
    float *x = (float *)s->columns.x, *y = (float *)s->columns.y;
    for (int offset = least - n_y; offset <= n_x - least; offset += LANES * step) {
        int last_offset = offset + (LANES - 1) * step;
        int low = -last_offset > 0 ? -last_offset : 0, high = n_x - offset < n_y ? n_x - offset : n_y, n = 0;
        for (int j = low; j < high; j++, n++)
            for (int l = 0; l < LANES; l++) {
                int i = j + offset + l * step, inside = i >= 0 && i < n_x && offset + l * step <= n_x - least;
                s->mask[n * LANES + l] = -inside;
                for (int c = 0; c < 3; c++) {
                    x[(c * s->columns.pitch + n) * LANES + l] = inside ? t->x[PAD + c * t->pitch_x + first_x + i] : 0;
                    y[(c * s->columns.pitch + n) * LANES + l] = t->y[PAD + c * t->pitch_y + s->lb - 1 - first_y - j];
                }
            }
        s->columns.n = n;
        vf score = quick_scores(&s->columns, s->d_search, s->d0);
        for (int l = 0; l < LANES && offset + l * step <= n_x - least; l++)
            if (score[l] >= *best) *best = score[l], best_offset = offset + l * step, found = 1;
    }
    if (!found) return;
    for (int i = 0; i < s->la; i++) s->scratch[i] = -1;
    for (int j = 0; j < n_y; j++)
        if (j + best_offset >= 0 && j + best_offset < n_x) s->scratch[first_x + j + best_offset] = first_y + j;
}

/* TM-align's, but beyond 1,000 residues as many pieces as there: with all of them time grows with the fourth power. */
static int jump_of(int length)
{
    int jump = length > 1000 ? 45 * length / 1000 : length > 250 ? 45 : length > 200 ? 35 : length > 150 ? 25 : 15;
    return jump < length / 3 ? jump : length / 3;
}

/* Puts the alignment in scratch into the column of a lane. */
static void set_column(Search *s, int lane, int32_t *alignments)
{
    memcpy(alignments + (size_t)lane * s->la, s->scratch, (size_t)s->la * sizeof(int32_t));
    gather(s, s->scratch, &s->pairs);
    float *x = (float *)s->columns.x, *y = (float *)s->columns.y;
    int n = s->pairs.n;
    for (int k = 0; k < n; k++) {
        for (int c = 0; c < 3; c++) {
            x[(c * s->columns.pitch + k) * LANES + lane] = s->pairs.x[c * s->pairs.pitch + k];
            y[(c * s->columns.pitch + k) * LANES + lane] = s->pairs.y[c * s->pairs.pitch + k];
        }
        s->mask[k * LANES + lane] = -1;
    }
    for (int k = n; k < s->la; k++) s->mask[k * LANES + lane] = 0;
    if (n > s->columns.n) s->columns.n = n;
}

/* Superpositions of pieces of both chains, the rest aligned after them: the best alignment in scratch, 0 if none. */
static int superpose_pieces(Search *s, int32_t *alignments)
{
    const Table *t = &s->table;
    int la = s->la, lb = s->lb, shorter = la < lb ? la : lb, found = 0, lane = 0;
    if (s->pieces_jump == s->plan->jump) { /* a prefilter has been here: nothing that the pieces depend on has changed */
        if (s->pieces_found) memcpy(s->scratch, s->pieces, (size_t)la * sizeof(int32_t));
        return s->pieces_found;
    }
    int jump_x = jump_of(la) * s->plan->jump, jump_y = jump_of(lb) * s->plan->jump;
    int lengths[2] = {shorter / 3 < 20 ? shorter / 3 : 20, shorter / 2 < 100 ? shorter / 2 : 100};
    int32_t *best_alignment = alignments + (size_t)LANES * la;
    float best = 0;
    for (int size = 0; size < 2; size++) {
        int n = lengths[size], n_y = (lb - n) / jump_y + 1, total = ((la - n) / jump_x + 1) * n_y;
        for (int start = 0; start < total; start += LANES) {
            Moments moments;
            Motions motion;
            memset(&motion, 0, sizeof motion);
            for (int c = 0; c < 3; c++) store(motion.r[4 * c], all(1));
            for (int l = 0; l < LANES; l++) {
                int which = start + l < total ? start + l : start;
                const float *x = t->x + PAD + which / n_y * jump_x;
                const float *y = t->y + PAD + lb - which % n_y * jump_y - n; /* backwards, as both are walked */
                float sum[MOMENTS] = {(float)n};
                for (int k = 0; k < n; k++)
                    for (int c = 0; c < 3; c++) {
                        float a = x[c * t->pitch_x + k];
                        sum[SUM_X + c] += a;
                        sum[SUM_Y + c] += y[c * t->pitch_y + n - 1 - k];
                        for (int e = 0; e < 3; e++) sum[SUM_XY + 3 * c + e] += a * y[e * t->pitch_y + n - 1 - k];
                    }
                for (int k = 0; k < MOMENTS; k++) moments.sum[k][l] = sum[k];
            }
            superpose(&moments, &motion);
            for (int l = 0; l < LANES && start + l < total; l++) {
                float one[12];
                for (int k = 0; k < 9; k++) one[k] = motion.r[k][l];
                for (int k = 0; k < 3; k++) one[9 + k] = motion.t[k][l];
                if (lane == 0) s->columns.n = 0;
                align_by_distance(&s->table, one, s->d0 + 1.5f, 0, s->scratch);
                set_column(s, lane++, alignments);
                int last = size == 1 && start + l == total - 1;
                if (lane < LANES && !last) continue;
                for (int e = lane; e < LANES; e++)
                    for (int k = 0; k < la; k++) s->mask[k * LANES + e] = 0;
                vf score = quick_scores(&s->columns, s->d_search, s->d0);
                for (int e = 0; e < lane; e++)
                    if (score[e] > best) {
                        best = score[e], found = 1;
                        memcpy(best_alignment, alignments + (size_t)e * la, (size_t)la * sizeof(int32_t));
                    }
                lane = 0;
            }
        }
    }
    if (found) memcpy(s->scratch, best_alignment, (size_t)la * sizeof(int32_t));
    if (found) memcpy(s->pieces, best_alignment, (size_t)la * sizeof(int32_t));
    s->pieces_found = found, s->pieces_jump = s->plan->jump;
    return found;
}

/* The best alignment so far, superposed whole, and aligned again by distance and secondary structure: in scratch. */
static void mix_structure(Search *s)
{
    Moments moments;
    Motions motion;
    memset(&moments, 0, sizeof moments);
    memset(&motion, 0, sizeof motion);
    for (int c = 0; c < 3; c++) store(motion.r[4 * c], all(1));
    gather(s, s->nodes[s->best].partner, &s->pairs);
    sum_up(&s->pairs);
    piece_moments(&s->pairs, 0, s->pairs.n, &moments, 0);
    superpose(&moments, &motion);
    float one[12];
    for (int k = 0; k < 9; k++) one[k] = motion.r[k][0];
    for (int k = 0; k < 3; k++) one[9 + k] = motion.t[k][0];
    align_by_both(&s->table, one, s->d0 + 1.5f, -1, 0.5f, s->scratch);
}

/* The longest stretch without a break, CA to CA within 4.25 Å; more if there is none of a third of the chain or 4. */
static void longest_fragment(const float *x, int pitch, int length, int backwards, int *first, int *count)
{
    int least = length / 3 < 4 ? length / 3 : 4;
    float cut = 4.25f;
    *count = 0, *first = 0;
    do {
        int start = 0;
        for (int i = 1; i <= length; i++) {
            float d = 0;
            for (int c = 0; c < 3 && i < length; c++) {
                int a = backwards ? length - 1 - i : i, b = backwards ? a + 1 : a - 1;
                d += (x[c * pitch + a] - x[c * pitch + b]) * (x[c * pitch + a] - x[c * pitch + b]);
            }
            if (i < length && d < cut * cut) continue;
            if (i - start > *count) *count = i - start, *first = start;
            start = i;
        }
        cut *= 1.1f;
    } while (*count < least && cut < 1e6f);
}

/* Gapless threading of the longest unbroken fragment of one chain over the other; where that is the whole of the shorter
   chain, of its middle four fifths. */
static void thread_fragment(Search *s)
{
    const Table *t = &s->table;
    int first_x, n_x, first_y, n_y, la = s->la, lb = s->lb, shorter = la < lb ? la : lb;
    longest_fragment(t->x + PAD, t->pitch_x, la, 0, &first_x, &n_x);
    longest_fragment(t->y + PAD, t->pitch_y, lb, 1, &first_y, &n_y);
    int of_x = n_x < n_y || (n_x == n_y && la <= lb), of_y = n_x > n_y || (n_x == n_y && la >= lb);
    float best = -1;
    if (of_x) {
        int first = first_x, n = n_x;
        if (n == shorter) first += (int)(shorter * 0.1), n = (int)(shorter * 0.89) - (int)(shorter * 0.1) + 1;
        int least = (int)((n < lb ? n : lb) / 2.5);
        thread(s, first, n, 0, lb, least > 3 ? least : 3, &best);
    }
    if (of_y) {
        int first = first_y, n = n_y;
        if (n == shorter) first += (int)(shorter * 0.1), n = (int)(shorter * 0.89) - (int)(shorter * 0.1) + 1;
        int least = (int)((n < la ? n : la) / 2.5);
        thread(s, 0, la, first, n, least > 3 ? least : 3, &best);
    }
}

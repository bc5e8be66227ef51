/* TM-align's search for the best superposition of two CA traces (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005),
   with the starts, the gates and the constants of its program (version 20190822), so that the scores are the same but
   for rounding. What makes it quick: eight superpositions at a time (tm_lanes.h), alignment along anti-diagonals
   (tm_align.h), and nothing twice: an alignment, or a set of pairs, that was met before leads where it led before.

   Compiled on first use by tm_native.py. Arrays of points are (3, n) float32, Å. */

#include "tm_align.h"
#include "tm_score.h"

enum { LONG_RUN = 30, SHORT_RUN = 2, MOST_NODES = 512 };

/* How much of the search is done; the numbers of tm_plan.py. */
typedef struct {
    int32_t threading, structure, pieces, mixed, fragment; /* starts: done if not 0 */
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
    int n, next[2];
} Node;

typedef struct {
    int la, lb, n_nodes, best;
    float d0, d_search, reach;
    const Plan *plan;
    Table table;
    Aligned pairs;
    Rows columns; /* eight alignments */
    int32_t *mask; /* that of the columns */
    int32_t *scratch;
    Seen *seen;
    Node *nodes;
} Search;

static float scale_of(int length) { return 1.24f * cbrtf((float)length - 15) - 1.8f; }

/* Scales of the search: d0 is enlarged by 0.8 Å, for a smoother landscape. */
static void set_scales(Search *s)
{
    int shorter = s->la < s->lb ? s->la : s->lb;
    s->d0 = (shorter <= 19 ? 0.168f : scale_of(shorter)) + 0.8f;
    s->d_search = fminf(fmaxf(s->d0, 4.5f), 8.0f);
    s->reach = 1.5f * powf((float)shorter, 0.3f) + 3.5f;
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

/* The node of an alignment, scored if it is new. */
static int visit(Search *s, const int32_t *partner)
{
    uint64_t key = 0x243F6A8885A308D3u;
    for (int i = 0; i < s->la; i++) {
        key = (key ^ (uint32_t)partner[i]) * 0x9E3779B97F4A7C15u;
        key ^= key >> 32;
    }
    for (int k = 0; k < s->n_nodes; k++)
        if (s->nodes[k].key == key) return k;
    int k = s->n_nodes < MOST_NODES ? s->n_nodes++ : MOST_NODES - 1;
    Node *node = s->nodes + k;
    memcpy(node->partner, partner, (size_t)s->la * sizeof(int32_t));
    node->key = key;
    node->next[0] = node->next[1] = -1;
    gather(s, partner, &s->pairs);
    Scoring how = {s->d_search, s->reach * s->reach, {1 / (s->d0 * s->d0), 0}, 1, 40};
    double best[2];
    memset(node->motion, 0, sizeof node->motion);
    search_score(&s->pairs, &how, s->seen, best, node->motion);
    node->score = best[0];
    node->n = s->pairs.n;
    if (s->best < 0 || node->score > s->nodes[s->best].score) s->best = k;
    return k;
}

/* Turns of alignment and superposition from a node, at gap costs -0.6 and 0 one after the other, until the score stays. */
static void improve(Search *s, int node, int first_gap, int rounds)
{
    static const float gaps[2] = {-0.6f, 0};
    double old = 0;
    for (int g = first_gap; g < 2; g++)
        for (int round = 0; round < rounds; round++) {
            if (s->nodes[node].next[g] < 0) {
                align_by_distance(&s->table, s->nodes[node].motion, s->d0, gaps[g], s->scratch);
                int next = visit(s, s->scratch);
                s->nodes[node].next[g] = next;
            }
            node = s->nodes[node].next[g];
            double score = s->nodes[node].score;
            int shorter = s->la < s->lb ? s->la : s->lb;
            if (round > 0 && fabs(old - score) < 1e-6 * shorter) break;
            old = score;
        }
}

static float best_score(const Search *s) { return s->best < 0 ? 0 : (float)s->nodes[s->best].score; }

/* Scores the alignment in scratch, and goes on from it if it is not hopeless. */
static void start_from(Search *s, float gate, int first_gap, int rounds)
{
    int node = visit(s, s->scratch);
    if (s->nodes[node].score > gate * best_score(s)) improve(s, node, first_gap, rounds);
}

/* The best gapless alignment of residues first_x.. of x with first_y.. of y, `least` overlapping at least: in scratch.
   Eight neighbouring offsets at a time, offset = residue of x less residue of y. Of equals the last. */
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

static int jump_of(int length)
{
    int jump = length > 250 ? 45 : length > 200 ? 35 : length > 150 ? 25 : 15;
    return jump < length / 3 ? jump : length / 3;
}

/* Puts the alignment in scratch into one of the eight columns. */
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

/* Scores by both lengths: the best alignment superposed once more with all pieces, freed of the pairs out of reach, and
   superposed for each length with its own d0. result: by la, by lb, pairs. */
static void finish(Search *s, double *result)
{
    Node *node = s->nodes + s->best;
    Scoring how = {s->d_search, s->reach * s->reach, {1 / (s->d0 * s->d0), 0}, 1, s->plan->final_stride};
    double best[2];
    float motion[12];
    memcpy(motion, node->motion, sizeof motion);
    gather(s, node->partner, &s->pairs);
    search_score(&s->pairs, &how, s->seen, best, motion);
    int n = 0, pitch = s->pairs.pitch;
    for (int k = 0; k < s->pairs.n; k++) {
        float d = 0, x[3], y[3];
        for (int c = 0; c < 3; c++) x[c] = s->pairs.x[c * pitch + k], y[c] = s->pairs.y[c * pitch + k];
        for (int c = 0; c < 3; c++) {
            float u = motion[3 * c] * x[0] + motion[3 * c + 1] * x[1] + motion[3 * c + 2] * x[2] + motion[9 + c] - y[c];
            d += u * u;
        }
        if (d > s->reach * s->reach) continue;
        for (int c = 0; c < 3; c++) s->pairs.x[c * pitch + n] = x[c], s->pairs.y[c * pitch + n] = y[c];
        n++;
    }
    s->pairs.n = n;
    float scale[2], bound[2];
    for (int side = 0; side < 2; side++) {
        int length = side ? s->lb : s->la;
        float d0 = length <= 21 ? 0.5f : scale_of(length);
        scale[side] = 1 / (d0 * d0);
        bound[side] = fminf(fmaxf(d0, 4.5f), 8.0f);
    }
    int together = bound[0] == bound[1]; /* the same superpositions are tried for both */
    for (int side = 0; side < 2; side++) {
        Scoring last = {bound[side], 1e30f, {scale[side], scale[1]}, 1 + together, s->plan->final_stride};
        search_score(&s->pairs, &last, s->seen, best, motion);
        result[side] = best[0] / (side ? s->lb : s->la);
        if (!together) continue;
        result[1] = best[1] / s->lb;
        break;
    }
    result[2] = n;
}

/* Room for everything, in one piece of memory; sizes are counted first, then handed out. */
static void *take(char **at, size_t size)
{
    char *taken = *at;
    *at += (size + 63) & ~(size_t)63;
    return taken;
}

static size_t lay_out(Search *s, char *block, int32_t **alignments)
{
    char *at = block;
    int la = s->la, lb = s->lb;
    Table *t = &s->table;
    t->la = la, t->lb = lb, t->width = (la + LANES - 1) / LANES * LANES;
    t->pitch_x = t->width + 3 * PAD, t->pitch_y = (lb + LANES - 1) / LANES * LANES + 3 * PAD;
    size_t f = sizeof(float);
    t->x = take(&at, 3 * t->pitch_x * f), t->moved = take(&at, 3 * t->pitch_x * f);
    t->y = take(&at, 3 * t->pitch_y * f);
    t->state_x = take(&at, t->pitch_x * f), t->state_y = take(&at, t->pitch_y * f);
    for (int k = 0; k < 3; k++) t->value[k] = take(&at, t->pitch_x * f);
    for (int k = 0; k < 2; k++) t->after[k] = take(&at, t->pitch_x * f);
    int longer = la > lb ? la : lb, rows = longer + LANES;
    s->pairs.pitch = t->pitch_x;
    s->pairs.x = take(&at, 3 * t->pitch_x * f), s->pairs.y = take(&at, 3 * t->pitch_x * f);
    s->pairs.before = take(&at, (size_t)(la + 1) * sizeof *s->pairs.before);
    s->columns.pitch = rows;
    s->columns.x = take(&at, (size_t)3 * rows * sizeof(vf)), s->columns.y = take(&at, (size_t)3 * rows * sizeof(vf));
    s->columns.mask = s->mask = take(&at, (size_t)rows * sizeof(vi));
    s->scratch = take(&at, (size_t)la * sizeof(int32_t));
    *alignments = take(&at, (size_t)(LANES + 1) * la * sizeof(int32_t));
    s->seen = take(&at, sizeof *s->seen);
    s->nodes = take(&at, MOST_NODES * sizeof(Node));
    t->from = take(&at, (size_t)((la + lb) / PER_WORD + 1) * t->width * sizeof *t->from);
    int32_t *partners = take(&at, (size_t)MOST_NODES * la * sizeof(int32_t));
    if (block)
        for (int k = 0; k < MOST_NODES; k++) s->nodes[k].partner = partners + (size_t)k * la;
    return (size_t)(at - block);
}

static void copy_in(Search *s, const float *x, const float *y, const int8_t *sx, const int8_t *sy)
{
    Table *t = &s->table;
    int la = s->la, lb = s->lb;
    memset(t->x, 0, 3 * t->pitch_x * sizeof(float));
    memset(t->moved, 0, 3 * t->pitch_x * sizeof(float));
    memset(t->y, 0, 3 * t->pitch_y * sizeof(float));
    memset(t->state_x, 0, t->pitch_x * sizeof(float));
    memset(t->state_y, 0, t->pitch_y * sizeof(float));
    for (int c = 0; c < 3; c++) {
        memcpy(t->x + PAD + c * t->pitch_x, x + (size_t)c * la, la * sizeof(float));
        for (int j = 0; j < lb; j++) t->y[PAD + c * t->pitch_y + lb - 1 - j] = y[(size_t)c * lb + j];
    }
    for (int i = 0; i < la; i++) t->state_x[PAD + i] = sx[i];
    for (int j = 0; j < lb; j++) t->state_y[PAD + lb - 1 - j] = sy[j];
}

/* The search over one pair, the shorter trace first. result: TM by la, TM by lb, and the number of aligned residues.
   Returns 0 when memory is short. */
int tm_search(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, const Plan *plan,
              double *result)
{
    Search s;
    memset(&s, 0, sizeof s);
    s.la = la, s.lb = lb, s.best = -1, s.plan = plan;
    int32_t *alignments;
    size_t size = lay_out(&s, NULL, &alignments);
    char *memory = malloc(size + 64);
    if (!memory) return 0;
    lay_out(&s, memory + (64 - (uintptr_t)memory % 64) % 64, &alignments);
    memset(s.seen, 0, sizeof *s.seen);
    copy_in(&s, x, y, sx, sy);
    set_scales(&s);
    int shorter = la < lb ? la : lb;
    float gate = shorter <= 40 ? 0.1f : 0.4f, best = -1;
    if (plan->threading) {
        thread(&s, 0, la, 0, lb, shorter / 2 > 5 ? shorter / 2 : 5, &best);
        start_from(&s, 0, 0, plan->long_run);
    }
    if (plan->structure) {
        align_by_states(&s.table, -1, s.scratch);
        start_from(&s, 0.2f, 0, plan->long_run);
    }
    if (plan->pieces && superpose_pieces(&s, alignments)) start_from(&s, gate, 0, plan->short_run);
    if (plan->mixed && s.best >= 0) {
        mix_structure(&s);
        start_from(&s, gate, 0, plan->long_run);
    }
    if (plan->fragment) {
        thread_fragment(&s);
        start_from(&s, gate, 1, plan->short_run);
    }
    finish(&s, result);
    free(memory);
    return 1;
}

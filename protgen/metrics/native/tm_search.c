/* TM-align's search for the best superposition of two CA traces (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005),
   with the starts, the gates and the constants of its program, so that the scores are the same but
   for rounding. What makes it quick: several superpositions at a time (tm_lanes.h), alignment along anti-diagonals
   (tm_align.h), and nothing twice: an alignment, or a set of pairs, that was met before leads where it led before.

   Compiled by tm_library.py, once for each kind of processor. Arrays of points are (3, n) float32, Å. */

#include "tm_starts.h"

/* The best of the nodes met since the starts began. Those of a prefilter are known, and count when they are met again. */
static void keep_best(Search *s, int node)
{
    if (s->best < 0 || s->nodes[node].score > s->nodes[s->best].score) s->best = node;
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
        if (s->nodes[k].key == key) {
            keep_best(s, k);
            return k;
        }
    if (s->n_nodes == MOST_NODES) return s->best;
    int k = s->n_nodes++;
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
    keep_best(s, k);
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
            keep_best(s, node);
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
    s->pieces = take(&at, (size_t)la * sizeof(int32_t));
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

/* All starts of a plan. What was scored before, by another plan, is not scored again. */
static void run_starts(Search *s, const Plan *plan, int32_t *alignments)
{
    int shorter = s->la < s->lb ? s->la : s->lb;
    float gate = shorter <= 40 ? 0.1f : 0.4f, best = -1;
    s->plan = plan, s->best = -1;
    if (plan->threading) {
        thread(s, 0, s->la, 0, s->lb, shorter / 2 > 5 ? shorter / 2 : 5, &best);
        start_from(s, 0, 0, plan->long_run);
    }
    /* Whole scores tie often. TM-align takes one way, which depends on the order of the chains; both ways do not. */
    for (int ties = 0; ties < plan->structure; ties++) {
        align_by_states(&s->table, -1, ties, s->scratch);
        start_from(s, 0.2f, 0, plan->long_run);
    }
    if (plan->pieces && superpose_pieces(s, alignments)) start_from(s, gate, 0, plan->short_run);
    if (plan->mixed && s->best >= 0) {
        mix_structure(s);
        start_from(s, gate, 0, plan->long_run);
    }
    if (plan->fragment) {
        thread_fragment(s);
        start_from(s, gate, 1, plan->short_run);
    }
}

/* The search over one pair, the shorter trace first. With a prefilter, a pair whose larger score by it is below `low`
   keeps the prefilter's scores; any other gets those that it has without one, to the bit.
   result: TM by la, TM by lb, the number of aligned residues, 1 if the whole plan was searched.
   Returns 0 when memory is short. */
int TM_SEARCH(const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, const Plan *prefilter,
              double low, const Plan *plan, double *result)
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
    result[3] = 1;
    if (prefilter) {
        run_starts(&s, prefilter, alignments);
        finish(&s, result);
        result[3] = (result[0] > result[1] ? result[0] : result[1]) >= low;
    }
    if (result[3]) {
        run_starts(&s, plan, alignments);
        finish(&s, result);
    }
    free(memory);
    return 1;
}

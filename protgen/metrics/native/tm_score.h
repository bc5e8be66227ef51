/* Scores of a given alignment: TM-align's search over superpositions, and its quick estimate.

   Zhang & Skolnick, Proteins 57, 702 (2004): superpose a piece of the alignment, then by turns the pairs that come within
   a distance, until they stay the same; the best score on the way counts. Steps and cuts are those of TM-align
   (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005). */

#include "tm_lanes.h"

enum { PIECE_LENGTHS = 6, SHORTEST_PIECE = 4, TURNS = 20, SEEN = 2048 };

/* The pairs of an alignment, and their moments up to each. */
typedef struct {
    float *x, *y; /* (3, pitch) */
    double (*before)[MOMENTS];
    int n, pitch;
} Aligned;

/* Sets of pairs that have been superposed in a search: from one of them on, all goes as it went before. A set is known
   by its moments, which are the same to the bit whenever it is gathered. */
typedef struct {
    uint64_t key[SEEN];
    uint32_t search[SEEN], current;
    int n;
} Seen;

static int is_new(Seen *seen, uint64_t key)
{
    uint32_t at = (uint32_t)(key >> 40) % SEEN;
    while (seen->search[at] == seen->current) {
        if (seen->key[at] == key) return 0;
        at = (at + 1) % SEEN;
    }
    if (seen->n < SEEN / 2) {
        seen->n++;
        seen->key[at] = key;
        seen->search[at] = seen->current;
    }
    return 1;
}

static uint64_t key_of(const Moments *moments, int lane)
{
    uint64_t key = 0;
    static const int taken[4] = {COUNT, SUM_XY, SUM_XY + 4, SUM_XY + 8};
    for (int k = 0; k < 4; k++) {
        float value = moments->sum[taken[k]][lane];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        key = (key ^ bits) * 0x9E3779B97F4A7C15u;
        key ^= key >> 29;
    }
    return key;
}

static void sum_up(Aligned *pairs)
{
    double total[MOMENTS] = {0};
    memcpy(pairs->before[0], total, sizeof total);
    for (int k = 0; k < pairs->n; k++) {
        double x[3], y[3];
        for (int c = 0; c < 3; c++) x[c] = pairs->x[c * pairs->pitch + k], y[c] = pairs->y[c * pairs->pitch + k];
        total[COUNT] += 1;
        for (int c = 0; c < 3; c++) {
            total[SUM_X + c] += x[c];
            total[SUM_Y + c] += y[c];
            for (int e = 0; e < 3; e++) total[SUM_XY + 3 * c + e] += x[c] * y[e];
        }
        memcpy(pairs->before[k + 1], total, sizeof total);
    }
}

static void piece_moments(const Aligned *pairs, int first, int length, Moments *moments, int lane)
{
    for (int s = 0; s < MOMENTS; s++)
        moments->sum[s][lane] = (float)(pairs->before[first + length][s] - pairs->before[first][s]);
}

/* The pieces one after the other: every `stride`, and the last; of all pairs, half of them, a quarter, ... and 4. */
typedef struct {
    int n, stride, length, halvings, first, done;
} Pieces;

static void set_length(Pieces *pieces)
{
    pieces->length = pieces->halvings < PIECE_LENGTHS - 1 ? pieces->n >> pieces->halvings : 0;
    int least = pieces->n < SHORTEST_PIECE ? pieces->n : SHORTEST_PIECE;
    if (pieces->length < least) pieces->length = least;
    pieces->first = 0;
}

static void next_piece(Pieces *pieces)
{
    int last = pieces->n - pieces->length;
    if (pieces->first < last) {
        pieces->first += pieces->stride;
        if (pieces->first > last) pieces->first = last;
    } else if (pieces->length <= SHORTEST_PIECE || pieces->halvings == PIECE_LENGTHS - 1)
        pieces->done = 1;
    else {
        pieces->halvings++;
        set_length(pieces);
    }
}

/* How a search scores: d_search bounds the pairs that are superposed, `limit` (squared) those that count, and
   scale[0..scores-1] = 1 / d0^2. */
typedef struct {
    float d_search, limit, scale[2];
    int scores, stride;
} Scoring;

/* Best scores over superpositions of the alignment, not normalised, and the motion of the first. */
static void search_score(Aligned *pairs, const Scoring *how, Seen *seen, double *best, float *best_motion)
{
    const Rows rows = {pairs->x, pairs->y, NULL, pairs->n, pairs->pitch};
    best[0] = best[1] = -1;
    if (pairs->n == 0) return;
    sum_up(pairs);
    seen->current++, seen->n = 0;
    Pieces pieces = {pairs->n, how->stride, 0, 0, 0, 0};
    set_length(&pieces);
    Moments moments, next;
    Motions motion;
    memset(&moments, 0, sizeof moments);
    memset(&motion, 0, sizeof motion);
    for (int c = 0; c < 3; c++) store(motion.r[4 * c], all(1));
    int turn[LANES], busy = 0; /* -1: no work left for the lane */
    for (int l = 0; l < LANES; l++) {
        turn[l] = pieces.done ? -1 : 0;
        if (pieces.done) continue;
        piece_moments(pairs, pieces.first, pieces.length, &moments, l);
        next_piece(&pieces);
        busy++;
    }
    while (busy) {
        superpose(&moments, &motion);
        float reach[LANES];
        Rule rule = {{0}, how->limit, {how->scale[0], how->scale[1]}};
        for (int l = 0; l < LANES; l++) {
            reach[l] = how->d_search + (turn[l] == 0 ? -1.0f : 1.0f);
            rule.cut[l] = reach[l] * reach[l];
        }
        float score[2][LANES];
        for (int wider = 1;; wider++) { /* where fewer than three pairs are near, the bound is relaxed */
            if (how->scores == 2)
                pass_shared_twice(&rows, &motion, &rule, &next, score);
            else
                pass_shared(&rows, &motion, &rule, &next, score);
            int again = 0;
            for (int l = 0; l < LANES; l++)
                if (turn[l] >= 0 && next.sum[COUNT][l] < 3 && pairs->n > 3) {
                    float wide = reach[l] + 0.5f * wider;
                    rule.cut[l] = wide * wide;
                    again = 1;
                }
            if (!again) break;
        }
        moments = next;
        for (int l = 0; l < LANES; l++) {
            if (turn[l] < 0) continue;
            if (score[0][l] > best[0]) {
                best[0] = score[0][l];
                for (int k = 0; k < 9; k++) best_motion[k] = motion.r[k][l];
                for (int k = 0; k < 3; k++) best_motion[9 + k] = motion.t[k][l];
            }
            if (how->scores == 2 && score[1][l] > best[1]) best[1] = score[1][l];
            if (turn[l]++ < TURNS && is_new(seen, key_of(&moments, l))) continue;
            if (pieces.done) {
                turn[l] = -1;
                busy--;
                continue;
            }
            piece_moments(pairs, pieces.first, pieces.length, &moments, l);
            next_piece(&pieces);
            turn[l] = 0;
        }
    }
}

/* Estimates of an alignment in each lane: superposed whole, then twice by the pairs that are near. */
static vf quick_scores(const Rows *rows, float d_search, float d0)
{
    Moments moments;
    Motions motion;
    memset(&motion, 0, sizeof motion);
    for (int c = 0; c < 3; c++) store(motion.r[4 * c], all(1));
    gather_moments(rows, &moments);
    const vi enough = load(moments.sum[COUNT]) > 3;
    vf best = all(-1);
    for (int turn = 0; turn < 3; turn++) {
        Rule rule = {{0}, 1e30f, {1 / (d0 * d0), 0}};
        float score[1][LANES];
        store(rule.cut, all(d_search * d_search + (float)turn));
        superpose(&moments, &motion);
        pass_separate(rows, &motion, &rule, &moments, score);
        vi few = (load(moments.sum[COUNT]) < 3) & enough;
        if (turn < 2 && any(few)) { /* the bound is relaxed by steps of 0.5 Å^2 until three pairs are near */
            float third[LANES];
            third_nearest(rows, &motion, third);
            for (int l = 0; l < LANES; l++)
                if (few[l]) rule.cut[l] += 0.5f * ceilf(2 * (third[l] - rule.cut[l]) + 1e-3f);
            pass_separate(rows, &motion, &rule, &moments, score);
        }
        best = larger(best, load(score[0]));
    }
    return best;
}

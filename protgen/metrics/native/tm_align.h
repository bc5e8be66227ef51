/* Alignment in sequence order by dynamic programming, along anti-diagonals: their cells do not depend on each other.

   The recursion is TM-align's (Zhang & Skolnick, Nucleic Acids Res. 33, 2302, 2005; NWDP_TM of its program): a cell is
   aligned if that is no worse than a gap, and a gap costs once, where it follows an aligned cell. Since each cell keeps
   one of its two states, this is not always the best alignment; scores that are to agree with TM-align's need the same
   one. Gaps at the ends are free. */

#include "tm_lanes.h"

enum { GAP_IN_X = 1, ALIGNED = 2, BITS = 2, PER_WORD = 16, PAD = LANES };

/* The traces, padded on both sides, y backwards; the rows of work; and for each cell whence it came. */
typedef struct {
    int la, lb, width; /* width: la to the next multiple of LANES */
    float *x, *moved, *y, *state_x, *state_y; /* coordinate c of residue k of x at PAD + k + c * pitch_x */
    float *value[3], *after[2]; /* of the last diagonals: score, and score less the gap that would follow */
    uint32_t *from; /* two bits for a cell, those of 16 diagonals in a word */
    int pitch_x, pitch_y;
} Table;

/* What a match is worth: by_distance 1 / (1 + d^2 / d0^2), and `alike` where the states are equal. Of two gaps as good the
   one in x is taken, or with `ties` the one in y. */
INLINE void fill(Table *table, float scale, float gap_cost, const int by_distance, float alike_worth,
                 const int by_state, const int with_gap, const int ties)
{
    const int la = table->la, lb = table->lb, px = table->pitch_x, py = table->pitch_y;
    const vf factor = all(scale), gap = all(gap_cost), worth = all(alike_worth), one = all(1);
    float *value = table->value[0] + PAD, *value1 = table->value[1] + PAD, *value2 = table->value[2] + PAD;
    float *after = table->after[0] + PAD, *after1 = table->after[1] + PAD;
    for (int k = 0; k < 3; k++) memset(table->value[k], 0, (size_t)px * sizeof(float));
    for (int k = 0; k < 2; k++) memset(table->after[k], 0, (size_t)px * sizeof(float));
    for (int k = 0; k < la + lb - 1; k++) {
        int low = k - lb + 1 > 0 ? k - lb + 1 : 0, high = k < la - 1 ? k : la - 1;
        uint32_t *from = table->from + (size_t)(k / PER_WORD) * table->width;
        if (k % PER_WORD == 0) memset(from, 0, (size_t)table->width * sizeof *from);
        const int shift = k % PER_WORD * BITS;
        const vi aligned_bit = all_int((int32_t)((uint32_t)ALIGNED << shift)), gap_bit = all_int(GAP_IN_X << shift);
        const float *moved = table->moved + PAD, *y = table->y + PAD + lb - 1 - k;
        const float *state_x = table->state_x + PAD, *state_y = table->state_y + PAD + lb - 1 - k;
        for (int i = low & ~(LANES - 1); i <= high; i += LANES) {
            vf match = {0};
            if (by_distance) {
                vf a = load(moved + i) - load(y + i), b = load(moved + px + i) - load(y + py + i);
                vf c = load(moved + 2 * px + i) - load(y + 2 * py + i);
                match = one / (one + (a * a + b * b + c * c) * factor);
            }
            if (by_state) match += where(load(state_x + i) == load(state_y + i), worth);
            vf aligned = load(value2 + i - 1) + match, gap_x = load(after1 + i), gap_y = load(after1 + i - 1);
            vi in_x = ties ? gap_x > gap_y : gap_x >= gap_y;
            vf open = larger(gap_x, gap_y);
            vi is_aligned = aligned >= open;
            vf best = larger(aligned, open);
            *(vf_loose *)(value + i) = best;
            *(vf_loose *)(after + i) = with_gap ? best + where(is_aligned, gap) : best;
            vi_loose *word = (vi_loose *)(from + i);
            *word |= (is_aligned & aligned_bit) | (in_x & gap_bit);
        }
        /* the cell before the first column, which the next diagonals look at */
        value[k + 1 < la ? k + 1 : la] = 0;
        after[k + 1 < la ? k + 1 : la] = 0;
        float *spare = value2;
        value2 = value1, value1 = value, value = spare;
        spare = after1, after1 = after, after = spare;
    }
}

static void move(Table *table, const float *motion)
{
    const float *x = table->x + PAD, *r = motion, *t = motion + 9;
    const int pitch = table->pitch_x, la = table->la;
    for (int c = 0; c < 3; c++) {
        float *moved = table->moved + PAD + c * pitch;
        for (int i = 0; i < la; i++)
            moved[i] = r[3 * c] * x[i] + r[3 * c + 1] * x[pitch + i] + r[3 * c + 2] * x[2 * pitch + i] + t[c];
    }
}

/* partner[i] = the residue of y aligned with residue i of x, or -1; returns how many are. */
static int walk_back(const Table *table, int32_t *partner)
{
    int i = table->la - 1, j = table->lb - 1, n = 0;
    for (int k = 0; k < table->la; k++) partner[k] = -1;
    while (i >= 0 && j >= 0) {
        uint32_t from = table->from[(size_t)((i + j) / PER_WORD) * table->width + i] >> (i + j) % PER_WORD * BITS;
        if (from & ALIGNED) {
            partner[i--] = j--;
            n++;
        } else if (from & GAP_IN_X)
            j--;
        else
            i--;
    }
    return n;
}

static int align_by_distance(Table *table, const float *motion, float d0, float gap, int32_t *partner)
{
    move(table, motion);
    if (gap < 0)
        fill(table, 1 / (d0 * d0), gap, 1, 0, 0, 1, 0);
    else
        fill(table, 1 / (d0 * d0), 0, 1, 0, 0, 0, 0);
    return walk_back(table, partner);
}

static int align_by_states(Table *table, float gap, int ties, int32_t *partner)
{
    if (ties)
        fill(table, 1, gap, 0, 1, 1, 1, 1);
    else
        fill(table, 1, gap, 0, 1, 1, 1, 0);
    return walk_back(table, partner);
}

static int align_by_both(Table *table, const float *motion, float d0, float gap, float alike, int32_t *partner)
{
    move(table, motion);
    fill(table, 1 / (d0 * d0), gap, 1, alike, 1, 1, 0);
    return walk_back(table, partner);
}

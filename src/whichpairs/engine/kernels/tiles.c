/* A pass over one block of prompts in bf16, on a processor with matrix tiles (AMX) and AVX-512.

   For each prompt: h = phi L, g = h h', s_ij = g_ij - g_ii / 2 - g_jj / 2 = -|h_i - h_j|^2 / 2, the
   least s, and every pair that may reach the prompt's floor (whichpairs.design.kernel has the bound).
   Features are read once, as stored; about 256 rows at a time stay in the caches.

   A tile is 16 rows of 64 bytes. Rows lie in tiles of 16 by blocks of 32 columns. The right factor of
   a product of tiles holds pairs of rows side by side: L comes so; h' is a transpose of 4-byte words.
   Prompts of at most 16 rows share a tile where they fit; larger ones begin at a tile of their own. */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROWS 16         /* of a tile */
#define COLUMNS 32      /* bf16 numbers in a row of a tile */
#define TILE 1024       /* bytes */
#define SLAB 16         /* tiles of rows at a time */
#define GROUP 4         /* products of tiles under way together */
#define SLACK 0x1p-20f  /* sixteen roundings to float32 */

/* design.kernel.Error: how far s may be off. */
typedef struct {
    double root_lost, stored, weighted, flushed, gram, gram_lost, map, map_lost, shift;
} Error;

typedef struct {
    const void *phi;       /* (rows, d), C order */
    int64_t half;          /* phi is float16, else float32 */
    int64_t d;
    const int64_t *starts; /* (prompts + 1) */
    int64_t prompts;
    const double *floors;  /* (prompts) */
    const float *costs;    /* (rows), or NULL */
    const void *factor;    /* L in tiles: (right / 32, 2, left / 32) tiles */
    int64_t left, right;   /* its size, multiples of 32 */
    const float *weights;  /* |L_k|, of a row of L, (left) */
    const Error *error;
} Block;

typedef struct {
    double longest;  /* |phi|: known, or 0 and then found here */
    double weighted; /* largest root of sum_k (phi_k |L_k|)^2 seen */
    double square;   /* largest |h|^2 seen */
    float *least;   /* (prompts): the least s, or, with costs, -1/2 of the largest bound on score / cost */
    int64_t *i, *j; /* the pairs let through, as rows of the block */
    int64_t room;   /* for so many; more are counted, not written */
    double floor, root; /* the last floor, and the root of what a score must show for it */
} Found;

typedef struct {
    int64_t first, size, place, product; /* row in block, rows, row in slab, its first product */
    int64_t prompt;
    double weighted;
} Piece;

typedef struct {
    char *phi, *h, *turned;  /* tiles: (SLAB or more, columns / 32) */
    float *products;         /* (products, 16, 16) */
    int64_t *a, *b;          /* which tiles each product is of */
    Piece *pieces;
    int64_t rows, tiles, count, made;
} Slab;

/* Asks the kernel for the tiles' registers: 0 where they may be used. */
long whichpairs_tiles(void) { return syscall(SYS_arch_prctl, 0x1023, 18); }

static const struct {
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} SHAPES __attribute__((aligned(64))) = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static inline __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1; }

static inline __attribute__((always_inline)) __m512 load(const char *at, int64_t n, int half, __mmask16 some) {
    if (half) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, (const uint16_t *)at + n));
    return _mm512_maskz_loadu_ps(some, (const float *)at + n);
}

/* Rows into their places in tiles; the largest weighted length squared, and, where that is asked for, the
   largest |phi|^2. */
static inline __attribute__((always_inline)) float take(
    const Block *at, const char *from, int64_t rows, char *tiles, int64_t where, int half, float *measured) {
    const int64_t d = at->d, wide = at->left / COLUMNS;
    const float *weights = at->weights;
    __m512 largest = _mm512_setzero_ps(), longest = largest;
    for (int64_t r = 0; r < rows; r++, from += d * (half ? 2 : 4), where++) {
        char *to = tiles + where / ROWS * wide * TILE + where % ROWS * 64;
        __m512 sum = _mm512_setzero_ps(), plain = sum;
        for (int64_t c = 0; c < d; c += COLUMNS, to += TILE) {
            const int whole = c + COLUMNS <= d;
            const __m512 x = load(from, c, half, whole ? 0xffff : first(d - c));
            const __m512 y = load(from, c + 16, half, whole ? 0xffff : first(d - c - 16));
            const __m512 v = _mm512_mul_ps(x, _mm512_loadu_ps(weights + c));
            const __m512 w = _mm512_mul_ps(y, _mm512_loadu_ps(weights + c + 16));
            _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(y, x));
            sum = _mm512_fmadd_ps(v, v, _mm512_fmadd_ps(w, w, sum));
            if (measured) plain = _mm512_fmadd_ps(x, x, _mm512_fmadd_ps(y, y, plain));
        }
        largest = _mm512_max_ps(_mm512_set1_ps(_mm512_reduce_add_ps(sum)), largest);
        if (measured) longest = _mm512_max_ps(_mm512_set1_ps(_mm512_reduce_add_ps(plain)), longest);
    }
    if (measured) *measured = _mm512_cvtss_f32(longest);
    return _mm512_cvtss_f32(largest);
}

/* 16 x 16 words of 4 bytes, transposed. */
static inline void turn(__m512i r[16], char *to) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        _mm512_store_si512(to + 64 * i, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
        _mm512_store_si512(to + 64 * (i + 8), _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    }
}

/* 16 x 32 numbers to bf16, as a left factor and, transposed, as a right one. */
static inline void round_off(const float *from, char *h, char *turned) {
    __m512i r[16];
    for (int i = 0; i < 16; i++) {
        const __m512 x = _mm512_load_ps(from + 32 * i), y = _mm512_load_ps(from + 32 * i + 16);
        r[i] = (__m512i)_mm512_cvtne2ps_pbh(y, x);
        _mm512_store_si512(h + 64 * i, r[i]);
    }
    turn(r, turned);
}

/* Loads of tiles do not tell the compiler what they read: all stores before come first. */
#define ORDER __asm__ volatile("" ::: "memory")
#define CLEAR _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3)

/* h = phi L for all tiles of rows, two of them by two of columns at a time, each rounded off while the
   next two are multiplied. */
static void map(const Block *at, Slab *slab) {
    float c[2][ROWS * COLUMNS] __attribute__((aligned(64)));
    const int64_t left = at->left / COLUMNS, right = at->right / COLUMNS;
    int64_t waiting = -1;
    ORDER;
    for (int64_t n = 0; n < right; n++) {
        const char *l = (const char *)at->factor + n * 2 * left * TILE;
        for (int64_t t = 0; t < slab->tiles; t += 2) {
            const char *p = slab->phi + t * left * TILE, *q = p + left * TILE;
            CLEAR;
            for (int64_t k = 0; k < left * TILE; k += TILE) {
                _tile_loadd(4, p + k, 64);
                _tile_loadd(6, l + k, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_loadd(7, l + left * TILE + k, 64);
                _tile_dpbf16ps(1, 4, 7);
                _tile_loadd(5, q + k, 64);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            if (waiting >= 0)
                for (int64_t u = 0, to = waiting; u < 2; u++, to += right * TILE)
                    round_off(c[u], slab->h + to, slab->turned + to);
            _tile_stored(0, c[0], 128);
            _tile_stored(1, c[0] + 16, 128);
            _tile_stored(2, c[1], 128);
            _tile_stored(3, c[1] + 16, 128);
            waiting = (t * right + n) * TILE;
        }
    }
    for (int64_t u = 0, to = waiting; u < 2; u++, to += right * TILE)
        round_off(c[u], slab->h + to, slab->turned + to);
}

/* The products h_a h_b' that pieces need, and up to three that none does. */
static void multiply(const Block *at, Slab *slab) {
    const int64_t right = at->right / COLUMNS * TILE;
    ORDER;
#define STEP(acc, u, x, y)                               \
    _tile_loadd(x, slab->h + a[u] * right + k, 64);      \
    _tile_loadd(y, slab->turned + b[u] * right + k, 64); \
    _tile_dpbf16ps(acc, x, y)
    for (int64_t done = 0; done < slab->made; done += GROUP) {
        const int64_t *a = slab->a + done, *b = slab->b + done;
        float *to = slab->products + done * 256;
        CLEAR;
        for (int64_t k = 0; k < right; k += TILE) {
            STEP(0, 0, 4, 5);
            STEP(1, 1, 6, 7);
            STEP(2, 2, 4, 5);
            STEP(3, 3, 6, 7);
        }
        _tile_stored(0, to, 64);
        _tile_stored(1, to + 256, 64);
        _tile_stored(2, to + 512, 64);
        _tile_stored(3, to + 768, 64);
    }
#undef STEP
}

/* What is asked of a pair. */
typedef struct {
    float most;          /* s above this cannot reach the floor */
    float gram, shift;   /* with costs: sqrt(score) <= sqrt(-2 s + gram) + shift */
} Asked;

static inline float above(double x) { return (float)x * (1.0f + SLACK) + 0x1p-126f; }

/* `Rounding`, and what it makes of a floor whose root is known, for |phi| <= longest, weighted lengths
   <= weighted, |h|^2 <= square. */
static inline Asked ask(const Error *e, double longest, double weighted, double square, double root) {
    const double reach_phi = longest + e->root_lost, reach_h = sqrt(square) + e->root_lost;
    const double stored = e->weighted * (weighted + e->root_lost) + e->flushed + e->stored * reach_h;
    const double reach = reach_h + 2.0 * stored;
    const double gram = e->gram * reach * reach + e->gram_lost;
    const double map_error = e->map * reach_phi + e->map_lost * (2.0 + reach_phi);
    const double shift = 2.0 * map_error + e->shift * stored;
    const double rest = root > shift ? root - shift : 0.0, most = -0.5 * (rest * rest - gram);
    return (Asked){(float)(most + fabs(most) * SLACK + 0x1p-126), above(gram), above(shift)};
}

/* -1/2 of the most that score / cost may be where s is seen. */
static inline __m512 ratio(__m512 s, __m512 cost, Asked asked) {
    const __m512 tiny = _mm512_set1_ps(0x1p-126f), seen = _mm512_mul_ps(s, _mm512_set1_ps(-2.0f));
    const __m512 square = _mm512_add_ps(_mm512_max_ps(_mm512_setzero_ps(), seen), _mm512_set1_ps(asked.gram));
    const __m512 root = _mm512_add_ps(_mm512_sqrt_ps(square), _mm512_set1_ps(asked.shift));
    const __m512 most = _mm512_fmadd_ps(_mm512_mul_ps(root, root), _mm512_set1_ps(1.0f + SLACK), tiny);
    return _mm512_mul_ps(_mm512_add_ps(_mm512_div_ps(most, cost), tiny), _mm512_set1_ps(-0.5f));
}

/* All pairs of a piece, sixteen at a time; those that may reach the floor are kept, if there are any.
   Whether there are costs is known where this is compiled in. */
static inline __attribute__((always_inline)) void search(
    const Block *at, const Slab *slab, const Piece *piece, Found *found, int64_t *count, const float *costs) {
    const int64_t offset = piece->place % ROWS, end = offset + piece->size, tiles = (end + ROWS - 1) / ROWS;
    const __m512i diagonal = _mm512_setr_epi32(
        0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255);
    const float *products = slab->products + piece->product * 256;
    const float *c = costs ? costs + piece->first - offset : NULL;
    float halves[tiles * ROWS] __attribute__((aligned(64)));
    __m512 longest = _mm512_setzero_ps();
    for (int64_t a = 0, p = 0; a < tiles; p += tiles - a++) {
        const __m512 n = _mm512_i32gather_ps(diagonal, products + p * 256, 4);
        const __mmask16 mine = first(end - a * ROWS) & ~first(a ? 0 : offset);
        longest = _mm512_mask_max_ps(longest, mine, n, longest);
        _mm512_store_ps(halves + a * ROWS, _mm512_mul_ps(n, _mm512_set1_ps(0.5f)));
    }
    const double square = _mm512_reduce_max_ps(longest), floor = at->floors[piece->prompt];
    if (square > found->square) found->square = square;
    if (floor != found->floor) {
        found->floor = floor;
        found->root = floor > 0.0 ? sqrt(floor) : 0.0;
    }
    const Asked asked = ask(at->error, found->longest, piece->weighted, square, found->root);
    const float most = costs ? (float)(-0.5 * floor * (1.0 - SLACK)) : asked.most;
    __m512 low = _mm512_setzero_ps(), sum = low;
    for (int keeping = 0; keeping < 2; keeping++) {
        for (int64_t a = 0, p = 0; a < tiles; p += tiles - a++) {
            const int64_t stop = end - a * ROWS < ROWS ? end - a * ROWS : ROWS;
            for (int64_t r = a ? 0 : offset; r < stop; r++) {
                const int64_t i = a * ROWS + r;
                const __m512 own = _mm512_set1_ps(halves[i]);
                const float *g = products + p * 256 + r * ROWS;
                for (int64_t b = a; b < tiles; b++, g += 256) {
                    const __mmask16 mine = b + 1 < tiles ? 0xffff : first(end - b * ROWS);
                    __m512 s = _mm512_sub_ps(_mm512_sub_ps(_mm512_load_ps(g), _mm512_load_ps(halves + b * ROWS)), own);
                    if (costs) {
                        const __m512 other = _mm512_maskz_loadu_ps(mine, c + b * ROWS);
                        s = ratio(s, _mm512_add_ps(other, _mm512_set1_ps(c[i])), asked);
                    }
                    if (!keeping) { /* the diagonal and what is below it do no harm */
                        const __mmask16 before = b ? mine : mine & ~first(offset);
                        low = _mm512_mask_min_ps(low, before, s, low);
                        sum = _mm512_mask_add_ps(sum, before, s, sum);
                        continue;
                    }
                    const __mmask16 after = b > a ? mine : mine & ~first(r + 1);
                    __mmask16 close = _mm512_mask_cmp_ps_mask(after, s, _mm512_set1_ps(most), _CMP_NGT_UQ);
                    for (; close; close &= close - 1, ++*count) {
                        if (*count >= found->room) continue;
                        found->i[*count] = piece->first + i - offset;
                        found->j[*count] = piece->first + b * ROWS + __builtin_ctz(close) - offset;
                    }
                }
            }
        }
        if (keeping) break;
        const int unknown = _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q) != 0;
        const float least = _mm512_reduce_min_ps(low);
        found->least[piece->prompt] = unknown ? NAN : least;
        if (!unknown && least > most) break;
    }
}

static void finish(const Block *at, Slab *slab, Found *found, int64_t *count) {
    slab->tiles = (slab->rows + ROWS - 1) / ROWS;
    map(at, slab);
    multiply(at, slab);
    for (int64_t p = 0; p < slab->count; p++) {
        if (at->costs) search(at, slab, slab->pieces + p, found, count, at->costs);
        else search(at, slab, slab->pieces + p, found, count, NULL);
    }
    slab->rows = slab->count = slab->made = 0;
}

/* A prompt's rows into the slab, with the products that it needs. */
static void place(const Block *at, Slab *slab, int64_t prompt, int64_t where, Found *found, int measured) {
    const int64_t row = at->starts[prompt], size = at->starts[prompt + 1] - row;
    const int64_t from = where / ROWS, tiles = (where % ROWS + size + ROWS - 1) / ROWS;
    const int shared = where % ROWS != 0; /* its tile's own product is there already */
    const char *phi = (const char *)at->phi + row * at->d * (at->half ? 2 : 4);
    float longest = 0.0f, square;
    if (measured) square = at->half ? take(at, phi, size, slab->phi, where, 1, &longest)
                                    : take(at, phi, size, slab->phi, where, 0, &longest);
    else square = at->half ? take(at, phi, size, slab->phi, where, 1, NULL)
                           : take(at, phi, size, slab->phi, where, 0, NULL);
    const double weighted = sqrt(square);
    slab->pieces[slab->count++] = (Piece){row, size, where, slab->made - shared, prompt, weighted};
    if (measured) found->longest = fmax(found->longest, sqrt(longest));
    if (weighted > found->weighted) found->weighted = weighted;
    for (int64_t a = 0; !shared && a < tiles; a++)
        for (int64_t b = a; b < tiles; b++, slab->made++)
            slab->a[slab->made] = from + a, slab->b[slab->made] = from + b;
    slab->rows = where + size;
}

/* The pairs let through, how many; -1 without memory. */
int64_t whichpairs_scan(const Block *at, Found *found) {
    int64_t largest = 0, count = 0;
    for (int64_t p = 0; p < at->prompts; p++) {
        const int64_t size = at->starts[p + 1] - at->starts[p];
        if (size > largest) largest = size;
        found->least[p] = 0.0f;
    }
    const int64_t need = (largest + 2 * ROWS - 1) / (2 * ROWS) * 2; /* an even number of tiles */
    const int64_t tiles = need > SLAB ? need : SLAB, most = tiles * (tiles + 1) / 2 + GROUP;
    const size_t wide = at->left / COLUMNS, broad = at->right / COLUMNS;
    const size_t bytes = tiles * (wide + 2 * broad) * TILE + (size_t)most * (TILE + 16)
                       + tiles * ROWS * sizeof(Piece) + 256;
    char *held = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!held) return -1;
    memset(held, 0, bytes);
    Slab slab = {.phi = held};
    slab.h = slab.phi + tiles * wide * TILE;
    slab.turned = slab.h + tiles * broad * TILE;
    slab.products = (float *)(slab.turned + tiles * broad * TILE);
    slab.a = (int64_t *)(slab.products + most * 256);
    slab.b = slab.a + most;
    slab.pieces = (Piece *)(slab.b + most);
    const int measured = found->longest == 0.0;
    _tile_loadconfig(&SHAPES);
    for (int64_t p = 0; p < at->prompts; p++) {
        const int64_t size = at->starts[p + 1] - at->starts[p];
        if (size < 2) continue;
        int64_t where = slab.rows;
        if (where % ROWS + size > ROWS) where = (where + ROWS - 1) / ROWS * ROWS;
        if (where + size > tiles * ROWS) {
            finish(at, &slab, found, &count);
            where = 0;
        }
        place(at, &slab, p, where, found, measured);
    }
    if (slab.count) finish(at, &slab, found, &count);
    _tile_release();
    free(held);
    return count;
}

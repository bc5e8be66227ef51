/* The search of the processor at hand: tm_search.c is compiled once for each kind, and all give the same bits. */

#include <stdint.h>

#define ARGUMENTS                                                                                                      \
    const float *x, int la, const float *y, int lb, const int8_t *sx, const int8_t *sy, const void *prefilter,         \
        double low, const void *plan, double *result
#define PASSED x, la, y, lb, sx, sy, prefilter, low, plan, result

int tm_search_baseline(ARGUMENTS);

#if defined(__x86_64__)
int tm_search_avx2(ARGUMENTS);
int tm_search_avx512(ARGUMENTS);

/* 0: any x86-64; 1: AVX2; 2: AVX-512. Asks the operating system too whether it keeps the wide registers. */
int tm_level(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2")) return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
               ? 2
               : 1;
}

int tm_search(ARGUMENTS)
{
    int level = tm_level();
    if (level == 2) return tm_search_avx512(PASSED);
    return level == 1 ? tm_search_avx2(PASSED) : tm_search_baseline(PASSED);
}
#else
int tm_level(void) { return 0; }

int tm_search(ARGUMENTS) { return tm_search_baseline(PASSED); }
#endif

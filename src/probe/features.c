// Names of the processor features that matter to inference.
// Must not know where the flags were read.
#include "probe_internal.h"

#include <stdio.h>
#include <string.h>

/** The kernel's spelling (x86 `flags`, Arm `Features`) and the one shown. */
static const struct {
    const char *flag, *shown;
} features[] = {
    {"avx", "AVX"},
    {"f16c", "F16C"},
    {"fma", "FMA"},
    {"avx2", "AVX2"},
    {"avx_vnni", "AVX-VNNI"},
    {"avx512f", "AVX512"},
    {"avx512vbmi", "AVX512-VBMI"},
    {"avx512_vnni", "AVX512-VNNI"},
    {"avx512_bf16", "AVX512-BF16"},
    {"avx512_fp16", "AVX512-FP16"},
    {"amx_tile", "AMX"},
    {"amx_int8", "AMX-INT8"},
    {"amx_bf16", "AMX-BF16"},
    {"asimd", "NEON"},
    {"asimdhp", "FP16"},
    {"asimddp", "DOTPROD"},
    {"i8mm", "I8MM"},
    {"bf16", "BF16"},
    {"sve", "SVE"},
    {"sve2", "SVE2"},
    {"sme", "SME"},
};

bool kvat__has_word(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += n) {
        bool starts = at == text || at[-1] == ' ';
        if (starts && (at[n] == ' ' || at[n] == '\0')) return true;
    }
    return false;
}

void kvat__cpu_features(char *out, size_t size, const char *flags) {
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (!kvat__has_word(flags, features[i].flag)) continue;
        int n = snprintf(out + length, size - length, "%s%s", length ? " " : "", features[i].shown);
        if (n < 0 || (size_t)n >= size - length) {
            out[length] = '\0';
            return;
        }
        length += (size_t)n;
    }
}

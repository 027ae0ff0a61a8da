/* Tiny models for tests: a config.json of two layers, written where the test wants it.
 * Must not know: how a model is made of it. */
#ifndef KVAT_TESTS_TINY_H
#define KVAT_TESTS_TINY_H

#include <stdio.h>
#include <stdlib.h>

#define TINY_LLAMA                                                                                                     \
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 2,"           \
    " \"num_key_value_heads\": 1, \"intermediate_size\": 128, \"vocab_size\": 512, \"max_position_embeddings\": 8192," \
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0}"
/* A window of 64 tokens in five layers of six. */
#define TINY_GEMMA3                                                                                                    \
    "{\"model_type\": \"gemma3_text\", \"num_hidden_layers\": 6, \"hidden_size\": 64, \"num_attention_heads\": 2,"     \
    " \"num_key_value_heads\": 1, \"head_dim\": 32, \"intermediate_size\": 128, \"vocab_size\": 512,"                  \
    " \"max_position_embeddings\": 8192, \"rms_norm_eps\": 1e-6, \"sliding_window\": 64}"

static inline void tiny_write(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) abort();
}

#endif

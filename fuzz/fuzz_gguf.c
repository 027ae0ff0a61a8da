// links: kvat_gguf
// Any bytes as a GGUF file: the reader answers, and what it accepts has facts within their bounds.
#include <stdlib.h>

#include "gguf_check.h"
#include "model_facts.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    kvat_gguf *gguf = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_gguf_parse(&gguf, bytes, n, &err) != KVAT_OK) {
        if (!err.message[0]) abort();
        return 0;
    }
    kvat_model_facts *facts = calloc(1, sizeof *facts);
    if (facts && kvat_model_facts_read(facts, gguf, &err) == KVAT_OK &&
        (facts->layers < 1 || facts->layers > KVAT_MODEL_MAX_LAYERS || facts->token_low >= facts->token_high ||
         facts->token_high > facts->vocabulary))
        abort();
    kvat_gguf_free(gguf);
    free(facts);
    return 0;
}

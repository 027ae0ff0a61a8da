// The knobs of llama.cpp: one row a knob, from which settings are read, put in force values, and declarations are made.
// Must not know: models in memory, contexts, how runs are timed.
#ifndef KVAT_LLAMACPP_KNOBS_H
#define KVAT_LLAMACPP_KNOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cpu.h"
#include "kvat/serve.h"
#include "model_facts.h"

/** Bits, so that a call can say which scopes it takes. */
typedef enum kvat_knob_scope {
    KVAT_KNOB_PROCESS = 1,
    KVAT_KNOB_MODEL = 2,
    KVAT_KNOB_CONTEXT = 4,
    KVAT_KNOB_REQUEST = 8
} kvat_knob_scope;

#define KVAT_CPU_MASK_BYTES (2 + KVAT_CPU_MOST / 4 + 1)

/** Every knob's value as a number: of its word for words, itself for numbers. */
typedef struct kvat_settings {
    int numa, priority, poll, cpu_strict, spin_count;                 /* process */
    char cpu_mask[KVAT_CPU_MASK_BYTES];                               /* process: "none", or hexadecimal after 0x */
    int load_mode, repack, gpu_layers, split_mode, main_gpu, cpu_moe; /* model */
    int flash, type_k, type_v, batch, ubatch, swa_full, kv_unified, kv_offload, op_offload; /* context */
    int threads, threads_batch;                                                             /* request */
} kvat_settings;

/** Values of `flash`; the numbers of llama_flash_attn_type. */
#define KVAT_FLASH_SETTING_AUTO (-1)
#define KVAT_FLASH_SETTING_OFF  0
#define KVAT_FLASH_SETTING_ON   1

/** Values of `cpu_mask`. */
#define KVAT_CPU_MASK_NONE         0
#define KVAT_CPU_MASK_ONE_PER_CORE 1

typedef struct kvat_knob_word {
    const char *word; /**< NULL ends the list */
    int number;
} kvat_knob_word;

typedef struct kvat_knob_row {
    const char *name;
    kvat_knob_scope scope;
    size_t offset;               /**< of the int in kvat_settings */
    const kvat_knob_word *words; /**< NULL: a number from `low` to `high` */
    int low, high;               /**< both 0 without words: the value is the text of a CPU mask */
} kvat_knob_row;

const kvat_knob_row *kvat_knob_find(const char *name);
/** The row's value in `settings` as it goes into JSON (new reference; NULL without memory). */
json_t *kvat_knob_json(const kvat_knob_row *row, const kvat_settings *settings);
/** Number of a word, or false. */
bool kvat_knob_word_find(int *number, const kvat_knob_row *row, const char *word);

/** What llama-server does without flags on this machine. */
void kvat_settings_default(kvat_settings *out, const kvat_cpu *cpu);

/** Takes the members of `json` (nullable) into `settings`. A fault names the knob: unknown (nearest suggested), of a
 * scope outside `scopes`, or a value it cannot have. */
int kvat_settings_read(kvat_settings *settings, const json_t *json, unsigned scopes, kvat_fault *fault);

/** Copies the knobs of `scopes`. */
void kvat_settings_take(kvat_settings *to, const kvat_settings *from, unsigned scopes);

/** {knob: value in force} for each member of `asked`; new reference, NULL without memory. */
json_t *kvat_settings_effective(const json_t *asked, const kvat_settings *in_force);

/** What the declarations depend on. */
typedef struct kvat_situation {
    const kvat_model_facts *facts;
    const kvat_cpu *cpu;
    int flash_auto;    /**< what `auto` resolves to here: KVAT_FLASH_SETTING_ON or _OFF */
    int window_tokens; /**< as the engine uses it, 0: full attention */
    int gpus;
    bool openmp, gomp; /**< how the engine's threads are made */
    bool may_raise_priority;
    bool may_lock; /**< the weights may be locked in memory */
} kvat_situation;

/** Fills the `knobs` and `absent` arrays; false without memory. */
bool kvat_knobs_declare(json_t *knobs, json_t *absent, const kvat_situation *situation);

#define KVAT_SEARCH_MOST 64 /**< configurations tried without being asked for more */

#endif

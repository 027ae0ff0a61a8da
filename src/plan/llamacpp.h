/* llama-server's idiom, shared by the files that write it: settings taken through one table of flags.
 * Must not be included by anything that is not about llama.cpp. */
#ifndef KVAT_LLAMACPP_H
#define KVAT_LLAMACPP_H

#include "plan_internal.h"

/** How a setting is written. */
typedef enum kvat__flag_form {
    KVAT__FLAG_VALUE,  /**< --flag value */
    KVAT__FLAG_PAIR,   /**< --flag, or --no-flag for "off" */
    KVAT__FLAG_SWITCH, /**< --flag, or nothing for "off" */
    KVAT__FLAG_EXPORT  /**< no flag: a variable of the process environment */
} kvat__flag_form;

/** A knob of the worker in llama-server's words. */
typedef struct kvat__flag {
    const char *knob;
    kvat__flag_form form;
    const char *shown;  /**< in a script: "-ctk" */
    const char *key;    /**< long name without dashes: key of a preset */
    const char *env;    /**< LLAMA_ARG_…, or the exported variable, or NULL: only by flag */
    const char *absent; /**< value that is said by saying nothing, or NULL */
} kvat__flag;

/** NULL for a knob llama-server has no word for. */
const kvat__flag *kvat__llamacpp_flag(const char *knob);

/** One setting of a plan. */
typedef struct kvat__setting {
    const char *knob;
    const kvat__flag *flag; /**< NULL: unknown */
    char text[320];         /**< its value; a mask of a large machine is the longest */
    bool off;               /**< "off", "false", "0" or "no" */
    bool silent;            /**< said by saying nothing */
} kvat__setting;

typedef struct kvat__settings {
    kvat__setting items[128];
    size_t n;
} kvat__settings;

/** Settings of `target` or the plan, in the order of the table, unknown ones last by name. KVAT_ERR_DATA for a value
 * longer than any is. */
kvat_status kvat__llamacpp_settings(kvat__settings *out, const json_t *plan, const kvat_snippet_target *target,
                                    kvat_error *err);

/** Lines that say what the file is, each begun with `mark` ("#", ";"). */
void kvat__llamacpp_header(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, const char *mark,
                           const char *what);
/** A comment for every setting that could not be written. */
void kvat__llamacpp_unknown(kvat_buf *out, const kvat__settings *settings, const char *indent, const char *mark);

int64_t kvat__llamacpp_context(const json_t *plan);   /**< tokens of all slots together */
int64_t kvat__llamacpp_sequences(const json_t *plan); /**< slots */

kvat_status kvat__llamacpp_put_script(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                      kvat_error *err);
kvat_status kvat__llamacpp_put_preset(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                      kvat_error *err);
kvat_status kvat__llamacpp_put_compose(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                       kvat_error *err);
kvat_status kvat__llamacpp_put_k8s(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target,
                                   kvat_error *err);

#endif

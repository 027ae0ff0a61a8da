/* What the files of plan share: building JSON without losing an allocation failure, and picking entries of an outcome.
 * Must not be included from outside src/plan. */
#ifndef KVAT_PLAN_INTERNAL_H
#define KVAT_PLAN_INTERNAL_H

#include <jansson.h>

#include "kvat/plan.h"

#define KVAT__PLAN_FORMAT "kvat-plan/1"

/* ---- JSON under construction: the first failure sticks, members are added blindly and the builder is asked once ----
 */
typedef struct kvat__builder {
    json_t *object; /**< an object or array; NULL when even that failed */
    bool failed;
} kvat__builder;

kvat__builder kvat__build_object(void);
kvat__builder kvat__build_array(void);
/** Takes `value` (NULL counts as a failure); `name` is NULL for an array. */
void kvat__build_add(kvat__builder *builder, const char *name, json_t *value);
/** NULL text becomes null; invalid UTF-8 becomes U+FFFD. */
void kvat__build_text(kvat__builder *builder, const char *name, const char *text);
void kvat__build_real(kvat__builder *builder, const char *name, double value); /**< not finite: null */
void kvat__build_int(kvat__builder *builder, const char *name, int64_t value);
void kvat__build_bytes(kvat__builder *builder, const char *name, int64_t bytes); /**< 0 (unknown): null */
void kvat__build_bool(kvat__builder *builder, const char *name, bool value);
void kvat__build_interval(kvat__builder *builder, const char *name, kvat_interval interval); /**< {value, low, high} */
/** A deep copy; NULL becomes null. */
void kvat__build_copy(kvat__builder *builder, const char *name, const json_t *value);
/** The finished value, or NULL after a failure (everything freed). */
json_t *kvat__build_take(kvat__builder *builder);

/* ---- cells.h: TTFT, decode and peak memory, the last responses of a run ---- */
enum { KVAT__FRONT_METRICS = 3 };

/* ---- entries ---- */
/** Measured at least once without a failure. */
bool kvat__entry_reliable(const kvat_entry *entry);
/** May replace `best`: reliable, and no lossier than it. */
bool kvat__entry_stands_in(const kvat_entry *candidate, const kvat_entry *best);

/** What follows the last '/', NULL for NULL. */
const char *kvat__base_name(const char *path);
/** A string member of an object that may be NULL or of another kind; "" when it is not there. */
const char *kvat__text_of(const json_t *object, const char *member);

/** What was measured of these settings (NULL: the plan's own): `figures`, or the member of `alternatives` with them;
 * NULL when nothing was. */
const json_t *kvat__figures_of(const json_t *plan, const json_t *settings);
/** Which memory the peaks of a plan or outcome are of; unknown where trials were read from different sources. */
typedef enum kvat__memory_kind { KVAT__MEMORY_UNKNOWN, KVAT__MEMORY_HOST, KVAT__MEMORY_DEVICES } kvat__memory_kind;
kvat__memory_kind kvat__memory_of_source(const char *peak_source);
kvat__memory_kind kvat__memory_of_plan(const json_t *plan);

/** The command that made this plan, as an array of words. New reference, NULL without memory. */
json_t *kvat__reproduce(const kvat_outcome *outcome);
/** The rules of fallback.c. New reference, NULL without memory. */
json_t *kvat__fallback(const kvat_outcome *outcome, const kvat_entry *best);

/** One snippet format of one engine. */
typedef struct kvat__format {
    const char *name;      /**< "preset" */
    const char *file_name; /**< written beside the plan, or NULL */
    unsigned mode;
    kvat_status (*put)(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, kvat_error *err);
    bool has_rules; /**< evaluates the plan's fallback rules itself, and is always written with the plan's own settings
                     */
} kvat__format;

/* Each ends with a NULL name. */
extern const kvat__format kvat__llamacpp_formats[], kvat__transformers_formats[];

/** Lines that say what a snippet is, each begun with `mark` ("#", ";"). `about_peak`, a remark on the peak memory, may
 * be NULL. */
void kvat__snippet_header(kvat_buf *out, const json_t *plan, const kvat_snippet_target *target, const char *mark,
                          const char *what, const char *about_peak);
/** What follows "<home>/" in the model's path, or NULL when it lies elsewhere. */
const char *kvat__below_home(const kvat_snippet_target *target);

#endif

/* Forecasts what a configuration will occupy from the metadata a worker declares.
 * Must not know engines, knobs, or what is done with a forecast. */
#include "kvat/memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS_MAX      4096
#define TYPES_MAX       256
#define TYPE_NAME_BYTES 64
#define PADDING_MAX     1048576
#define LAYERS_MAX      1000000

/** Layers that keep the same amount a token. */
typedef struct kv_group {
    int64_t layers, k_elements, v_elements;
    int64_t window_tokens; /**< 0: the whole context */
} kv_group;

/** `block` elements take `bytes` bytes. */
typedef struct element_type {
    char name[TYPE_NAME_BYTES + 1];
    int64_t block, bytes;
} element_type;

/** Compute buffers under one kind of attention. */
typedef struct compute_kind {
    char attention[TYPE_NAME_BYTES + 1];
    int64_t fixed_bytes, ubatch_token_bytes, ubatch_cell_bytes;
} compute_kind;

struct kvat_memory_model {
    int64_t process_bytes; /**< fixed_bytes without any compute buffer; used with `kinds` */
    compute_kind *kinds;
    size_t n_kinds;
    int64_t cell_padding, weight_bytes, fixed_bytes, ubatch_token_bytes, batch_token_bytes;
    kv_group *groups;
    size_t n_groups;
    element_type *types;
    size_t n_types;
};

static kvat_status no_memory(kvat_error *err) {
    return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the memory model");
}

/* --- reading --- */

static kvat_status read_group(kv_group *group, const json_t *json, size_t i, kvat_error *err) {
    char path[56];
    snprintf(path, sizeof path, "memory_model.kv_groups[%zu]", i);
    kvat_json_at at = {json, path};
    kvat_status status = kvat_json_get_int(&group->layers, at, "layers", 0, LAYERS_MAX, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&group->k_elements, at, "k_elements", 0, INT64_MAX, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&group->v_elements, at, "v_elements", 0, INT64_MAX, true, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&group->window_tokens, at, "window_tokens", 0, INT64_MAX, false, err);
    return status;
}

static kvat_status read_groups(kvat_memory_model *model, kvat_json_at at, kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, at, "kv_groups", true, err);
    if (status != KVAT_OK) return status;
    size_t n = json_array_size(array);
    if (n > GROUPS_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model.kv_groups: expected at most %d, not %zu", GROUPS_MAX, n);
    model->groups = calloc(n + 1, sizeof *model->groups);
    if (!model->groups) return no_memory(err);
    model->n_groups = n;
    for (size_t i = 0; i < n && status == KVAT_OK; i++)
        status = read_group(&model->groups[i], json_array_get(array, i), i, err);
    return status;
}

static kvat_status read_type(element_type *type, const char *name, const json_t *json, kvat_error *err) {
    char path[TYPE_NAME_BYTES + 24];
    if (*name == '\0' || strlen(name) > TYPE_NAME_BYTES)
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model.types: expected names of 1 to %d bytes", TYPE_NAME_BYTES);
    snprintf(type->name, sizeof type->name, "%s", name);
    snprintf(path, sizeof path, "memory_model.types.%s", type->name);
    kvat_json_at at = {json, path};
    kvat_status status = kvat_json_get_int(&type->block, at, "block", 1, INT64_MAX, true, err);
    if (status == KVAT_OK) status = kvat_json_get_int(&type->bytes, at, "bytes", 1, INT64_MAX, true, err);
    return status;
}

static kvat_status read_types(kvat_memory_model *model, kvat_json_at at, kvat_error *err) {
    json_t *object = NULL, *json;
    const char *name;
    kvat_status status = kvat_json_get_object(&object, at, "types", true, err);
    if (status != KVAT_OK) return status;
    size_t n = json_object_size(object);
    if (n > TYPES_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model.types: expected at most %d, not %zu", TYPES_MAX, n);
    model->types = calloc(n + 1, sizeof *model->types);
    if (!model->types) return no_memory(err);
    json_object_foreach(object, name, json) {
        status = read_type(&model->types[model->n_types++], name, json, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status read_kind(compute_kind *kind, const char *name, const json_t *json, kvat_error *err) {
    char path[TYPE_NAME_BYTES + 48];
    if (*name == '\0' || strlen(name) > TYPE_NAME_BYTES)
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model.compute_by_attention: expected names of 1 to %d bytes",
                         TYPE_NAME_BYTES);
    snprintf(kind->attention, sizeof kind->attention, "%s", name);
    snprintf(path, sizeof path, "memory_model.compute_by_attention.%s", kind->attention);
    kvat_json_at at = {json, path};
    kvat_status status = kvat_json_get_int(&kind->fixed_bytes, at, "fixed_bytes", 0, INT64_MAX, false, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&kind->ubatch_token_bytes, at, "ubatch_token_bytes", 0, INT64_MAX, false, err);
    if (status == KVAT_OK)
        status = kvat_json_get_int(&kind->ubatch_cell_bytes, at, "ubatch_cell_bytes", 0, INT64_MAX, false, err);
    return status;
}

static kvat_status read_kinds(kvat_memory_model *model, kvat_json_at at, kvat_error *err) {
    json_t *object = NULL, *json;
    const char *name;
    kvat_status status = kvat_json_get_object(&object, at, "compute_by_attention", false, err);
    if (status != KVAT_OK || !object) return status;
    size_t n = json_object_size(object);
    if (n > TYPES_MAX)
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model.compute_by_attention: expected at most %d, not %zu",
                         TYPES_MAX, n);
    model->kinds = calloc(n + 1, sizeof *model->kinds);
    if (!model->kinds) return no_memory(err);
    json_object_foreach(object, name, json) {
        status = read_kind(&model->kinds[model->n_kinds++], name, json, err);
        if (status != KVAT_OK) return status;
    }
    return KVAT_OK;
}

static kvat_status read_model(kvat_memory_model *model, kvat_json_at at, kvat_error *err) {
    const struct {
        const char *member;
        int64_t *value;
        int64_t low, high;
    } sizes[] = {
        {"cell_padding", &model->cell_padding, 1, PADDING_MAX},
        {"weight_bytes", &model->weight_bytes, 0, INT64_MAX},
        {"fixed_bytes", &model->fixed_bytes, 0, INT64_MAX},
        {"process_bytes", &model->process_bytes, 0, INT64_MAX},
        {"ubatch_token_bytes", &model->ubatch_token_bytes, 0, INT64_MAX},
        {"batch_token_bytes", &model->batch_token_bytes, 0, INT64_MAX},
    };
    kvat_status status = KVAT_OK;
    model->cell_padding = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == KVAT_OK; i++)
        status = kvat_json_get_int(sizes[i].value, at, sizes[i].member, sizes[i].low, sizes[i].high, false, err);
    if (status == KVAT_OK) status = read_types(model, at, err);
    if (status == KVAT_OK) status = read_groups(model, at, err);
    if (status == KVAT_OK) status = read_kinds(model, at, err);
    return status;
}

kvat_status kvat_memory_model_parse(kvat_memory_model **out, const json_t *json, kvat_error *err) {
    kvat_memory_model *model = calloc(1, sizeof *model);
    if (!model) return no_memory(err);
    kvat_status status = read_model(model, (kvat_json_at){json, "memory_model"}, err);
    if (status == KVAT_OK)
        *out = model;
    else
        kvat_memory_model_free(model);
    return status;
}

void kvat_memory_model_free(kvat_memory_model *model) {
    if (!model) return;
    free(model->groups);
    free(model->types);
    free(model->kinds);
    free(model);
}

/* --- forecast; every helper is false when the result is beyond INT64_MAX --- */

/** What one configuration makes of the model. */
typedef struct layout {
    const kvat_memory_model *model;
    const kvat_memory_setup *setup;
    const element_type *type_k, *type_v;
    int64_t streams; /**< caches that are not shared */
    int64_t cells;   /**< of one stream */
} layout;

static bool pad(int64_t *value, int64_t padding) {
    int64_t up;
    if (__builtin_add_overflow(*value, padding - 1, &up)) return false;
    *value = up / padding * padding;
    return true;
}

static bool add_product(int64_t *sum, int64_t a, int64_t b) {
    int64_t product;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(*sum, product, sum);
}

/** Windows of sequences that share a cache lie side by side in it. */
static bool window_cells(int64_t *cells, const layout *lay, int64_t window_tokens) {
    int64_t needed = lay->setup->ubatch_tokens;
    if (!add_product(&needed, window_tokens, lay->setup->unified ? lay->setup->sequences : 1)) return true;
    if (needed >= *cells) needed = *cells;
    *cells = needed;
    return pad(cells, lay->model->cell_padding);
}

static bool add_group(int64_t *bytes, const layout *lay, const kv_group *group) {
    int64_t cells = lay->cells, row = 0;
    if (group->window_tokens > 0 && !lay->setup->window_full && !window_cells(&cells, lay, group->window_tokens))
        return false;
    if (!add_product(&row, group->k_elements / lay->type_k->block, lay->type_k->bytes)) return false;
    if (!add_product(&row, group->v_elements / lay->type_v->block, lay->type_v->bytes)) return false;
    if (__builtin_mul_overflow(cells, lay->streams, &cells)) return false;
    return !__builtin_mul_overflow(cells, group->layers, &cells) && add_product(bytes, cells, row);
}

/** The compute buffers of the setup's kind of attention, or NULL: the plain slope serves. */
static const compute_kind *kind_of(const kvat_memory_model *model, const char *attention) {
    for (size_t i = 0; attention && i < model->n_kinds; i++)
        if (strcmp(model->kinds[i].attention, attention) == 0) return &model->kinds[i];
    return NULL;
}

static bool add_compute(int64_t *bytes, const layout *lay, const compute_kind *kind) {
    int64_t ubatch = lay->setup->ubatch_tokens, a_token = 0;
    if (!kind) return add_product(bytes, lay->model->ubatch_token_bytes, ubatch);
    return add_product(&a_token, kind->ubatch_token_bytes, 1) &&
           add_product(&a_token, kind->ubatch_cell_bytes, lay->cells) && add_product(bytes, kind->fixed_bytes, 1) &&
           add_product(bytes, a_token, ubatch);
}

static bool sum_up(kvat_memory_forecast *forecast, const layout *lay) {
    const kvat_memory_model *model = lay->model;
    const compute_kind *kind = kind_of(model, lay->setup->attention);
    *forecast = (kvat_memory_forecast){.weight_bytes = model->weight_bytes,
                                       .total_bytes = kind ? model->process_bytes : model->fixed_bytes};
    for (size_t i = 0; i < model->n_groups; i++)
        if (!add_group(&forecast->kv_bytes, lay, &model->groups[i])) return false;
    return add_compute(&forecast->compute_bytes, lay, kind) &&
           add_product(&forecast->compute_bytes, model->batch_token_bytes, lay->setup->batch_tokens) &&
           add_product(&forecast->total_bytes, forecast->weight_bytes, 1) &&
           add_product(&forecast->total_bytes, forecast->kv_bytes, 1) &&
           add_product(&forecast->total_bytes, forecast->compute_bytes, 1);
}

static kvat_status find_type(const element_type **out, const kvat_memory_model *model, const char *name,
                             kvat_error *err) {
    for (size_t i = 0; name && i < model->n_types; i++) {
        if (strcmp(model->types[i].name, name) != 0) continue;
        *out = &model->types[i];
        return KVAT_OK;
    }
    return kvat_fail(err, KVAT_ERR_DATA, "memory_model.types: no type \"%s\"", name ? name : "");
}

static kvat_status check_rows(const layout *lay, kvat_error *err) {
    for (size_t i = 0; i < lay->model->n_groups; i++) {
        const kv_group *group = &lay->model->groups[i];
        bool k_fits = group->k_elements % lay->type_k->block == 0;
        if (k_fits && group->v_elements % lay->type_v->block == 0) continue;
        const element_type *type = k_fits ? lay->type_v : lay->type_k;
        return kvat_fail(err, KVAT_ERR_DATA,
                         "memory_model.kv_groups[%zu].%s: %" PRId64 " is not divisible by the block of %s, %" PRId64, i,
                         k_fits ? "v_elements" : "k_elements", k_fits ? group->v_elements : group->k_elements,
                         type->name, type->block);
    }
    return KVAT_OK;
}

static kvat_status check_setup(const kvat_memory_setup *setup, kvat_error *err) {
    if (setup->context_tokens < 1 || setup->sequences < 1 || setup->ubatch_tokens < 0 || setup->batch_tokens < 0)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "a forecast needs a context and sequences of at least 1, and batches of at "
                         "least 0 tokens");
    return KVAT_OK;
}

static bool count_cells(layout *lay) {
    int64_t padding = lay->model->cell_padding;
    lay->streams = lay->setup->unified ? 1 : lay->setup->sequences;
    lay->cells = lay->setup->context_tokens;
    if (!pad(&lay->cells, padding)) return false;
    lay->cells /= lay->streams;
    if (lay->cells == 0) lay->cells = 1;
    return pad(&lay->cells, padding);
}

kvat_status kvat_memory_forecast_make(kvat_memory_forecast *out, const kvat_memory_model *model,
                                      const kvat_memory_setup *setup, kvat_error *err) {
    layout lay = {.model = model, .setup = setup};
    kvat_memory_forecast forecast;
    kvat_status status = check_setup(setup, err);
    if (status == KVAT_OK) status = find_type(&lay.type_k, model, setup->type_k, err);
    if (status == KVAT_OK) status = find_type(&lay.type_v, model, setup->type_v, err);
    if (status == KVAT_OK) status = check_rows(&lay, err);
    if (status != KVAT_OK) return status;
    if (!count_cells(&lay) || !sum_up(&forecast, &lay))
        return kvat_fail(err, KVAT_ERR_DATA, "memory_model: the forecast is beyond 2^63 bytes");
    *out = forecast;
    return KVAT_OK;
}

// Names of synthetic models, their place in the cache, and writing them there whole or not at all.
// Must not know: the protocol, contexts, what the file holds beyond its size.
#include "synthetic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gguf_types.h"
#include "kvat/file.h"

#define GENERATOR    "kvat-synthetic/1" /* change it when the same shape gives another file */
#define DEFAULT_TYPE "q8_0"

/* Types that can be made without an importance matrix. */
static const char *const weight_types[] = {"f32",  "f16",  "bf16", "q8_0", "q6_K",   "q5_K",   "q5_1", "q5_0",
                                           "q4_K", "q4_1", "q4_0", "q3_K", "iq4_nl", "iq4_xs", "q2_K"};
#define WEIGHT_TYPES (sizeof weight_types / sizeof *weight_types)

static const char *find_type(const char *word) {
    for (size_t i = 0; i < WEIGHT_TYPES; i++)
        if (strcasecmp(weight_types[i], word) == 0) return weight_types[i];
    return NULL;
}

static kvat_status unknown_type(const char *word, kvat_error *err) {
    kvat_buf list;
    kvat_buf_init(&list, 0);
    for (size_t i = 0; i < WEIGHT_TYPES; i++) kvat_buf_printf(&list, "%s%s", i ? ", " : "", weight_types[i]);
    kvat_status status = kvat_fail(err, KVAT_ERR_DATA, "no weight type \"%.32s\" for synthetic models: there are %s",
                                   word, list.bytes ? list.bytes : "none");
    kvat_buf_clear(&list);
    return status;
}

static kvat_status make_key(kvat_synthetic *model, kvat_error *err) {
    const kvat_shape *s = &model->shape;
    kvat_buf text;
    kvat_buf_init(&text, 0);
    kvat_buf_printf(&text, "%s %s %s %d", GENERATOR, model->type, s->name, (int)s->family);
    const int64_t sizes[] = {s->layers,        s->embedding,    s->heads,      s->kv_heads,
                             s->head_size,     s->feed_forward, s->vocabulary, s->context_tokens,
                             s->window_tokens, s->rope_size,    s->tied};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) kvat_buf_printf(&text, " %lld", (long long)sizes[i]);
    kvat_buf_printf(&text, " %a %a", s->rope_base, s->norm_epsilon);
    kvat_status status = kvat_buf_status(&text, err);
    if (status == KVAT_OK) kvat_hash_bytes(model->key, text.bytes, text.length);
    kvat_buf_clear(&text);
    return status;
}

kvat_status kvat_synthetic_parse(kvat_synthetic *out, const char *model, kvat_error *err) {
    kvat_synthetic result = {.type = DEFAULT_TYPE};
    char *name = strdup(model + strlen(KVAT_SYNTHETIC_PREFIX));
    if (!name) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a name");
    kvat_status status = KVAT_OK;
    char *colon = strrchr(name, ':');
    bool has_type = colon && !strchr(colon, '/');
    if (has_type) {
        *colon = '\0';
        const char *type = find_type(colon + 1);
        if (type)
            snprintf(result.type, sizeof result.type, "%s", type);
        else
            status = unknown_type(colon + 1, err);
    }
    size_t n = strlen(name);
    bool is_path = strchr(name, '/') || (n > 5 && strcmp(name + n - 5, ".json") == 0);
    if (status == KVAT_OK)
        status = is_path ? kvat_shape_from_config(&result.shape, name, err) : kvat_shape_find(&result.shape, name, err);
    if (status == KVAT_OK) status = make_key(&result, err);
    if (status == KVAT_OK) *out = result;
    free(name);
    return status;
}

static kvat_status make_folder(char **out, kvat_error *err) {
    char *cache = NULL;
    kvat_status status = kvat_xdg_dir(&cache, KVAT_XDG_CACHE, err);
    if (status != KVAT_OK) return status;
    char *folder = kvat_path_join(cache, "synthetic");
    free(cache);
    if (!folder) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    status = kvat_dir_make(folder, err);
    if (status == KVAT_OK)
        *out = folder;
    else
        free(folder);
    return status;
}

static bool is_whole(const char *path, int64_t bytes) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == bytes;
}

static kvat_status enough_room(int file, int64_t bytes, kvat_error *err) {
    struct statvfs info;
    if (fstatvfs(file, &info) != 0) return KVAT_OK;
    if ((uint64_t)info.f_bavail * info.f_frsize >= (uint64_t)bytes) return KVAT_OK;
    return kvat_fail(err, KVAT_ERR_IO, "the cache has no room for a synthetic model of %lld bytes; set KVAT_CACHE_DIR",
                     (long long)bytes);
}

typedef struct job {
    const kvat_synthetic *model;
    const char *path; /* where the file belongs */
    char *part;       /* where it grows */
    int file;
    kvat_buf header;
    kvat_shape_tensor *tensors;
    size_t n;
    int64_t data_bytes;
} job;

static kvat_status prepare(job *j, kvat_error *err) {
    j->tensors = kvat_shape_tensors(&j->n, &j->model->shape);
    if (!j->tensors) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the list of tensors");
    return kvat__synthetic_header(&j->header, &j->data_bytes, j->model, j->tensors, j->n, err);
}

static int64_t file_bytes(const job *j) {
    return (int64_t)j->header.length + j->data_bytes;
}

static kvat_status open_locked(job *j, kvat_error *err) {
    if (j->file >= 0) close(j->file);
    j->file = open(j->part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (j->file < 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s", j->part);
    while (flock(j->file, LOCK_EX) != 0)
        if (errno != EINTR) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot lock %s", j->part);
    return KVAT_OK;
}

static bool still_named(int file, const char *path) {
    struct stat held, named;
    return fstat(file, &held) == 0 && lstat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

/* A second worker making the same model waits here for the first, and a killed one's leftover is simply taken over.
 * While it waited the first may have renamed or removed what it had opened: then it starts again. */
static kvat_status open_part(job *j, kvat_error *err) {
    size_t n = strlen(j->path) + 6;
    j->part = malloc(n);
    if (!j->part) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    snprintf(j->part, n, "%s.part", j->path);
    kvat_status status;
    do {
        status = open_locked(j, err);
    } while (status == KVAT_OK && !still_named(j->file, j->part));
    return status;
}

static kvat_status fill(job *j, kvat_synthetic_progress progress, void *user, kvat_error *err) {
    if (ftruncate(j->file, 0) != 0) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot empty %s", j->part);
    kvat_status status = enough_room(j->file, file_bytes(j), err);
    if (status != KVAT_OK) return status;
    for (size_t done = 0; done < j->header.length;) {
        ssize_t step = write(j->file, j->header.bytes + done, j->header.length - done);
        if (step < 0 && errno != EINTR) return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s", j->part);
        if (step > 0) done += (size_t)step;
    }
    status = kvat__synthetic_data(j->file, j->model, j->tensors, j->n, j->data_bytes, progress, user, err);
    if (status == KVAT_OK && fsync(j->file) != 0)
        status = kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot write %s", j->part);
    if (status == KVAT_OK && rename(j->part, j->path) != 0)
        status = kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot rename %s", j->part);
    return status;
}

static kvat_status make(job *j, kvat_synthetic_progress progress, void *user, kvat_error *err) {
    kvat_status status = open_part(j, err);
    if (status != KVAT_OK) return status;
    if (is_whole(j->path, file_bytes(j))) {
        unlink(j->part); /* another worker was first; this is our own new name */
        return KVAT_OK;
    }
    status = fill(j, progress, user, err);
    if (status != KVAT_OK) unlink(j->part);
    return status;
}

kvat_status kvat_synthetic_file(char **path, const kvat_synthetic *model, kvat_synthetic_progress progress, void *user,
                                kvat_error *err) {
    char name[160];
    snprintf(name, sizeof name, "%s-%s-%.16s.gguf", model->shape.name, model->type, model->key);
    char *folder = NULL;
    kvat_status status = make_folder(&folder, err);
    if (status != KVAT_OK) return status;
    char *full = kvat_path_join(folder, name);
    free(folder);
    if (!full) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");

    job j = {.model = model, .path = full, .file = -1, .header = KVAT_BUF_INIT};
    status = prepare(&j, err);
    if (status == KVAT_OK && !is_whole(full, file_bytes(&j))) status = make(&j, progress, user, err);
    if (j.file >= 0) close(j.file);
    free(j.part);
    free(j.tensors);
    kvat_buf_clear(&j.header);
    if (status == KVAT_OK)
        *path = full;
    else
        free(full);
    return status;
}

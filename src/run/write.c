// Writes what a run leaves behind: plan, snippets, reports; each file whole or not at all.
// Must not decide or format: plan and report do.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvat/file.h"
#include "kvat/plan.h"
#include "kvat/report.h"
#include "run_internal.h"

typedef struct writer {
    const kvat_outcome *outcome;
    const char *directory, *model_path;
    bool force;
    const kvat_events *events;
} writer;

static kvat_status write_one(const writer *w, const char *name, const kvat_buf *text, unsigned mode, kvat_error *err) {
    kvat_status status = kvat_buf_status(text, err);
    if (status != KVAT_OK) return status;
    char *path = kvat_path_join(w->directory, name);
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    struct stat info;
    if (!w->force && lstat(path, &info) == 0)
        status = kvat_fail(err, KVAT_ERR_IO, "%s exists: replace it with --force", path);
    if (status == KVAT_OK) status = kvat_file_write(path, text->bytes ? text->bytes : "", text->length, mode, err);
    if (status == KVAT_OK && w->events && w->events->on_event) {
        kvat_event event = {.kind = KVAT_EVENT_FILE, .text = name};
        w->events->on_event(w->events->user, &event);
    }
    free(path);
    return status;
}

/** What an earlier run left under this name would contradict the report of this one. */
static kvat_status remove_stale(const writer *w, const char *name, kvat_error *err) {
    char *path = kvat_path_join(w->directory, name);
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a path");
    kvat_status status = KVAT_OK;
    if (w->force && unlink(path) != 0 && errno != ENOENT)
        status = kvat_fail(err, KVAT_ERR_IO, "cannot remove %s of an earlier run: %s", path, strerror(errno));
    free(path);
    return status;
}

static kvat_status remove_stale_plan(const writer *w, kvat_error *err) {
    size_t n = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n, w->outcome->engine_name);
    kvat_status status = remove_stale(w, "best_plan.json", err);
    for (size_t i = 0; i < n && status == KVAT_OK; i++) status = remove_stale(w, snippets[i].file_name, err);
    return status;
}

static kvat_status write_snippets(const writer *w, const json_t *plan, kvat_error *err) {
    size_t n = 0;
    const kvat_snippet *snippets = kvat_snippets_for(&n, w->outcome->engine_name);
    kvat_snippet_target target = {.model_path = w->model_path, .home = getenv("HOME")};
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < n && status == KVAT_OK; i++) {
        kvat_buf text = KVAT_BUF_INIT;
        kvat_error why = KVAT_ERROR_INIT;
        const char *format = kvat_snippet_format_of(w->outcome->engine_name, snippets[i].file_name);
        status = kvat_snippet_put(&text, plan, format, &target, &why);
        if (status == KVAT_OK)
            status = write_one(w, snippets[i].file_name, &text, snippets[i].mode, &why);
        else if (status == KVAT_ERR_USAGE && w->events &&
                 w->events->on_event) { /* a format this path cannot be said in */
            kvat_event event = {.kind = KVAT_EVENT_WARNING, .text = why.message};
            w->events->on_event(w->events->user, &event);
            status = KVAT_OK;
        }
        if (status != KVAT_OK && err) *err = why;
        kvat_buf_clear(&text);
    }
    return status;
}

static kvat_status write_plan(const writer *w, size_t entry, const char *name, bool snippets, kvat_error *err) {
    json_t *plan = NULL;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = kvat_plan_make(&plan, w->outcome, entry, err);
    if (status == KVAT_OK) status = kvat_json_put_pretty(&text, plan);
    if (status == KVAT_OK) status = write_one(w, name, &text, 0644, err);
    if (status == KVAT_OK && snippets) status = write_snippets(w, plan, err);
    kvat_buf_clear(&text);
    json_decref(plan);
    return status;
}

typedef kvat_status (*report_writer)(kvat_buf *out, const kvat_outcome *outcome, kvat_error *err);

static kvat_status write_report(const writer *w, const char *name, report_writer make, kvat_error *err) {
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = make(&text, w->outcome, err);
    if (status == KVAT_OK) status = write_one(w, name, &text, 0644, err);
    kvat_buf_clear(&text);
    return status;
}

kvat_status kvat_outcome_write(const kvat_outcome *outcome, const char *directory, const char *model_path, bool force,
                               const kvat_events *events, kvat_error *err) {
    writer w = {outcome, directory, model_path, force, events};
    kvat_status status = outcome->winner != SIZE_MAX ? write_plan(&w, outcome->winner, "best_plan.json", true, err)
                                                     : remove_stale_plan(&w, err);
    if (status == KVAT_OK)
        status = outcome->lossy_best != SIZE_MAX ? write_plan(&w, outcome->lossy_best, "lossy_plan.json", false, err)
                                                 : remove_stale(&w, "lossy_plan.json", err);
    if (status == KVAT_OK) status = write_report(&w, "report.html", kvat_report_html, err);
    if (status == KVAT_OK) status = write_report(&w, "report.md", kvat_report_markdown, err);
    return status;
}

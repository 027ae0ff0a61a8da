// Finds engines by their manifests and asks a worker what it is.
// Must not know what any engine can do: that is the worker's to declare.
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvat/file.h"
#include "run_internal.h"

static void free_words(char **words) {
    for (char **word = words; word && *word; word++) free(*word);
    free(words);
}

void kvat_engine_free(kvat_engine *engine) {
    if (!engine) return;
    free(engine->name);
    free(engine->title);
    free(engine->needs);
    free_words(engine->command);
    free_words(engine->environment);
    free_words(engine->models);
    free(engine);
}

void kvat_engines_free(kvat_engine **engines) {
    for (kvat_engine **engine = engines; engine && *engine; engine++) kvat_engine_free(*engine);
    free(engines);
}

/* ---- manifests ---- */

/** `text` with ${libexec} and ${manifest} replaced; heap. */
static char *expand(const char *text, const char *libexec, const char *folder) {
    kvat_buf out = KVAT_BUF_INIT;
    while (*text) {
        if (strncmp(text, "${libexec}", 10) == 0) {
            kvat_buf_puts(&out, libexec);
            text += 10;
        } else if (strncmp(text, "${manifest}", 11) == 0) {
            kvat_buf_puts(&out, folder);
            text += 11;
        } else {
            kvat_buf_putc(&out, *text++);
        }
    }
    return kvat_buf_take(&out);
}

typedef struct manifest_place {
    const char *libexec, *folder, *path;
} manifest_place;

static kvat_status read_words(char ***out, kvat_json_at at, const char *member, const manifest_place *place,
                              kvat_error *err) {
    json_t *array = NULL;
    kvat_status status = kvat_json_get_array(&array, at, member, true, err);
    if (status != KVAT_OK) return status;
    size_t n = json_array_size(array);
    if (n == 0) return kvat_fail(err, KVAT_ERR_DATA, "%s: \"%s\" is empty", place->path, member);
    char **words = calloc(n + 1, sizeof *words);
    if (!words) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text) {
            free_words(words);
            return kvat_fail(err, KVAT_ERR_DATA, "%s: \"%s\" must hold strings", place->path, member);
        }
        words[i] = expand(text, place->libexec, place->folder);
        if (!words[i]) {
            free_words(words);
            return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
        }
    }
    *out = words;
    return KVAT_OK;
}

static kvat_status read_environment(char ***out, kvat_json_at at, const manifest_place *place, kvat_error *err) {
    json_t *object = NULL;
    kvat_status status = kvat_json_get_object(&object, at, "environment", false, err);
    if (status != KVAT_OK) return status;
    char **words = calloc(json_object_size(object) + 1, sizeof *words);
    if (!words) return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        kvat_buf line = KVAT_BUF_INIT;
        if (!json_is_string(value)) {
            free_words(words);
            return kvat_fail(err, KVAT_ERR_DATA, "%s: \"environment\" must hold strings", place->path);
        }
        kvat_buf_printf(&line, "%s=%s", name, json_string_value(value));
        words[n] = kvat_buf_take(&line);
        if (!words[n++]) {
            free_words(words);
            return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
        }
    }
    *out = words;
    return KVAT_OK;
}

static kvat_status engine_from_manifest(kvat_engine **out, const char *path, const char *libexec, kvat_error *err) {
    json_t *json = NULL;
    kvat_engine *engine = NULL;
    char *folder = strdup(path);
    kvat_status status = folder ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
    if (status != KVAT_OK) goto done;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    manifest_place place = {libexec, slash ? folder : ".", path};
    status = kvat_json_read_file(&json, path, err);
    if (status != KVAT_OK) goto done;
    kvat_json_at at = {json, path};
    const char *format = NULL, *name = NULL, *title = NULL, *needs = "";
    status = kvat_json_get_string(&format, at, "format", true, err);
    if (status == KVAT_OK && strcmp(format, "kvat-engine/1") != 0)
        status = kvat_fail(err, KVAT_ERR_DATA, "%s: format must be \"kvat-engine/1\"", path);
    if (status == KVAT_OK) status = kvat_json_get_string(&name, at, "name", true, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&title, at, "title", false, err);
    if (status == KVAT_OK) status = kvat_json_get_string(&needs, at, "needs", false, err);
    if (status != KVAT_OK) goto done;
    engine = calloc(1, sizeof *engine);
    if (engine) {
        engine->name = strdup(name);
        engine->title = strdup(title ? title : name);
        engine->needs = strdup(needs);
    }
    if (!engine || !engine->name || !engine->title || !engine->needs) {
        status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate a manifest");
        goto done;
    }
    status = read_words(&engine->command, at, "command", &place, err);
    if (status == KVAT_OK) status = read_words(&engine->models, at, "models", &place, err);
    if (status == KVAT_OK) status = read_environment(&engine->environment, at, &place, err);
    if (status == KVAT_OK) {
        *out = engine;
        engine = NULL;
    }
done:
    kvat_engine_free(engine);
    json_decref(json);
    free(folder);
    return status;
}

static int is_manifest(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".json") == 0;
}

kvat_status kvat_engines_list(kvat_engine ***out, kvat_error *err) {
    char *data = NULL, *libexec = NULL, *folder = NULL;
    struct dirent **entries = NULL;
    kvat_engine **engines = NULL;
    int n = 0;
    kvat_status status = kvat_data_dir(&data, err);
    if (status == KVAT_OK) status = kvat_libexec_dir(&libexec, err);
    if (status != KVAT_OK) goto done;
    folder = kvat_path_join(data, "engines");
    n = folder ? scandir(folder, &entries, is_manifest, alphasort) : 0;
    if (n < 0) {
        n = 0;
        status = kvat_fail_errno(err, KVAT_ERR_ENGINE, errno, "no engine manifests in %s", folder);
        goto done;
    }
    engines = calloc((size_t)n + 1, sizeof *engines);
    if (!folder || !engines) status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the list of engines");
    for (int i = 0; i < n && status == KVAT_OK; i++) {
        char *path = kvat_path_join(folder, entries[i]->d_name);
        status = path ? engine_from_manifest(&engines[i], path, libexec, err)
                      : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the list of engines");
        free(path);
    }
    if (status == KVAT_OK) {
        *out = engines;
        engines = NULL;
    }
done:
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    kvat_engines_free(engines);
    free(folder);
    free(libexec);
    free(data);
    return status;
}

/* ---- resolving ---- */

/** An engine that is a bare program: any worker by path. */
static kvat_status engine_from_program(kvat_engine **out, const char *path, kvat_error *err) {
    if (access(path, X_OK) != 0)
        return kvat_fail_errno(err, KVAT_ERR_ENGINE, errno, "cannot run the engine '%s'", path);
    kvat_engine *engine = calloc(1, sizeof *engine);
    const char *slash = strrchr(path, '/');
    if (engine) {
        engine->name = strdup(slash ? slash + 1 : path);
        engine->title = strdup(slash ? slash + 1 : path);
        engine->needs = strdup("");
        engine->command = calloc(2, sizeof *engine->command);
        engine->environment = calloc(1, sizeof *engine->environment);
        engine->models = calloc(1, sizeof *engine->models);
    }
    if (engine && engine->command) engine->command[0] = strdup(path);
    if (!engine || !engine->name || !engine->title || !engine->needs || !engine->command || !engine->command[0] ||
        !engine->environment || !engine->models) {
        kvat_engine_free(engine);
        return kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate an engine");
    }
    *out = engine;
    return KVAT_OK;
}

static kvat_status engine_from_path(kvat_engine **out, const char *path, kvat_error *err) {
    size_t n = strlen(path);
    if (n <= 5 || strcmp(path + n - 5, ".json") != 0) return engine_from_program(out, path, err);
    char *libexec = NULL;
    kvat_status status = kvat_libexec_dir(&libexec, err);
    if (status == KVAT_OK) status = engine_from_manifest(out, path, libexec, err);
    free(libexec);
    return status;
}

/** Takes engine `index` out of the list. */
static kvat_engine *take(kvat_engine **engines, size_t index) {
    kvat_engine *taken = engines[index];
    do engines[index] = engines[index + 1];
    while (engines[index++]);
    return taken;
}

static kvat_status unknown_engine(kvat_engine *const *engines, const char *name, kvat_error *err) {
    const char *names[64];
    size_t n = 0;
    kvat_buf list = KVAT_BUF_INIT;
    for (; n < 64 && engines[n]; n++) {
        names[n] = engines[n]->name;
        kvat_buf_printf(&list, "%s%s", n ? ", " : "", names[n]);
    }
    int nearest = kvat_nearest_word(name, names, n);
    kvat_status status =
        nearest >= 0
            ? kvat_fail(err, KVAT_ERR_USAGE, "unknown engine '%s': did you mean '%s'?", name, names[nearest])
            : kvat_fail(err, KVAT_ERR_USAGE, "unknown engine '%s' (known: %s)", name, list.bytes ? list.bytes : "none");
    kvat_buf_clear(&list);
    return status;
}

/** Does the model match? A pattern "…/FILE" also takes a folder that holds FILE; "*" takes what may be a name of a hub:
 * nothing that is here, and nothing that reads as a path. */
static bool answers(const char *pattern, const char *model) {
    const char *file = strrchr(pattern, '/');
    struct stat info;
    bool is_here = stat(model, &info) == 0;
    if (strcmp(pattern, "*") == 0) return !is_here && !strchr("/.~", *model) && !strchr(model, ':');
    if (fnmatch(pattern, model, 0) == 0) return true;
    if (!file || !is_here || !S_ISDIR(info.st_mode)) return false;
    char *path = kvat_path_join(model, file + 1);
    bool held = path && fnmatch(pattern, path, 0) == 0 && access(path, F_OK) == 0;
    free(path);
    return held;
}

/** How much a pattern says about a model: what stands before its first wildcard says more than all after. */
static size_t weight_of(const char *pattern) {
    return 1000 * strcspn(pattern, "*?[") + strlen(pattern);
}

/** The weightiest pattern that the model matches, and of equal ones the first. */
static const char *best_pattern(size_t *index, kvat_engine *const *engines, const char *model) {
    const char *best = NULL;
    for (size_t i = 0; engines[i]; i++) {
        for (char **pattern = engines[i]->models; *pattern; pattern++) {
            if ((best && weight_of(*pattern) <= weight_of(best)) || !answers(*pattern, model)) continue;
            best = *pattern;
            *index = i;
        }
    }
    return best;
}

static kvat_status resolve_by_model(size_t *index, kvat_buf *why, kvat_engine *const *engines, const char *model,
                                    kvat_error *err) {
    const char *pattern = best_pattern(index, engines, model);
    struct stat info;
    if (pattern && strcmp(pattern, "*") == 0) {
        kvat_buf_printf(why, "engine %s, because the model is no file here", engines[*index]->title);
        return KVAT_OK;
    }
    if (pattern) {
        kvat_buf_printf(why, "engine %s, because the model matches %s", engines[*index]->title, pattern);
        return KVAT_OK;
    }
    if (!strchr(model, ':') && stat(model, &info) != 0)
        return kvat_fail(err, KVAT_ERR_DATA,
                         "no such model '%s': give the path of a GGUF file, a folder or hub name of Transformers, "
                         "synthetic:ARCH, or a surface (.json)",
                         model);
    return kvat_fail(err, KVAT_ERR_ENGINE, "no engine answers to the model '%s': name one with --engine", model);
}

kvat_status kvat_engine_resolve(kvat_engine **out, char **why, const char *name, const char *model, kvat_error *err) {
    kvat_engine **engines = NULL;
    kvat_engine *engine = NULL;
    kvat_buf reason = KVAT_BUF_INIT;
    kvat_status status = KVAT_OK;
    if (name && strchr(name, '/')) {
        kvat_buf_printf(&reason, "engine %s, as asked", name);
        status = engine_from_path(&engine, name, err);
        goto done;
    }
    status = kvat_engines_list(&engines, err);
    if (status != KVAT_OK) goto done;
    size_t index = 0;
    if (name) {
        while (engines[index] && strcmp(engines[index]->name, name) != 0) index++;
        if (!engines[index])
            status = unknown_engine(engines, name, err);
        else
            kvat_buf_printf(&reason, "%s, as asked", engines[index]->title);
    } else {
        status = resolve_by_model(&index, &reason, engines, model, err);
    }
    if (status == KVAT_OK) engine = take(engines, index);
done:
    if (status == KVAT_OK && why) {
        *why = kvat_buf_take(&reason);
        if (!*why) status = kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate an engine");
    }
    kvat_buf_clear(&reason);
    kvat_engines_free(engines);
    if (status == KVAT_OK)
        *out = engine;
    else
        kvat_engine_free(engine);
    return status;
}

kvat_status kvat_engine_query(json_t **out, const kvat_engine *engine, const char *model, const kvat_cancel *cancel,
                              kvat_error *err) {
    kvat__session *session = NULL;
    json_t *hello = NULL, *describe = NULL;
    kvat__session_options options = {.engine = engine, .model = model, .cancel = cancel};
    kvat_status status = kvat__session_open(&session, &hello, model ? &describe : NULL, &options, err);
    if (status == KVAT_OK) {
        json_t *object = json_pack("{s:O, s:O?, s:O?, s:O?}", "engine", json_object_get(hello, "engine"), "clock",
                                   json_object_get(hello, "clock"), "capabilities",
                                   json_object_get(hello, "capabilities"), "describe", describe);
        if (object)
            *out = object;
        else
            status = kvat_fail(err, KVAT_ERR_ENGINE, "%s: `initialize` answered without \"engine\"", engine->name);
    }
    kvat__session_close(session);
    json_decref(hello);
    json_decref(describe);
    return status;
}

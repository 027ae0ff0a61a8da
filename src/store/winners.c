// Winners of earlier runs: one JSON file a fingerprint, in a folder that all folders of results share.
// Must not know what a fingerprint is made of, nor when a winner may be replaced.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "kvat/file.h"
#include "kvat/hash.h"
#include "kvat/store.h"

enum { MOST_SETTINGS = 128 };

static bool is_fingerprint(const char *text) {
    return strlen(text) == KVAT_HASH_HEX - 1 && strspn(text, "0123456789abcdef") == KVAT_HASH_HEX - 1;
}

/** "<folder>/<fingerprint>.json", heap. */
static kvat_status path_of(char **out, const char *folder, const char *fingerprint, kvat_error *err) {
    char name[KVAT_HASH_HEX + 8];
    if (!is_fingerprint(fingerprint))
        return kvat_fail(err, KVAT_ERR_USAGE, "a winner's fingerprint is 64 hexadecimal digits");
    (void)snprintf(name, sizeof name, "%s.json", fingerprint);
    *out = kvat_path_join(folder, name);
    return *out ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "cannot allocate the path of a winner");
}

static kvat_status check_settings(const json_t *settings, const char *path, kvat_error *err) {
    const char *name;
    json_t *value;
    if (json_object_size(settings) > MOST_SETTINGS)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: more than %d settings", path, MOST_SETTINGS);
    json_object_foreach((json_t *)settings, name, value) {
        if (!json_is_string(value) && !json_is_integer(value))
            return kvat_fail(err, KVAT_ERR_DATA, "%s: settings.%s: expected a string or an integer", path, name);
    }
    return KVAT_OK;
}

static kvat_status check(const json_t *winner, const char *fingerprint, const char *path, kvat_error *err) {
    kvat_json_at at = {winner, path};
    const char *format = NULL, *named = NULL, *label = NULL;
    json_t *settings = NULL;
    if (!json_is_object(winner)) return kvat_fail(err, KVAT_ERR_DATA, "%s: expected an object", path);
    kvat_status status = kvat_json_get_string(&format, at, "format", true, err);
    if (status == KVAT_OK && strcmp(format, "kvat-winner/1") != 0)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: format: expected \"kvat-winner/1\"", path);
    if (status == KVAT_OK) status = kvat_json_get_string(&named, at, "fingerprint", true, err);
    if (status == KVAT_OK && strcmp(named, fingerprint) != 0)
        return kvat_fail(err, KVAT_ERR_DATA, "%s: fingerprint: it is not the one that the file is named after", path);
    if (status == KVAT_OK) status = kvat_json_get_string(&label, at, "label", true, err);
    if (status == KVAT_OK) status = kvat_json_get_object(&settings, at, "settings", true, err);
    return status == KVAT_OK ? check_settings(settings, path, err) : status;
}

static bool is_absent(const char *path) {
    struct stat info;
    return lstat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

kvat_status kvat_winner_read(json_t **out, const char *folder, const char *fingerprint, kvat_error *err) {
    char *path = NULL;
    json_t *winner = NULL;
    kvat_status status = path_of(&path, folder, fingerprint, err);
    if (status != KVAT_OK) return status;
    if (!is_absent(path)) {
        status = kvat_json_read_file(&winner, path, err);
        if (status == KVAT_OK) status = check(winner, fingerprint, path, err);
    }
    free(path);
    if (status == KVAT_OK)
        *out = winner;
    else
        json_decref(winner);
    return status;
}

kvat_status kvat_winner_write(const char *folder, const json_t *winner, kvat_error *err) {
    const char *fingerprint = json_string_value(json_object_get(winner, "fingerprint"));
    char *path = NULL;
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = path_of(&path, folder, fingerprint ? fingerprint : "", err);
    if (status == KVAT_OK) status = check(winner, fingerprint, path, err);
    if (status == KVAT_OK) status = kvat_json_put_pretty(&text, winner);
    if (status == KVAT_ERR_NOMEM) status = kvat_fail(err, status, "cannot allocate a winner");
    if (status == KVAT_OK) status = kvat_dir_make(folder, err);
    if (status == KVAT_OK) status = kvat_file_write(path, text.bytes, text.length, 0644, err);
    kvat_buf_clear(&text);
    free(path);
    return status;
}

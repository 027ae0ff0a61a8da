/* Folders: made, and found by convention or beside the running program.
 * Must not know what is kept in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvat/file.h"

char *kvat_path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    kvat_buf path = KVAT_BUF_INIT;
    kvat_buf_puts(&path, folder);
    if (length > 0 && folder[length - 1] != '/') kvat_buf_putc(&path, '/');
    kvat_buf_puts(&path, name);
    return kvat_buf_take(&path);
}

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static kvat_status make_one(const char *path, kvat_error *err) {
    if (mkdir(path, 0777) == 0) return KVAT_OK;
    int errnum = errno; /* EEXIST, or a read-only parent: either way fine when the folder is there */
    if (is_folder(path)) return KVAT_OK;
    if (errnum == EEXIST) return kvat_fail(err, KVAT_ERR_IO, "cannot make folder %s: something else is there", path);
    return kvat_fail_errno(err, KVAT_ERR_IO, errnum, "cannot make folder %s", path);
}

kvat_status kvat_dir_make(const char *path, kvat_error *err) {
    if (!*path) return kvat_fail(err, KVAT_ERR_IO, "cannot make a folder without a name");
    char *part = strdup(path);
    if (!part) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    kvat_status status = KVAT_OK;
    for (char *slash = strchr(part + 1, '/'); slash && status == KVAT_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = make_one(part, err);
        *slash = '/';
    }
    if (status == KVAT_OK) status = make_one(part, err);
    free(part);
    return status;
}

/* The variable's value, or NULL when it is unset or empty. */
static const char *setting(const char *variable) {
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

static kvat_status answer(char **out, char *path, kvat_error *err) {
    if (!path) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    *out = path;
    return KVAT_OK;
}

kvat_status kvat_xdg_dir(char **out, kvat_xdg which, kvat_error *err) {
    static const struct {
        const char *variable, *below_home;
    } places[] = {[KVAT_XDG_CACHE] = {"XDG_CACHE_HOME", ".cache/kvat"},
                  [KVAT_XDG_STATE] = {"XDG_STATE_HOME", ".local/state/kvat"},
                  [KVAT_XDG_CONFIG] = {"XDG_CONFIG_HOME", ".config/kvat"}};

    const char *own = which == KVAT_XDG_CACHE ? setting("KVAT_CACHE_DIR") : NULL;
    if (own) return answer(out, strdup(own), err);
    const char *base = setting(places[which].variable);
    if (base && *base == '/')
        return answer(out, kvat_path_join(base, "kvat"), err); /* a relative one is to be ignored */
    const char *home = setting("HOME");
    if (!home)
        return kvat_fail(err, KVAT_ERR_IO, "neither HOME nor %s is set; set one to a folder", places[which].variable);
    return answer(out, kvat_path_join(home, places[which].below_home), err);
}

/* Cuts the last part off an absolute path; "/a" becomes "". */
static void go_up(char *path) {
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
}

static bool ends_with(const char *path, const char *end) {
    size_t length = strlen(path);
    size_t end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

/* The prefix of the installation: what holds bin/ and libexec/kvat/. The program lies in one of them. */
static bool find_prefix(char *prefix, size_t size) {
    ssize_t length = readlink("/proc/self/exe", prefix, size - 1);
    if (length <= 0 || (size_t)length == size - 1) return false;
    prefix[length] = '\0';
    go_up(prefix);
    if (ends_with(prefix, "/libexec/kvat") || ends_with(prefix, "/lib/kvat")) go_up(prefix);
    go_up(prefix);
    return true;
}

/* The first of `places` (NULL-terminated) that is a folder below the prefix, unless `variable` names another. */
static kvat_status find_beside(char **out, const char *variable, const char *const *places, kvat_error *err) {
    char prefix[4096];
    const char *own = setting(variable);
    if (own) return answer(out, strdup(own), err);
    if (!find_prefix(prefix, sizeof prefix))
        return kvat_fail_errno(err, KVAT_ERR_IO, errno, "cannot tell where this program lies; set %s", variable);
    for (size_t i = 0; places[i]; i++) {
        char *path = kvat_path_join(*prefix ? prefix : "/", places[i]);
        if (!path || is_folder(path)) return answer(out, path, err);
        free(path);
    }
    return kvat_fail(err, KVAT_ERR_IO, "no folder %s below %s; reinstall kvat, or set %s", places[0],
                     *prefix ? prefix : "/", variable);
}

kvat_status kvat_libexec_dir(char **out, kvat_error *err) {
    static const char *const places[] = {"libexec/kvat", "lib/kvat", NULL};
    return find_beside(out, "KVAT_LIBEXEC_DIR", places, err);
}

kvat_status kvat_data_dir(char **out, kvat_error *err) {
    static const char *const places[] = {"share/kvat", NULL};
    return find_beside(out, "KVAT_DATA_DIR", places, err);
}

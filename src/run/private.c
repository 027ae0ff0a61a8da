// What a worker says, as it may be kept: without folders and without the name of this machine.
// Must not know what the texts are about, nor who keeps them.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run_internal.h"

/** Names that must not be kept, as this machine has them. */
typedef struct names {
    const char *home;
    char host[256], short_host[256]; /**< "" where there is none worth hiding */
} names;

static void names_find(names *out) {
    memset(out, 0, sizeof *out);
    out->home = getenv("HOME");
    if (out->home && (out->home[0] != '/' || !out->home[1])) out->home = NULL;
    if (gethostname(out->host, sizeof out->host - 1) != 0 || strcmp(out->host, "localhost") == 0) out->host[0] = '\0';
    memcpy(out->short_host, out->host, strcspn(out->host, "."));
}

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/** A typographic quotation mark, as compilers and libraries print them, in UTF-8: U+2018 to U+201F. */
static bool is_curly(const char *at) {
    return strncmp(at, "\xe2\x80", 2) == 0 && (unsigned char)at[2] >= 0x98 && (unsigned char)at[2] <= 0x9f;
}

/** Bytes of the home folder that begins at `at`; 0 when none does. */
static size_t home_length(const names *hide, const char *at) {
    size_t n = hide->home ? strlen(hide->home) : 0;
    while (n > 1 && hide->home[n - 1] == '/') n--;
    bool here = n > 1 && strncmp(at, hide->home, n) == 0;
    return here && (at[n] == '/' || (!is_word(at[n]) && at[n] != '.')) ? n : 0;
}

/** Does an absolute path begin at `at`? The home folder does anywhere, as in "-I/home/…". */
static bool begins_path(const names *hide, const char *text, const char *at) {
    if (*at != '/') return false;
    if (at == text || home_length(hide, at)) return true;
    if (at[-1] == '/') return at - text >= 3 && strncmp(at - 3, "://", 3) == 0; /* file:///home, not https://host */
    if (at[-1] == ':' && at[1] == '/') return false;
    return strchr(" \t\n\r\"'`([{<>|=,:;@", at[-1]) || (at - text >= 3 && is_curly(at - 3));
}

static bool ends_path(const char *at) {
    if (!*at || strchr("\n\r\"'`:<>|", *at) || is_curly(at)) return true;
    return strchr(",;=", *at) && at[1] == '/';
}

/** Bytes of the path that begins at `at`. A space ends it, but in quotation marks that hold nothing else. */
static size_t path_length(const names *hide, const char *text, const char *at) {
    size_t n = home_length(hide, at), spaced = 0;
    bool quoted = at > text && (strchr("\"'`", at[-1]) || (at - text >= 3 && is_curly(at - 3)));
    for (; !ends_path(at + n); n++) {
        if (n > 0 && begins_path(hide, text, at + n)) return spaced ? spaced : n;
        if (!spaced && (at[n] == ' ' || at[n] == '\t')) spaced = n;
        if (spaced && !quoted) return spaced;
    }
    bool closed = at[n] && (strchr("\"'`", at[n]) || is_curly(at + n));
    return spaced && !closed ? spaced : n;
}

/** A folder whose last part is a user's name: the home, or one of /home and /Users. */
static bool is_a_home(const names *hide, const char *path, size_t n) {
    size_t first = strncmp(path, "/home/", 6) == 0 ? 6 : strncmp(path, "/Users/", 7) == 0 ? 7 : 0;
    return home_length(hide, path) == n || (first > 0 && first < n && !memchr(path + first, '/', n - first));
}

static void put_path(kvat_buf *out, const names *hide, const char *path, size_t n) {
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') start--;
    if (is_a_home(hide, path, n))
        kvat_buf_puts(out, "~");
    else if (start == n) /* the root */
        kvat_buf_puts(out, "/");
    else
        kvat_buf_put(out, path + start, n - start);
}

static void put_without_folders(kvat_buf *out, const names *hide, const char *text) {
    for (const char *at = text; *at;) {
        size_t n = begins_path(hide, text, at) ? path_length(hide, text, at) : 0;
        if (n > 0)
            put_path(out, hide, at, n);
        else
            kvat_buf_putc(out, *at);
        at += n > 0 ? n : 1;
    }
}

/** Bytes of `name` as a word of its own at `at`; 0 when it is not there. */
static size_t name_length(const char *name, const char *text, const char *at) {
    size_t n = strlen(name);
    if (n < 2 || strncmp(at, name, n) != 0) return 0;
    return (at == text || !is_word(at[-1])) && !is_word(at[n]) ? n : 0;
}

static void put_without_host(kvat_buf *out, const names *hide, const char *text) {
    for (const char *at = text; *at;) {
        size_t n = name_length(hide->host, text, at);
        if (n == 0) n = name_length(hide->short_host, text, at);
        if (n > 0)
            kvat_buf_puts(out, "HOST");
        else
            kvat_buf_putc(out, *at);
        at += n > 0 ? n : 1;
    }
}

void kvat__put_private(kvat_buf *out, const char *text) {
    names hide;
    kvat_buf bare = KVAT_BUF_INIT;
    names_find(&hide);
    put_without_folders(&bare, &hide, text);
    if (bare.status == KVAT_OK)
        put_without_host(out, &hide, bare.bytes ? bare.bytes : "");
    else
        out->status = bare.status;
    kvat_buf_clear(&bare);
}

kvat_status kvat__make_private(kvat_buf *text, kvat_error *err) {
    kvat_buf told = KVAT_BUF_INIT;
    if (text->status != KVAT_OK || !text->bytes || text->length == 0) return kvat_buf_status(text, err);
    kvat__put_private(&told, text->bytes);
    kvat_status status = kvat_buf_status(&told, err);
    if (status == KVAT_OK) {
        kvat_buf_reset(text);
        kvat_buf_puts(text, told.bytes);
        status = kvat_buf_status(text, err);
    }
    kvat_buf_clear(&told);
    return status;
}

static kvat_status text_made_private(json_t *text, kvat_error *err) {
    kvat_buf told = KVAT_BUF_INIT;
    const char *old = json_string_value(text);
    kvat__put_private(&told, old);
    kvat_status status = kvat_buf_status(&told, err);
    const char *made = told.bytes ? told.bytes : "";
    if (status == KVAT_OK && strcmp(old, made) != 0 && json_string_set(text, made) != 0)
        status = kvat_fail(err, KVAT_ERR_NOMEM, "no memory for what the worker says");
    kvat_buf_clear(&told);
    return status;
}

kvat_status kvat__make_json_private(json_t *json, kvat_error *err) {
    kvat_status status = KVAT_OK;
    const char *name;
    json_t *value;
    size_t i;
    if (json_is_string(json)) return text_made_private(json, err);
    json_object_foreach(json, name, value) {
        if (status == KVAT_OK) status = kvat__make_json_private(value, err);
    }
    json_array_foreach(json, i, value) {
        if (status == KVAT_OK) status = kvat__make_json_private(value, err);
    }
    return status;
}

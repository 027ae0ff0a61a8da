// Small text files of /proc and /sys.
// Must not know what the numbers mean.
#include "probe_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, CHUNK_BYTES = 4096, FILE_CEILING = 4 << 20 };

/** Files of /proc have no size to ask for: they are read to the end. */
static bool read_all(kvat_buf *out, const char *path) {
    char chunk[CHUNK_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && out->length < FILE_CEILING) kvat_buf_put(out, chunk, (size_t)n);
    close(fd);
    if (out->length == 0) kvat_buf_puts(out, "");
    return n >= 0 && out->status == KVAT_OK && out->bytes != NULL;
}

static bool read_at(kvat_buf *out, const kvat__root *root, const char *path) {
    char full[PATH_BYTES];
    int n = snprintf(full, sizeof full, "%s%s", root->prefix, path);
    kvat_buf_reset(out);
    bool done = n >= 0 && (size_t)n < sizeof full && read_all(out, full);
    if (out->status == KVAT_ERR_NOMEM && root->out_of_memory) *root->out_of_memory = true;
    return done;
}

bool kvat__read(kvat_buf *out, const kvat__root *root, const char *format, ...) {
    char path[PATH_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    return n >= 0 && (size_t)n < sizeof path && read_at(out, root, path);
}

int kvat__numbers(int64_t *values, int n, const char *text) {
    for (int i = 0; i < n; i++) {
        char *end;
        errno = 0;
        values[i] = strtoll(text, &end, 10);
        if (end == text || errno != 0) return i;
        text = end;
    }
    return n;
}

bool kvat__read_int(int64_t *value, const kvat__root *root, const char *format, ...) {
    char path[PATH_BYTES];
    va_list arguments;
    int64_t parsed;
    kvat_buf text = KVAT_BUF_INIT;
    va_start(arguments, format);
    int n = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    bool done =
        n >= 0 && (size_t)n < sizeof path && read_at(&text, root, path) && kvat__numbers(&parsed, 1, text.bytes) == 1;
    if (done) *value = parsed;
    kvat_buf_clear(&text);
    return done;
}

/** Copies one line without the blanks around it. */
static void copy_line(char *out, size_t size, const char *from) {
    while (*from == ' ' || *from == '\t') from++;
    size_t n = strcspn(from, "\n");
    while (n > 0 && isspace((unsigned char)from[n - 1])) n--;
    if (n >= size) n = size - 1;
    memcpy(out, from, n);
    out[n] = '\0';
}

void kvat__read_word(char *out, size_t size, const kvat__root *root, const char *path) {
    kvat_buf text = KVAT_BUF_INIT;
    out[0] = '\0';
    if (kvat__read(&text, root, "%s", path)) copy_line(out, size, text.bytes);
    kvat_buf_clear(&text);
}

/** What follows `key` where it opens a line and is followed by a separator. */
static const char *find_after(const char *text, const char *key) {
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, n) == 0 && line[n] != '\0' && strchr(" \t:=", line[n])) return line + n;
    }
    return NULL;
}

static const char *skip_separator(const char *at) {
    at += strspn(at, " \t");
    if (*at == ':' || *at == '=') at++;
    return at + strspn(at, " \t");
}

int64_t kvat__number_after(const char *text, const char *key) {
    const char *at = find_after(text, key);
    int64_t value = -1;
    return at && kvat__numbers(&value, 1, skip_separator(at)) == 1 ? value : -1;
}

void kvat__text_after(char *out, size_t size, const char *text, const char *key) {
    const char *at = find_after(text, key);
    out[0] = '\0';
    if (at) copy_line(out, size, skip_separator(at));
}

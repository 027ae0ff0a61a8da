// Small text files of /proc and /sys.
// Must not know what the numbers mean.
#include "probe_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

static bool read_at(kvat_buf *out, const kvat__root *root, const char *format, va_list arguments) {
    char path[PATH_BYTES];
    int prefix = snprintf(path, sizeof path, "%s", root->prefix);
    if (prefix < 0 || (size_t)prefix >= sizeof path) return false;
    size_t room = sizeof path - (size_t)prefix;
    int n = vsnprintf(path + prefix, room, format, arguments);
    kvat_buf_reset(out);
    return n >= 0 && (size_t)n < room && read_all(out, path);
}

bool kvat__read(kvat_buf *out, const kvat__root *root, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    bool done = read_at(out, root, format, arguments);
    va_end(arguments);
    return done;
}

static bool parse_int(int64_t *value, const char *text) {
    char *end;
    errno = 0;
    intmax_t parsed = strtoimax(text, &end, 10);
    if (end == text || errno != 0) return false;
    *value = (int64_t)parsed;
    return true;
}

bool kvat__read_int(int64_t *value, const kvat__root *root, const char *format, ...) {
    va_list arguments;
    kvat_buf text = KVAT_BUF_INIT;
    va_start(arguments, format);
    bool done = read_at(&text, root, format, arguments) && parse_int(value, text.bytes);
    va_end(arguments);
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
    return at && parse_int(&value, skip_separator(at)) ? value : -1;
}

void kvat__text_after(char *out, size_t size, const char *text, const char *key) {
    const char *at = find_after(text, key);
    out[0] = '\0';
    if (at) copy_line(out, size, skip_separator(at));
}

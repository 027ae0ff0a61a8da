// The two output streams: data to stdout, talk to stderr, both surviving closed pipes, full disks and plain terminals.
// It must not know which command is writing.
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "kvat/file.h"
#include "kvat/units.h"

/* ---- what the streams can do ---- */

static bool terminal_is_dumb(void) {
    const char *term = getenv("TERM");
    return !term || !*term || strcmp(term, "dumb") == 0;
}

static void stream_init(cli_stream *stream, int fd) {
    stream->fd = fd;
    stream->terminal = isatty(fd) && !terminal_is_dumb();
    const char *no_color = getenv("NO_COLOR");
    stream->color = stream->terminal && !(no_color && *no_color);
}

void cli_io_init(cli_io *io) {
    memset(io, 0, sizeof *io);
    stream_init(&io->out, STDOUT_FILENO);
    stream_init(&io->err, STDERR_FILENO);
    setlocale(LC_CTYPE, "");
    io->unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void cli_io_set(cli_io *io, const cli_args *args) {
    io->json = cli_has(args, CLI_JSON);
    io->verbosity = cli_has(args, CLI_QUIET) ? -1 : (int)args->values[CLI_VERBOSE].count;
    const char *color = cli_text(args, CLI_COLOR);
    if (!color || strcmp(color, "auto") == 0) return;
    io->out.color = io->err.color = strcmp(color, "always") == 0;
}

bool cli_one_place(const cli_io *io) {
    struct stat out, err;
    if (fstat(io->out.fd, &out) != 0 || fstat(io->err.fd, &err) != 0) return false;
    return out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

static size_t columns_of_environment(void) {
    const char *text = getenv("COLUMNS");
    int64_t columns = 80;
    if (text && kvat_parse_int(&columns, text, 20, 1000, "COLUMNS", NULL) != KVAT_OK) columns = 80;
    return (size_t)columns;
}

size_t cli_columns(const cli_stream *stream) {
    struct winsize size;
    if (isatty(stream->fd) && ioctl(stream->fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
    return columns_of_environment();
}

kvat_terminal_style cli_style(const cli_io *io, const cli_stream *stream) {
    return (kvat_terminal_style){.columns = cli_columns(stream), .color = stream->color, .unicode = io->unicode};
}

/* ---- writing ---- */

/** 0, or errno of the write that failed. */
static int write_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            (void)poll(&ready, 1, -1);
            continue;
        }
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        bytes += written;
        n -= (size_t)written;
    }
    return 0;
}

void cli_out(cli_io *io, const char *bytes, size_t n) {
    if (n == 0) return;
    io->wrote = true;
    if (io->out_gone || io->out_errno) return;
    int error = write_all(io->out.fd, bytes, n);
    if (error == EPIPE)
        io->out_gone = true;
    else
        io->out_errno = error;
}

kvat_status cli_out_buf(cli_io *io, kvat_buf *buf, kvat_error *err) {
    kvat_status status = kvat_buf_status(buf, err);
    if (status == KVAT_OK) cli_out(io, buf->bytes, buf->length);
    kvat_buf_clear(buf);
    return status;
}

kvat_status cli_out_made(cli_io *io, kvat_status made, kvat_buf *buf, kvat_error *err) {
    if (made == KVAT_OK) return cli_out_buf(io, buf, err);
    kvat_buf_clear(buf);
    return made;
}

kvat_status cli_out_list(cli_io *io, const char *format, const char *name, json_t *list, kvat_buf *text,
                         kvat_error *err) {
    if (!io->json) return cli_out_buf(io, text, err);
    return cli_out_json(io, json_pack("{s:s, s:O}", "format", format, name, list), err);
}

kvat_status cli_out_json(cli_io *io, json_t *document, kvat_error *err) {
    if (!document) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    kvat_buf text = KVAT_BUF_INIT;
    kvat_status status = kvat_json_put_pretty(&text, document);
    json_decref(document);
    if (status == KVAT_OK) return cli_out_buf(io, &text, err);
    kvat_buf_clear(&text);
    return kvat_fail(err, status, "cannot write JSON: %s", kvat_status_word(status));
}

kvat_status cli_out_status(const cli_io *io, kvat_error *err) {
    if (!io->out_errno) return KVAT_OK;
    return kvat_fail_errno(err, KVAT_ERR_IO, io->out_errno, "cannot write to standard output");
}

void cli_err(const cli_io *io, const char *bytes, size_t n) {
    (void)write_all(io->err.fd, bytes, n);
}

int cli_err_buf(const cli_io *io, kvat_buf *buf) {
    int error = kvat_buf_status(buf, NULL) == KVAT_OK ? write_all(io->err.fd, buf->bytes, buf->length) : ENOMEM;
    kvat_buf_clear(buf);
    return error;
}

static void say_line(const cli_io *io, const char *label, const char *text) {
    kvat_buf line = KVAT_BUF_INIT, inert = KVAT_BUF_INIT;
    size_t columns = io->err.terminal ? cli_columns(&io->err) : SIZE_MAX;
    if (*label) cli_put_sgr(&line, &io->err, "33", label);
    cli_put(&inert, io, text);
    if (inert.bytes) cli_wrap(&line, inert.bytes, strlen(label), 2, columns);
    kvat_buf_putc(&line, '\n');
    cli_err_buf(io, &line);
    kvat_buf_clear(&inert);
}

void cli_say(const cli_io *io, const char *format, ...) {
    char text[2048];
    va_list values;
    if (io->verbosity < 0) return;
    va_start(values, format);
    /* clang 14 overlooks the va_start(). NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    say_line(io, "", text);
}

void cli_warn(const cli_io *io, const char *format, ...) {
    char text[2048];
    va_list values;
    va_start(values, format);
    /* clang 14 overlooks the va_start(). NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    say_line(io, "kvat: warning: ", text);
}

void cli_say_next(cli_io *io) {
    kvat_buf line = KVAT_BUF_INIT;
    if (io->verbosity >= 0 && !io->json && io->next.length > 0 && io->next.status == KVAT_OK) {
        cli_put(&line, io, io->next.bytes);
        kvat_buf_putc(&line, '\n');
        cli_err_buf(io, &line);
    }
    kvat_buf_clear(&io->next);
}

void cli_next(cli_io *io, const char *text) {
    kvat_buf_reset(&io->next);
    kvat_buf_puts(&io->next, text);
}

void cli_next_path(cli_io *io, const char *before, const char *path, const char *after) {
    kvat_buf_reset(&io->next);
    kvat_buf_printf(&io->next, "Next: kvat %s ", before);
    kvat_escape_shell(&io->next, path);
    kvat_buf_puts(&io->next, after);
}

/* ---- text ---- */

static const struct {
    const char *utf8, *ascii;
} ascii_forms[] = {
    {"\u2212", "-"}, {"\u2013", "-"},   {"\u2014", "-"},  {"\u2026", "..."}, {"\u00b7", "-"},  {"\u00d7", "x"},
    {"\u00f7", "/"}, {"\u00b1", "+/-"}, {"\u2264", "<="}, {"\u2265", ">="},  {"\u2192", "->"}, {"\u2018", "'"},
    {"\u2019", "'"}, {"\u201c", "\""},  {"\u201d", "\""}, {"\u00a0", " "},   {"\u202f", " "},
};

/** Appends the ASCII form of the UTF-8 sequence at `text` and returns the sequence's length. `text` is valid UTF-8. */
static size_t put_ascii(kvat_buf *out, const char *text) {
    unsigned char first = (unsigned char)*text;
    if (first < 0x80) {
        kvat_buf_putc(out, *text);
        return 1;
    }
    for (size_t i = 0; i < CLI_COUNT(ascii_forms); i++) {
        size_t n = strlen(ascii_forms[i].utf8);
        if (strncmp(text, ascii_forms[i].utf8, n) != 0) continue;
        kvat_buf_puts(out, ascii_forms[i].ascii);
        return n;
    }
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    uint32_t point = first & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) point = point << 6 | ((unsigned char)text[i] & 0x3fU);
    kvat_buf_printf(out, "\\u{%04X}", (unsigned)point);
    return n;
}

void cli_put(kvat_buf *out, const cli_io *io, const char *text) {
    kvat_buf inert = KVAT_BUF_INIT;
    kvat_escape_terminal(&inert, text);
    if (io->unicode && inert.bytes) kvat_buf_puts(out, inert.bytes);
    if (!io->unicode && inert.bytes)
        for (const char *at = inert.bytes; *at;) at += put_ascii(out, at);
    cli_buf_drop(out, &inert);
}

void cli_buf_drop(kvat_buf *out, kvat_buf *part) {
    kvat_status status = kvat_buf_status(part, NULL);
    if (status != KVAT_OK && out->status == KVAT_OK) out->status = status;
    kvat_buf_clear(part);
}

void cli_put_fitted(kvat_buf *out, const cli_io *io, const char *text, size_t columns) {
    kvat_buf shown = KVAT_BUF_INIT;
    cli_put(&shown, io, text);
    kvat_text_fit(out, shown.length ? shown.bytes : "", columns, 1, io->unicode);
    cli_buf_drop(out, &shown);
}

void cli_put_sgr(kvat_buf *out, const cli_stream *stream, const char *code, const char *text) {
    if (stream->color)
        kvat_buf_printf(out, "\033[%sm%s\033[0m", code, text);
    else
        kvat_buf_puts(out, text);
}

void cli_put_size(kvat_buf *out, int64_t bytes) {
    if (bytes > 0)
        kvat_put_bytes(out, bytes);
    else
        kvat_buf_puts(out, "unknown");
}

/** Of an interval too wide for its value to mean anything: on which side of no change it is, when that is known. */
static void put_bound(kvat_buf *out, const kvat_interval *ratio, bool unicode) {
    if (ratio->low <= 1 && ratio->high >= 1) {
        kvat_buf_puts(out, "cannot tell");
        return;
    }
    kvat_buf_puts(out, "beyond ");
    kvat_put_change(out, ratio->low > 1 ? ratio->low : ratio->high, unicode);
}

void cli_put_change(kvat_buf *out, const kvat_interval *ratio, bool unicode) {
    if (kvat_interval_too_wide(*ratio)) {
        put_bound(out, ratio, unicode);
        return;
    }
    kvat_put_change(out, ratio->value, unicode);
    kvat_buf_puts(out, " (");
    kvat_put_change(out, ratio->low, unicode);
    kvat_buf_puts(out, " to ");
    kvat_put_change(out, ratio->high, unicode);
    kvat_buf_putc(out, ')');
}

json_t *cli_json_interval(const kvat_interval *interval) {
    return json_pack("{s:o, s:o, s:o}", "value", cli_json_real(interval->value), "low", cli_json_real(interval->low),
                     "high", cli_json_real(interval->high));
}

json_t *cli_json_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *cli_json_text(const char *text) {
    if (!text) return json_null();
    json_t *string = json_string(text);
    if (string) return string;
    kvat_buf inert = KVAT_BUF_INIT;
    kvat_escape_terminal(&inert, text);
    if (kvat_buf_status(&inert, NULL) == KVAT_OK) string = json_string(inert.bytes ? inert.bytes : "");
    kvat_buf_clear(&inert);
    return string;
}

void cli_json_append(json_t **list, json_t *item) {
    if (json_array_append_new(*list, item) == 0) return; /* a NULL list or item fails, too; `item` is released */
    json_decref(*list);
    *list = NULL;
}

/* ---- files a user names ---- */

/** What kvat writes says so near its beginning. A file that cannot be read is somebody else's. */
static kvat_status refuse_foreign(const char *path, kvat_error *err) {
    kvat_buf bytes = KVAT_BUF_INIT;
    kvat_status status = kvat_file_read(&bytes, path, (size_t)64 << 20, err);
    size_t looked_at = bytes.length < 4096 ? bytes.length : 4096;
    bool ours = status == KVAT_OK && (bytes.length == 0 || memmem(bytes.bytes, looked_at, "kvat", 4) != NULL);
    kvat_buf_clear(&bytes);
    if (ours || status == KVAT_ERR_NOMEM) return status;
    return kvat_fail(err, KVAT_ERR_IO, "%s exists and was not made by kvat; --force replaces it", path);
}

kvat_status cli_write_file(cli_io *io, const char *path, const kvat_buf *bytes, unsigned mode, bool force,
                           kvat_error *err) {
    kvat_status status = kvat_buf_status(bytes, err);
    if (status != KVAT_OK) return status;
    if (strcmp(path, "-") == 0) {
        cli_out(io, bytes->bytes, bytes->length);
        return KVAT_OK;
    }
    struct stat found;
    if (!force && lstat(path, &found) == 0 && S_ISREG(found.st_mode)) status = refuse_foreign(path, err);
    if (status != KVAT_OK) return status;
    return kvat_file_write(path, bytes->bytes, bytes->length, mode, err);
}

kvat_status cli_write_output(const cli_context *context, const kvat_buf *bytes, unsigned mode, kvat_error *err) {
    const char *file = cli_text(context->args, CLI_OUT);
    bool force = cli_has(context->args, CLI_FORCE);
    kvat_status status = cli_write_file(context->io, file ? file : "-", bytes, mode, force, err);
    if (status == KVAT_OK && file && strcmp(file, "-") != 0) cli_say(context->io, "Written to %s", file);
    return status;
}

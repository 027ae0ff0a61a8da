// The command line as it may be told: without what would name the user or a host.
// Must not know what its options do, but for those whose values are not told as they are.
#include <stdlib.h>
#include <string.h>

#include "run_internal.h"

/** Does a path begin here that leaves the working folder: from the root, from a home, or from the folder above? */
static bool leads_away(const char *text) {
    return *text == '/' || *text == '~' || strcmp(text, "..") == 0 || strncmp(text, "../", 3) == 0;
}

/** The same, of its first `n` bytes, by any part of it. */
static bool goes_up(const char *path, size_t n) {
    for (size_t i = 0; i + 2 <= n; i++) {
        bool begins = i == 0 || path[i - 1] == '/', ends = i + 2 == n || path[i + 2] == '/';
        if (begins && ends && path[i] == '.' && path[i + 1] == '.') return true;
    }
    return false;
}

/** Where the piece of a list ("name=path,path") that begins here ends. A path may hold separators as well: one that
 * leads away goes on until the next that does. */
static size_t piece_length(const char *piece) {
    bool away = leads_away(piece);
    size_t n = 0;
    while (piece[n] && !(strchr("=,:", piece[n]) && (!away || leads_away(piece + n + 1)))) n++;
    return n;
}

static size_t without_slashes(const char *path, size_t n) {
    while (n > 1 && path[n - 1] == '/') n--;
    return n;
}

/** Its last part would be a user's name. */
static bool is_a_home(const char *path, size_t n) {
    const char *home = getenv("HOME");
    size_t length = home ? without_slashes(home, strlen(home)) : 0;
    return (*path == '~' && !memchr(path, '/', n)) || (length > 1 && length == n && memcmp(path, home, n) == 0);
}

/** Of a path that leads away only the last part, with `before` in front; anything else as it is. */
static void put_piece(kvat_buf *out, const char *piece, size_t n, const char *before) {
    if (!leads_away(piece) && !goes_up(piece, n)) {
        kvat_buf_put(out, piece, n);
        return;
    }
    size_t end = without_slashes(piece, n), start = end;
    while (start > 0 && piece[start - 1] != '/') start--;
    if (is_a_home(piece, end)) {
        kvat_buf_puts(out, "~");
    } else if (start == end) { /* the root */
        kvat_buf_puts(out, "/");
    } else {
        kvat_buf_puts(out, start > 0 ? before : "");
        kvat_buf_put(out, piece + start, end - start);
    }
}

/** Where the value begins in a word of short options, "-vopath"; 0 in any other. */
static size_t after_letters(const char *word) {
    size_t n = 1;
    if (word[0] != '-' || word[1] == '-') return 0;
    while (word[n] && strchr("hqv", word[n])) n++; /* these take no value */
    return word[n] ? n + 1 : n;
}

static void put_without_folders(kvat_buf *out, const char *word, const char *before) {
    size_t at = after_letters(word);
    kvat_buf_put(out, word, at);
    while (word[at]) {
        size_t n = piece_length(word + at);
        put_piece(out, word + at, n, before);
        at += n;
        if (word[at]) kvat_buf_putc(out, word[at++]);
    }
}

/** Options whose values are not told as they are, or not at all. */
typedef enum option { OPTION_NONE, OPTION_LAUNCH, OPTION_ENGINE, OPTION_PROGRESS } option;
static const struct {
    const char *name;
    option option;
} options[] = {
    {"--launch", OPTION_LAUNCH}, {"--engine", OPTION_ENGINE}, {"-e", OPTION_ENGINE}, {"--progress", OPTION_PROGRESS}};

/** The option whose value is the next word. */
static option named(const char *word) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(word, options[i].name) == 0) return options[i].option;
    return OPTION_NONE;
}

/** The option whose value stands in the same word: "--option=value", "-ovalue". */
static option joined(const char *word) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        size_t n = strlen(options[i].name);
        if (strncmp(word, options[i].name, n) == 0 && word[n] && (word[n] == '=' || n == 2)) return options[i].option;
    }
    return OPTION_NONE;
}

/** Paths out of the working folder keep only their last part, and a launch prefix is not told. An engine without a '/'
 * would be looked for among the installed ones, so that a program stays a path. */
static void put_word(kvat_buf *out, const char *word, option value_of) {
    option about = value_of ? value_of : joined(word);
    if (about == OPTION_LAUNCH)
        kvat_buf_puts(out, value_of ? "PREFIX" : "--launch=PREFIX");
    else
        put_without_folders(out, word, about == OPTION_ENGINE ? "./" : "");
}

/** How a program was told what went on: nothing of what was asked. */
static bool is_left_out(const char *word, option value_of) {
    if (value_of) return value_of == OPTION_PROGRESS;
    return strcmp(word, "--json") == 0 || named(word) == OPTION_PROGRESS || joined(word) == OPTION_PROGRESS;
}

json_t *kvat__argv_json(const char *const *argv) {
    json_t *list = json_array();
    option value_of = OPTION_NONE; /* what this word is */
    bool words_only = false;       /* "--" was met */
    for (; list && argv && *argv; argv++) {
        const option about = value_of;
        const bool left_out = !words_only && is_left_out(*argv, about);
        words_only |= !about && strcmp(*argv, "--") == 0;
        value_of = about || words_only ? OPTION_NONE : named(*argv);
        if (left_out) continue;
        kvat_buf word = KVAT_BUF_INIT;
        put_word(&word, *argv, about);
        bool whole = kvat_buf_status(&word, NULL) == KVAT_OK; /* else a word would be missing from the command */
        int bad = json_array_append_new(list, whole ? json_string(word.bytes ? word.bytes : "") : NULL);
        kvat_buf_clear(&word);
        if (bad) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

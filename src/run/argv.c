// The command line as it may be told: without what would name the user or a host.
// Must not know what its options do, but for those whose values are not told as they are.
#include <string.h>

#include "run_internal.h"

/** A word whose absolute path, at its start or after '=', ':' or "-x", is cut to its last part, with `before` in front.
 */
static void put_without_folder(kvat_buf *out, const char *word, const char *before) {
    const char *slash = strchr(word, '/');
    bool absolute =
        slash && (slash == word || slash[-1] == '=' || slash[-1] == ':' || (slash == word + 2 && word[0] == '-'));
    if (!absolute) {
        kvat_buf_puts(out, word);
        return;
    }
    kvat_buf_put(out, word, (size_t)(slash - word));
    kvat_buf_puts(out, before);
    kvat_buf_puts(out, strrchr(slash, '/') + 1);
}

/** Options whose values are not told as they are. */
typedef enum option { OPTION_NONE, OPTION_LAUNCH, OPTION_ENGINE } option;
static const struct {
    const char *name;
    option option;
} options[] = {{"--launch", OPTION_LAUNCH}, {"--engine", OPTION_ENGINE}, {"-e", OPTION_ENGINE}};

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

/** Absolute paths keep only their last part, and a launch prefix is not told. An engine without a '/' would be looked
 * for among the installed ones, so that a program stays a path. */
static void put_word(kvat_buf *out, const char *word, option value_of) {
    option about = value_of ? value_of : joined(word);
    if (about == OPTION_LAUNCH)
        kvat_buf_puts(out, value_of ? "PREFIX" : "--launch=PREFIX");
    else
        put_without_folder(out, word, about == OPTION_ENGINE ? "./" : "");
}

json_t *kvat__argv_json(const char *const *argv) {
    json_t *list = json_array();
    option value_of = OPTION_NONE; /* what this word is */
    for (; list && argv && *argv; argv++) {
        kvat_buf word = KVAT_BUF_INIT;
        put_word(&word, *argv, value_of);
        value_of = value_of ? OPTION_NONE : named(*argv);
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

// Turns a command line into checked values by a command's option table, with popt doing the splitting.
// It must not know what any option means.
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "kvat/units.h"

static const char *const color_words[] = {"auto", "always", "never", NULL};

const cli_option cli_common_options[] = {
    {.id = CLI_JSON, .name = "json", .group = "General", .help = "print data as JSON on stdout"},
    {.id = CLI_VERBOSE, .letter = 'v', .name = "verbose", .many = true, .help = "say more on stderr"},
    {.id = CLI_QUIET, .letter = 'q', .name = "quiet", .help = "say only warnings and errors on stderr"},
    {.id = CLI_COLOR,
     .name = "color",
     .kind = CLI_WORD,
     .value = "WHEN",
     .words = color_words,
     .help = "auto, always or never (default: auto; NO_COLOR=1 is never)"},
    {.id = CLI_HELP, .letter = 'h', .name = "help", .help = "show this help"},
};
const size_t cli_n_common_options = CLI_COUNT(cli_common_options);

void cli_each_option(const cli_command *command, bool (*each)(void *user, const cli_option *option), void *user) {
    for (size_t i = 0; i < command->n_options; i++)
        if (!each(user, &command->options[i])) return;
    for (size_t i = 0; i < cli_n_common_options; i++)
        if (!each(user, &cli_common_options[i])) return;
}

static size_t option_count(const cli_command *command) {
    return command->n_options + cli_n_common_options;
}

static const cli_option *option_at(const cli_command *command, size_t index) {
    return index < command->n_options ? &command->options[index] : &cli_common_options[index - command->n_options];
}

/* ---- popt's table ---- */

/** popt's `val` is the index in option_at() plus one; an alias is a second entry with the same. */
static struct poptOption *popt_table(const cli_command *command) {
    size_t n = option_count(command);
    struct poptOption *table = calloc(2 * n + 1, sizeof *table);
    if (!table) return NULL;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const cli_option *option = option_at(command, i);
        unsigned kind = option->kind == CLI_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING;
        table[used++] = (struct poptOption){option->name, option->letter, kind, NULL, (int)i + 1, NULL, NULL};
        if (option->alias) table[used++] = (struct poptOption){option->alias, 0, kind, NULL, (int)i + 1, NULL, NULL};
    }
    return table;
}

/* ---- messages ---- */

kvat_status cli_unknown(kvat_error *err, const char *what, const char *word, const char *const *candidates, size_t n) {
    int near = kvat_nearest_word(word, candidates, n);
    if (near >= 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "unknown %s '%s' (did you mean '%s'?)", what, word, candidates[near]);
    return kvat_fail(err, KVAT_ERR_USAGE, "unknown %s '%s'", what, word);
}

/** All long names a user may type; `names` has two places an option. */
static size_t visible_names(const char **names, const cli_command *command) {
    size_t used = 0;
    for (size_t i = 0; i < option_count(command); i++) {
        const cli_option *option = option_at(command, i);
        if (option->hidden) continue;
        names[used++] = option->name;
        if (option->alias) names[used++] = option->alias;
    }
    return used;
}

static kvat_status unknown_option(const cli_command *command, const char *typed, kvat_error *err) {
    const char **names = calloc(2 * option_count(command) + 1, sizeof *names);
    char *word = strndup(typed, strcspn(typed, "="));
    if (!names || !word) {
        free(names);
        free(word);
        return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    }
    size_t n = visible_names(names, command);
    int near = strncmp(word, "--", 2) == 0 ? kvat_nearest_word(word + 2, names, n) : -1;
    if (near >= 0)
        kvat_fail(err, KVAT_ERR_USAGE, "unknown option '%s' (did you mean '--%s'?)", word, names[near]);
    else
        kvat_fail(err, KVAT_ERR_USAGE, "unknown option '%s'; see kvat %s --help", word, command->name);
    free(word);
    free(names);
    return KVAT_ERR_USAGE;
}

static kvat_status popt_error(int code, const cli_command *command, poptContext popt, kvat_error *err) {
    const char *typed = poptBadOption(popt, POPT_BADOPTION_NOALIAS);
    if (!typed) typed = "";
    int length = (int)strcspn(typed, "=");
    switch (code) {
    case POPT_ERROR_BADOPT:
        return unknown_option(command, typed, err);
    case POPT_ERROR_NOARG:
        return kvat_fail(err, KVAT_ERR_USAGE, "option '%.*s' needs a value", length, typed);
    case POPT_ERROR_UNWANTEDARG:
        return kvat_fail(err, KVAT_ERR_USAGE, "option '%.*s' takes no value", length, typed);
    case POPT_ERROR_MALLOC:
        return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    default:
        return kvat_fail(err, KVAT_ERR_USAGE, "option '%.*s': %s", length, typed, poptStrerror(code));
    }
}

/* ---- values ---- */

static kvat_status check_word(const cli_option *option, const char *text, kvat_error *err) {
    size_t n = 0;
    for (; option->words[n]; n++)
        if (strcmp(option->words[n], text) == 0) return KVAT_OK;
    int near = kvat_nearest_word(text, option->words, n);
    if (near >= 0)
        return kvat_fail(err, KVAT_ERR_USAGE, "--%s: unknown value '%s' (did you mean '%s'?)", option->name, text,
                         option->words[near]);
    kvat_buf list = KVAT_BUF_INIT;
    for (size_t i = 0; i < n; i++) kvat_buf_printf(&list, "%s%s", i ? ", " : "", option->words[i]);
    kvat_fail(err, KVAT_ERR_USAGE, "--%s: unknown value '%s'; one of: %s", option->name, text,
              list.bytes ? list.bytes : "");
    kvat_buf_clear(&list);
    return KVAT_ERR_USAGE;
}

/** Units' messages name the text, not the flag: put the flag in front. */
static kvat_status name_option(kvat_status status, const cli_option *option, kvat_error *err) {
    if (status != KVAT_ERR_USAGE || !err) return status;
    char message[sizeof err->message];
    memcpy(message, err->message, sizeof message);
    return kvat_fail(err, status, "--%s: %s", option->name, message);
}

/** The long option among the command's that `text` spells, dashes included. */
static bool spells_option(const cli_command *command, const char *text) {
    if (strncmp(text, "--", 2) != 0) return false;
    for (size_t i = 0; i < option_count(command); i++) {
        const cli_option *option = option_at(command, i);
        if (strcmp(option->name, text + 2) == 0) return true;
        if (option->alias && strcmp(option->alias, text + 2) == 0) return true;
    }
    return false;
}

static kvat_status check_value(cli_value *value, const cli_option *option, const cli_command *command, const char *text,
                               kvat_error *err) {
    if (!*text) return kvat_fail(err, KVAT_ERR_USAGE, "--%s needs a value", option->name);
    if (spells_option(command, text))
        return kvat_fail(err, KVAT_ERR_USAGE, "--%s needs a value before '%s'", option->name, text);
    char what[64];
    switch (option->kind) {
    case CLI_WORD:
        return check_word(option, text, err);
    case CLI_INT:
        snprintf(what, sizeof what, "--%s", option->name);
        return kvat_parse_int(&value->integer, text, (int64_t)option->low, (int64_t)option->high, what, err);
    case CLI_RATIO:
        snprintf(what, sizeof what, "--%s", option->name);
        return kvat_parse_ratio(&value->real, text, option->low, option->high, what, err);
    case CLI_DURATION:
        return name_option(kvat_parse_duration(&value->integer, text, err), option, err);
    case CLI_BYTES:
        return name_option(kvat_parse_bytes(&value->integer, text, err), option, err);
    default:
        return KVAT_OK;
    }
}

/** Keeps `text` (ownership taken, also on failure); false without memory. */
static bool keep_text(cli_args *args, cli_opt id, char *text) {
    size_t n = args->n_texts + 1;
    char **texts = realloc(args->texts, n * sizeof *texts);
    if (texts) args->texts = texts;
    cli_opt *ids = realloc(args->ids, n * sizeof *ids);
    if (ids) args->ids = ids;
    if (!texts || !ids) {
        free(text);
        return false;
    }
    texts[args->n_texts] = text;
    ids[args->n_texts] = id;
    args->n_texts = n;
    args->values[id].text = text;
    return true;
}

static kvat_status take_option(cli_args *args, const cli_command *command, size_t index, char *text, kvat_error *err) {
    const cli_option *option = option_at(command, index);
    cli_value *value = &args->values[option->id];
    value->count++;
    if (option->kind == CLI_FLAG) {
        free(text);
        return KVAT_OK;
    }
    if (!text || !keep_text(args, option->id, text)) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    return check_value(value, option, command, text, err);
}

static kvat_status take_options(cli_args *args, const cli_command *command, poptContext popt, kvat_error *err) {
    kvat_status status = KVAT_OK;
    int next = 0;
    while (status == KVAT_OK && (next = poptGetNextOpt(popt)) > 0)
        status = take_option(args, command, (size_t)next - 1, poptGetOptArg(popt), err);
    if (status == KVAT_OK && next < -1) status = popt_error(next, command, popt, err);
    return status;
}

static kvat_status take_words(cli_args *args, const cli_command *command, poptContext popt, kvat_error *err) {
    const char **left = poptGetArgs(popt);
    size_t n = 0;
    while (left && left[n]) n++;
    if (n > command->max_words)
        return kvat_fail(err, KVAT_ERR_USAGE, "unexpected argument '%s'; see kvat %s --help", left[command->max_words],
                         command->name);
    args->words = calloc(n + 1, sizeof *args->words);
    if (!args->words) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        args->words[i] = strdup(left[i]);
        if (!args->words[i]) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
        args->n_words++;
    }
    return KVAT_OK;
}

kvat_status cli_args_parse(cli_args *out, const cli_command *command, int argc, char **argv, kvat_error *err) {
    memset(out, 0, sizeof *out);
    struct poptOption *table = popt_table(command);
    poptContext popt = table ? poptGetContext(NULL, argc, (const char **)argv, table, 0) : NULL;
    kvat_status status = popt ? KVAT_OK : kvat_fail(err, KVAT_ERR_NOMEM, "out of memory");
    if (status == KVAT_OK) status = take_options(out, command, popt, err);
    if (status == KVAT_OK) status = take_words(out, command, popt, err);
    if (popt) poptFreeContext(popt);
    free(table);
    return status;
}

void cli_args_clear(cli_args *args) {
    for (size_t i = 0; i < args->n_texts; i++) free(args->texts[i]);
    for (size_t i = 0; i < args->n_words; i++) free(args->words[i]);
    free(args->texts);
    free(args->ids);
    free(args->words);
    memset(args, 0, sizeof *args);
}

bool cli_has(const cli_args *args, cli_opt id) {
    return args->values[id].count > 0;
}

const char *cli_text(const cli_args *args, cli_opt id) {
    return args->values[id].text;
}

const char *cli_text_at(const cli_args *args, cli_opt id, size_t index) {
    for (size_t i = 0; i < args->n_texts; i++)
        if (args->ids[i] == id && index-- == 0) return args->texts[i];
    return NULL;
}

kvat_status cli_subject(const char **out, const cli_args *args, size_t index, cli_opt id, const char *what,
                        kvat_error *err) {
    const char *word = index < args->n_words ? args->words[index] : NULL, *text = cli_text(args, id);
    if (word && text) return kvat_fail(err, KVAT_ERR_USAGE, "%s is given twice: '%s' and '%s'", what, word, text);
    if (!word && !text) return kvat_fail(err, KVAT_ERR_USAGE, "%s is missing; see --help", what);
    *out = word ? word : text;
    return KVAT_OK;
}

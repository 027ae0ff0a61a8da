// What the files of the command line share: commands and options as tables, parsed arguments, and the two output
// streams. It knows nothing of how tuning works: every command asks the library and writes down what it is told.
#ifndef KVAT_CLI_H
#define KVAT_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "kvat/buf.h"
#include "kvat/json.h"
#include "kvat/outcome.h"
#include "kvat/report.h"
#include "kvat/run.h"
#include "kvat/status.h"
#include "kvat/worker.h"

/* ---- options: one description drives parsing, help, completion and the manual page ---- */

typedef enum cli_opt {
    CLI_HELP,
    CLI_JSON,
    CLI_VERBOSE,
    CLI_QUIET,
    CLI_COLOR,
    CLI_ALLOW_LOSSY,
    CLI_ALLOW_NETWORK,
    CLI_BASELINE,
    CLI_BATCH,
    CLI_CANDIDATE,
    CLI_CHART,
    CLI_CONFIDENCE,
    CLI_CONTEXT,
    CLI_DELTA,
    CLI_DEVICE,
    CLI_DRY_RUN,
    CLI_ENGINE,
    CLI_FORCE,
    CLI_FORMAT,
    CLI_FREE_MEMORY,
    CLI_FRESH,
    CLI_GATE,
    CLI_JUNIT,
    CLI_LAUNCH,
    CLI_MAN,
    CLI_MAX_MEMORY,
    CLI_MODEL,
    CLI_NOISE,
    CLI_OUT,
    CLI_OUTPUT_TOKENS,
    CLI_PLAN,
    CLI_PRINT_SNIPPET,
    CLI_PROFILE,
    CLI_PROGRESS,
    CLI_PROMPTS,
    CLI_RUN,
    CLI_RUNS,
    CLI_SAFE,
    CLI_SEARCH,
    CLI_SEED,
    CLI_SET,
    CLI_SURFACE,
    CLI_SWEEP,
    CLI_TIME,
    CLI_TRIAL_LIMIT,
    CLI_TRIALS,
    CLI_TRUST_REMOTE_CODE,
    CLI_WARMUP,
    CLI_WEIGHTS,
    CLI_WHOLE_OUTPUTS,
    CLI_WINNERS,
    CLI_WORDS,
    CLI_WORLD_SEED,
    CLI_OPT_COUNT
} cli_opt;

typedef enum cli_kind {
    CLI_FLAG,     /* no value */
    CLI_TEXT,     /* any text */
    CLI_FILE,     /* a path */
    CLI_FOLDER,   /* a path */
    CLI_ENGINES,  /* an engine's name, or a path */
    CLI_PROFILES, /* a profile's name, or a path */
    CLI_WORD,     /* one of `words` */
    CLI_INT,      /* a whole number within [low, high] */
    CLI_RATIO,    /* a number within [low, high]; % divides by 100 */
    CLI_DURATION,
    CLI_BYTES
} cli_kind;

typedef struct cli_option {
    cli_opt id;
    cli_kind kind;
    const char *name;  /* without the dashes */
    const char *alias; /* a second long name, or NULL */
    const char *value; /* its placeholder in the help, NULL for a flag */
    const char *group; /* heading it stands under; NULL: that of the option before */
    const char *help;
    const char *const *words; /* CLI_WORD: NULL-terminated */
    double low, high;         /* CLI_INT (to 2^53), CLI_RATIO */
    char letter;              /* 0: none */
    bool many;                /* may be given more than once */
    bool hidden;
} cli_option;

/** What every command takes besides its own. */
extern const cli_option cli_common_options[];
extern const size_t cli_n_common_options;

/* ---- commands ---- */

typedef struct cli_example {
    const char *command, *meaning;
} cli_example;

typedef struct cli_topic {
    const char *name, *help;
} cli_topic;

typedef struct cli_context cli_context;

typedef struct cli_command {
    const char *name, *summary, *usage;
    const cli_example *examples; /* ends with {NULL, NULL} */
    const char *const *about;    /* paragraphs, NULL-terminated */
    const cli_topic *arguments;  /* ends with {NULL, NULL}; or NULL */
    const cli_option *options;
    size_t n_options;
    size_t max_words;         /* most arguments besides options; SIZE_MAX any number */
    const char *const *verbs; /* what the first argument may be, for completion and suggestions; or NULL */
    cli_kind completes;       /* what an argument is: CLI_FILE, CLI_FOLDER, CLI_TEXT (nothing) */
    const char *next;         /* a command worth knowing afterwards, for the help */
    kvat_status (*run)(cli_context *context, kvat_error *err);
} cli_command;

/** All commands in the order in which help lists them. */
extern const cli_command *const cli_commands[];
extern const size_t cli_n_commands;
const cli_command *cli_command_find(const char *name);
/** "unknown WHAT 'word' (did you mean 'near'?)" with KVAT_ERR_USAGE. */
kvat_status cli_unknown(kvat_error *err, const char *what, const char *word, const char *const *candidates, size_t n);

/** Calls `each` for every option of the command, its own first, until it returns false. */
void cli_each_option(const cli_command *command, bool (*each)(void *user, const cli_option *option), void *user);

/* ---- parsed arguments ---- */

typedef struct cli_value {
    size_t count;     /* how often it was given */
    const char *text; /* as typed; the last one holds */
    int64_t integer;  /* CLI_INT, CLI_DURATION (nanoseconds), CLI_BYTES */
    double real;      /* CLI_RATIO */
} cli_value;

typedef struct cli_args {
    cli_value values[CLI_OPT_COUNT];
    char **texts; /* owned; every value in the order given */
    cli_opt *ids; /* owned; the option of each */
    size_t n_texts;
    char **words; /* owned; the arguments that are no options */
    size_t n_words;
} cli_args;

/** Parses `argv` (argv[0] is the command's name) and checks every value. KVAT_ERR_USAGE suggests the nearest option or
 * word. */
kvat_status cli_args_parse(cli_args *out, const cli_command *command, int argc, char **argv, kvat_error *err);
void cli_args_clear(cli_args *args);
bool cli_has(const cli_args *args, cli_opt id);
/** Last value given, or NULL. */
const char *cli_text(const cli_args *args, cli_opt id);
/** Value number `index` of a repeated option, or NULL behind the last. */
const char *cli_text_at(const cli_args *args, cli_opt id, size_t index);
/** The argument number `index`, or else the option `id` (the seeds' spelling: `--plan P`). KVAT_ERR_USAGE when both or
 * neither are given; `what` names it. */
kvat_status cli_subject(const char **out, const cli_args *args, size_t index, cli_opt id, const char *what,
                        kvat_error *err);

/* ---- output: data on stdout, talk on stderr ---- */

typedef struct cli_stream {
    bool terminal; /* may be redrawn: a terminal that is not dumb */
    bool color;
    int fd;
} cli_stream;

typedef struct cli_io {
    cli_stream out, err;
    bool unicode; /* the locale is UTF-8 */
    bool json;
    int verbosity;    /* −1 quiet, 0, 1 … */
    bool wrote;       /* something went to stdout */
    bool out_gone;    /* the reader of stdout has left: nothing more is written, and that is no error */
    bool error_shown; /* what the user sees says already why the exit code is not 0 */
    int out_errno;    /* first failure of stdout otherwise */
    kvat_buf next;    /* the next useful command, said at the very end */
} cli_io;

void cli_io_init(cli_io *io);
/** Takes --json, -v, -q and --color into account. */
void cli_io_set(cli_io *io, const cli_args *args);
/** Do both streams end in one place (a terminal, a pipe, a file), so that a reader of one sees the other? */
bool cli_one_place(const cli_io *io);
/** Columns of the terminal behind `stream`, asked anew each time; $COLUMNS, else 80. */
size_t cli_columns(const cli_stream *stream);
kvat_terminal_style cli_style(const cli_io *io, const cli_stream *stream);
void cli_out(cli_io *io, const char *bytes, size_t n);
/** Writes the buffer and empties it; its failure, if it had one, is returned. */
kvat_status cli_out_buf(cli_io *io, kvat_buf *buf, kvat_error *err);
/** Writes and empties the buffer when `made`, the status of its making, is OK; else drops it and returns `made`. */
kvat_status cli_out_made(cli_io *io, kvat_status made, kvat_buf *buf, kvat_error *err);
/** Ends a list: the document {"format": FORMAT, NAME: list} with --json, else the text. Both stay the caller's. */
kvat_status cli_out_list(cli_io *io, const char *format, const char *name, json_t *list, kvat_buf *text,
                         kvat_error *err);
/** Writes a JSON document, pretty, and drops the reference. NULL is KVAT_ERR_NOMEM. */
kvat_status cli_out_json(cli_io *io, json_t *document, kvat_error *err);
/** KVAT_ERR_IO when stdout failed. */
kvat_status cli_out_status(const cli_io *io, kvat_error *err);
/** Raw bytes to stderr; failures are ignored, there is nobody left to tell. */
void cli_err(const cli_io *io, const char *bytes, size_t n);
/** The same of a buffer, which is emptied. 0, or errno of the write that failed, for who wants to know. */
int cli_err_buf(const cli_io *io, kvat_buf *buf);
/** A sentence on stderr unless -q, wrapped on a terminal: text from anywhere is made inert. */
void cli_say(const cli_io *io, const char *format, ...) KVAT_PRINTF(2, 3);
/** "kvat: warning: …" on stderr, also with -q. */
void cli_warn(const cli_io *io, const char *format, ...) KVAT_PRINTF(2, 3);
/** The next useful command ("Next: kvat …"), said on stderr when everything else is, unless -q or --json. */
void cli_next(cli_io *io, const char *text);
/** "Next: kvat BEFORE PATH AFTER", the path as a shell word; `after` begins with its own blank. */
void cli_next_path(cli_io *io, const char *before, const char *path, const char *after);
/** Says it, unwrapped so that it can be pasted, and forgets it. */
void cli_say_next(cli_io *io);
/** Appends text from outside: control characters visible, and in ASCII where the terminal has no UTF-8. */
void cli_put(kvat_buf *out, const cli_io *io, const char *text);
/** `text` in SGR `code` ("1" bold, "31" red) when `stream` has colours. `text` is trusted. */
void cli_put_sgr(kvat_buf *out, const cli_stream *stream, const char *code, const char *text);
/** Clears a helper buffer; its failure becomes that of `out`, so that no text lacks a piece unnoticed. */
void cli_buf_drop(kvat_buf *out, kvat_buf *part);
/** Appends `part` cut and padded to `columns`, made inert for a terminal, NULL as nothing. */
void cli_put_fitted(kvat_buf *out, const cli_io *io, const char *text, size_t columns);
/** Bytes, or "unknown" for 0. */
void cli_put_size(kvat_buf *out, int64_t bytes);
/** "+1.0 % (-0.5 % to +2.5 %)" of a ratio; of an interval too wide for that, "beyond +40 %" or "cannot tell". */
void cli_put_change(kvat_buf *out, const kvat_interval *ratio, bool unicode);
/** A JSON number, or null when it is not finite. */
json_t *cli_json_real(double value);
/** {value, low, high} of such. */
json_t *cli_json_interval(const kvat_interval *interval);
/** A JSON string of any bytes (invalid UTF-8 becomes visible), null for NULL. */
json_t *cli_json_text(const char *text);
/** Appends `item` (reference taken) to `*list`; without memory `*list` becomes NULL, so that no list lacks an item
 * unnoticed. */
void cli_json_append(json_t **list, json_t *item);
/** Writes the bytes to the file `path` ("-" is stdout). An existing file that kvat did not make is refused unless
 * `force`. */
kvat_status cli_write_file(cli_io *io, const char *path, const kvat_buf *bytes, unsigned mode, bool force,
                           kvat_error *err);

/* ---- what a command gets ---- */

struct cli_context {
    const cli_command *command;
    const cli_args *args;
    cli_io *io;
    kvat_cancel *cancel;     /* set by signals after cli_signals_catch() */
    const char *const *argv; /* the whole command line, NULL-terminated */
};

/** Writes the bytes to the file of --output, as --force allows, and says so; to stdout without one. */
kvat_status cli_write_output(const cli_context *context, const kvat_buf *bytes, unsigned mode, kvat_error *err);
/** From here on INT, TERM and HUP raise the level of `cancel` instead of ending the process. */
void cli_signals_catch(kvat_cancel *cancel);
/** The first signal caught, 0 for none. */
int cli_signals_caught(void);
/** For commands that hold the user's prompts in memory: no core file of this process is left behind. */
void cli_forbid_core(void);

/* ---- text made from the tables ---- */

void cli_help_overview(kvat_buf *out, const cli_stream *stream, size_t columns);
void cli_help_command(kvat_buf *out, const cli_command *command, const cli_stream *stream, size_t columns);
void cli_man_page(kvat_buf *out);
json_t *cli_help_json(void);
/** Wraps `text` at `columns`, every line after the first indented by `indent`; the first starts at column `at`. No
 * newline at the end. */
void cli_wrap(kvat_buf *out, const char *text, size_t at, size_t indent, size_t columns);
/** Text from anywhere, wrapped to standard output, with its line's end. */
void cli_put_wrapped(kvat_buf *out, const cli_io *io, const char *text, size_t at, size_t indent);
/** The same of a sentence put together, which is emptied. */
void cli_put_wrapped_buf(kvat_buf *out, const cli_io *io, kvat_buf *text, size_t at, size_t indent);
/** Exit codes with their meaning; ends with {NULL, NULL}. */
extern const cli_topic cli_exit_codes[];
extern const cli_topic cli_environment[];

/** A shell's completion script. KVAT_ERR_USAGE for an unknown shell. */
kvat_status cli_completion_put(kvat_buf *out, const char *shell, kvat_error *err);
extern const char *const cli_shells[];

/* ---- progress of a run on stderr ---- */

typedef struct cli_progress {
    cli_io *io;
    bool drawn; /* a live line stands on the terminal */
    bool heading_shown;
    char stage[96];      /* what the worker is doing before the first trial */
    size_t files;        /* written so far */
    size_t trials;       /* ended in this process */
    kvat_cancel *cancel; /* raised when the reader of JSON is gone; NULL: by nothing */
} cli_progress;

void cli_progress_init(cli_progress *progress, cli_io *io);
/** An on_event of kvat_events; `user` is a cli_progress. */
void cli_progress_event(void *user, const kvat_event *event);
/** Another on_event: a JSON document a line. A reader that leaves ends the run in order, as an interrupt does. */
void cli_progress_json_event(void *user, const kvat_event *event);
/** Takes the live line away. */
void cli_progress_end(cli_progress *progress);
/** The live line for an event, at most `columns` wide: exposed so that every width can be looked at. */
void cli_progress_line(kvat_buf *out, const kvat_event *event, size_t columns, bool unicode);

/* ---- run directories ---- */

/** Opens `<directory>/kvat.db` for reading, or `directory` itself when it is a file. */
kvat_status cli_store_open(kvat_store **out, const char *directory, kvat_store_mode mode, kvat_error *err);
/** The outcome of run `run` (0: the newest) in `directory`. */
kvat_status cli_outcome_open(kvat_outcome **out, const char *directory, int64_t run, kvat_error *err);
/** A plan: the file `path`, or, of a folder of results, its best_plan.json or what its run `run` (0: the newest) gives.
 * New reference. */
kvat_status cli_plan_open(json_t **out, const char *path, int64_t run, kvat_error *err);
bool cli_is_folder(const char *path);
/** "kvat_results" when nothing else is said. */
extern const char cli_default_folder[];
/** Option --run, or 0. */
int64_t cli_run_number(const cli_args *args);

extern const cli_command cli_cmd_tune, cli_cmd_apply, cli_cmd_compare, cli_cmd_verify, cli_cmd_report, cli_cmd_profiles,
    cli_cmd_engines, cli_cmd_info, cli_cmd_runs, cli_cmd_completion, cli_cmd_help;

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif

// Completion scripts for bash, zsh and fish, made from the tables of commands and options.
// Names that can change after installation (engines, profiles) are asked of kvat when completing.
#include <string.h>

#include "cli.h"

const char *const cli_shells[] = {"bash", "zsh", "fish", NULL};

/** What a value completes to. */
typedef enum source { SOURCE_NONE, SOURCE_FILES, SOURCE_FOLDERS, SOURCE_WORDS, SOURCE_ASK } source;

static source source_of(cli_kind kind) {
    switch (kind) {
    case CLI_FILE:
        return SOURCE_FILES;
    case CLI_FOLDER:
        return SOURCE_FOLDERS;
    case CLI_WORD:
        return SOURCE_WORDS;
    case CLI_ENGINES:
    case CLI_PROFILES:
        return SOURCE_ASK;
    default:
        return SOURCE_NONE;
    }
}

static const char *ask_word(cli_kind kind) {
    return kind == CLI_ENGINES ? "engines" : "profiles";
}

static void put_words(kvat_buf *out, const char *const *words) {
    for (size_t i = 0; words && words[i]; i++) kvat_buf_printf(out, "%s%s", i ? " " : "", words[i]);
}

static void put_command_names(kvat_buf *out) {
    for (size_t i = 0; i < cli_n_commands; i++) kvat_buf_printf(out, "%s%s", i ? " " : "", cli_commands[i]->name);
}

/* ---- bash ---- */

static bool bash_option_name(void *user, const cli_option *option) {
    if (option->hidden) return true;
    kvat_buf_printf(user, " --%s", option->name);
    return true;
}

static void bash_reply(kvat_buf *out, cli_kind kind, const char *const *words) {
    switch (source_of(kind)) {
    case SOURCE_FILES:
        kvat_buf_puts(out, "compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\"))");
        break;
    case SOURCE_FOLDERS:
        kvat_buf_puts(out, "compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$cur\"))");
        break;
    case SOURCE_WORDS:
        kvat_buf_puts(out, "COMPREPLY=($(compgen -W '");
        put_words(out, words);
        kvat_buf_puts(out, "' -- \"$cur\"))");
        break;
    case SOURCE_ASK:
        kvat_buf_printf(out, "COMPREPLY=($(compgen -W \"$(kvat completion --words %s 2>/dev/null)\" -- \"$cur\"))",
                        ask_word(kind));
        break;
    default:
        kvat_buf_puts(out, "COMPREPLY=()");
    }
}

static bool bash_option_value(void *user, const cli_option *option) {
    kvat_buf *out = user;
    if (option->hidden || option->kind == CLI_FLAG) return true;
    kvat_buf_printf(out, "            --%s", option->name);
    if (option->alias) kvat_buf_printf(out, "|--%s", option->alias);
    if (option->letter) kvat_buf_printf(out, "|-%c", option->letter);
    kvat_buf_puts(out, ") ");
    bash_reply(out, option->kind, option->words);
    kvat_buf_puts(out, "; return ;;\n");
    return true;
}

static void bash_command(kvat_buf *out, const cli_command *command) {
    kvat_buf_printf(out, "    %s)\n        case \"$prev\" in\n", command->name);
    cli_each_option(command, bash_option_value, out);
    kvat_buf_puts(out, "        esac\n        if [[ $cur == -* ]]; then\n            COMPREPLY=($(compgen -W '");
    cli_each_option(command, bash_option_name, out);
    kvat_buf_puts(out, "' -- \"$cur\"))\n            return\n        fi\n");
    if (command->verbs) {
        kvat_buf_puts(out, "        if ((COMP_CWORD == 2)); then ");
        bash_reply(out, CLI_WORD, command->verbs);
        kvat_buf_puts(out, "; return; fi\n");
    }
    kvat_buf_puts(out, "        ");
    bash_reply(out, command->completes, NULL);
    kvat_buf_puts(out, "\n        ;;\n");
}

static void put_bash(kvat_buf *out) {
    kvat_buf_puts(out, "# bash completion for kvat; made by: kvat completion bash\n_kvat() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                       "    if [[ $cur == '=' ]]; then cur=''\n"
                       "    elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
                       "    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '");
    put_command_names(out);
    kvat_buf_puts(out, " --help --version' -- \"$cur\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < cli_n_commands; i++) bash_command(out, cli_commands[i]);
    kvat_buf_puts(out, "    esac\n}\ncomplete -F _kvat kvat\n");
}

/* ---- zsh ---- */

/** Help text inside a single-quoted _arguments specification. */
static void zsh_text(kvat_buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            kvat_buf_puts(out, "'\\''");
        else if (strchr("[]:\\", *text))
            kvat_buf_printf(out, "\\%c", *text);
        else
            kvat_buf_putc(out, *text);
    }
}

static void zsh_action(kvat_buf *out, cli_kind kind, const char *const *words) {
    switch (source_of(kind)) {
    case SOURCE_FILES:
        kvat_buf_puts(out, "_files");
        break;
    case SOURCE_FOLDERS:
        kvat_buf_puts(out, "_files -/");
        break;
    case SOURCE_WORDS:
        kvat_buf_putc(out, '(');
        put_words(out, words);
        kvat_buf_putc(out, ')');
        break;
    case SOURCE_ASK:
        kvat_buf_printf(out, "_kvat_%s", ask_word(kind));
        break;
    default:
        kvat_buf_putc(out, ' ');
    }
}

static void zsh_spelling(kvat_buf *out, const cli_option *option, const char *dashes, const char *name) {
    kvat_buf_printf(out, " \\\n            '%s%s%s%s[", option->many ? "*" : "", dashes, name,
                    option->kind == CLI_FLAG ? ""
                    : strlen(dashes) == 2    ? "="
                                             : "+");
    zsh_text(out, option->help);
    kvat_buf_putc(out, ']');
    if (option->kind != CLI_FLAG) {
        kvat_buf_putc(out, ':');
        zsh_text(out, option->value);
        kvat_buf_putc(out, ':');
        zsh_action(out, option->kind, option->words);
    }
    kvat_buf_putc(out, '\'');
}

static bool zsh_option(void *user, const cli_option *option) {
    char letter[2] = {option->letter, 0};
    if (option->hidden) return true;
    zsh_spelling(user, option, "--", option->name);
    if (option->letter) zsh_spelling(user, option, "-", letter);
    return true;
}

static void zsh_command(kvat_buf *out, const cli_command *command) {
    kvat_buf_printf(out, "    %s)\n        _arguments -s -S", command->name);
    cli_each_option(command, zsh_option, out);
    if (command->verbs) {
        kvat_buf_puts(out, " \\\n            '1: :");
        zsh_action(out, CLI_WORD, command->verbs);
        kvat_buf_putc(out, '\'');
    }
    kvat_buf_puts(out, " \\\n            '*: :");
    zsh_action(out, command->completes, NULL);
    kvat_buf_puts(out, "'\n        ;;\n");
}

static void put_zsh(kvat_buf *out) {
    kvat_buf_puts(out,
                  "#compdef kvat\n# zsh completion for kvat; made by: kvat completion zsh\n"
                  "_kvat_engines() { compadd -- ${(f)\"$(kvat completion --words engines 2>/dev/null)\"}; _files }\n"
                  "_kvat_profiles() { compadd -- ${(f)\"$(kvat completion --words profiles 2>/dev/null)\"}; _files }\n"
                  "_kvat() {\n    local -a commands\n    commands=(");
    for (size_t i = 0; i < cli_n_commands; i++) {
        kvat_buf_printf(out, "\n        '%s:", cli_commands[i]->name);
        zsh_text(out, cli_commands[i]->summary);
        kvat_buf_putc(out, '\'');
    }
    kvat_buf_puts(out, ")\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
                       "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n");
    for (size_t i = 0; i < cli_n_commands; i++) zsh_command(out, cli_commands[i]);
    kvat_buf_puts(out,
                  "    esac\n}\nif [[ $funcstack[1] == _kvat ]]; then _kvat \"$@\"; else compdef _kvat kvat; fi\n");
}

/* ---- fish ---- */

static void fish_quoted(kvat_buf *out, const char *text) {
    kvat_buf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') kvat_buf_putc(out, '\\');
        kvat_buf_putc(out, *text);
    }
    kvat_buf_putc(out, '\'');
}

static void fish_argument(kvat_buf *out, cli_kind kind, const char *const *words) {
    switch (source_of(kind)) {
    case SOURCE_FILES:
        kvat_buf_puts(out, " -F");
        break;
    case SOURCE_FOLDERS:
        kvat_buf_puts(out, " -a '(__fish_complete_directories)'");
        break;
    case SOURCE_WORDS:
        kvat_buf_puts(out, " -a '");
        put_words(out, words);
        kvat_buf_putc(out, '\'');
        break;
    case SOURCE_ASK:
        kvat_buf_printf(out, " -F -a '(kvat completion --words %s 2>/dev/null)'", ask_word(kind));
        break;
    default:
        break;
    }
}

typedef struct fish_target {
    kvat_buf *out;
    const char *command;
} fish_target;

static bool fish_option(void *user, const cli_option *option) {
    fish_target *target = user;
    if (option->hidden) return true;
    kvat_buf_printf(target->out, "complete -c kvat -n '__fish_seen_subcommand_from %s' -l %s", target->command,
                    option->name);
    if (option->letter) kvat_buf_printf(target->out, " -s %c", option->letter);
    if (option->kind != CLI_FLAG) kvat_buf_puts(target->out, " -r");
    fish_argument(target->out, option->kind, option->words);
    kvat_buf_puts(target->out, " -d ");
    fish_quoted(target->out, option->help);
    kvat_buf_putc(target->out, '\n');
    return true;
}

static void fish_command(kvat_buf *out, const cli_command *command) {
    kvat_buf_printf(out, "complete -c kvat -n __fish_use_subcommand -a %s -d ", command->name);
    fish_quoted(out, command->summary);
    kvat_buf_putc(out, '\n');
    if (command->verbs || command->completes != CLI_TEXT) {
        kvat_buf_printf(out, "complete -c kvat -n '__fish_seen_subcommand_from %s'", command->name);
        if (command->verbs) fish_argument(out, CLI_WORD, command->verbs);
        if (command->completes != CLI_TEXT) fish_argument(out, CLI_FILE, NULL);
        kvat_buf_putc(out, '\n');
    }
    fish_target target = {out, command->name};
    cli_each_option(command, fish_option, &target);
}

static void put_fish(kvat_buf *out) {
    kvat_buf_puts(out, "# fish completion for kvat; made by: kvat completion fish\ncomplete -c kvat -f\n"
                       "complete -c kvat -n __fish_use_subcommand -l help -s h -d 'show help'\n"
                       "complete -c kvat -n __fish_use_subcommand -l version -s V -d 'print the version'\n");
    for (size_t i = 0; i < cli_n_commands; i++) fish_command(out, cli_commands[i]);
}

kvat_status cli_completion_put(kvat_buf *out, const char *shell, kvat_error *err) {
    if (strcmp(shell, "bash") == 0)
        put_bash(out);
    else if (strcmp(shell, "zsh") == 0)
        put_zsh(out);
    else if (strcmp(shell, "fish") == 0)
        put_fish(out);
    else
        return cli_unknown(err, "shell", shell, cli_shells, CLI_COUNT(cli_shells) - 1);
    return kvat_buf_status(out, err);
}

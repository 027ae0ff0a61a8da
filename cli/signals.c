// INT, TERM and HUP ask a run to end in order the first time and at once the second.
// The handler only sets two flags; it must not know what is running.
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"

/* A signal handler gets no argument, so these two are the only mutable file-scope data of kvat. */
static kvat_cancel *volatile target;
static volatile sig_atomic_t first_signal;

static void raise_level(int number) {
    kvat_cancel *cancel = target;
    if (!first_signal) first_signal = number;
    if (cancel && cancel->level < 2) cancel->level = cancel->level + 1;
}

void cli_signals_catch(kvat_cancel *cancel) {
    struct sigaction action, before;
    target = cancel;
    memset(&action, 0, sizeof action);
    action.sa_handler = raise_level;
    sigemptyset(&action.sa_mask);
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < CLI_COUNT(numbers); i++)
        /* Started by nohup or in the background of a plain shell, an ignored signal stays ignored. */
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

int cli_signals_caught(void) {
    return first_signal;
}

void cli_forbid_core(void) {
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
}

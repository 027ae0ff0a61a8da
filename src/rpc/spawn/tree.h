/* Every process below this one, found and signalled. */
/* Must not know: why. */
#ifndef KVAT_SPAWN_TREE_H
#define KVAT_SPAWN_TREE_H

#include <sys/types.h>

/* Sends `signal` to every descendant; without /proc to `known` and its group at least. */
void tree_signal(int signal, pid_t known);

/* Kills until no descendant is left. As this process is their subreaper, whoever loses his parent becomes its child, so
 * having no children left means having no descendants left. Calls `reaped` for every child that is collected. */
void tree_kill(pid_t known, void (*reaped)(void *user, pid_t pid, int status), void *user);

#endif

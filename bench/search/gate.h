// A small part of the bench, held against the targets: for every change, not for figures to quote.
// Must not know how a search works.
#ifndef KVAT_BENCH_GATE_H
#define KVAT_BENCH_GATE_H

#include <stdbool.h>

// One line a check on stdout. `method` NULL: the library's choice; `spaces` separated by commas, NULL: all of them.
// False when a target is missed.
bool gate(const char *method, const char *spaces);

#endif

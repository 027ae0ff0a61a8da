// A cell for people and for programs.
// Must not know how it was run.
#ifndef KVAT_BENCH_REPORT_H
#define KVAT_BENCH_REPORT_H

#include <jansson.h>

#include "cell.h"

void report_header(void);
// One line on stdout, and one more for each peer.
void report_line(const cell *c);
// NULL without memory.
json_t *report_json(const cell *c);

#endif

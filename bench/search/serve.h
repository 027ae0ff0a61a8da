// Lends worlds to programs that search by other means: one JSON object a line in, one out.
// Must not know how they search.
#ifndef KVAT_BENCH_SERVE_H
#define KVAT_BENCH_SERVE_H

#include <stdbool.h>
#include <stdio.h>

// Until the end of `in`. False when it could not be read or written.
bool serve(FILE *in, FILE *out);

#endif

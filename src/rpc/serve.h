/* The serving loop on descriptors of the caller's choice. */
/* Must not know: that the protocol usually lives on standard input and output. */
#ifndef KVAT_RPC_SERVE_H
#define KVAT_RPC_SERVE_H

#include "kvat/serve.h"

/* As kvat_serve_run(), but on these two descriptors, which stay the caller's. */
int kvat__serve_fds(const kvat_serve_ops *ops, void *worker, int in_fd, int out_fd);

#endif

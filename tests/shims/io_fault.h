/* Makes the n-th change of a regular file fail, in this program and in the shared libraries it uses.
 * Must not be linked into anything but tests. */
#ifndef KVAT_TESTS_SHIMS_IO_FAULT_H
#define KVAT_TESTS_SHIMS_IO_FAULT_H

#include <stdbool.h>

/*
 * Counted are write, pwrite, ftruncate, fsync and fdatasync of regular files, and rename, of all threads. Two ways to
 * use it:
 *
 * - linked into a test program (kvat_io_fault_object), which arms it with the calls below;
 * - preloaded into any program: LD_PRELOAD=libkvat_io_fault.so KVAT_IO_FAULT=N[,option…], options being
 *   `enospc` (the default is EIO), `sticky` (every later change fails too), `sync` (only fsync and fdatasync count),
 *   `program=NAME` (only in a process whose program is called NAME).
 */

typedef enum io_fault_kind { IO_FAULT_ANY, IO_FAULT_SYNC } io_fault_kind;

/** The `n`-th change from now on (n from 1) fails with `errnum`; when `sticky`, every later one too. */
void io_fault_arm(int n, int errnum, io_fault_kind kind, bool sticky);

/** Changes succeed again. True when one was made to fail. */
bool io_fault_disarm(void);

#endif

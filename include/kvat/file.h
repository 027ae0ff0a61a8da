/**
 * @file file.h
 * Files written whole or not at all, folders made, XDG places found.
 */
#ifndef KVAT_FILE_H
#define KVAT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kvat/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Reads a regular file of at most `ceiling` bytes (opened without blocking on FIFOs or devices). KVAT_ERR_DATA when
 * missing, not regular, or too large; KVAT_ERR_IO when reading fails. */
KVAT_EXTERN kvat_status kvat_file_read(kvat_buf *out, const char *path, size_t ceiling, kvat_error *err);

/** Replaces `path` by temporary file + fsync + rename + fsync of the folder. The destination may be absent or a regular
 * file that is not read-only; a symbolic link, folder or device is refused (KVAT_ERR_IO), whatever it points to. On
 * failure the earlier file is intact and no temporary file stays; only when the last step, the fsync of the folder,
 * fails is the new file in place, whole, but not known to survive a power cut. What writers that were killed left in
 * the folder is removed. `mode` (less the umask) is e.g. 0644 or 0755. */
KVAT_EXTERN kvat_status kvat_file_write(const char *path, const void *bytes, size_t n, unsigned mode, kvat_error *err);

/** mkdir -p. An existing folder is fine; anything else in the way is KVAT_ERR_IO. */
KVAT_EXTERN kvat_status kvat_dir_make(const char *path, kvat_error *err);

typedef enum kvat_xdg { KVAT_XDG_CACHE, KVAT_XDG_STATE, KVAT_XDG_CONFIG } kvat_xdg;
/** "<XDG dir>/kvat" (heap; caller frees). $KVAT_CACHE_DIR overrides the cache. KVAT_ERR_IO without $HOME. Not
 * created. */
KVAT_EXTERN kvat_status kvat_xdg_dir(char **out, kvat_xdg which, kvat_error *err);

/** Folder of kvat's own workers: the first of libexec/kvat and lib/kvat that exists below the prefix of the running
 * program, so that an installation can be moved. The prefix is the folder above the one the program lies in
 * (PREFIX/bin), or two above when the program itself lies in libexec/kvat. $KVAT_LIBEXEC_DIR overrides. KVAT_ERR_IO
 * when there is none. Heap. */
KVAT_EXTERN kvat_status kvat_libexec_dir(char **out, kvat_error *err);
/** Folder of shipped data (engine manifests, sample prompts, schemas); as above with share/kvat, $KVAT_DATA_DIR.
 * Heap. */
KVAT_EXTERN kvat_status kvat_data_dir(char **out, kvat_error *err);

/** "a/b" from "a" and "b" (heap), NULL without memory. */
KVAT_EXTERN char *kvat_path_join(const char *folder, const char *name);

#ifdef __cplusplus
}
#endif
#endif

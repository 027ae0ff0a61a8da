/**
 * @file status.h
 * What a kvat function answers, and how it explains a failure.
 *
 * Every fallible function returns a kvat_status and takes a nullable `kvat_error *err` as its last parameter. The error
 * is filled where the fault is found and passed up unchanged: what failed, on which subject, what to do. Outputs are
 * untouched on failure. A failed trial is data (kvat_trial_status), not an error.
 *
 * Thread safety: no global state; a kvat_error belongs to its caller.
 */
#ifndef KVAT_STATUS_H
#define KVAT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KVAT_EXTERN       __attribute__((visibility("default")))
#define KVAT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define KVAT_MUST_CHECK   __attribute__((warn_unused_result))
#else
#define KVAT_EXTERN
#define KVAT_PRINTF(f, a)
#define KVAT_MUST_CHECK
#endif

/** X(name, exit code of the command line, word used in JSON) */
#define KVAT_STATUS_LIST(X)                                                                                            \
    X(OK, 0, "ok")                                                                                                     \
    X(ERR_INTERNAL, 1, "internal")          /**< a broken promise between our own parts */                             \
    X(ERR_NOMEM, 1, "out_of_memory")        /**< this process could not allocate */                                    \
    X(ERR_USAGE, 2, "usage")                /**< the request contradicts itself or names what does not exist */        \
    X(ERR_INFEASIBLE, 3, "no_feasible")     /**< no configuration worked */                                            \
    X(ERR_GATE, 4, "gate_failed")           /**< a regression beyond the gate */                                       \
    X(ERR_PARTIAL, 6, "partial")            /**< nothing firm: budget ended, or not comparable */                      \
    X(ERR_DATA, 65, "bad_data")             /**< bad input data, or the input file is missing */                       \
    X(ERR_ENGINE, 69, "engine_unavailable") /**< the engine cannot be started at all */                                \
    X(ERR_IO, 74, "io")                     /**< reading or writing failed */                                          \
    X(ERR_BUSY, 75, "busy")                 /**< another run holds the store */                                        \
    X(ERR_INTERRUPTED, 130, "interrupted")  /**< cancelled by the user; state saved */

typedef enum kvat_status {
#define KVAT_STATUS_ENUM(name, exit_code, word) KVAT_##name,
    KVAT_STATUS_LIST(KVAT_STATUS_ENUM)
#undef KVAT_STATUS_ENUM
} kvat_status;

/** An explanation; zero-initialise it (KVAT_ERROR_INIT). `message` is one line, valid UTF-8, without a final period. */
typedef struct kvat_error {
    kvat_status status;
    char message[1024];
} kvat_error;
// clang-format off
#define KVAT_ERROR_INIT {KVAT_OK, {0}}
// clang-format on

/** Process exit code for `status`: 0, 1, 2, 3, 4, 6, 65, 69, 74, 75 or 130. */
KVAT_EXTERN int kvat_status_exit_code(kvat_status status);

/** Stable lower-case word for `status`, as in `--json` output. */
KVAT_EXTERN const char *kvat_status_word(kvat_status status);

/** Fills `err` (when not NULL) from a printf format and returns `status`. Too long a message is cut at a character. */
KVAT_EXTERN kvat_status kvat_fail(kvat_error *err, kvat_status status, const char *format, ...) KVAT_PRINTF(3, 4);

/** Like kvat_fail(), appending ": " and the text of errno value `errnum`; ENOMEM becomes KVAT_ERR_NOMEM. */
KVAT_EXTERN kvat_status kvat_fail_errno(kvat_error *err, kvat_status status, int errnum, const char *format, ...)
    KVAT_PRINTF(4, 5);

#ifdef __clang_analyzer__ /* which cannot look into the call: a failure is never KVAT_OK */
#define kvat_fail(err, status, ...)               (kvat_fail(err, status, __VA_ARGS__), (status))
#define kvat_fail_errno(err, status, errnum, ...) (kvat_fail_errno(err, status, errnum, __VA_ARGS__), (status))
#endif

/** Library version, "MAJOR.MINOR.PATCH". */
KVAT_EXTERN const char *kvat_version(void);

#ifdef __cplusplus
}
#endif
#endif

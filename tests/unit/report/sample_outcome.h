/* Outcomes made by hand for the tests of plan and report: 24 configurations, 3 cells, a race of 41 trials, and
 * variants. Must not depend on how real outcomes are made. */
#ifndef KVAT_TEST_SAMPLE_OUTCOME_H
#define KVAT_TEST_SAMPLE_OUTCOME_H

#include "kvat/outcome.h"

typedef enum sample_kind {
    SAMPLE_WINNER,
    SAMPLE_DEFAULT,     /* nothing beat it */
    SAMPLE_UNDECIDED,   /* noisy, budget ended, no confirmation */
    SAMPLE_INFEASIBLE,  /* every trial failed */
    SAMPLE_ONLY_LOSSY,  /* the default and everything lossless cannot fit */
    SAMPLE_HOSTILE,     /* row 4 of the faults: names that attack their sinks */
    SAMPLE_DRY,         /* nothing measured yet */
    SAMPLE_UNCLEAR,     /* two pairs on a machine so disturbed that the intervals say nothing */
    SAMPLE_DISTURBED,   /* every trial was disturbed */
    SAMPLE_NO_DEFAULT,  /* the default was disturbed each time; much noise; an engine without snippets */
    SAMPLE_BEST_SO_FAR, /* no default and no decision: the leader is the answer for now */
    SAMPLE_KINDS
} sample_kind;

/** Names for files: "winner", "default", … */
const char *sample_word(sample_kind kind);
/** Never NULL: a test that cannot allocate its fixture ends. Free with kvat_outcome_free(). */
kvat_outcome *sample_outcome(sample_kind kind);

/** What a hostile name holds. */
#define SAMPLE_HOSTILE_TEXT "\033]0;x\a</script><img src=x onerror=alert(1)>`id`$(id)-rf\xE2\x80\xAE\nname|*_[x](y)"

#endif

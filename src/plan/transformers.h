/* The text of optimized_config.py around what a plan says, made from transformers_snippet.py at build time.
 * Must not be included by anything that is not about Transformers. */
#ifndef KVAT_TRANSFORMERS_H
#define KVAT_TRANSFORMERS_H

extern const char kvat__transformers_before[], kvat__transformers_after[];

#endif

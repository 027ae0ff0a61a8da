// The processors this process may use, and how many threads llama-server would take by itself.
// Must not know: libllama, knobs.
#ifndef KVAT_LLAMACPP_CPU_H
#define KVAT_LLAMACPP_CPU_H

#include <stdbool.h>

#define KVAT_CPU_MOST 512 /* as many as libllama's masks hold */

typedef struct kvat_cpu {
    int server_threads; /**< what llama-server takes without -t */
    int logical;        /**< processors in this process's affinity mask */
    int physical;       /**< cores among them */
    int numa_nodes;
    bool allowed[KVAT_CPU_MOST];
    bool one_per_core[KVAT_CPU_MOST]; /**< the first allowed hardware thread of each core */
} kvat_cpu;

void kvat_cpu_look(kvat_cpu *out);

/** Could a thread of this process be given a real-time priority? */
bool kvat_cpu_may_raise_priority(void);

#endif

// The one call of libllama that is exported but has only a C++ declaration, which its installed headers leave out.
// Must not know: anything else of the worker.
#include "breakdown.h"

#include <map>

#include "llama.h"

#ifdef KVAT_LLAMA_HAS_BREAKDOWN
struct llama_memory_breakdown_data {
    size_t model, context, compute;
};
LLAMA_API std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data>
llama_get_memory_breakdown(const struct llama_context *ctx);
#endif

#ifdef KVAT_LLAMA_HAS_BREAKDOWN
/* Host buffers other than the plain one (CPU_REPACK, AMX and the like) hold what the engine rearranged. */
static bool is_rearranged(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    return device && ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU && !ggml_backend_buft_is_host(type);
}
#endif

extern "C" bool kvat_breakdown_get(kvat_breakdown *out, const struct llama_context *context) {
#ifdef KVAT_LLAMA_HAS_BREAKDOWN
    try {
        kvat_breakdown sum = {0, 0, 0, 0};
        for (const auto &entry : llama_get_memory_breakdown(context)) {
            sum.model_bytes += static_cast<int64_t>(entry.second.model);
            sum.kv_bytes += static_cast<int64_t>(entry.second.context);
            sum.compute_bytes += static_cast<int64_t>(entry.second.compute);
            if (is_rearranged(entry.first)) sum.rearranged_bytes += static_cast<int64_t>(entry.second.model);
        }
        *out = sum;
        return true;
    } catch (...) {
        return false;
    }
#else
    (void)out;
    (void)context;
    return false;
#endif
}

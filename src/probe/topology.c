// Packages, cores and threads as this process may use them.
// Must not know what will run on them.
#include "probe_internal.h"

#include <errno.h>
#include <hwloc.h>

static void restrict_to_binding(hwloc_topology_t topology) {
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (set && hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_PROCESS) == 0 && !hwloc_bitmap_iszero(set))
        (void)hwloc_topology_restrict(topology, set, HWLOC_RESTRICT_FLAG_REMOVE_CPULESS);
    hwloc_bitmap_free(set);
}

static kvat_status load(hwloc_topology_t *out, kvat_error *err) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return kvat_fail_errno(err, KVAT_ERR_INTERNAL, errno, "cannot read the processor topology");
    if (hwloc_topology_load(topology) != 0) {
        int errnum = errno;
        hwloc_topology_destroy(topology);
        return kvat_fail_errno(err, KVAT_ERR_INTERNAL, errnum, "cannot read the processor topology");
    }
    restrict_to_binding(topology);
    *out = topology;
    return KVAT_OK;
}

/** At least one: hwloc leaves out levels that the platform does not tell. */
static int count(hwloc_topology_t topology, hwloc_obj_type_t type) {
    int n = hwloc_get_nbobjs_by_type(topology, type);
    return n > 0 ? n : 1;
}

static int count_cores(hwloc_topology_t topology) {
    int n = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    return n > 0 ? n : count(topology, HWLOC_OBJ_PU);
}

/** Where /proc/cpuinfo has no name for it, as on many Arm machines. */
static void name_cpu(kvat_machine *out, hwloc_topology_t topology) {
    hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    if (out->cpu_model[0] == '\0' && model) (void)snprintf(out->cpu_model, sizeof out->cpu_model, "%s", model);
}

kvat_status kvat__topology_read(kvat_machine *out, kvat_error *err) {
    hwloc_topology_t topology = NULL;
    kvat_status status = load(&topology, err);
    if (status != KVAT_OK) return status;
    out->packages = count(topology, HWLOC_OBJ_PACKAGE);
    out->cores = count_cores(topology);
    out->threads = count(topology, HWLOC_OBJ_PU);
    out->numa_nodes = count(topology, HWLOC_OBJ_NUMANODE);
    name_cpu(out, topology);
    hwloc_topology_destroy(topology);
    return KVAT_OK;
}

/** Sum over the deepest level that still is the last one: the caches nearest to memory. */
static int64_t last_level_bytes(hwloc_topology_t topology) {
    static const hwloc_obj_type_t levels[] = {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L1CACHE};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        int64_t bytes = 0;
        for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(topology, levels[i], o)) != NULL;)
            bytes += (int64_t)o->attr->cache.size;
        if (bytes > 0) return bytes;
    }
    return 0;
}

kvat_status kvat__topology_cores(int *cpus, int places, int *n, int64_t *cache_bytes, kvat_error *err) {
    hwloc_topology_t topology = NULL;
    kvat_status status = load(&topology, err);
    if (status != KVAT_OK) return status;
    hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int found = 0;
    for (hwloc_obj_t o = NULL; found < places && (o = hwloc_get_next_obj_by_type(topology, type, o)) != NULL;)
        cpus[found++] = hwloc_bitmap_first(o->cpuset);
    *n = found;
    *cache_bytes = last_level_bytes(topology);
    hwloc_topology_destroy(topology);
    return KVAT_OK;
}

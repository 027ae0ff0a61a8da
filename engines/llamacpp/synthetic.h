// Makes GGUF files with random weights of real shapes, once, in the cache: speed does not depend on what dense weights
// hold. Must not know: the protocol, contexts, how a model is run.
#ifndef KVAT_LLAMACPP_SYNTHETIC_H
#define KVAT_LLAMACPP_SYNTHETIC_H

#include "kvat/buf.h"
#include "kvat/hash.h"
#include "shape.h"

#define KVAT_SYNTHETIC_PREFIX "synthetic:"

typedef struct kvat_synthetic {
    kvat_shape shape;
    char type[16];           /**< weight type of all matrices whose rows divide into its blocks */
    char key[KVAT_HASH_HEX]; /**< hash of everything the file's content follows from */
} kvat_synthetic;

/** Told about the writing, in bytes. */
typedef void (*kvat_synthetic_progress)(void *user, int64_t done, int64_t total);

/** Reads `synthetic:ARCH[:TYPE]` or `synthetic:/path/config.json[:TYPE]`. KVAT_ERR_DATA says what there is instead. */
kvat_status kvat_synthetic_parse(kvat_synthetic *out, const char *model, kvat_error *err);

/** Path of the model's file (heap), written first unless it is there and whole. KVAT_ERR_IO when it cannot be. */
kvat_status kvat_synthetic_file(char **path, const kvat_synthetic *model, kvat_synthetic_progress progress, void *user,
                                kvat_error *err);

/** The type a matrix with rows of `columns` gets when `type` is asked for: the nearest whose blocks divide the rows. */
int kvat_synthetic_type_for(int type, int64_t columns);

/** The file's header: everything before the tensor data; *data_bytes is what follows it. */
kvat_status kvat__synthetic_header(kvat_buf *out, int64_t *data_bytes, const kvat_synthetic *model,
                                   const kvat_shape_tensor *tensors, size_t n, kvat_error *err);

/** Writes all tensor data to `file` from its current position. */
kvat_status kvat__synthetic_data(int file, const kvat_synthetic *model, const kvat_shape_tensor *tensors, size_t n,
                                 int64_t data_bytes, kvat_synthetic_progress progress, void *user, kvat_error *err);

/** Type number and bytes of one tensor. */
int kvat__synthetic_tensor_type(const kvat_synthetic *model, const kvat_shape_tensor *tensor);
int64_t kvat__synthetic_tensor_bytes(const kvat_synthetic *model, const kvat_shape_tensor *tensor);

#define KVAT__SYNTHETIC_ALIGNMENT 32

#endif

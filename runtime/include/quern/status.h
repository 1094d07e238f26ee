/* What a C function of Quern returns. The names of the C++ `quern::Code`, in the same order. */
#ifndef QUERN_STATUS_H
#define QUERN_STATUS_H

/* C passes any number as an enumerator; C++ may look at one that is none only where the type has a size. */
#ifdef __cplusplus
#define QUERN_ENUM : int
#else
#define QUERN_ENUM
#endif

typedef enum quern_status QUERN_ENUM {
  QUERN_OK = 0,
  QUERN_INVALID_PROGRAM = 1,
  QUERN_INVALID_ARGUMENT = 2,
  QUERN_TYPE_MISMATCH = 3,
  QUERN_SHAPE_MISMATCH = 4,
  QUERN_OVERLAP = 5,
  QUERN_OVERFLOW = 6,
  QUERN_DATA = 7,
  QUERN_UNSUPPORTED = 8,
  QUERN_OUT_OF_MEMORY = 9,
  QUERN_NOT_PREPARED = 10,
  QUERN_IO = 11,
  QUERN_INTERNAL = 12,
  QUERN_DEVICE_LOST = 13 /* a GPU failed; this process cannot use it any more */
} quern_status;

#endif /* QUERN_STATUS_H */

/* SPDX-License-Identifier: MIT */
/*
 * ops.h - sequences of allocator operations, as data.
 *
 * An operation names a slot and two numbers. It is total: on any state of the slots it
 * means something (an allocation into a slot in use does nothing, a free of an empty one is
 * free(NULL), a resize of an empty one allocates), so that any part of a sequence is a
 * sequence too. That is what lets a failing one be shrunk by leaving operations out.
 *
 * A sequence comes from a seed, from the bytes that a fuzzer made up, or from a file: one
 * operation a line, `name slot a b`, lines with # are comments.
 */
#ifndef MODEL_OPS_H
#define MODEL_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OPS_SLOTS 512
#define OPS_THREADS 4

/* X(name, meaning of a and b) */
#define OP_KINDS(X)                                                                                \
	X(malloc)	      /* b: bytes */                                                       \
	X(calloc)	      /* a x b bytes */                                                    \
	X(realloc)	      /* b: bytes */                                                       \
	X(reallocarray)	      /* a x b bytes */                                                    \
	X(aligned_alloc)      /* a: alignment, b: bytes */                                         \
	X(memalign)	      /* the same */                                                       \
	X(posix_memalign)     /* the same */                                                       \
	X(valloc)	      /* b: bytes */                                                       \
	X(pvalloc)	      /* b: bytes */                                                       \
	X(free)		      /* neither */                                                        \
	X(cfree)	      /* neither */                                                        \
	X(free_sized)	      /* neither: the size is the slot's */                                \
	X(free_aligned_sized) /* neither */                                                        \
	X(usable_size)	      /* neither */                                                        \
	X(check)	      /* neither: the contents are as they were written */                 \
	X(write)	      /* neither: other contents */                                        \
	X(trim)		      /* neither, nor a slot */                                            \
	X(thread)	      /* a: what follows runs on that thread; 0 is the first */            \
	X(thread_end)	      /* a: that thread ends; what follows runs on the first */            \
	X(pin)		      /* a: this thread moves to the a-th CPU and stays there */           \
	X(fork)		      /* a child checks all slots, frees and allocates, and ends */

enum op_kind {
#define OP_KIND(name) OP_##name,
	OP_KINDS(OP_KIND)
#undef OP_KIND
		NR_OP_KINDS
};

struct op {
	uint8_t kind;
	uint16_t slot; /* below OPS_SLOTS */
	uint64_t a, b;
};

/* A generator, so that a seed means the same everywhere. */
uint64_t ops_random(uint64_t *state);

/* Fill ops[] by chance. Without `processes` there is no fork. */
void ops_generate(struct op *ops, size_t count, uint64_t seed, bool processes);
/* Read ops[] out of bytes: no threads, no forks, few slots. Returns how many. */
size_t ops_decode(struct op *ops, size_t max, const uint8_t *bytes, size_t size);

/* One line, without its end; buf takes OPS_LINE bytes. */
#define OPS_LINE 96
const char *ops_format(const struct op *op, char *buf);
/* False: the disk is full, or the like. */
bool ops_write(const char *path, const struct op *ops, size_t count, const char *comment);
/* How many operations; 0: none, no such file, or a line that is no operation (stderr says which). */
size_t ops_read(const char *path, struct op *ops, size_t max);

#endif

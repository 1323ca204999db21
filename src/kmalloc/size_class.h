/* SPDX-License-Identifier: MIT */
/*
 * size_class.h - from a size to the index of its kmalloc cache, by one load.
 *
 * KMALLOC_CLASSES lists every cache: index, bytes from object to object, order
 * of its slab in 32 KiB granules. 16-byte steps up to 256, then four
 * per doubling, the kernel's own sizes among them. Slabs are so large that what
 * is left over at their end stays small. A power-of-two size is naturally
 * aligned, as its slab is.
 *
 * The top class is an order-5 block of 4 KiB pages: 131072 bytes, of which 16
 * are its page descriptor. That is where the limit KMALLOC_MAX_SIZE comes from.
 */
#ifndef KMALLOC_SIZE_CLASS_H
#define KMALLOC_SIZE_CLASS_H

#include "lib/compiler.h"

#define KMALLOC_MAX_SIZE 131056UL
#define KMALLOC_TOP_BLOCK 131072UL
#define KMALLOC_MIN_SIZE 16UL

/* clang-format off */
#define KMALLOC_CLASSES(X)                                                                         \
	X( 1,     16, 0) X( 2,     32, 0) X( 3,     48, 0) X( 4,     64, 0)                        \
	X( 5,     80, 0) X( 6,     96, 0) X( 7,    112, 0) X( 8,    128, 0)                        \
	X( 9,    144, 0) X(10,    160, 0) X(11,    176, 0) X(12,    192, 0)                        \
	X(13,    208, 0) X(14,    224, 0) X(15,    240, 0) X(16,    256, 0)                        \
	X(17,    320, 0) X(18,    384, 0) X(19,    448, 0) X(20,    512, 0)                        \
	X(21,    640, 0) X(22,    768, 0) X(23,    896, 0) X(24,   1024, 0)                        \
	X(25,   1280, 0) X(26,   1536, 0) X(27,   1792, 0) X(28,   2048, 0)                        \
	X(29,   2560, 0) X(30,   3072, 0) X(31,   3584, 0) X(32,   4096, 0)                        \
	X(33,   5120, 0) X(34,   6144, 0) X(35,   7168, 1) X(36,   8192, 1)                        \
	X(37,  10240, 1) X(38,  12288, 1) X(39,  14336, 2) X(40,  16384, 1)                        \
	X(41,  20480, 2) X(42,  24576, 2) X(43,  28672, 3) X(44,  32768, 2)                        \
	X(45,  40960, 3) X(46,  49152, 3) X(47,  57344, 3) X(48,  65536, 2)                        \
	X(49,  81920, 4) X(50,  98304, 4) X(51, 114688, 3) X(52, 131072, 2)
/* clang-format on */

#define NR_KMALLOC_CLASSES 53 /* with index 0, which is none */
#define KMALLOC_STEP_SHIFT 4
#define KMALLOC_STEPS ((KMALLOC_MAX_SIZE >> KMALLOC_STEP_SHIFT) + 1)

extern const uint8_t kmalloc_size_index[KMALLOC_STEPS] hidden;

/* The cache for `size` bytes; size at most KMALLOC_MAX_SIZE. */
static always_inline size_t kmalloc_index(size_t size)
{
	return kmalloc_size_index[(size + 15) >> KMALLOC_STEP_SHIFT];
}

#endif

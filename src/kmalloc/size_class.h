/* SPDX-License-Identifier: MIT */
/*
 * size_class.h - from a size to the index of its kmalloc cache, by one load.
 *
 * KMALLOC_CLASSES lists every cache: index, bytes from object to object, order
 * of its slab in 32 KiB granules. 16-byte steps up to 256, then four per doubling,
 * eight from 1 to 8 KiB (page caches of databases ask for a page and a header), the
 * kernel's own sizes among them. Slabs are so large that what is left over at their
 * end is whole pages, which nobody touches, or small. A power-of-two size is
 * naturally aligned, as its slab is.
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
	X(25,   1152, 0) X(26,   1280, 1) X(27,   1408, 0) X(28,   1536, 0)                        \
	X(29,   1664, 1) X(30,   1792, 0) X(31,   1920, 0) X(32,   2048, 0)                        \
	X(33,   2304, 0) X(34,   2560, 2) X(35,   2816, 1) X(36,   3072, 1)                        \
	X(37,   3328, 2) X(38,   3584, 0) X(39,   3840, 1) X(40,   4096, 0)                        \
	X(41,   4608, 0) X(42,   5120, 1) X(43,   5632, 0) X(44,   6144, 1)                        \
	X(45,   6656, 2) X(46,   7168, 0) X(47,   7680, 1) X(48,   8192, 0)                        \
	X(49,  10240, 1) X(50,  12288, 0) X(51,  14336, 0) X(52,  16384, 0)                        \
	X(53,  20480, 1) X(54,  24576, 1) X(55,  28672, 1) X(56,  32768, 1)                        \
	X(57,  40960, 2) X(58,  49152, 1) X(59,  57344, 1) X(60,  65536, 1)                        \
	X(61,  81920, 2) X(62,  98304, 2) X(63, 114688, 2) X(64, 131072, 2)
/* clang-format on */

#define NR_KMALLOC_CLASSES 65 /* with index 0, which is none */
#define KMALLOC_STEP_SHIFT 4
#define KMALLOC_STEPS ((KMALLOC_MAX_SIZE >> KMALLOC_STEP_SHIFT) + 1)

extern const uint8_t kmalloc_size_index[KMALLOC_STEPS] hidden;

/* The cache for `size` bytes; size at most KMALLOC_MAX_SIZE. */
static always_inline size_t kmalloc_index(size_t size)
{
	return kmalloc_size_index[(size + 15) >> KMALLOC_STEP_SHIFT];
}

#endif

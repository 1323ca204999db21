/* SPDX-License-Identifier: MIT */
/*
 * overflow.h - sizes that do not wrap: a result that would not fit is SIZE_MAX, which no
 * allocation grants.
 */
#ifndef KMALLOC_OVERFLOW_H
#define KMALLOC_OVERFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define check_add_overflow(a, b, result) __builtin_add_overflow(a, b, result)
#define check_sub_overflow(a, b, result) __builtin_sub_overflow(a, b, result)
#define check_mul_overflow(a, b, result) __builtin_mul_overflow(a, b, result)

static inline size_t size_add(size_t a, size_t b)
{
	size_t sum;

	return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

static inline size_t size_sub(size_t a, size_t b)
{
	size_t rest;

	/* what overflowed before stays so */
	if (a == SIZE_MAX || b == SIZE_MAX || __builtin_sub_overflow(a, b, &rest))
		return SIZE_MAX;
	return rest;
}

static inline size_t size_mul(size_t a, size_t b)
{
	size_t product;

	return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

/* Bytes of `count` elements; of a struct with a flexible array member of `count`. */
#define array_size(a, b) size_mul(a, b)
#define array3_size(a, b, c) size_mul(size_mul(a, b), c)
#define flex_array_size(p, member, count) size_mul(count, sizeof(*(p)->member))
#define struct_size(p, member, count) size_add(sizeof(*(p)), flex_array_size(p, member, count))
#define struct_size_t(type, member, count) struct_size((type *)NULL, member, count)

#endif

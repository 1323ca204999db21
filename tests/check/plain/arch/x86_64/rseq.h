/* SPDX-License-Identifier: MIT */
/*
 * rseq.h - the restartable sequences in plain C, for checkers that can't read assembly (cppcheck): they find this header
 * before src/arch/x86_64/rseq.h, whose pseudo-code it is. Nothing is ever compiled with it.
 */
#ifndef PLAIN_RSEQ_H
#define PLAIN_RSEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSEQ_NR_CPUS 8192

struct rseq_abi {
	ptrdiff_t cs;
	ptrdiff_t index;
};

extern struct rseq_abi rseq_abi;
uint32_t rseq_index(void);

static inline uintptr_t *rseq_area(const void *base, size_t table)
{
	const uintptr_t *offsets = (const uintptr_t *)((const char *)base + table);
	uint32_t index = rseq_index();

	return index < RSEQ_NR_CPUS ? (uintptr_t *)((uintptr_t)base + offsets[index]) : NULL;
}

static inline bool rseq_pop(const void *base, size_t table, size_t slot, void **result)
{
	uintptr_t *area = rseq_area(base, table);
	uintptr_t *top = area ? (uintptr_t *)area[slot] : NULL;

	if (!top || (top[-1] & 1))
		return false;
	*result = (void *)top[-1];
	area[slot] = (uintptr_t)(top - 1);
	return true;
}

static inline bool rseq_push(const void *base, size_t table, size_t slot, void *object)
{
	uintptr_t *area = rseq_area(base, table);
	uintptr_t *top = area ? (uintptr_t *)area[slot] : NULL;

	if (!top || (top[0] & 1))
		return false;
	top[0] = (uintptr_t)object;
	area[slot] = (uintptr_t)(top + 1);
	return true;
}

static inline bool rseq_cmpxchg(const void *base, size_t table, size_t word, uintptr_t expected,
				uintptr_t desired)
{
	uintptr_t *area = rseq_area(base, table);

	if (!area || area == base || area[word] != expected)
		return false;
	area[word] = desired;
	return true;
}

#define RSEQ_RING_EVENTS 4096

static inline bool rseq_ring_put(const void *base, size_t table, const uint64_t words[3])
{
	uintptr_t *ring = rseq_area(base, table);
	uintptr_t *event;

	if (!ring || ring == base || ring[0] >= ring[1])
		return false;
	event = ring + RSEQ_RING_EVENTS / 8 + (ring[0] & ring[2]) * 4;
	for (int i = 0; i < 3; i++)
		event[i + 1] = words[i];
	ring[0]++;
	return true;
}

/* The sheaf is replaced if the slot `at` beside its top is a sentinel. */
static inline bool rseq_replace(const void *base, size_t table, size_t slot, uintptr_t desired,
				uintptr_t *sentinel, ptrdiff_t at)
{
	uintptr_t *area = rseq_area(base, table);

	if (!area || area == base)
		return false;
	*sentinel = ((uintptr_t *)area[slot])[at];
	if (!(*sentinel & 1))
		return false;
	area[slot] = desired;
	return true;
}

static inline bool rseq_replace_empty(const void *base, size_t table, size_t slot,
				      uintptr_t desired, uintptr_t *sentinel)
{
	return rseq_replace(base, table, slot, desired, sentinel, -1);
}

static inline bool rseq_replace_full(const void *base, size_t table, size_t slot, uintptr_t desired,
				     uintptr_t *sentinel)
{
	return rseq_replace(base, table, slot, desired, sentinel, 0);
}

#endif

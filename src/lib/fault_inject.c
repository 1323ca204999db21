/* SPDX-License-Identifier: MIT */
/*
 * fault_inject.c - which call fails: by its number, by chance, again and again.
 *
 * Mirrors lib/fault-inject.c: the same four numbers with the same meanings, in the same
 * order in a parameter's value. Differences: no filter by task or by stack; a
 * probability is drawn from a sequence that repeats with params.fail_seed, so that a
 * run of one thread can be had again.
 *
 * The n-th call alone fails with 1,100,n,1; all from the n-th on with 1,100,n,-1; each
 * k-th with k,100,0,-1; every twentieth or so with 1,5,0,-1.
 *
 * No locks: each number is atomic. Between threads a call or two more may fall into
 * the space, and never more failures than `times`. Compiled in debug builds alone.
 */
#include "lib/fault_inject.h"

#ifdef DEBUG_CHECKS
#include "lib/param.h"

#include <stdatomic.h>

size_t fault_random(size_t limit)
{
	static _Atomic uint64_t drawn;
	uint64_t x = atomic_fetch_add(&drawn, 1) + params.fail_seed * 0x9e3779b97f4a7c15UL;

	/* splitmix64, a well-known mixer */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9UL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebUL;
	return (size_t)((x ^ (x >> 31)) % limit);
}

/* One failure less to come. False: there is none left. */
static bool take_failure(struct fault_attr *attr)
{
	long left = atomic_load(&attr->times);

	do {
		if (left <= 0)
			return left < 0;
	} while (!atomic_compare_exchange_weak(&attr->times, &left, left - 1));
	return true;
}

bool should_fail(struct fault_attr *attr, size_t size)
{
	atomic_fetch_add(&attr->nr_calls, 1);
	if (!attr->probability || !atomic_load(&attr->times))
		return false;
	if (atomic_load(&attr->space) > (long)size) {
		atomic_fetch_sub(&attr->space, (long)size);
		return false;
	}
	if (attr->interval > 1 && (atomic_fetch_add(&attr->count, 1) + 1) % attr->interval)
		return false;
	if (attr->probability <= fault_random(100) || !take_failure(attr))
		return false;
	atomic_fetch_add(&attr->nr_failed, 1);
	return true;
}

/* A decimal number that ends at `end`; *text moves past both. */
static bool parse_number(const char **text, char end, long *value)
{
	bool negative = **text == '-';
	const char *at = *text + negative;
	long n = 0;

	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *at - '0', &n))
			return false;
	if (*at != end)
		return false;
	*text = at + 1;
	*value = negative ? -n : n;
	return true;
}

bool fault_attr_parse(struct fault_attr *attr, const char *text)
{
	long interval, probability, space, times;

	if (!parse_number(&text, ',', &interval) || !parse_number(&text, ',', &probability) ||
	    !parse_number(&text, ',', &space) || !parse_number(&text, '\0', &times))
		return false;
	if (interval < 0 || probability < 0 || probability > 100 || space < 0)
		return false;
	attr->interval = (size_t)interval;
	attr->probability = (size_t)probability;
	attr->count = 0;
	attr->space = space;
	attr->times = times;
	return true;
}
#endif

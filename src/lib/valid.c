/* SPDX-License-Identifier: MIT */
/*
 * valid.c - reports of the validators; locks and parameters.
 *
 * A lock's word and owner are written one after the other: the word first when it is taken,
 * the owner first when it is released. So of a lock that others may take only this can be
 * said: the word is one of four, and if this thread is the owner, the word is not 0.
 */
#include "lib/valid.h"

#include "lib/die.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "lib/param.h"

bool invalid(const char *format, ...)
{
	char line[400];
	va_list args;

	va_start(args, format);
	fmt_vformat(line, sizeof(line), format, args);
	va_end(args);
#ifdef DEBUG_CHECKS
	die("BUG %s", line);
#else
	fmt_warn("BUG %s", line);
#endif
	return false;
}

bool locks_are_valid(void)
{
	unsigned rank = LOCK_RANK_SLAB_MUTEX;

	for (const struct lock *lock = lock_list(); lock; lock = lock->next) {
		uint64_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);

		if (lock->rank < rank || lock->rank > LOCK_RANK_META)
			return invalid("lock %p: rank %u follows rank %u", (const void *)lock,
				       lock->rank, rank);
		if (!(word & ~LOCK_STATE) != !(word & LOCK_STATE))
			return invalid("lock %p of rank %u: word %lx", (const void *)lock,
				       lock->rank, word);
		rank = lock->rank;
	}
	return true;
}

bool params_are_valid(void)
{
	for (const struct param *param = param_table; param->name; param++) {
		int count = 0;

		if (param->type == PARAM_BOOL && *(const unsigned char *)param->target > 1)
			return invalid("parameter %s: %u is no truth value", param->name,
				       *(const unsigned char *)param->target);
		if (param->type != PARAM_CHOICE)
			continue;
		while (param->choices[count])
			count++;
		if (*(const int *)param->target < 0 || *(const int *)param->target >= count)
			return invalid("parameter %s: %d is none of its %d choices", param->name,
				       *(const int *)param->target, count);
	}
	return true;
}

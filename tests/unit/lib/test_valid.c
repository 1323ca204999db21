/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - validators of locks and parameters: good ones pass, each damage is named.
 */
#include "damage.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "lib/valid.h"

static struct lock *nth_lock(unsigned n)
{
	struct lock *lock = (struct lock *)(uintptr_t)lock_list();

	while (n--)
		lock = lock->next;
	return lock;
}

static void locks_free_or_held_are_valid(void)
{
	CHECK(locks_are_valid());
	lock_fork_prepare();
	CHECK(locks_are_valid());
	lock_fork_parent();
	CHECK(locks_are_valid());
}

static void lock_damaged_is_named(void)
{
	struct lock *lock = nth_lock(3);

	NOTICES(lock->word = LOCK_HELD, locks_are_valid(), "lock %p of rank %u: word 1",
		(void *)lock, lock->rank);
	NOTICES(lock->word = 0x7000, locks_are_valid(), "lock %p of rank %u: word 7000",
		(void *)lock, lock->rank);
	NOTICES(lock->rank = 99, locks_are_valid(), "lock %p: rank 99 follows rank %u",
		(void *)lock, nth_lock(2)->rank);
	NOTICES(lock->rank = 1, locks_are_valid(), "lock %p: rank 1 follows rank %u", (void *)lock,
		nth_lock(2)->rank);
}

static void parameter_out_of_its_choices_is_named(void)
{
	CHECK(params_are_valid());
	NOTICES(params.thp = 4, params_are_valid(),
		"parameter transparent_hugepage: 4 is none of its 4 choices");
	NOTICES(params.rseq = -1, params_are_valid(),
		"parameter rseq: -1 is none of its 4 choices");
	NOTICES(*(unsigned char *)&params.stat = 2, params_are_valid(),
		"parameter stat: 2 is no truth value");
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(locks_free_or_held_are_valid),
		UNIT_TEST(lock_damaged_is_named),
		UNIT_TEST(parameter_out_of_its_choices_is_named),
	};

	return UNIT_MAIN(tests);
}

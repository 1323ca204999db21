/* SPDX-License-Identifier: MIT */
/*
 * account.h - the account beside what a test holds, and beside what the kernel says.
 */
#ifndef TESTS_TORTURE_ACCOUNT_H
#define TESTS_TORTURE_ACCOUNT_H

#include "../unit/unit.h"

#include "kmalloc/account.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "lib/lock.h"
#include "vmalloc/vmalloc.h"

/* What the test holds. */
struct expected {
	size_t objects[KMEM_CACHES_MAX]; /* of each class */
	size_t areas;			 /* bytes */
	size_t emergency;		 /* mappings */
};

/* Take the account; no other thread is in the allocator: it is exactly what is expected. */
void account_is(const struct expected *expected);
void account_adds_up(const struct account *account);
/*
 * The windows and the metadata are mapped as the account says, where nothing of them is lost;
 * the areas with a difference of `slack` bytes at most.
 */
void account_is_mapped(const struct account *account, size_t slack);

/* For pthread_atfork(). */
void account_fork_child(void);
/* The status. */
int wait_for_child(pid_t pid);

#endif

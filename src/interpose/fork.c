/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork and vfork around the allocator.
 *
 * fork: the C library's handlers. Before: no start runs (start.c), and all locks are taken, in rank order, so the
 * child gets a heap that nobody was changing. Before that the C library's list of open streams, as its fork() locks that behind the
 * handlers: whoever holds it may be waiting for one of ours, in fflush(NULL), or in a handler. Or the other way round: a handler that
 * interrupted the allocator, whose locks this thread has, forks too and waits for the list. So where ours can't all be had soon
 * the list is let go, and then it is tried again. After: the parent releases them,
 * the child resets them, and forgets other threads' vfork children. Registered
 * in the first constructor of the process, so our `prepare` runs last and our
 * `child` first, and other handlers may allocate. In between signals are blocked, but for those of faults and the C library's
 * own: a handler that forks amid a fork would release the locks of both, and the C library would wait for itself. The
 * system begins a fork again when a signal comes, so that it is either before or after it on both sides; so do we.
 *
 * vfork: see vfork.S, which calls the three functions here. The child borrows its
 * parent's memory and stack but has no rseq registration; it must leave
 * the per-CPU areas alone before it does anything else. Signals are blocked over the
 * call, so that no handler allocates in the child before that.
 *
 * clone(CLONE_VM) by hand, without CLONE_THREAD and not by the C library, is not seen
 * here: such a child may not allocate (docs/limits.md).
 */
#include "interpose/fork.h"

#include "kmalloc/start.h"
#include "lib/lock.h"
#include "lib/port.h"
#include "os/os.h"
#include "slab/percpu.h"

#include <errno.h>
#include <sys/single_threaded.h>

/* The C library's own registration; pthread_atfork() would need a static part of it. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
			     void *dso_handle);
extern void *__dso_handle hidden;

/* The C library's, recursive; others have none. In a child of several threads it is reset before our handler comes. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

#define WAITS_MAX 5   /* doublings of LOCK_FORK_TRY_MS */
#define SIGNALS_MAX 8 /* tries, where signals come without end */

/* This thread's fork, from its `prepare` on. */
static _Thread_local struct {
	uint64_t mask; /* of signals, before */
	bool streams;  /* we hold the list */
} current initial_exec;

static _Thread_local unsigned born initial_exec; /* how often this thread was a child of fork */

/* Take the list, then block signals: it may be long until it can be had. Returns the mask as it was. */
static uint64_t lock_streams(bool streams)
{
	unsigned before = born;
	uint64_t mask;

	if (streams && _IO_list_lock)
		_IO_list_lock();
	mask = os_block_signals(OS_SIGNALS_LIBC);
	/* a handler forked in between: the C library has reset the list in its child, that is here, where nobody else is */
	if (streams && before != born && _IO_list_resetlock && _IO_list_lock) {
		_IO_list_resetlock();
		_IO_list_lock();
	}
	return mask;
}

static void unlock_streams(bool streams, uint64_t mask)
{
	if (streams && _IO_list_unlock)
		_IO_list_unlock();
	os_restore_signals(mask);
}

/* One to parent and child alike, as of a terminal, must not find the parent alone. mask: of those blocked before. */
static bool signal_came(uint64_t mask)
{
	return os_pending_signals() & ~(mask | OS_SIGNALS_LIBC);
}

/* False: one of our locks can't be had, or a signal came, and it is not one too many. Nothing is held then. */
static bool try_prepare(bool streams, unsigned tries)
{
	unsigned ms = LOCK_FORK_TRY_MS << (tries < WAITS_MAX ? tries : WAITS_MAX);
	uint64_t mask = lock_streams(streams);

	if (kmalloc_start_fork_prepare(ms)) {
		if (lock_fork_try(ms)) {
			if (tries >= SIGNALS_MAX || !signal_came(mask)) {
				current.mask = mask;
				current.streams = streams;
				return true;
			}
			lock_fork_parent();
		}
		kmalloc_start_fork_done();
	}
	unlock_streams(streams, mask);
	return false;
}

static void fork_prepare(void)
{
	/* where it does not lock them itself it does not reset them either */
	bool streams = _IO_list_lock && _IO_list_unlock && !__libc_single_threaded;
	_Atomic uint32_t word = 0;

	/* who has one of ours may be waiting for the streams: let it have them, and signals their turn */
	for (unsigned tries = 0; !try_prepare(streams, tries); tries++)
		port_futex_wait_ms(&word, 0, 1);
}

static void fork_parent(void)
{
	lock_fork_parent();
	kmalloc_start_fork_done();
	unlock_streams(current.streams, current.mask);
}

static void fork_child(void)
{
	lock_fork_child();
	percpu_fork_child();
	kmalloc_fork_child();
	kmalloc_start_fork_done();
	born++;
	os_restore_signals(current.mask);
}

void fork_register(void)
{
	__register_atfork(fork_prepare, fork_parent, fork_child, &__dso_handle);
}

uint64_t vfork_prepare(void)
{
	return os_block_signals(0);
}

void vfork_child(uint64_t mask)
{
	percpu_vfork_child();
	os_restore_signals(mask);
}

int vfork_parent(uint64_t mask, long ret)
{
	if (ret > 0)
		percpu_vfork_parent();
	os_restore_signals(mask);
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

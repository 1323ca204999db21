/* SPDX-License-Identifier: MIT */
/*
 * os.h - the whole surface to the system: every system call of the library.
 *
 * Rules for all: errno is never touched; nothing allocates; lengths and
 * addresses are multiples of the page size unless said otherwise. Results are
 * 0 or -errno, or a pointer or NULL.
 *
 * After start-up a program under the library makes only mmap, munmap, mremap,
 * mprotect, madvise and futex (a seccomp filter may allow nothing else), and, where it
 * calls vfork or malloc_stats itself, or is recorded with stacks, rt_sigprocmask; fork that and rt_sigpending. The kernel's calls may make those marked [asked] too.
 * Calls marked [start] run at start-up only; [asked] only when the user asked
 * for something (malloc_trim, statistics, a warning).
 */
#ifndef OS_OS_H
#define OS_OS_H

#include "lib/compiler.h"

/* Bytes in a page; a power of two. Valid after os_init(). */
extern size_t os_page_size;
extern unsigned os_page_shift;

/* [start] Read what the kernel told the process. Idempotent. */
void os_init(void);

/*
 * Map `size` bytes of zero pages, readable and writable, wherever the system
 * likes. NULL: ENOMEM (address space, a limit, the VMA count, overcommit).
 */
void *os_map(size_t size);
/*
 * The same exactly at addr, only if nothing is mapped there.
 * 0; -EEXIST: something is there; -ENOMEM; -EAGAIN: over the limit of locked memory.
 */
int os_map_at(void *addr, size_t size);
/* Reserve address space without access. NULL: ENOMEM. */
void *os_reserve(size_t size);
/* Make part of a reservation readable and writable. 0; -ENOMEM. */
int os_commit(void *addr, size_t size);
/* Unmap. 0; -ENOMEM when splitting a VMA would pass the VMA limit. */
int os_unmap(void *addr, size_t size);
/*
 * Move the pages of [old, old + old_size) to [to, to + new_size), which must
 * be mapped and is replaced; the rest is zero. 0; -ENOMEM; -EAGAIN: over the limit of locked
 * memory; -EFAULT when the old range is more than one VMA. The old range is unmapped on
 * success; on failure it is as it was, but the new range may be unmapped.
 */
int os_move(void *old, size_t old_size, size_t new_size, void *to);
/* Grow the VMA that is exactly [addr, addr + old_size) in place. 0; -ENOMEM; -EAGAIN; -EFAULT. */
int os_grow(void *addr, size_t old_size, size_t new_size);
/*
 * Give the pages back; the range reads as zero after. 0; -EINVAL: locked pages; -ENOMEM: not
 * all of it is mapped. After an error part of it may have been given back.
 */
int os_discard(void *addr, size_t size);
/* Fault the pages in, writable. 0; -EINVAL: kernel before 5.14; -ENOMEM. */
int os_populate(void *addr, size_t size);
/* Ask for, or refuse, huge pages. Advice: a failure does not matter. */
void os_advise_huge(void *addr, size_t size, bool huge);
/*
 * Make pages fault for good until os_guard_remove() or unmapped, without a VMA
 * of their own. 0; -EINVAL: kernel before 6.13, or locked pages; -ENOMEM; -EINTR.
 */
int os_guard_install(void *addr, size_t size);
int os_guard_remove(void *addr, size_t size);

/* [asked] For the DMA zone. All on memory of the caller's, in whole huge pages of 2 MiB. */
/* Put huge pages of the system's pool, faulted in, in the place of a mapping. 0; -errno: none are free. */
int os_map_huge_over(void *addr, size_t size);
/* Put fresh small pages in its place. 0; -ENOMEM. */
int os_map_over(void *addr, size_t size);
/* Is there a free page in the system's pool of huge pages? */
bool os_huge_pages_free(void);
/* Make the pages one huge page now. 0; -EINVAL: kernel before 6.1; -EAGAIN, -ENOMEM: there is none. */
int os_collapse(void *addr, size_t size);
/* Keep the pages in memory. 0; -ENOMEM, -EPERM: more than RLIMIT_MEMLOCK allows. */
int os_lock(void *addr, size_t size);
int os_unlock(void *addr, size_t size);
size_t os_memlock_limit(void);
/* Leave the mapping out of the children of fork, or no longer. 0; -EINVAL. */
int os_dont_fork(void *addr, size_t size, bool leave_out);
/*
 * The numbers of the frames behind n pages. 0; -EPERM: this process may not see them;
 * -ENODATA: a page is not resident; other: there is no /proc.
 */
int os_frames(const void *addr, uint64_t *frames, size_t n);
/* Are the pages huge ones, all of them? 1; 0; -errno: can't be told (kernel before 6.7). */
int os_is_huge(const void *addr, size_t size);
/* [start] RLIMIT_AS in bytes, SIZE_MAX when there is none. */
size_t os_address_space_limit(void);
/* [start] Bytes of memory in the machine. */
size_t os_total_ram(void);
/* The CPU this thread runs on, for reports; without a system call where rseq or the vDSO tells. */
unsigned os_current_cpu(void);
/* [start] CPUs that this process may run on, at least 1. */
unsigned os_nr_cpus(void);
/* [start] 64 random bits from the kernel's AT_RANDOM. */
uint64_t os_random_seed(void);
/* [start] Is the process privileged beyond its user (AT_SECURE)? */
bool os_secure(void);
/* [start] An environment variable's value, NULL when not set; works before libc's start. */
const char *os_getenv(const char *name);
/* [start] Size in bytes of the part of struct rseq that the kernel fills; 0 when unknown. */
size_t os_rseq_feature_size(void);
/* Text at exec of this program's name, for reports; never NULL. */
const char *os_program(void);

/* [asked] Can the 8 bytes at addr be read? Another thread may change that. */
bool os_is_readable(const void *addr);
/* The last address of the first thread's stack that is known, or NULL. */
const void *os_stack_end(void);

/*
 * Around fork and vfork and while the world is stopped: block the signals of the thread, and set the mask as it was. Not those
 * that a fault raises, as the kernel ends a process that blocks them, nor those in `but`.
 */
uint64_t os_block_signals(uint64_t but);
/* Those that wait to be unblocked, of the thread and of the process. */
uint64_t os_pending_signals(void);
#define OS_SIGNALS_LIBC                                                                            \
	(3UL << 31) /* SIGCANCEL and SIGSETXID: others wait for them to be handled */
void os_restore_signals(uint64_t mask);

/* [asked] Restart every rseq critical section of this process. 0; -ENOSYS; -EPERM. */
int os_membarrier_rseq(void);
/* [asked] Peak resident set and page faults so far. */
void os_rusage(size_t *peak_bytes, size_t *minor_faults);
/*
 * [asked] Has every other thread of the process ended, the first one too? False also where /proc
 * does not tell.
 */
bool os_is_last_thread(void);
/* [asked] Sleep. */
void os_sleep_ms(size_t ms);

#endif

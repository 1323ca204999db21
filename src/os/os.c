/* SPDX-License-Identifier: MIT */
/*
 * os.c - every system call, once.
 *
 * Made by the raw instruction (arch/), so errno stays untouched, cancellation
 * never strikes, and a program that interposes mmap does not recurse into us.
 * No state but what the kernel told at exec; no locks; safe in a handler.
 * In debug builds any of them can be made to fail (fail_syscall.c).
 *
 * Before libc's own start (the dynamic linker calls malloc early) environ is
 * not set yet: the initial stack, which the linker exports, has it.
 */
#include "os/os.h"

#include "arch/x86_64/syscall.h"
#include "lib/port.h"
#include "os/fail_syscall.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#define PORT_DUP_FROM 100	  /* away from the numbers that programs count on */
#define RSEQ_FEATURE_SIZE_AUXV 27 /* AT_RSEQ_FEATURE_SIZE */
#define STAT_NUM_THREADS 17	  /* fields of /proc/self/stat from the state to num_threads */
#define MEMBARRIER_RSEQ (1 << 7)
#define MEMBARRIER_REGISTER_RSEQ (1 << 8)

size_t os_page_size = 4096;
unsigned os_page_shift = 12;

/* Exported by the dynamic linker; absent in other systems. */
extern void *__libc_stack_end __attribute__((weak));
extern char **environ;

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	const long args[] = { a, b, c, d, e };
	long error = fail_syscall(nr, args);

	return error ? error : arch_syscall(nr, a, b, c, d, e, f);
}

static long sys_mmap(void *addr, size_t size, int prot, int flags)
{
	return call(SYS_mmap, (long)addr, (long)size, prot, flags, -1, 0);
}

static bool failed(long ret)
{
	return (unsigned long)ret > -4096UL;
}

static int sys_madvise(void *addr, size_t size, int advice)
{
	return (int)call(SYS_madvise, (long)addr, (long)size, advice, 0, 0, 0);
}

void os_init(void)
{
	size_t page = getauxval(AT_PAGESZ);

	if (page) {
		os_page_size = page;
		os_page_shift = ilog2(page);
	}
}

void *os_map(size_t size)
{
	long ret = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);

	return failed(ret) ? NULL : (void *)ret;
}

int os_map_at(void *addr, size_t size)
{
	long ret = sys_mmap(addr, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE);

	if (failed(ret))
		return (int)ret;
	if ((void *)ret == addr)
		return 0;
	/* a kernel before 4.17 took the address for a hint */
	call(SYS_munmap, ret, (long)size, 0, 0, 0, 0);
	return -EEXIST;
}

void *os_reserve(size_t size)
{
	long ret = sys_mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	return failed(ret) ? NULL : (void *)ret;
}

int os_commit(void *addr, size_t size)
{
	return (int)call(SYS_mprotect, (long)addr, (long)size, PROT_READ | PROT_WRITE, 0, 0, 0);
}

int os_unmap(void *addr, size_t size)
{
	return (int)call(SYS_munmap, (long)addr, (long)size, 0, 0, 0, 0);
}

int os_move(void *old, size_t old_size, size_t new_size, void *to)
{
	long ret = call(SYS_mremap, (long)old, (long)old_size, (long)new_size,
			MREMAP_MAYMOVE | MREMAP_FIXED, (long)to, 0);

	return failed(ret) ? (int)ret : 0;
}

int os_grow(void *addr, size_t old_size, size_t new_size)
{
	long ret = call(SYS_mremap, (long)addr, (long)old_size, (long)new_size, 0, 0, 0);

	return failed(ret) ? (int)ret : 0;
}

int os_discard(void *addr, size_t size)
{
	return sys_madvise(addr, size, MADV_DONTNEED);
}

int os_populate(void *addr, size_t size)
{
	return sys_madvise(addr, size, MADV_POPULATE_WRITE);
}

void os_advise_huge(void *addr, size_t size, bool huge)
{
	sys_madvise(addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int os_guard_install(void *addr, size_t size)
{
	return sys_madvise(addr, size, MADV_GUARD_INSTALL);
}

int os_guard_remove(void *addr, size_t size)
{
	return sys_madvise(addr, size, MADV_GUARD_REMOVE);
}

uint64_t port_clock_ms(void)
{
	struct timespec now;

	/* the coarse clock is answered by the vDSO on every machine */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

size_t os_address_space_limit(void)
{
	struct rlimit limit = { 0 };

	if (call(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&limit, 0, 0) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur;
}

size_t os_total_ram(void)
{
	struct sysinfo info = { 0 };

	if (call(SYS_sysinfo, (long)&info, 0, 0, 0, 0, 0) != 0)
		return 1UL << 30;
	return info.totalram * info.mem_unit;
}

unsigned os_current_cpu(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : (unsigned)cpu;
}

unsigned os_nr_cpus(void)
{
	unsigned long mask[128] = { 0 }; /* 8192 CPUs, the most that Linux builds for */
	long bytes = call(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0, 0, 0);
	unsigned count = 0;

	for (long i = 0; i < bytes / (long)sizeof(mask[0]); i++)
		count += (unsigned)__builtin_popcountl(mask[i]);
	return count ? count : 1;
}

uint64_t os_random_seed(void)
{
	const void *bytes = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
	uint64_t seed = 0;

	if (bytes)
		memcpy(&seed, bytes, sizeof(seed));
	return seed;
}

bool os_secure(void)
{
	return getauxval(AT_SECURE) != 0;
}

static char **initial_environment(void)
{
	if (environ)
		return environ;
	if (!&__libc_stack_end || !__libc_stack_end)
		return NULL;

	long *stack = __libc_stack_end; /* argc, argv..., NULL, envp... */

	return (char **)(stack + 1 + stack[0] + 1);
}

const char *os_getenv(const char *name)
{
	char **env = initial_environment();
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

size_t os_rseq_feature_size(void)
{
	return getauxval(RSEQ_FEATURE_SIZE_AUXV);
}

const char *os_program(void)
{
	const char *name = (const char *)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)

	return name ? name : "?";
}

const void *os_stack_end(void)
{
	return &__libc_stack_end ? __libc_stack_end : NULL;
}

/* The kernel reads the set before it looks at what to do with it, and nothing is done: there is no such `how`. */
bool os_is_readable(const void *addr)
{
	return call(SYS_rt_sigprocmask, -1, (long)addr, 0, sizeof(uint64_t), 0, 0) != -EFAULT;
}

#define SIGNAL_BIT(number) (1UL << ((number)-1))
#define SIGNALS_OF_FAULTS                                                                          \
	(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) |      \
	 SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS))

uint64_t os_block_signals(uint64_t but)
{
	uint64_t which = ~(SIGNALS_OF_FAULTS | but), old = 0;

	call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&which, (long)&old, sizeof(which), 0, 0);
	return old;
}

uint64_t os_pending_signals(void)
{
	uint64_t pending = 0;

	call(SYS_rt_sigpending, (long)&pending, sizeof(pending), 0, 0, 0, 0);
	return pending;
}

void os_restore_signals(uint64_t mask)
{
	call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof(mask), 0, 0);
}

int os_membarrier_rseq(void)
{
	long ret = call(SYS_membarrier, MEMBARRIER_RSEQ, 0, 0, 0, 0, 0);

	if (ret != -EPERM)
		return (int)ret;
	/* the first time in this process (or after fork): register, then again */
	ret = call(SYS_membarrier, MEMBARRIER_REGISTER_RSEQ, 0, 0, 0, 0, 0);
	if (ret == 0)
		ret = call(SYS_membarrier, MEMBARRIER_RSEQ, 0, 0, 0, 0, 0);
	return (int)ret;
}

void os_rusage(size_t *peak_bytes, size_t *minor_faults)
{
	struct rusage usage = { 0 };

	call(SYS_getrusage, RUSAGE_SELF, (long)&usage, 0, 0, 0, 0);
	*peak_bytes = (size_t)usage.ru_maxrss * 1024;
	*minor_faults = (size_t)usage.ru_minflt;
}

/* Fields of /proc/self/stat, from the state on: "Z ppid pgrp ... num_threads ...". */
static bool leader_is_gone_and_one_left(const char *state)
{
	const char *field = state;

	if (*state != 'Z')
		return false;
	for (int i = 0; field && i < STAT_NUM_THREADS; i++)
		field = strchr(field + 1, ' ');
	/* one that runs, and the first one, which ended but counts */
	return field && field[1] == '2' && field[2] == ' ';
}

bool os_is_last_thread(void)
{
	char text[512] = "";
	long fd =
		call(SYS_openat, AT_FDCWD, (long)"/proc/self/stat", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	long len;
	char *name_end;

	if (failed(fd))
		return false;
	len = call(SYS_read, fd, (long)text, sizeof(text) - 1, 0, 0, 0);
	call(SYS_close, fd, 0, 0, 0, 0, 0);
	if (failed(len))
		return false;
	text[len] = 0;
	name_end = strrchr(text, ')'); /* the program's name may hold anything */
	return name_end && leader_is_gone_and_one_left(name_end + 2);
}

void os_sleep_ms(size_t ms)
{
	struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&time, 0, 0, 0);
}

void port_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
}

void port_futex_wait_us(_Atomic uint32_t *word, uint32_t value, unsigned us)
{
	struct timespec time = { us / 1000000, (long)(us % 1000000) * 1000 };

	call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&time, 0, 0);
}

void port_futex_wait_ms(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	port_futex_wait_us(word, value, ms * 1000);
}

void port_futex_wake(_Atomic uint32_t *word, int count)
{
	call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}

void port_futex_wake_others(const uint32_t *word)
{
	call(SYS_futex, (long)word, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
}

void port_write(int fd, const char *buf, size_t len)
{
	while (len) {
		long ret = call(SYS_write, fd, (long)buf, (long)len, 0, 0, 0);

		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return;
		buf += ret;
		len -= (size_t)ret;
	}
}

int port_dup(int fd)
{
	return (int)call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, PORT_DUP_FROM, 0, 0, 0);
}

#ifdef COVERAGE
extern void __gcov_dump(void);

/* Where coverage is measured: what led here counts too. Once, since this itself may come to harm. */
static void write_counters(void)
{
	static bool begun;

	if (!__atomic_exchange_n(&begun, true, __ATOMIC_RELAXED))
		__gcov_dump();
}
#else
static void write_counters(void)
{
}
#endif

_Noreturn void port_abort(void)
{
	write_counters();
	/* not abort(): it takes locks and runs what the program installed */
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} action = { 0 };
	unsigned long none = 0;

	call(SYS_rt_sigaction, 6, (long)&action, 0, 8, 0, 0); /* SIGABRT: default */
	call(SYS_rt_sigprocmask, 2, (long)&none, 0, 8, 0, 0); /* unblock all */
	call(SYS_tgkill, call(SYS_getpid, 0, 0, 0, 0, 0, 0), call(SYS_gettid, 0, 0, 0, 0, 0, 0), 6,
	     0, 0, 0);
	for (;;)
		call(SYS_exit_group, 134, 0, 0, 0, 0, 0);
}

int port_getpid(void)
{
	return (int)call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

int port_gettid(void)
{
	return (int)call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

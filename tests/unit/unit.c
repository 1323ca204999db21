/* SPDX-License-Identifier: MIT */
/*
 * unit.c - processes for the bodies of unit tests, and their small tools.
 */
#include "unit.h"

#include "kmalloc/start.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BODY_TIMEOUT 100 /* seconds: a body that waits for ever must end */

_Noreturn void unit_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
	fflush(NULL);
	_exit(1);
}

_Noreturn void unit_differ(const char *file, int line, const char *a, const char *b,
			   unsigned long value_a, unsigned long value_b)
{
	fprintf(stderr, "%s:%d: failed: %s == %s (%lu and %lu, 0x%lx and 0x%lx)\n", file, line, a,
		b, value_a, value_b, value_a, value_b);
	fflush(NULL);
	_exit(1);
}

/* Absent where no coverage is measured. */
extern void __gcov_dump(void) __attribute__((weak));

/* The end of a process that ran a body. */
static _Noreturn void end_body(void)
{
	fflush(NULL);
	if (&__gcov_dump)
		__gcov_dump();
	_exit(0);
}

/* cmocka catches these to fail a test; in a body they must end the process. */
static void default_signals(void)
{
	static const int caught[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGABRT };

	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		signal(caught[i], SIG_DFL);
	alarm(BODY_TIMEOUT);
}

static void set_cmdline(const char *more)
{
	const char *base = getenv("KMALLOC_CMDLINE");
	char text[512];

	if (!more)
		return;
	snprintf(text, sizeof(text), "%s %s", base ? base : "", more);
	setenv("KMALLOC_CMDLINE", text, 1);
}

/* A filter that refuses madvise() with the two advices of 6.13. */
bool unit_old_kernel(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 102, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	return status;
}

/* cmocka's test function: runs the case that is its initial state. */
static void run_case(void **state)
{
	const struct unit_case *test = *state;
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		default_signals();
		set_cmdline(test->cmdline);
		CHECK(!getenv("UNIT_OLD_KERNEL") || unit_old_kernel());
		if (test->start)
			CHECK(kmalloc_start());
		test->body();
		end_body();
	}
	status = wait_for(pid);
	if (WIFSIGNALED(status))
		fail_msg("the body was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int unit_main(const struct unit_case *cases, size_t count)
{
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	int failed;

	CHECK(tests != NULL);
	for (size_t i = 0; i < count; i++) {
		tests[i].name = cases[i].name;
		tests[i].test_func = run_case;
		tests[i].initial_state = (void *)(uintptr_t)&cases[i];
	}
	failed = _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
	free(tests);
	return failed;
}

static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, size - 1 - len)) != 0) {
		CHECK(n > 0 || errno == EINTR);
		len += n > 0 ? (size_t)n : 0;
		if (len == size - 1)
			break;
	}
	text[len] = '\0';
}

struct unit_end unit_child(void (*body)(void *arg), void *arg)
{
	struct unit_end end = { 0 };
	int fds[2];
	pid_t pid;
	int status;

	CHECK(pipe(fds) == 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(BODY_TIMEOUT);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		body(arg);
		end_body();
	}
	close(fds[1]);
	read_all(fds[0], end.text, sizeof(end.text));
	close(fds[0]);
	status = wait_for(pid);
	end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	return end;
}

void unit_dies(void (*body)(void *arg), void *arg, const char *report)
{
	struct unit_end end = unit_child(body, arg);

	if (end.signal == SIGABRT && !strcmp(end.text, report))
		return;
	fprintf(stderr, "expected death by SIGABRT and: %sgot signal %d, status %d and: %s\n",
		report, end.signal, end.status, end.text);
	fflush(NULL);
	_exit(1);
}

static void touch(void *arg)
{
	(void)*(volatile char *)arg;
}

static void overwrite(void *arg)
{
	*(volatile char *)arg = *(volatile char *)arg;
}

static bool faulted(struct unit_end end)
{
	return end.signal == SIGSEGV || end.signal == SIGBUS;
}

bool unit_faults(const volatile void *addr)
{
	return faulted(unit_child(touch, (void *)(uintptr_t)addr));
}

bool unit_write_faults(volatile void *addr)
{
	return faulted(unit_child(overwrite, (void *)(uintptr_t)addr));
}

void unit_rerun(const char *argument, const char *name, const char *value, char *out, size_t size)
{
	int fds[2];
	pid_t pid;

	CHECK(pipe(fds) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], 1);
		setenv(name, value, 1);
		execl("/proc/self/exe", "unit", argument, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	read_all(fds[0], out, size);
	close(fds[0]);
	CHECK(wait_for(pid) == 0);
}

/* xorshift64*, a well-known generator. */
uint64_t unit_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dUL;
}

uint64_t unit_seed(void)
{
	const char *text = getenv("KMALLOC_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 0;

	return seed ? seed : 20240229;
}

static unsigned char pattern_at(size_t i, uint64_t seed)
{
	return (unsigned char)(seed + i * 7 + (i >> 8) * 11 + 1);
}

void unit_fill(void *ptr, size_t size, uint64_t seed)
{
	unsigned char *byte = ptr;

	for (size_t i = 0; i < size; i++)
		byte[i] = pattern_at(i, seed);
}

bool unit_is_filled(const void *ptr, size_t size, uint64_t seed)
{
	const unsigned char *byte = ptr;

	for (size_t i = 0; i < size; i++)
		if (byte[i] != pattern_at(i, seed))
			return false;
	return true;
}

bool unit_is_zero(const void *ptr, size_t size)
{
	const unsigned char *byte = ptr;

	return size == 0 || (byte[0] == 0 && memcmp(byte, byte + 1, size - 1) == 0);
}

size_t unit_resident(const void *addr, size_t size)
{
	size_t pages = size / 4096, count = 0;
	unsigned char *in_core = malloc(pages);

	CHECK(in_core != NULL);
	CHECK(mincore((void *)(uintptr_t)addr, size, in_core) == 0);
	for (size_t i = 0; i < pages; i++)
		count += in_core[i] & 1;
	free(in_core);
	return count;
}

bool unit_is_mapped(const void *addr)
{
	unsigned char in_core;

	return mincore((void *)((uintptr_t)addr & ~4095UL), 4096, &in_core) == 0;
}

static size_t count_lines(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t lines = 0;
	int c;

	CHECK(file != NULL);
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

size_t unit_maps(void)
{
	return count_lines("/proc/self/maps");
}

void unit_limit_address_space(size_t bytes)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	/* where the limit is taken away there may be no memory for a FILE */
	if (bytes != SIZE_MAX) {
		FILE *file = fopen("/proc/self/statm", "r");
		size_t pages;

		CHECK(file != NULL);
		CHECK(fscanf(file, "%zu", &pages) == 1);
		fclose(file);
		limit.rlim_cur = pages * 4096 + bytes;
	}
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static cpu_set_t cpus; /* that the program was started on */

static __attribute__((constructor)) void note_cpus(void)
{
	sched_getaffinity(0, sizeof(cpus), &cpus);
}

void unit_pin(unsigned nth)
{
	cpu_set_t one;
	unsigned count = 0;

	nth %= unit_cpus();
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &cpus) || count++ != nth)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
		return;
	}
}

unsigned unit_cpus(void)
{
	return (unsigned)CPU_COUNT(&cpus);
}

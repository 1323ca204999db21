/* SPDX-License-Identifier: MIT */
/*
 * limits_more.c - small stacks, a cgroup, strict overcommit.
 */
#include "limit_cases.h"

#include "kmalloc/kvmalloc.h"
#include "lib/compiler.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096UL
#define PAINT 0xc5
#define THREAD_STACK (16 * KIB) /* PTHREAD_STACK_MIN */
#define STACK_NEED (4 * KIB)	/* what docs/limits.md says that a call takes at most */
#define SIGNAL_STACK (STACK_NEED + 2 * KIB)

/* Everything a slow path may do, one call each. */

static void *kept[64];

static void small_objects(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		kept[i] = malloc(16UL << i % 13);
}

static void frees(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		free(kept[i]);
}

static void areas(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		kept[i] = malloc(140 * KIB + i * 3 * PAGE);
}

static void resizes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		kept[i] = realloc(kept[i], 140 * KIB + i * 8 * PAGE);
}

static void all_aligned(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		kept[i] = aligned_alloc(64UL << i % 16, 100 + i);
}

static void trims(void)
{
	malloc_trim(0);
}

/* The deepest of all: no memory for pages, so everything is reclaimed on the way. */
static void reclaims(void)
{
	const struct rlimit none = { 0, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_AS, &none);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		kept[i] = malloc(100 * KIB + i * 2 * KIB);
	setrlimit(RLIMIT_AS, &all);
}

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{ "small objects", small_objects },
	{ "their frees", frees },
	{ "areas", areas },
	{ "realloc", resizes },
	{ "their frees", frees },
	{ "aligned", all_aligned },
	{ "their frees", frees },
	{ "malloc_trim", trims },
	{ "reclaim", reclaims },
	{ "their frees", frees },
	{ "malloc_trim", trims },
};

static unsigned char *stack;
static size_t stack_size;
static size_t deepest; /* bytes of stack that the deepest call took */
static const char *deepest_name;

/* How far down the paint was washed off, from this frame. */
static size_t washed(const unsigned char *frame)
{
	const unsigned char *at = stack;

	while (*at == PAINT)
		at++;
	return at < frame ? (size_t)(frame - at) : 0;
}

static __attribute__((noinline)) void paint_and_call(size_t i)
{
	unsigned char *frame = __builtin_frame_address(0);
	/* all below but what this function itself may still need */
	unsigned char *end = (unsigned char *)((uintptr_t)frame & ~15UL) - 512;
	size_t need;

	for (unsigned char *at = stack; at < end; at++)
		*(volatile unsigned char *)at = PAINT;
	calls[i].call();
	need = washed(frame);
	if (need > deepest) {
		deepest = need;
		deepest_name = calls[i].name;
	}
}

static void *call_all(void *unused)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		paint_and_call(i);
	return unused;
}

static void on_signal(int unused)
{
	(void)unused;
	call_all(NULL);
}

static void on_small_stack(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	stack_size = THREAD_STACK;
	stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	pthread_attr_init(&attr);
	CHECK(pthread_attr_setstack(&attr, stack, stack_size) == 0);
	CHECK(pthread_create(&thread, &attr, call_all, NULL) == 0);
	pthread_join(thread, NULL);
}

static void on_signal_stack(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t alt = { 0 };

	stack_size = align_up((size_t)sysconf(_SC_MINSIGSTKSZ) + SIGNAL_STACK, PAGE);
	/* what is written below the stack is a fault */
	stack = mmap(NULL, stack_size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	stack += PAGE;
	CHECK(mprotect(stack, stack_size, PROT_READ | PROT_WRITE) == 0);
	alt.ss_sp = stack;
	alt.ss_size = stack_size;
	CHECK(sigaltstack(&alt, NULL) == 0);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	raise(SIGUSR1);
}

static void in_child(void (*body)(void), const char *what)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(60);
		body();
		dprintf(2, "%s: %zu bytes of stack at most, for %s\n", what, deepest, deepest_name);
		CHECK(deepest > 100 && deepest <= STACK_NEED);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status != 0)
		fault_fail("%s: status %x", what, status);
}

const char *stack_run(void)
{
	in_child(on_small_stack, "a stack of 16 KiB");
	in_child(on_signal_stack, "a signal stack");
	return NULL;
}

/*
 * cgroup: a child of the one that this process is in, with a limit over what is live plus
 * what the library says it keeps at most. Where it kept more, the process would be killed.
 */

#define CGROUP_LIMIT (96 * MIB)
#define CGROUP_LIVE                                                                                \
	(40 * MIB) /* of each round; page.dirty_max and an eighth of the live bytes come on top */

static char cgroup[420];

static bool write_file(const char *folder, const char *name, const char *text)
{
	char path[500];
	int fd;
	bool done;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/* The folder of this process's memory cgroup: v1's, else v2's. */
static bool find_cgroup(char *folder, size_t size, bool *v1)
{
	char line[300];
	FILE *file = fopen("/proc/self/cgroup", "r");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		char *memory = strstr(line, ":memory:");

		line[strcspn(line, "\n")] = '\0';
		*v1 = memory != NULL;
		if (memory)
			snprintf(folder, size, "/sys/fs/cgroup/memory%s", memory + 8);
		else if (strncmp(line, "0::", 3) == 0)
			snprintf(folder, size, "/sys/fs/cgroup%s", line + 3);
		else
			continue;
		found = access(folder, W_OK) == 0;
	}
	if (file)
		fclose(file);
	return found;
}

static bool make_cgroup(void)
{
	char parent[360], limit[32];
	bool v1;

	if (!find_cgroup(parent, sizeof(parent), &v1))
		return false;
	snprintf(cgroup, sizeof(cgroup), "%s/libkmalloc-%d", parent, getpid());
	if (mkdir(cgroup, 0700) != 0)
		return false;
	snprintf(limit, sizeof(limit), "%lu", CGROUP_LIMIT);
	if (write_file(cgroup, v1 ? "memory.limit_in_bytes" : "memory.max", limit))
		return true;
	rmdir(cgroup);
	return false;
}

/* `size` bytes at a time, all touched, and freed. */
static void use_up(size_t size)
{
	size_t count = CGROUP_LIVE / size;
	char **blocks = malloc(count * sizeof(*blocks));

	CHECK(blocks != NULL);
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc(size);
		CHECK(blocks[i] != NULL);
		for (size_t k = 0; k<size; k += k + PAGE> size ? size : PAGE)
			blocks[i][k] = 1;
	}
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
	free(blocks);
}

static int in_cgroup(void)
{
	static const size_t sizes[] = { 4096,	   3 * MIB,  700,      300 * KIB,
					100 * KIB, 20 * MIB, 16 * KIB, 7 * MIB };
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!write_file(cgroup, "cgroup.procs", pid))
		return SKIPPED;
	for (int round = 0; round < 2 && !limits_time_is_up(); round++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			use_up(sizes[i]);
	return 0;
}

const char *cgroup_run(void)
{
	int status;
	pid_t pid;

	if (!make_cgroup())
		return "no memory cgroup can be made here";
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(60);
		_exit(in_cgroup());
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	for (int i = 0; i < 100 && rmdir(cgroup) != 0; i++)
		usleep(10000);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		return "no process can be put into the cgroup";
	if (status != 0)
		fault_fail("cgroup: status %x: more was kept than may be", status);
	return NULL;
}

/*
 * overcommit: the setting is the system's, so it is changed for moments, and put back by a
 * process that does nothing else, however this one ends. Nobody else is put short: requests
 * are refused because they are larger than what is left, which stays.
 */

#define OVERCOMMIT "/proc/sys/vm/overcommit_memory"

/* In bytes; a line of /proc/meminfo. */
static size_t meminfo(const char *name)
{
	char line[200];
	FILE *file = fopen("/proc/meminfo", "r");
	size_t value = 0;

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoul(line + strlen(name) + 1, NULL, 10) * KIB;
	if (file)
		fclose(file);
	return value;
}

/* Sets it to 2, and back when the other end of the pipe is closed; false: it may not. */
static bool overcommit_strictly(int *until)
{
	int hold[2], ready[2];
	char old[8] = "", done = 0;
	int fd = open(OVERCOMMIT, O_RDWR);

	if (fd < 0 || read(fd, old, 1) != 1 || pipe(hold) != 0 || pipe(ready) != 0)
		return false;
	if (fork() == 0) {
		close(hold[1]);
		setsid();
		for (int i = 1; i < 32; i++)
			signal(i, SIG_IGN);
		done = pwrite(fd, "2", 1, 0) == 1;
		CHECK(write(ready[1], &done, 1) == 1);
		while (read(hold[0], old + 1, 1) != 0)
			continue;
		_exit(pwrite(fd, old, 1, 0) != 1);
	}
	close(fd);
	close(hold[0]);
	CHECK(read(ready[0], &done, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	*until = hold[1];
	return done;
}

static void stamp_ends(char *at, size_t size)
{
	memset(at, 0x3c, 1000);
	memset(at + size - 1000, 0x3d, 1000);
}

static void check_ends(const char *at, size_t size)
{
	for (size_t i = 0; i < 1000; i++)
		CHECK(at[i] == 0x3c && at[size - 1000 + i] == 0x3d);
}

/* Growth that is refused: in place, by moving, by moving after it moved. */
static void grow_beyond(char *at, size_t size, size_t too_much)
{
	char *wall = malloc(200 * KIB), *to;

	CHECK(wall != NULL);
	for (size_t more = too_much; more > size; more /= 2) {
		errno = 0;
		to = realloc(at, more);
		if (!to) {
			CHECK(errno == ENOMEM);
			check_ends(at, size);
			continue;
		}
		check_ends(to, size);
		to = realloc(to, size);
		CHECK(to != NULL);
		check_ends(to, size);
		at = to;
	}
	free(wall);
	free(at);
}

static void run_into_overcommit(void)
{
	size_t left = meminfo("CommitLimit:") - meminfo("Committed_AS:");
	size_t large = left / 8 * 5;
	char *first, *second;

	errno = 0;
	CHECK(malloc(left * 2) == NULL && errno == ENOMEM);
	first = malloc(large);
	CHECK(first != NULL);
	stamp_ends(first, large);
	errno = 0;
	CHECK(malloc(large) == NULL && errno == ENOMEM);
	CHECK(calloc(1, large) == NULL && errno == ENOMEM);
	second = malloc(left / 8);
	CHECK(second != NULL);
	stamp_ends(second, left / 8);
	grow_beyond(second, left / 8, left);
	errno = 0;
	CHECK(realloc(first, left + large) == NULL && errno == ENOMEM);
	check_ends(first, large);
	free(first);
	/* what was freed counts no more */
	second = malloc(large);
	CHECK(second != NULL);
	free(second);
	all_works();
}

const char *overcommit_run(void)
{
	int until, status;
	pid_t pid;

	if (meminfo("Committed_AS:") > meminfo("CommitLimit:") / 4)
		return "so much is committed already that others would feel it";
	if (!overcommit_strictly(&until))
		return "vm.overcommit_memory may not be changed here";
	pid = fork();
	if (pid == 0) {
		alarm(60);
		run_into_overcommit();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	close(until);
	CHECK(wait(NULL) > 0);
	if (status != 0)
		fault_fail("overcommit: status %x", status);
	return NULL;
}

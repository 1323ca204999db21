/* SPDX-License-Identifier: MIT */
/*
 * mutate_live.c - mutate_live PID SEED COUNT: have kmem look at a process that is damaged, COUNT times.
 *
 * The process itself is not touched: what it has mapped is copied once, and then kmem's own calls that read and write memory of
 * others (pread(), pwrite() of /proc/PID/mem, process_vm_readv()) are answered from that copy, in which a few words were changed: in
 * the control block, the caches, the per-CPU areas, the metadata, the window of slabs, the rings. While kmem waits (usleep()) some
 * more change, and rings get events of any kind, as a live process does it. All other things are the real ones: /proc/PID/maps,
 * pagemap, ptrace(2).
 *
 * Each run is a child of its own, with the whole of kmem and the compiler's checks. None may crash, or take longer than LIMIT_S.
 * The number of a run, and its command, are on standard error before what it says there: "# 17 status".
 */
#undef main /* the one of kmem is kmem_main() */
#include "remote.h"
#include "target.h"

#include "lib/param.h"
#include "page/page_internal.h"
#include "vmalloc/vmalloc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_S 60
#define FAILURES_MAX 5
#define PAGE 4096UL
#define SPOTS_MAX 4096
#define RINGS_MAX 64

int kmem_main(int argc, char **argv);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

/* No status of kmem's. To ask for too much memory is no fault: kmem says so, in a line; to have too much is. */
const char *__asan_default_options(void)
{
	return "exitcode=99:detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=3000:"
	       "hard_rss_limit_mb=3000";
}

const char *__ubsan_default_options(void)
{
	return "exitcode=99:print_stacktrace=1";
}

/* What the process has mapped. */
static struct range {
	uint64_t start, end;
	uint8_t *copy;
} ranges[4096];
static size_t nr_ranges;

/* Where damage is told of, and what is there. */
static struct spot {
	uint64_t at, size;
} spots[SPOTS_MAX];
static size_t nr_spots;

static struct trace_control *control;
static struct trace_ring *rings[RINGS_MAX];
static size_t nr_rings;
static int mem_fd = -1;
static bool mutating;
static uint64_t state, slept_ns;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : 0;
}

/* The copy of an address, and how much follows; NULL: nothing is mapped there. */
static uint8_t *at(uint64_t address, size_t *size)
{
	for (size_t i = 0; i < nr_ranges; i++)
		if (address - ranges[i].start < ranges[i].end - ranges[i].start) {
			*size = ranges[i].end - address;
			return ranges[i].copy + (address - ranges[i].start);
		}
	return NULL;
}

static void *all_at(uint64_t address, size_t size)
{
	size_t there;
	uint8_t *copy = at(address, &there);

	return copy && there >= size ? copy : NULL;
}

static ssize_t serve(uint64_t address, void *buf, size_t size)
{
	size_t there;
	const uint8_t *copy = at(address, &there);

	if (!copy) {
		errno = EIO;
		return -1;
	}
	size = size < there ? size : there;
	memcpy(buf, copy, size);
	return (ssize_t)size;
}

int real_open(const char *path, int flags, ...) __asm__("__real_open64");
int wrapped_open(const char *path, int flags, ...) __asm__("__wrap_open64");
ssize_t real_pread(int fd, void *buf, size_t size, off_t offset) __asm__("__real_pread64");
ssize_t wrapped_pread(int fd, void *buf, size_t size, off_t offset) __asm__("__wrap_pread64");
ssize_t real_pwrite(int fd, const void *buf, size_t size, off_t offset) __asm__("__real_pwrite64");
ssize_t wrapped_pwrite(int fd, const void *buf, size_t size,
		       off_t offset) __asm__("__wrap_pwrite64");
ssize_t wrapped_readv(pid_t pid, const struct iovec *here, unsigned long nr_here,
		      const struct iovec *there, unsigned long nr_there,
		      unsigned long flags) __asm__("__wrap_process_vm_readv");
int wrapped_usleep(useconds_t us) __asm__("__wrap_usleep");
int real_clock(clockid_t clock, struct timespec *now) __asm__("__real_clock_gettime");
int wrapped_clock(clockid_t clock, struct timespec *now) __asm__("__wrap_clock_gettime");

int wrapped_open(const char *path, int flags, ...)
{
	size_t length = strlen(path);
	va_list args;
	int mode, fd;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	fd = real_open(path, flags, mode);
	if (length > 4 && !strcmp(path + length - 4, "/mem"))
		mem_fd = fd;
	else if (fd == mem_fd)
		mem_fd = -1;
	return fd;
}

ssize_t wrapped_pread(int fd, void *buf, size_t size, off_t offset)
{
	if (mutating && fd == mem_fd)
		return serve((uint64_t)offset, buf, size);
	return real_pread(fd, buf, size, offset);
}

ssize_t wrapped_pwrite(int fd, const void *buf, size_t size, off_t offset)
{
	uint8_t *copy;

	if (!mutating || fd != mem_fd)
		return real_pwrite(fd, buf, size, offset);
	copy = all_at((uint64_t)offset, size);
	if (!copy) {
		errno = EIO;
		return -1;
	}
	memcpy(copy, buf, size);
	return (ssize_t)size;
}

ssize_t wrapped_readv(pid_t pid, const struct iovec *here, unsigned long nr_here,
		      const struct iovec *there, unsigned long nr_there, unsigned long flags)
{
	size_t done = 0;

	(void)pid, (void)nr_here, (void)flags;
	for (unsigned long i = 0; i < nr_there && done < here->iov_len; i++) {
		ssize_t n = serve((uintptr_t)there[i].iov_base, (char *)here->iov_base + done,
				  there[i].iov_len < here->iov_len - done ? there[i].iov_len :
									    here->iov_len - done);

		if (n > 0)
			done += (size_t)n;
		if (n < (ssize_t)there[i].iov_len)
			break;
	}
	if (!done)
		errno = EFAULT;
	return done ? (ssize_t)done : -1;
}

int wrapped_clock(clockid_t clock, struct timespec *now)
{
	int err = real_clock(clock, now);

	now->tv_nsec += (long)(slept_ns % 1000000000);
	now->tv_sec += (time_t)(slept_ns / 1000000000) + now->tv_nsec / 1000000000;
	now->tv_nsec %= 1000000000;
	return err;
}

static uint64_t telling_word(uint64_t old, uint64_t where)
{
	const struct spot *spot = &spots[draw(nr_spots)];
	const uint64_t *other = all_at((spot->at + draw(spot->size)) & ~7UL, 8);

	switch (draw(12)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return 1UL << draw(64);
	case 3:
		return old ^ 1UL << draw(64);
	case 4:
		return where;
	case 5:
		return old + draw(64) * 8 - 256;
	case 6:
		return state;
	case 7:
		return ranges[draw(nr_ranges)].end - draw(16) * 8;
	case 8:
		return old << 32 | draw(1UL << 32);
	case 9:
		return (old & ~0xffUL) | draw(256);
	default:
		return other ? *other : 0;
	}
}

/* One word, rather one that is not 0. */
static void damage(void)
{
	for (int tries = 0; tries < 16; tries++) {
		const struct spot *spot = &spots[draw(nr_spots)];
		uint64_t where = (spot->at + draw(spot->size)) & ~7UL, *word = all_at(where, 8);

		if (!word || (!*word && tries < 15 && draw(8)))
			continue;
		*word = telling_word(*word, where);
		return;
	}
}

static void put_events(struct trace_ring *ring)
{
	uint64_t *events = (uint64_t *)((char *)ring + TRACE_RING_HEADER);
	uint64_t n = draw(2) ? draw(200) : draw(100000);

	for (uint64_t i = 0; i < n && i < 1000; i++) {
		uint64_t *event = events + (ring->head + i) % control->ring_events * TRACE_WORDS;

		event[0] = draw(8) ? __builtin_ia32_rdtsc() : state;
		event[1] = draw(1UL << 20) * 16 | (draw(8) ? draw(12) : draw(256)) << 48;
		event[2] = draw(8) ? draw(1UL << 20) | (draw(2) ? TRACE_SITE_IS_STACK : 0) : state;
		event[3] = draw(1UL << 16) | draw(4) << 40;
	}
	ring->head += draw(16) ? n : state;
}

int wrapped_usleep(useconds_t us)
{
	uint32_t events = control->ring_events;

	slept_ns += us * 1000UL;
	if (mutating && nr_rings && events && !(events & (events - 1)) && events <= 1U << 16)
		put_events(rings[draw(nr_rings)]);
	if (mutating && !draw(8))
		damage();
	return 0;
}

static void add_spot(uint64_t address, uint64_t size)
{
	if (nr_spots < SPOTS_MAX && size >= 8 && all_at(address, 8))
		spots[nr_spots++] = (struct spot){ address, size };
}

static uint64_t word_at(uint64_t address)
{
	const uint64_t *word = all_at(address, 8);

	return word ? *word : 0;
}

static void add_rings(void)
{
	for (uint64_t i = 0; i < control->nr_rings && nr_rings < RINGS_MAX; i++) {
		uint64_t offset = word_at(control->rings + i * 8);
		size_t bytes = TRACE_RING_HEADER + control->ring_events * TRACE_EVENT_BYTES;
		struct trace_ring *ring = offset ? all_at(control->base + offset, bytes) : NULL;

		if (!ring)
			continue;
		rings[nr_rings++] = ring;
		add_spot(control->base + offset, sizeof(*ring));
	}
}

static void add_depot(void)
{
	struct trace_depot *depot = control->depot ? all_at(control->depot, sizeof(*depot)) : NULL;

	/* whose rings are of a recording with stacks has one */
	if (!depot && nr_rings)
		exit(2);
	if (!depot)
		return;
	add_spot(control->depot, sizeof(*depot));
	add_spot(control->depot + depot->nodes, depot->used * sizeof(struct trace_node));
}

/* What kmem looks at. */
static void find_spots(uint64_t address)
{
	const struct trace_places *places = all_at(control->places, sizeof(*places));
	const struct page_window *slabs;
	uint64_t region;

	if (!places)
		exit(2);
	for (int i = 0; i < 8; i++) {
		add_spot(address, sizeof(*control));
		add_spot(control->places, sizeof(*places));
		add_spot(places->kmem_caches, sizeof(struct kmem_cache) * KMEM_CACHES_MAX);
	}
	add_spot(places->window, sizeof(*slabs));
	add_spot(places->vmap_base, 8);
	add_spot(places->vmap_top, 8);
	add_spot(places->vmalloc_counts, sizeof(struct vmalloc_counts));
	add_spot(control->rings, 64);
	add_spot(places->areas, 64);
	add_spot(places->nr_areas, 8);
	add_spot(places->deferred, 8);
	add_spot(places->meta_regions, 8);
	add_spot(places->params, sizeof(struct params));
	add_spot(places->vmap_leaves, 64);
	for (uint64_t i = 0; i < 64; i++) {
		if (word_at(places->areas + i * 8))
			add_spot(places->percpu + word_at(places->areas + i * 8), PERCPU_WORDS * 8);
		if (word_at(places->vmap_leaves + i * 8))
			add_spot(word_at(places->vmap_leaves + i * 8), PAGE);
	}
	slabs = all_at(places->window, sizeof(*slabs));
	if (slabs) {
		add_spot((uintptr_t)slabs->kmap, slabs->nr_granules);
		add_spot(word_at((uintptr_t)slabs->sections), sizeof(struct page) * 64);
	}
	region = word_at(places->meta_regions);
	for (int i = 0; region && i < 16; i++) {
		struct meta_region *link = all_at(region, sizeof(*link));

		if (!link)
			break;
		for (int times = 0; times < 8; times++)
			add_spot((uintptr_t)link->start, META_REGION_BYTES);
		region = (uintptr_t)link->next;
	}
	add_rings();
	add_depot();
}

static void copy_mapping(int mem, int pagemap, struct range *range)
{
	size_t size = range->end - range->start;

	range->copy = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (range->copy == MAP_FAILED)
		exit(2);
	for (uint64_t page = 0; page < size; page += PAGE) {
		uint64_t entry = 0;

		if (real_pread(pagemap, &entry, 8, (off_t)((range->start + page) / PAGE * 8)) ==
			    8 &&
		    entry >> 62)
			(void)!real_pread(mem, range->copy + page, PAGE,
					  (off_t)(range->start + page));
	}
}

/* Copy what it has; returns the address of its control block. */
static uint64_t copy_process(pid_t pid)
{
	struct target target;
	char path[64], line[8192], perms[8];
	int mem, pagemap;
	FILE *maps;

	if (target_open(&target, pid, false) != 0)
		exit(2);
	target_close(&target);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = real_open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = real_open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && nr_ranges < sizeof(ranges) / sizeof(*ranges) &&
	       fgets(line, sizeof(line), maps)) {
		struct range *range = &ranges[nr_ranges];

		if (sscanf(line, "%lx-%lx %7s", &range->start, &range->end, perms) != 3 ||
		    perms[0] != 'r' || strstr(line, "[v"))
			continue;
		copy_mapping(mem, pagemap, range);
		nr_ranges++;
	}
	if (maps)
		fclose(maps);
	close(mem);
	close(pagemap);
	return target.control;
}

static char pid_text[16];

static const char *const commands[][10] = {
	{ "status", pid_text },
	{ "status", "--json", pid_text },
	{ "slabinfo", "--live", pid_text },
	{ "slabinfo", "--json", pid_text },
	{ "vmallocinfo", "--all", pid_text },
	{ "vmallocinfo", "--all", "--json", pid_text },
	{ "top", "--batch", "-n", "2", "-d", "0.05", pid_text },
	{ "top", "--batch", "-n", "3", "-d", "0.05", "--events", pid_text },
	{ "leaks", pid_text },
	{ "leaks", "--json", pid_text },
	{ "record", "-o", "/dev/null", "--for", "0.05", "-p", pid_text },
	{ "record", "-o", "/dev/null", "--for", "0.05", "--full=overwrite", "-p", pid_text },
	{ "record", "-o", "/dev/null", "--for", "0.05", "--stacks", "-p", pid_text },
	{ "stat", "--for", "0.05", pid_text },
	{ "stat", "--for", "0.05", "--sample", "--json", pid_text },
	{ "trim", pid_text },
};

/* In the child. */
static _Noreturn void look(const char *const *command)
{
	char name[] = "kmem", *argv[12] = { name };
	int argc = 1;

	if (!freopen("/dev/null", "w", stdout))
		_exit(2);
	while (*command)
		argv[argc++] = strdup(*command++);
	for (uint64_t n = draw(4) ? draw(3) + 1 : draw(60); n; n--)
		damage();
	mutating = true;
	alarm(LIMIT_S);
	exit(kmem_main(argc, argv));
}

static bool run(unsigned long number)
{
	const char *const *command = commands[draw(sizeof(commands) / sizeof(*commands))];
	int status;
	pid_t child;

	fprintf(stderr, "# %lu %s\n", number, command[0]);
	fflush(stdout);
	child = fork();
	if (child == 0)
		look(command);
	if (child < 0 || waitpid(child, &status, 0) != child)
		exit(2);
	if (WIFEXITED(status) && WEXITSTATUS(status) <= 1)
		return true;
	printf("run %lu, kmem %s: %s %d\n", number, command[0],
	       WIFEXITED(status) ? "status" : "signal",
	       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return false;
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	uint64_t seed = argc == 4 ? strtoul(argv[2], NULL, 10) : 0, address;
	unsigned failed = 0;

	if (argc != 4)
		return 2;
	snprintf(pid_text, sizeof(pid_text), "%s", argv[1]);
	address = copy_process(atoi(argv[1]));
	control = all_at(address, sizeof(*control));
	if (!control)
		return 2;
	find_spots(address);
	for (unsigned long i = 0; i < count && failed < FAILURES_MAX; i++) {
		state = (seed + i) * 0x9e3779b97f4a7c15UL | 1;
		for (int warm = 0; warm < 8; warm++)
			draw(0);
		failed += !run(i);
	}
	printf("%lu spots, %zu rings\n", (unsigned long)nr_spots, nr_rings);
	return failed ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * rseq_step_victim.c - the process whose sequences are interrupted: the operations,
 * the handlers that are injected, and the books that must balance.
 *
 * The books: all that this process holds is in the table of live objects (step.c), but
 * for an object on its way into or out of the library. When the helper settles, it
 * checks all stamps, allocates more than a CPU can hold of the size at hand (so whatever
 * may have got into the caches twice comes out twice), frees everything and drains. What
 * the library then says is in use has to be what it said before the trial.
 *
 * Where the library traces, its events must balance as well: those since the last look are in the order of their times, none is
 * lost, and as many objects were freed as allocated.
 *
 * The operations are called by the names that the dynamic linker knows, so that the
 * compiler makes nothing of them.
 */
#include "rseq_step.h"

#include "trace/format.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RSEQ_CPU_ID 4
#define RSEQ_MM_CID 24
#define CHURN 300 /* more than two sheaves hold */
#define PROBES_BYTES (256UL << 10)
#define LARGE 300000
#define CHILD_SECONDS 60

#define GFP_KERNEL 0xcc0U /* include/kmalloc/gfp.h: not included, its calls are found by name */

enum how {
	SIZE,		/* f(size) */
	COUNT_SIZE,	/* f(1, size) */
	NULL_SIZE,	/* f(NULL, size) */
	NULL_COUNT,	/* f(NULL, 1, size) */
	SIZE_GFP,	/* f(size, GFP_KERNEL, caller) */
	NULL_GFP,	/* f(NULL, size, GFP_KERNEL) */
	NULL_ALIGN_GFP, /* f(NULL, size, align, GFP_KERNEL, node) */
	CACHE_GFP,	/* f(cache, GFP_KERNEL) */
	CACHE_BULK,	/* f(cache, GFP_KERNEL, 1, &ptr) */
	SIZE_ALIGN,
	ALIGN_SIZE,
	SIZE_TAG,
	SIZE_ALIGN_TAG,
	OUT_ALIGN_SIZE,
	GROW,	    /* f(ptr, 3 * size) */
	COUNT_GROW, /* f(ptr, 3, size) */
	GROW_GFP,   /* f(ptr, 3 * size, GFP_KERNEL) */
	GROW_ALIGN_GFP,
	PTR,
	PTR_ZERO, /* f(ptr, 0) */
	PTR_NONE, /* f(ptr, 0, size) */
	PTR_SIZE,
	PTR_ALIGN,
	PTR_ALIGN_SIZE, /* as free_aligned_sized */
	PTR_SIZE_ALIGN, /* as delete */
	PTR_TAG,
	CACHE_PTR, /* f(cache, ptr) */
	PTR_ALIGN_TAG,
	ALLOC_MANY, /* of the size */
	FREE_MANY,
};

static const struct op {
	const char *symbol;
	enum how how;
	size_t align;
} ops[] = {
	{ "malloc", SIZE, 0 },
	{ "calloc", COUNT_SIZE, 0 },
	{ "realloc", NULL_SIZE, 0 },
	{ "realloc", PTR_ZERO, 0 },
	{ "realloc", GROW, 0 },
	{ "reallocarray", COUNT_GROW, 0 },
	{ "reallocarray", NULL_COUNT, 0 },
	{ "reallocarray", PTR_NONE, 0 },
	{ "memalign", ALIGN_SIZE, 16 },
	{ "memalign", ALIGN_SIZE, 64 },
	{ "aligned_alloc", ALIGN_SIZE, 128 },
	{ "posix_memalign", OUT_ALIGN_SIZE, 64 },
	{ "valloc", SIZE, 0 },
	{ "pvalloc", SIZE, 0 },
	{ "free", PTR, 0 },
	{ "free_sized", PTR_SIZE, 0 },
	{ "free_aligned_sized", PTR_ALIGN_SIZE, 16 },
	{ "cfree", PTR, 0 },
	{ "_Znwm", SIZE, 0 },
	{ "_Znam", SIZE, 0 },
	{ "_ZnwmSt11align_val_t", SIZE_ALIGN, 16 },
	{ "_ZnamSt11align_val_t", SIZE_ALIGN, 64 },
	{ "_ZnwmRKSt9nothrow_t", SIZE_TAG, 0 },
	{ "_ZnamRKSt9nothrow_t", SIZE_TAG, 0 },
	{ "_ZnwmSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG, 16 },
	{ "_ZnamSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG, 16 },
	{ "_ZnwmSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG, 64 },
	{ "_ZnamSt11align_val_tRKSt9nothrow_t", SIZE_ALIGN_TAG, 64 },
	{ "_ZdlPv", PTR, 0 },
	{ "_ZdaPv", PTR, 0 },
	{ "_ZdlPvm", PTR_SIZE, 0 },
	{ "_ZdaPvm", PTR_SIZE, 0 },
	{ "_ZdlPvSt11align_val_t", PTR_ALIGN, 16 },
	{ "_ZdaPvSt11align_val_t", PTR_ALIGN, 16 },
	{ "_ZdlPvmSt11align_val_t", PTR_SIZE_ALIGN, 16 },
	{ "_ZdaPvmSt11align_val_t", PTR_SIZE_ALIGN, 16 },
	{ "_ZdlPvRKSt9nothrow_t", PTR_TAG, 0 },
	{ "_ZdaPvRKSt9nothrow_t", PTR_TAG, 0 },
	{ "_ZdlPvSt11align_val_tRKSt9nothrow_t", PTR_ALIGN_TAG, 16 },
	{ "_ZdaPvSt11align_val_tRKSt9nothrow_t", PTR_ALIGN_TAG, 16 },
	/* the kernel's calls, by the names that the linker knows */
	{ "libkmalloc_kmalloc_plain", SIZE_GFP, 0 },
	{ "libkmalloc_kzalloc_plain", SIZE_GFP, 0 },
	{ "libkmalloc_kmalloc", SIZE_GFP, 0 },
	{ "libkmalloc_kmalloc_caller", SIZE_GFP, 0 },
	{ "libkmalloc_kvmalloc", SIZE_GFP, 0 },
	{ "libkmalloc_krealloc", NULL_GFP, 0 },
	{ "libkmalloc_krealloc", GROW_GFP, 0 },
	{ "libkmalloc_krealloc_node_align", NULL_ALIGN_GFP, 16 },
	{ "libkmalloc_krealloc_node_align", GROW_ALIGN_GFP, 16 },
	{ "libkmalloc_kvrealloc", NULL_GFP, 0 },
	{ "libkmalloc_kvrealloc", GROW_GFP, 0 },
	{ "libkmalloc_kmem_cache_alloc_plain", CACHE_GFP, 0 },
	{ "libkmalloc_kmem_cache_alloc", CACHE_GFP, 0 },
	{ "libkmalloc_kmem_cache_alloc_bulk", CACHE_BULK, 0 },
	{ "libkmalloc_kmem_cache_free", CACHE_PTR, 0 },
	{ "libkmalloc_kfree", PTR, 0 },
	{ "libkmalloc_kfree_const", PTR, 0 },
	{ "libkmalloc_kfree_sensitive", PTR, 0 },
	{ "libkmalloc_kvfree", PTR, 0 },
	{ "libkmalloc_kvfree_atomic", PTR, 0 },
	{ "libkmalloc_kvfree_sensitive", PTR_SIZE, 0 },
	{ "malloc", ALLOC_MANY, 0 },
	{ "free", FREE_MANY, 0 },
};

const unsigned victim_nr_ops = sizeof(ops) / sizeof(ops[0]);

static struct victim_page *page;
static void *functions[sizeof(ops) / sizeof(ops[0])];
static struct step_object going; /* what the next operation frees or moves, out of the table */
static size_t in_use;		 /* what has to be in use when nothing is held */
static pthread_t victim;
static char tag; /* std::nothrow: only its address counts */

const char *victim_op_name(unsigned op)
{
	static char name[80];

	snprintf(name, sizeof(name), "%s%s", ops[op].symbol,
		 ops[op].how == ALLOC_MANY || ops[op].how == FREE_MANY ? " of many" :
		 ops[op].how == NULL_SIZE || ops[op].how == NULL_GFP   ? " of NULL" :
		 ops[op].how == PTR_ZERO			       ? " to 0" :
									 "");
	return name;
}

static bool takes_pointer(enum how how)
{
	return how >= GROW && how <= PTR_ALIGN_TAG;
}

static bool grows(enum how how)
{
	return how >= GROW && how <= GROW_ALIGN_GFP;
}

/* Alignment of what an operation allocates. */
static size_t op_align(unsigned op)
{
	if (!strcmp(ops[op].symbol, "valloc") || !strcmp(ops[op].symbol, "pvalloc"))
		return (size_t)sysconf(_SC_PAGESIZE);
	return ops[op].align > 16 ? ops[op].align : 16;
}

static bool uses_cache(enum how how)
{
	return how == CACHE_GFP || how == CACHE_BULK || how == CACHE_PTR;
}

enum op_kind victim_op_kind(unsigned op)
{
	/* what is out of a created cache is not in the sum of the bytes in use */
	if (uses_cache(ops[op].how))
		return OP_OTHER;
	if (ops[op].how < GROW)
		return OP_ONE_ALLOC;
	return ops[op].how >= PTR && ops[op].how <= PTR_ALIGN_TAG ? OP_ONE_FREE : OP_OTHER;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		step_fail("CPU %d cannot be had (errno %d)", cpu, errno);
}

static unsigned area_index(void)
{
	const char *self = (const char *)__builtin_thread_pointer() + __rseq_offset;

	return *(const volatile unsigned *)(self + (page->cpu_id ? RSEQ_CPU_ID : RSEQ_MM_CID));
}

/* The operations. */

/* A function of the library, as whatever kind of function it is. */
#define AS(result, ...) ((result(*)(__VA_ARGS__))functions[op])

/* A cache of the kernel's calls for a size, made when it is first wanted. */
static void *cache_of(size_t size)
{
	static struct {
		size_t size;
		void *cache;
	} caches[16];
	void *(*create)(const char *, unsigned, void *, unsigned);
	unsigned i = 0;

	while (i < 15 && caches[i].cache && caches[i].size != size)
		i++;
	if (!caches[i].cache) {
		*(void **)&create = dlsym(RTLD_DEFAULT, "libkmalloc_kmem_cache_create_args");
		caches[i].size = size;
		caches[i].cache = create("step", (unsigned)size, NULL, 0);
		if (!caches[i].cache)
			step_fail("no cache of %zu bytes", size);
	}
	return caches[i].cache;
}

/* As prepare_size(), of a cache: the sheaf has objects, and room for more. */
static void prepare_cache(size_t size)
{
	void *(*alloc)(void *, unsigned);
	void *cache = cache_of(size);

	*(void **)&alloc = dlsym(RTLD_DEFAULT, "libkmalloc_kmem_cache_alloc");
	for (unsigned i = 0; i < 4; i++)
		step_hold(alloc(cache, GFP_KERNEL), size);
	free(step_last().ptr);
}

static void *call_alloc(unsigned op, size_t size)
{
	size_t align = ops[op].align;
	void *out = NULL;

	switch (ops[op].how) {
	case SIZE:
		return AS(void *, size_t)(size);
	case COUNT_SIZE:
		return AS(void *, size_t, size_t)(1, size);
	case NULL_SIZE:
		return AS(void *, void *, size_t)(NULL, size);
	case NULL_COUNT:
		return AS(void *, void *, size_t, size_t)(NULL, 1, size);
	case SIZE_ALIGN:
		return AS(void *, size_t, size_t)(size, align);
	case ALIGN_SIZE:
		return AS(void *, size_t, size_t)(align, size);
	case SIZE_TAG:
		return AS(void *, size_t, void *)(size, &tag);
	case SIZE_ALIGN_TAG:
		return AS(void *, size_t, size_t, void *)(size, align, &tag);
	case GROW:
		return AS(void *, void *, size_t)(going.ptr, 3 * size);
	case COUNT_GROW:
		return AS(void *, void *, size_t, size_t)(going.ptr, 3, size);
	case SIZE_GFP:
		return AS(void *, size_t, unsigned, void *)(size, GFP_KERNEL, &tag);
	case NULL_GFP:
		return AS(void *, void *, size_t, unsigned)(NULL, size, GFP_KERNEL);
	case NULL_ALIGN_GFP:
		return AS(void *, void *, size_t, size_t, unsigned, int)(NULL, size, align,
									 GFP_KERNEL, -1);
	case CACHE_GFP:
		return AS(void *, void *, unsigned)(cache_of(size), GFP_KERNEL);
	case CACHE_BULK:
		AS(int, void *, unsigned, size_t, void **)(cache_of(size), GFP_KERNEL, 1, &out);
		return out;
	case GROW_GFP:
		return AS(void *, void *, size_t, unsigned)(going.ptr, 3 * size, GFP_KERNEL);
	case GROW_ALIGN_GFP:
		return AS(void *, void *, size_t, size_t, unsigned, int)(going.ptr, 3 * size, align,
									 GFP_KERNEL, -1);
	default:
		if (AS(int, void **, size_t, size_t)(&out, align, size) != 0)
			return NULL;
		return out;
	}
}

static void call_free(unsigned op, void *ptr, size_t size)
{
	size_t align = ops[op].align;

	switch (ops[op].how) {
	case PTR:
		AS(void, void *)(ptr);
		break;
	case PTR_ZERO:
	case PTR_SIZE:
		AS(void, void *, size_t)(ptr, ops[op].how == PTR_ZERO ? 0 : size);
		break;
	case PTR_NONE:
		AS(void *, void *, size_t, size_t)(ptr, 0, size);
		break;
	case PTR_ALIGN:
		AS(void, void *, size_t)(ptr, align);
		break;
	case PTR_ALIGN_SIZE:
		AS(void, void *, size_t, size_t)(ptr, align, size);
		break;
	case PTR_SIZE_ALIGN:
		AS(void, void *, size_t, size_t)(ptr, size, align);
		break;
	case CACHE_PTR:
		AS(void, void *, void *)(cache_of(size), ptr);
		break;
	case PTR_TAG:
		AS(void, void *, void *)(ptr, &tag);
		break;
	default:
		AS(void, void *, size_t, void *)(ptr, align, &tag);
		break;
	}
}

static void alloc_many(size_t size, unsigned count)
{
	while (count--)
		step_hold(malloc(size), size);
}

static void free_many(unsigned count)
{
	while (count-- && step_held())
		free(step_last().ptr);
}

/* The library is drained: afterwards the sheaf has objects, and room for more. */
static void prepare_size(size_t size)
{
	alloc_many(size, 4);
	free_many(1);
}

static void prepare(unsigned op, size_t size)
{
	pin(page->cpu);
	if (ops[op].how == ALLOC_MANY)
		return;
	if (ops[op].how == FREE_MANY) {
		alloc_many(size, CHURN);
		return;
	}
	if (grows(ops[op].how))
		prepare_size(3 * size);
	prepare_size(size);
	if (uses_cache(ops[op].how))
		prepare_cache(size);
	if (ops[op].align > 16) {
		void *aligned = memalign(ops[op].align, size);

		step_hold(aligned, size);
		free(step_last().ptr);
	}
	if (!strcmp(ops[op].symbol, "valloc") || !strcmp(ops[op].symbol, "pvalloc"))
		prepare_size(4096);
	if (takes_pointer(ops[op].how))
		going = step_last();
}

static void run(unsigned op, size_t size)
{
	void *ptr;

	page->index = area_index();
	switch (ops[op].how) {
	case ALLOC_MANY:
		alloc_many(size, CHURN);
		return;
	case FREE_MANY:
		free_many(CHURN);
		return;
	case GROW:
	case COUNT_GROW:
	case GROW_GFP:
	case GROW_ALIGN_GFP:
		step_moved(&going, call_alloc(op, size), 3 * size);
		return;
	default:
		break;
	}
	if (takes_pointer(ops[op].how)) {
		call_free(op, going.ptr, size);
		return;
	}
	ptr = call_alloc(op, size);
	if (ops[op].how == COUNT_SIZE)
		step_check_zero(ptr, size);
	step_hold(ptr, size);
}

/* What a handler does at the point: the same cache, others, both paths, old objects and new ones. */
static void work_in_handler(size_t size)
{
	int saved = errno;
	void *ptr = malloc(size), *zeroed, *large;
	struct step_object old;

	step_hold(ptr, size);
	zeroed = calloc(1, size);
	step_check_zero(zeroed, size);
	step_hold(zeroed, size);
	old = step_take(ptr);
	step_moved(&old, realloc(ptr, 3 * size), 3 * size);
	large = malloc(LARGE);
	step_hold(large, LARGE);
	if (step_held() > 3) /* the first is none of these three */
		free(step_first().ptr);
	free(step_take(large).ptr);
	alloc_many(size, 3);
	free_many(2);
	free(step_take(zeroed).ptr);
	errno = saved;
}

static void on_work(int number)
{
	(void)number;
	work_in_handler(page->size);
	atomic_fetch_add(&page->handled, 1);
}

static void in_child(void)
{
	alarm(CHILD_SECONDS);
	for (int i = 0; i < 3; i++)
		work_in_handler(page->size);
	alloc_many(page->size, CHURN);
	step_check_held();
	free_many(CHURN);
	malloc_trim(0);
	alloc_many(page->size, 3);
	step_check_held();
	_exit(0);
}

static void on_fork(int number)
{
	int saved = errno, status;
	pid_t child = fork();

	(void)number;
	if (child == 0)
		in_child();
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child < 0 || status != 0)
		step_fail("a child forked at the point ended with status %#x", status);
	atomic_fetch_add(&page->handled, 1);
	errno = saved;
}

/* The victim. */

void victim_park(void);
void victim_exit(void);
__asm__(".text\n"
	".globl victim_park\n"
	"victim_park:\n\t"
	"int3\n\t"
	"ret\n"
	".globl victim_exit\n"
	"victim_exit:\n\t"
	"movl $60, %eax\n\t" /* SYS_exit */
	"xorl %edi, %edi\n\t"
	"syscall\n\t"
	"ud2\n");

static void *victim_thread(void *arg)
{
	pin(page->cpu);
	*(_Atomic pid_t *)arg = (pid_t)syscall(SYS_gettid);
	while (!atomic_load(&page->traced))
		sched_yield();
	for (;;) {
		victim_park();
		if (page->command == VICTIM_PREPARE)
			prepare(page->op, page->size);
		else
			run(page->op, page->size);
	}
	return NULL;
}

static long spawn(void)
{
	_Atomic pid_t tid = 0;

	if (pthread_create(&victim, NULL, victim_thread, &tid) != 0)
		step_fail("no thread");
	while (!tid)
		sched_yield();
	return tid;
}

/* The helper. */

/* Another thread at the same sheaf: it moves down, up, is changed for others, or only its objects are. */
static long meddle(unsigned variant, size_t size)
{
	void *a, *b;
	bool same;

	pin(page->cpu);
	same = area_index() == page->index;
	switch (variant % 5) {
	case 0: /* the same height with other objects in it */
		a = malloc(size);
		b = malloc(size);
		free(a);
		free(b);
		step_hold(malloc(size), size);
		break;
	case 1: /* lower */
		alloc_many(size, 2);
		break;
	case 2: /* higher */
		alloc_many(size, 3);
		free_many(3);
		step_hold(malloc(size), size);
		free_many(2);
		break;
	case 3: /* other sheaves, empty at last */
		alloc_many(size, CHURN);
		break;
	default: /* other sheaves, full at last */
		alloc_many(size, CHURN);
		free_many(CHURN);
		break;
	}
	return same && area_index() == page->index;
}

static struct trace_ring *ring_of(const struct trace_control *control, size_t index)
{
	uint64_t offset = ((const uint64_t *)control->rings)[index];

	return offset ? (struct trace_ring *)(control->base + offset) : NULL;
}

/* An event's share in the balance. */
static long event_counts(const uint64_t *event)
{
	switch (event[1] >> TRACE_ADDRESS_BITS & 0xff) {
	case TRACE_KMALLOC:
	case TRACE_KMEM_CACHE_ALLOC:
	case TRACE_VMALLOC:
		return 1;
	case TRACE_KFREE:
	case TRACE_KMEM_CACHE_FREE:
	case TRACE_VFREE:
		return -1;
	case TRACE_MM_PAGE_ALLOC:
	case TRACE_MM_PAGE_FREE:
	case TRACE_SLAB_REFILL:
	case TRACE_SLAB_FLUSH:
		return 0;
	default:
		step_fail("an event of no kind: %lx", event[1]);
	}
}

/* Allocations less frees among the events since the last look at a ring. */
static long ring_balance(struct trace_ring *ring, uint64_t size, uint64_t *seen)
{
	uint64_t last = 0;
	long balance = 0;

	if (ring->head - *seen > size)
		step_fail("%lu events between two looks", ring->head - *seen);
	if (ring->lost)
		step_fail("%lu events were lost", ring->lost);
	for (; *seen < ring->head; ++*seen) {
		const uint64_t *event = (const uint64_t *)((const char *)ring + TRACE_RING_HEADER) +
					(*seen & ring->mask) * TRACE_WORDS;

		if (event[0] < last)
			step_fail("an event from %lu stands behind one from %lu", event[0], last);
		last = event[0];
		balance += event_counts(event);
	}
	ring->limit = *seen + size; /* somebody reads */
	return balance;
}

/* All objects are free: do the events say so? */
static void check_events(bool may_differ)
{
	static struct trace_control *control;
	static uint64_t seen[TRACE_NR_RINGS];
	long balance = 0;

	if (!control)
		control = dlsym(RTLD_DEFAULT, "libkmalloc_trace");
	if (!control || control->mode != TRACE_ALL)
		return;
	control->beat++; /* as a reader does */
	for (size_t i = 0; i < control->nr_rings; i++)
		if (ring_of(control, i))
			balance +=
				ring_balance(ring_of(control, i), control->ring_events, &seen[i]);
	/* under locks no ring can be made: pages and slabs tell of themselves there; objects are in the balance */
	if (control->lost > 1000)
		step_fail("%lu events found no ring", control->lost);
	if (balance && !may_differ)
		step_fail("the events tell of %+ld objects", balance);
}

static size_t probes(size_t size)
{
	size_t count = PROBES_BYTES / size;

	return count > CHURN ? CHURN : count;
}

/* `killed`: an event may be missing, of the call that a thread ended in. */
static long settle(bool killed)
{
	step_check_held();
	alloc_many(page->size, (unsigned)probes(page->size));
	alloc_many(3 * page->size, (unsigned)probes(3 * page->size));
	step_check_held();
	free_many(step_held());
	check_events(killed);
	malloc_trim(0);
	return (long)(mallinfo2().uordblks - in_use);
}

static long baseline(void)
{
	settle(true); /* a thread was made, and its memory allocated */
	in_use = mallinfo2().uordblks;
	return 0;
}

static long answer(const struct helper_message *message)
{
	switch (message->request) {
	case HELPER_SPAWN:
		return spawn();
	case HELPER_JOIN:
		return pthread_join(victim, NULL);
	case HELPER_MEDDLE:
		return meddle(message->argument, page->size);
	case HELPER_DRAIN:
		pin(page->other_cpu >= 0 ? page->other_cpu : page->cpu);
		malloc_trim(0);
		return 0;
	case HELPER_SETTLE:
		return settle(message->argument != 0);
	case HELPER_BASELINE:
		return baseline();
	default: {
		void *ptr = memalign(op_align(message->argument), page->size);
		long size = (long)malloc_usable_size(ptr);

		free(ptr);
		return size;
	}
	}
}

static int find_library(struct dl_phdr_info *info, size_t size, void *found)
{
	(void)size;
	if (!strstr(info->dlpi_name, "libkmalloc"))
		return 0;
	*(uint64_t *)found = info->dlpi_addr;
	return 1;
}

int victim_main(void)
{
	struct sigaction work = { .sa_handler = on_work, .sa_flags = SA_RESTART };
	struct sigaction forks = { .sa_handler = on_fork, .sa_flags = SA_RESTART };
	struct helper_message message;

	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, VICTIM_PAGE_FD, 0);
	if (page == MAP_FAILED || !dl_iterate_phdr(find_library, &page->base))
		step_fail("the library is not there");
	page->park_ip = (uint64_t)victim_park + 1;
	page->exit_ip = (uint64_t)victim_exit;
	for (unsigned i = 0; i < victim_nr_ops; i++) {
		functions[i] = dlsym(RTLD_DEFAULT, ops[i].symbol);
		if (!functions[i])
			step_fail("the library has no %s", ops[i].symbol);
	}
	sigaction(SIGUSR1, &work, NULL);
	sigaction(SIGUSR2, &forks, NULL);
	while (read(VICTIM_SOCKET_FD, &message, sizeof(message)) == sizeof(message)) {
		long result = answer(&message);

		if (write(VICTIM_SOCKET_FD, &result, sizeof(result)) != sizeof(result))
			break;
	}
	return 0;
}

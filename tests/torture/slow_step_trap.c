/* SPDX-License-Identifier: MIT */
/*
 * slow_step_trap.c - the trap flag, its handler, and what the handler does to the
 * allocator.
 *
 * Handler, at an instruction:
 *  1. the work (below), with the allocator as it is;
 *  2. if the trap aborted a sequence: off with the trap flag, breakpoints at all ways out of it;
 *     at a breakpoint: all breakpoints out, the trap flag on again.
 * The breakpoints stand only while the thread runs through a sequence, never during
 * the work. Another thread that runs into one waits for it to be gone.
 *
 * Work, in turn: objects of the scenario's size that are kept in a ring from one
 * instruction to later ones; cleared ones; resized ones; areas; at times as many
 * as fill and empty several sheaves; at times a fork, whose child does a round of it all.
 * The table of live objects is the stepping thread's own.
 */
#include "slow_step.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "page/reclaim.h"
#include "slab/percpu.h"
#include "step.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define TRAP_FLAG 0x100L
#define RING 24
#define AREA_RING 3
#define BATCH 280
#define FORK_EACH 1009
#define CHECK_EACH 512
#define ALARM_EACH 128
#define VISITS 64
#define OTHER_SIZE 80
#define LATER_VISITS 29
#define CHILD_SECONDS 60
#define TEXT_MAX (1UL << 20)

static struct step_section sections[STEP_SECTIONS_MAX];
static unsigned nr_sections;
static uintptr_t base, text_start, text_size;
static unsigned char *distinct; /* a byte per byte of text; shared */

static _Thread_local bool stepping;
static size_t work_size;     /* of what handlers use now */
static size_t later_size;    /* of what they use after the miss; 0: as before */
static uint64_t turn, traps; /* handlers' works, and traps */
static void *ring[RING], *area_ring[AREA_RING];

static struct {
	uintptr_t address;
	unsigned char text;
} planted[1 + STEP_MISSES_MAX];
static unsigned nr_planted;

void step_flag_on(void);
__asm__(".text\n"
	"step_flag_on:\n\t"
	"pushfq\n\t"
	"orq $0x100, (%rsp)\n\t"
	"popfq\n\t"
	"ret\n"
	".globl step_flag_off\n"
	"step_flag_off:\n\t"
	"pushfq\n\t"
	"andq $~0x100, (%rsp)\n\t"
	"popfq\n\t"
	"ret\n");
void step_flag_off(void);

void step_begin(size_t size)
{
	work_size = size > KMALLOC_MAX_SIZE ? KMALLOC_MIN_SIZE : size;
	later_size = 0;
	stepping = true;
	step_flag_on();
}

void step_begin_miss(size_t size)
{
	later_size = size > KMALLOC_MAX_SIZE ? KMALLOC_MIN_SIZE : size;
	work_size = later_size == OTHER_SIZE ? 2 * OTHER_SIZE : OTHER_SIZE;
	stepping = true;
	step_flag_on();
}

void step_end(void)
{
	step_flag_off();
	stepping = false;
}

/* The work. */

static void keep(void **slot, size_t size)
{
	if (*slot)
		kvmalloc_free(step_take(*slot).ptr);
	*slot = slow_malloc(size);
	step_hold(*slot, size);
	stats->objects++;
}

static void work_cleared(size_t size)
{
	void *ptr = kvmalloc_zeroed(size, NULL);

	if (!ptr)
		step_fail("no memory for a handler");
	step_check_zero(ptr, size);
	step_hold(ptr, size);
	kvmalloc_free(step_take(ptr).ptr);
	stats->objects++;
}

static void work_resized(void **slot, size_t size)
{
	struct step_object old;

	if (!*slot)
		return;
	old = step_take(*slot);
	*slot = slow_realloc(old.ptr, size);
	step_moved(&old, *slot, size);
	stats->objects++;
}

static void work_batch(size_t size)
{
	void *batch[BATCH];

	for (unsigned i = 0; i < BATCH; i++) {
		batch[i] = slow_malloc(size);
		step_hold(batch[i], size);
	}
	for (unsigned i = 0; i < BATCH; i++)
		kvmalloc_free(step_take(batch[i]).ptr);
	stats->objects += BATCH;
}

static void work(uint64_t nth)
{
	size_t size = work_size;

	keep(&ring[nth % RING], size);
	/* during the start each request is a mapping: that takes time, and is all there is to see */
	if (atomic_load(&start_state) == START_RUNNING && nth % 16)
		return;
	if (nth % 4 == 1)
		work_cleared(size);
	if (nth % 4 == 2)
		work_resized(&ring[(nth / 4) % RING], nth % 8 == 2 ? 2 * size : size);
	if (nth % 32 == 5)
		keep(&area_ring[(nth / 32) % AREA_RING], KMALLOC_TOP_BLOCK + nth % 70000);
	if (nth % 64 == 9)
		work_cleared(KMALLOC_TOP_BLOCK + 1);
	if (nth % 64 == 42)
		work_resized(&area_ring[(nth / 64) % AREA_RING], 3 * KMALLOC_TOP_BLOCK);
	if (nth % 128 == 77)
		work_batch(size);
	if (nth % CHECK_EACH == 0)
		step_check_held();
}

static void work_of_child(uint64_t nth)
{
	alarm(CHILD_SECONDS);
	for (uint64_t i = 0; i < 140; i++)
		work(nth + i);
	step_check_held();
	_exit(0);
}

static void work_fork(uint64_t nth)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0)
		work_of_child(nth);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		step_fail("a child forked in the handler ended with status %#x", status);
	stats->forks++;
}

/* Which locks are held here. */
static void count_locks(void)
{
	unsigned seen = 0;

	if (!lock_in_atomic())
		return;
	stats->atomic_points++;
	for (const struct lock *lock = lock_list(); lock; lock = lock->next)
		if (lock_is_mine(lock))
			seen |= 1U << lock->rank;
	if (atomic_load(&start_state) == START_RUNNING)
		seen |= 1U << 0; /* no lock has rank 0: the start */
	for (unsigned rank = 0; rank <= LOCK_RANK_META; rank++) {
		stats->rank_points[rank] += seen >> rank & 1;
		stats->all_rank_points[rank] += seen >> rank & 1;
	}
}

/*
 * Loops come by the same instruction hundreds of times, and find the same state: the first
 * visits count, and of the later ones a part, another one in each run.
 */
static bool worth_a_visit(uintptr_t ip)
{
	static unsigned short visits[1U << 16];
	unsigned short *seen = &visits[(ip * 0x9e3779b97f4a7c15UL) >> 48];
	unsigned all = atomic_load(&start_state) == START_RUNNING ? VISITS / 8 : VISITS;

	traps++;
	if (*seen < all) {
		(*seen)++;
		return true;
	}
	return traps % LATER_VISITS == 0;
}

static void at_point(uintptr_t ip)
{
	uint64_t nth = turn;

	/* both miss paths come by here, once the sheaf was found empty (full) */
	if (later_size && ip == (uintptr_t)reclaim_poll) {
		work_size = later_size;
		later_size = 0;
	}
	if (!worth_a_visit(ip))
		return;
	turn++;
	if (nth % ALARM_EACH == 0)
		alarm(STEP_HANG_SECONDS);
	stats->points++;
	stats->points_here++;
	if (ip - text_start < text_size)
		distinct[ip - text_start] = 1;
	count_locks();
	/* the first request is to be the interrupted one's */
	if (atomic_load(&start_state) == START_NOT)
		return;
	work(nth);
	if (nth % FORK_EACH == 0)
		work_fork(nth);
}

/* The sequences. */

static void plant(uint64_t address)
{
	unsigned char *text = (unsigned char *)(base + address);

	for (unsigned i = 0; i < nr_planted; i++)
		if (planted[i].address == (uintptr_t)text)
			return;
	planted[nr_planted].address = (uintptr_t)text;
	planted[nr_planted++].text = *text;
	__atomic_store_n(text, 0xcc, __ATOMIC_SEQ_CST);
}

static void unplant_all(void)
{
	while (nr_planted) {
		nr_planted--;
		__atomic_store_n((unsigned char *)planted[nr_planted].address,
				 planted[nr_planted].text, __ATOMIC_SEQ_CST);
	}
}

static void let_through(ucontext_t *context, uintptr_t ip)
{
	for (unsigned i = 0; i < nr_sections; i++) {
		if (sections[i].abort != ip - base)
			continue;
		plant(sections[i].post);
		for (unsigned n = 0; n < sections[i].nr_misses; n++)
			plant(sections[i].miss[n]);
		context->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		stats->sections++;
		return;
	}
}

static void on_trap(int number, siginfo_t *info, void *arg)
{
	ucontext_t *context = arg;
	greg_t *regs = context->uc_mcontext.gregs;
	int saved = errno;

	(void)number;
	if (info->si_code == SI_KERNEL) {
		/* a breakpoint */
		regs[REG_RIP]--;
		if (!stepping) {
			sched_yield();
			errno = saved;
			return;
		}
		unplant_all();
		regs[REG_EFL] |= TRAP_FLAG;
	}
	at_point((uintptr_t)regs[REG_RIP]);
	let_through(context, (uintptr_t)regs[REG_RIP]);
	errno = saved;
}

static int find_text(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size, (void)unused;
	base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		text_start = base + header->p_vaddr;
		text_size = header->p_memsz;
	}
	return 1; /* the first is the program */
}

static void *map_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		step_fail("no memory to share");
	return memory;
}

struct step_stats *step_prepare(void)
{
	char self[300];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	dl_iterate_phdr(find_text, NULL);
	nr_sections = step_sections(self, sections, STEP_SECTIONS_MAX);
	distinct = map_shared(text_size);
	return map_shared(sizeof(struct step_stats));
}

size_t step_distinct(void)
{
	size_t count = 0;

	for (size_t i = 0; i < text_size; i++)
		count += distinct[i];
	return count;
}

static void fork_child(void)
{
	lock_fork_child();
	percpu_fork_child();
}

void step_setup(uint64_t phase)
{
	struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	uintptr_t start = text_start & ~4095UL;

	turn = traps = phase;
	/* as interpose/fork.c does */
	pthread_atfork(lock_fork_prepare, lock_fork_parent, fork_child);
	if (mprotect((void *)start, text_start + text_size - start,
		     PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
		step_say(2, "skipped: no breakpoints can be written to the text");
		_exit(STEP_SKIP);
	}
	sigaction(SIGTRAP, &trap, NULL);
}

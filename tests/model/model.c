/* SPDX-License-Identifier: MIT */
/*
 * model.c - the model: what an allocator is, without allocating anything.
 *
 * Objects: a table of slots, each with an address, the bytes asked for, the bytes usable and the
 * seed of the pattern in them; and the live slots sorted by address. An allocation must be
 * aligned, as large as asked, clear of every live range over its usable length, and zero
 * where that was promised. Before a slot's memory goes back or changes its size, the pattern must be whole, and
 * the usable size what it was. errno is ENOMEM (or what posix_memalign returns) where a
 * request fails, and untouched where it does not.
 *
 * A request may fail only where no machine could serve it, or where the caller said that
 * memory is limited.
 *
 * Threads: operations never run at the same time; they are handed from thread to thread, so
 * that caches of one thread meet objects of another. The first thread deals out the work
 * and waits; `position` and all tables belong to whoever works.
 *
 * fork: the child checks all that is live, frees half, allocates anew and ends; the parent waits.
 */
#include "model.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIN_ALIGN 16
#define PAGE 4096
#define FILL_WHOLE 2048 /* of larger objects lines here and there are filled, and the end */
#define LINE 61
#define TAIL 8
#define NO_MACHINE (1UL << 47) /* bytes, or an alignment */
#define CHILD_OBJECTS 32
#define CHILD_TIMEOUT 60 /* seconds */
#define ERRNO_BEFORE 4095

struct object {
	char *ptr; /* NULL: none */
	size_t size, usable, align;
	uint64_t seed;
};

struct worker {
	pthread_t thread;
	bool runs, ends;
	sem_t go;
};

struct model_stat model_stat;

static const struct model *model;
static size_t position; /* of the next operation */
static struct object objects[OPS_SLOTS];
static uint16_t sorted[OPS_SLOTS]; /* live slots, by address */
static unsigned nr_live;
static struct worker workers[OPS_THREADS];
static sem_t handed_back;
static cpu_set_t cpus; /* those that the process started with */

/* Absent where no coverage is measured. */
extern void __gcov_dump(void) __attribute__((weak));

_Noreturn void model_exit(int status)
{
	if (&__gcov_dump)
		__gcov_dump();
	_exit(status);
}

static _Noreturn void model_failed(const char *what)
{
	char text[OPS_LINE] = "the end, where all is freed";
	size_t at = position ? position - 1 : 0;

	if (position <= model->count && model->count)
		ops_format(&model->ops[at], text);
	fprintf(stderr, "model: operation %zu (%s): %s\n", at, text, what);
	fflush(NULL);
	if (&__gcov_dump)
		__gcov_dump();
	abort();
}

static void expect(bool holds, const char *what)
{
	if (!holds)
		model_failed(what);
}

static unsigned char pattern_at(size_t i, uint64_t seed)
{
	return (unsigned char)(seed + i * 7 + (i >> 8) * 11 + 1);
}

static bool fill_part(char *part, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++)
		part[i] = (char)pattern_at(i, seed);
	return true;
}

static bool check_part(char *part, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)part[i] != pattern_at(i, seed))
			return false;
	return true;
}

/*
 * Call fn over the parts of an object that carry its pattern, as far as they lie below
 * `kept`: all of a small one; of a large one lines here and there, and its last bytes.
 */
static bool for_parts(const struct object *object, size_t kept,
		      bool (*fn)(char *part, size_t length, uint64_t seed))
{
	size_t usable = object->usable, stride = usable / 16 / LINE * LINE + LINE;

	if (usable <= FILL_WHOLE)
		return fn(object->ptr, kept, object->seed);
	for (size_t at = 0; at + LINE <= kept && at + LINE + TAIL <= usable; at += stride)
		if (!fn(object->ptr + at, LINE, object->seed + at))
			return false;
	return kept < usable || fn(object->ptr + usable - TAIL, TAIL, object->seed + usable);
}

static void check_object(const struct object *object)
{
	expect(model->entries->usable_size(object->ptr) == object->usable,
	       "malloc_usable_size changed during the object's life");
	expect(for_parts(object, object->usable, check_part), "the contents changed");
}

static unsigned position_of(const char *ptr)
{
	unsigned low = 0, high = nr_live;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (objects[sorted[middle]].ptr < ptr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Enter what the allocator has just given into a slot. */
static void enter(unsigned slot, char *ptr, size_t size, size_t align, uint64_t seed)
{
	struct object *object = &objects[slot];
	unsigned at = position_of(ptr);
	size_t usable = model->entries->usable_size(ptr);

	expect((uintptr_t)ptr % align == 0, "not aligned");
	expect(usable >= size, "malloc_usable_size is smaller than what was asked for");
	if (at < nr_live)
		expect(ptr + usable <= objects[sorted[at]].ptr, "overlaps the next object");
	if (at > 0) {
		const struct object *before = &objects[sorted[at - 1]];

		expect(before->ptr + before->usable <= ptr, "overlaps the object before");
	}
	memmove(&sorted[at + 1], &sorted[at], (nr_live - at) * sizeof(sorted[0]));
	sorted[at] = (uint16_t)slot;
	nr_live++;
	*object = (struct object){ ptr, size, usable, align, seed };
	for_parts(object, usable, fill_part);
	model_stat.allocs++;
}

/* Take an object out, before the allocator may have it. */
static void leave(unsigned slot)
{
	unsigned at = position_of(objects[slot].ptr);

	expect(at < nr_live && sorted[at] == slot, "the model itself is damaged");
	check_object(&objects[slot]);
	nr_live--;
	memmove(&sorted[at], &sorted[at + 1], (nr_live - at) * sizeof(sorted[0]));
}

/* A NULL for so many bytes at this alignment: was it right to refuse? */
static void check_refusal(size_t size, size_t align, int error, int expected)
{
	bool right = size >= NO_MACHINE || align >= NO_MACHINE || model->may_fail;

	/* what address space there is between the two depends on the machine */
	right |= size > 1UL << 32 || align > 1UL << 32;
	expect(right, "no memory was given");
	expect(error == expected, "failed without the right errno");
	model_stat.refused++;
}

/* The result of an allocation into an empty slot. */
static void given(const struct op *op, void *ptr, size_t size, size_t align)
{
	int error = errno;

	if (!ptr) {
		check_refusal(size, align, error, ENOMEM);
		return;
	}
	expect(size < NO_MACHINE && align < NO_MACHINE, "more was given than there is");
	expect(error == ERRNO_BEFORE, "errno was changed though nothing failed");
	enter(op->slot, ptr, size, align, op->b ^ position);
}

static bool is_zero(const char *ptr, size_t size)
{
	return size == 0 || (*ptr == 0 && memcmp(ptr, ptr + 1, size - 1) == 0);
}

static size_t product(size_t a, size_t b)
{
	size_t bytes;

	return __builtin_mul_overflow(a, b, &bytes) ? SIZE_MAX : bytes;
}

static size_t round_up_alignment(size_t align)
{
	size_t power = MIN_ALIGN;

	while (power < align && power < NO_MACHINE)
		power *= 2;
	return power;
}

static void do_aligned(const struct op *op)
{
	const struct entries *entries = model->entries;
	void *ptr = op->kind == OP_memalign ? entries->memalign(op->a, op->b) :
					      entries->aligned_alloc(op->a, op->b);

	if (!ptr && errno == EINVAL) {
		expect(op->a > SIZE_MAX / 2 + 1, "a possible alignment was refused");
		return;
	}
	given(op, ptr, op->b, round_up_alignment(op->a));
}

static void do_posix_memalign(const struct op *op)
{
	void *untouched = &objects, *ptr = untouched;
	bool valid = op->a >= sizeof(void *) && !(op->a & (op->a - 1));
	int error = model->entries->posix_memalign(&ptr, op->a, op->b);

	expect(errno == ERRNO_BEFORE, "posix_memalign changed errno");
	if (error) {
		expect(ptr == untouched, "posix_memalign failed and stored a pointer");
		if (valid)
			check_refusal(op->b, op->a, error, ENOMEM);
		else
			expect(error == EINVAL, "no EINVAL for an impossible alignment");
		return;
	}
	expect(valid, "an impossible alignment was accepted");
	given(op, ptr, op->b, round_up_alignment(op->a));
}

static void do_calloc(const struct op *op)
{
	size_t size = product(op->a, op->b);
	char *ptr = model->entries->calloc(op->a, op->b);

	if (ptr && size < NO_MACHINE)
		expect(is_zero(ptr, size), "calloc gave memory that is not zero");
	given(op, ptr, size, MIN_ALIGN);
}

static void do_alloc(const struct op *op)
{
	const struct entries *entries = model->entries;
	size_t whole;

	if (objects[op->slot].ptr)
		return;
	switch (op->kind) {
	case OP_malloc:
		given(op, entries->malloc(op->b), op->b, MIN_ALIGN);
		break;
	case OP_calloc:
		do_calloc(op);
		break;
	case OP_posix_memalign:
		do_posix_memalign(op);
		break;
	case OP_valloc:
		given(op, entries->valloc(op->b), op->b, PAGE);
		break;
	case OP_pvalloc:
		whole = op->b > SIZE_MAX - PAGE ? op->b : (op->b + PAGE - 1) / PAGE * PAGE;
		given(op, entries->pvalloc(op->b), whole, PAGE);
		break;
	default:
		do_aligned(op);
		break;
	}
}

/* An object is resized; what it held up to the smaller size must be there. */
static void do_resize(const struct op *op)
{
	struct object old = objects[op->slot];
	size_t size = op->kind == OP_realloc ? op->b : product(op->a, op->b);
	size_t kept = size < old.size ? size : old.size;
	char *ptr;
	int error;

	if (old.ptr)
		leave(op->slot);
	objects[op->slot].ptr = NULL;
	errno = ERRNO_BEFORE;
	ptr = op->kind == OP_realloc ? model->entries->realloc(old.ptr, size) :
				       model->entries->reallocarray(old.ptr, op->a, op->b);
	error = errno;
	if (!old.ptr) {
		given(op, ptr, size, MIN_ALIGN);
		return;
	}
	if (!size) {
		expect(!ptr && error == ERRNO_BEFORE, "realloc to nothing is not free");
		return;
	}
	if (!ptr) {
		check_refusal(size, MIN_ALIGN, error, ENOMEM);
		/* it is as it was */
		expect(for_parts(&old, old.usable, check_part), "a failed realloc changed it");
		enter(op->slot, old.ptr, old.size, old.align, old.seed);
		return;
	}
	old.ptr = ptr;
	expect(for_parts(&old, kept, check_part), "realloc lost contents");
	given(op, ptr, size, MIN_ALIGN);
}

static void do_free(const struct op *op)
{
	const struct entries *entries = model->entries;
	struct object old = objects[op->slot];

	if (old.ptr)
		leave(op->slot);
	objects[op->slot].ptr = NULL;
	errno = ERRNO_BEFORE;
	if (op->kind == OP_cfree && entries->cfree)
		entries->cfree(old.ptr);
	else if (op->kind == OP_free_sized && entries->free_sized)
		entries->free_sized(old.ptr, old.size);
	else if (op->kind == OP_free_aligned_sized && entries->free_aligned_sized)
		entries->free_aligned_sized(old.ptr, old.align, old.size);
	else
		entries->free(old.ptr);
	expect(errno == ERRNO_BEFORE, "free changed errno");
}

static void do_look(const struct op *op)
{
	struct object *object = &objects[op->slot];

	if (!object->ptr) {
		expect(model->entries->usable_size(NULL) == 0, "NULL has a usable size");
		return;
	}
	check_object(object);
	if (op->kind == OP_write) {
		object->seed += 12345;
		for_parts(object, object->usable, fill_part);
	}
}

static void do_trim(void)
{
	model->entries->trim(0);
	expect(errno == ERRNO_BEFORE, "malloc_trim changed errno");
}

static void do_pin(const struct op *op)
{
	cpu_set_t one;
	uint64_t nth = op->a % (uint64_t)CPU_COUNT(&cpus);
	size_t cpu = 0;

	while (!CPU_ISSET(cpu, &cpus) || nth--)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* The child's part: what it inherited is whole, and its allocator works. */
static _Noreturn void fork_child(void)
{
	struct op op = { .kind = OP_malloc };
	uint64_t state = position;

	alarm(CHILD_TIMEOUT);
	for (unsigned slot = 0; slot < OPS_SLOTS; slot++)
		if (objects[slot].ptr)
			check_object(&objects[slot]);
	for (op.slot = 0; op.slot < OPS_SLOTS; op.slot += 2)
		do_free(&op);
	for (unsigned i = 0; i < CHILD_OBJECTS; i++) {
		op.slot = (uint16_t)(2 * i);
		op.b = ops_random(&state) % (i % 8 ? 3000 : 300000);
		errno = ERRNO_BEFORE;
		do_alloc(&op);
	}
	for (op.slot = 0; op.slot < OPS_SLOTS; op.slot++)
		do_free(&op);
	model_exit(0);
}

static void do_fork(void)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		fork_child();
	if (pid < 0) {
		expect(model->may_fail || errno == EAGAIN, "fork failed");
		return;
	}
	while (waitpid(pid, &status, 0) != pid)
		expect(errno == EINTR, "the child can't be waited for");
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of fork failed");
	model_stat.forks++;
}

static void run_op(const struct op *op)
{
	model_stat.ops++;
	errno = ERRNO_BEFORE;
	switch (op->kind) {
	case OP_realloc:
	case OP_reallocarray:
		do_resize(op);
		break;
	case OP_free:
	case OP_cfree:
	case OP_free_sized:
	case OP_free_aligned_sized:
		do_free(op);
		break;
	case OP_usable_size:
	case OP_check:
	case OP_write:
		do_look(op);
		break;
	case OP_trim:
		do_trim();
		break;
	case OP_pin:
		do_pin(op);
		break;
	case OP_fork:
		do_fork();
		break;
	default:
		do_alloc(op);
		break;
	}
}

static bool is_switch(const struct op *op)
{
	return op->kind == OP_thread || op->kind == OP_thread_end;
}

/* What one thread does in a row. */
static void run_until_switch(void)
{
	while (position < model->count && !is_switch(&model->ops[position]))
		run_op(&model->ops[position++]);
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		while (sem_wait(&worker->go) != 0)
			;
		if (worker->ends)
			return NULL;
		run_until_switch();
		sem_post(&handed_back);
	}
}

static void hand_to(struct worker *worker)
{
	model_stat.switches++;
	if (!worker->runs) {
		sem_init(&worker->go, 0, 0);
		worker->ends = false;
		worker->runs = pthread_create(&worker->thread, NULL, work, worker) == 0;
		expect(worker->runs || model->may_fail, "no thread could be started");
	}
	if (!worker->runs) {
		run_until_switch();
		return;
	}
	sem_post(&worker->go);
	while (sem_wait(&handed_back) != 0)
		;
}

static void end_worker(struct worker *worker)
{
	if (!worker->runs)
		return;
	worker->ends = true;
	sem_post(&worker->go);
	pthread_join(worker->thread, NULL);
	worker->runs = false;
}

void model_run(const struct model *wanted)
{
	unsigned thread = 0;

	model = wanted;
	position = 0;
	sem_init(&handed_back, 0, 0);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	while (position < model->count) {
		const struct op *op = &model->ops[position];

		if (is_switch(op)) {
			thread = op->kind == OP_thread ? (unsigned)op->a % OPS_THREADS : 0;
			if (op->kind == OP_thread_end)
				end_worker(&workers[op->a % OPS_THREADS]);
			position++;
		} else if (thread) {
			hand_to(&workers[thread]);
		} else {
			run_until_switch();
		}
	}
	for (unsigned i = 0; i < OPS_THREADS; i++)
		end_worker(&workers[i]);
	position++;
	for (uint16_t slot = 0; slot < OPS_SLOTS; slot++)
		do_free(&(struct op){ .kind = OP_free, .slot = slot });
	expect(nr_live == 0, "the model itself is damaged");
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

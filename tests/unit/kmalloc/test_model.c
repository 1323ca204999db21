/* SPDX-License-Identifier: MIT */
/*
 * test_model.c - random operations against a plain model of what an allocator is.
 *
 * The model: a table of live objects, each with its address, size and a pattern over all of
 * its bytes; and a sorted list of their address ranges, which never overlap. Sizes
 * are drawn from both paths. Seeds: a fixed one, and KMALLOC_SEED; a failure names its seed.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"

#define NR_OBJECTS 700
#define FILL_WHOLE 2048 /* of larger objects the ends and some lines between are filled */
#define LINE 61
#define TAIL 8

struct object {
	char *ptr; /* NULL: none */
	size_t size;
	uint64_t seed;
};

static struct object objects[NR_OBJECTS];
static unsigned sorted[NR_OBJECTS]; /* indices of the live ones, by address */
static unsigned nr_live;
static uint64_t seed, state;
static unsigned long step;

static _Noreturn void model_failed(int line, const char *what)
{
	fprintf(stderr, "test_model.c:%d: failed: %s at step %lu; KMALLOC_SEED=%lu\n", line, what,
		step, (unsigned long)seed);
	fflush(NULL);
	_exit(1);
}

#define MODEL(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			model_failed(__LINE__, #cond);                                             \
	} while (0)

static uint64_t draw(uint64_t below)
{
	return unit_random(&state) % below;
}

/* Mostly small; near the borders of classes; some for the vmalloc path. */
static size_t draw_size(void)
{
	switch (draw(16)) {
	case 0:
		return draw(2);
	case 1:
	case 2:
		return (16UL << draw(14)) - draw(20) + 10;
	case 3:
		return draw(KMALLOC_MAX_SIZE + 1);
	case 4:
		return KMALLOC_MAX_SIZE - 100 + draw(200);
	case 5:
		return draw(2UL << 20);
	case 6:
	case 7:
		return draw(9000);
	default:
		return draw(600);
	}
}

/*
 * Call fn over the parts of an object that carry its pattern, as far as they lie below
 * `kept`: all of a small one; of a large one lines here and there, and its last bytes.
 */
static bool for_parts(const struct object *object, size_t kept,
		      bool (*fn)(char *part, size_t length, uint64_t seed))
{
	size_t size = object->size, stride = size / 16 / LINE * LINE + LINE;

	if (size <= FILL_WHOLE)
		return fn(object->ptr, kept, object->seed);
	for (size_t at = 0; at + LINE <= kept && at + LINE + TAIL <= size; at += stride)
		if (!fn(object->ptr + at, LINE, object->seed + at))
			return false;
	return kept < size || fn(object->ptr + size - TAIL, TAIL, object->seed + size);
}

static bool fill_part(char *part, size_t length, uint64_t part_seed)
{
	unit_fill(part, length, part_seed);
	return true;
}

static bool check_part(char *part, size_t length, uint64_t part_seed)
{
	return unit_is_filled(part, length, part_seed);
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

/* Enter an object that the allocator has just given. */
static void enter(unsigned index, char *ptr, size_t size)
{
	struct object *object = &objects[index];
	unsigned at = position_of(ptr);
	size_t usable = kvmalloc_size(ptr);

	MODEL((uintptr_t)ptr % 16 == 0);
	MODEL(usable >= size);
	if (at < nr_live)
		MODEL(ptr + usable <= objects[sorted[at]].ptr);
	if (at > 0) {
		const struct object *before = &objects[sorted[at - 1]];

		MODEL(before->ptr + kvmalloc_size(before->ptr) <= ptr);
	}
	memmove(&sorted[at + 1], &sorted[at], (nr_live - at) * sizeof(sorted[0]));
	sorted[at] = index;
	nr_live++;
	*object = (struct object){ ptr, size, unit_random(&state) };
	for_parts(object, size, fill_part);
}

/* Take an object out, before the allocator may have it. */
static void leave(unsigned index)
{
	unsigned at = position_of(objects[index].ptr);

	MODEL(at < nr_live && sorted[at] == index);
	MODEL(for_parts(&objects[index], objects[index].size, check_part));
	nr_live--;
	memmove(&sorted[at], &sorted[at + 1], (nr_live - at) * sizeof(sorted[0]));
}

static void do_alloc(unsigned index)
{
	size_t size = draw_size(), align;
	char *ptr;
	void *hit;

	switch (draw(4)) {
	case 0:
		ptr = kvmalloc_zeroed(size);
		MODEL(ptr && unit_is_zero(ptr, size));
		break;
	case 1:
		align = 1UL << draw(draw(8) ? 13 : 22);
		ptr = kvmalloc_aligned(size, align);
		MODEL(ptr && (uintptr_t)ptr % align == 0);
		break;
	default:
		ptr = kmalloc_hit(size, &hit) ? hit : kvmalloc_slow(size, NULL);
		MODEL(ptr != NULL);
		break;
	}
	enter(index, ptr, size);
}

static void do_free(unsigned index)
{
	leave(index);
	kvmalloc_free(objects[index].ptr);
	objects[index].ptr = NULL;
}

static void do_resize(unsigned index)
{
	struct object old = objects[index];
	size_t size = draw(3) ? draw_size() : old.size + draw(1 + old.size);
	size_t kept = size < old.size ? size : old.size;
	char *ptr;

	size += !size;
	leave(index);
	ptr = kvmalloc_resize(old.ptr, size);
	MODEL(ptr != NULL);
	old.ptr = ptr;
	MODEL(for_parts(&old, kept, check_part));
	enter(index, ptr, size);
}

static void run_model(uint64_t with_seed, unsigned long steps)
{
	seed = state = with_seed;
	for (step = 0; step < steps; step++) {
		unsigned index = (unsigned)draw(NR_OBJECTS);

		if (!objects[index].ptr)
			do_alloc(index);
		else if (draw(3))
			do_free(index);
		else
			do_resize(index);
		if (draw(4096) == 0)
			kmalloc_trim();
		if (draw(512) == 0)
			unit_pin((unsigned)draw(8));
	}
	for (unsigned index = 0; index < NR_OBJECTS; index++)
		if (objects[index].ptr)
			do_free(index);
	MODEL(nr_live == 0);
}

static void operations_by_fixed_chance_agree_with_the_model(void)
{
	run_model(12345, 200000);
}

static void operations_by_another_chance_agree_with_the_model(void)
{
	run_model(unit_seed(), 150000);
}

static void operations_with_little_kept_agree_with_the_model(void)
{
	run_model(unit_seed() + 1, 100000);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(operations_by_fixed_chance_agree_with_the_model),
		UNIT_TEST(operations_by_another_chance_agree_with_the_model),
		UNIT_TEST_WITH(operations_with_little_kept_agree_with_the_model,
			       "page.dirty_max=256K vmalloc.lazy_max=1M reclaim.age_ms=0"),
	};

	return UNIT_MAIN(tests);
}

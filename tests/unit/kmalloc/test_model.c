/* SPDX-License-Identifier: MIT */
/*
 * test_model.c - random operations against a plain model of what an allocator is.
 *
 * The model, its sequences and what is checked are tests/model/'s; here it calls the library's entry
 * points from several threads, in a process whose own malloc is the C library's. Seeds: a fixed one, and
 * KMALLOC_SEED. tests/torture/model runs on longer, with fork, and shrinks what fails.
 */
#include "unit.h"

#include "model.h"

#define NR_OPS 60000

static struct op ops[NR_OPS];

static void run(uint64_t seed)
{
	struct model model = { .entries = &library_entries, .ops = ops, .count = NR_OPS };

	fprintf(stderr, "KMALLOC_SEED=%lu\n", (unsigned long)seed);
	ops_generate(ops, NR_OPS, seed, false);
	model_run(&model);
	CHECK_EQ(model_stat.ops > NR_OPS / 2, true);
}

static void operations_by_fixed_chance_agree_with_the_model(void)
{
	run(12345);
}

static void operations_by_another_chance_agree_with_the_model(void)
{
	run(unit_seed());
}

static void operations_with_little_kept_agree_with_the_model(void)
{
	run(unit_seed() + 1);
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

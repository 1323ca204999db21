/* SPDX-License-Identifier: MIT */
/* test_gfp.c - the flags have the kernel's values and names. */
#include "unit.h"

#include "lib/gfp.h"

static void value_of_each_combination_is_the_kernels(void)
{
	CHECK_EQ(GFP_KERNEL, 0xcc0);
	CHECK_EQ(GFP_ATOMIC, 0x820);
	CHECK_EQ(GFP_NOWAIT, 0x2800);
	CHECK_EQ(GFP_NOIO, 0xc00);
	CHECK_EQ(GFP_NOFS, 0xc40);
	CHECK_EQ(GFP_USER, 0x100cc0);
	CHECK_EQ(GFP_KERNEL_ACCOUNT, 0x400cc0);
	CHECK_EQ(GFP_HIGHUSER_MOVABLE, 0x100cca);
	CHECK(gfpflags_allow_blocking(GFP_KERNEL) && gfpflags_allow_blocking(GFP_NOIO));
	CHECK(!gfpflags_allow_blocking(GFP_ATOMIC) && !gfpflags_allow_blocking(GFP_NOWAIT));
	CHECK(gfp_has_io_fs(GFP_KERNEL) && !gfp_has_io_fs(GFP_NOFS));
	CHECK(gfp_may_reclaim(GFP_KERNEL) && gfp_may_reclaim(GFP_NOIO));
	CHECK(!gfp_may_reclaim(GFP_KERNEL | __GFP_NORETRY) && !gfp_may_reclaim(GFP_ATOMIC));
}

static void text_names_combinations_first(void)
{
	static const struct {
		gfp_t gfp;
		const char *text;
	} cases[] = {
		{ 0, "none" },
		{ GFP_KERNEL, "GFP_KERNEL" },
		{ GFP_KERNEL | __GFP_ZERO, "GFP_KERNEL|__GFP_ZERO" },
		{ GFP_ATOMIC | __GFP_NOWARN, "GFP_ATOMIC|__GFP_NOWARN" },
		{ GFP_NOWAIT, "GFP_NOWAIT" },
		{ GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT" },
		{ GFP_DMA | GFP_KERNEL, "GFP_KERNEL|GFP_DMA" },
		{ GFP_NOFS, "GFP_NOFS" },
		{ GFP_USER | __GFP_NOFAIL, "GFP_USER|__GFP_NOFAIL" },
		{ __GFP_HIGH, "__GFP_HIGH" },
		{ GFP_KERNEL | 0x80000000U, "GFP_KERNEL|0x80000000" },
		{ 0x40000000U, "0x40000000" },
	};
	char text[GFP_FORMAT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		CHECK(!strcmp(gfp_format(text, sizeof(text), cases[i].gfp), cases[i].text));
}

/* Each bit once, and the longest text there is. */
static void text_of_every_set_of_flags_fits_and_is_whole(void)
{
	char text[GFP_FORMAT_MAX];
	uint64_t seed = unit_seed();
	size_t longest = 0;

	for (int i = 0; i < 200000; i++) {
		size_t len = strlen(
			gfp_format(text, sizeof(text), (gfp_t)unit_random(&seed) & ~GFP_NOIO));

		longest = len > longest ? len : longest;
	}
	CHECK(longest > 200 && longest < sizeof(text) - 1);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(value_of_each_combination_is_the_kernels),
		UNIT_TEST_RAW(text_names_combinations_first),
		UNIT_TEST_RAW(text_of_every_set_of_flags_fits_and_is_whole),
	};

	return UNIT_MAIN(tests);
}

/* SPDX-License-Identifier: MIT
 *
 * calls: the allocating calls other than malloc: calloc, aligned_alloc, and C++'s operator
 * new and delete in the forms that tell delete the size or the alignment.
 *
 * The operators are called by the names that a C++ compiler gives them.
 */
#include "micro.h"

/* operator new(size_t), operator delete(void *, size_t) */
void *_Znwm(size_t size);
void _ZdlPvm(void *p, size_t size);
/* the same with std::align_val_t */
void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
void _ZdlPvmSt11align_val_t(void *p, size_t size, size_t alignment);

static void calloc_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	gb_arg(b, 64);
	gb_arg(b, 4 * KIB);
	gb_arg(b, 64 * KIB);
	gb_arg(b, MIB);
}

static void run_calloc(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(calloc(1, size));

		touch(p, size);
		gb_use(p);
		free(p);
	}
	report_items(state, 1);
}

static void aligned_args(struct gb_benchmark *b)
{
	GB_ARG_NAMES(b, "alignment", "size");
	for (int64_t alignment = 32; alignment <= 4096; alignment *= 2) {
		GB_ARGS(b, alignment, alignment);
		GB_ARGS(b, alignment, 3 * alignment);
	}
	GB_ARGS(b, 2 * MIB, 2 * MIB);
}

static void run_aligned_alloc(struct gb_state *state, void *arg)
{
	size_t alignment = (size_t)gb_range(state, 0);
	size_t size = (size_t)gb_range(state, 1);

	GB_FOR(state) {
		void *p = must(aligned_alloc(alignment, size));

		*(volatile char *)p = 1;
		free(p);
	}
	report_items(state, 1);
}

static void new_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	gb_arg(b, 16);
	gb_arg(b, 64);
	gb_arg(b, 256);
	gb_arg(b, 4096);
}

static void run_new_sized(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = _Znwm(size);

		gb_use(p);
		_ZdlPvm(p, size);
	}
	report_items(state, 1);
}

static void new_aligned_args(struct gb_benchmark *b)
{
	GB_ARG_NAMES(b, "alignment", "size");
	GB_ARGS(b, 64, 64);
	GB_ARGS(b, 64, 192);
	GB_ARGS(b, 4096, 4096);
}

static void run_new_aligned(struct gb_state *state, void *arg)
{
	size_t alignment = (size_t)gb_range(state, 0);
	size_t size = (size_t)gb_range(state, 1);

	GB_FOR(state) {
		void *p = _ZnwmSt11align_val_t(size, alignment);

		gb_use(p);
		_ZdlPvmSt11align_val_t(p, size, alignment);
	}
	report_items(state, 1);
}

const struct family call_families[] = {
	{ .name = "calloc",
	  .group = "calls",
	  .item = "calloc/free pair",
	  .curve = "size",
	  .about =
		  "Zeroed memory, a byte per page then written: an allocator that knows fresh pages "
		  "to be zero need not clear them. Good: clearing alone while small, no page "
		  "faults at 64 KiB, below a memset of fresh pages at 1 MiB.",
	  .run = run_calloc,
	  .args = calloc_args },
	{ .name = "aligned_alloc",
	  .group = "calls",
	  .item = "aligned_alloc/free pair",
	  .curve = "alignment",
	  .about = "Alignments of 32 bytes to 4 KiB, and 2 MiB, once and three times as large: "
		   "naturally aligned classes make most of them plain hits. Good: as fast as pair "
		   "up to 4 KiB.",
	  .run = run_aligned_alloc,
	  .args = aligned_args },
	{ .name = "new_delete_sized",
	  .group = "calls",
	  .item = "new/delete pair",
	  .curve = "size",
	  .about = "C++ operator new and sized delete, as every C++14 program calls them. Good: as "
		   "fast as pair.",
	  .run = run_new_sized,
	  .args = new_args },
	{ .name = "new_delete_aligned",
	  .group = "calls",
	  .item = "new/delete pair",
	  .curve = "alignment",
	  .about = "C++ operator new and delete of over-aligned types, told size and alignment. "
		   "Good: as fast as pair.",
	  .run = run_new_aligned,
	  .args = new_aligned_args },
	{ .name = NULL },
};

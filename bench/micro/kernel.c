/* SPDX-License-Identifier: MIT
 *
 * kernel: the kernel's calls, which only libkmalloc has, beside what a program would do
 * without them.
 *
 * They are looked up in whatever is loaded: without the library these families do not
 * exist. A call through a looked-up pointer costs what one into a preloaded malloc does.
 */
#include "micro.h"

#include "kmalloc/gfp.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#define NR_FRESH 64

struct kmem_cache;

static void *(*kmalloc_plain)(size_t size, gfp_t gfp);
static void *(*kzalloc_plain)(size_t size, gfp_t gfp);
static void (*kfree)(const void *object);
static void *(*vmalloc)(unsigned long size);
static void (*vfree)(const void *area);
static struct kmem_cache *(*cache_create)(const char *name, unsigned int size, void *args,
					  unsigned int flags);
static void *(*cache_alloc)(struct kmem_cache *cache, gfp_t gfp);
static void (*cache_free)(struct kmem_cache *cache, void *object);
static void (*cache_destroy)(struct kmem_cache *cache);

bool kernel_calls_found(void)
{
	static const struct {
		const char *name;
		void *call;
	} calls[] = {
		{ "libkmalloc_kmalloc_plain", &kmalloc_plain },
		{ "libkmalloc_kzalloc_plain", &kzalloc_plain },
		{ "libkmalloc_kfree", &kfree },
		{ "libkmalloc_vmalloc", &vmalloc },
		{ "libkmalloc_vfree", &vfree },
		{ "libkmalloc_kmem_cache_create_args", &cache_create },
		{ "libkmalloc_kmem_cache_alloc_plain", &cache_alloc },
		{ "libkmalloc_kmem_cache_free", &cache_free },
		{ "libkmalloc_kmem_cache_destroy", &cache_destroy },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		void *call = dlsym(RTLD_DEFAULT, calls[i].name);

		if (!call)
			return false;
		memcpy(calls[i].call, &call, sizeof(call));
	}
	return true;
}

static always_inline void pair(struct gb_state *state, gfp_t gfp)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(kmalloc_plain(size, gfp));

		*(volatile char *)p = 1;
		kfree(p);
	}
	report_items(state, 1);
}

static void run_kmalloc(struct gb_state *state, void *arg)
{
	pair(state, GFP_KERNEL);
}

static void run_kmalloc_atomic(struct gb_state *state, void *arg)
{
	pair(state, GFP_ATOMIC);
}

static void run_kmalloc_malloc(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(malloc(size));

		*(volatile char *)p = 1;
		free(p);
	}
	report_items(state, 1);
}

static void pair_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	for (int64_t size = 16; size <= 64 * KIB; size *= 8)
		gb_arg(b, size);
}

static void run_kmalloc_pages(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(kmalloc_plain(size, GFP_KERNEL));

		touch(p, size);
		kfree(p);
	}
	report_items(state, 1);
}

static void run_vmalloc_pages(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(vmalloc(size));

		touch(p, size);
		vfree(p);
	}
	report_items(state, 1);
}

static void page_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	for (int64_t size = 4 * KIB; size <= 64 * KIB; size *= 2)
		gb_arg(b, size);
	gb_arg(b, 131056);
}

/* What a program keeps for each of its clients, say: dear to make, and made the same way each time. */
struct session {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void *buckets[64];
	int requests;
};

static void construct(void *object)
{
	struct session *session = object;

	pthread_mutex_init(&session->lock, NULL);
	pthread_cond_init(&session->changed, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(session->buckets); i++)
		session->buckets[i] = &session->buckets[i];
	session->requests = 0;
}

/* As include/kmalloc/slab.h has it; here only to be handed on. */
struct cache_args {
	unsigned int align, useroffset, usersize, freeptr_offset;
	bool use_freeptr_offset;
	void (*ctor)(void *object);
	unsigned int sheaf_capacity;
};

static void run_cache_constructed(struct gb_state *state, void *arg)
{
	struct cache_args args = { .ctor = construct };
	struct kmem_cache *cache = must(cache_create("session", sizeof(struct session), &args, 0));

	GB_FOR(state) {
		struct session *session = must(cache_alloc(cache, GFP_KERNEL));

		session->requests++;
		gb_use(session);
		session->requests--;
		cache_free(cache, session);
	}
	cache_destroy(cache);
	report_items(state, 1);
}

static void run_malloc_initialised(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		struct session *session = must(malloc(sizeof(*session)));

		construct(session);
		session->requests++;
		gb_use(session);
		free(session);
	}
	report_items(state, 1);
}

/* All memory is given back before each iteration: what comes is fresh from the system. */
static always_inline void fresh(struct gb_state *state, bool cleared_by_us)
{
	size_t size = (size_t)gb_range(state, 0);
	void *live[NR_FRESH];

	GB_FOR(state) {
		gb_pause_timing(state);
		malloc_trim(0);
		gb_resume_timing(state);
		for (int i = 0; i < NR_FRESH; i++) {
			if (cleared_by_us)
				live[i] = memset(must(kmalloc_plain(size, GFP_KERNEL)), 0, size);
			else
				live[i] = must(kzalloc_plain(size, GFP_KERNEL));
			gb_use(live[i]);
		}
		gb_pause_timing(state);
		for (int i = 0; i < NR_FRESH; i++)
			kfree(live[i]);
		gb_resume_timing(state);
	}
	report_items(state, NR_FRESH);
}

static void run_kzalloc_fresh(struct gb_state *state, void *arg)
{
	fresh(state, false);
}

static void run_kmalloc_memset_fresh(struct gb_state *state, void *arg)
{
	fresh(state, true);
}

static void fresh_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	gb_arg(b, 4 * KIB);
	gb_arg(b, 16 * KIB);
	gb_arg(b, 64 * KIB);
}

const struct family kernel_families[] = {
	{ .name = "kmalloc",
	  .group = "kernel",
	  .item = "kmalloc/kfree pair",
	  .curve = "size",
	  .about = "kmalloc with GFP_KERNEL and kfree, sizes of 16 bytes to 64 KiB: malloc's own "
		   "hit path under another name. Good: no slower than kmalloc_malloc.",
	  .run = run_kmalloc,
	  .args = pair_args },
	{ .name = "kmalloc_malloc",
	  .group = "kernel",
	  .item = "malloc/free pair",
	  .curve = "size",
	  .about = "The same by malloc and free. Good: at the limit, as pair.",
	  .run = run_kmalloc_malloc,
	  .args = pair_args },
	{ .name = "kmalloc_atomic",
	  .group = "kernel",
	  .item = "kmalloc/kfree pair",
	  .curve = "size",
	  .about = "The same with GFP_ATOMIC: a hit looks at no flags. Good: as fast as kmalloc.",
	  .run = run_kmalloc_atomic,
	  .args = pair_args },
	{ .name = "kmalloc_pages",
	  .group = "kernel",
	  .item = "kmalloc/kfree pair",
	  .curve = "size",
	  .about =
		  "Objects of 4 KiB to kmalloc's limit, a byte per page written: contiguous memory "
		  "from a sheaf. Good: far below vmalloc_pages up to 32 KiB, where the writes begin to tell.",
	  .run = run_kmalloc_pages,
	  .args = page_args },
	{ .name = "vmalloc_pages",
	  .group = "kernel",
	  .item = "vmalloc/vfree pair",
	  .curve = "size",
	  .about =
		  "The same sizes as areas: found in a table, under a lock, with a guard page. Good: "
		  "no page faults, as freed areas wait for reuse.",
	  .run = run_vmalloc_pages,
	  .args = page_args },
	{ .name = "cache_constructed",
	  .group = "kernel",
	  .item = "alloc/free pair",
	  .about =
		  "An object of 600 bytes with a mutex, a condition and 64 list heads from a cache "
		  "with a constructor, which ran when its slab was made. Good: as fast as kmalloc.",
	  .run = run_cache_constructed },
	{ .name = "malloc_initialised",
	  .group = "kernel",
	  .item = "malloc/free pair",
	  .about = "The same object from malloc, initialised each time. Good: the initialisation "
		   "and no more.",
	  .run = run_malloc_initialised },
	{ .name = "kzalloc_fresh",
	  .group = "kernel",
	  .item = "kzalloc",
	  .curve = "size",
	  .about =
		  "kzalloc of memory that the system just gave: where it is known to be zero, it is "
		  "not cleared. Good: from 16 KiB on no page is touched, so far below "
		  "kmalloc_memset_fresh; at 4 KiB, where objects come in sheaves, the same.",
	  .run = run_kzalloc_fresh,
	  .args = fresh_args },
	{ .name = "kmalloc_memset_fresh",
	  .group = "kernel",
	  .item = "kmalloc and memset",
	  .curve = "size",
	  .about = "kmalloc of such memory, and a memset of it. Good: the page faults and a pass "
		   "over the memory.",
	  .run = run_kmalloc_memset_fresh,
	  .args = fresh_args },
	{ .name = NULL },
};

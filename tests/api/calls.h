/* SPDX-License-Identifier: MIT */
/*
 * calls.h - every call of the public headers once, in what C and C++ have in common, from a
 * program that is linked with the library. Ends the program with status 1 where a result is wrong.
 */
#ifndef API_CALLS_H
#define API_CALLS_H

#include <kmalloc/gfp.h>
#include <kmalloc/mempool.h>
#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* The compiler must not pair the calls of two families, nor drop any. */
static inline void *hide(void *ptr)
{
	__asm__ volatile("" : "+r"(ptr));
	return ptr;
}

struct item {
	long key;
	int values[];
};

static inline void call_kmalloc(void)
{
	char *text = kstrdup("text", GFP_KERNEL);
	struct item *item = kzalloc_flex(struct item, values, 10, GFP_KERNEL);
	long *many = (long *)kmalloc_array(100, sizeof(long), GFP_ATOMIC);
	void *objects[3] = { kmalloc(10, GFP_KERNEL), kcalloc(3, 5, GFP_KERNEL),
			     kmalloc_obj(long) };

	CHECK(text && item && objects[0] && objects[1] && objects[2]);
	many = (long *)krealloc_array(many, 200, sizeof(long), GFP_KERNEL);
	CHECK(many && ksize(many) >= 200 * sizeof(long));
	CHECK(item->key == 0 && item->values[9] == 0);
	CHECK(default_gfp() == GFP_KERNEL && default_gfp(GFP_NOWAIT) == GFP_NOWAIT);
	CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
	CHECK(kmalloc_size_roundup(100) == 112);
	kfree_bulk(3, objects);
	kfree_sensitive(text);
	kfree(item);
	kfree(many);
}

/* Objects of kmalloc() and malloc() are the same kind. */
static inline void mix_with_malloc(void)
{
	void *object = hide(kmalloc(100, GFP_KERNEL));

	CHECK(malloc_usable_size(object) == ksize(object) && ksize(object) == 112);
	free(object);
	object = hide(malloc(100));
	CHECK(ksize(object) == 112);
	kfree(object);
	object = hide(malloc(300000));
	CHECK(is_vmalloc_addr(object));
	kfree(object);
	object = hide(vmalloc(300000));
	free(object);
	object = hide(calloc(10, 10));
	object = hide(krealloc(object, 5000, GFP_KERNEL));
	object = hide(realloc(object, 100000));
	kvfree(object);
}

static inline void call_vmalloc(void)
{
	char *area = (char *)vmalloc(1000000), *zeroed = (char *)vzalloc(5000);

	CHECK(area && zeroed && zeroed[4999] == 0);
	area[999999] = 1;
	area = (char *)vrealloc(area, 3000000, GFP_KERNEL);
	CHECK(area && area[999999] == 1 && is_vmalloc_addr(area));
	vfree(area);
	kvfree(zeroed);
	area = (char *)kvmalloc(500, GFP_KERNEL);
	area = (char *)kvrealloc(area, 500000, GFP_KERNEL);
	CHECK(area && is_vmalloc_addr(area));
	kvfree_sensitive(area, 500000);
}

static inline void construct_item(void *object)
{
	((struct item *)object)->key = 7;
}

static inline void call_caches(void)
{
	struct kmem_cache_args args;
	struct kmem_cache *cache, *old;
	struct slab_sheaf *sheaf;
	void *objects[40];

	memset(&args, 0, sizeof(args));
	args.ctor = construct_item;
	cache = kmem_cache_create("item", sizeof(struct item) + 40, &args, SLAB_HWCACHE_ALIGN);
	old = kmem_cache_create("old", 500, 0, 0, NULL);
	CHECK(cache && old && kmem_cache_size(old) == 500);
	CHECK(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 40, objects));
	for (int i = 0; i < 40; i++)
		CHECK(((struct item *)objects[i])->key == 7);
	kmem_cache_free_bulk(cache, 40, objects);
	sheaf = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, 5);
	CHECK(kmem_cache_sheaf_size(sheaf) == 5);
	kmem_cache_free(cache, kmem_cache_alloc_from_sheaf(cache, GFP_NOWAIT, sheaf));
	kmem_cache_return_sheaf(cache, GFP_KERNEL, sheaf);
	kfree(kmem_cache_zalloc(old, GFP_KERNEL));
	CHECK(kmem_cache_shrink(old) == 0);
	CHECK(kmem_cache_shrink(cache) == 0);
	kmem_cache_destroy(cache);
	kmem_cache_destroy(old);
}

static inline void call_mempool(void)
{
	mempool_t *pool = mempool_create_kmalloc_pool(3, 100);
	void *element = mempool_alloc(pool, GFP_NOIO);

	CHECK(element && mempool_resize(pool, 5) == 0 && mempool_is_saturated(pool));
	mempool_free(element, pool);
	mempool_destroy(pool);
}

static inline void call_everything(void)
{
	call_kmalloc();
	mix_with_malloc();
	call_vmalloc();
	call_caches();
	call_mempool();
	puts("all calls are there");
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * prefill.c - sheaves that a caller fills beforehand, so that what follows cannot fail.
 *
 * Mirrors kmem_cache_prefill_sheaf() and its like in mm/slub.c. Difference: there a CPU's or the
 * barn's sheaf is lent out, if it is large enough; here the caller's is an array of its own, an object
 * of kmalloc() or an area, filled and emptied through the cache's usual paths. That costs a
 * few nanoseconds for each object and needs no limit of its size.
 *
 * A sheaf belongs to its caller; no locks, no state. Valid as the flags state.
 */
#include "kmalloc/slab.h"
#include "lib/compiler.h"

#include <errno.h>
#include <string.h>

struct slab_sheaf {
	struct kmem_cache *cache;
	unsigned size;	   /* objects in it, from the bottom */
	unsigned capacity; /* and at most */
	void *objects[];
};

/* Up to n objects in all. False: no memory; it is as it was. */
static bool fill(struct slab_sheaf *sheaf, gfp_t gfp, unsigned n)
{
	unsigned missing = n > sheaf->size ? n - sheaf->size : 0;

	if (!kmem_cache_alloc_bulk(sheaf->cache, gfp & ~__GFP_ZERO, missing,
				   &sheaf->objects[sheaf->size]))
		return false;
	sheaf->size += missing;
	return true;
}

static struct slab_sheaf *sheaf_alloc(struct kmem_cache *cache, gfp_t gfp, unsigned n)
{
	struct slab_sheaf *sheaf =
		kvmalloc(struct_size(sheaf, objects, n), gfp & ~(__GFP_ZERO | __GFP_ACCOUNT));

	if (likely(sheaf)) {
		sheaf->cache = cache;
		sheaf->size = 0;
		sheaf->capacity = n;
	}
	return sheaf;
}

exported struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *cache, gfp_t gfp,
						     unsigned int n)
{
	struct slab_sheaf *sheaf = sheaf_alloc(cache, gfp, n);

	if (likely(sheaf) && unlikely(!fill(sheaf, gfp, n))) {
		kvfree_atomic(sheaf);
		return NULL;
	}
	return sheaf;
}

exported int kmem_cache_refill_sheaf(struct kmem_cache *cache, gfp_t gfp,
				     struct slab_sheaf **sheafp, unsigned int n)
{
	struct slab_sheaf *old = sheafp ? *sheafp : NULL;
	struct slab_sheaf *sheaf = old;

	if (!old || old->cache != cache)
		return -EINVAL;
	if (n > old->capacity) {
		sheaf = sheaf_alloc(cache, gfp, n);
		if (!sheaf)
			return -ENOMEM;
		memcpy(sheaf->objects, old->objects, old->size * sizeof(void *));
		sheaf->size = old->size;
	}
	if (!fill(sheaf, gfp, n)) {
		if (sheaf != old)
			kvfree_atomic(sheaf);
		return -ENOMEM;
	}
	if (sheaf != old)
		kvfree_atomic(old);
	*sheafp = sheaf;
	return 0;
}

exported void kmem_cache_return_sheaf(struct kmem_cache *cache, gfp_t gfp, struct slab_sheaf *sheaf)
{
	(void)gfp;
	kmem_cache_free_bulk(cache, sheaf->size, sheaf->objects);
	kvfree_atomic(sheaf);
}

exported void *kmem_cache_alloc_from_sheaf(struct kmem_cache *cache, gfp_t gfp,
					   struct slab_sheaf *sheaf)
{
	void *object;

	if (unlikely(!sheaf->size))
		return NULL;
	object = sheaf->objects[--sheaf->size];
	if (gfp & __GFP_ZERO)
		memset(object, 0, kmem_cache_size(cache));
	return object;
}

exported unsigned int kmem_cache_sheaf_size(struct slab_sheaf *sheaf)
{
	return sheaf->size;
}

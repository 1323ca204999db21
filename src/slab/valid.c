/* SPDX-License-Identifier: MIT */
/*
 * valid.c - are slabs, sheaves and barns as their comments say?
 *
 * The kernel's counterparts are validate_slab() and on_freelist(). A cache is walked
 * by the owner map, since full slabs of most caches are on no list. Under the cache's lock everything about
 * slabs that it counts is exact. A slab between page/ and the cache (being made, or taken
 * apart) has its owner bytes too, and is changed without the lock; it has no object
 * out. So the map is asked for slabs with objects out alone, and the empty ones that are
 * counted are found on the partial list. An owner byte may be of the past when it is looked at:
 * a slab of this cache with an object out is one only the lock can change.
 *
 * An object in a sheaf is out of its slab, and its slab can't go meanwhile: so its bit can be
 * looked at without the cache's lock, whoever changes others.
 *
 * The marks of cached_objects_are_valid() are the bitmaps themselves: the bit of each cached object
 * is set, as if it were free; one that is set already stands in two places, or is free.
 */
#include "slab/valid.h"

#include "lib/bitmap.h"
#include "lib/valid.h"
#include "page/account.h"
#include "slab/account.h"
#include "slab/barn.h"
#include "slab/cache_internal.h"
#include "slab/slab.h"

static struct page *slab_of(const struct kmem_cache *cache, const void *object)
{
	return page_of_granule(page_granule_of(object) & ~((1UL << cache->order) - 1));
}

static unsigned index_of(const struct kmem_cache *cache, const void *object)
{
	size_t offset = (uintptr_t)object - (uintptr_t)page_address(slab_of(cache, object));

	return kmem_cache_object_index(cache, offset);
}

static bool object_is_valid(const struct kmem_cache *cache, const void *object, const char *where,
			    const void *holder)
{
	unsigned owner = page_owner(object);

	if (owner != cache->index)
		return invalid("%s: %s %p: object %p is of cache %u", cache->name, where, holder,
			       object, owner);
	if (slab_of(cache, object)->state != PAGE_SLAB || slab_of(cache, object)->cache != cache)
		return invalid("%s: %s %p: object %p is in no slab", cache->name, where, holder,
			       object);
	if (!kmem_cache_is_object(cache, object))
		return invalid("%s: %s %p: %p is not the start of an object", cache->name, where,
			       holder, object);
	if (bitmap_test(slab_of(cache, object)->bitmap, index_of(cache, object)))
		return invalid("%s: %s %p: object %p is free in its slab", cache->name, where,
			       holder, object);
	return true;
}

static bool sentinels_are_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf)
{
	void *sentinel = (void *)((uintptr_t)sheaf | SHEAF_SENTINEL);

	if (sheaf->slots[0] != sentinel)
		return invalid("%s: sheaf %p: lower sentinel is %p", cache->name,
			       (const void *)sheaf, sheaf->slots[0]);
	if (sheaf->slots[cache->capacity + 1] != sentinel)
		return invalid("%s: sheaf %p: upper sentinel is %p", cache->name,
			       (const void *)sheaf, sheaf->slots[cache->capacity + 1]);
	for (unsigned i = 1; i <= cache->capacity; i++)
		if (sheaf_is_sentinel(sheaf->slots[i]))
			return invalid("%s: sheaf %p: slot %u holds %p, a sentinel", cache->name,
				       (const void *)sheaf, i, sheaf->slots[i]);
	return true;
}

static bool objects_are_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf,
			      unsigned count)
{
	for (unsigned i = 1; i <= count; i++) {
		if (!object_is_valid(cache, sheaf->slots[i], "sheaf", sheaf))
			return false;
		for (unsigned j = 1; j < i; j++)
			if (sheaf->slots[j] == sheaf->slots[i])
				return invalid("%s: sheaf %p: object %p is in it twice",
					       cache->name, (const void *)sheaf, sheaf->slots[i]);
	}
	return true;
}

bool sheaf_shape_is_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf)
{
	void *const *bottom = &sheaf->slots[1];

	if (!sentinels_are_valid(cache, sheaf))
		return false;
	if (sheaf->top < bottom || sheaf->top > bottom + cache->capacity ||
	    (uintptr_t)sheaf->top % sizeof(void *))
		return invalid("%s: sheaf %p: top %p is outside", cache->name, (const void *)sheaf,
			       (const void *)sheaf->top);
	return true;
}

bool sheaf_is_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf)
{
	return sheaf_shape_is_valid(cache, sheaf) &&
	       objects_are_valid(cache, sheaf, sheaf_count(sheaf));
}

static bool barn_list_is_valid(const struct kmem_cache *cache, const struct slab_sheaf *list,
			       unsigned count, const char *kind, bool deep)
{
	unsigned found = 0;

	for (const struct slab_sheaf *sheaf = list; sheaf; sheaf = sheaf->next) {
		if (++found > count)
			return invalid("%s: barn: more %s sheaves than the %u counted", cache->name,
				       kind, count);
		if (deep && *kind == 'f' && !sheaf_is_valid(cache, sheaf))
			return false;
		if (deep && *kind == 'f' && sheaf_empty(sheaf))
			return invalid("%s: barn: full sheaf %p is empty", cache->name,
				       (const void *)sheaf);
		if (deep && *kind == 'e' && !sentinels_are_valid(cache, sheaf))
			return false;
	}
	if (found != count)
		return invalid("%s: barn: %u %s sheaves, %u counted", cache->name, found, kind,
			       count);
	return true;
}

bool barn_is_valid(const struct kmem_cache *cache, bool deep)
{
	const struct barn *barn = &cache->barn;

	if (barn->nr_full > cache->max_full || barn->nr_empty > BARN_MAX_EMPTY)
		return invalid("%s: barn: %u full and %u empty sheaves, %u and %u allowed",
			       cache->name, barn->nr_full, barn->nr_empty, cache->max_full,
			       BARN_MAX_EMPTY);
	if (barn->low_full > barn->nr_full)
		return invalid("%s: barn: %u full sheaves, and never less than %u", cache->name,
			       barn->nr_full, barn->low_full);
	return barn_list_is_valid(cache, barn->full, barn->nr_full, "full", deep) &&
	       barn_list_is_valid(cache, barn->empty, barn->nr_empty, "empty", deep);
}

static unsigned bits_set(const struct kmem_cache *cache, const struct page *slab)
{
	unsigned count = 0;

	for (unsigned i = 0; i < BITMAP_WORDS(cache->nr_objects); i++)
		count += (unsigned)__builtin_popcountl(slab->bitmap[i]);
	return count;
}

/* The first object from `from` on that is not free; nr_objects: none. */
static unsigned first_out(const struct kmem_cache *cache, const struct page *slab, unsigned from)
{
	for (unsigned i = from; i < cache->nr_objects;) {
		uint64_t out = ~slab->bitmap[i / 64] >> i % 64;

		if (out)
			return (unsigned)min_size(i + (unsigned)__builtin_ctzl(out),
						  cache->nr_objects);
		i = (i / 64 + 1) * 64;
	}
	return cache->nr_objects;
}

/* The bits past the last object, and those never handed out. */
static bool bitmap_is_valid(const struct kmem_cache *cache, const struct page *slab)
{
	unsigned words = BITMAP_WORDS(cache->nr_objects);

	if (cache->nr_objects % 64 && slab->bitmap[words - 1] >> cache->nr_objects % 64)
		return invalid("%s: slab %p: bits past object %u are set", cache->name,
			       page_address(slab), cache->nr_objects);
	if (bits_set(cache, slab) + slab->inuse != cache->nr_objects)
		return invalid("%s: slab %p: %u objects free and %u in use of %u", cache->name,
			       page_address(slab), bits_set(cache, slab), slab->inuse,
			       cache->nr_objects);
	if (slab->virgin > cache->nr_objects)
		return invalid("%s: slab %p: object %u is virgin", cache->name, page_address(slab),
			       slab->virgin);
	if (first_out(cache, slab, slab->virgin) != cache->nr_objects)
		return invalid("%s: slab %p: object %u is virgin and in use", cache->name,
			       page_address(slab), first_out(cache, slab, slab->virgin));
	return true;
}

static bool is_created(const struct kmem_cache *cache)
{
	return cache->flags & KMEM_CACHE_CREATED;
}

/* Objects whose free was put off are in use until they are reaped. */
static bool put_off_is_valid(const struct kmem_cache *cache, const struct page *slab)
{
	const _Atomic uint64_t *words;

	if (!is_created(cache))
		return true;
	words = slab_deferred_words(cache, slab);
	for (unsigned i = 0; i < BITMAP_WORDS(cache->nr_objects); i++)
		if (atomic_load_explicit(&words[i], memory_order_relaxed) & slab->bitmap[i])
			return invalid("%s: slab %p: an object is free, and its free was put off",
				       cache->name, page_address(slab));
	return true;
}

static bool on_list(const struct page *slab)
{
	return slab->list.next != &slab->list;
}

bool slab_is_valid(const struct kmem_cache *cache, const struct page *slab)
{
	if (page_state(slab) != PAGE_SLAB || slab->cache != cache)
		return invalid("%s: slab %p: state %u, of cache %p", cache->name,
			       page_address(slab), page_state(slab), (const void *)slab->cache);
	if (slab->order != cache->order || slab->granule & ((1U << slab->order) - 1))
		return invalid("%s: slab %p: granule %u, order %u", cache->name, page_address(slab),
			       slab->granule, slab->order);
	for (unsigned i = 0; i < 1U << slab->order; i++)
		if (window.kmap[slab->granule + i] != cache->index)
			return invalid("%s: slab %p: granule %u has owner %u", cache->name,
				       page_address(slab), slab->granule + i,
				       window.kmap[slab->granule + i]);
	if (!bitmap_is_valid(cache, slab))
		return false;
	if (on_list(slab) != (slab->inuse < cache->nr_objects || is_created(cache)))
		return invalid("%s: slab %p: %u of %u in use, and %s a list", cache->name,
			       page_address(slab), slab->inuse, cache->nr_objects,
			       on_list(slab) ? "on" : "not on");
	return put_off_is_valid(cache, slab);
}

struct walk {
	const struct kmem_cache *cache;
	size_t slabs, inuse, partial;
	bool valid;
};

static void walk_slab(struct walk *walk, const struct page *slab)
{
	/* of another cache, it may just be made */
	if (!__atomic_load_n(&slab->inuse, __ATOMIC_RELAXED) || page_state(slab) != PAGE_SLAB ||
	    __atomic_load_n(&slab->cache, __ATOMIC_RELAXED) != walk->cache)
		return;
	walk->valid = slab_is_valid(walk->cache, slab);
	walk->slabs++;
	walk->inuse += slab->inuse;
}

static bool partial_is_valid(const struct kmem_cache *cache, struct walk *walk)
{
	const struct page *slab;

	list_for_each_entry(slab, &cache->partial, list) {
		if (++walk->partial > cache->nr_partial || slab->list.next->prev != &slab->list)
			return invalid(
				"%s: partial list: damaged, or more slabs than the %u counted",
				cache->name, cache->nr_partial);
		if (page_state(slab) != PAGE_SLAB || slab->cache != cache)
			return invalid("%s: partial list: %p is no slab of this cache", cache->name,
				       (const void *)slab);
		if (!slab->inuse) {
			walk->valid = walk->valid && slab_is_valid(cache, slab);
			walk->slabs++;
		}
	}
	if (walk->partial != cache->nr_partial)
		return invalid("%s: partial list: %zu slabs, %u counted", cache->name,
			       walk->partial, cache->nr_partial);
	return true;
}

/* The full slabs, of which caches that were created keep a list. */
static bool full_is_valid(const struct kmem_cache *cache)
{
	size_t count = cache->nr_partial;
	const struct page *slab;

	if (!is_created(cache))
		return list_empty(&cache->full) ||
		       invalid("%s: it has a list of full slabs", cache->name);
	list_for_each_entry(slab, &cache->full, list) {
		if (++count > cache->nr_slabs || slab->list.next->prev != &slab->list)
			return invalid("%s: full list: damaged, or more slabs than the %u counted",
				       cache->name, cache->nr_slabs);
		if (page_state(slab) != PAGE_SLAB || slab->cache != cache ||
		    slab->inuse != cache->nr_objects)
			return invalid("%s: full list: %p is no full slab of this cache",
				       cache->name, (const void *)slab);
	}
	if (count != cache->nr_slabs)
		return invalid("%s: %zu slabs on its lists, %u counted", cache->name, count,
			       cache->nr_slabs);
	return true;
}

bool kmem_cache_is_valid(const struct kmem_cache *cache)
{
	size_t granules = __atomic_load_n(&window.nr_granules, __ATOMIC_ACQUIRE);
	struct walk walk = { cache, .valid = true };

	if (!partial_is_valid(cache, &walk) || !full_is_valid(cache))
		return false;
	for (size_t granule = 0; granule < granules && walk.valid; granule += 1UL << cache->order)
		if (__atomic_load_n(&window.kmap[granule], __ATOMIC_RELAXED) == cache->index)
			walk_slab(&walk, page_of_granule(granule));
	if (!walk.valid)
		return false;
	if (walk.slabs != cache->nr_slabs)
		return invalid("%s: %zu slabs, %u counted", cache->name, walk.slabs,
			       cache->nr_slabs);
	if (walk.inuse != cache->nr_inuse)
		return invalid("%s: %zu objects in use, %zu counted", cache->name, walk.inuse,
			       cache->nr_inuse);
	return true;
}

/* The sheaf that an area has at a word: `kind` is main, or tested. */
static bool top_is_valid(const struct kmem_cache *cache, uintptr_t word, const char *kind)
{
	void **top = (void **)word;
	unsigned count = 0;
	struct slab_sheaf *sheaf;

	if (!word || word % sizeof(void *))
		return invalid("%s: %s sheaf: top %p", cache->name, kind, (void *)top);
	while (count <= cache->capacity && !sheaf_is_sentinel(top[-1 - (ptrdiff_t)count]))
		count++;
	if (count > cache->capacity)
		return invalid("%s: %s sheaf: no sentinel below top %p", cache->name, kind,
			       (void *)top);
	sheaf = (struct slab_sheaf *)((uintptr_t)top[-1 - (ptrdiff_t)count] & ~SHEAF_SENTINEL);
	if (!sheaf && (count || !sheaf_is_sentinel(*top)))
		return invalid("%s: %s sheaf: %u objects in the empty one", cache->name, kind,
			       count);
	if (!sheaf)
		return true;
	if (&sheaf->slots[1 + count] != top)
		return invalid("%s: %s sheaf %p: top %p, and %u objects", cache->name, kind,
			       (void *)sheaf, (void *)top, count);
	return sentinels_are_valid(cache, sheaf) && objects_are_valid(cache, sheaf, count);
}

bool percpu_area_is_valid(const uintptr_t *area)
{
	if (area[PERCPU_MAIN] != percpu.empty[PERCPU_MAIN] || area[PERCPU_SPARE] ||
	    area[PERCPU_TESTED] != percpu.empty[PERCPU_TESTED])
		return invalid("area %p: slot 0 is in use", (const void *)area);
	for (unsigned i = 1; i < KMEM_CACHE_SHARED; i++) {
		const struct kmem_cache *cache = &kmem_caches[i];
		uintptr_t spare = area[PERCPU_SPARE + i];
		const struct slab_sheaf *sheaf = (struct slab_sheaf *)(spare & ~SPARE_FULL);

		if (!top_is_valid(cache, area[PERCPU_MAIN + i], "main") ||
		    !top_is_valid(cache, area[PERCPU_TESTED + i], "tested"))
			return false;
		if (sheaf && !sentinels_are_valid(cache, sheaf))
			return false;
		if (spare & SPARE_FULL && !objects_are_valid(cache, sheaf, cache->capacity))
			return false;
	}
	return true;
}

/* What each word of the area of none is. */
static uintptr_t empty_word(size_t word)
{
	bool top = word < PERCPU_SPARE || (word >= PERCPU_TESTED && word < PERCPU_COUNTDOWN);

	return top ? percpu.empty[PERCPU_MAIN] : 0;
}

bool percpu_is_valid(void)
{
	for (size_t word = 0; word < PERCPU_WORDS; word++)
		if (percpu.empty[word] != empty_word(word))
			return invalid("area of none: word %zu is %lx", word, percpu.empty[word]);
	for (unsigned index = 0; index < percpu_nr_areas(); index++)
		if (percpu_area(index) && !percpu_area_is_valid(percpu_area(index)))
			return false;
	return true;
}

struct marks {
	bool set; /* false: take them away */
	bool valid;
};

static void mark_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, unsigned count,
		       void *arg)
{
	struct marks *marks = arg;

	for (unsigned i = 1; i <= count && marks->valid; i++) {
		void *object = sheaf->slots[i];
		struct page *slab = slab_of(cache, object);

		if (!marks->set)
			bitmap_clear(slab->bitmap, index_of(cache, object));
		else if (bitmap_test(slab->bitmap, index_of(cache, object)))
			marks->valid = invalid("%s: sheaf %p: object %p is in another sheaf too",
					       cache->name, (void *)sheaf, object);
		else
			bitmap_set(slab->bitmap, index_of(cache, object));
	}
}

/* What is on the deferred lists; off them meanwhile, as they are taken without a lock. */
static void take_deferred(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (unsigned slot = 0; slot < KMEM_CACHES_MAX; slot++)
		lists[slot] = atomic_exchange(&kmem_caches[slot].deferred, NULL);
}

static void put_deferred(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (unsigned slot = 0; slot < KMEM_CACHES_MAX; slot++) {
		while (lists[slot]) {
			struct slab_sheaf *sheaf = lists[slot];

			lists[slot] = sheaf->next;
			kmem_cache_defer_sheaf(&kmem_caches[slot], sheaf);
		}
	}
}

static void mark_all(struct marks *marks, struct slab_sheaf *const deferred[KMEM_CACHES_MAX])
{
	percpu_walk(mark_sheaf, marks);
	for_each_kmem_cache(cache)
	{
		for (struct slab_sheaf *sheaf = cache->barn.full; sheaf; sheaf = sheaf->next)
			mark_sheaf(cache, sheaf, sheaf_count(sheaf), marks);
	}
	for (unsigned slot = 0; slot < KMEM_CACHES_MAX; slot++)
		for (struct slab_sheaf *sheaf = deferred[slot]; sheaf; sheaf = sheaf->next)
			mark_sheaf(&kmem_caches[slot], sheaf, sheaf_count(sheaf), marks);
}

bool cached_objects_are_valid(void)
{
	struct slab_sheaf *deferred[KMEM_CACHES_MAX];
	struct marks marks = { true, true };

	take_deferred(deferred);
	mark_all(&marks, deferred);
	if (marks.valid) {
		marks.set = false;
		mark_all(&marks, deferred);
	}
	put_deferred(deferred);
	return marks.valid;
}

static bool lock_if_free(struct lock *lock)
{
	if (lock_is_mine(lock))
		return false;
	lock_acquire(lock);
	return true;
}

bool kmem_caches_are_valid(void)
{
	for_each_kmem_cache(cache)
	{
		bool taken = lock_if_free(&cache->barn.lock), valid;

		valid = barn_is_valid(cache, true);
		if (taken)
			lock_release(&cache->barn.lock);
		taken = lock_if_free(&cache->lock);
		valid = valid && kmem_cache_is_valid(cache);
		if (taken)
			lock_release(&cache->lock);
		if (!valid)
			return false;
	}
	return true;
}

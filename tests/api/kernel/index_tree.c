/* SPDX-License-Identifier: MIT */
/*
 * A radix tree of 64 slots a node, its nodes from a cache with a constructor: a node is given back
 * empty, as it was made. Nodes are set aside before the tree is changed, so that an
 * insertion cannot fail half way. Written as for the kernel.
 */
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/slab.h>

#include "kernel.h"

#define NODE_SHIFT 6
#define NODE_SLOTS (1UL << NODE_SHIFT)
#define LEVELS 5

struct tree_node {
	unsigned int count;
	void *slots[NODE_SLOTS];
};

static struct kmem_cache *node_cache;
static struct tree_node *root;

static void node_construct(void *object)
{
	struct tree_node *node = object;

	node->count = 0;
	for (unsigned long i = 0; i < NODE_SLOTS; i++)
		node->slots[i] = NULL;
}

int tree_init(void)
{
	node_cache = kmem_cache_create("index_tree_node", sizeof(struct tree_node), 0, SLAB_PANIC,
				       node_construct);
	root = kmem_cache_alloc(node_cache, GFP_KERNEL);
	return root ? 0 : -ENOMEM;
}

static unsigned long slot_of(unsigned long index, int level)
{
	return (index >> (level * NODE_SHIFT)) & (NODE_SLOTS - 1);
}

int tree_insert(unsigned long index, void *item)
{
	struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(node_cache, GFP_KERNEL, LEVELS);
	struct tree_node *node = root;
	int err = 0;

	if (!sheaf)
		return -ENOMEM;
	for (int level = LEVELS - 1; level > 0; level--) {
		void **slot = &node->slots[slot_of(index, level)];

		if (!*slot) {
			*slot = kmem_cache_alloc_from_sheaf(node_cache, GFP_NOWAIT, sheaf);
			BUG_ON(!*slot);
			node->count++;
		}
		node = *slot;
		WARN_ON_ONCE(node->count > NODE_SLOTS);
	}
	if (node->slots[slot_of(index, 0)]) {
		err = -EEXIST;
	} else {
		node->slots[slot_of(index, 0)] = item;
		node->count++;
	}
	kmem_cache_return_sheaf(node_cache, GFP_KERNEL, sheaf);
	return err;
}

void *tree_lookup(unsigned long index)
{
	struct tree_node *node = root;

	for (int level = LEVELS - 1; level > 0 && node; level--)
		node = node->slots[slot_of(index, level)];
	return node ? node->slots[slot_of(index, 0)] : NULL;
}

/* Take an item out; nodes that become empty go back, as their constructor left them. */
void *tree_erase(unsigned long index)
{
	struct tree_node *path[LEVELS] = { [LEVELS - 1] = root };
	void *item;

	for (int level = LEVELS - 1; level > 0; level--) {
		path[level - 1] = path[level]->slots[slot_of(index, level)];
		if (!path[level - 1])
			return NULL;
	}
	item = path[0]->slots[slot_of(index, 0)];
	if (!item)
		return NULL;
	for (int level = 0; level < LEVELS; level++) {
		path[level]->slots[slot_of(index, level)] = NULL;
		if (--path[level]->count || level == LEVELS - 1)
			break;
		kmem_cache_free(node_cache, path[level]);
	}
	return item;
}

/* All items must be out. */
void tree_exit(void)
{
	BUG_ON(root->count);
	kmem_cache_free(node_cache, root);
	kmem_cache_destroy(node_cache);
}

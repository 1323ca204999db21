/* SPDX-License-Identifier: MIT */
/*
 * depot.c - call stacks, each once.
 *
 * The kernel's counterpart is lib/stackdepot.c: a stack has a number, so that an event has room for it. Differences: stacks are a
 * tree of frames, so that one that differs from the last by its innermost frames costs a look for each of these; nothing is
 * evicted; the reader is another process, which reads the nodes (format.h).
 *
 * To get a node: 1. look through the bucket of its parent and address; there as a rule. Else 2. a number, by compare-and-swap of
 * `used`; 3. fill the node in; 4. compare-and-swap of the bucket's first, from what was seen in 1. If that fails somebody else
 * was faster, perhaps with the same node: look through what has come since, then 4 again. A node that is found to be there by then
 * leaves its own unused; one that a thread never gets to link (a handler that leaves by longjmp) too. No locks; any context.
 *
 * Beside the nodes are the rules for unwinding (unwind.c) and what threads remember of their last stack (stack.c). A
 * memo is taken for as long as a stack is walked, by compare-and-swap, the thread's own as a rule. A handler
 * that interrupts that takes another one; one that leaves by longjmp leaves it taken, until somebody has the place on its stack
 * by which the memo was taken: then the holder is known to be gone, and what is in the memo is forgotten.
 *
 * The end of tracing gives the pages back while others may be in any of these steps. So a number that was given out is never given out
 * again: `used` stays. Whoever reads a node that has become zeros finds none, and no next one. Memos that are in use are
 * let be; a memo says in which session it was filled. A depot that is half used up is replaced when tracing starts again; its
 * addresses stay, as others may still look. A thread that stands still between getting its number and writing its event, while tracing
 * ends and begins again with another depot, writes a number that is another stack there; nothing but this event is wrong.
 */
#include "trace/depot.h"

#include "os/os.h"

#include <string.h>

#define PAGE 4096UL
#define NR_BUCKETS (1U << 18)
#define NR_MEMOS 256U
#define MEMO_TRIES 8U
#define SESSION_NONE UINT64_MAX
#define NR_NODES_MAX (1UL << 23)
#define NR_NODES_MIN (1UL << 16)

/* Pages of a depot: the header is never given back. */
#define BUCKETS_AT PAGE
#define RULES_AT (BUCKETS_AT + NR_BUCKETS * sizeof(uint32_t))
#define MEMOS_AT (RULES_AT + UNWIND_RULES * sizeof(uint64_t))
#define MEMO_BYTES ((sizeof(struct stack_memo) + PAGE - 1) & ~(PAGE - 1))
#define NODES_AT (MEMOS_AT + NR_MEMOS * MEMO_BYTES)

static uint32_t nr_changes; /* of modules, that this process made */

static void *part(struct trace_depot *depot, size_t offset)
{
	return (char *)depot + offset;
}

static struct trace_node *node_at(struct trace_depot *depot, uint32_t number)
{
	return (struct trace_node *)part(depot, NODES_AT) + number;
}

static uint32_t *bucket_of(struct trace_depot *depot, uint32_t parent, uintptr_t ip)
{
	uint64_t hash = (ip ^ (uint64_t)parent << 40 ^ parent) * 0x9e3779b97f4a7c15UL;

	return (uint32_t *)part(depot, BUCKETS_AT) + (hash >> 40) % NR_BUCKETS;
}

/* From `number` on, before `end`; 0: it is not there. */
static uint32_t find_node(struct trace_depot *depot, uint32_t number, uint32_t end, uint32_t parent,
			  uintptr_t ip)
{
	while (number && number != end) {
		const struct trace_node *node = node_at(depot, number);

		if (node->ip == ip && node->parent == parent)
			return number;
		number = node->next;
	}
	return 0;
}

static uint32_t take_number(struct trace_depot *depot)
{
	uint64_t used = __atomic_load_n(&depot->used, __ATOMIC_RELAXED);

	do {
		if (used >= depot->nr_nodes)
			return 0;
	} while (!__atomic_compare_exchange_n(&depot->used, &used, used + 1, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return (uint32_t)used;
}

static cold_path uint32_t add_node(struct trace_depot *depot, uint32_t *bucket, uint32_t first,
				   uint32_t parent, uintptr_t ip)
{
	uint32_t number = take_number(depot), seen, found;
	struct trace_node *node = node_at(depot, number);

	if (!number)
		return 0;
	node->parent = parent;
	/* last: the reader takes it for a node by that */
	__atomic_store_n(&node->ip, ip, __ATOMIC_RELEASE);
	for (;;) {
		node->next = seen = first;
		/* pairs with the load of the bucket in depot_node() */
		if (__atomic_compare_exchange_n(bucket, &first, number, false, __ATOMIC_RELEASE,
						__ATOMIC_ACQUIRE))
			return number;
		found = find_node(depot, first, seen, parent, ip);
		if (found)
			return found;
	}
}

uint32_t depot_node(struct trace_depot *depot, uint32_t parent, uintptr_t ip)
{
	uint32_t *bucket = bucket_of(depot, parent, ip);
	uint32_t first = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
	uint32_t found = find_node(depot, first, 0, parent, ip);

	return likely(found) ? found : add_node(depot, bucket, first, parent, ip);
}

uint64_t *depot_rules(struct trace_depot *depot)
{
	return part(depot, RULES_AT);
}

/* Rules that may be those of modules which are gone; memos have them too. */
static cold_path void forget_rules(struct trace_depot *depot, uint64_t maps, gfp_t gfp)
{
	const size_t bytes = UNWIND_RULES * sizeof(uint64_t);

	if (!gfpflags_allow_blocking(gfp) || os_discard(depot_rules(depot), bytes) != 0)
		memset(depot_rules(depot), 0, bytes);
	__atomic_fetch_add(&depot->session, 1, __ATOMIC_RELEASE);
	/* last: until then others do it again */
	__atomic_store_n(&depot->rules_of, maps, __ATOMIC_RELEASE);
}

static void update_rules(struct trace_depot *depot, gfp_t gfp)
{
	uint64_t maps = (uint64_t)__atomic_load_n(&nr_changes, __ATOMIC_RELAXED) << 32 |
			__atomic_load_n(&trace_control.maps, __ATOMIC_RELAXED);

	if (unlikely(maps != __atomic_load_n(&depot->rules_of, __ATOMIC_RELAXED)))
		forget_rules(depot, maps, gfp);
}

void trace_modules_changed(void)
{
	__atomic_fetch_add(&nr_changes, 1, __ATOMIC_RELAXED);
}

static struct stack_memo *memo_at(struct trace_depot *depot, uint64_t number)
{
	return part(depot, MEMOS_AT + number % NR_MEMOS * MEMO_BYTES);
}

static bool try_take(struct stack_memo *memo, uintptr_t here)
{
	uintptr_t holder = 0;

	if (likely(__atomic_compare_exchange_n(&memo->busy, &holder, here, false, __ATOMIC_ACQUIRE,
					       __ATOMIC_RELAXED)))
		return true;
	if (likely(holder != here))
		return false;
	/* what the holder was writing may be half of it */
	memo->session = SESSION_NONE;
	return true;
}

struct stack_memo *depot_take_memo(struct trace_depot *depot, uintptr_t here, gfp_t gfp)
{
	uint64_t self = (uintptr_t)__builtin_thread_pointer() * 0x9e3779b97f4a7c15UL >> 32;
	uint64_t session;

	update_rules(depot, gfp);
	session = __atomic_load_n(&depot->session, __ATOMIC_ACQUIRE);
	for (uint64_t i = self; i < self + MEMO_TRIES; i++) {
		struct stack_memo *memo = memo_at(depot, i);

		if (!try_take(memo, here))
			continue;
		if (unlikely(memo->session != session)) {
			memo->session = session;
			stack_forget(memo);
		}
		return memo;
	}
	return NULL;
}

void depot_put_memo(struct stack_memo *memo)
{
	__atomic_store_n(&memo->busy, 0, __ATOMIC_RELEASE);
}

void trace_depot_create(bool replace)
{
	struct trace_depot *depot = depot_now();

	if (depot && (!replace || depot->used < depot->nr_nodes / 2))
		return;
	for (size_t nr = NR_NODES_MAX; nr >= NR_NODES_MIN; nr /= 2) {
		depot = os_map(NODES_AT + nr * sizeof(struct trace_node));
		if (!depot)
			continue;
		depot->nodes = NODES_AT;
		depot->nr_nodes = nr;
		depot->used = TRACE_NODE_CUT + 1;
		depot->session = 1;
		__atomic_store_n(&trace_control.depot, (uintptr_t)depot, __ATOMIC_RELEASE);
		return;
	}
}

void trace_depot_discard(void)
{
	struct trace_depot *depot = depot_now();

	if (!depot)
		return;
	os_discard(part(depot, BUCKETS_AT), MEMOS_AT - BUCKETS_AT);
	os_discard(part(depot, NODES_AT), align_up(depot->used * sizeof(struct trace_node), PAGE));
	__atomic_fetch_add(&depot->session, 1, __ATOMIC_RELEASE);
	for (uint64_t i = 0; i < NR_MEMOS; i++) {
		struct stack_memo *memo = memo_at(depot, i);

		if (!memo->session || !try_take(memo, (uintptr_t)&memo))
			continue;
		/* with the first page, the last to go, goes that it is taken */
		os_discard((char *)memo + PAGE, MEMO_BYTES - PAGE);
		os_discard(memo, PAGE);
	}
}

void trace_depot_fork_child(void)
{
	trace_depot_discard();
	trace_control.want_stacks = 0;
	trace_control.depot = 0;
}

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
 * Beside the nodes are the rules for unwinding (unwind.c) and what threads remember of their last stack (stack.c), in memos, which
 * are taken for as long as a stack is looked for. A thread has one of its own from its first stack on, which nobody else writes to
 * but a thread that has the same place later, when this one is gone: so it is taken by a compare-and-swap without the lock
 * prefix, which is one instruction to handlers and to user-level threads that a handler switches between. A handler that moves
 * what it interrupted to another of the system's threads, amid a call, is not provided for, here as little as by the C library (errno).
 * A handler that finds its thread's memo taken, and a thread that got none, take one of those that all share, by compare-and-swap.
 * A handler that leaves by longjmp leaves its memo taken, until somebody has the place on its stack by which the memo was taken:
 * then the holder is known to be gone, and what is in the memo is forgotten. Nothing else tells: that this thread has none of this
 * depot may be because it has got one of the next depot meanwhile.
 *
 * The end of tracing gives the pages back while others may be in any of these steps. So a number that was given out is never given out
 * again: `used` stays. Whoever reads a node that has become zeros finds none, and no next one. Memos that are in use are
 * let be; a memo says in which session it was filled. For that of a thread:
 *
 *	its thread:	1. busy = here			the end:	1. is_closed = true
 *			2. is_closed? then busy = 0,			2. membarrier
 *			   and a shared one			3. busy? then let it be
 *
 * A thread that did not see it closed in its step 2 did its step 1 before the barrier, which makes that seen in step 3. Its first page
 * stays, for the thread's next look at it. Without membarrier all stay.
 *
 * A depot that is half used up is replaced when tracing starts again; its
 * addresses stay, as others may still look. A thread that stands still between getting its number and writing its event, while tracing
 * ends and begins again with another depot, writes a number that is another stack there; nothing but this event is wrong.
 */
#include "trace/depot.h"

#include "os/os.h"

#include <string.h>

#define NR_SHARED_MEMOS (DEPOT_NR_MEMOS - DEPOT_NR_OWN_MEMOS)
#define MEMO_TRIES 8U
#define SESSION_NONE UINT64_MAX
#define NR_NODES_MAX (1UL << 23)
#define NR_NODES_MIN (1UL << 16)

_Thread_local struct stack_memo *depot_own initial_exec;
/* The depot that had no memo left for this thread: none is given back. */
static _Thread_local struct trace_depot *depot_without_own initial_exec;
uint32_t depot_module_changes;

static void *part(struct trace_depot *depot, size_t offset)
{
	return (char *)depot + offset;
}

static struct trace_node *node_at(struct trace_depot *depot, uint32_t number)
{
	return (struct trace_node *)part(depot, DEPOT_NODES_AT) + number;
}

static uint32_t *bucket_of(struct trace_depot *depot, uint32_t parent, uintptr_t ip)
{
	uint64_t hash = (ip ^ (uint64_t)parent << 40 ^ parent) * 0x9e3779b97f4a7c15UL;

	return (uint32_t *)part(depot, DEPOT_BUCKETS_AT) + (hash >> 40) % DEPOT_NR_BUCKETS;
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

void depot_update_rules_slow(struct trace_depot *depot, uint64_t maps, gfp_t gfp)
{
	const size_t bytes = UNWIND_RULES * sizeof(uint64_t);

	if (!gfpflags_allow_blocking(gfp) || os_discard(depot_rules(depot), bytes) != 0)
		memset(depot_rules(depot), 0, bytes);
	__atomic_fetch_add(&depot->session, 1, __ATOMIC_RELEASE);
	/* last: until then others do it again */
	__atomic_store_n(&depot->rules_of, maps, __ATOMIC_RELEASE);
}

void trace_modules_changed(void)
{
	__atomic_fetch_add(&depot_module_changes, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&trace_control.loading, 1, __ATOMIC_RELAXED);
}

static struct stack_memo *memo_at(struct trace_depot *depot, uint64_t number)
{
	return part(depot, DEPOT_MEMOS_AT + number * DEPOT_MEMO_BYTES);
}

static uintptr_t this_thread(void)
{
	return (uintptr_t)__builtin_thread_pointer();
}

/* Where a thread begins to look. */
static uint64_t memo_hash(void)
{
	return this_thread() * 0x9e3779b97f4a7c15UL >> 32;
}

/* What the holder was writing may be half of it. */
static struct stack_memo *forgotten(struct stack_memo *memo)
{
	memo->session = SESSION_NONE;
	return memo;
}

static struct stack_memo *take_shared(struct trace_depot *depot, uintptr_t here)
{
	uint64_t first = memo_hash();

	for (uint64_t i = first; i < first + MEMO_TRIES; i++) {
		struct stack_memo *memo = memo_at(depot, DEPOT_NR_OWN_MEMOS + i % NR_SHARED_MEMOS);
		uintptr_t holder = 0;

		if (__atomic_compare_exchange_n(&memo->busy, &holder, here, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return memo;
		if (holder == here)
			return forgotten(memo);
	}
	return NULL;
}

/*
 * This thread has none of this depot yet. One that says that it is this thread's is of a thread that is gone, or of whoever came in
 * between here: if it is taken, it stays so until its holder's place tells. False: none is free.
 */
static bool get_own(struct trace_depot *depot)
{
	uint64_t first = memo_hash();

	for (uint64_t i = first; i < first + MEMO_TRIES; i++) {
		struct stack_memo *memo = memo_at(depot, i % DEPOT_NR_OWN_MEMOS);
		uintptr_t owner = __atomic_load_n(&memo->owner, __ATOMIC_RELAXED);

		if (!owner)
			__atomic_compare_exchange_n(&memo->owner, &owner, this_thread(), false,
						    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
		if (owner && owner != this_thread())
			continue;
		__atomic_store_n(&depot_own, memo, __ATOMIC_RELAXED);
		return true;
	}
	depot_without_own = depot;
	return false;
}

struct stack_memo *depot_take_memo_slow(struct trace_depot *depot, uintptr_t here)
{
	struct stack_memo *memo;

	if (!depot_has_memo(depot, depot_own) && depot_without_own != depot && get_own(depot)) {
		memo = depot_take_own(depot, here);
		if (memo)
			return memo;
	}
	memo = __atomic_load_n(&depot_own, __ATOMIC_RELAXED);
	if (depot_has_memo(depot, memo) && memo->busy == here)
		return forgotten(memo);
	return take_shared(depot, here);
}

void depot_renew_memo(struct stack_memo *memo, uint64_t session)
{
	memo->session = session;
	stack_forget(memo);
}

void trace_depot_create(bool replace)
{
	struct trace_depot *depot = depot_now();

	if (depot && (!replace || depot->used < depot->nr_nodes / 2))
		return;
	for (size_t nr = NR_NODES_MAX; nr >= NR_NODES_MIN; nr /= 2) {
		depot = os_map(DEPOT_NODES_AT + nr * sizeof(struct trace_node));
		if (!depot)
			continue;
		depot->nodes = DEPOT_NODES_AT;
		depot->nr_nodes = nr;
		depot->used = TRACE_NODE_CUT + 1;
		depot->session = 1;
		__atomic_store_n(&trace_control.depot, (uintptr_t)depot, __ATOMIC_RELEASE);
		return;
	}
}

static void close_own(struct trace_depot *depot, bool is_closed)
{
	for (uint64_t i = 0; i < DEPOT_NR_OWN_MEMOS; i++)
		if (memo_at(depot, i)->owner)
			__atomic_store_n(&memo_at(depot, i)->is_closed, is_closed,
					 __ATOMIC_RELEASE);
}

static void discard_own(struct trace_depot *depot)
{
	bool is_safe;

	close_own(depot, true);
	is_safe = os_membarrier_rseq() == 0;
	for (uint64_t i = 0; is_safe && i < DEPOT_NR_OWN_MEMOS; i++) {
		struct stack_memo *memo = memo_at(depot, i);

		if (!memo->is_closed || __atomic_load_n(&memo->busy, __ATOMIC_ACQUIRE))
			continue;
		memo->session = 0;
		os_discard((char *)memo + DEPOT_PAGE, DEPOT_MEMO_BYTES - DEPOT_PAGE);
	}
	close_own(depot, false);
}

static void discard_shared(struct trace_depot *depot)
{
	for (uint64_t i = DEPOT_NR_OWN_MEMOS; i < DEPOT_NR_MEMOS; i++) {
		struct stack_memo *memo = memo_at(depot, i);
		uintptr_t holder = 0;

		if (!memo->session ||
		    !__atomic_compare_exchange_n(&memo->busy, &holder, (uintptr_t)&memo, false,
						 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		/* with the first page, the last to go, goes that it is taken */
		if (os_discard((char *)memo + DEPOT_PAGE, DEPOT_MEMO_BYTES - DEPOT_PAGE) == 0 &&
		    os_discard(memo, DEPOT_PAGE) == 0)
			continue;
		/* they are locked (mlock(2)) */
		depot_put_memo(forgotten(memo));
	}
}

void trace_depot_discard(void)
{
	struct trace_depot *depot = depot_now();

	if (!depot)
		return;
	os_discard(depot_rules(depot), DEPOT_MEMOS_AT - DEPOT_RULES_AT);
	os_discard(part(depot, DEPOT_NODES_AT),
		   align_up(depot->used * sizeof(struct trace_node), DEPOT_PAGE));
	__atomic_fetch_add(&depot->session, 1, __ATOMIC_RELEASE);
	discard_own(depot);
	discard_shared(depot);
}

void trace_depot_fork_child(void)
{
	trace_depot_discard();
	trace_control.want_stacks = 0;
	trace_control.depot = 0;
}

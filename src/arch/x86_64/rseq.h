/* SPDX-License-Identifier: MIT */
/*
 * rseq.h - restartable sequences on per-CPU words, x86-64.
 *
 * Used as the kernel documents it (Documentation/userspace-api/rseq.rst): the
 * registration is glibc's; no field but rseq_cs is ever written; the index is
 * read afresh inside each sequence; each sequence ends with one committing
 * store; nothing is called, and no system call is made, inside. The kernel
 * jumps to the abort address, which is preceded by the signature, when the
 * thread is preempted, migrated or gets a signal between the label 1 and the
 * commit; every sequence then starts over from its beginning.
 * rseq_cs is left set at the end, as the ABI allows: its descriptor is in a
 * library that is never unloaded (-z nodelete).
 *
 * A per-CPU area is an array of words. Two tables of 8-byte offsets, indexed by
 * the rseq index, say where each CPU's area is relative to `base`, itself the
 * shared all-empty area: offset 0 is "no area here", and takes no test. An
 * index at or above RSEQ_NR_CPUS (an unregistered thread has -1) is a miss.
 *
 * Where the ids are: offsets from the thread pointer in rseq_abi. Before
 * start-up, and in locked mode, they lead to a private dummy whose index is -1:
 * every sequence then misses. So there is no mode to test either.
 *
 * The word `top` of a sheaf: both ends of its array hold a sentinel with bit 0
 * set, objects have it clear. top[-1] is the next object to pop, top[0]
 * the next slot to fill.
 */
#ifndef ARCH_RSEQ_H
#define ARCH_RSEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSEQ_NR_CPUS 8192
#define RSEQ_SIGNATURE "0x53053053"

/* Offsets of the fields from the thread pointer; written at start-up only. */
struct rseq_abi {
	ptrdiff_t cs;	 /* of rseq_cs */
	ptrdiff_t index; /* of cpu_id or mm_cid */
};

extern struct rseq_abi rseq_abi __attribute__((visibility("hidden")));

/*
 * Prologue: describe the sequence 1..2 with abort address 4, arm it, load the
 * area of this CPU into %[area]; leaves to label `miss` for an index without a
 * table entry.
 */
#define RSEQ_BEGIN                                                                                 \
	".pushsection __rseq_cs, \"aw\"\n\t"                                                       \
	".balign 32\n"                                                                             \
	"3:\n\t"                                                                                   \
	".long 0, 0\n\t"                                                                           \
	".quad 1f, 2f - 1f, 4f\n\t"                                                                \
	".popsection\n\t"                                                                          \
	".pushsection __rseq_cs_ptr_array, \"aw\"\n\t"                                             \
	".quad 3b\n\t"                                                                             \
	".popsection\n\t"                                                                          \
	".pushsection __rseq_failure, \"ax\"\n\t"                                                  \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                               \
	".long " RSEQ_SIGNATURE "\n"                                                               \
	"4:\n\t"                                                                                   \
	"jmp 0f\n\t"                                                                               \
	".popsection\n"                                                                            \
	"0:\n\t"                                                                                   \
	"leaq 3b(%%rip), %[area]\n\t"                                                              \
	"movq %[area], %%fs:(%[cs])\n"                                                             \
	"1:\n\t"                                                                                   \
	"movl %%fs:(%[index]), %k[area]\n\t"                                                       \
	"cmpl %[nr_cpus], %k[area]\n\t"                                                            \
	"jae %l[miss]\n\t"                                                                         \
	"movq %c[table](%[base], %[area], 8), %[area]\n\t"                                         \
	"addq %[base], %[area]\n\t"

#define RSEQ_END "\n2:\n\t"

#define RSEQ_INPUTS(base_, table_)                                                                 \
	[cs] "r"(rseq_abi.cs), [index] "r"(rseq_abi.index), [base] "r"(base_),                     \
		[table] "i"(table_), [nr_cpus] "i"(RSEQ_NR_CPUS)

/*
 * Pop the object on top of sheaf `slot` of this CPU.
 *
 *	top = area[slot];
 *	object = top[-1];
 *	if (object & 1) miss;
 *	commit: area[slot] = top - 1;
 *
 * The result is undefined on a miss.
 */
static inline __attribute__((__always_inline__)) bool rseq_pop(const void *base, size_t table,
							       size_t slot, void **result)
{
	uintptr_t area, top;
	void *object;

	__asm__ __volatile__ goto(RSEQ_BEGIN "movq (%[area], %[slot], 8), %[top]\n\t"
					     "movq -8(%[top]), %[object]\n\t"
					     "testb $1, %b[object]\n\t"
					     "jnz %l[miss]\n\t"
					     "subq $8, %[top]\n\t"
					     "movq %[top], (%[area], %[slot], 8)" RSEQ_END
				  : [area] "=&r"(area), [top] "=&r"(top), [object] "=&r"(object)
				  : RSEQ_INPUTS(base, table), [slot] "r"(slot)
				  : "memory", "cc"
				  : miss);
	*result = object;
	return true;
miss:
	return false;
}

/*
 * Push an object onto sheaf `slot` of this CPU.
 *
 *	top = area[slot];
 *	if (top[0] & 1) miss;
 *	top[0] = object;	(above the top: nobody looks before the commit)
 *	commit: area[slot] = top + 1;
 */
static inline __attribute__((__always_inline__)) bool rseq_push(const void *base, size_t table,
								size_t slot, void *object)
{
	uintptr_t area, top;

	__asm__ __volatile__ goto(RSEQ_BEGIN "movq (%[area], %[slot], 8), %[top]\n\t"
					     "testb $1, (%[top])\n\t"
					     "jnz %l[miss]\n\t"
					     "movq %[object], (%[top])\n\t"
					     "addq $8, %[top]\n\t"
					     "movq %[top], (%[area], %[slot], 8)" RSEQ_END
				  : [area] "=&r"(area), [top] "=&r"(top)
				  : RSEQ_INPUTS(base, table), [slot] "r"(slot), [object] "r"(object)
				  : "memory", "cc"
				  : miss);
	return true;
miss:
	return false;
}

/*
 * Compare-and-store of one word of this CPU's area. Misses when the word is
 * not `expected`, and when this CPU has no area.
 *
 *	if (area == base || area[word] != expected) miss;
 *	commit: area[word] = desired;
 */
static inline bool rseq_cmpxchg(const void *base, size_t table, size_t word, uintptr_t expected,
				uintptr_t desired)
{
	uintptr_t area;

	__asm__ __volatile__ goto(RSEQ_BEGIN "cmpq %[base], %[area]\n\t"
					     "je %l[miss]\n\t"
					     "cmpq %[expected], (%[area], %[word], 8)\n\t"
					     "jne %l[miss]\n\t"
					     "movq %[desired], (%[area], %[word], 8)" RSEQ_END
				  : [area] "=&r"(area)
				  : RSEQ_INPUTS(base, table), [word] "r"(word),
				    [expected] "r"(expected), [desired] "r"(desired)
				  : "memory", "cc"
				  : miss);
	return true;
miss:
	return false;
}

/*
 * Replace the sheaf of `slot` on this CPU if it is empty, by one whose top is
 * `desired`; *sentinel identifies the sheaf that was there.
 *
 *	if (area == base) miss;
 *	sentinel = area[slot][-1];
 *	if (!(sentinel & 1)) miss;
 *	commit: area[slot] = desired;
 */
static inline bool rseq_replace_empty(const void *base, size_t table, size_t slot,
				      uintptr_t desired, uintptr_t *sentinel)
{
	uintptr_t area, found;

	__asm__ __volatile__ goto(
		RSEQ_BEGIN "cmpq %[base], %[area]\n\t"
			   "je %l[miss]\n\t"
			   "movq (%[area], %[slot], 8), %[found]\n\t"
			   "movq -8(%[found]), %[found]\n\t"
			   "testb $1, %b[found]\n\t"
			   "jz %l[miss]\n\t"
			   "movq %[desired], (%[area], %[slot], 8)" RSEQ_END
		: [area] "=&r"(area), [found] "=&r"(found)
		: RSEQ_INPUTS(base, table), [slot] "r"(slot), [desired] "r"(desired)
		: "memory", "cc"
		: miss);
	*sentinel = found;
	return true;
miss:
	return false;
}

/*
 * Replace the sheaf of `slot` on this CPU if it is full: the mirror image.
 *
 *	sentinel = area[slot][0];
 *	if (!(sentinel & 1)) miss;
 *	commit: area[slot] = desired;
 */
static inline bool rseq_replace_full(const void *base, size_t table, size_t slot, uintptr_t desired,
				     uintptr_t *sentinel)
{
	uintptr_t area, found;

	__asm__ __volatile__ goto(
		RSEQ_BEGIN "cmpq %[base], %[area]\n\t"
			   "je %l[miss]\n\t"
			   "movq (%[area], %[slot], 8), %[found]\n\t"
			   "movq (%[found]), %[found]\n\t"
			   "testb $1, %b[found]\n\t"
			   "jz %l[miss]\n\t"
			   "movq %[desired], (%[area], %[slot], 8)" RSEQ_END
		: [area] "=&r"(area), [found] "=&r"(found)
		: RSEQ_INPUTS(base, table), [slot] "r"(slot), [desired] "r"(desired)
		: "memory", "cc"
		: miss);
	*sentinel = found;
	return true;
miss:
	return false;
}

/*
 * Write an event of four words to the ring of this CPU: the time stamp counter and words[0..2]. The ring begins with its
 * head and limit, counts of events, and the mask of its size; the events begin RSEQ_RING_EVENTS further on.
 * Misses when there is no ring, and when it is full.
 *
 *	ring = area;
 *	if (ring == base || ring->head >= ring->limit) miss;
 *	event = ring->events[ring->head & ring->mask];
 *	event = { rdtsc(), words[0], words[1], words[2] };	(above the head: nobody looks before the commit)
 *	commit: ring->head++;
 */
#define RSEQ_RING_EVENTS 4096

static inline bool rseq_ring_put(const void *base, size_t table, const uint64_t words[3])
{
	uintptr_t area, head, event;

	__asm__ __volatile__ goto(
		RSEQ_BEGIN "cmpq %[base], %[area]\n\t"
			   "je %l[miss]\n\t"
			   "movq (%[area]), %[head]\n\t"
			   "cmpq 8(%[area]), %[head]\n\t"
			   "jae %l[miss]\n\t"
			   "movq 16(%[area]), %[event]\n\t"
			   "andq %[head], %[event]\n\t"
			   "shlq $5, %[event]\n\t"
			   "leaq %c[events](%[area], %[event]), %[event]\n\t"
			   "rdtsc\n\t"
			   "shlq $32, %%rdx\n\t"
			   "orq %%rdx, %%rax\n\t"
			   "movq %%rax, (%[event])\n\t"
			   "movq %[word0], 8(%[event])\n\t"
			   "movq %[word1], 16(%[event])\n\t"
			   "movq %[word2], 24(%[event])\n\t"
			   "incq %[head]\n\t"
			   "movq %[head], (%[area])" RSEQ_END
		: [area] "=&r"(area), [head] "=&r"(head), [event] "=&r"(event)
		: RSEQ_INPUTS(base, table), [events] "i"(RSEQ_RING_EVENTS), [word0] "r"(words[0]),
		  [word1] "r"(words[1]), [word2] "r"(words[2])
		: "memory", "cc", "rax", "rdx"
		: miss);
	return true;
miss:
	return false;
}

/* The index field as it reads now: a hint, it may change at any moment. */
static inline uint32_t rseq_index(void)
{
	uint32_t index;

	__asm__ __volatile__("movl %%fs:(%1), %0" : "=r"(index) : "r"(rseq_abi.index));
	return index;
}

#endif

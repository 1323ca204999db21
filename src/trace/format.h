/* SPDX-License-Identifier: MIT */
/*
 * format.h - what a traced process and `kmem` share: the control block, the rings, the events.
 *
 * `kmem` finds the control block by its symbol, libkmalloc_trace, and reads and writes it, and reads the rings, through
 * /proc/PID/mem: so the traced process opens nothing and asks nobody, and a process that nobody looks at pays
 * nothing. Fields have one writer, named with each; a field is read and written whole, by its natural size.
 *
 * An event is four words. Addresses are those of user space, 47 bits:
 *
 *	word 0	the time stamp counter when it happened
 *	word 1	ptr, 48 bits | type << 48 | gfp << 56	(gfp: an index into trace_control.gfp)
 *	word 2	call_site, 48 bits | cache << 48	(cache: trace_cache_id(), 0: none)
 *		or, with TRACE_SITE_IS_STACK, a call stack's number
 *	word 3	bytes_req, 40 bits | tid << 40
 *
 * A ring holds the events of one CPU in the order of their time stamps. Its head only grows; what is at or
 * above head - size of the ring, and below the head, is there. The reader raises the limit to what it has taken + size of the
 * ring. A writer that finds the head there waits or loses its event; with TRACE_OVERWRITE it raises the limit itself, and the
 * reader looks at the head again afterwards, as it may have been overtaken.
 *
 * The reader's steps: 0. `beat`, and again while it reads, at least once in TRACE_SILENT_MS / 2; 1. the wishes; 2. the byte
 * at `divert`; 3. 0 into each entry of hit_table, and again while it reads, since a thread that was about to use one may
 * have written it back: for samples where it is not more than that of hit_free_table; 4. generation. In this order: whoever sees the
 * generation may clear `divert`. 5. For samples 3 once more, all of them: an entry may be of the samples of another reader. To end: 1. mode off; 2. it takes what is left; 3. the same with want_mode off: the next call gives
 * the rings' pages back and clears `divert`, and CPUs find back by themselves.
 *
 * A process that waits for its reader rings the bell before: it wakes a futex that is a constant in the library's file. The kernel
 * knows such a word by the file and the place in it, so a reader that has mapped the file can sleep on it. Nothing is ever written
 * there, so a reader may just miss it, and one of another process is woken too: it is a hint, and neither side
 * sleeps on it for long.
 *
 * A reader that wants to know which modules there were says so in `looker`, and looks at them when want_look is raised: whatever the
 * reader has not seen then may be gone for ever.
 */
#ifndef TRACE_FORMAT_H
#define TRACE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define TRACE_MAGIC 0x3165636172746d6bUL /* "kmtrace1" */
#define TRACE_VERSION 4U

enum trace_mode {
	TRACE_OFF,
	TRACE_SAMPLE, /* allocations by bytes, at random, mean sample_bytes; and their frees */
	TRACE_ALL,
};

/*
 * Of `divert`: which calls take the slow path. For samples an allocation does that is the first on its CPU, and sees the wish;
 * from then on hits are from among objects that are known to be no samples (slab/percpu_sample.c), and the entry of hit_table is
 * more than that of hit_free_table, by `split`.
 */
#define TRACE_DIVERT_SAMPLES 1U
#define TRACE_DIVERT_ALL 3U

static inline uint8_t trace_diversion(uint32_t mode)
{
	return mode == TRACE_SAMPLE ? TRACE_DIVERT_SAMPLES : TRACE_DIVERT_ALL;
}

/* What a writer does that finds its ring full. */
enum trace_full {
	TRACE_DROP,	 /* the event is lost, and counted */
	TRACE_OVERWRITE, /* the oldest event is */
	TRACE_WAIT, /* it waits for the reader, if it may sleep; for TRACE_WAIT_MS without progress at most */
};

enum trace_type {
	TRACE_NONE,
	TRACE_KMALLOC,
	TRACE_KFREE,
	TRACE_KMEM_CACHE_ALLOC,
	TRACE_KMEM_CACHE_FREE,
	TRACE_VMALLOC,
	TRACE_VFREE,
	TRACE_MM_PAGE_ALLOC, /* ptr: the block; bytes_req: its bytes */
	TRACE_MM_PAGE_FREE,
	TRACE_SLAB_REFILL, /* objects came from the slabs of a cache: bytes_req is how many */
	TRACE_SLAB_FLUSH,  /* objects went back there */
	TRACE_NR_TYPES,
};

#define TRACE_ADDRESS_BITS 48
#define TRACE_ADDRESS_MASK ((1UL << TRACE_ADDRESS_BITS) - 1)
#define TRACE_SITE_IS_STACK (1UL << (TRACE_ADDRESS_BITS - 1)) /* no address of user space has it */
#define TRACE_REQ_BITS 40
#define TRACE_REQ_MASK ((1UL << TRACE_REQ_BITS) - 1)
#define TRACE_WORDS 4U
#define TRACE_EVENT_BYTES (TRACE_WORDS * sizeof(uint64_t))
#define TRACE_GFPS 64U
#define TRACE_NR_CPUS 8192U
#define TRACE_NR_LOCKED                                                                            \
	8U /* rings of threads that have no index of a CPU, behind those that have */
#define TRACE_NR_RINGS (TRACE_NR_CPUS + TRACE_NR_LOCKED)
#define TRACE_WAIT_MS 2000U
#define TRACE_END_MS                                                                               \
	10000U /* a program that ends waits for the reader no longer, whatever it takes */
#define TRACE_GIVE_UP_MS 10000U	  /* a ring that is full for so long has no reader: tracing ends */
#define TRACE_SILENT_MS 30000U	  /* nor has a process where `beat` stays the same for so long */
#define TRACE_LOOK_MS 100U	  /* a program waits no longer for a look at its modules */
#define TRACE_GFP_NONE UINT32_MAX /* an entry of the table that is not used yet */
#define TRACE_GFP_OTHER (TRACE_GFPS - 1)
#define TRACE_CACHE_SHARED 127U /* ids from here on are those of caches without a slot */

/* Of one CPU; as large as a page, the events behind it. */
struct trace_ring {
	uint64_t head; /* events ever written; by the CPU's restartable sequence */
	uint64_t
		limit; /* the head may not pass it; by the reader, with TRACE_OVERWRITE by writers too */
	uint64_t mask;	     /* events - 1 */
	uint64_t lost;	     /* events that found no room; any thread, atomically */
	uint64_t busy;	     /* locked mode: where the one that writes has its event; 0: none */
	uint64_t index;	     /* of the CPU, as the library counts */
	uint64_t full_limit; /* at which it was found full last, or that a writer has set */
	uint64_t
		full_since; /* and since when it is, by port_clock_ms(); these two: src/trace/reader.c */
	uint64_t end;	    /* the head when the process began to end */
};

#define TRACE_RING_HEADER 4096U

/*
 * Call stacks, each once (the kernel's lib/stackdepot.c), as a tree: a node is a frame, its parent the caller's, and the
 * number of a node stands for the stack from there on. An event with TRACE_SITE_IS_STACK has one in place of its call
 * site, which is the node's address. Nodes are there before the event, and stay until tracing ends. A parent's number
 * is smaller than its children's.
 */
struct trace_depot {
	uint64_t nodes;	   /* where they are, from here on, in bytes; constant */
	uint64_t nr_nodes; /* room; constant */
	uint64_t used;	   /* nodes that were given out, ever; any thread, atomically */
	uint64_t lost;	   /* stacks that found no room */
	uint64_t rules_of; /* which modules the library's rules for unwinding are of */
	uint64_t session;  /* how often the pages were given back */
};

struct trace_node {
	uint64_t ip;	 /* return address; 0: nothing is here */
	uint32_t parent; /* TRACE_NODE_ROOT, TRACE_NODE_CUT: there is no more */
	uint32_t next;	 /* the library's */
};

#define TRACE_NODE_ROOT 0U /* the outermost frame is below */
#define TRACE_NODE_CUT 1U  /* there are more frames, which are not known */
#define TRACE_STACK_FRAMES 512U

struct trace_control {
	uint64_t magic;	  /* TRACE_MAGIC; 0: the library has not started */
	uint32_t version; /* TRACE_VERSION */
	uint32_t bytes;	  /* of this struct */

	/* What the reader wants; it writes these, then `generation`. */
	uint32_t want_mode; /* enum trace_mode */
	uint32_t want_full; /* enum trace_full */
	uint64_t want_sample_bytes;
	uint64_t want_ring_events; /* a power of two */
	uint32_t want_trim;	   /* raised: malloc_trim() at the next call */
	uint32_t generation;	   /* raised: the wishes have changed */
	uint32_t
		seen_ending; /* it has looked at all that it wants to see before the process is gone */

	/* What the library did; it writes these. */
	uint32_t applied; /* the generation that holds */
	uint32_t mode;
	uint32_t trimmed;     /* the want_trim that was done last */
	uint32_t ring_events; /* of each ring; constant once there is one */
	uint64_t lost;	      /* events that found no ring */
	uint64_t rings;	      /* address of TRACE_NR_RINGS offsets from `base`; 0: no ring */
	uint64_t base;
	uint64_t nr_rings; /* none at or above */
	uint32_t gfp[TRACE_GFPS];
	uint32_t nr_gfp;
	uint32_t pid;	 /* of the process that has these rings */
	uint32_t ending; /* the program ends, and waits a while for the reader */

	/* Where things are, for who reads them from outside. Constant. */
	uint64_t
		hit_table; /* an entry per CPU, 8 bytes; 0 sends its allocations to the slow path */
	uint64_t hit_free_table; /* the same for frees */
	uint64_t nr_hit;	 /* of each */
	uint64_t
		divert; /* address of a byte: TRACE_DIVERT_*; not 0: entries of hit_table stay 0, or are as for samples */
	uint64_t caches; /* address of the pointer to the newest struct kmem_cache */
	uint64_t layout; /* changes with the structs that `kmem` looks into */
	uint64_t places; /* address of a struct trace_places */

	uint32_t want_stacks; /* a wish: the call stack of each allocation that is told of */
	uint32_t
		beat; /* another number again and again, as long as the reader lives; by the reader */
	uint32_t maps;	/* raised by the reader: there are other modules than before */
	uint32_t split; /* constant: see TRACE_DIVERT_SAMPLES */
	uint64_t depot; /* address of struct trace_depot; 0: none. By the library */
	/* A look at which modules there are: src/trace/look.c */
	uint32_t looker; /* the generation whose reader answers; by the reader, and at the start */
	uint32_t want_look; /* raised: one is wanted */
	uint32_t looked;    /* by the reader: as want_look was before it looked last */
	uint32_t unlooked;  /* raised: one was not answered, and not waited for any more */
	uint32_t loading;   /* raised: a module is about to come */
	uint32_t reserved;
	uint64_t
		bell; /* address of a constant word: a futex that is woken for the reader. Constant */
};

/*
 * Where the library keeps what it knows of itself: addresses in its process, constant from the start on. What is there is
 * read while the process runs: a reader follows nothing that it has not checked.
 */
struct trace_places {
	uint64_t version;     /* a string: the library's */
	uint64_t mode_name;   /* a string: what the per-CPU areas are found by */
	uint64_t mode_reason; /* a string: why */
	uint64_t params;      /* struct params */

	uint64_t kmem_caches; /* struct kmem_cache[KMEM_CACHES_MAX] */
	uint64_t percpu;      /* struct percpu: offsets of areas count from here */
	uint64_t areas;	      /* uintptr_t[]: the offset of each CPU's area; 0: none */
	uint64_t nr_areas;    /* unsigned */
	uint64_t deferred;    /* void *: freed objects that wait, linked by their first word */

	uint64_t window;     /* struct page_window */
	uint64_t free_dirty; /* size_t: bytes */
	uint64_t free_clean; /* size_t: bytes */
	uint64_t nr_online;  /* size_t: sections */
	uint64_t purged;     /* size_t: bytes given back */

	uint64_t meta_mapped;  /* size_t: bytes */
	uint64_t meta_regions; /* struct meta_region *: the newest */

	uint64_t vmap_base;	  /* uintptr_t */
	uint64_t vmap_top;	  /* uintptr_t */
	uint64_t vmap_leaves;	  /* struct vmap_area **[nr_leaves] */
	uint64_t nr_leaves;	  /* the number itself */
	uint64_t leaf_bytes;	  /* the number itself: of a leaf, not of the window */
	uint64_t vmap_lazy_bytes; /* size_t */
	uint64_t vmap_nr_lazy;	  /* size_t */
	uint64_t vmalloc_counts;  /* struct vmalloc_counts */
};

/* The bytes that an allocation stands for that was sampled. */
double trace_weight(double bytes, double mean);

#endif
